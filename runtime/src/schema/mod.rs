//! Schemas: which columns a table had when a row of it was written.
//!
//! Stands beside the decoder, which asks it where a TABLE_MAP does not say the names or the key. [`ddl`] reads the statements of the
//! binlog, [`apply`] changes tables by them, [`history`] keeps the versions of each table with their positions, [`scan`] proves whether
//! what the server says now was so at a position.
//!
//! Invariant: a table's columns are known or they are not ([`State`]); what was not understood is never guessed.

pub mod apply;
pub mod ddl;
pub mod follow;
pub mod followed;
#[cfg(test)]
mod fuzz;
pub mod history;
pub mod kept;

pub mod names;
pub mod scan;

pub mod token;
pub mod types;

use serde::{Deserialize, Serialize};

use crate::change::{ColumnDef, KeyOrigin, Relation};
use crate::source::{ColumnInfo, TableInfo};

/// In place of the id of a collation that is not known.
pub const COLLATION_UNKNOWN: u16 = 0;

/// A table as it was at one position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub columns: Vec<Column>,
    /// Unique keys, the primary key under the name `PRIMARY`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// What its text columns have unless they say otherwise.
    pub collation: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The same for as long as it is the same column, whatever its name, its place and its table: a copy of a table has its columns.
    pub id: u64,
    pub name: Box<str>,
    /// As information_schema writes it, but for the display width of integers: `int unsigned`, `enum('a','b')`, `varchar(20)`.
    pub column_type: Box<str>,
    /// Of a text column; [`COLLATION_UNKNOWN`] where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<u16>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nullable: bool,
    #[serde(default, skip_serializing_if = "Generated::is_not")]
    pub generated: Generated,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invisible: bool,
    /// What a row has that is inserted without it; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Fill>,
    /// What the statement that added it gave to the rows that were there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generated {
    #[default]
    Not,
    Virtual,
    Stored,
}

impl Generated {
    fn is_not(&self) -> bool {
        *self == Generated::Not
    }
}

/// What a column holds in rows that were written without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    Null,
    /// As a text of the value.
    Value(Box<str>),
    /// Of an expression: only the source knows.
    Computed,
}

/// A unique key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub name: Box<str>,
    /// Names of columns.
    pub columns: Vec<Box<str>>,
    /// False: it has expressions or parts of columns, so that it does not tell every row apart.
    pub is_whole: bool,
}

/// The columns that end a system-versioned table of MariaDB, though nobody declared them.
pub const IMPLICIT_VERSIONS: [&str; 2] = ["row_start", "row_end"];

pub const PRIMARY: &str = "PRIMARY";

/// What is known of a table at a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Known(Table),
    /// A statement touched it in a way that is not understood: its text, and where it ends.
    Unknown {
        statement: Box<str>,
        at: Box<str>,
    },
    Dropped,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| is_same_name(&c.name, name))
    }

    /// What a table's rows say of it. `seed`: different for each place of a binlog.
    fn of_relation(relation: &Relation, seed: u64) -> Table {
        let column = |(ordinal, def): (usize, &ColumnDef)| Column {
            id: apply::id(seed ^ u64::from(relation.id) << 20, ordinal as u64),
            name: def.name.clone(),
            column_type: def.source_type.to_string().into(),
            collation: def.source_type.collation(),
            nullable: def.nullable,
            ..Column::default()
        };
        let key = || relation.key.iter().map(|k| relation.columns[usize::from(*k)].name.clone()).collect();
        let keys = match relation.key_origin {
            KeyOrigin::Primary => vec![Key { name: PRIMARY.into(), columns: key(), is_whole: true }],
            KeyOrigin::Unique => vec![Key { name: "unique".into(), columns: key(), is_whole: true }],
            KeyOrigin::WholeRow => Vec::new(),
        };
        Table { columns: relation.columns.iter().enumerate().map(column).collect(), keys, collation: COLLATION_UNKNOWN }
    }

    /// Indexes of the columns of a key that tells every row apart; `None`: it does not, or it cannot be NOT NULL.
    fn key_columns(&self, key: &Key) -> Option<Vec<u16>> {
        let index = |name: &str| self.column(name).filter(|&i| !self.columns[i].nullable).map(|i| i as u16);
        if key.is_whole { key.columns.iter().map(|name| index(name)).collect() } else { None }
    }

    /// MariaDB keeps a hash for a unique key of a whole TEXT or BLOB, or of more bytes than its engine's indexes take: 767 with the one that
    /// takes the fewest.
    fn may_be_hashed(&self, key: &Key) -> bool {
        let bytes = |name: &str| {
            let Some(column) = self.column(name).map(|at| &self.columns[at]) else { return 0 };
            let (word, rest) = column.column_type.split_once('(').unwrap_or((&column.column_type, ""));
            let length: u32 = rest.strip_suffix(')').and_then(|n| n.parse().ok()).unwrap_or_default();
            match word {
                "char" | "varchar" => length.saturating_mul(names::bytes_per_char(column.collation.unwrap_or_default())),
                "binary" | "varbinary" => length,
                word if word.ends_with("text") || word.ends_with("blob") => u32::MAX,
                _ => 0,
            }
        };
        key.is_whole && key.columns.iter().map(|name| bytes(name)).fold(0, u32::saturating_add) > 767
    }

    /// What decoding takes.
    pub fn info(&self) -> TableInfo {
        let column = |c: &Column| ColumnInfo {
            name: c.name.clone(),
            column_type: c.column_type.clone(),
            collation: c.collation.filter(|id| *id != COLLATION_UNKNOWN),
            nullable: c.nullable,
            virtual_generated: c.generated == Generated::Virtual,
            invisible: c.invisible,
            default: c.default.clone(),
        };
        let primary = self.keys.iter().find(|k| &*k.name == PRIMARY).and_then(|k| self.key_columns(k));
        let mut unique: Vec<_> =
            self.keys.iter().filter(|k| &*k.name != PRIMARY).filter_map(|k| Some((&k.name, self.key_columns(k)?))).collect();
        unique.sort_by_key(|(name, _)| *name);
        TableInfo {
            columns: self.columns.iter().map(column).collect(),
            primary_key: primary.unwrap_or_default(),
            unique_key: unique.into_iter().next().map(|(_, columns)| columns).unwrap_or_default(),
            hashes_max: self.keys.iter().filter(|key| self.may_be_hashed(key)).count(),
        }
    }
}

/// Names of columns and keys are the same in any case.
pub fn is_same_name(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() { a.eq_ignore_ascii_case(b) } else { a.to_lowercase() == b.to_lowercase() }
}
