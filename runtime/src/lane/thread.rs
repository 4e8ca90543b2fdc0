//! What a lane runs on. Without plugins it is a task like others. A guest may compute for as long as its time limit: a lane with plugins has a
//! thread of its own, so that no other task waits for it, and another one once a guest has made that give way.

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::worker::{Ended, LaneError, Work, Worker};
use crate::plugin;

/// A lane, what comes to it, and what ends it when its sender is dropped.
struct Lane {
    worker: Worker,
    work: mpsc::Receiver<Work>,
    given_up: watch::Receiver<()>,
}

/// Begins to work. `given_up`: ends the lane when its sender is dropped.
pub fn spawn(
    worker: Worker,
    work: mpsc::Receiver<Work>,
    lanes: &mut JoinSet<Result<(), LaneError>>,
    given_up: watch::Receiver<()>,
) {
    let mut lane = Lane { worker, work, given_up };
    lanes.spawn(async move {
        if lane.worker.chain.is_none() {
            return lane.run().await.map(drop);
        }
        loop {
            let ended;
            (ended, lane) = lane.on_a_thread().await?;
            if ended? == Ended::Closed {
                return Ok(());
            }
        }
    });
}

impl Lane {
    async fn run(&mut self) -> Result<Ended, LaneError> {
        tokio::select! {
            ended = self.worker.run(&mut self.work) => ended,
            _ = self.given_up.changed() => Err(LaneError::Stopped),
        }
    }

    /// The same, on a new thread.
    async fn on_a_thread(mut self) -> Result<(Result<Ended, LaneError>, Lane), LaneError> {
        let runtime = Handle::current();
        let (tell, told) = oneshot::channel();
        let body = move || {
            plugin::may_give_way();
            let ended = runtime.block_on(self.run());
            let _ = tell.send((ended, self));
        };
        std::thread::Builder::new().name("lane".to_owned()).spawn(body).map_err(LaneError::Thread)?;
        Ok(told.await.expect("a lane does not panic"))
    }
}
