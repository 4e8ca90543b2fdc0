//! How the rows of a table are read: the SELECT of a chunk, and the plan that makes its rows the same as those of the stream.

use std::fmt::Write;

use crate::change::{KeyOrigin, Relation, SourceType};
use crate::source::TableInfo;
use crate::source::binlog::plan::{self, ColumnPlan, Draft, KeyPart, Width};
use crate::source::binlog::value::Decode;
use crate::source::binlog::values::charset::Charset;
use crate::source::mysql::{Wire, quoted};
use crate::temporal;

use super::to_read::{Key, Range};

/// A table as it was described at one time.
#[derive(Debug)]
pub struct TablePlan {
    pub relation: Relation,
    columns: Vec<SentColumn>,
    /// Rows, as the server estimates them.
    pub rows: u64,
}

#[derive(Debug)]
struct SentColumn {
    expression: String,
    wire: Wire,
    decode: Decode,
}

impl TablePlan {
    /// `Err`: the name of a column whose type is not known.
    pub fn new(info: &TableInfo, schema: &str, table: &str, rows: u64) -> Result<TablePlan, Box<str>> {
        let relation = info.relation(schema, table)?;
        let column = |(i, c): (usize, &crate::source::ColumnInfo)| {
            sent_column(&c.name, &relation.columns[i].source_type).ok_or_else(|| c.name.clone())
        };
        let columns = info.columns.iter().enumerate().map(column).collect::<Result<_, _>>()?;
        Ok(TablePlan { relation, columns, rows })
    }

    /// What the decoder makes its plan of.
    pub fn draft(&self) -> Draft {
        let width = |wire| match wire {
            Wire::Fixed(bytes) => Width::Fixed(bytes.into()),
            Wire::Temporal => Width::Prefixed(1),
            Wire::String => Width::Lenenc,
        };
        let columns: Vec<ColumnPlan> =
            self.columns.iter().map(|c| ColumnPlan { width: width(c.wire), decode: c.decode.clone() }).collect();
        let part = |&column: &u16| KeyPart { column, hash: plan::key_hash(&self.relation.columns, &columns, column.into()) };
        let key = self.relation.key.iter().map(part).collect();
        Draft { relation: self.relation.clone(), columns, key, is_from_server: true, is_minimal: false }
    }

    /// True if an answer has the columns in the form that the plan expects.
    pub(super) fn is_sent_as(&self, wires: &[Wire]) -> bool {
        self.columns.iter().map(|c| &c.wire).eq(wires)
    }

    /// The rows of a range in the order of the key, `limit` of them at most; without a key all rows.
    pub fn select(&self, range: &Range, filter: Option<&str>, limit: usize, locks: bool) -> String {
        let mut sql = String::from("SELECT ");
        for (i, column) in self.columns.iter().enumerate() {
            sql.push_str(if i > 0 { ", " } else { "" });
            sql.push_str(&column.expression);
        }
        self.write_from(&mut sql);
        if self.relation.key_origin == KeyOrigin::WholeRow {
            filter.iter().for_each(|filter| sql.push_str(&format!(" WHERE ({filter}\n)")));
            return sql;
        }
        self.write_range(&mut sql, range, filter);
        let _ = write!(sql, " LIMIT {limit}");
        if locks {
            sql.push_str(" LOCK IN SHARE MODE");
        }
        sql
    }

    /// The key that has `rows` rows of the range in front of it. The server looks at keys alone, and sends one.
    pub(super) fn select_ahead(&self, range: &Range, rows: u64) -> String {
        let mut sql = String::from("SELECT ");
        for (i, &column) in self.relation.key.iter().enumerate() {
            sql.push_str(if i > 0 { ", " } else { "" });
            sql.push_str(&self.columns[usize::from(column)].expression);
        }
        self.write_from(&mut sql);
        self.write_range(&mut sql, range, None);
        let _ = write!(sql, " LIMIT 1 OFFSET {rows}");
        sql
    }

    fn write_from(&self, sql: &mut String) {
        let _ = write!(sql, " FROM {}.{}", quoted(&self.relation.schema), quoted(&self.relation.table));
        if self.relation.key_origin == KeyOrigin::Primary {
            sql.push_str(" FORCE INDEX (PRIMARY)");
        }
    }

    /// The rows of a range in the order of the key.
    fn write_range(&self, sql: &mut String, range: &Range, filter: Option<&str>) {
        let key: Vec<String> = self.relation.key.iter().map(|c| quoted(&self.relation.columns[usize::from(*c)].name)).collect();
        let as_compared = |&column: &u16| {
            let column = &self.relation.columns[usize::from(column)];
            match &column.source_type {
                // Servers take a SET with the 64th member for a negative number where they compare it, not where they sort.
                SourceType::Set { members, .. } if members.len() == 64 => format!("CAST({} AS UNSIGNED)", quoted(&column.name)),
                _ => quoted(&column.name),
            }
        };
        let compared_key: Vec<String> = self.relation.key.iter().map(as_compared).collect();
        let mut conditions = Vec::new();
        if !range.after.is_empty() {
            conditions.push(compared(&compared_key, &range.after, ">", ">"));
        }
        if let Some(until) = &range.until {
            conditions.push(compared(&compared_key, until, "<", "<="));
        }
        // The line break ends a comment in the filter.
        filter.iter().for_each(|filter| conditions.push(format!("({filter}\n)")));
        if !conditions.is_empty() {
            let _ = write!(sql, " WHERE {}", conditions.join(" AND "));
        }
        let _ = write!(sql, " ORDER BY {}", key.join(", "));
    }

    /// The first and the last value of a key that begins with a whole number; it can be divided without looking at the rows.
    pub fn bounds(&self) -> Option<String> {
        let first = &self.relation.columns[usize::from(*self.relation.key.first()?)];
        let SourceType::Int { .. } = first.source_type else { return None };
        let name = quoted(&first.name);
        let (schema, table) = (quoted(&self.relation.schema), quoted(&self.relation.table));
        Some(format!("SELECT MIN({name}), MAX({name}) FROM {schema}.{table}"))
    }

    /// The key of a row that was sent, as literals.
    pub fn key_of(&self, row: &[u8]) -> Option<Key> {
        let cells = cells(self.columns.iter().map(|c| c.wire), row)?;
        let literal = |&c: &u16| self.literal(usize::from(c), cells[usize::from(c)]?);
        self.relation.key.iter().map(literal).collect()
    }

    /// As [`TablePlan::key_of`], of a row that has the key alone.
    pub(super) fn key_ahead(&self, row: &[u8]) -> Option<Key> {
        let key = || self.relation.key.iter().map(|c| usize::from(*c));
        let cells = cells(key().map(|c| self.columns[c].wire), row)?;
        key().zip(cells).map(|(column, cell)| self.literal(column, cell?)).collect()
    }

    fn literal(&self, column: usize, cell: &[u8]) -> Option<String> {
        let hex = || cell.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let (source_type, decode) = (&self.relation.columns[column].source_type, &self.columns[column].decode);
        let word = || decode.word(cell).ok();
        Some(match source_type {
            SourceType::Int { unsigned: false, .. } | SourceType::Year => word()?.to_string(),
            SourceType::Int { unsigned: true, .. } | SourceType::Bit { .. } => (word()? as u64).to_string(),
            SourceType::Enum { .. } | SourceType::Set { .. } => (word()? as u64).to_string(),
            SourceType::Float | SourceType::Double => format!("{:e}", f64::from_bits(word()? as u64)),
            SourceType::Decimal { .. } => std::str::from_utf8(cell).ok()?.to_owned(),
            SourceType::Date | SourceType::DateTime { .. } | SourceType::Timestamp { .. } | SourceType::Time { .. } => {
                let mut text = String::from("'");
                match source_type {
                    SourceType::Date => temporal::write_date(&mut text, word()?),
                    SourceType::Time { fsp } => temporal::write_time(&mut text, word()?, *fsp),
                    SourceType::DateTime { fsp } | SourceType::Timestamp { fsp } => {
                        temporal::write_datetime(&mut text, word()?, *fsp);
                    }
                    _ => return None,
                }
                text + "'"
            }
            _ => match source_type.collation().and_then(Charset::of_collation) {
                Some(charset) => format!("_{} x'{}'", charset.name(), hex()),
                None => format!("x'{}'", hex()),
            },
        })
    }
}

/// The cells of a row that was sent; `None` in it: NULL.
fn cells(wires: impl ExactSizeIterator<Item = Wire>, row: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let nulls_len = (wires.len() + 9) / 8;
    let nulls = row.get(1..1 + nulls_len)?;
    let mut at = 1 + nulls_len;
    let mut cells = Vec::with_capacity(wires.len());
    for (i, wire) in wires.enumerate() {
        if nulls[(i + 2) / 8] >> ((i + 2) % 8) & 1 == 1 {
            cells.push(None);
            continue;
        }
        let rest = row.get(at..)?;
        let (head, len) = match wire {
            Wire::Fixed(bytes) => (0, usize::from(bytes)),
            Wire::Temporal => (1, usize::from(*rest.first()?)),
            Wire::String => {
                let (len, tail) = crate::source::gtid_event::lenenc(rest)?;
                (rest.len() - tail.len(), usize::try_from(len).ok()?)
            }
        };
        cells.push(Some(rest.get(head..head + len)?));
        at += head + len;
    }
    Some(cells)
}

/// `(a, b) > (x, y)`, or another comparison, so written that servers use the index for it. `last` compares the last column, `others` those
/// before it.
fn compared(key: &[String], with: &Key, others: &str, last: &str) -> String {
    let columns = key.len().min(with.len());
    let mut or = Vec::new();
    for column in (0..columns).rev() {
        let mut and: Vec<String> = (0..column).map(|i| format!("{} = {}", key[i], with[i])).collect();
        and.push(format!("{} {} {}", key[column], if column + 1 == columns { last } else { others }, with[column]));
        or.push(and.join(" AND "));
    }
    format!("(({}))", or.join(") OR ("))
}

fn sent_column(name: &str, source_type: &SourceType) -> Option<SentColumn> {
    let name = quoted(name);
    let text = |collation: &u16| {
        let charset = Charset::of_collation(*collation)?;
        Some(if charset.is_utf8() { Decode::Copy } else { Decode::Transcode(charset) })
    };
    let (wire, decode) = match source_type {
        SourceType::Int { bits, unsigned } => match (bits, unsigned) {
            (8, false) => (Wire::Fixed(1), Decode::I8),
            (8, true) => (Wire::Fixed(1), Decode::U8),
            (16, false) => (Wire::Fixed(2), Decode::I16),
            (16, true) => (Wire::Fixed(2), Decode::U16),
            // MEDIUMINT is sent in four bytes.
            (24 | 32, false) => (Wire::Fixed(4), Decode::I32),
            (24 | 32, true) => (Wire::Fixed(4), Decode::U32),
            (_, false) => (Wire::Fixed(8), Decode::I64),
            (_, true) => (Wire::Fixed(8), Decode::U64),
        },
        SourceType::Float => (Wire::Fixed(4), Decode::F32),
        SourceType::Double => (Wire::Fixed(8), Decode::F64),
        SourceType::Decimal { precision, scale, .. } => {
            (Wire::String, Decode::SentDecimal { precision: *precision, scale: *scale })
        }
        SourceType::Bit { .. } => (Wire::String, Decode::Bit),
        SourceType::Year => (Wire::Fixed(2), Decode::SentYear),
        SourceType::Date => (Wire::Temporal, Decode::SentDate),
        SourceType::Time { .. } => (Wire::Temporal, Decode::SentTime),
        SourceType::DateTime { .. } | SourceType::Timestamp { .. } => (Wire::Temporal, Decode::SentDateTime),
        SourceType::Char { collation, .. } | SourceType::VarChar { collation, .. } | SourceType::Text { collation, .. } => {
            (Wire::String, text(collation)?)
        }
        SourceType::Binary { length } => (Wire::String, Decode::Pad(*length)),
        SourceType::VarBinary { .. }
        | SourceType::Blob { .. }
        | SourceType::Geometry
        | SourceType::Vector { .. }
        | SourceType::Json => (Wire::String, Decode::Copy),
        SourceType::Enum { members, .. } => (Wire::Fixed(8), Decode::Enum(members.clone())),
        SourceType::Set { members, .. } => (Wire::Fixed(8), Decode::Set(members.clone())),
        SourceType::Address(address) => (Wire::String, Decode::Address(*address)),
        SourceType::Plugin(_) => return None,
    };
    let expression = match source_type {
        // The number, and the bytes, that the binlog has, too. `| 0`: MariaDB sends short ones in four bytes otherwise.
        SourceType::Enum { .. } | SourceType::Set { .. } => format!("CAST({name} AS UNSIGNED) | 0"),
        SourceType::Address(address) => format!("CAST({name} AS BINARY({}))", address.bytes()),
        _ => name,
    };
    Some(SentColumn { expression, wire, decode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ColumnInfo;

    fn info(columns: &[(&str, &str, Option<u16>)], key: &[u16]) -> TableInfo {
        let column = |(name, column_type, collation): &(&str, &str, Option<u16>)| ColumnInfo {
            name: (*name).into(),
            column_type: (*column_type).into(),
            collation: *collation,
            nullable: false,
            virtual_generated: false,
            invisible: false,
            default: None,
        };
        TableInfo {
            columns: columns.iter().map(column).collect(),
            primary_key: key.to_vec(),
            unique_key: Vec::new(),
            hashes_max: 0,
        }
    }

    #[test]
    fn a_page_begins_behind_the_last_key() {
        let table = info(&[("a", "int", None), ("b`", "varchar(9)", Some(45)), ("e", "enum('x')", Some(45))], &[0, 1]);
        let plan = TablePlan::new(&table, "s", "t", 0).unwrap();
        let begin = "SELECT `a`, `b```, CAST(`e` AS UNSIGNED) | 0 FROM `s`.`t` FORCE INDEX (PRIMARY)";
        let end = "ORDER BY `a`, `b``` LIMIT 5";
        let owned = |key: &[&str]| key.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let select = |after: &[&str], until: Option<&[&str]>, filter: Option<&str>| {
            let range = Range { after: owned(after), until: until.map(owned) };
            plan.select(&range, filter, 5, false)
        };
        assert_eq!(select(&[], None, None), format!("{begin} {end}"));
        let after = "((`a` = 7 AND `b``` > x'00') OR (`a` > 7))";
        assert_eq!(select(&["7", "x'00'"], Some(&["9"]), None), format!("{begin} WHERE {after} AND ((`a` <= 9)) {end}"));
        let until = "((`a` = 9 AND `b``` <= x'01') OR (`a` < 9))";
        assert_eq!(select(&[], Some(&["9", "x'01'"]), None), format!("{begin} WHERE {until} {end}"));
        // A range that was divided begins with the first column alone.
        assert_eq!(select(&["7"], None, Some("a > 1 -- x")), format!("{begin} WHERE ((`a` > 7)) AND (a > 1 -- x\n) {end}"));
        assert!(plan.select(&Range::default(), None, 5, true).ends_with("LIMIT 5 LOCK IN SHARE MODE"));
    }

    #[test]
    fn keys_are_literals_that_give_back_their_values() {
        let table = info(
            &[
                ("i", "int", None),
                ("u", "bigint unsigned", None),
                ("d", "decimal(5,2)", None),
                ("l", "varchar(9)", Some(8)),
                ("b", "binary(3)", None),
                ("t", "datetime(3)", None),
                ("f", "float", None),
            ],
            &[0, 1, 2, 3, 4, 5, 6],
        );
        let plan = TablePlan::new(&table, "s", "t", 0).unwrap();
        let mut row = vec![0, 0, 0];
        row.extend_from_slice(&(-5i32).to_le_bytes());
        row.extend_from_slice(&u64::MAX.to_le_bytes());
        row.extend_from_slice(b"\x04-1.5\x02\xe9'\x03\x00\x01\x00");
        row.extend_from_slice(&[11, 0xe8, 0x07, 2, 29, 12, 0, 1, 0x08, 0xe2, 0x01, 0]);
        row.extend_from_slice(&0.1f32.to_le_bytes());
        let key = plan.key_of(&row).unwrap();
        assert_eq!(
            key,
            [
                "-5",
                "18446744073709551615",
                "-1.5",
                "_latin1 x'e927'",
                "x'000100'",
                "'2024-02-29 12:00:01.123'",
                "1.0000000149011612e-1"
            ]
        );
        // A row that ends too early has no key, and does not panic.
        assert!((0..row.len()).all(|len| plan.key_of(&row[..len]).is_none()));
    }
}
