//! CREATE TABLE for `create = true`: the target's nearest type for each source type, as docs/types.md lists them.

use std::collections::HashMap;

use super::table::{quoted, quoted_name};
use crate::change::{Address, ColumnDef, Kind, Relation, SourceType};
use crate::manifest::template::TableName;

/// The target's (collation, character set) names by id.
pub(super) type Collations = HashMap<u16, (String, String)>;

/// The source's own types.
pub(super) fn mysql(name: &TableName, relation: &Relation, collations: &Collations) -> String {
    let table = create(name, relation, '`', |(i, _)| mysql_column(relation, i, collations));
    format!("{table} ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4")
}

/// The definition of a column, its name before it.
pub(super) fn mysql_column(relation: &Relation, column: usize, collations: &Collations) -> String {
    let def = &relation.columns[column];
    let mut sql = match &def.source_type {
        // Exactly as long as its text may be, and compared as the source does: byte by byte, as the text has one form only.
        SourceType::Address(address) => {
            format!("{} VARCHAR({}) CHARACTER SET ascii COLLATE ascii_bin", quoted(&def.name, '`'), address.text_len())
        }
        SourceType::Plugin(kind) if is_not_null(relation, column) && !kind.is_word() => {
            format!("{} {}", quoted(&def.name, '`'), mysql_key(*kind, collations))
        }
        source_type => format!("{} {source_type}", quoted(&def.name, '`')),
    };
    if let Some(id) = def.source_type.collation() {
        match collations.get(&id) {
            Some((collation, charset)) => sql.push_str(&format!(" CHARACTER SET {charset} COLLATE {collation}")),
            // A collation that the target lacks: byte order keeps apart all that the source keeps apart.
            None => sql.push_str(" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        }
    }
    // NULL is said, too: it is not the default of a TIMESTAMP everywhere.
    sql.push_str(if is_not_null(relation, column) { " NOT NULL" } else { " NULL" });
    sql
}

/// What a plugin adds has no length, and a key needs one. Texts that differ are different keys.
fn mysql_key(kind: Kind, collations: &Collations) -> String {
    /// utf8mb4_0900_bin of MySQL, utf8mb4_nopad_bin of MariaDB.
    const EXACT: [u16; 2] = [309, 1070];
    let exact = EXACT.iter().find_map(|id| collations.get(id)).map_or("utf8mb4_bin", |(collation, _)| collation);
    match kind {
        Kind::Boolean => SourceType::Plugin(kind).to_string(),
        Kind::Bytes => "VARBINARY(255)".to_owned(),
        _ => format!("VARCHAR(255) CHARACTER SET utf8mb4 COLLATE {exact}"),
    }
}

pub(super) fn postgres(name: &TableName, relation: &Relation) -> String {
    create(name, relation, '"', |(i, def)| {
        let not_null = if is_not_null(relation, i) { " NOT NULL" } else { "" };
        format!("{} {}{not_null}", quoted(&def.name, '"'), postgres_type(&def.source_type))
    })
}

/// Types by their affinity: what SQLite would round has none (unsigned 64 bits: integer or text) or is TEXT (decimals).
pub(super) fn sqlite(name: &str, relation: &Relation) -> String {
    let name = TableName { schema: None, table: name.to_owned() };
    create(&name, relation, '"', |(i, def)| {
        let not_null = if is_not_null(relation, i) { " NOT NULL" } else { "" };
        format!("{} {}{not_null}", quoted(&def.name, '"'), sqlite_type(&def.source_type))
    })
}

fn create(name: &TableName, relation: &Relation, quote: char, column: impl Fn((usize, &ColumnDef)) -> String) -> String {
    let mut items: Vec<String> = relation.columns.iter().enumerate().map(column).collect();
    if !relation.key.is_empty() {
        let key: Vec<String> = relation.key.iter().map(|k| quoted(&relation.columns[usize::from(*k)].name, quote)).collect();
        items.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    format!("CREATE TABLE IF NOT EXISTS {} ({})", quoted_name(name, quote), items.join(", "))
}

/// Key columns only: what else is NOT NULL at the source may still be absent from a row image.
pub(super) fn is_not_null(relation: &Relation, column: usize) -> bool {
    relation.key.iter().any(|k| usize::from(*k) == column)
}

pub(super) fn postgres_type(source: &SourceType) -> String {
    let with_fsp = |name: &str, fsp: u8| format!("{name}({fsp})");
    match source {
        SourceType::Int { bits: 8 | 16, unsigned: false } | SourceType::Int { bits: 8, unsigned: true } | SourceType::Year => {
            "smallint".into()
        }
        SourceType::Int { bits: 24 | 32, unsigned: false } | SourceType::Int { bits: 16 | 24, unsigned: true } => "integer".into(),
        SourceType::Int { bits: 64, unsigned: true } | SourceType::Plugin(Kind::UInt64) => "numeric(20,0)".into(),
        SourceType::Int { .. } | SourceType::Plugin(Kind::Int64) => "bigint".into(),
        SourceType::Float => "real".into(),
        SourceType::Double | SourceType::Plugin(Kind::Float64) => "double precision".into(),
        SourceType::Decimal { precision, scale, .. } => format!("numeric({precision},{scale})"),
        SourceType::Plugin(Kind::Decimal) => "numeric".into(),
        SourceType::Bit { bits: 64 } => "numeric(20,0)".into(),
        SourceType::Bit { .. } => "bigint".into(),
        SourceType::Date | SourceType::Plugin(Kind::Date) => "date".into(),
        SourceType::Time { fsp } => with_fsp("interval", *fsp),
        SourceType::DateTime { fsp } => with_fsp("timestamp", *fsp),
        SourceType::Timestamp { fsp } => with_fsp("timestamptz", *fsp),
        SourceType::Plugin(Kind::Time) => "interval".into(),
        SourceType::Plugin(Kind::DateTime) => "timestamp".into(),
        SourceType::Plugin(Kind::Timestamp) => "timestamptz".into(),
        SourceType::VarChar { length, .. } | SourceType::Char { length, .. } if *length > 0 => format!("varchar({length})"),
        SourceType::Address(Address::Uuid) => "uuid".into(),
        SourceType::Address(Address::Inet6 | Address::Inet4) => "inet".into(),
        SourceType::Char { .. }
        | SourceType::VarChar { .. }
        | SourceType::Text { .. }
        | SourceType::Enum { .. }
        | SourceType::Set { .. }
        | SourceType::Plugin(Kind::Text) => "text".into(),
        SourceType::Binary { .. }
        | SourceType::VarBinary { .. }
        | SourceType::Blob { .. }
        | SourceType::Geometry
        | SourceType::Vector { .. }
        | SourceType::Plugin(Kind::Bytes) => "bytea".into(),
        SourceType::Json | SourceType::Plugin(Kind::Json) => "jsonb".into(),
        SourceType::Plugin(Kind::Boolean) => "boolean".into(),
    }
}

pub(super) fn sqlite_type(source: &SourceType) -> &'static str {
    match source {
        SourceType::Int { bits: 64, unsigned: true } | SourceType::Bit { bits: 64 } | SourceType::Plugin(Kind::UInt64) => "",
        SourceType::Int { .. } | SourceType::Bit { .. } | SourceType::Year | SourceType::Plugin(Kind::Int64 | Kind::Boolean) => {
            "INTEGER"
        }
        SourceType::Float | SourceType::Double | SourceType::Plugin(Kind::Float64) => "REAL",
        SourceType::Binary { .. }
        | SourceType::VarBinary { .. }
        | SourceType::Blob { .. }
        | SourceType::Geometry
        | SourceType::Vector { .. }
        | SourceType::Plugin(Kind::Bytes) => "BLOB",
        SourceType::Decimal { .. }
        | SourceType::Date
        | SourceType::Time { .. }
        | SourceType::DateTime { .. }
        | SourceType::Timestamp { .. }
        | SourceType::Char { .. }
        | SourceType::VarChar { .. }
        | SourceType::Text { .. }
        | SourceType::Enum { .. }
        | SourceType::Set { .. }
        | SourceType::Address(_)
        | SourceType::Json
        | SourceType::Plugin(
            Kind::Text | Kind::Decimal | Kind::Json | Kind::Date | Kind::Time | Kind::DateTime | Kind::Timestamp,
        ) => "TEXT",
    }
}
