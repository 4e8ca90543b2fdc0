//! What is left to read of a table, as the cursor store keeps it.

use serde::{Deserialize, Serialize};

use crate::position::Position;

/// The values of a key as SQL literals.
pub type Key = Vec<String>;

/// One table to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToRead {
    /// Unique within the pipeline.
    pub id: u64,
    pub schema: String,
    pub table: String,
    /// Only rows for which this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What is left.
    pub rest: Vec<Range>,
    /// Rows that were read.
    pub rows: u64,
    /// Rows that the server thinks the table has; 0: not known yet.
    pub estimate: u64,
    /// Of a table without a key, which is read in one go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Whole>,
    /// Of a table without a key: the target has rows of it, and has to be emptied first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_again: bool,
}

/// How far a table without a key is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// What was read has all changes before it: the stream's are left out up to there.
    pub position: Position,
    /// False: it was begun, and nobody knows which of its rows the target has.
    pub is_done: bool,
}

/// The rows with keys beyond `after` and up to `until`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Empty: from the first row.
    #[serde(default)]
    pub after: Key,
    /// A key, or its first columns; `None`: to the last row.
    #[serde(default)]
    pub until: Option<Key>,
}

impl ToRead {
    pub fn new(id: u64, schema: &str, table: &str, filter: Option<&str>) -> ToRead {
        ToRead {
            id,
            schema: schema.to_owned(),
            table: table.to_owned(),
            filter: filter.map(str::to_owned),
            rest: vec![Range::default()],
            rows: 0,
            estimate: 0,
            whole: None,
            is_again: false,
        }
    }

    /// A table without a key, of which nobody knows which rows the target has.
    pub fn is_cut(&self) -> bool {
        self.is_again || self.whole.as_ref().is_some_and(|whole| !whole.is_done)
    }
}

impl std::fmt::Display for ToRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}
