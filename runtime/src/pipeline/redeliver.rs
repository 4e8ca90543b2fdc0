//! Retrying dead letters while a pipeline runs, and what `tidegate dead-letter` asks for.
//!
//! Many letters at a time, those of a unit in order, through plugins and writers of its own. As long as a unit has letters, the lanes add to
//! them what comes for it, so that nothing overtakes what is retried; when the last one is durable at the sinks and gone from the file,
//! what comes next goes its usual way. After a crash in between, a letter is delivered again.
//!
//! Where plugins remember, this is done between two rounds, when everything that was read is settled and what plugins remember of it is
//! durable: a letter passes them with what they remember in its lane, and what they remember of it is durable, together with a note that
//! it is delivered, before it is gone from the file. So it counts once, and comes out alike however often the process is killed.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;

use super::patience::unless_told;
use super::{PipelineError, Running};
use crate::alteration::TableChange;
use crate::change::{Batch, RowId};
use crate::dead_letter::request::{Action, Outcome, Request};
use crate::dead_letter::{self, DeadLetterError, Letter, Letters, OfLane, Why, store};
use crate::failpoint;
use crate::lane::dead::FAILED_MAX;
use crate::lane::remembered::Remembered;
use crate::lane::worker::Target;
use crate::manifest::model::{OnRowError, Ordering};
use crate::plugin::{Chain, Find, StateChange};
use crate::retry::Backoff;
use crate::router::Router;
use crate::sink::{Delivery, SinkError};

/// How often requests are looked for.
const REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// Letters that are retried at once, at most.
const LETTERS_MAX: usize = 1000;

/// What letters are delivered with. Made when it is needed.
struct Way {
    chain: Option<Chain>,
    /// Whose state the plugins have.
    lane: OfLane,
    router: Router,
    targets: Vec<Target>,
}

impl Way {
    /// What the plugins remember of letters that do not go out is forgotten.
    fn revert(&mut self) {
        if let Some(chain) = &mut self.chain {
            chain.revert();
        }
    }
}

/// What came of some letters.
#[derive(Default)]
struct Tried {
    delivered: Vec<usize>,
    /// The first one of its unit that could not be delivered.
    failed: HashMap<u64, (usize, Why)>,
    /// What plugins remember of those that are delivered.
    changes: Vec<StateChange>,
}

impl Tried {
    /// It cannot be delivered, and none of its unit behind it.
    fn fail(&mut self, unit: u64, index: usize, why: Why) {
        if self.failed.get(&unit).is_none_or(|(first, _)| index < *first) {
            self.failed.insert(unit, (index, why));
        }
    }
}

impl Running {
    /// The letters of the pipeline: `None` where there are none and will be none.
    pub(super) fn letters(&self) -> Result<Option<Arc<Letters>>, PipelineError> {
        let Running { pipeline, data_dir, status, .. } = self;
        let buries = pipeline.on_row_error == OnRowError::DeadLetter;
        if !buries && !store::path(data_dir, &pipeline.name).exists() {
            return Ok(None);
        }
        let letters = Letters::open(data_dir, &pipeline.name, pipeline.ordering, pipeline.dead_letters_max)?;
        letters.remove_delivered(&self.store.delivered_letters(&pipeline.name)?)?;
        self.store.set_delivered_done(&pipeline.name)?;
        if letters.is_empty() && !buries {
            return Ok(None);
        }
        if matches!(pipeline.ordering, Ordering::Global | Ordering::Transaction) {
            return Err(DeadLetterError::Ordering { pipeline: pipeline.name.clone(), count: letters.len() }.into());
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
        layout: u32,
        stop: &watch::Receiver<bool>,
    ) -> Result<std::convert::Infallible, PipelineError> {
        let Some(letters) = letters else { return std::future::pending().await };
        loop {
            tokio::select! {
                () = tokio::time::sleep(REQUEST_INTERVAL) => {}
                () = letters.freed() => {}
            }
            if !self.remembers() {
                self.take_up_letters(letters, layout, stop).await?;
            } else if !letters.freed_units().is_empty() || !Request::of(&self.data_dir, &self.pipeline.name).is_empty() {
                self.seat.end_round();
            }
        }
    }

    /// Answers requests, and delivers what waits for nothing any more. `layout`: of the lanes of this round.
    pub(super) async fn take_up_letters(
        &self,
        letters: &Arc<Letters>,
        layout: u32,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), PipelineError> {
        let mut way = None;
        for (left, request) in Request::of(&self.data_dir, &self.pipeline.name) {
            let ids = request.ids.as_deref();
            let (units, unknown) = letters.units(ids);
            let mut outcome = Outcome { unknown, ..Outcome::default() };
            match request.action {
                Action::Retry => self.retry(letters, units, &mut way, layout, stop, &mut outcome).await?,
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
            left.answer(&outcome);
        }
        self.retry(letters, letters.freed_units(), &mut way, layout, stop, &mut Outcome::default()).await?;
        self.status.dead_letters.store(letters.len() as u64, Relaxed);
        Ok(())
    }

    /// The letters of some units, each in order until one fails.
    async fn retry(
        &self,
        letters: &Letters,
        mut units: VecDeque<u64>,
        way: &mut Option<Way>,
        layout: u32,
        stop: &watch::Receiver<bool>,
        outcome: &mut Outcome,
    ) -> Result<(), PipelineError> {
        // One after the other.
        let mut failed = 0;
        loop {
            let some = letters.first(&mut units, LETTERS_MAX, self.pipeline.batch.bytes.0)?;
            let Some(lane) = some.first().map(|(_, letter)| letter.lane).filter(|_| !*stop.borrow()) else { return Ok(()) };
            if way.is_none() {
                let Some(targets) = self.targets(stop).await? else { return Ok(()) };
                *way = Some(Way { chain: self.chain_of(lane.number)?, lane, router: self.router(), targets });
            }
            let Some(at) = way else { return Ok(()) };
            if at.lane != lane && at.chain.as_ref().is_some_and(Chain::keeps_state) {
                (at.chain, at.lane) = (self.chain_of(lane.number)?, lane);
            }
            let Some(tried) = self.deliver(&some, layout, at, stop).await else { return Ok(()) };
            if at.chain.as_ref().is_some_and(Chain::is_dead) {
                *way = None;
            }
            failpoint::pass("letter-delivered");
            let delivered: Vec<&Letter> = tried.delivered.iter().map(|at| &some[*at].1).collect();
            let is_remembered = !tried.changes.is_empty();
            if is_remembered {
                let mut remembered = Remembered::default();
                remembered.add_letters(lane.number, tried.changes);
                let places: Vec<_> = delivered.iter().map(|letter| (letter.id, letter.place.clone())).collect();
                self.store.commit_letters(&self.pipeline.name, &remembered, &places)?;
                failpoint::pass("letter-remembered");
            }
            let ids: Vec<u64> = delivered.iter().map(|letter| letter.id).collect();
            outcome.done += letters.remove(&ids)? as u64;
            if is_remembered {
                self.store.set_delivered_done(&self.pipeline.name)?;
            }
            failpoint::pass("letter-removed");
            self.status.dead_letters.store(letters.len() as u64, Relaxed);
            failed = if ids.is_empty() { failed + tried.failed.len() } else { 0 };
            units.retain(|unit| !tried.failed.contains_key(unit));
            // What has come meanwhile waits behind those that are delivered.
            let last = some.iter().map(|(unit, _)| *unit).filter(|unit| !tried.failed.contains_key(unit));
            let more = last.filter(|unit| letters.count_of(*unit) > 0);
            for unit in more.collect::<Vec<_>>().into_iter().rev() {
                if units.front() != Some(&unit) {
                    units.push_front(unit);
                }
            }
            let mut again: Vec<(u64, Why)> = Vec::with_capacity(tried.failed.len());
            for (unit, (index, why)) in tried.failed {
                outcome.waiting += (letters.count_of(unit) as u64).saturating_sub(1);
                again.push((some[index].1.id, why));
            }
            again.sort_unstable_by_key(|(id, _)| *id);
            outcome.failed.extend(again.iter().map(|(id, why)| (*id, why.to_string())));
            letters.tried(again)?;
            if failed > FAILED_MAX {
                outcome.waiting += units.iter().map(|unit| letters.count_of(*unit) as u64).sum::<u64>();
                return Ok(());
            }
        }
    }

    /// Letters through the plugins and to the sinks, once. `None`: told to stop while a sink is away, or letters fail.
    async fn deliver(&self, letters: &[(u64, Letter)], layout: u32, way: &mut Way, stop: &watch::Receiver<bool>) -> Option<Tried> {
        let mut tried = Tried::default();
        if way.lane.layout != layout && way.chain.as_ref().is_some_and(Chain::keeps_state) {
            for (index, (unit, _)) in letters.iter().enumerate() {
                let message = "it was set aside in other lanes than those of now, and what plugins remember belongs to a lane: \
                               drop it, and change the row at the source";
                tried.fail(*unit, index, Why::Sink { name: "dead-letter".to_owned(), message: message.to_owned() });
            }
            return Some(tried);
        }
        // Pieces, and the targets that have them.
        let mut left: Vec<(Range<usize>, usize)> = vec![(0..letters.len(), 0)];
        while let Some((range, mut target)) = left.pop() {
            let goes = |index: &usize| tried.failed.get(&letters[*index].0).is_none_or(|(first, _)| index < first);
            let indexes: Vec<usize> = range.clone().filter(goes).collect();
            let Some(&only) = indexes.first() else { continue };
            let some: Vec<&Letter> = indexes.iter().map(|index| &letters[*index].1).collect();
            let why = match transformed(&some, way.chain.as_mut(), &|| *stop.borrow()) {
                Ok((batch, errors)) if errors.is_empty() => self.write_letters(&batch, &mut target, way, stop).await?.err(),
                Ok((_, errors)) => {
                    for (id, why) in errors {
                        let index = indexes[id.transaction as usize];
                        tried.fail(letters[index].0, index, why);
                    }
                    // The rest passes again.
                    left.push((range, target));
                    way.revert();
                    continue;
                }
                // They were not told apart, or nobody waits for it.
                Err(_) if *stop.borrow() => return None,
                Err(why) => Some(why),
            };
            let Some(why) = why else {
                tried.delivered.extend(&indexes);
                tried.changes.extend(way.chain.as_mut().map(Chain::take_changes).unwrap_or_default());
                continue;
            };
            way.revert();
            match why {
                Why::Plugin { .. } => indexes.iter().for_each(|index| tried.fail(letters[*index].0, *index, why.clone())),
                Why::Sink { .. } | Why::Behind { .. } if indexes.len() == 1 => tried.fail(letters[only].0, only, why),
                Why::Sink { .. } | Why::Behind { .. } => {
                    // One of them it must be.
                    let middle = range.start + range.len() / 2;
                    left.extend([(middle..range.end, target), (range.start..middle, target)]);
                }
            }
        }
        Some(tried)
    }

    /// `target`: the first that lacks them. `None`: told to stop while a sink is away.
    async fn write_letters(
        &self,
        batch: &Batch,
        target: &mut usize,
        way: &mut Way,
        stop: &watch::Receiver<bool>,
    ) -> Option<Result<(), Why>> {
        let routed = match way.router.route(batch, way.targets.len()) {
            Ok(routed) => routed,
            Err(error) => return Some(Err(Why::Sink { name: "routes".to_owned(), message: error.to_string() })),
        };
        for slices in routed.slices.into_iter().skip(*target) {
            let Target { name, writer, .. } = &mut way.targets[*target];
            let delivery = Delivery { slices, transactions: &batch.transactions, mark: None, commit: true };
            let mut backoff = Backoff::default();
            loop {
                let mut written = writer.write(&delivery).await;
                if matches!(written, Err(SinkError::Conflict(_))) {
                    written = writer.write_unfolded(&delivery).await;
                }
                match written {
                    Ok(()) => break,
                    Err(SinkError::Retry(reason)) => {
                        tracing::warn!(sink = name, reason, "dead letters: sink is away; trying again");
                        unless_told(stop, tokio::time::sleep(backoff.next_delay())).await?;
                    }
                    Err(SinkError::Row { reason: message, .. }) => return Some(Err(Why::Sink { name: name.clone(), message })),
                    Err(error @ (SinkError::Conflict(_) | SinkError::Configuration { .. })) => {
                        return Some(Err(Why::Sink { name: name.clone(), message: error.to_string() }));
                    }
                }
            }
            *target += 1;
        }
        Some(Ok(()))
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

/// The letters as a batch that has passed the plugins, and what these cannot process. `Err`: none of them passes.
fn transformed(
    letters: &[&Letter],
    chain: Option<&mut Chain>,
    stops: &dyn Fn() -> bool,
) -> Result<(Batch, Vec<(RowId, Why)>), Why> {
    let damaged = |message: String| Why::Sink { name: "dead-letter".to_owned(), message };
    let batch = dead_letter::batch(letters.iter().copied()).map_err(damaged)?;
    let mut batch = batch.ok_or_else(|| damaged("the letter is empty".to_owned()))?;
    let Some(chain) = chain else { return Ok((batch, Vec::new())) };
    // A guest may compute for as long as its time limit.
    let passed = tokio::task::block_in_place(|| chain.process_dividing(&mut batch, Find::All, stops));
    let why =
        |name: Arc<str>, message: String| Why::Plugin { sha256: chain.sha256(&name).unwrap_or_default().into(), name, message };
    match passed {
        Ok(errors) => Ok((batch, errors.into_iter().map(|error| (error.id, why(error.plugin, error.message))).collect())),
        Err(error) => Err(why(error.plugin, error.fault.to_string())),
    }
}
