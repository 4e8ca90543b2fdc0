//! What a statement at the source changes of the tables: what sinks make of it at their targets with `ddl = "follow"`.
//!
//! Stands beside [`change`](crate::change): rows flow there, tables change here. Made by [`schema::follow`](crate::schema::follow).

use std::sync::Arc;

use crate::change::Relation;
use crate::schema::ddl::Name;

mod convert;

pub use convert::{Conversion, conversion};

/// The change of tables that one statement made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    /// Which statement it was: the same whenever it is read, and another one for every other statement of the pipeline.
    pub key: String,
    /// The source's session refused values that do not fit: whatever was in the tables was kept.
    pub is_strict: bool,
    /// In the order in which they are made.
    pub tables: Vec<TableChange>,
    /// The followed tables that the statement is not about.
    pub others: Vec<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableChange {
    /// A new table, without rows.
    Create(Arc<Relation>),
    Drop(Name),
    /// All rows are gone.
    Empty(Name),
    /// All at once: two tables may change their names.
    Rename(Vec<(Name, Name)>),
    Alter(Altered),
    /// It is altered, and nobody knows what it was before.
    Unknown(Name),
}

/// Other columns, or another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    /// Both under the name that the table has at the end of the statement.
    pub before: Arc<Relation>,
    pub after: Arc<Relation>,
    /// By column of `after`.
    pub origins: Vec<Origin>,
}

/// Where a column's values in the rows that are there come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This column of `before`.
    Was(usize),
    /// It is new, and all rows have this.
    New(Constant),
}

/// A value in the form in which rows bring it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constant {
    Null,
    Number(String),
    /// Text, decimals, dates and times.
    Text(String),
    Bytes(Vec<u8>),
}

impl Altered {
    /// The column of `after` that a column of `before` became; `None`: it is gone.
    pub fn becomes(&self, before: usize) -> Option<usize> {
        self.origins.iter().position(|origin| *origin == Origin::Was(before))
    }

    /// Columns of the key: names before and after, which differ if it is another key.
    pub fn is_key_changed(&self) -> bool {
        let old: Vec<Option<usize>> = self.before.key.iter().map(|k| self.becomes(usize::from(*k))).collect();
        let new: Vec<Option<usize>> = self.after.key.iter().map(|k| Some(usize::from(*k))).collect();
        old != new
    }
}
