//! Source order across lanes: which rows every lane still has to write.
//!
//! A conflict between keys of different lanes (a unique value that moves from one row to another, a child before its parent) is
//! resolved by writing row by row, each once all other lanes have passed it. The lane with the lowest row can always go on, so
//! lanes that wait for each other never block for good.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::change::RowId;

/// For each lane, the first row of every batch that is not settled, the open one among them.
#[derive(Debug)]
pub struct SourceOrder {
    lanes: Vec<Mutex<VecDeque<RowId>>>,
    changed: Notify,
}

impl SourceOrder {
    pub fn new(lanes: usize) -> SourceOrder {
        SourceOrder { lanes: (0..lanes).map(|_| Mutex::default()).collect(), changed: Notify::new() }
    }

    /// A batch of `lane` has got its first row. Called before any later row leaves the decoder.
    pub fn enter(&self, lane: usize, first: RowId) {
        self.lane(lane).push_back(first);
    }

    /// The oldest batch of `lane` has come as far as `next`, its first row that is not written.
    pub fn reach(&self, lane: usize, next: RowId) {
        if let Some(front) = self.lane(lane).front_mut() {
            *front = next;
        }
        self.changed.notify_waiters();
    }

    /// The oldest batch of `lane` has settled.
    pub fn leave(&self, lane: usize) {
        self.lane(lane).pop_front();
        self.changed.notify_waiters();
    }

    /// Waits until every lane but `lane` has written all its rows before `row`.
    pub async fn passed(&self, lane: usize, row: RowId) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let others = (0..self.lanes.len()).filter(|other| *other != lane);
            if others.into_iter().all(|other| self.lane(other).front().is_none_or(|front| *front > row)) {
                return;
            }
            changed.await;
        }
    }

    fn lane(&self, lane: usize) -> std::sync::MutexGuard<'_, VecDeque<RowId>> {
        self.lanes[lane].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn row(place: u64) -> RowId {
        RowId { transaction: 1, place }
    }

    /// Two lanes whose batches interleave, both writing row by row: neither waits for good, and rows come in source order.
    #[tokio::test]
    async fn interleaved_lanes_write_in_source_order() {
        let order = Arc::new(SourceOrder::new(2));
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for lane in 0..2usize {
            order.enter(lane, row(lane as u64));
        }
        for lane in 0..2usize {
            let (order, written) = (Arc::clone(&order), Arc::clone(&written));
            tasks.push(tokio::spawn(async move {
                for place in (lane as u64..20).step_by(2) {
                    order.reach(lane, row(place));
                    order.passed(lane, row(place)).await;
                    written.lock().unwrap().push(place);
                }
                order.leave(lane);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*written.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }
}
