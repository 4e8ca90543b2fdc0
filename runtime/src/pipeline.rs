//! Wiring: opens what a manifest names, runs its pipelines, and keeps their cursors. Holds no row logic.
//!
//! Every pipeline is a task with its own decoder, lanes, plugins, sinks and cursor; they share sources, the plugin engine and the
//! cursor store. One that fails, or that cannot be opened, stops alone; one whose source is away waits alone.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::ack::AckTracker;
use crate::batcher::BatchError;
use crate::cursor::{CursorError, Store};
use crate::dead_letter::{DeadLetterError, Letters, OfLane};
use crate::lane::Lanes;
use crate::lane::dead::DeadLetters;
use crate::lane::order::SourceOrder;
use crate::lane::remembered::Remembered;
use crate::lane::skip::MarksError;
use crate::lane::thread;
use crate::lane::worker::{LaneError, Target, Worker};
use crate::manifest::model::{self, Manifest, OnDdl, OnRowError, Ordering, WithoutKey};
use crate::metrics::{PipelineStatus, State};
use crate::plugin::PluginError;
use crate::position::{Position, Progress};
use crate::prepared::{Prepared, PreparedError};
use crate::retry::Backoff;
use crate::router::Router;
use crate::schema::followed::Followed;
use crate::schema::history::HistoryError;
use crate::sink::{Sink, SinkError};
use crate::source::binlog::decode::Decoder;
use crate::source::binlog::error::DecodeError;
use crate::source::{Source, SourceError};

mod begin;
mod cut;
mod feed;
mod follow;
mod open;
mod patience;
mod recall;
mod redeliver;
pub mod reload;
mod requests;
mod seat;
mod tables;
mod tasks;

use begin::{Begin, Layout};
use feed::{Due, Ended, Feed, FeedOptions, Follow, LANE_DEPTH};
use open::Shared;
use patience::{patiently, unless_told};
use redeliver::Waiting;
use reload::Reloader;
pub use requests::Request;
use seat::Seat;
use tasks::{Keeper, Tasks, keeper_ended};

/// Why a pipeline stopped. Which exit code each gives stands in `error.rs`.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error("sink `{sink}`: {error}")]
    Sink { sink: String, error: SinkError },
    #[error(transparent)]
    Lane(LaneError),
    #[error(transparent)]
    Marks(#[from] MarksError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A table cannot be read.
    #[error("{problem}\nhint: {hint}")]
    Read { problem: String, hint: String },
    /// What plugins remember does not fit the manifest.
    #[error("{problem}\nhint: {hint}")]
    State { problem: String, hint: String },
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    #[error(transparent)]
    Prepared(#[from] PreparedError),
    #[error("a task ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl From<HistoryError> for PipelineError {
    fn from(error: HistoryError) -> PipelineError {
        match error {
            HistoryError::Cursor(error) => PipelineError::Cursor(error),
            HistoryError::Source(error) => PipelineError::Source(error),
        }
    }
}

#[derive(Clone, Default)]
pub struct Options {
    /// Names of the pipelines to run; empty: all.
    pub pipelines: Vec<String>,
    /// Stop at what the sources have at the start.
    pub until_caught_up: bool,
    /// Where the rows go; `None`: to the sinks that the manifest names.
    pub into: Option<Arc<dyn Sink>>,
}

/// The pipelines of a manifest, ready to be opened.
pub struct Run {
    pipelines: Vec<Unopened>,
    shared: Arc<Shared>,
}

/// One pipeline, and what it is opened with.
struct Unopened {
    pipeline: Arc<model::Pipeline>,
    shared: Arc<Shared>,
    store: Store,
    data_dir: PathBuf,
    status: Arc<PipelineStatus>,
    until_caught_up: bool,
    into: Option<Arc<dyn Sink>>,
}

/// One pipeline and what it is made of.
struct Running {
    pipeline: Arc<model::Pipeline>,
    source: Arc<Source>,
    /// Of the plugins.
    seat: Arc<Seat>,
    /// By sink index.
    sinks: Vec<(String, Arc<dyn Sink>)>,
    store: Store,
    data_dir: PathBuf,
    status: Arc<PipelineStatus>,
    until_caught_up: bool,
}

/// However it ends, nobody waits for it to take new plugins.
impl Drop for Running {
    fn drop(&mut self) {
        self.seat.end();
    }
}

impl Run {
    /// Opens the cursor store and the plugin engine. The rest is opened by each pipeline for itself, so that what is away or wrong holds up
    /// nobody else.
    pub fn open(manifest: &Manifest, options: &Options) -> Result<Run, PipelineError> {
        let store = Store::open_patiently(&manifest.data_dir)?;
        let shared = Arc::new(Shared::new(manifest)?);
        let chosen = |p: &&Arc<model::Pipeline>| options.pipelines.is_empty() || options.pipelines.contains(&p.name);
        let unopened = |pipeline: &Arc<model::Pipeline>| Unopened {
            pipeline: Arc::clone(pipeline),
            shared: Arc::clone(&shared),
            store: store.clone(),
            data_dir: manifest.data_dir.clone(),
            status: Arc::new(PipelineStatus::new(&pipeline.name)),
            until_caught_up: options.until_caught_up,
            into: options.into.clone(),
        };
        Ok(Run { pipelines: manifest.pipelines.iter().filter(chosen).map(unopened).collect(), shared })
    }

    pub fn statuses(&self) -> Vec<Arc<PipelineStatus>> {
        self.pipelines.iter().map(|p| Arc::clone(&p.status)).collect()
    }

    /// Runs until every pipeline has ended: told by `stop`, caught up, or failed. The failures, by pipeline, in the manifest's order.
    /// `hangup`: look at the manifest and the plugins' files now.
    pub async fn run(self, stop: watch::Receiver<bool>, hangup: Arc<Notify>) -> Vec<(String, PipelineError)> {
        let reloading = Reloader::start(self.shared, hangup);
        let failures =
            run_all(self.pipelines.into_iter().map(|unopened| (Arc::clone(&unopened.status), unopened.run(stop.clone())))).await;
        reloading.iter().for_each(JoinHandle::abort);
        failures
    }
}

/// Runs each pipeline in a task of its own. The failures, a panic among them, in the order given.
async fn run_all<F>(pipelines: impl Iterator<Item = (Arc<PipelineStatus>, F)>) -> Vec<(String, PipelineError)>
where
    F: Future<Output = Result<(), PipelineError>> + Send + 'static,
{
    let pipelines: Vec<_> = pipelines.collect();
    let left = Arc::new(AtomicUsize::new(pipelines.len()));
    let spawn = |(status, pipeline): (Arc<PipelineStatus>, F)| {
        let left = Arc::clone(&left);
        let attend = async move {
            let ended = tokio::spawn(pipeline).await.unwrap_or_else(|panic| Err(panic.into()));
            let is_last = left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1;
            let ended = ended.map_err(|error| named(error, &status.name));
            status.set_state(if ended.is_ok() { State::Stopped } else { State::Failed });
            // Why the last one stopped is what the process ends with.
            if let Some(error) = ended.as_ref().err().filter(|_| !is_last) {
                // One line: the fields follow the message.
                let error = error.to_string().replace('\n', "; ");
                let cursor = status.position().map(|position| position.to_string());
                tracing::error!(pipeline = status.name, cursor, "stopped: {error}");
            }
            ended.map_err(|error| (status.name.clone(), error))
        };
        tokio::spawn(attend)
    };
    let attended: Vec<_> = pipelines.into_iter().map(spawn).collect();
    let mut failures = Vec::new();
    for ended in attended {
        failures.extend(ended.await.expect("nothing here panics").err());
    }
    failures
}

impl Unopened {
    async fn run(self, stop: watch::Receiver<bool>) -> Result<(), PipelineError> {
        match unless_told(&stop, self.open()).await {
            Some(running) => running?.run(stop).await,
            None => Ok(()),
        }
    }

    /// What can be wrong with the pipeline itself comes first: its source may be away for long. Sinks are connected later.
    async fn open(self) -> Result<Running, PipelineError> {
        let Unopened { pipeline, shared, store, data_dir, status, until_caught_up, into } = self;
        let mut sinks: Vec<(String, Arc<dyn Sink>)> = Vec::new();
        for route in &pipeline.routes {
            if !sinks.iter().any(|(name, _)| *name == route.sink.name) {
                let name = route.sink.name.clone();
                let sink = match &into {
                    Some(sink) => Arc::clone(sink),
                    None => crate::sink::open(&name, &route.sink.config, &pipeline.name)
                        .map_err(|error| PipelineError::Sink { sink: name.clone(), error })?,
                };
                sinks.push((name, sink));
            }
        }
        for plugin in &pipeline.plugins {
            shared.plugin(plugin).await?;
        }
        status.set_state(State::Waiting(pipeline.source.place()));
        let source = shared.source(&pipeline.source).await?;
        status.set_state(State::Starting);
        let mut plugins = Vec::new();
        for plugin in &pipeline.plugins {
            // Maybe another version than before the wait.
            plugins.push(shared.plugin(plugin).await?);
        }
        let seat = shared.seat(&pipeline, &sinks, plugins);
        Ok(Running { pipeline, source, seat, sinks, store, data_dir, status, until_caught_up })
    }
}

impl Running {
    async fn run(&self, stop: watch::Receiver<bool>) -> Result<(), PipelineError> {
        let mut backoff = Backoff::default();
        let mut unfold = false;
        let letters = self.letters()?;
        let until = match self.until_caught_up {
            true => match unless_told(&stop, patiently(|| self.source.end())).await {
                Some(end) => Some(end?),
                None => return Ok(()),
            },
            false => None,
        };
        loop {
            let settled = self.status.rows_settled.load(std::sync::atomic::Ordering::Relaxed);
            match self.round(stop.clone(), unfold, until.clone(), letters.as_ref()).await {
                Ok(Ended::Levelled | Ended::Altering(_) | Ended::Letters) => {}
                Ok(Ended::Cut) => {
                    self.status.retries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if unless_told(&stop, tokio::time::sleep(backoff.next_delay())).await.is_none() {
                        return Ok(());
                    }
                }
                Ok(Ended::Stopped | Ended::LaneFailed) | Err(PipelineError::Lane(LaneError::Stopped)) => return Ok(()),
                Err(PipelineError::Lane(LaneError::TransactionLost { sink, unfold: next })) => {
                    tracing::warn!(pipeline = self.pipeline.name, sink, "reading the open transaction again");
                    self.status.retries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    unfold = next;
                    if self.status.rows_settled.load(std::sync::atomic::Ordering::Relaxed) > settled {
                        // The sinks were there in between.
                        backoff = Backoff::default();
                    }
                    if unless_told(&stop, tokio::time::sleep(backoff.next_delay())).await.is_none() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads from the cursor until told to stop, and settles what was read.
    async fn round(
        &self,
        stop: watch::Receiver<bool>,
        unfold: bool,
        until: Option<Position>,
        letters: Option<&Arc<Letters>>,
    ) -> Result<Ended, PipelineError> {
        let name = &self.pipeline.name;
        let Some(Begin { position, skip, layout, keeps_marks, until_levelled, mut recalled }) = self.begin(&stop).await? else {
            return Ok(Ended::Stopped);
        };
        let of_layout = layout.digest();
        let Layout { lanes: count, ordering, bonds } = layout;
        tracing::info!(pipeline = name, lanes = count, "begins at {position}");
        self.seat.begin(count, &position.to_string());
        let Some(history) = self.history(&stop, &position).await? else { return Ok(Ended::Stopped) };
        let store = self.store_number()?;
        let Some(follow) = self.follow(&stop, &store).await? else { return Ok(Ended::Stopped) };
        if let Some(letters) = letters.filter(|_| recalled.is_level()) {
            self.take_up_letters(letters, of_layout, &stop).await?;
            self.recall_again(&mut recalled)?;
        }
        let buries = self.pipeline.on_row_error == OnRowError::DeadLetter;
        let prepared = Arc::new(Mutex::new(Prepared::open(self.prepared_folder(), &position)?));
        let acks = Arc::new(Mutex::new(AckTracker::<Progress>::default()));
        let remembered = Arc::new(Mutex::new(Remembered::default()));
        let order = Arc::new(SourceOrder::new(count));
        let lane_done = Arc::new(Notify::new());
        let mut lanes = JoinSet::new();
        let (give_up, given_up) = watch::channel(());
        let mut senders = Vec::new();
        let resume = Arc::new(position.clone());
        for lane in 0..count {
            let (sender, receiver) = mpsc::channel(LANE_DEPTH);
            senders.push(sender);
            let Some(targets) = self.targets(&stop).await? else { return Ok(Ended::Stopped) };
            let mut chain = self.seat.chain()?;
            let written = recalled.give(lane, chain.as_mut());
            let worker = Worker {
                lane,
                lanes: count,
                ordering,
                bonds: Arc::clone(&bonds),
                store: Arc::clone(&store),
                keeps_marks,
                chain,
                sample: Arc::clone(&self.seat.sample),
                router: self.router(),
                dead: letters.map(|letters| {
                    let lane = OfLane { layout: of_layout, number: lane as u32 };
                    DeadLetters::new(Arc::clone(letters), lane, buries)
                }),
                targets,
                acks: Arc::clone(&acks),
                order: Arc::clone(&order),
                done: Arc::clone(&lane_done),
                status: Arc::clone(&self.status),
                stop: stop.clone(),
                unfold,
                open: Vec::new(),
                remembered: Arc::clone(&remembered),
                written,
                continues: false,
                open_commit_time_us: 0,
                resume: Arc::clone(&resume),
                marks: AtomicU64::new(RandomState::new().hash_one(lane)),
                one_by_one: false,
            };
            thread::spawn(worker, receiver, &mut lanes, given_up.clone());
        }
        self.status.begin_again();
        self.status.set_state(State::Running);
        if self.take_up_tables(&stop).await?.is_none() {
            return Ok(Ended::Stopped);
        }
        let requests = self.take_requests(&stop).await?;
        let Some(reads) = self.reads(&stop).await? else { return Ok(Ended::Stopped) };
        let (finished, finish) = oneshot::channel();
        let keeper = Keeper {
            store: self.store.clone(),
            prepared: Arc::clone(&prepared),
            status: Arc::clone(&self.status),
            acks: Arc::clone(&acks),
            remembered,
        };
        let keeper = tokio::spawn(keeper.run(position.clone(), finish));
        let batch = &self.pipeline.batch;
        let feed = Feed {
            source: Arc::clone(&self.source),
            history,
            subscription: self.source.subscribe(position.clone()),
            decoder: self.decoder()?,
            lanes: Lanes::new(ordering, count, batch.rows, batch.bytes.0 as usize).bound(bonds).skipping(skip),
            senders,
            prepared,
            acks,
            order,
            lane_done,
            status: Arc::clone(&self.status),
            stop: stop.clone(),
            options: FeedOptions {
                stop_at_ddl: self.pipeline.ddl == OnDdl::Stop,
                wait: batch.wait.0,
                keeps_marks,
                ends_transactions: ordering == Ordering::Transaction,
                until,
                until_levelled,
                pace: self.pipeline.source.pace(),
                reads_tables: self.pipeline.source.reads_tables(),
                reads_whole: self.pipeline.source.without_key() == WithoutKey::WholeRow,
            },
            follow,
            executed: position,
            reads,
            store: self.store.clone(),
            requests,
            seat: Arc::clone(&self.seat),
        };
        let mut tasks = Tasks { read: tokio::spawn(feed.run()), lanes, give_up: Some(give_up), keeper: Some(keeper) };
        let outcome = tokio::select! {
            outcome = tasks.attend(name) => outcome,
            failed = self.redeliver(letters, of_layout, &stop) => match failed {
                Ok(never) => match never {},
                Err(failure) => {
                    tasks.end().await;
                    Err(failure)
                }
            },
        };
        let _ = finished.send(());
        let kept = keeper_ended(&mut tasks.keeper).await;
        let (ended, executed) = outcome?;
        kept?;
        let begins_anew = match ended {
            Ended::Levelled => Ended::Levelled,
            Ended::Letters => return Ok(Ended::Letters),
            Ended::Altering(_) if *stop.borrow() => return Ok(Ended::Stopped),
            Ended::Altering(due) => {
                let due = match letters.map(|letters| self.alter_letters(letters, &due.alteration.tables)) {
                    None | Some(Ok(())) => due,
                    Some(Err(Waiting::File(error))) => return Err(error.into()),
                    Some(Err(Waiting::Letters(count))) => {
                        let by_hand = "retry or drop them: see `tidegate dead-letter list`; then run again";
                        return Err(due.refused(&format!("{count} dead letters of its rows wait"), by_hand));
                    }
                };
                if keeps_marks && self.level_marks(&stop, &executed).await?.is_none() {
                    return Ok(Ended::Stopped);
                }
                match self.alter(&stop, due).await? {
                    Some(due) => Ended::Altering(due),
                    None => return Ok(Ended::Stopped),
                }
            }
            ended => {
                if let Some(letters) = letters.filter(|_| !*stop.borrow()) {
                    // What has become free last.
                    self.take_up_letters(letters, of_layout, &stop).await?;
                }
                return Ok(ended);
            }
        };
        if keeps_marks && self.level_marks(&stop, &executed).await?.is_none() {
            return Ok(Ended::Stopped);
        }
        Ok(begins_anew)
    }

    async fn targets(&self, stop: &watch::Receiver<bool>) -> Result<Option<Vec<Target>>, PipelineError> {
        let mut targets = Vec::new();
        for (name, sink) in &self.sinks {
            let Some(writer) = self.patiently_sink(name, stop, || sink.writer()).await? else { return Ok(None) };
            targets.push(Target { name: name.clone(), place: self.place_of(name), writer });
        }
        Ok(Some(targets))
    }

    fn place_of(&self, sink: &str) -> String {
        let route = self.pipeline.routes.iter().find(|route| route.sink.name == sink);
        route.map_or_else(String::new, |route| route.sink.place())
    }

    fn router(&self) -> Router {
        let sink = |name: &str| self.sinks.iter().position(|(n, _)| n == name).unwrap_or_default();
        Router::new(self.pipeline.routes.iter().map(|r| (r.topics.clone(), sink(&r.sink.name))).collect(), self.pipeline.unrouted)
    }

    fn decoder(&self) -> Result<Decoder, PipelineError> {
        let followed = Followed::new(self.pipeline.source.tables());
        let needs_whole_rows = self.sinks.iter().any(|(_, sink)| sink.needs_whole_rows());
        let decoder =
            Decoder::new(Box::new(move |schema, table| followed.follows(schema, table)), self.seat.wants(self.seat.chain()?));
        Ok(decoder.needing_whole_rows(needs_whole_rows))
    }
}

/// A source does not know which pipeline asks: its hints say PIPELINE.
fn named(error: PipelineError, pipeline: &str) -> PipelineError {
    match error {
        PipelineError::Source(SourceError::Definite { name, mut error }) => {
            error.hint = error.hint.replace("PIPELINE", pipeline);
            PipelineError::Source(SourceError::Definite { name, error })
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pipeline_that_panics_is_named_and_the_others_go_on() {
        let statuses = ["a", "b", "c"].map(|name| Arc::new(PipelineStatus::new(name)));
        let run = |name: String| async move {
            assert_ne!(name, "b", "a defect");
            if name == "c" { Err(PipelineError::Lane(LaneError::Stopped)) } else { Ok(()) }
        };
        let failures = run_all(statuses.iter().map(|status| (Arc::clone(status), run(status.name.clone())))).await;
        let names: Vec<&str> = failures.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
        assert!(matches!(&failures[0].1, PipelineError::Task(_)), "{}", failures[0].1);
        assert_eq!(statuses.map(|s| s.snapshot(0).state), [State::Stopped, State::Failed, State::Failed]);
    }
}
