//! TABLE_MAP events: the table that the row events after it are about.
//!
//! Format: MySQL source `libs/mysql/binlog/event/rows_event.h`, class `Table_map_event`: table id 6, flags 2, schema (length 1, text,
//! 0), table (the same), column count (length-encoded), type codes, type metadata (length-encoded), null bits, then optional
//! metadata as (type 1, length-encoded, bytes). `binlog_row_metadata = MINIMAL` has signedness and charsets only (MySQL 8.0 and
//! later) or nothing (MySQL 5.7, MariaDB's NO_LOG); FULL has names, members, keys and visibility as well.

use super::event::{Reader, Truncated};

/// Column type codes (`enum_field_types`) as they stand in a TABLE_MAP.
pub mod code {
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    /// MariaDB's COMPRESSED columns.
    pub const BLOB_COMPRESSED: u8 = 140;
    pub const VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableMapError {
    #[error(transparent)]
    Truncated(#[from] Truncated),
    #[error("a name is not valid UTF-8")]
    Name,
    #[error("column {column} has type {code}, which is not known\nhint: leave the table out, or give the column another type")]
    Type { column: usize, code: u8 },
    #[error("the metadata of field {field} does not fit the columns")]
    Metadata { field: u8 },
    #[error("more columns ({0}) than a table can have")]
    Columns(u64),
}

/// A column as the TABLE_MAP says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapColumn {
    /// The real type: ENUM and SET are told from STRING, whose code they have on the wire.
    pub code: u8,
    /// Byte length of a string, length bytes of a blob, fractional digits, precision (high byte) and scale, bits, pack length.
    pub meta: u16,
    pub nullable: bool,
    /// `None`: not said.
    pub unsigned: Option<bool>,
    pub collation: Option<u16>,
    pub name: Option<Box<str>>,
    /// Of VECTOR.
    pub dimensions: Option<u16>,
    /// Of ENUM and SET, in the column's character set.
    pub members: Option<Vec<Box<[u8]>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMap {
    pub schema: Box<str>,
    pub table: Box<str>,
    pub columns: Vec<MapColumn>,
    /// Column indexes in key order; `None`: not said, which under FULL metadata means that there is none.
    pub primary_key: Option<Vec<u16>>,
}

impl TableMap {
    /// True under `binlog_row_metadata = FULL`.
    pub fn has_names(&self) -> bool {
        self.columns.iter().all(|c| c.name.is_some())
    }
}

/// MySQL allows 4096 columns a table.
const COLUMNS_MAX: u64 = 4096;

/// Schema and table of the body of a TABLE_MAP (after the header) without the rest, and the reader behind them.
pub fn names(body: &[u8]) -> Result<(&str, &str, Reader<'_>), TableMapError> {
    let mut reader = Reader::new(body);
    reader.bytes(8)?;
    let mut name = || -> Result<&str, TableMapError> {
        let len = reader.u8()?;
        let name = std::str::from_utf8(reader.bytes(usize::from(len))?).map_err(|_| TableMapError::Name)?;
        reader.u8()?;
        Ok(name)
    };
    let (schema, table) = (name()?, name()?);
    Ok((schema, table, reader))
}

/// Parses the body of a TABLE_MAP (after the header).
pub fn parse(body: &[u8], is_mariadb: bool) -> Result<TableMap, TableMapError> {
    let (schema, table, mut reader) = names(body)?;
    let count = reader.lenenc()?;
    if count > COLUMNS_MAX {
        return Err(TableMapError::Columns(count));
    }
    let count = count as usize;
    let codes = reader.bytes(count)?;
    let mut metas = Reader::new(reader.lenenc_bytes()?);
    let nulls = reader.bytes(count.div_ceil(8))?;
    let mut columns = Vec::with_capacity(count);
    for (i, &wire_code) in codes.iter().enumerate() {
        let (code, meta) = type_meta(i, wire_code, &mut metas)?;
        let nullable = nulls[i / 8] >> (i % 8) & 1 == 1;
        columns.push(MapColumn {
            code,
            meta,
            nullable,
            unsigned: None,
            collation: None,
            name: None,
            dimensions: None,
            members: None,
        });
    }
    let mut map = TableMap { schema: schema.into(), table: table.into(), columns, primary_key: None };
    while !reader.is_empty() {
        let field = reader.u8()?;
        let value = reader.lenenc_bytes()?;
        optional(&mut map, is_mariadb, field, Reader::new(value), value)?;
    }
    Ok(map)
}

/// Reads a column's type metadata (`Table_map_event`, table "Table_map_event column types").
fn type_meta(column: usize, wire_code: u8, metas: &mut Reader<'_>) -> Result<(u8, u16), TableMapError> {
    use code::*;
    Ok(match wire_code {
        TINY | SHORT | LONG | LONGLONG | INT24 | TIMESTAMP | DATE | TIME | DATETIME | YEAR | NEWDATE => (wire_code, 0),
        FLOAT | DOUBLE | BLOB | BLOB_COMPRESSED | GEOMETRY | JSON | VECTOR | TIMESTAMP2 | DATETIME2 | TIME2 => {
            (wire_code, u16::from(metas.u8()?))
        }
        VARCHAR | VARCHAR_COMPRESSED => (wire_code, metas.u16()?),
        NEWDECIMAL => {
            let (precision, scale) = (metas.u8()?, metas.u8()?);
            (NEWDECIMAL, u16::from_be_bytes([precision, scale]))
        }
        BIT => {
            let (bits, bytes) = (metas.u8()?, metas.u8()?);
            (BIT, u16::from(bytes) * 8 + u16::from(bits))
        }
        STRING | VAR_STRING | ENUM | SET => {
            let (high, low) = (metas.u8()?, metas.u8()?);
            // Lengths over 255 hide their two high bits, inverted, in the type byte.
            if high & 0x30 != 0x30 {
                (high | 0x30, u16::from(low) | u16::from(high & 0x30 ^ 0x30) << 4)
            } else {
                (high, u16::from(low))
            }
        }
        code => return Err(TableMapError::Type { column, code }),
    })
}

fn is_numeric(c: &MapColumn) -> bool {
    use code::*;
    matches!(c.code, TINY | SHORT | INT24 | LONG | LONGLONG | NEWDECIMAL | FLOAT | DOUBLE | YEAR)
}

/// MySQL 9 counts vectors among the columns with a charset (`binary`), because its field is a kind of BLOB; MariaDB counts geometry.
fn is_character(c: &MapColumn, is_mariadb: bool) -> bool {
    use code::*;
    if c.code == GEOMETRY {
        return is_mariadb;
    }
    matches!(c.code, STRING | VAR_STRING | VARCHAR | VARCHAR_COMPRESSED | BLOB | BLOB_COMPRESSED | VECTOR)
}

fn is_member(c: &MapColumn, _: bool) -> bool {
    matches!(c.code, code::ENUM | code::SET)
}

/// One field of the optional metadata (`Table_map_event::Optional_metadata_field_type`).
fn optional(map: &mut TableMap, is_mariadb: bool, field: u8, mut reader: Reader<'_>, bytes: &[u8]) -> Result<(), TableMapError> {
    let misfit = TableMapError::Metadata { field };
    let columns = &mut map.columns;
    match field {
        1 => {
            for (i, column) in columns.iter_mut().filter(|c| is_numeric(c)).enumerate() {
                let byte = bytes.get(i / 8).ok_or(misfit)?;
                column.unsigned = Some(byte >> (7 - i % 8) & 1 == 1);
            }
        }
        2 | 10 => {
            let kind = if field == 2 { is_character } else { is_member };
            let default = collation(&mut reader)?;
            let mut of_kind: Vec<&mut MapColumn> = columns.iter_mut().filter(|c| kind(c, is_mariadb)).collect();
            of_kind.iter_mut().for_each(|c| c.collation = Some(default));
            while !reader.is_empty() {
                let index = usize::try_from(reader.lenenc()?).map_err(|_| misfit)?;
                of_kind.get_mut(index).ok_or(misfit)?.collation = Some(collation(&mut reader)?);
            }
        }
        3 | 11 => {
            let kind = if field == 3 { is_character } else { is_member };
            for column in columns.iter_mut().filter(|c| kind(c, is_mariadb)) {
                column.collation = Some(collation(&mut reader)?);
            }
        }
        4 => {
            for column in columns.iter_mut() {
                let name = std::str::from_utf8(reader.lenenc_bytes()?).map_err(|_| TableMapError::Name)?;
                column.name = Some(name.into());
            }
        }
        5 | 6 => {
            let code = if field == 5 { code::SET } else { code::ENUM };
            for column in columns.iter_mut().filter(|c| c.code == code) {
                let count = reader.lenenc()?;
                let members: Result<Vec<Box<[u8]>>, Truncated> = (0..count).map(|_| reader.lenenc_bytes().map(Box::from)).collect();
                column.members = Some(members?);
            }
        }
        8 | 9 => {
            let mut key = Vec::new();
            while !reader.is_empty() {
                let index = reader.lenenc()?;
                if field == 9 {
                    // The prefix length in characters, 0 for the whole column. A whole column tells rows apart wherever its prefix does.
                    reader.lenenc()?;
                }
                let index = u16::try_from(index).ok().filter(|&i| usize::from(i) < columns.len() && !key.contains(&i));
                key.push(index.ok_or(misfit)?);
            }
            map.primary_key = Some(key);
        }
        13 => {
            for column in columns.iter_mut().filter(|c| c.code == code::VECTOR) {
                column.dimensions = Some(u16::try_from(reader.lenenc()?).map_err(|_| misfit)?);
            }
        }
        // GEOMETRY_TYPE, COLUMN_VISIBILITY and what later servers add: nothing that decoding depends on.
        _ => {}
    }
    Ok(())
}

fn collation(reader: &mut Reader<'_>) -> Result<u16, TableMapError> {
    // Collation ids fit in 12 bits.
    Ok(u16::try_from(reader.lenenc()?).map_err(|_| Truncated)?)
}
