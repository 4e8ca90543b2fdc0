//! A batch passes the plugins; its rows that they or a sink cannot take become dead letters, or end the lane.

use std::collections::HashMap;

use super::{LaneError, Worker};
use crate::change::{Batch, RowId};
use crate::dead_letter::{self, Why};
use crate::lane::dead::{DeadLetters, FAILED_MAX};
use crate::plugin::{Chain, DIVIDING_TIME_MAX, FAILURES_MAX, Find, RowError};

/// How often a batch passes plugins that remember, while rows of it become letters.
const PASSES_MAX: usize = 100;
impl Worker {
    /// Passes a batch through the plugins. Rows that they cannot process are letters, or end the lane.
    ///
    /// Where plugins remember, the rest of the batch passes them again then: they have seen the letters' later changes of the same keys, which
    /// wait and pass them when they are retried, and remember nothing of those.
    pub(super) fn transform(&mut self, batch: &mut Batch) -> Result<(), LaneError> {
        if self.chain.is_some() {
            self.sample.offer(batch);
        }
        for _ in 0..PASSES_MAX {
            if !self.pass(batch)? || !self.forgets(batch) {
                return Ok(());
            }
        }
        Err(LaneError::Hopeless {
            what: format!(
                "plugins that remember reported other rows of a batch as errors each time that they were given the rest of it, {PASSES_MAX} times"
            ),
        })
    }

    /// Some plugin remembers something: what comes out of a row depends on those before it.
    pub(super) fn remembers(&self) -> bool {
        self.chain.as_ref().is_some_and(Chain::keeps_state)
    }

    /// Rows of the batch have become letters: it is as it was read again, without them, and so is what the plugins remember. False: they
    /// remember nothing.
    pub(super) fn forgets(&mut self, batch: &mut Batch) -> bool {
        let (Some(chain), Some(dead)) = (self.chain.as_mut().filter(|chain| chain.keeps_state()), &mut self.dead) else {
            return false;
        };
        chain.revert();
        dead.restore(batch);
        true
    }

    /// True if rows have become letters.
    fn pass(&mut self, batch: &mut Batch) -> Result<bool, LaneError> {
        let buries = self.buries();
        let Some(chain) = &mut self.chain else { return Ok(false) };
        let stops = || *self.stop.borrow();
        let errors = chain.process_dividing(batch, if buries { Find::All } else { Find::First }, &stops).map_err(|error| {
            if error.is_of_rows() && stops() {
                return LaneError::Stopped;
            }
            if !buries || !error.is_of_rows() {
                return LaneError::Plugin(error);
            }
            let seconds = DIVIDING_TIME_MAX.as_secs();
            LaneError::Hopeless {
                what: format!(
                    "{}\nit fails for so many rows of one batch that they were not told apart with {FAILURES_MAX} tries in {seconds} s",
                    error.to_string().split("\nhint: ").next().unwrap_or_default()
                ),
            }
        })?;
        let Some(dead) = self.dead.as_mut().filter(|dead| dead.buries()) else {
            return match errors.into_iter().next() {
                Some(error) => {
                    let place = dead_letter::place(batch, error.id).map(Box::new);
                    Err(LaneError::Row { place, error: Box::new(error) })
                }
                None => Ok(false),
            };
        };
        let why = |error: RowError| {
            let sha256 = chain.sha256(&error.plugin).unwrap_or_default().into();
            (error.id, Why::Plugin { name: error.plugin, sha256, message: error.message })
        };
        let letters = dead.count();
        dead.bury(&errors.into_iter().map(why).collect())?;
        Ok(dead.count() > letters)
    }

    /// Rows that nobody can take become letters.
    pub(super) fn buries(&self) -> bool {
        self.dead.as_ref().is_some_and(DeadLetters::buries)
    }

    /// How many rows of the batch are letters.
    pub(super) fn letters(&self) -> usize {
        self.dead.as_ref().map_or(0, DeadLetters::count)
    }

    /// A sink can never take a row.
    pub(super) fn refuse(&mut self, id: RowId, sink: String, reason: String) -> Result<(), LaneError> {
        let Some(dead) = &mut self.dead else { return Ok(()) };
        let before = dead.count();
        dead.bury(&HashMap::from([(id, Why::Sink { name: sink.clone(), message: reason.clone() })]))?;
        if dead.count() == before {
            // It would be refused for ever.
            return Err(LaneError::Hopeless {
                what: format!("sink `{sink}`: it refuses a row that is not in the batch: {reason}"),
            });
        }
        let is_slow = dead.refused();
        self.one_by_one |= is_slow && !self.remembers();
        Ok(())
    }

    /// The batch is done, as far as letters go.
    pub(super) fn end_letters(&mut self, rows: usize) -> Result<(), LaneError> {
        let Some(dead) = &mut self.dead else { return Ok(()) };
        self.status.dead_letters.store(dead.held() as u64, std::sync::atomic::Ordering::Relaxed);
        if dead.count() > 0 {
            let (pipeline, letters) = (&*self.status.name, dead.count());
            if dead.is_to_be_told() {
                tracing::warn!(pipeline, lane = self.lane, letters, "changes are set aside: see `tidegate dead-letter list`");
            } else {
                tracing::debug!(pipeline, lane = self.lane, letters, "changes became dead letters, or wait behind one");
            }
        }
        if !dead.end(rows) {
            return Err(LaneError::Hopeless {
                what: format!(
                    "more than {FAILED_MAX} changes of a lane became dead letters, one after the other, and no other came through"
                ),
            });
        }
        Ok(())
    }
}
