//! Lanes: ordered tracks inside a pipeline. Changes of one key are in one lane, in source order.
//!
//! [`Lanes`] is the decoder's side: the open batch of every lane. [`worker`] is what drains one: plugins, router, sinks, settling.
//! [`order`] lets a lane wait until the others have passed a row.

use std::sync::Arc;

use crate::batcher::{Batcher, RowsBuilder, Wanted};
use crate::change::{Op, Relation, RowId, Transaction};
use crate::manifest::model::Ordering;
use crate::position::Position;

pub mod order;
pub mod skip;
pub mod worker;

use skip::Skip;

/// The open batches of all lanes of a pipeline: where the decoder appends rows.
#[derive(Debug)]
pub struct Lanes {
    ordering: Ordering,
    pub batchers: Vec<Batcher>,
    /// After a restart of an exactly-once pipeline: the rows that are in the target already.
    skip: Option<Skip>,
    /// Rows appended, skipped ones among them.
    pub rows_read: u64,
}

impl Lanes {
    pub fn new(ordering: Ordering, lanes: usize, rows_max: usize, bytes_max: usize) -> Lanes {
        Lanes { ordering, batchers: (0..lanes).map(|_| Batcher::new(rows_max, bytes_max)).collect(), skip: None, rows_read: 0 }
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

    /// Where to append a row: every wanted column of both images, in any order. `None`: the row is not wanted (its lane has
    /// written it before a restart). `key_hash` is equal for equal keys; `bytes` is the size of the row in the binlog.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub fn row(
        &mut self,
        relation: &Arc<Relation>,
        wanted: &Arc<Wanted>,
        op: Op,
        id: RowId,
        key_hash: u64,
        bytes: usize,
        transaction: impl FnOnce() -> Transaction,
    ) -> Option<&mut RowsBuilder> {
        self.rows_read += 1;
        if let Some(skip) = &self.skip
            && skip.covers(relation, key_hash, id.place)
        {
            return None;
        }
        let lane = lane_of(self.ordering, self.batchers.len(), relation, key_hash);
        Some(self.batchers[lane].row(relation, wanted, op, id, bytes, transaction))
    }
}

/// The lane of a row. Marks in a target depend on it: never change what it returns.
#[inline]
pub fn lane_of(ordering: Ordering, lanes: usize, relation: &Relation, key_hash: u64) -> usize {
    if lanes == 1 {
        return 0;
    }
    match ordering {
        Ordering::Key => (key_hash % lanes as u64) as usize,
        Ordering::Table => (table_hash(relation) % lanes as u64) as usize,
        Ordering::Global | Ordering::Transaction => 0,
    }
}

/// FNV-1a over `schema`, 0, `table`.
fn table_hash(relation: &Relation) -> u64 {
    let bytes = relation.schema.bytes().chain([0]).chain(relation.table.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}
