//! Batches leave for their lanes.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Ended, LANE_DEPTH, Reading, told_to_stop};
use crate::change::{Batch, RowId};
use crate::failpoint;
use crate::lane::worker::Work;
use crate::pipeline::PipelineError;

/// While one lane is full, how often the others are looked at.
const FULL_LANE_LOOK: Duration = Duration::from_millis(5);

impl Reading {
    /// Batches that have got their first row enter the ack tracker and the source order, before anything later leaves.
    pub(super) fn open_batches(&mut self) {
        for (lane, token) in self.tokens.iter_mut().enumerate() {
            if token.is_none()
                && let Some(first) = self.feed.lanes.batchers[lane].first()
            {
                *token = Some(self.feed.acks.lock().unwrap_or_else(PoisonError::into_inner).open());
                self.feed.order.enter(lane, first);
                self.deadline.get_or_insert_with(|| Instant::now() + self.feed.options.wait);
            }
        }
    }

    /// Closes the open batch of `lane`, if there is one, and hands it on; waits while the lane is full.
    pub(super) async fn send(&mut self, lane: usize) -> Result<Option<Ended>, PipelineError> {
        let Some(token) = self.tokens[lane].take() else { return Ok(None) };
        let sender = self.feed.senders[lane].clone();
        let permit = loop {
            tokio::select! {
                biased;
                permit = sender.reserve() => break permit,
                () = told_to_stop(&mut self.feed.stop) => return Ok(Some(Ended::Stopped)),
                // The full lane may be waiting for rows of another lane that are still in its open batch.
                () = tokio::time::sleep(FULL_LANE_LOOK) => self.send_to_idle_lanes()?,
            }
        };
        let Ok(permit) = permit else { return Ok(Some(Ended::LaneFailed)) };
        if let Some(batch) = self.finish(lane)? {
            permit.send(Work::Batch(Box::new(batch), token));
            failpoint::pass("batch-sent");
        }
        Ok(None)
    }

    pub(super) fn finish(&mut self, lane: usize) -> Result<Option<Batch>, PipelineError> {
        if self.feed.options.keeps_marks && *self.resume != self.feed.executed {
            self.resume = Arc::new(self.feed.executed.clone());
        }
        self.keep_all()?;
        let last = self.feed.lanes.batchers[lane].last();
        let decoder = &self.feed.decoder;
        let ends = !decoder.is_in_transaction() || decoder.transaction().number != last.transaction;
        self.is_cut = !ends;
        Ok(self.feed.lanes.batchers[lane].finish(Arc::clone(&self.resume), ends)?)
    }

    pub(super) fn send_to_idle_lanes(&mut self) -> Result<(), PipelineError> {
        for lane in 0..self.tokens.len() {
            if self.tokens[lane].is_none() || (self.feed.options.ends_transactions && self.feed.decoder.is_in_transaction()) {
                continue;
            }
            let sender = self.feed.senders[lane].clone();
            if sender.capacity() < LANE_DEPTH {
                continue;
            }
            let Ok(permit) = sender.try_reserve() else { continue };
            // A batch that cannot be made takes its token with it: the cursor stops in front of it.
            if let (Some(token), Some(batch)) = (self.tokens[lane].take(), self.finish(lane)?) {
                permit.send(Work::Batch(Box::new(batch), token));
                failpoint::pass("batch-sent");
            }
        }
        if self.tokens.iter().all(Option::is_none) {
            self.deadline = None;
        }
        Ok(())
    }

    /// Hands on what has waited long enough.
    pub(super) async fn send_all_due(&mut self) -> Result<Option<Ended>, PipelineError> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.deadline = None;
            if !self.feed.options.ends_transactions || !self.feed.decoder.is_in_transaction() {
                return self.send_everything().await;
            }
        }
        Ok(None)
    }

    pub(super) async fn send_full(&mut self) -> Result<Option<Ended>, PipelineError> {
        for lane in 0..self.tokens.len() {
            if self.feed.lanes.batchers[lane].is_full()
                && let Some(ended) = self.send(lane).await?
            {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    pub(super) async fn send_everything(&mut self) -> Result<Option<Ended>, PipelineError> {
        for lane in 0..self.tokens.len() {
            if let Some(ended) = self.send(lane).await? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// The target transaction ends with the source's, though its last rows may have left before.
    pub(super) async fn end_target_transaction(&mut self) -> Result<Option<Ended>, PipelineError> {
        if self.tokens[0].is_some() {
            self.is_cut = false;
            // What is prepared here may be decided before the batch leaves, of which a part may be all that is written.
            self.prepared().sync()?;
            self.feed.lanes.batchers[0].end_transaction(Arc::new(self.feed.executed.clone()));
        } else if std::mem::take(&mut self.is_cut) {
            self.keep_all()?;
            let work = Work::Commit(Arc::new(self.feed.executed.clone()));
            tokio::select! {
                sent = self.feed.senders[0].send(work) => if sent.is_err() {
                    return Ok(Some(Ended::LaneFailed));
                },
                () = told_to_stop(&mut self.feed.stop) => return Ok(Some(Ended::Stopped)),
            }
        }
        Ok(None)
    }

    /// With `ordering = "transaction"`, what there is of a transaction that will not end does not leave.
    pub(super) fn forget_open_transaction(&mut self) {
        if self.feed.options.ends_transactions && self.feed.decoder.is_in_transaction() {
            let transaction = self.feed.decoder.transaction().number;
            self.feed.lanes.retract(RowId { transaction, place: 0 });
        }
    }

    /// Lanes without rows would keep the lowest mark where it is: their marks follow. Between transactions only, since a mark at a
    /// boundary forgets what was written of the transaction after it.
    pub(super) fn mark_idle_lanes(&mut self) -> Result<(), PipelineError> {
        if !self.marks_due || !self.feed.options.keeps_marks || self.feed.decoder.is_in_transaction() {
            return Ok(());
        }
        (self.marks_due, self.last_marks) = (false, Instant::now());
        if *self.resume == self.feed.executed {
            return Ok(());
        }
        self.keep_all()?;
        self.resume = Arc::new(self.feed.executed.clone());
        for lane in 0..self.tokens.len() {
            if self.tokens[lane].is_none() && self.feed.senders[lane].capacity() == LANE_DEPTH {
                // A lane that got work meanwhile writes a mark of its own.
                let _ = self.feed.senders[lane].try_send(Work::Mark(Arc::clone(&self.resume)));
            }
        }
        Ok(())
    }

    /// A position is about to leave in a mark: what was read before it has to be known after a restart.
    pub(super) fn keep_all(&mut self) -> Result<(), PipelineError> {
        self.feed.history.flush()?;
        if self.feed.options.keeps_marks {
            self.prepared().sync()?;
        }
        Ok(())
    }
}
