//! Lanes: ordered tracks inside a pipeline. Changes of one key are in one lane, in source order.
//!
//! [`Lanes`] is the decoder's side: the open batch of every lane. [`worker`] is what drains one: plugins, router, sinks, settling.
//! [`order`] lets a lane wait until the others have passed a row.

use std::sync::Arc;

use crate::batcher::Batcher;
use crate::change::{Relation, RowId, Transaction};
use crate::manifest::model::Ordering;
use crate::position::{Position, file_number};

pub mod bonds;
pub mod dead;
pub mod order;
pub mod remembered;
pub mod sample;
pub mod skip;
pub mod thread;
pub mod touched;
pub mod worker;

use bonds::Bonds;
use skip::Skip;
use touched::Touched;

/// The open batches of all lanes of a pipeline: where the decoder appends rows.
#[derive(Debug)]
pub struct Lanes {
    assignment: Assignment,
    pub batchers: Vec<Batcher>,
    /// After a restart of an exactly-once pipeline: the rows that are in the target already.
    skip: Option<Skip>,
    /// Rows appended; skipped ones are settled already.
    pub rows_read: u64,
    /// While tables are being read.
    pub touched: Option<Touched>,
    /// Tables without a key whose rows were read as they were at a position: what the stream has before it is in them.
    pub held: Vec<Held>,
}

/// See [`Lanes::held`].
#[derive(Clone, Debug)]
pub struct Held {
    pub schema: String,
    pub table: String,
    /// `None`: the table is still to be read, and reading will find all that comes until then.
    pub before: Option<Position>,
}

impl Lanes {
    pub fn new(ordering: Ordering, lanes: usize, rows_max: usize, bytes_max: usize) -> Lanes {
        let batchers = (0..lanes).map(|_| Batcher::new(rows_max, bytes_max)).collect();
        Lanes {
            assignment: Assignment::new(ordering, lanes, Arc::default()),
            batchers,
            skip: None,
            rows_read: 0,
            touched: None,
            held: Vec::new(),
        }
    }

    /// Rows of bound tables share lanes.
    pub fn bound(mut self, bonds: Arc<[Bonds]>) -> Lanes {
        self.assignment.bonds = bonds;
        self
    }

    /// Leaves out what an earlier run has written.
    pub fn skipping(self, skip: Option<Skip>) -> Lanes {
        Lanes { skip, ..self }
    }

    /// A transaction begins; `executed` is what was read before it.
    pub fn begin(&mut self, transaction: &Transaction, executed: &Position) {
        if let Some(skip) = &mut self.skip
            && skip.begin(transaction, executed)
        {
            self.skip = None;
        }
    }

    /// True once no lane has anything to skip behind `executed`.
    pub fn is_levelled(&self, executed: &Position) -> bool {
        self.skip.as_ref().is_none_or(|skip| skip.is_level_at(executed))
    }

    /// The lane of a row, which is to be appended to that lane's batcher. `None`: the row is not wanted (its lane has written it
    /// before a restart). `key_hash` is equal for equal keys; `place` is the row's in its transaction.
    #[inline]
    pub fn lane(&mut self, relation: &Relation, key_hash: u64, place: u64) -> Option<usize> {
        if let Some(skip) = &mut self.skip
            && skip.covers(relation, key_hash, place)
        {
            return None;
        }
        Some(self.assignment.lane(relation, key_hash))
    }

    /// True if what was read of the row's table has the transaction's changes.
    #[cold]
    pub fn is_held(&self, relation: &Relation, transaction: &Transaction) -> bool {
        let has = |before: &Position| match (&before.gtids, &transaction.gtid) {
            (Some(set), Some(gtid)) => set.contains(gtid),
            _ => (file_number(&transaction.file), transaction.offset) < (file_number(&before.file), before.offset),
        };
        self.held
            .iter()
            .any(|held| held.schema == *relation.schema && held.table == *relation.table && held.before.as_ref().is_none_or(has))
    }

    /// As [`Lanes::lane`], of a row that was read from its table.
    #[inline]
    pub fn lane_of_read(&mut self, relation: &Relation, key_hash: u64) -> usize {
        self.assignment.lane(relation, key_hash)
    }

    /// True if a batch should leave before more is appended.
    #[inline]
    pub fn is_any_full(&self) -> bool {
        self.batchers.iter().any(Batcher::is_full)
    }

    /// How many rows fit for sure, whichever lanes they go to; at least one.
    #[inline]
    pub fn room(&self) -> usize {
        self.batchers.iter().map(Batcher::room).min().unwrap_or(1).max(1)
    }

    /// Takes back the rows from `id` on, of which values may be missing.
    pub fn retract(&mut self, id: RowId) {
        let open = self.batchers.iter_mut().filter(|b| b.first().is_some() && b.last() >= id);
        self.rows_read -= open.map(|b| b.retract(id) as u64).sum::<u64>();
    }
}

/// Which lane a row goes to.
#[derive(Debug)]
pub struct Assignment {
    ordering: Ordering,
    lanes: u64,
    bonds: Arc<[Bonds]>,
    /// By [`Relation::slot`]: the id of the relation that is known there, and the hash that all its rows share, if they share one.
    shared: Vec<Option<(u32, Option<u64>)>>,
}

impl Assignment {
    pub fn new(ordering: Ordering, lanes: usize, bonds: Arc<[Bonds]>) -> Assignment {
        Assignment { ordering, lanes: lanes as u64, bonds, shared: Vec::new() }
    }

    /// The lane of a row. Marks in a target depend on it: never change what it returns.
    #[inline]
    pub fn lane(&mut self, relation: &Relation, key_hash: u64) -> usize {
        if self.lanes == 1 || matches!(self.ordering, Ordering::Global | Ordering::Transaction) {
            return 0;
        }
        let hash = match self.shared.get(relation.slot()) {
            Some(Some((known, shared))) if *known == relation.id => *shared,
            Some(_) | None => self.learn(relation),
        };
        (hash.unwrap_or(key_hash) % self.lanes) as usize
    }

    #[cold]
    fn learn(&mut self, relation: &Relation) -> Option<u64> {
        let group = self.bonds.iter().find_map(|bonds| bonds.group(relation));
        let shared = match (group, self.ordering) {
            (Some(group), _) => Some(fnv(group.bytes())),
            (None, Ordering::Table) => Some(fnv(relation.schema.bytes().chain([0]).chain(relation.table.bytes()))),
            (None, Ordering::Key | Ordering::Global | Ordering::Transaction) => None,
        };
        let slot = relation.slot();
        if self.shared.len() <= slot {
            self.shared.resize(slot + 1, None);
        }
        self.shared[slot] = Some((relation.id, shared));
        shared
    }
}

/// FNV-1a.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::KeyOrigin;

    #[test]
    fn relations_that_come_and_go_take_no_memory() {
        let relation = |id: u32| Relation {
            id,
            schema: "s".into(),
            table: format!("tmp_{id}").into(),
            columns: Vec::new(),
            key: Vec::new(),
            key_origin: KeyOrigin::WholeRow,
        };
        let fresh = || Assignment::new(Ordering::Table, 7, Arc::default());
        let mut assignment = fresh();
        for id in 0..Relation::SLOTS as u32 * 2 + 10 {
            // The one before it, and one that has the same slot.
            for id in [id, id.saturating_sub(1), id.saturating_sub(Relation::SLOTS as u32)] {
                assert_eq!(assignment.lane(&relation(id), 1), fresh().lane(&relation(id), 1));
            }
        }
        assert!(assignment.shared.len() <= Relation::SLOTS);
    }
}
