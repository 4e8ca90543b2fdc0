//! What waits together: the changes of one key, as a hash.
//!
//! Keys that are equal hash the same, under the collation of the column; if others do as well, they wait for nothing, which harms
//! nothing. Rows of a table without a key are told apart by nothing: the table is one unit.

use crate::change::{KeyOrigin, Op, Rows};
use crate::manifest::model::Ordering;
use crate::sink::cell::{Cell, View};
use crate::source::binlog::values::collation::{self, hash_bytes, hash_word};

/// The units of some rows.
#[derive(Debug)]
pub struct Units<'a> {
    rows: &'a Rows,
    table: u64,
    /// Collation, after, before.
    parts: Vec<(Option<u16>, Option<View<'a>>, Option<View<'a>>)>,
    by_table: bool,
}

impl<'a> Units<'a> {
    pub fn new(rows: &'a Rows, ordering: Ordering) -> Units<'a> {
        let relation = &rows.relation;
        let view = |image: &'a [Option<crate::change::Column>], at: usize| {
            image.get(at).and_then(Option::as_ref).and_then(|column| View::new(column, relation.columns[at].kind()))
        };
        let part = |&at: &u16| {
            let at = usize::from(at);
            (relation.columns[at].source_type.collation(), view(&rows.after, at), view(&rows.before, at))
        };
        let parts = if relation.key_origin == KeyOrigin::WholeRow { Vec::new() } else { relation.key.iter().map(part).collect() };
        Units {
            rows,
            table: hash_bytes(relation.table.as_bytes(), hash_bytes(relation.schema.as_bytes(), 0)),
            parts,
            by_table: ordering == Ordering::Table,
        }
    }

    /// What the row waits with.
    pub fn unit(&self, row: usize) -> u64 {
        if self.by_table { self.table } else { self.of_key(row) }
    }

    /// Of the key, and of the table.
    pub fn both(&self, row: usize) -> (u64, u64) {
        (self.of_key(row), self.table)
    }

    fn of_key(&self, row: usize) -> u64 {
        let mut hash = self.table;
        for (collation, after, before) in &self.parts {
            let view = if self.rows.ops[row] == Op::Delete { before } else { after };
            hash = match (view.as_ref().map_or(Cell::Null, |view| view.cell(row)), collation) {
                (Cell::Null, _) => hash_word(0, hash),
                (Cell::Boolean(value), _) => hash_word(i64::from(value), hash),
                (Cell::Int(word) | Cell::Date(word) | Cell::Time(word) | Cell::DateTime(word) | Cell::Timestamp(word), _) => {
                    hash_word(word, hash)
                }
                (Cell::UInt(word), _) => hash_word(word.cast_signed(), hash),
                (Cell::Float(number), _) => hash_word((if number == 0.0 { 0.0 } else { number }).to_bits().cast_signed(), hash),
                (Cell::Text(text), Some(collation)) => collation::hash(*collation, text.as_bytes(), hash),
                (Cell::Text(text) | Cell::Decimal(text) | Cell::Json(text), _) => hash_bytes(text.as_bytes(), hash),
                (Cell::Bytes(bytes), _) => hash_bytes(bytes, hash),
            };
        }
        hash
    }
}
