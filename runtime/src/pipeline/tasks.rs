//! The tasks of one round: reading, the lanes, and whoever keeps the cursor.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::PipelineError;
use super::feed::Ended;
use crate::ack::AckTracker;
use crate::cursor::Store;
use crate::lane::remembered::Remembered;
use crate::lane::worker::LaneError;
use crate::metrics::PipelineStatus;
use crate::position::{Position, Progress};
use crate::prepared::Prepared;

/// How often cursors are flushed.
const CURSOR_INTERVAL: Duration = Duration::from_millis(500);

/// The tasks of one round.
pub(super) struct Tasks {
    pub(super) read: JoinHandle<Result<(Ended, Position), PipelineError>>,
    pub(super) lanes: JoinSet<Result<(), LaneError>>,
    /// Dropped to end lanes that have threads of their own, which cannot be aborted.
    pub(super) give_up: Option<watch::Sender<()>>,
    pub(super) keeper: Option<JoinHandle<Result<(), PipelineError>>>,
}

impl Tasks {
    /// Waits for the reading and all lanes. Where reading fails, the lanes settle what was read before; where a lane fails, the
    /// others are stopped.
    pub(super) async fn attend(&mut self, name: &str) -> Result<(Ended, Position), PipelineError> {
        let mut read = None;
        let failure = loop {
            tokio::select! {
                done = &mut self.read, if read.is_none() => match done {
                    Ok(done) => {
                        if let Err(error) = &done {
                            tracing::warn!(pipeline = name, "reading ends, what was read before is settled: {}", headline(error));
                        }
                        read = Some(done);
                    }
                    Err(panic) => break panic.into(),
                },
                lane = self.lanes.join_next() => match lane {
                    // All lanes are done, so their channels are closed: reading has ended, or will at once.
                    None => match read.take() {
                        Some(done) => return done,
                        None => match (&mut self.read).await {
                            Ok(done) => return done,
                            Err(panic) => break panic.into(),
                        },
                    },
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(LaneError::Stopped))) => {
                        // Reading ends by itself, and may know why.
                        let done = match read.take() {
                            Some(done) => Ok(done),
                            None => (&mut self.read).await,
                        };
                        match done {
                            Ok(Err(earlier)) => break earlier,
                            Ok(Ok(_)) => break PipelineError::Lane(LaneError::Stopped),
                            Err(panic) => break panic.into(),
                        }
                    }
                    Some(Ok(Err(error))) => break PipelineError::Lane(error),
                    Some(Err(panic)) => break panic.into(),
                },
                kept = keeper_ended(&mut self.keeper), if self.keeper.is_some() => {
                    if let Err(error) = kept {
                        break error;
                    }
                }
            }
        };
        self.end().await;
        Err(failure)
    }

    /// Ends reading and the lanes; what is in flight is read again.
    pub(super) async fn end(&mut self) {
        self.read.abort();
        self.give_up = None;
        while self.lanes.join_next().await.is_some() {}
    }
}

/// The keeper's end, once; nothing when it has been seen.
pub(super) async fn keeper_ended(keeper: &mut Option<JoinHandle<Result<(), PipelineError>>>) -> Result<(), PipelineError> {
    let Some(handle) = keeper else { return Ok(()) };
    let ended = handle.await;
    *keeper = None;
    ended?
}

/// Keeps the cursor of one round.
pub(super) struct Keeper {
    pub(super) store: Store,
    pub(super) prepared: Arc<Mutex<Prepared>>,
    pub(super) status: Arc<PipelineStatus>,
    pub(super) acks: Arc<Mutex<AckTracker<Progress>>>,
    pub(super) remembered: Arc<Mutex<Remembered>>,
}

impl Keeper {
    /// Flushes the settled prefix at an interval, and a last time at the end.
    pub(super) async fn run(self, mut position: Position, mut finish: oneshot::Receiver<()>) -> Result<(), PipelineError> {
        self.status.set_position(position.clone());
        let mut finished = false;
        while !finished {
            tokio::select! {
                () = tokio::time::sleep(CURSOR_INTERVAL) => {}
                _ = &mut finish => finished = true,
            }
            let settled = self.acks.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(mut settled) = settled {
                let reads = settled.take_reads();
                // After what is settled was taken: it has all that belongs to that.
                let remembered = std::mem::take(&mut *self.remembered.lock().unwrap_or_else(PoisonError::into_inner));
                position.advance(settled);
                let (store, prepared) = (self.store.clone(), Arc::clone(&self.prepared));
                let (name, next) = (self.status.name.clone(), position.clone());
                let commit = move || -> Result<(), PipelineError> {
                    let prepared = || prepared.lock().unwrap_or_else(PoisonError::into_inner);
                    prepared().before_cursor(&next)?;
                    store.commit_settled(&name, next.clone(), &reads, &remembered)?;
                    Ok(prepared().after_cursor(&next)?)
                };
                tokio::task::spawn_blocking(commit).await??;
                self.status.set_position(position.clone());
            }
        }
        Ok(())
    }
}

/// The first line of an error, without its hint.
fn headline(error: &PipelineError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
