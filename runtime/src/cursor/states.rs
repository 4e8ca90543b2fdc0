//! Where the states of plugins are kept: each pipeline's own, because they move with its cursor.
//!
//! Format: sled trees `states`, pipeline 0 plugin 0 lane (big-endian) key → value, `state_marks`, pipeline 0 lane → JSON of the [`Mark`] up to
//! which the lane's plugins have seen their rows, and `delivered`, pipeline → JSON of the ids and places of dead letters that are delivered, and
//! are what the states have beyond those marks.

use std::collections::BTreeMap;
use std::sync::Arc;

use sled::Transactional;
use sled::transaction::{ConflictableTransactionError, TransactionError, TransactionalTree};

use super::{CursorError, Store, open_error};
use crate::dead_letter::Place;
use crate::lane::remembered::{Change, Remembered, StateEntry, StateKey};
use crate::position::Position;
use crate::sink::Mark;

/// What a plugin remembers in a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    pub entries: u64,
    /// Of keys and values.
    pub bytes: u64,
}

impl Store {
    /// All that the plugins of a pipeline remember.
    pub fn states(&self, pipeline: &str) -> Result<Vec<StateEntry>, CursorError> {
        let prefix = [pipeline.as_bytes(), &[0]].concat();
        let entry = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = entry.map_err(|e| open_error(&self.path, e))?;
            let parsed = key.get(prefix.len()..).and_then(parse_key).ok_or_else(|| self.damaged_state(pipeline))?;
            Ok((parsed, value.as_ref().into()))
        };
        self.states.scan_prefix(&prefix).map(entry).collect()
    }

    /// How much that is, by plugin and lane.
    pub fn state_sizes(&self, pipeline: &str) -> Result<BTreeMap<(Arc<str>, u32), StateSize>, CursorError> {
        let mut sizes: BTreeMap<(Arc<str>, u32), StateSize> = BTreeMap::new();
        for ((plugin, lane, key), value) in self.states(pipeline)? {
            let size = sizes.entry((plugin, lane)).or_default();
            size.entries += 1;
            size.bytes += (key.len() + value.len()) as u64;
        }
        Ok(sizes)
    }

    /// Up to where the plugins of each lane have seen their rows; lanes whose plugins never remembered anything have none.
    pub fn state_marks(&self, pipeline: &str) -> Result<Vec<Mark>, CursorError> {
        let mark = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (_, value) = entry.map_err(|e| open_error(&self.path, e))?;
            serde_json::from_slice(&value).map_err(|_| self.damaged_state(pipeline))
        };
        self.state_marks.scan_prefix([pipeline.as_bytes(), &[0]].concat()).map(mark).collect()
    }

    /// What the plugin, or all of them, remember is forgotten; how many entries. Durable when it returns.
    pub fn clear_states(&self, pipeline: &str, plugin: Option<&str>) -> Result<u64, CursorError> {
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        let prefix = match plugin {
            Some(plugin) => [pipeline.as_bytes(), &[0], plugin.as_bytes(), &[0]].concat(),
            None => [pipeline.as_bytes(), &[0]].concat(),
        };
        let mut removed = 0;
        for key in self.states.scan_prefix(prefix).keys() {
            self.states.remove(key.map_err(error)?).map_err(error)?;
            removed += 1;
        }
        if self.states.scan_prefix([pipeline.as_bytes(), &[0]].concat()).next().is_none() {
            self.clear_state_marks(pipeline)?;
        }
        self.db.flush().map_err(error)?;
        Ok(removed)
    }

    /// Dead letters are delivered, and plugins remember what they did of them: both or neither. Durable when it returns.
    pub fn commit_letters(&self, pipeline: &str, remembered: &Remembered, delivered: &[(u64, Place)]) -> Result<(), CursorError> {
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        let delivered = serde_json::to_vec(delivered).unwrap_or_default();
        let all = (&self.states, &self.state_marks, &self.delivered).transaction(|(states, marks, letters)| {
            letters.insert(pipeline, delivered.as_slice())?;
            put(states, marks, pipeline, remembered)
        });
        all.map_err(|e| match e {
            TransactionError::Storage(source) => error(source),
            TransactionError::Abort(()) => error(sled::Error::ReportableBug("a transaction was aborted".to_owned())),
        })?;
        self.db.flush().map(drop).map_err(error)
    }

    /// What [`Store::commit_letters`] was told last, unless that is done with.
    pub fn delivered_letters(&self, pipeline: &str) -> Result<Vec<(u64, Place)>, CursorError> {
        let value = self.delivered.get(pipeline).map_err(|e| open_error(&self.path, e))?;
        value.map_or(Ok(Vec::new()), |value| serde_json::from_slice(&value).map_err(|_| self.damaged_state(pipeline)))
    }

    /// They are gone from the file of letters. Durable with the next flush.
    pub fn set_delivered_done(&self, pipeline: &str) -> Result<(), CursorError> {
        let removed = self.delivered.remove(pipeline);
        removed.map(drop).map_err(|source| CursorError::Write { path: self.path.clone(), source })
    }

    fn clear_state_marks(&self, pipeline: &str) -> Result<(), CursorError> {
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        for key in self.state_marks.scan_prefix([pipeline.as_bytes(), &[0]].concat()).keys() {
            self.state_marks.remove(key.map_err(error)?).map_err(error)?;
        }
        Ok(())
    }

    /// The states stay, and all rows that are read from there on pass the plugins; durable with the next flush.
    pub(super) fn move_state_marks(&self, pipeline: &str, position: &Position) -> Result<(), CursorError> {
        let marks = self.state_marks(pipeline)?;
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        for mark in marks {
            let mark = Mark { resume: Arc::new(position.clone()), partial: None, ..mark };
            let value = serde_json::to_vec(&mark).unwrap_or_default();
            self.state_marks.insert(mark_key(pipeline, mark.lane), value).map_err(error)?;
        }
        Ok(())
    }

    fn damaged_state(&self, pipeline: &str) -> CursorError {
        CursorError::Damaged { path: self.path.clone(), reason: format!("what plugins of pipeline `{pipeline}` remember") }
    }
}

/// What the lanes have changed, within a transaction.
pub(super) fn put(
    states: &TransactionalTree,
    marks: &TransactionalTree,
    pipeline: &str,
    remembered: &Remembered,
) -> Result<(), ConflictableTransactionError<()>> {
    for ((plugin, lane, key), Change { value, .. }) in &remembered.entries {
        let key = [pipeline.as_bytes(), &[0], plugin.as_bytes(), &[0], &lane.to_be_bytes(), key].concat();
        match value {
            Some(value) => states.insert(key, &**value)?,
            None => states.remove(key)?,
        };
    }
    for (lane, mark) in &remembered.marks {
        marks.insert(mark_key(pipeline, *lane), serde_json::to_vec(mark).unwrap_or_default())?;
    }
    Ok(())
}

fn mark_key(pipeline: &str, lane: u32) -> Vec<u8> {
    [pipeline.as_bytes(), &[0], &lane.to_be_bytes()].concat()
}

/// Names of plugins have no zero byte.
fn parse_key(key: &[u8]) -> Option<StateKey> {
    let (plugin, rest) = key.split_at_checked(key.iter().position(|b| *b == 0)?)?;
    let (lane, key) = rest.get(1..)?.split_first_chunk::<4>()?;
    Some((std::str::from_utf8(plugin).ok()?.into(), u32::from_be_bytes(*lane), key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::model::Ordering;
    use crate::plugin::StateChange;

    #[test]
    fn a_state_is_kept_with_the_cursor_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let position = Position { file: "b.000001".into(), offset: 4, gtids: None, home: None };
        let mark = |lane| Mark {
            lane,
            lanes: 2,
            ordering: Ordering::Key,
            bonds: Arc::default(),
            store: "".into(),
            resume: Arc::new(position.clone()),
            partial: None,
            number: 0,
        };
        let change = |key: &[u8], value: Option<&[u8]>, was_there| {
            let value = value.map(Into::into);
            StateChange { plugin: "p".into(), key: key.into(), value, was_there }
        };
        let mut remembered = Remembered::default();
        remembered.add(mark(1), vec![change(b"gone", Some(b"2"), false)]);
        store.commit_settled("a", position.clone(), &BTreeMap::new(), &remembered).unwrap();
        let mut remembered = Remembered::default();
        remembered.add(mark(1), vec![change(b"\0k", Some(b"1"), false), change(b"never", Some(b"2"), false)]);
        remembered.add(mark(1), vec![change(b"gone", None, true), change(b"never", None, true)]);
        assert_eq!(remembered.entries.len(), 2);
        store.commit_settled("a", position.clone(), &BTreeMap::new(), &remembered).unwrap();
        store.commit_settled("ab", position.clone(), &BTreeMap::new(), &remembered).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.states("a").unwrap(), [(("p".into(), 1, (*b"\0k").into()), (*b"1").into())]);
        assert_eq!(store.state_marks("a").unwrap(), [mark(1)]);
        assert_eq!(store.state_sizes("a").unwrap()[&("p".into(), 1)], StateSize { entries: 1, bytes: 3 });
        store.move_to("a", position.clone()).unwrap();
        assert_eq!((store.states("a").unwrap().len(), store.state_marks("a").unwrap().len()), (1, 1));
        assert!(store.remove("a").unwrap());
        assert_eq!((store.states("a").unwrap().len(), store.states("ab").unwrap().len()), (0, 1));
        assert_eq!(store.clear_states("ab", Some("q")).unwrap(), 0);
        assert_eq!(store.clear_states("ab", Some("p")).unwrap(), 1);
        assert!(store.state_marks("ab").unwrap().is_empty());
    }
}
