//! Lanes: ordered tracks inside a pipeline. Changes of one key are in one lane, in source order.

use std::sync::Arc;

use crate::batcher::{Batcher, RowsBuilder, Wanted};
use crate::change::{Op, Relation, RowId, Transaction};
use crate::manifest::model::Ordering;

/// The open batches of all lanes of a pipeline: where the decoder appends rows.
#[derive(Debug)]
pub struct Lanes {
    ordering: Ordering,
    pub batchers: Vec<Batcher>,
}

impl Lanes {
    pub fn new(ordering: Ordering, lanes: usize, rows_max: usize, bytes_max: usize) -> Lanes {
        Lanes { ordering, batchers: (0..lanes).map(|_| Batcher::new(rows_max, bytes_max)).collect() }
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
        let lane = lane_of(self.ordering, self.batchers.len(), relation, key_hash);
        Some(self.batchers[lane].row(relation, wanted, op, id, bytes, transaction))
    }

    pub fn any_full(&self) -> bool {
        self.batchers.iter().any(Batcher::is_full)
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
