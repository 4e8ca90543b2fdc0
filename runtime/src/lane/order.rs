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
    lanes: Vec<Mutex<Unsettled>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Unsettled {
    /// First rows, oldest batch first.
    firsts: VecDeque<RowId>,
    /// The lane writes nothing more: a batch that is left was never handed to it.
    has_ended: bool,
}

impl SourceOrder {
    pub fn new(lanes: usize) -> SourceOrder {
        SourceOrder { lanes: (0..lanes).map(|_| Mutex::default()).collect(), changed: Notify::new() }
    }

    /// A batch of `lane` has got its first row. Called before any later row leaves the decoder.
    pub fn enter(&self, lane: usize, first: RowId) {
        self.lane(lane).firsts.push_back(first);
    }

    /// The oldest batch of `lane` has come as far as `next`, its first row that is not written.
    pub fn reach(&self, lane: usize, next: RowId) {
        if let Some(front) = self.lane(lane).firsts.front_mut() {
            *front = next;
        }
        self.changed.notify_waiters();
    }

    /// The oldest batch of `lane` has settled.
    pub fn leave(&self, lane: usize) {
        self.lane(lane).firsts.pop_front();
        self.changed.notify_waiters();
    }

    /// Reading has ended, and `lane` has settled all that it was handed.
    pub fn end(&self, lane: usize) {
        self.lane(lane).has_ended = true;
        self.changed.notify_waiters();
    }

    /// Waits until every lane but `lane` has written all its rows before `row`. False: one of them has ended without.
    pub async fn passed(&self, lane: usize, row: RowId) -> bool {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let mut is_first = true;
            for other in (0..self.lanes.len()).filter(|other| *other != lane) {
                let other = self.lane(other);
                if other.firsts.front().is_some_and(|front| *front <= row) {
                    if other.has_ended {
                        return false;
                    }
                    is_first = false;
                }
            }
            if is_first {
                return true;
            }
            changed.await;
        }
    }

    fn lane(&self, lane: usize) -> std::sync::MutexGuard<'_, Unsettled> {
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
                    assert!(order.passed(lane, row(place)).await);
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

    /// Reading was stopped while a lane's batch was open: nobody waits for its rows for good.
    #[tokio::test]
    async fn rows_that_are_never_handed_on_are_not_waited_for() {
        let order = Arc::new(SourceOrder::new(2));
        order.enter(0, row(1));
        order.enter(1, row(0));
        let waiting = tokio::spawn({
            let order = Arc::clone(&order);
            async move { order.passed(0, row(1)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        order.end(1);
        assert!(!waiting.await.unwrap());
    }
}
