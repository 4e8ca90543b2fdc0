//! Where schema histories are kept: each pipeline's own, because it moves with its cursor.
//!
//! Format: sled trees `histories`, pipeline name → JSON of [`Span`], and `versions`, pipeline name 0 schema 0 table 0 file number 8 offset 8
//! (both big-endian) → JSON of a version. What is written is durable with the next flush, or with the next commit of a cursor.

use serde::{Deserialize, Serialize};

use super::{CursorError, Store, open_error};
use crate::position::{Position, file_number};

/// From where to where a pipeline has read all statements that define tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    pub since: Position,
    /// At least to here; to the pipeline's cursor in any case.
    pub reached: Position,
    /// All tables were taken down that were known at `since`, or later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_whole: bool,
}

/// The history of one pipeline.
#[derive(Clone, Debug)]
pub struct Histories {
    store: Store,
    pipeline: String,
}

/// The key of a version, as the store gives it out and takes it back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionKey(Vec<u8>);

/// File number and offset.
const PLACE_LEN: usize = 16;

impl VersionKey {
    /// Schema and table; `None`: no key of ours.
    pub fn table(&self) -> Option<(&str, &str)> {
        let end = self.0.len().checked_sub(PLACE_LEN + 1)?;
        let mut parts = self.0.get(..end)?.rsplitn(3, |b| *b == 0);
        let (table, schema) = (parts.next()?, parts.next()?);
        Some((std::str::from_utf8(schema).ok()?, std::str::from_utf8(table).ok()?))
    }
}

impl Store {
    pub fn history(&self, pipeline: &str) -> Histories {
        Histories { store: self.clone(), pipeline: pipeline.to_owned() }
    }
}

impl Histories {
    pub fn span(&self) -> Result<Option<Span>, CursorError> {
        let value = self.store.histories.get(&self.pipeline).map_err(|e| self.read_error(e))?;
        value.map(|v| serde_json::from_slice(&v).map_err(|e| self.damaged(&e))).transpose()
    }

    pub fn set_span(&self, span: &Span) -> Result<(), CursorError> {
        let value = serde_json::to_vec(span).unwrap_or_default();
        self.store.histories.insert(&self.pipeline, value).map(drop).map_err(|e| self.write_error(e))
    }

    /// Where the pipeline stands.
    pub fn cursor(&self) -> Result<Option<Position>, CursorError> {
        Ok(self.store.get(&self.pipeline)?.map(|cursor| cursor.position))
    }

    /// Forgets everything.
    pub fn clear(&self) -> Result<(), CursorError> {
        for (key, _) in self.scan(&self.prefix("", ""))? {
            self.remove(&key)?;
        }
        self.store.histories.remove(&self.pipeline).map(drop).map_err(|e| self.write_error(e))
    }

    /// The versions of a table, by their places.
    pub fn of_table(&self, schema: &str, table: &str) -> Result<Vec<(VersionKey, Vec<u8>)>, CursorError> {
        self.scan(&self.prefix(schema, table))
    }

    /// The versions of all tables, table by table.
    pub fn all(&self) -> Result<Vec<(VersionKey, Vec<u8>)>, CursorError> {
        self.scan(&self.prefix("", ""))
    }

    /// The tables of a schema.
    pub fn tables_of(&self, schema: &str) -> Result<Vec<String>, CursorError> {
        let mut prefix = self.prefix("", "");
        prefix.extend_from_slice(schema.as_bytes());
        prefix.push(0);
        let mut tables: Vec<String> =
            self.scan(&prefix)?.iter().filter_map(|(key, _)| key.table().map(|(_, table)| table.to_owned())).collect();
        tables.dedup();
        Ok(tables)
    }

    pub fn put(&self, schema: &str, table: &str, at: &Position, value: Vec<u8>) -> Result<(), CursorError> {
        let mut key = self.prefix(schema, table);
        key.extend_from_slice(&file_number(&at.file).unwrap_or_default().to_be_bytes());
        key.extend_from_slice(&at.offset.to_be_bytes());
        self.replace(&VersionKey(key), value)
    }

    pub fn replace(&self, key: &VersionKey, value: Vec<u8>) -> Result<(), CursorError> {
        self.store.versions.insert(&key.0, value).map(drop).map_err(|e| self.write_error(e))
    }

    pub fn remove(&self, key: &VersionKey) -> Result<(), CursorError> {
        self.store.versions.remove(&key.0).map(drop).map_err(|e| self.write_error(e))
    }

    /// Durable when it returns.
    pub fn flush(&self) -> Result<(), CursorError> {
        self.store.db.flush().map(drop).map_err(|e| self.write_error(e))
    }

    /// A version that cannot be read.
    pub fn damaged(&self, error: &serde_json::Error) -> CursorError {
        let reason = format!("the schema history of pipeline `{}`: {error}", self.pipeline);
        CursorError::Damaged { path: self.store.path.clone(), reason }
    }

    /// Empty names: of all tables.
    fn prefix(&self, schema: &str, table: &str) -> Vec<u8> {
        let mut prefix = [self.pipeline.as_bytes(), &[0]].concat();
        if !schema.is_empty() {
            prefix.extend([schema.as_bytes(), &[0], table.as_bytes(), &[0]].concat());
        }
        prefix
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(VersionKey, Vec<u8>)>, CursorError> {
        let entry = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            entry.map(|(key, value)| (VersionKey(key.to_vec()), value.to_vec())).map_err(|e| self.read_error(e))
        };
        self.store.versions.scan_prefix(prefix).map(entry).collect()
    }

    fn read_error(&self, source: sled::Error) -> CursorError {
        open_error(&self.store.path, source)
    }

    fn write_error(&self, source: sled::Error) -> CursorError {
        CursorError::Write { path: self.store.path.clone(), source }
    }
}
