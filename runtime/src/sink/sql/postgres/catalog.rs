//! What the server's catalog says about a target table.

use sqlx::{PgConnection, Row};

use super::super::Failure;
use super::super::table::{Table, TargetColumn, quoted_name};
use super::error::failure;
use crate::change::{Kind, SourceType};
use crate::lane::bonds::Bonds;
use crate::manifest::template::{TableName, TableTemplate};

/// A domain has the type that it is over, whose values it takes after a check of its own.
const COLUMNS: &str = "SELECT a.attname::text, format_type(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END, NULL), \
     format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', NOT a.attnotnull, a.atthasdef OR a.attidentity <> '' \
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// Only keys that ON CONFLICT can name: not deferrable. Keys over expressions and of a part of the rows come without names.
const KEYS: &str = "SELECT i.indexrelid::bigint, CASE WHEN i.indpred IS NULL THEN a.attname::text END, c.relname::text \
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place) \
     LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
     WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indimmediate AND i.indisvalid AND k.place <= i.indnkeyatts \
     ORDER BY i.indexrelid, k.place";

/// `None`: there is no such table.
pub(super) async fn table(conn: &mut PgConnection, name: &TableName) -> Result<Option<Table>, Failure> {
    let sql = quoted_name(name, '"');
    let rows = sqlx::query(COLUMNS).bind(&sql).fetch_all(&mut *conn).await.map_err(|e| failure(&e))?;
    if rows.is_empty() {
        return Ok(None);
    }
    let column = |row: &sqlx::postgres::PgRow| -> Result<TargetColumn, sqlx::Error> {
        Ok(TargetColumn {
            name: row.try_get(0)?,
            base: row.try_get(1)?,
            full: row.try_get(2)?,
            generated: row.try_get(3)?,
            nullable: row.try_get(4)?,
            has_default: row.try_get(5)?,
        })
    };
    let columns = rows.iter().map(column).collect::<Result<Vec<_>, _>>().map_err(|e| failure(&e))?;
    let rows = sqlx::query(KEYS).bind(&sql).fetch_all(&mut *conn).await.map_err(|e| failure(&e))?;
    let key = |row: &sqlx::postgres::PgRow| -> Result<(i64, Option<String>, String), sqlx::Error> {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
    };
    let keys = rows.iter().map(key).collect::<Result<Vec<_>, _>>().map_err(|e| failure(&e))?;
    let names = |index: &[(i64, Option<String>, String)]| index.iter().map(|(_, name, _)| name.clone()).collect::<Option<Vec<_>>>();
    let indexes = || keys.chunk_by(|a, b| a.0 == b.0);
    let unique = indexes().map(|index| names(index).unwrap_or_default()).collect();
    let unique_names = indexes().map(|index| index[0].2.clone()).collect();
    Ok(Some(Table { sql, columns, unique, unique_names, ignores_case: false }))
}

/// Tables with several unique keys or an exclusion constraint.
const UNIQUE: &str = "SELECT n.nspname || '.' || c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE (i.indisunique OR i.indisexclusion) AND n.nspname NOT IN ('pg_catalog', 'pg_toast') \
     GROUP BY 1 HAVING count(*) > 1 OR bool_or(i.indisexclusion)";

const REFERENCES: &str = "SELECT n.nspname || '.' || c.relname, m.nspname || '.' || d.relname FROM pg_constraint f \
     JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_class d ON d.oid = f.confrelid JOIN pg_namespace m ON m.oid = d.relnamespace WHERE f.contype = 'f'";

/// Tables with several unique keys, and tables that foreign keys connect.
pub(super) async fn bonds(conn: &mut PgConnection, template: &TableTemplate) -> Result<Bonds, Failure> {
    let home = sqlx::query_scalar::<_, Option<String>>("SELECT current_schema()::text").fetch_one(&mut *conn).await;
    let unique = sqlx::query_scalar::<_, String>(UNIQUE).fetch_all(&mut *conn).await.map_err(|e| failure(&e))?;
    let references = sqlx::query_as::<_, (String, String)>(REFERENCES).fetch_all(&mut *conn).await.map_err(|e| failure(&e))?;
    Ok(Bonds::new(template, &home.map_err(|e| failure(&e))?.unwrap_or_default(), unique, references))
}

/// Which of the rights that writing needs the user does not have.
pub(super) async fn missing_rights(conn: &mut PgConnection, table: &Table) -> Result<Vec<&'static str>, Failure> {
    let mut missing = Vec::new();
    for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
        let query = sqlx::query("SELECT has_table_privilege(to_regclass($1), $2)").bind(&table.sql).bind(right);
        let row = query.fetch_one(&mut *conn).await.map_err(|e| failure(&e))?;
        if !row.try_get::<bool, _>(0).map_err(|e| failure(&e))? {
            missing.push(right);
        }
    }
    Ok(missing)
}

/// The schema in which a table would be made (`None`: the user's own), and whether the user may do that. `None`: there is no such schema.
pub(super) async fn may_create(conn: &mut PgConnection, schema: Option<&str>) -> Result<Option<(String, bool)>, Failure> {
    let sql = "SELECT quote_ident(nspname), has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = COALESCE($1, current_schema())";
    sqlx::query_as(sql).bind(schema).fetch_optional(conn).await.map_err(|e| failure(&e))
}

/// True for types that take any text.
pub(super) fn is_text(base: &str) -> bool {
    matches!(base, "text" | "character varying" | "character" | "citext" | "name")
}

/// Why a column of this source type may not arrive in the target column.
pub(in crate::sink::sql) fn fits(source: &SourceType, target: &TargetColumn) -> Option<String> {
    let base = &*target.base;
    let bits = match base {
        "smallint" => Some(16u8),
        "integer" => Some(32),
        "bigint" => Some(64),
        _ => None,
    };
    let declared = numbers(&target.full);
    let wide = match source {
        SourceType::Int { bits: need, unsigned } => match bits {
            Some(have) => have > *need || (have == *need && !unsigned),
            None => matches!(base, "numeric" | "boolean") || is_text(base),
        },
        SourceType::Bit { bits: need } => match bits {
            Some(have) => have > *need,
            None => base == "numeric" || is_text(base),
        },
        SourceType::Float => matches!(base, "real" | "double precision") || is_text(base),
        SourceType::Double => base == "double precision" || is_text(base),
        SourceType::Decimal { precision, scale, .. } => match (base, &declared[..]) {
            ("numeric", [p, s]) => *s >= u32::from(*scale) && p.saturating_sub(*s) >= u32::from(precision - scale),
            ("numeric", _) => true,
            _ => is_text(base),
        },
        SourceType::Char { length, .. } | SourceType::VarChar { length, .. } if base == "character varying" => {
            declared.first().is_none_or(|have| have >= length)
        }
        SourceType::Text { .. } if base == "character varying" => declared.is_empty(),
        SourceType::Time { fsp } | SourceType::DateTime { fsp } | SourceType::Timestamp { fsp } => {
            (base.starts_with("time") || base == "interval") && declared.first().is_none_or(|have| *have >= u32::from(*fsp))
                || is_text(base)
        }
        other => match other.kind() {
            Kind::Bytes => base == "bytea",
            Kind::Date => matches!(base, "date") || base.starts_with("timestamp") || is_text(base),
            Kind::Json => matches!(base, "json" | "jsonb") || is_text(base),
            // Enum types, uuid and the like take some texts.
            _ => true,
        },
    };
    (!wide).then(|| format!("compare docs/types.md, and make the column wide enough for `{source}`"))
}

/// The numbers between the parentheses of `numeric(10,2)`.
fn numbers(full: &str) -> Vec<u32> {
    let inside = full.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
    inside.split(',').filter_map(|n| n.trim().parse().ok()).collect()
}
