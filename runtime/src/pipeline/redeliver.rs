//! Retrying dead letters while a pipeline runs, and what `tidegate dead-letter` asks for.
//!
//! One unit at a time, in order, through plugins and writers of its own. As long as a unit has letters, the lanes add to them what comes
//! for it, so that nothing overtakes what is retried; when the last one is durable at the sinks and gone from the file, what comes
//! next goes its usual way. After a crash in between, a letter is delivered again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;

use super::patience::{sink_backoff, unless_told};
use super::{PipelineError, Running};
use crate::alteration::TableChange;
use crate::change::Batch;
use crate::dead_letter::request::{Action, Outcome, Request};
use crate::dead_letter::{self, DeadLetterError, Letter, Letters, Why, store};
use crate::failpoint;
use crate::lane::worker::Target;
use crate::manifest::model::{OnRowError, Ordering};
use crate::plugin::{Chain, Find};
use crate::router::Router;
use crate::sink::{Delivery, SinkError};

/// How often requests are looked for.
const REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// Letters that are retried at once, at most.
const LETTERS_MAX: usize = 1000;

/// What letters are delivered with. Made when it is needed.
struct Way {
    chain: Option<Chain>,
    router: Router,
    targets: Vec<Target>,
}

/// What came of some letters of a unit.
struct Tried {
    /// So many of the first are delivered.
    delivered: usize,
    /// Why the next one is not; `None`: it was not tried.
    why: Option<Why>,
}

impl Running {
    /// The letters of the pipeline: `None` where there are none and will be none.
    pub(super) fn letters(&self) -> Result<Option<Arc<Letters>>, DeadLetterError> {
        let Running { pipeline, data_dir, status, .. } = self;
        let buries = pipeline.on_row_error == OnRowError::DeadLetter;
        if !buries && !store::path(data_dir, &pipeline.name).exists() {
            return Ok(None);
        }
        let letters = Letters::open(data_dir, &pipeline.name, pipeline.ordering, pipeline.dead_letters_max)?;
        if letters.is_empty() && !buries {
            return Ok(None);
        }
        if matches!(pipeline.ordering, Ordering::Global | Ordering::Transaction) {
            return Err(DeadLetterError::Ordering { pipeline: pipeline.name.clone(), count: letters.len() });
        }
        if !letters.is_empty() {
            tracing::warn!(
                pipeline = pipeline.name,
                letters = letters.len(),
                "dead letters wait, and later changes of their keys with them"
            );
        }
        status.dead_letters.store(letters.len() as u64, Relaxed);
        Ok(Some(Arc::new(letters)))
    }

    /// Does what is asked for, for as long as the round goes on; returns if that cannot be told any more.
    pub(super) async fn redeliver(
        &self,
        letters: Option<&Arc<Letters>>,
        stop: &watch::Receiver<bool>,
    ) -> Result<std::convert::Infallible, PipelineError> {
        let Some(letters) = letters else { return std::future::pending().await };
        loop {
            tokio::select! {
                () = tokio::time::sleep(REQUEST_INTERVAL) => {}
                () = letters.freed() => {}
            }
            self.take_up_letters(letters, stop).await?;
        }
    }

    /// Answers requests, and delivers what waits for nothing any more.
    pub(super) async fn take_up_letters(&self, letters: &Arc<Letters>, stop: &watch::Receiver<bool>) -> Result<(), PipelineError> {
        let mut way = None;
        for (left, request) in Request::of(&self.data_dir, &self.pipeline.name) {
            let ids = request.ids.as_deref();
            let (units, unknown) = letters.units(ids);
            let mut outcome = Outcome { unknown, ..Outcome::default() };
            match request.action {
                Action::Retry => {
                    for unit in units {
                        self.retry(letters, unit, &mut way, stop, &mut outcome).await?;
                    }
                }
                Action::Drop => outcome.done = letters.drop_letters(ids)? as u64,
            }
            tracing::info!(
                pipeline = self.pipeline.name,
                done = outcome.done,
                failed = outcome.failed.len(),
                "dead letters: {}",
                if request.action == Action::Retry { "retried" } else { "dropped" }
            );
            if *stop.borrow() {
                // What is left of it is for the next run.
                return Ok(());
            }
            if let Err(error) = left.answer(&outcome) {
                tracing::warn!("a request about dead letters cannot be answered: {error}");
            }
        }
        for unit in letters.freed_units() {
            self.retry(letters, unit, &mut way, stop, &mut Outcome::default()).await?;
        }
        self.status.dead_letters.store(letters.len() as u64, Relaxed);
        Ok(())
    }

    /// The letters of a unit, in order, until one fails.
    async fn retry(
        &self,
        letters: &Letters,
        unit: u64,
        way: &mut Option<Way>,
        stop: &watch::Receiver<bool>,
        outcome: &mut Outcome,
    ) -> Result<(), PipelineError> {
        loop {
            let some = letters.of_unit(unit, LETTERS_MAX, self.pipeline.batch.bytes.0)?;
            if some.is_empty() || *stop.borrow() {
                return Ok(());
            }
            if way.is_none() {
                let Some(targets) = self.targets(stop).await? else { return Ok(()) };
                *way = Some(Way { chain: self.seat.chain()?, router: self.router(), targets });
            }
            let Some(at) = way else { return Ok(()) };
            let Some(Tried { delivered, why }) = self.deliver(&some, at, stop).await else { return Ok(()) };
            if at.chain.as_ref().is_some_and(Chain::is_dead) {
                *way = None;
            }
            failpoint::pass("letter-delivered");
            let done: Vec<u64> = some.iter().take(delivered).map(|letter| letter.id).collect();
            outcome.done += letters.remove(&done)? as u64;
            failpoint::pass("letter-removed");
            self.status.dead_letters.store(letters.len() as u64, Relaxed);
            if let (Some(why), Some(failed)) = (why, some.get(delivered)) {
                outcome.failed.push((failed.id, why.to_string()));
                outcome.waiting += (letters.count_of(unit) as u64).saturating_sub(1);
                letters.tried(failed.id, why)?;
                return Ok(());
            }
        }
    }

    /// Letters of one unit through the plugins and to the sinks, once. `None`: told to stop while a sink is away.
    async fn deliver(&self, letters: &[Letter], way: &mut Way, stop: &watch::Receiver<bool>) -> Option<Tried> {
        let failed = |why: Why| Some(Tried { delivered: 0, why: Some(why) });
        let data_dir = |message: String| Why::Sink { name: "dead-letter".to_owned(), message };
        let mut batch = match dead_letter::batch(letters) {
            Ok(Some(batch)) => batch,
            Ok(None) => return failed(data_dir("the letter is empty".to_owned())),
            Err(problem) => return failed(data_dir(problem)),
        };
        // The first of them that does not go out.
        let mut end = letters.len() as u64;
        let mut why = None;
        if let Some(chain) = &mut way.chain {
            let of = |chain: &Chain, name: Arc<str>, message: String| Why::Plugin {
                sha256: chain.sha256(&name).unwrap_or_default().into(),
                name,
                message,
            };
            // A guest may compute for as long as its time limit.
            match tokio::task::block_in_place(|| chain.process_dividing(&mut batch, Find::All)) {
                Ok(errors) => {
                    if let Some(first) = errors.into_iter().min_by_key(|error| error.id) {
                        end = first.id.transaction;
                        why = Some(of(chain, first.plugin, first.message));
                    }
                }
                Err(error) => return failed(of(chain, error.plugin, error.fault.to_string())),
            }
        }
        let mut target = 0;
        while target < way.targets.len() && end > 0 {
            leave_out(&mut batch, end);
            let sinks = way.targets.len();
            let routed = match way.router.route(&batch, sinks) {
                Ok(routed) => routed,
                Err(_) if end > 1 => {
                    (end, why) = (1, None);
                    continue;
                }
                Err(error) => return failed(Why::Sink { name: "routes".to_owned(), message: error.to_string() }),
            };
            let Some(slices) = routed.slices.into_iter().nth(target) else { break };
            let Target { name, writer, .. } = &mut way.targets[target];
            let delivery = Delivery { slices, transactions: &batch.transactions, mark: None, commit: true };
            let mut backoff = sink_backoff();
            let written = loop {
                let mut written = writer.write(&delivery).await;
                if matches!(written, Err(SinkError::Conflict(_))) {
                    written = writer.write_unfolded(&delivery).await;
                }
                match written {
                    Err(SinkError::Retry(reason)) => {
                        tracing::warn!(sink = name, reason, "dead letters: sink is away; trying again");
                        unless_told(stop, tokio::time::sleep(backoff.next_delay())).await?;
                    }
                    other => break other,
                }
            };
            let sink = |message: String| Some(Why::Sink { name: name.clone(), message });
            match written {
                Ok(()) => target += 1,
                Err(SinkError::Row { id, reason, .. }) => (end, why) = (id.transaction, sink(reason)),
                // One of them it must be.
                Err(_) if end > 1 => (end, why) = (1, None),
                Err(error) => (end, why) = (0, sink(error.to_string())),
            }
        }
        Some(Tried { delivered: end as usize, why })
    }

    /// The targets are about to be altered: letters of rows that the statement takes away go with them; where it changes how rows are told
    /// apart, letters are in its way.
    pub(super) fn alter_letters(&self, letters: &Letters, changes: &[TableChange]) -> Result<(), Waiting> {
        if letters.is_empty() {
            return Ok(());
        }
        for change in changes {
            for name in change.names() {
                let held = letters.of_table(&name.schema, &name.table).map_err(Waiting::File)?;
                match change {
                    _ if held.is_empty() => {}
                    TableChange::Drop(_) | TableChange::Empty(_) => {
                        let count = letters.remove(&held).map_err(Waiting::File)?;
                        tracing::warn!(
                            pipeline = self.pipeline.name,
                            table = name.to_string(),
                            count,
                            "dead letters are gone with their table's rows"
                        );
                    }
                    TableChange::Alter(altered) if !altered.is_key_changed() => {}
                    _ => return Err(Waiting::Letters(held.len())),
                }
            }
        }
        self.status.dead_letters.store(letters.len() as u64, Relaxed);
        Ok(())
    }
}

/// Why a table cannot be altered now.
pub(super) enum Waiting {
    File(DeadLetterError),
    Letters(usize),
}

/// Rows of the transactions from `end` on go nowhere.
fn leave_out(batch: &mut Batch, end: u64) {
    for rows in &mut batch.relations {
        rows.leave_out(|id| id.transaction >= end);
    }
}
