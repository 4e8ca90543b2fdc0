//! Which keys the stream has touched while tables are being read: what was read of them is older than what the stream had.
//!
//! Stands beside the lanes: the decoder notes the key of every row, the snapshot asks. Time is counted in stamps. A key is known by a hash
//! of 128 bits under a secret of the process, of its exact values, so that two keys are never taken for one.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};

/// More keys than this are forgotten: what was read before them has to be looked through first.
pub const KEYS_MAX: usize = 400_000;

#[derive(Debug)]
pub struct Touched {
    secrets: [RandomState; 2],
    /// When it was touched last.
    keys: HashMap<u128, u64, foldhash::fast::FixedState>,
    stamp: u64,
    /// Keys that were touched before are forgotten.
    known_since: u64,
    /// Tables, by the hash of their names, of which a change had not all columns: it does not stand for the row.
    partial: HashSet<u64>,
    /// Tables that a DDL has changed, and when.
    altered: HashMap<(Box<str>, Box<str>), u64>,
}

/// Takes in the values of a key.
pub struct KeyHasher<H>([H; 2]);

impl Default for Touched {
    fn default() -> Touched {
        Touched {
            secrets: [RandomState::new(), RandomState::new()],
            keys: HashMap::default(),
            stamp: 1,
            known_since: 1,
            partial: HashSet::new(),
            altered: HashMap::new(),
        }
    }
}

impl Touched {
    pub fn hasher(&self) -> KeyHasher<impl Hasher + use<>> {
        KeyHasher(std::array::from_fn(|i| self.secrets[i].build_hasher()))
    }

    pub fn note(&mut self, key: u128) {
        self.keys.insert(key, self.stamp);
    }

    pub fn note_partial(&mut self, table: u64) {
        self.partial.insert(table);
    }

    pub fn note_altered(&mut self, schema: &str, table: &str) {
        self.altered.insert((schema.into(), table.into()), self.stamp);
    }

    /// Begins a new stamp and returns it: what is touched from now on is touched since it.
    pub fn begin_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// Since when all touched keys are known.
    pub fn known_since(&self) -> u64 {
        self.known_since
    }

    pub fn is_touched(&self, key: u128, since: u64) -> bool {
        self.keys.get(&key).is_some_and(|stamp| *stamp >= since)
    }

    pub fn is_partial(&self, table: u64) -> bool {
        self.partial.contains(&table)
    }

    pub fn is_altered(&self, schema: &str, table: &str, since: u64) -> bool {
        !self.altered.is_empty() && self.altered.get(&(schema.into(), table.into())).is_some_and(|stamp| *stamp >= since)
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.keys.len() >= KEYS_MAX
    }

    /// Forgets the keys; returns the stamp since which they are known again.
    pub fn forget(&mut self) -> u64 {
        self.keys.clear();
        self.known_since = self.begin_stamp();
        self.known_since
    }
}

impl<H: Hasher> KeyHasher<H> {
    pub fn word(&mut self, word: i64) {
        self.0.iter_mut().for_each(|hasher| hasher.write_i64(word));
    }

    /// Two values next to each other never look like another two.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|hasher| {
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        });
    }

    pub fn key(&self) -> u128 {
        u128::from(self.0[0].finish()) << 64 | u128::from(self.0[1].finish())
    }
}
