//! The decode plan of a relation: made once from a TABLE_MAP (and, where that says too little, from the server's own description),
//! reused while the TABLE_MAP's bytes stay the same.
//!
//! Never guesses: what two descriptions disagree about, or what neither says, is an error.

use std::sync::{Arc, OnceLock};

use crate::batcher::Wanted;
use crate::change::{Address, ColumnDef, KeyOrigin, Relation, SourceType};
use crate::source::relation::source_type;
use crate::source::{ColumnInfo, TableInfo};

use super::absent::Absent;
use super::table_map::{MapColumn, TableMap, code};
use super::value::Decode;
use super::values::charset::Charset;
use super::values::decimal;

/// Where nothing says how many a column has: the most that MySQL allows.
const VECTOR_DIMENSIONS_MAX: u16 = 16_383;

/// The collation id `binary`.
const BINARY: u16 = 63;

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(
        "column {column}: its TABLE_MAP says neither signedness nor character set, and there is no server to ask\nhint: set binlog_row_metadata=FULL at the source"
    )]
    Unsaid { column: usize },
    #[error("the TABLE_MAP has no column names, and there is no server to ask\nhint: set binlog_row_metadata=FULL at the source")]
    NoNames,
    #[error(
        "{logged} columns were logged, but the table has {now} now: it was altered since\nhint: set binlog_row_metadata=FULL at the source, and go on after this transaction with {{after}}"
    )]
    ColumnCount { logged: usize, now: usize },
    #[error(
        "column `{column}` is `{now}` now, which is not the type that was logged ({code}): the table was altered since\nhint: set binlog_row_metadata=FULL at the source, and go on after this transaction with {{after}}"
    )]
    TypeChanged { column: Box<str>, now: Box<str>, code: u8 },
    #[error(
        "column `{column}` has collation {collation}, which is not known\nhint: leave the table out, or give the column another collation"
    )]
    Collation { column: Box<str>, collation: u16 },
    #[error("column `{column}`: a member of its ENUM or SET is not valid in its character set")]
    Member { column: Box<str> },
    #[error(
        "column `{column}` has fractions of a second in the format of MariaDB 5.3 (mysql56_temporal_format = OFF), whose length the binlog does not say\nhint: `ALTER TABLE … FORCE` at the source, while mysql56_temporal_format is ON, and go on after this transaction with {{after}}"
    )]
    OldFractions { column: Box<str> },
    #[error("column `{column}`: its logged type has impossible metadata {meta} for type {code}")]
    Meta { column: Box<str>, code: u8, meta: u16 },
}

/// How many bytes a cell takes in a row image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Fixed(u32),
    /// A little-endian length of that many bytes (1 to 4), then the cell.
    Prefixed(u8),
    /// A length-encoded string, as a prepared statement sends it.
    Lenenc,
}

#[derive(Debug)]
pub struct ColumnPlan {
    pub width: Width,
    pub decode: Decode,
}

/// How a key column goes into the hash that chooses the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHash {
    Word,
    Bytes,
    Text(u16),
}

#[derive(Clone, Copy, Debug)]
pub struct KeyPart {
    pub column: u16,
    pub hash: KeyHash,
}

#[derive(Debug)]
pub struct Plan {
    pub relation: Arc<Relation>,
    pub wanted: Arc<Wanted>,
    /// Of all columns that are logged: those of the relation, and behind them those that no one sees.
    pub columns: Vec<ColumnPlan>,
    /// Empty for a relation without a key.
    pub key: Vec<KeyPart>,
    /// What the hash of a key begins with: that of the relation's name.
    pub seed: u64,
    /// Names or keys came from the server and not from the TABLE_MAP: they hold until the next DDL.
    pub is_from_server: bool,
    /// The TABLE_MAP had no column names.
    pub is_minimal: bool,
    /// What is in the columns that an INSERT leaves out; asked for by the first that does.
    pub absent: OnceLock<Box<[Absent]>>,
}

/// A relation and how to decode it; what [`Plan`] is made of once it is known which columns are wanted.
#[derive(Debug)]
pub struct Draft {
    /// Without an id yet.
    pub relation: Relation,
    pub columns: Vec<ColumnPlan>,
    pub key: Vec<KeyPart>,
    pub is_from_server: bool,
    pub is_minimal: bool,
}

/// True if the TABLE_MAP alone does not say names, key and types.
pub fn needs_server(map: &TableMap) -> bool {
    !map.has_names() || map.primary_key.is_none() || map.columns.iter().any(needs_type) || named_hashes(map, None) > 0
}

/// How many columns at the end are called as MariaDB calls the hashes that it keeps for long unique keys, and are none of the table's.
fn named_hashes(map: &TableMap, info: Option<&TableInfo>) -> usize {
    let is_hash = |column: &MapColumn| {
        let Some(name) = column.name.as_deref().filter(|_| column.code == code::LONGLONG) else { return false };
        let number = name.strip_prefix("DB_ROW_HASH_").unwrap_or_default();
        let is_declared = |info: &TableInfo| info.columns.iter().any(|c| c.name.eq_ignore_ascii_case(name));
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && !info.is_some_and(is_declared)
    };
    map.columns.iter().rev().take_while(|column| is_hash(column)).count()
}

/// The same where the columns have no names: how many more are logged than the table has, if they can be hashes.
fn unnamed_hashes(map: &TableMap, info: &TableInfo) -> usize {
    let hashes = map.columns.get(info.columns.len()..).unwrap_or_default();
    let is_fit = hashes.len() <= info.hashes_max && hashes.iter().all(|column| column.code == code::LONGLONG);
    if is_fit { hashes.len() } else { 0 }
}

/// True where the TABLE_MAP does not say the type, even under FULL metadata.
fn needs_type(column: &MapColumn) -> bool {
    // With fractions of a second these are longer, and the TABLE_MAP does not say whether they have any.
    may_be_address(column) || matches!(column.code, code::TIME | code::DATETIME | code::TIMESTAMP)
}

/// MariaDB logs UUID, INET6 and INET4 as if they were BINARY(16) and BINARY(4): only the server tells them apart.
fn may_be_address(column: &MapColumn) -> bool {
    column.code == code::STRING && column.collation == Some(BINARY) && matches!(column.meta, 4 | 16)
}

/// `info`: the server's description of the table, `None` if there is no server.
pub fn draft(map: &TableMap, info: Option<&TableInfo>) -> Result<Draft, PlanError> {
    let is_minimal = !map.has_names();
    let hashes = match info {
        _ if !is_minimal => named_hashes(map, info),
        None => return Err(PlanError::NoNames),
        Some(info) => unnamed_hashes(map, info),
    };
    let seen = map.columns.len() - hashes;
    if let Some(info) = info.filter(|info| is_minimal && info.columns.len() != seen) {
        return Err(PlanError::ColumnCount { logged: map.columns.len(), now: info.columns.len() });
    }
    let mut defs = Vec::with_capacity(map.columns.len());
    let mut columns = Vec::with_capacity(map.columns.len());
    for (i, column) in map.columns.iter().enumerate() {
        if i >= seen {
            columns.push(ColumnPlan { width: Width::Fixed(8), decode: Decode::U64 });
            continue;
        }
        let said = match info {
            Some(info) if is_minimal => info.columns.get(i),
            Some(info) if needs_type(column) => info.columns.iter().find(|c| {
                let is_named = column.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&c.name));
                is_named && is_same_type(column.code, &c.column_type)
            }),
            _ => None,
        };
        let (def, plan) = column_plan(i, column, said)?;
        defs.push(def);
        columns.push(plan);
    }
    let (key, key_origin, is_key_asked) = key(map, &defs, info);
    let parts = key.iter().map(|&column| KeyPart { column, hash: key_hash(&defs, &columns, usize::from(column)) }).collect();
    let relation = Relation { id: 0, schema: map.schema.clone(), table: map.table.clone(), columns: defs, key, key_origin };
    let is_from_server = is_minimal || is_key_asked || map.columns.iter().any(needs_type);
    Ok(Draft { relation, columns, key: parts, is_from_server, is_minimal })
}

/// True for a MariaDB sequence, which is logged as if it were a table: its one row is written anew whenever it reserves more numbers.
pub fn is_sequence(relation: &Relation) -> bool {
    const COLUMNS: [&str; 8] = [
        "next_not_cached_value",
        "minimum_value",
        "maximum_value",
        "start_value",
        "increment",
        "cache_size",
        "cycle_option",
        "cycle_count",
    ];
    relation.key.is_empty() && relation.columns.iter().map(|c| &*c.name).eq(COLUMNS)
}

/// Why a table cannot be the one that a TABLE_MAP without names is about; `None`: it can.
pub fn misfit(map: &TableMap, info: &TableInfo) -> Option<String> {
    let headline = |error: PlanError| error.to_string().lines().next().unwrap_or_default().to_owned();
    let draft = match draft(map, Some(info)) {
        Ok(draft) => draft,
        Err(error) => return Some(headline(error)),
    };
    let columns = map.columns.iter().zip(&info.columns).zip(&draft.relation.columns);
    columns.into_iter().find_map(|((logged, said), column)| {
        let name = &said.name;
        let Some(said_type) = source_type(said) else {
            return Some(format!("the type `{}` of column `{name}` is not known", said.column_type));
        };
        if said_type.collation().is_some() && said.collation.is_none() && logged.collation.is_none() {
            return Some(format!("the character set of column `{name}` is not known"));
        }
        // What was not known came from the TABLE_MAP.
        let is_same = match (&said_type, &column.source_type) {
            (said_type, logged_type) if said_type == logged_type => true,
            // MariaDB's vectors are logged as strings of bytes.
            (SourceType::Vector { .. }, SourceType::VarBinary { .. }) => true,
            (_, logged_type) if said.collation.is_none() => {
                let known = ColumnInfo { collation: logged_type.collation(), ..said.clone() };
                source_type(&known).as_ref() == Some(logged_type)
            }
            _ => false,
        };
        (!is_same).then(|| format!("column `{name}` is `{said_type}`, and `{}` was logged", column.source_type))
    })
}

/// The key columns, what they are, and whether the server was asked for them. Under FULL metadata the server's unique key counts
/// only if the columns are still those that were logged: a row is then found by all its values instead.
fn key(map: &TableMap, defs: &[ColumnDef], info: Option<&TableInfo>) -> (Vec<u16>, KeyOrigin, bool) {
    if let Some(key) = map.primary_key.as_ref().filter(|k| !k.is_empty()) {
        return (key.clone(), KeyOrigin::Primary, false);
    }
    let same =
        |t: &&TableInfo| t.columns.len() == defs.len() && t.columns.iter().zip(defs).all(|(now, logged)| *now.name == *logged.name);
    let valid = |key: &[u16]| !key.is_empty() && key.iter().all(|&c| usize::from(c) < defs.len());
    match info.filter(same) {
        Some(t) if !map.has_names() && valid(&t.primary_key) => (t.primary_key.clone(), KeyOrigin::Primary, true),
        Some(t) if valid(&t.unique_key) => (t.unique_key.clone(), KeyOrigin::Unique, true),
        _ => (Vec::new(), KeyOrigin::WholeRow, true),
    }
}

pub(in crate::source) fn key_hash(defs: &[ColumnDef], columns: &[ColumnPlan], column: usize) -> KeyHash {
    match (&columns[column].decode, defs[column].source_type.collation()) {
        (Decode::Copy | Decode::Transcode(_), Some(collation)) => KeyHash::Text(collation),
        (decode, _) if decode.is_word() || matches!(decode, Decode::Enum(_) | Decode::Set(_)) => KeyHash::Word,
        _ => KeyHash::Bytes,
    }
}

fn column_plan(index: usize, column: &MapColumn, said: Option<&ColumnInfo>) -> Result<(ColumnDef, ColumnPlan), PlanError> {
    let name: Box<str> = match (&column.name, said) {
        (Some(name), _) => name.clone(),
        (None, Some(info)) => info.name.clone(),
        (None, None) => return Err(PlanError::NoNames),
    };
    if let Some(info) = said
        && !is_same_type(column.code, &info.column_type)
    {
        return Err(PlanError::TypeChanged { column: name, now: info.column_type.clone(), code: column.code });
    }
    let unsaid = || PlanError::Unsaid { column: index };
    let is_unsigned = match (column.unsigned, said) {
        (Some(unsigned), _) => Ok(unsigned),
        (None, Some(info)) => Ok(info.column_type.contains(" unsigned")),
        (None, None) => Err(unsaid()),
    };
    let collation = match (column.collation, said) {
        (Some(collation), _) => Ok(collation),
        // A column without a collation is a binary one.
        (None, Some(info)) => Ok(info.collation.unwrap_or(BINARY)),
        (None, None) => Err(unsaid()),
    };
    let meta_error = || PlanError::Meta { column: name.clone(), code: column.code, meta: column.meta };
    let (source_type, width, decode) = match column.code {
        code::TINY | code::SHORT | code::INT24 | code::LONG | code::LONGLONG => int(column.code, is_unsigned?),
        code::FLOAT => (SourceType::Float, Width::Fixed(4), Decode::F32),
        code::DOUBLE => (SourceType::Double, Width::Fixed(8), Decode::F64),
        code::NEWDECIMAL => {
            let [precision, scale] = column.meta.to_be_bytes();
            // MariaDB allows 38 digits behind the point, MySQL 30.
            if precision == 0 || precision > 65 || scale > 38 || scale > precision {
                return Err(meta_error());
            }
            let len = decimal::len(precision, scale) as u32;
            let source_type = SourceType::Decimal { precision, scale, unsigned: is_unsigned? };
            (source_type, Width::Fixed(len), Decode::Decimal { precision, scale })
        }
        code::BIT => {
            let bits = u8::try_from(column.meta).ok().filter(|b| (1..=64).contains(b)).ok_or_else(meta_error)?;
            (SourceType::Bit { bits }, Width::Fixed(u32::from(bits.div_ceil(8))), Decode::Bit)
        }
        code::YEAR => (SourceType::Year, Width::Fixed(1), Decode::Year),
        code::TIME | code::DATETIME | code::TIMESTAMP if said.is_some_and(|info| info.column_type.contains('(')) => {
            return Err(PlanError::OldFractions { column: name });
        }
        code::DATE | code::NEWDATE => (SourceType::Date, Width::Fixed(3), Decode::Date),
        code::TIME => (SourceType::Time { fsp: 0 }, Width::Fixed(3), Decode::OldTime),
        code::DATETIME => (SourceType::DateTime { fsp: 0 }, Width::Fixed(8), Decode::OldDateTime),
        code::TIMESTAMP => (SourceType::Timestamp { fsp: 0 }, Width::Fixed(4), Decode::OldTimestamp),
        code::TIME2 | code::DATETIME2 | code::TIMESTAMP2 => {
            let fsp = u8::try_from(column.meta).ok().filter(|f| *f <= 6).ok_or_else(meta_error)?;
            let fraction = fsp.div_ceil(2);
            let width = |whole: u32| Width::Fixed(whole + u32::from(fraction));
            match column.code {
                code::TIME2 => (SourceType::Time { fsp }, width(3), Decode::Time(fraction)),
                code::DATETIME2 => (SourceType::DateTime { fsp }, width(5), Decode::DateTime(fraction)),
                _ => (SourceType::Timestamp { fsp }, width(4), Decode::Timestamp(fraction)),
            }
        }
        code::STRING
            if let Some(address) =
                said.and_then(|info| address_of_type(&info.column_type)).filter(|a| a.bytes() == column.meta) =>
        {
            (SourceType::Address(address), Width::Prefixed(1), Decode::Address(address))
        }
        code::STRING | code::VARCHAR | code::VAR_STRING | code::VARCHAR_COMPRESSED => {
            let width = Width::Prefixed(if column.meta > 255 { 2 } else { 1 });
            let (bytes, collation) = (u32::from(column.meta), collation?);
            let is_char = column.code == code::STRING;
            if column.code == code::VARCHAR_COMPRESSED {
                // The byte in front of a compressed value counts as one of its column's.
                let bytes = bytes.checked_sub(1).ok_or_else(meta_error)?;
                if collation == BINARY {
                    (SourceType::VarBinary { length: bytes }, width, Decode::Unpack(None))
                } else {
                    let charset = charset(&name, collation)?;
                    let length = bytes / u32::from(charset.bytes_per_char());
                    (SourceType::VarChar { length, collation }, width, unpack(charset))
                }
            } else if collation == BINARY {
                match is_char {
                    true => (SourceType::Binary { length: bytes }, width, Decode::Pad(bytes)),
                    false => (SourceType::VarBinary { length: bytes }, width, Decode::Copy),
                }
            } else {
                let charset = charset(&name, collation)?;
                let length = bytes / u32::from(charset.bytes_per_char());
                let source_type = match is_char {
                    true => SourceType::Char { length, collation },
                    false => SourceType::VarChar { length, collation },
                };
                (source_type, width, text(charset))
            }
        }
        code::BLOB | code::BLOB_COMPRESSED => {
            let length_bytes = length_bytes(column.meta).ok_or_else(meta_error)?;
            let (width, collation) = (Width::Prefixed(length_bytes), collation?);
            let is_packed = column.code == code::BLOB_COMPRESSED;
            if collation == BINARY {
                let decode = if is_packed { Decode::Unpack(None) } else { Decode::Copy };
                (SourceType::Blob { length_bytes }, width, decode)
            } else {
                let charset = charset(&name, collation)?;
                let decode = if is_packed { unpack(charset) } else { text(charset) };
                (SourceType::Text { length_bytes, collation }, width, decode)
            }
        }
        code::JSON | code::GEOMETRY | code::VECTOR => {
            let width = Width::Prefixed(length_bytes(column.meta).ok_or_else(meta_error)?);
            match column.code {
                code::JSON => (SourceType::Json, width, Decode::Json),
                code::GEOMETRY => (SourceType::Geometry, width, Decode::Copy),
                _ => {
                    let dimensions = column.dimensions.or_else(|| said.and_then(|info| dimensions_of_type(&info.column_type)));
                    (SourceType::Vector { dimensions: dimensions.unwrap_or(VECTOR_DIMENSIONS_MAX) }, width, Decode::Copy)
                }
            }
        }
        code::ENUM | code::SET => {
            let collation = collation?;
            let members: Arc<[Box<str>]> = match (&column.members, said) {
                (Some(members), _) => utf8_members(&name, collation, members)?.into(),
                (None, Some(info)) => members_of_type(&info.column_type).ok_or_else(unsaid)?.into(),
                (None, None) => return Err(unsaid()),
            };
            let width = Width::Fixed(u32::from(column.meta));
            if !(1..=8).contains(&column.meta) {
                return Err(meta_error());
            }
            match column.code {
                code::ENUM => (SourceType::Enum { members: Arc::clone(&members), collation }, width, Decode::Enum(members)),
                _ => (SourceType::Set { members: Arc::clone(&members), collation }, width, Decode::Set(members)),
            }
        }
        _ => return Err(meta_error()),
    };
    Ok((ColumnDef { name, source_type, nullable: column.nullable }, ColumnPlan { width, decode }))
}

fn int(type_code: u8, unsigned: bool) -> (SourceType, Width, Decode) {
    let (bits, decode) = match (type_code, unsigned) {
        (code::TINY, false) => (8, Decode::I8),
        (code::TINY, true) => (8, Decode::U8),
        (code::SHORT, false) => (16, Decode::I16),
        (code::SHORT, true) => (16, Decode::U16),
        (code::INT24, false) => (24, Decode::I24),
        (code::INT24, true) => (24, Decode::U24),
        (code::LONG, false) => (32, Decode::I32),
        (code::LONG, true) => (32, Decode::U32),
        (_, false) => (64, Decode::I64),
        (_, true) => (64, Decode::U64),
    };
    (SourceType::Int { bits, unsigned }, Width::Fixed(u32::from(bits / 8)), decode)
}

fn length_bytes(meta: u16) -> Option<u8> {
    u8::try_from(meta).ok().filter(|n| (1..=4).contains(n))
}

fn charset(column: &str, collation: u16) -> Result<Charset, PlanError> {
    Charset::of_collation(collation).ok_or_else(|| PlanError::Collation { column: column.into(), collation })
}

fn text(charset: Charset) -> Decode {
    if charset.is_utf8() { Decode::Copy } else { Decode::Transcode(charset) }
}

fn unpack(charset: Charset) -> Decode {
    Decode::Unpack(if charset.is_utf8() { None } else { Some(charset) })
}

fn utf8_members(column: &str, collation: u16, members: &[Box<[u8]>]) -> Result<Vec<Box<str>>, PlanError> {
    let charset = charset(column, collation)?;
    let utf8 = |member: &[u8]| {
        let mut text = Vec::with_capacity(member.len());
        charset.transcode(member, &mut text).ok()?;
        String::from_utf8(text).ok().map(String::into_boxed_str)
    };
    members.iter().map(|m| utf8(m).ok_or_else(|| PlanError::Member { column: column.into() })).collect()
}

/// The members of a COLUMN_TYPE like `enum('a','it''s')`, with the escapes of SHOW CREATE TABLE (`append_unescaped`).
pub(in crate::source) fn members_of_type(column_type: &str) -> Option<Vec<Box<str>>> {
    let mut chars = column_type.split_once('(')?.1.chars().peekable();
    let mut members = Vec::new();
    loop {
        if chars.next()? != '\'' {
            return None;
        }
        let mut member = String::new();
        loop {
            match chars.next()? {
                '\'' if chars.peek() == Some(&'\'') => member.extend(chars.next()),
                '\'' => break,
                '\\' => member.push(match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    '0' => '\0',
                    other => other,
                }),
                other => member.push(other),
            }
        }
        members.push(member.into_boxed_str());
        match chars.next()? {
            ',' => {}
            ')' => return Some(members),
            _ => return None,
        }
    }
}

/// The dimensions of a COLUMN_TYPE like `vector(3)`.
pub(in crate::source) fn dimensions_of_type(column_type: &str) -> Option<u16> {
    column_type.strip_prefix("vector(")?.strip_suffix(')')?.parse().ok()
}

/// The type of a column of addresses, from its COLUMN_TYPE.
pub(in crate::source) fn address_of_type(column_type: &str) -> Option<Address> {
    match column_type {
        "uuid" => Some(Address::Uuid),
        "inet6" => Some(Address::Inet6),
        "inet4" => Some(Address::Inet4),
        _ => None,
    }
}

/// Whether a logged type code can be a column that the server now describes as `column_type`.
fn is_same_type(type_code: u8, column_type: &str) -> bool {
    let word = column_type.split([' ', '(']).next().unwrap_or_default();
    match type_code {
        code::TINY => word == "tinyint",
        code::SHORT => word == "smallint",
        code::INT24 => word == "mediumint",
        code::LONG => word == "int",
        code::LONGLONG => word == "bigint",
        code::FLOAT => word == "float",
        code::DOUBLE => word == "double",
        code::NEWDECIMAL => word == "decimal",
        code::BIT => word == "bit",
        code::YEAR => word == "year",
        code::DATE | code::NEWDATE => word == "date",
        code::TIME | code::TIME2 => word == "time",
        code::DATETIME | code::DATETIME2 => word == "datetime",
        code::TIMESTAMP | code::TIMESTAMP2 => word == "timestamp",
        code::STRING => matches!(word, "char" | "binary" | "uuid" | "inet4" | "inet6"),
        code::VARCHAR | code::VAR_STRING | code::VARCHAR_COMPRESSED => matches!(word, "varchar" | "varbinary" | "vector"),
        code::BLOB | code::BLOB_COMPRESSED => word.ends_with("text") || word.ends_with("blob") || word == "json",
        code::JSON => word == "json",
        code::ENUM => word == "enum",
        code::SET => word == "set",
        code::VECTOR => word == "vector",
        code::GEOMETRY => {
            matches!(word, "geometry" | "geomcollection" | "geometrycollection")
                || word.ends_with("point")
                || word.ends_with("linestring")
                || word.ends_with("polygon")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_unescaped() {
        let members = members_of_type(r"enum('a','it''s','x,y','b\\c','')").unwrap();
        assert_eq!(members.iter().map(|m| &**m).collect::<Vec<_>>(), ["a", "it's", "x,y", r"b\c", ""]);
        assert!(members_of_type("enum('a'").is_none());
        assert!(members_of_type("int").is_none());
    }

    fn minimal(code: u8, meta: u16) -> TableMap {
        let column =
            MapColumn { code, meta, nullable: true, unsigned: None, collation: None, name: None, dimensions: None, members: None };
        TableMap { schema: "s".into(), table: "t".into(), columns: vec![column], primary_key: None }
    }

    fn info(column_type: &str, columns: usize) -> TableInfo {
        let column = ColumnInfo {
            name: "c".into(),
            column_type: column_type.into(),
            collation: None,
            nullable: true,
            virtual_generated: false,
            invisible: false,
            default: None,
        };
        TableInfo { columns: vec![column; columns], primary_key: vec![0], unique_key: vec![], hashes_max: 0 }
    }

    #[test]
    fn minimal_metadata_takes_names_and_key_from_the_server() {
        let draft = draft(&minimal(code::LONG, 0), Some(&info("int(10) unsigned", 1))).unwrap();
        assert_eq!(draft.relation.columns[0].source_type, SourceType::Int { bits: 32, unsigned: true });
        assert_eq!((draft.relation.key_origin, draft.relation.key), (KeyOrigin::Primary, vec![0]));
        assert!(draft.is_minimal && draft.is_from_server);
    }

    #[test]
    fn a_table_that_was_altered_since_is_refused() {
        let map = minimal(code::LONG, 0);
        assert!(matches!(draft(&map, Some(&info("int", 2))), Err(PlanError::ColumnCount { logged: 1, now: 2 })));
        assert!(matches!(draft(&map, Some(&info("bigint", 1))), Err(PlanError::TypeChanged { .. })));
        assert!(matches!(draft(&map, None), Err(PlanError::NoNames)));
    }
}
