//! What a plugin remembers: a map of bytes to bytes, one a lane, that survives a crash, a reload and a restart. After those it is as it was when
//! the last rows were settled, and the rows after those come again.
//!
//! It is there in [`Plugin::process`](crate::Plugin::process) alone, and bounded: `state` of the plugin in the manifest. A call costs more than a
//! value, so ask for many keys at once where there are many rows. A [`Refusal`] turns into the `String` that `process` fails with.

use std::fmt;

#[cfg(target_arch = "wasm32")]
use crate::bindings::tidegate::plugin::state as host;

/// Why the host did not do it. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is a state only in `process`.
    NotNow,
    /// A key has 1 to 1024 bytes.
    KeyLength,
    /// A value has at most 65536 bytes.
    ValueLength,
    /// Keys and values, and 64 bytes an entry, would be more than the plugin's limit.
    Full,
    /// The answer would be too long: ask for fewer keys at once.
    TooMuch,
}

/// A key, and its new value; `None` takes it away.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

pub fn get(key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Refusal> {
    Ok(get_all(&[key])?.pop().flatten())
}

/// The values of the keys, in their order.
pub fn get_all<K: AsRef<[u8]>>(keys: &[K]) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
    host::get(&keys.iter().map(|key| key.as_ref().to_vec()).collect::<Vec<_>>()).map_err(Refusal::from)
}

pub fn set(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Result<(), Refusal> {
    put(vec![(key.into(), Some(value.into()))])
}

pub fn remove(key: impl Into<Vec<u8>>) -> Result<(), Refusal> {
    put(vec![(key.into(), None)])
}

/// All of the changes, in their order, or none of them.
pub fn put(changes: Vec<Change>) -> Result<(), Refusal> {
    let changes: Vec<_> = changes.into_iter().map(|(key, value)| host::Change { key, value }).collect();
    host::put(&changes).map_err(Refusal::from)
}

/// Entries in the order of their keys, from the first that is not less than `start`: at most so many, and fewer where they are long, but at
/// least one if there is one.
pub fn scan(start: impl AsRef<[u8]>, entries_max: u32) -> Result<Vec<Entry>, Refusal> {
    let entries = host::scan(start.as_ref(), entries_max).map_err(Refusal::from)?;
    Ok(entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
}

impl From<host::Refusal> for Refusal {
    fn from(refusal: host::Refusal) -> Refusal {
        match refusal {
            host::Refusal::NotNow => Refusal::NotNow,
            host::Refusal::KeyLength => Refusal::KeyLength,
            host::Refusal::ValueLength => Refusal::ValueLength,
            host::Refusal::Full => Refusal::Full,
            host::Refusal::TooMuch => Refusal::TooMuch,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NotNow => "the state is there in `process` alone",
            Refusal::KeyLength => "a key of the state must have 1 to 1024 bytes",
            Refusal::ValueLength => "a value of the state may have 65536 bytes",
            Refusal::Full => "the state is full: `state` of this plugin in the manifest limits it",
            Refusal::TooMuch => "more values of the state were asked for at once than an answer may hold",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> String {
        refusal.to_string()
    }
}

/// In a unit test there is no component, and no host: a map of the test's thread takes its place. [`Tester::new`](crate::test::Tester::new)
/// empties it.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod host {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    pub use crate::bindings::tidegate::plugin::state::{Change, Entry, Refusal};

    thread_local! {
        static ENTRIES: RefCell<BTreeMap<Vec<u8>, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub fn clear() {
        ENTRIES.take();
    }

    pub fn get(keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
        Ok(ENTRIES.with_borrow(|entries| keys.iter().map(|key| entries.get(key).cloned()).collect()))
    }

    pub fn put(changes: &[Change]) -> Result<(), Refusal> {
        ENTRIES.with_borrow_mut(|entries| {
            for Change { key, value } in changes {
                match value {
                    Some(value) => entries.insert(key.clone(), value.clone()),
                    None => entries.remove(key),
                };
            }
        });
        Ok(())
    }

    pub fn scan(start: &[u8], entries_max: u32) -> Result<Vec<Entry>, Refusal> {
        let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| Entry { key: key.clone(), value: value.clone() };
        Ok(ENTRIES.with_borrow(|entries| entries.range(start.to_vec()..).take(entries_max as usize).map(entry).collect()))
    }
}
