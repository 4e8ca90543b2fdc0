//! A lane at work: plugins, router, sinks; retries and conflicts; settling.
//!
//! One task a lane. Batches come in source order over a bounded channel and settle in that order. What a [`SinkError`] means for
//! the lane is decided here, in one `match`.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};

use super::bonds::Bonds;
use super::dead::DeadLetters;
use super::order::SourceOrder;
use super::remembered::{Remembered, Written};
use super::sample::Sample;
use crate::ack::{AckTracker, Token};
use crate::change::{Batch, RowId, Slice};
use crate::dead_letter::{DeadLetterError, Place};
use crate::failpoint;
use crate::manifest::model::Ordering;
use crate::metrics::{PipelineStatus, State};
use crate::plugin::{self, Chain, PluginError, RowError, StateChange};
use crate::position::{Position, Progress};
use crate::retry::Backoff;
use crate::router::{Router, UnroutedError};
use crate::sink::{Delivery, Mark, Partial, SinkError, Writer};

mod letters;

/// What a lane is sent.
#[derive(Debug)]
pub enum Work {
    Batch(Box<Batch>, Token),
    /// The source transaction of the batches before it ends here, without more rows (`ordering = "transaction"` alone).
    Commit(Arc<Position>),
    /// The lane has nothing of what was read before this: its mark may move there (where marks are kept).
    Mark(Arc<Position>),
    /// What comes behind this is for other plugins.
    Plugins(Box<NewPlugins>),
}

/// The plugins that take the place of a lane's own.
#[derive(Debug)]
pub struct NewPlugins {
    pub chain: Chain,
    /// Its rows have other columns: what writers know of the target's tables may be too old.
    pub forgets_tables: bool,
    /// Told how long the lane was held up.
    pub tell: mpsc::UnboundedSender<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A plugin cannot process a row.
    #[error("{}", row_error(.error, .place))]
    Row { error: Box<RowError>, place: Option<Box<Place>> },
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    /// With `on_row_error = "dead-letter"`: it is not single rows that fail.
    #[error(
        "{what}\nhint: mend what fails, and run again; nothing after the last good batch is settled, and letters that were kept are not doubled"
    )]
    Hopeless { what: String },
    #[error(transparent)]
    Unrouted(#[from] UnroutedError),
    #[error("sink `{sink}`: {error}")]
    Sink { sink: String, error: SinkError },
    /// The target lost a transaction that was open over several batches: the pipeline reads it again from its beginning.
    #[error("sink `{sink}`: a transaction in the making was lost")]
    TransactionLost { sink: String, unfold: bool },
    #[error("cannot start the thread of a lane: {0}\nhint: allow more threads (`ulimit -u`), or lower `lanes`")]
    Thread(std::io::Error),
    /// The pipeline is stopping, and the sink is away, or waits for rows that will not be read any more.
    #[error("stopped before everything was written")]
    Stopped,
}

/// Names the change by its place and the columns of its key; the plugin's own hint goes before the general one.
fn row_error(error: &RowError, place: &Option<Box<Place>>) -> String {
    let RowError { plugin, relation, message, .. } = error;
    let key: Vec<String> = relation.key.iter().map(|at| format!("`{}`", relation.columns[usize::from(*at)].name)).collect();
    let key = if key.is_empty() { String::new() } else { format!(" (key {})", key.join(", ")) };
    let place = place.as_ref().map_or(String::new(), |place| format!(", the change at {place}, row {}", place.row));
    let (problem, hint) = message.split_once("\nhint: ").unwrap_or((message, "mend the row at the source or the plugin"));
    format!(
        "plugin `{plugin}`, {relation}{key}{place}: {problem}\nhint: {hint}; or set such changes aside with on_row_error = \"dead-letter\"; \
         nothing after it is settled, and the pipeline goes on from its cursor"
    )
}

/// One of the sinks of a lane.
pub struct Target {
    pub name: String,
    /// Which sink it is, and where.
    pub place: String,
    pub writer: Box<dyn Writer>,
}

/// A batch that is processed, and not settled.
pub struct Open {
    token: Token,
    rows: usize,
    /// What its plugins have changed, and the mark of its last row; `None`: nothing.
    remembered: Option<(Mark, Vec<StateChange>)>,
}

pub struct Worker {
    pub lane: usize,
    pub lanes: usize,
    pub ordering: Ordering,
    pub bonds: Arc<[Bonds]>,
    /// For [`Mark::store`].
    pub store: Arc<str>,
    /// A mark is written with the data.
    pub keeps_marks: bool,
    pub chain: Option<Chain>,
    /// What comes to the plugins, where somebody wants some of it.
    pub sample: Arc<Sample>,
    pub router: Router,
    /// Rows can be set aside, or some were.
    pub dead: Option<DeadLetters>,
    pub targets: Vec<Target>,
    pub acks: Arc<Mutex<AckTracker<Progress>>>,
    pub order: Arc<SourceOrder>,
    /// Told after each batch.
    pub done: Arc<Notify>,
    pub status: Arc<PipelineStatus>,
    pub stop: watch::Receiver<bool>,
    /// Write the first transaction unfolded, because folding it ran into a conflict ([`LaneError::TransactionLost`]).
    pub unfold: bool,
    /// Batches of the source transaction that is open in the targets.
    pub open: Vec<Open>,
    /// For what the plugins remember.
    pub remembered: Arc<Mutex<Remembered>>,
    /// What the target has beyond that, after a restart.
    pub written: Option<Written>,
    /// What is being written goes on with it.
    pub continues: bool,
    /// When the source committed the last of them; microseconds since the epoch.
    pub open_commit_time_us: i64,
    /// A transaction boundary before which the lane has settled everything.
    pub resume: Arc<Position>,
    /// The [`Mark::number`] of the next mark.
    pub marks: AtomicU64,
    /// A sink refuses many rows of the batch.
    pub one_by_one: bool,
}

impl Worker {
    /// Works until the channel is closed and empty, or the thread is to be replaced.
    pub(super) async fn run(&mut self, work: &mut mpsc::Receiver<Work>) -> Result<Ended, LaneError> {
        while let Some(work) = work.recv().await {
            match work {
                Work::Batch(batch, token) => {
                    self.batch(*batch, token).await?;
                    self.done.notify_one();
                }
                Work::Commit(resume) => {
                    self.write_mark(Arc::clone(&resume)).await?;
                    self.unfold = false;
                    self.settle();
                    self.resume = resume;
                }
                Work::Mark(resume) => self.write_mark(resume).await?,
                Work::Plugins(new) => self.take_plugins(*new),
            }
            if plugin::is_rested() {
                return Ok(Ended::GaveWay);
            }
        }
        self.order.end(self.lane);
        Ok(Ended::Closed)
    }

    fn take_plugins(&mut self, new: NewPlugins) {
        let began = Instant::now();
        let NewPlugins { mut chain, forgets_tables, tell } = new;
        if let Some(old) = &self.chain {
            chain.inherit(old);
        }
        let old = self.chain.replace(chain);
        if forgets_tables {
            self.targets.iter_mut().for_each(|target| target.writer.forget_tables());
        }
        // Giving back the memory of a guest takes its time.
        tokio::task::spawn_blocking(move || drop(old));
        let _ = tell.send(began.elapsed());
        failpoint::pass("swap-taken");
    }

    async fn batch(&mut self, mut batch: Batch, token: Token) -> Result<(), LaneError> {
        let rows = batch.rows;
        if let Some(dead) = &mut self.dead {
            dead.begin(&mut batch)?;
        }
        self.transform(&mut batch)?;
        failpoint::pass("plugin-done");
        let mut parts = self.parts(&batch);
        if let Some(written) = &mut self.written {
            written.begin(&batch);
            // A mark in the target never goes back.
            let has = |through: u64| match through {
                u64::MAX => written.has(batch.last),
                transaction => written.has(RowId { transaction, place: u64::MAX - 1 }),
            };
            parts.iter_mut().filter(|part| has(part.through)).for_each(|part| part.mark = None);
        }
        let unfold = self.unfold;
        (self.one_by_one, self.unfold) = (false, unfold);
        let mut target = 0;
        let mut dropped = 0;
        while target < self.targets.len() {
            if let Some(dead) = &mut self.dead {
                dead.leave_out(&mut batch);
            }
            let mut routed = self.router.route(&batch, self.targets.len())?;
            dropped = routed.dropped;
            if let Some(written) = &self.written {
                written.leave_out(&mut routed.slices);
            }
            let letters = self.letters();
            for slices in routed.slices.into_iter().skip(target) {
                let mut deliveries = Vec::with_capacity(parts.len());
                for (part, slices) in parts.iter().zip(split(slices, &parts)) {
                    let Part { mark, commit, .. } = part;
                    let continues = deliveries.is_empty() && !self.open.is_empty();
                    if !slices.is_empty() || continues || mark.is_some() {
                        let transactions = &batch.transactions;
                        deliveries.push(Delivery { slices, transactions, mark: mark.as_ref(), commit: *commit });
                    }
                }
                failpoint::pass("sink-before");
                self.unfold = unfold;
                match self.write_all(target, &deliveries, &batch).await {
                    Err(LaneError::Sink { sink, error: SinkError::Row { id, reason, .. } }) if self.buries() => {
                        self.refuse(id, sink, reason)?;
                        break;
                    }
                    written => written?,
                }
                failpoint::pass("sink-after");
                target += 1;
                if self.letters() > letters {
                    // The other sinks do not get them either.
                    break;
                }
            }
            if self.letters() > letters && self.forgets(&mut batch) {
                self.transform(&mut batch)?;
            }
        }
        let changes = self.chain.as_mut().map(Chain::take_changes).filter(|changes| !changes.is_empty());
        let remembered = changes.map(|changes| (self.mark(&batch), changes));
        let left_out = self.dead.as_ref().map_or(0, DeadLetters::left_out);
        self.status.rows_dropped.fetch_add(dropped.saturating_sub(left_out) as u64, std::sync::atomic::Ordering::Relaxed);
        self.end_letters(rows)?;
        if self.written.as_ref().is_some_and(|written| written.ends_before(&batch.resume)) {
            self.written = None;
        }
        if let Some((_, resume)) = batch.ends.last() {
            self.settle();
            self.resume = Arc::clone(resume);
        }
        self.open.push(Open { token, rows, remembered });
        self.open_commit_time_us = batch.transactions.last().map_or(0, |t| t.commit_time_us);
        if parts.last().is_some_and(|part| part.commit) {
            self.settle();
            self.resume = batch.resume;
        }
        Ok(())
    }

    /// A batch by target transactions.
    fn parts(&self, batch: &Batch) -> Vec<Part> {
        let whole = |(number, resume): &(u64, Arc<Position>)| Part {
            through: *number,
            mark: self.keeps_marks.then(|| self.new_mark(Arc::clone(resume), None)),
            commit: true,
        };
        let mut parts: Vec<Part> = batch.ends.iter().map(whole).collect();
        if parts.last().is_none_or(|last| last.through < batch.last.transaction) {
            let commit = self.ordering != Ordering::Transaction || batch.ends_transaction;
            let mark = (self.keeps_marks && commit).then(|| self.mark(batch));
            parts.push(Part { through: u64::MAX, mark, commit });
        }
        parts
    }

    /// Writes what a batch has for one target: at once where the target can, else, or if that fails, one after the other.
    async fn write_all(&mut self, target: usize, deliveries: &[Delivery<'_>], batch: &Batch) -> Result<(), LaneError> {
        self.continues = !self.open.is_empty();
        // What continues a transaction, or is to be written row by row, is written by itself.
        let alone = usize::from(self.unfold || self.continues).min(deliveries.len());
        let (first, rest) = deliveries.split_at(alone);
        for delivery in first {
            self.write(target, delivery, batch).await?;
            self.unfold &= !delivery.commit;
        }
        self.continues = false;
        if rest.len() > 1 && !self.one_by_one && self.targets[target].writer.write_all(rest).await {
            return Ok(());
        }
        for delivery in rest {
            self.write(target, delivery, batch).await?;
        }
        Ok(())
    }

    fn settle(&mut self) {
        // Before they are settled: what the cursor passes is remembered with it.
        if self.open.iter().any(|open| open.remembered.is_some()) {
            let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            for (mark, changes) in self.open.iter_mut().filter_map(|open| open.remembered.take()) {
                remembered.add(mark, changes);
            }
        }
        let mut acks = self.acks.lock().unwrap_or_else(PoisonError::into_inner);
        for Open { token, rows, .. } in self.open.drain(..) {
            acks.settle(token);
            self.order.leave(self.lane);
            self.status.settled(rows, self.open_commit_time_us);
        }
        drop(acks);
        failpoint::pass("batch-settled");
    }

    /// Writes until it succeeds, or until trying again cannot help.
    async fn write(&mut self, target: usize, delivery: &Delivery<'_>, batch: &Batch) -> Result<(), LaneError> {
        if self.one_by_one {
            return self.row_by_row(target, delivery, batch).await;
        }
        if self.unfold {
            return self.attempt(target, delivery, Attempt::InOrder).await;
        }
        match self.attempt(target, delivery, Attempt::Folded).await {
            Err(LaneError::Sink { sink, error: SinkError::Conflict(_) }) => {
                tracing::debug!(sink, lane = self.lane, "conflict: writing row by row in source order");
                if self.continues {
                    return Err(LaneError::TransactionLost { sink, unfold: true });
                }
                let is_last = self.ordering == Ordering::Transaction;
                let how = if is_last { Attempt::InOrder } else { Attempt::Unfolded };
                match self.attempt(target, delivery, how).await {
                    Err(LaneError::Sink { error: SinkError::Conflict(_), .. }) if !is_last => {
                        self.row_by_row(target, delivery, batch).await
                    }
                    other => other,
                }
            }
            other => other,
        }
    }

    /// Each row once all other lanes have passed it, in a target transaction of its own.
    async fn row_by_row(&mut self, target: usize, delivery: &Delivery<'_>, batch: &Batch) -> Result<(), LaneError> {
        let mut rows: Vec<(RowId, usize, u32)> = Vec::new();
        for (slice, of) in delivery.slices.iter().enumerate() {
            rows.extend(of.picks.iter().map(|row| (of.rows.ids[*row as usize], slice, *row)));
        }
        rows.sort_unstable();
        let single = |&(_, slice, row): &(RowId, usize, u32)| {
            let of: &Slice<'_> = &delivery.slices[slice];
            Slice { rows: of.rows, topic: Arc::clone(&of.topic), picks: vec![row] }
        };
        for group in rows.chunk_by(|a, b| a.0 == b.0) {
            let id = group[0].0;
            if self.dead.as_ref().is_some_and(|dead| dead.is_out(id)) {
                continue;
            }
            self.order.reach(self.lane, id);
            if !self.order.passed(self.lane, id).await {
                return Err(LaneError::Stopped);
            }
            let mark = self.keeps_marks.then(|| self.mark_at(batch, id));
            let slices = group.iter().map(single).collect();
            let row = Delivery { slices, transactions: delivery.transactions, mark: mark.as_ref(), commit: true };
            match self.attempt(target, &row, Attempt::InOrder).await {
                // Nothing is left to wait for: the row that is in the way may be a letter itself.
                Err(LaneError::Sink { sink, error: SinkError::Row { reason, .. } | SinkError::Conflict(reason) })
                    if self.buries() =>
                {
                    if self.remembers() {
                        // The rows behind it may be others without it.
                        let relation = group.iter().map(|row| row.1).map(|slice| delivery.slices[slice].rows.relation.to_string());
                        let error = SinkError::Row { relation: relation.take(1).collect(), id, reason };
                        return Err(LaneError::Sink { sink, error });
                    }
                    self.refuse(id, sink, reason)?;
                }
                written => written?,
            }
        }
        match delivery.mark {
            Some(mark) => {
                let marked = Delivery { slices: Vec::new(), transactions: delivery.transactions, mark: Some(mark), commit: true };
                self.attempt(target, &marked, Attempt::Folded).await
            }
            None => Ok(()),
        }
    }

    /// One delivery, tried again while the target is away.
    async fn attempt(&mut self, target: usize, delivery: &Delivery<'_>, how: Attempt) -> Result<(), LaneError> {
        let mut backoff = Backoff::default();
        let buries = self.buries();
        loop {
            let Target { name, place, writer } = &mut self.targets[target];
            let written = match how {
                Attempt::Folded => writer.write(delivery).await,
                Attempt::Unfolded | Attempt::InOrder => writer.write_unfolded(delivery).await,
            };
            match written {
                Ok(()) => {
                    if backoff.tries() > 0 {
                        self.status.set_state(State::Running);
                        tracing::info!(sink = name, lane = self.lane, position = %self.resume, "sink is back");
                    }
                    return Ok(());
                }
                Err(SinkError::Retry(_)) if self.continues => {
                    return Err(LaneError::TransactionLost { sink: name.clone(), unfold: self.unfold });
                }
                Err(SinkError::Retry(reason)) => {
                    if backoff.tries() == 0 {
                        tracing::warn!(sink = name, lane = self.lane, position = %self.resume, reason, "sink is away; trying again");
                    }
                    self.status.retries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    self.status.set_state(State::Waiting(place.clone()));
                    let stopped = tokio::select! {
                        () = tokio::time::sleep(backoff.next_delay()) => false,
                        _ = self.stop.wait_for(|stop| *stop) => true,
                    };
                    if stopped {
                        return Err(LaneError::Stopped);
                    }
                }
                Err(SinkError::Conflict(reason)) if matches!(how, Attempt::InOrder) && !buries => {
                    let error = SinkError::Configuration { reason, hint: CONFLICT_HINT.to_owned() };
                    return Err(LaneError::Sink { sink: name.clone(), error });
                }
                Err(error @ (SinkError::Conflict(_) | SinkError::Row { .. } | SinkError::Configuration { .. })) => {
                    return Err(LaneError::Sink { sink: name.clone(), error });
                }
            }
        }
    }

    /// Commits what is open in the targets, with a mark if the pipeline keeps them.
    async fn write_mark(&mut self, resume: Arc<Position>) -> Result<(), LaneError> {
        // The target is ahead of it already.
        if self.written.as_ref().is_some_and(|written| !written.ends_before(&resume)) {
            return Ok(());
        }
        self.written = None;
        let mark = self.keeps_marks.then(|| self.new_mark(resume, None));
        let delivery = Delivery { slices: Vec::new(), transactions: &[], mark: mark.as_ref(), commit: true };
        self.continues = !self.open.is_empty();
        for target in 0..self.targets.len() {
            self.attempt(target, &delivery, Attempt::Folded).await?;
        }
        Ok(())
    }

    /// The mark of a whole batch.
    fn mark(&self, batch: &Batch) -> Mark {
        if batch.ends_transaction {
            return self.new_mark(Arc::clone(&batch.resume), None);
        }
        self.mark_at(batch, batch.last)
    }

    /// The mark of a batch that is written up to the row `id`.
    fn mark_at(&self, batch: &Batch, id: RowId) -> Mark {
        if batch.is_read {
            // No mark covers such rows, and all changes before them are in earlier batches.
            return self.new_mark(Arc::clone(&batch.resume), None);
        }
        let transaction = batch.transactions.iter().find(|t| t.number == id.transaction);
        let partial = transaction.map(|t| Partial {
            gtid: t.gtid.as_ref().map(ToString::to_string),
            file: Arc::clone(&t.file),
            offset: t.offset,
            place: id.place,
        });
        self.new_mark(Arc::clone(&self.resume), partial)
    }

    fn new_mark(&self, resume: Arc<Position>, partial: Option<Partial>) -> Mark {
        Mark {
            lane: self.lane as u32,
            store: Arc::clone(&self.store),
            lanes: self.lanes as u32,
            ordering: self.ordering,
            bonds: Arc::clone(&self.bonds),
            resume,
            partial,
            number: self.marks.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        }
    }
}

/// Why a lane has stopped working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// There is no more work.
    Closed,
    /// A guest has made the thread give way: the lane goes on with another one.
    GaveWay,
}

/// The rows of a batch that are one target transaction, or, without `commit`, the beginning of one.
struct Part {
    /// Number of the last source transaction that is in it.
    through: u64,
    mark: Option<Mark>,
    commit: bool,
}

/// The slices by part.
fn split<'a>(slices: Vec<Slice<'a>>, parts: &[Part]) -> Vec<Vec<Slice<'a>>> {
    if parts.len() == 1 {
        return vec![slices];
    }
    let mut of_parts: Vec<Vec<Slice<'a>>> = parts.iter().map(|_| Vec::new()).collect();
    for Slice { rows, topic, picks } in slices {
        let mut rest = &picks[..];
        for (part, slices) in parts.iter().zip(&mut of_parts) {
            let len = rest.partition_point(|row| rows.ids[*row as usize].transaction <= part.through);
            let (picks, after) = rest.split_at(len);
            if !picks.is_empty() {
                slices.push(Slice { rows, topic: Arc::clone(&topic), picks: picks.to_vec() });
            }
            rest = after;
        }
    }
    of_parts
}

#[derive(Clone, Copy)]
enum Attempt {
    Folded,
    Unfolded,
    /// Unfolded, and nothing is left to wait for: a conflict is an error.
    InOrder,
}

const CONFLICT_HINT: &str = "the target has a row or a constraint that the source does not have: delete that row or drop that \
     constraint, then start again; nothing was skipped";
