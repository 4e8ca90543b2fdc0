//! Sources and sinks that are away are asked again until they answer, or until the pipeline is told to stop.

use std::time::Duration;

use tokio::sync::watch;

use super::{PipelineError, Running};
use crate::metrics::State;
use crate::retry::Backoff;
use crate::sink::SinkError;
use crate::source::SourceError;

/// How long a sink may take to connect, or to answer a question about marks, before it is asked again.
const SINK_ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

impl Running {
    /// Asks a sink until it answers. `None`: stopped while it is away.
    pub(super) async fn patiently_sink<T, F: Future<Output = Result<T, SinkError>>>(
        &self,
        name: &str,
        stop: &watch::Receiver<bool>,
        ask: impl Fn() -> F,
    ) -> Result<Option<T>, PipelineError> {
        let mut backoff = Backoff::default();
        loop {
            let silent = |_| Err(SinkError::Retry(format!("no answer within {} s", SINK_ANSWER_TIME_MAX.as_secs())));
            match tokio::time::timeout(SINK_ANSWER_TIME_MAX, ask()).await.unwrap_or_else(silent) {
                Ok(answer) => return Ok(Some(answer)),
                Err(SinkError::Retry(reason)) => {
                    if !self.wait_for_sink(name, &reason, &mut backoff, stop).await {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(PipelineError::Sink { sink: name.to_owned(), error }),
            }
        }
    }

    /// Has a sink do what may take hours, until it has done it. `None`: told to stop.
    pub(super) async fn until_done<T, F: Future<Output = Result<T, SinkError>>>(
        &self,
        name: &str,
        stop: &watch::Receiver<bool>,
        work: impl Fn() -> F,
    ) -> Result<Option<T>, SinkError> {
        let mut backoff = Backoff::default();
        loop {
            match unless_told(stop, work()).await {
                None => return Ok(None),
                Some(Ok(done)) => return Ok(Some(done)),
                Some(Err(SinkError::Retry(reason))) => {
                    if !self.wait_for_sink(name, &reason, &mut backoff, stop).await {
                        return Ok(None);
                    }
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// A sink is away: says so, and waits before it is tried again. False: told to stop.
    async fn wait_for_sink(&self, name: &str, reason: &str, backoff: &mut Backoff, stop: &watch::Receiver<bool>) -> bool {
        if backoff.tries() == 0 {
            tracing::warn!(sink = name, reason, "sink is away; trying again");
        }
        self.status.retries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.status.set_state(State::Waiting(self.place_of(name)));
        unless_told(stop, tokio::time::sleep(backoff.next_delay())).await.is_some()
    }
}

/// What the future gives; `None`: told to stop before.
pub(super) async fn unless_told<T>(stop: &watch::Receiver<bool>, future: impl Future<Output = T>) -> Option<T> {
    let mut stop = stop.clone();
    tokio::select! {
        done = future => Some(done),
        _ = stop.wait_for(|stop| *stop) => None,
    }
}

/// Asks a source until it answers; only what trying again cannot mend is an error.
pub(super) async fn patiently<T, F: Future<Output = Result<T, SourceError>>>(ask: impl Fn() -> F) -> Result<T, SourceError> {
    let mut backoff = Backoff::default();
    loop {
        match ask().await {
            Err(SourceError::Transient { name, error }) => {
                tracing::warn!(source = &*name, "{error}; trying again");
                tokio::time::sleep(backoff.next_delay()).await;
            }
            answer => return answer,
        }
    }
}
