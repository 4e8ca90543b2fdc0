//! `ddl = "follow"`, the targets' side: between two rounds, with everything settled that was read before the statement.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Due, Follow, PipelineError, Running, unless_told};
use crate::alteration::{Alteration, TableChange};
use crate::failpoint;
use crate::manifest::model::OnDdl;
use crate::metrics::State;
use crate::retry::Backoff;
use crate::sink::SinkError;
use crate::source::snapshot::to_read::ToRead;

impl Running {
    /// What a round needs to follow. `None`: stopped while a sink is away.
    pub(super) async fn follow(
        &self,
        stop: &watch::Receiver<bool>,
        store: &Arc<str>,
    ) -> Result<Option<Option<Follow>>, PipelineError> {
        if self.pipeline.ddl != OnDdl::Follow {
            return Ok(Some(None));
        }
        let mut made: Option<Option<String>> = None;
        for (name, sink) in &self.sinks {
            let Some(of_sink) = self.patiently_sink(name, stop, || sink.altered()).await? else { return Ok(None) };
            // One that lacks it makes all be asked again; those that have it know.
            made = Some(match made {
                Some(made) if made != of_sink => None,
                _ => of_sink,
            });
        }
        Ok(Some(Some(Follow { made: made.flatten(), store: Arc::clone(store), chain: self.chain()? })))
    }

    /// Makes a change at all targets. `None`: stopped before it was made.
    pub(super) async fn alter(&self, stop: &watch::Receiver<bool>, due: Box<Due>) -> Result<Option<Box<Due>>, PipelineError> {
        failpoint::pass("ddl-settled");
        tracing::info!(
            pipeline = self.pipeline.name,
            file = &*due.file,
            offset = due.offset,
            table = due.table,
            "altering the target's tables"
        );
        // Reading waits for the stream, which comes behind the statement only once the targets have it.
        let mut reads = self.store.reads(&self.pipeline.name)?;
        for name in &due.reads {
            let is_new = |read: &ToRead| read.rows == 0 && read.filter.is_none() && read.whole.is_none();
            if !reads.iter().any(|read| read.schema == *name.schema && read.table == *name.table && is_new(read)) {
                let read = ToRead::new(self.store.next_read_id()?, &name.schema, &name.table, None);
                self.store.add_reads(&self.pipeline.name, std::slice::from_ref(&read))?;
                reads.push(read);
            }
        }
        for (name, sink) in &self.sinks {
            let routes = || self.pipeline.routes.iter().filter(|route| route.sink.name == *name);
            let is_routed = |change: &&TableChange| routes().any(|route| change.is_routed(&route.topics));
            let tables: Vec<TableChange> = due.alteration.tables.iter().filter(is_routed).cloned().collect();
            let half = due.alteration.tables.iter().filter(|change| !is_routed(change)).find(|change| {
                change.names().iter().any(|table| routes().any(|route| route.topics.matches_topic(&table.to_string())))
            });
            if half.is_some() {
                return Err(due.refused("it takes a table from one route to another", ""));
            }
            let alteration = Alteration { tables, ..due.alteration.clone() };
            match self.alter_one(stop, name, || sink.alter(&alteration)).await {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(SinkError::Configuration { reason, hint }) => {
                    return Err(due.refused(&format!("sink `{name}`: {reason}"), &hint));
                }
                Err(other) => return Err(due.refused(&format!("sink `{name}`: {other}"), "")),
            }
        }
        failpoint::pass("ddl-made");
        Ok(Some(due))
    }

    /// For as long as it takes; a large table is altered for hours. False: stopped.
    async fn alter_one<F: Future<Output = Result<(), SinkError>>>(
        &self,
        stop: &watch::Receiver<bool>,
        name: &str,
        alter: impl Fn() -> F,
    ) -> Result<bool, SinkError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        loop {
            match unless_told(stop, alter()).await {
                None => return Ok(false),
                Some(Err(SinkError::Retry(reason))) => {
                    if backoff.tries() == 0 {
                        tracing::warn!(sink = name, reason, "sink is away; trying again");
                    }
                    self.status.retries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    self.status.set_state(State::Waiting(self.place_of(name)));
                    if unless_told(stop, tokio::time::sleep(backoff.next_delay())).await.is_none() {
                        return Ok(false);
                    }
                }
                Some(made) => return made.map(|()| true),
            }
        }
    }
}
