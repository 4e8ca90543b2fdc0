//! What a plugin remembers in one lane: a bounded map, kept in memory, whose changes go to the cursor store batch by batch.
//!
//! It belongs to the chain, not to an instance, so that it outlives both a crash and another version of the plugin. What the calls of a batch
//! change is undone if the batch fails, or if rows of it become dead letters afterwards; what a batch that succeeded changed is taken by the
//! lane, and is durable no sooner than the cursor passes that batch.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bindings::tidegate::plugin::state::{self as wit, Refusal};
use super::instance::Guest;

pub(super) const INTERFACE: &str = "tidegate:plugin/state@0.1.0";

const KEY_BYTES_MAX: usize = 1024;
const VALUE_BYTES_MAX: usize = 64 << 10;
/// What an entry counts beside its bytes.
const ENTRY_BYTES: usize = 64;
/// Bytes after which a scan ends.
const SCAN_BYTES_MAX: usize = 1 << 20;

type Bytes = Box<[u8]>;

/// One entry of a plugin's state as it is from now on; `None`: it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    pub plugin: Arc<str>,
    pub key: Box<[u8]>,
    pub value: Option<Box<[u8]>>,
    /// There was such an entry after the changes before this one.
    pub was_there: bool,
}

/// The state of a plugin in a lane. Its chain and its instance hold it.
#[derive(Clone, Debug)]
pub(super) struct State(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    entries: BTreeMap<Bytes, Bytes>,
    bytes: usize,
    bytes_max: usize,
    /// What the calls that are not kept yet have changed, as it was before: no more than the state itself holds, however often it is changed.
    undo: BTreeMap<Bytes, Option<Bytes>>,
    /// The same of those that are kept, until it is taken.
    kept: BTreeMap<Bytes, Option<Bytes>>,
}

impl State {
    pub(super) fn new(bytes_max: usize) -> State {
        State(Arc::new(Mutex::new(Entries { bytes_max, ..Entries::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another version of the plugin may have another limit; what is there stays, if it is beyond it.
    pub(super) fn set_bytes_max(&self, bytes_max: usize) {
        self.lock().bytes_max = bytes_max;
    }

    /// What the store has.
    pub(super) fn restore(&self, key: Box<[u8]>, value: Box<[u8]>) {
        self.lock().insert(key, Some(value));
    }

    /// The calls failed.
    pub(super) fn undo(&self) {
        let mut entries = self.lock();
        for (key, value) in std::mem::take(&mut entries.undo) {
            entries.insert(key, value);
        }
    }

    /// The calls succeeded.
    pub(super) fn keep(&self) {
        let mut entries = self.lock();
        let Entries { entries, undo, kept, .. } = &mut *entries;
        for (key, before) in std::mem::take(undo) {
            let is_gone = !entries.contains_key(&key);
            match kept.entry(key) {
                Entry::Vacant(none) => {
                    none.insert(before);
                }
                Entry::Occupied(first) if is_gone && first.get().is_none() => {
                    first.remove();
                }
                Entry::Occupied(_) => {}
            }
        }
    }

    /// They did, and count for nothing: all since [`State::take_changes`] was called last.
    pub(super) fn revert(&self) {
        self.undo();
        let mut entries = self.lock();
        for (key, value) in std::mem::take(&mut entries.kept) {
            entries.insert(key, value);
        }
    }

    /// What was changed since the last call.
    pub(super) fn take_changes(&self, plugin: &Arc<str>, to: &mut Vec<StateChange>) {
        let mut entries = self.lock();
        let changed = std::mem::take(&mut entries.kept);
        to.extend(changed.into_iter().map(|(key, before)| {
            let value = entries.entries.get(&key).cloned();
            StateChange { plugin: Arc::clone(plugin), key, value, was_there: before.is_some() }
        }));
    }
}

impl Entries {
    /// Returns what was there.
    fn insert(&mut self, key: Bytes, value: Option<Bytes>) -> Option<Bytes> {
        let key_bytes = key.len();
        if let Some(value) = &value {
            self.bytes += size(key_bytes, value.len());
        }
        let before = match value {
            Some(value) => self.entries.insert(key, value),
            None => self.entries.remove(&key),
        };
        if let Some(before) = &before {
            self.bytes -= size(key_bytes, before.len());
        }
        before
    }

    fn put(&mut self, changes: Vec<wit::Change>) -> Result<(), Refusal> {
        for change in &changes {
            check_key(&change.key)?;
            if change.value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
                return Err(Refusal::ValueLength);
            }
        }
        let had = self.bytes;
        let takes_away = changes.iter().any(|change| change.value.is_none());
        let mut done: Vec<(Bytes, Option<Bytes>)> = Vec::with_capacity(changes.len());
        for change in changes {
            let key: Bytes = change.key.into();
            let before = self.insert(key.clone(), change.value.map(Into::into));
            done.push((key, before));
        }
        // One that was beyond its limit already may shrink.
        if self.bytes > self.bytes_max && self.bytes > had {
            while let Some((key, value)) = done.pop() {
                self.insert(key, value);
            }
            return Err(Refusal::Full);
        }
        for (key, before) in &mut done {
            if !self.undo.contains_key(key) {
                self.undo.insert(key.clone(), before.take());
            }
        }
        // What the calls have made and taken away again leaves nothing to undo.
        for (key, _) in done.iter().filter(|_| takes_away) {
            if self.undo.get(key).is_some_and(Option::is_none) && !self.entries.contains_key(key) {
                self.undo.remove(key);
            }
        }
        Ok(())
    }

    fn get(&self, keys: &[Vec<u8>], bytes_max: usize) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
        let mut bytes = 0;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            check_key(key)?;
            let value = self.entries.get(key.as_slice());
            bytes += value.map_or(0, |value| value.len());
            if bytes > bytes_max {
                return Err(Refusal::TooMuch);
            }
            values.push(value.map(|value| value.to_vec()));
        }
        Ok(values)
    }

    fn scan(&self, start: &[u8], entries_max: u32) -> Vec<wit::Entry> {
        let mut bytes = 0;
        let mut found = Vec::new();
        for (key, value) in self.entries.range::<[u8], _>((Bound::Included(start), Bound::Unbounded)) {
            bytes += size(key.len(), value.len());
            if found.len() >= entries_max as usize || (bytes > SCAN_BYTES_MAX && !found.is_empty()) {
                break;
            }
            found.push(wit::Entry { key: key.to_vec(), value: value.to_vec() });
        }
        found
    }
}

fn size(key: usize, value: usize) -> usize {
    key + value + ENTRY_BYTES
}

fn check_key(key: &[u8]) -> Result<(), Refusal> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) { Ok(()) } else { Err(Refusal::KeyLength) }
}

impl wit::Host for Guest {
    fn get(&mut self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
        let bytes_max = self.output_bytes_max();
        self.state.as_ref().ok_or(Refusal::NotNow)?.lock().get(&keys, bytes_max)
    }

    fn put(&mut self, changes: Vec<wit::Change>) -> Result<(), Refusal> {
        self.state.as_ref().ok_or(Refusal::NotNow)?.lock().put(changes)
    }

    fn scan(&mut self, start: Vec<u8>, entries_max: u32) -> Result<Vec<wit::Entry>, Refusal> {
        Ok(self.state.as_ref().ok_or(Refusal::NotNow)?.lock().scan(&start, entries_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(key: &[u8], value: Option<&[u8]>) -> wit::Change {
        wit::Change { key: key.to_vec(), value: value.map(<[u8]>::to_vec) }
    }

    #[test]
    fn limits_hold() {
        let state = State::new(200);
        let put = |changes| state.lock().put(changes);
        assert_eq!(put(vec![change(b"", Some(b"v"))]), Err(Refusal::KeyLength));
        assert_eq!(put(vec![change(&[7; 1025], None)]), Err(Refusal::KeyLength));
        assert_eq!(put(vec![change(b"k", Some(&[0; (64 << 10) + 1]))]), Err(Refusal::ValueLength));
        assert_eq!(put(vec![change(b"a", Some(&[1; 35])), change(b"b", Some(&[1; 35]))]), Ok(()));
        // All or nothing: the first would fit.
        assert_eq!(put(vec![change(b"a", Some(b"")), change(b"c", Some(&[1; 100]))]), Err(Refusal::Full));
        assert_eq!(state.lock().get(&[b"a".to_vec(), b"c".to_vec()], 1000), Ok(vec![Some(vec![1; 35]), None]));
        assert_eq!(state.lock().get(&[b"a".to_vec(), b"a".to_vec()], 50), Err(Refusal::TooMuch));
        assert_eq!(state.lock().bytes, 200);
        state.set_bytes_max(10);
        assert_eq!(state.lock().put(vec![change(b"a", None)]), Ok(()));
        assert_eq!(state.lock().scan(b"a", 10).len(), 1);
        assert_eq!(state.lock().scan(b"c", 10).len(), 0);
    }

    #[test]
    fn what_can_be_undone_takes_no_more_than_the_state() {
        let state = State::new(1 << 20);
        let put = |key: &[u8], value: Option<&[u8]>| state.lock().put(vec![change(key, value)]).unwrap();
        put(b"k", Some(b"before"));
        state.keep();
        for n in 0..1000u32 {
            put(b"k", Some(&[7; 1000]));
            put(&n.to_le_bytes(), Some(&[7; 1000]));
            put(&n.to_le_bytes(), None);
        }
        put(b"gone", None);
        assert_eq!(state.lock().undo.len(), 1);
        state.undo();
        assert_eq!(state.lock().get(&[b"k".to_vec()], 100), Ok(vec![Some(b"before".to_vec())]));
    }

    proptest! {
        /// What is undone or reverted leaves no trace, and what is taken makes of the old map the new one.
        #[test]
        fn batches_are_kept_or_undone(batches in proptest::collection::vec(
            (0..3, any::<bool>(), proptest::collection::vec((0u8..6, proptest::option::of(0u8..9)), 0..8)), 0..20)
        ) {
            let state = State::new(1 << 20);
            let (mut model, mut stored) = (BTreeMap::new(), BTreeMap::new());
            for (end, at_once, changes) in batches {
                let mut calls = Vec::new();
                for (key, value) in &changes {
                    let length = value.map(usize::from);
                    let bytes = length.map(|length| vec![*key; length]);
                    calls.push(change(&[*key], bytes.as_deref()));
                    if !at_once {
                        state.lock().put(std::mem::take(&mut calls)).unwrap();
                        if end != 1 && key % 2 == 0 {
                            state.keep();
                        }
                    }
                    if end == 0 {
                        match bytes {
                            Some(bytes) => drop(model.insert(vec![*key], bytes)),
                            None => drop(model.remove(&vec![*key])),
                        }
                    }
                }
                state.lock().put(calls).unwrap();
                match end {
                    0 => state.keep(),
                    1 => state.undo(),
                    _ => {
                        state.keep();
                        state.lock().put(vec![change(b"more", Some(b"m"))]).unwrap();
                        state.revert();
                    }
                }
                let mut taken = Vec::new();
                state.take_changes(&"p".into(), &mut taken);
                for StateChange { key, value, .. } in taken {
                    match value {
                        Some(value) => drop(stored.insert(key.to_vec(), value.to_vec())),
                        None => drop(stored.remove(&key.to_vec())),
                    }
                }
                let entries = state.lock();
                let now: BTreeMap<Vec<u8>, Vec<u8>> = entries.entries.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
                prop_assert_eq!(&now, &model);
                prop_assert_eq!(&stored, &model);
                prop_assert_eq!(entries.bytes, model.iter().map(|(k, v)| size(k.len(), v.len())).sum::<usize>());
            }
        }
    }
}
