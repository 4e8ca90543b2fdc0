//! Wiring: opens what a manifest names, runs its pipelines, and keeps their cursors. Holds no row logic.
//!
//! Every pipeline is a task with its own decoder, lanes, plugins, sinks and cursor; they share sources, the plugin engine and the
//! cursor store. One that fails, or that cannot be opened, stops alone; one whose source is away waits alone.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::ack::AckTracker;
use crate::batcher::BatchError;
use crate::cursor::{CursorError, Store};
use crate::dead_letter::{DeadLetterError, Letters};
use crate::lane::Lanes;
use crate::lane::bonds::Bonds;
use crate::lane::dead::DeadLetters;
use crate::lane::order::SourceOrder;
use crate::lane::remembered::Remembered;
use crate::lane::skip::{MarksError, Skip};
use crate::lane::worker::{LaneError, Target, Worker};
use crate::manifest::model::{self, Delivery, Manifest, OnDdl, OnRowError, Ordering, WithoutKey};
use crate::manifest::pattern::Patterns;
use crate::metrics::{PipelineStatus, State};
use crate::plugin::PluginError;
use crate::position::{Position, Progress};
use crate::prepared::{Prepared, PreparedError};
use crate::retry::Backoff;
use crate::router::Router;
use crate::schema::followed::Followed;
use crate::schema::history::{History, HistoryError};
use crate::sink::{Mark, Sink, SinkError};
use crate::source::binlog::decode::Decoder;
use crate::source::binlog::error::DecodeError;
use crate::source::snapshot::to_read::ToRead;
use crate::source::{Source, SourceError, Start};

mod cut;
mod feed;
mod follow;
mod open;
mod recall;
mod redeliver;
pub mod reload;
mod requests;
mod seat;

use redeliver::Waiting;

use feed::{Due, Ended, Feed, FeedOptions, Follow, LANE_DEPTH};
use open::Shared;
use recall::Recalled;
use reload::Reloader;
pub use requests::Request;
use requests::RequestError;
use seat::Seat;

/// How often cursors are flushed.
const CURSOR_INTERVAL: Duration = Duration::from_millis(500);

/// How often a running pipeline looks for requests to read tables.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// How long a sink may take to connect, or to answer a question about marks, before it is asked again.
const SINK_ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

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
        let store = Store::open(&manifest.data_dir)?;
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
    let spawn = |(status, pipeline): (Arc<PipelineStatus>, F)| {
        let attend = async move {
            let ended = tokio::spawn(pipeline).await.unwrap_or_else(|panic| Err(panic.into()));
            let ended = ended.map_err(|error| named(error, &status.name));
            status.set_state(if ended.is_ok() { State::Stopped } else { State::Failed });
            if let Err(error) = &ended {
                // One line: the fields follow the message.
                let error = error.to_string().replace('\n', "; ");
                tracing::error!(pipeline = status.name, "stopped: {error}");
            }
            ended.map_err(|error| (status.name.clone(), error))
        };
        tokio::spawn(attend)
    };
    let attended: Vec<_> = pipelines.map(spawn).collect();
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

/// What a pipeline finds in its target.
enum Marks {
    NotKept,
    /// Empty at the first start, and after a move by hand.
    Found(Vec<Mark>),
    /// Told to stop while the target was away.
    Stopped,
}

/// Where a round begins, and with which lanes.
struct Begin {
    position: Position,
    skip: Option<Skip>,
    layout: Layout,
    keeps_marks: bool,
    /// The marks in the target are of other lanes than the manifest's: run with theirs until they are level.
    until_levelled: bool,
    recalled: Recalled,
}

/// Which rows share a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    lanes: usize,
    ordering: Ordering,
    bonds: Arc<[Bonds]>,
}

impl Running {
    async fn run(&self, stop: watch::Receiver<bool>) -> Result<(), PipelineError> {
        let fresh = || Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut backoff = fresh();
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
                Ok(Ended::Levelled | Ended::Altering(_)) => {}
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
                        backoff = fresh();
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
        let Layout { lanes: count, ordering, bonds } = layout;
        tracing::info!(pipeline = name, lanes = count, "begins at {position}");
        self.seat.begin(count, &position.to_string());
        let Some(history) = self.history(&stop, &position).await? else { return Ok(Ended::Stopped) };
        let store = self.store_number()?;
        let Some(follow) = self.follow(&stop, &store).await? else { return Ok(Ended::Stopped) };
        if let Some(letters) = letters {
            self.take_up_letters(letters, &stop).await?;
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
                dead: letters.map(|letters| DeadLetters::new(Arc::clone(letters), buries)),
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
            worker.spawn(receiver, &mut lanes, given_up.clone());
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
            failed = self.redeliver(letters, &stop) => match failed {
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
                    self.take_up_letters(letters, &stop).await?;
                }
                return Ok(ended);
            }
        };
        if keeps_marks && self.level_marks(&stop, &executed).await?.is_none() {
            return Ok(Ended::Stopped);
        }
        Ok(begins_anew)
    }

    /// Everything before `executed` is settled: all lanes, as the manifest and the targets want them now, stand there. `None`: stopped
    /// while a sink is away.
    async fn level_marks(&self, stop: &watch::Receiver<bool>, executed: &Position) -> Result<Option<()>, PipelineError> {
        let Some(layout) = self.layout(stop).await? else { return Ok(None) };
        self.relabel_marks(stop, executed, &layout).await
    }

    /// Where prepared XA transactions are kept.
    fn prepared_folder(&self) -> PathBuf {
        Prepared::folder(&self.data_dir, &self.pipeline.name)
    }

    /// Tables that `tables` did not take when the pipeline ran last are read, as all were at its first start. `None`: stopped while the
    /// source is away.
    async fn take_up_tables(&self, stop: &watch::Receiver<bool>) -> Result<Option<()>, PipelineError> {
        let (name, patterns) = (&self.pipeline.name, self.pipeline.source.tables());
        let (now, before) = (patterns.texts(), self.store.followed(name)?);
        if before.as_ref() == Some(&now) {
            return Ok(Some(()));
        }
        if let Some(before) = before.and_then(|before| Patterns::parse_tables(&before).ok())
            && self.pipeline.source.reads_tables()
        {
            let before = Followed::new(&before);
            let asked = patiently(|| self.source.tables_with_rows(patterns));
            let Some(tables) = unless_told(stop, asked).await else { return Ok(None) };
            let mut reads = Vec::new();
            for (schema, table, estimate) in tables? {
                if !before.follows(&schema, &table) {
                    let id = self.store.next_read_id()?;
                    reads.push(ToRead { estimate, ..ToRead::new(id, &schema, &table, None) });
                }
            }
            if !reads.is_empty() {
                tracing::info!(pipeline = name, tables = reads.len(), "`tables` takes more than before: these are read");
                self.store.add_reads(name, &reads)?;
            }
        }
        // If that fails, they are read once more.
        self.store.set_followed(name, &now)?;
        Ok(Some(()))
    }

    /// Takes up what `tidegate snapshot` has left, now and from now on.
    async fn take_requests(&self, stop: &watch::Receiver<bool>) -> Result<mpsc::Receiver<Vec<ToRead>>, PipelineError> {
        let (sender, requests) = mpsc::channel(1);
        let patterns = self.pipeline.source.tables().clone();
        let (data_dir, store, name) = (self.data_dir.clone(), self.store.clone(), self.pipeline.name.clone());
        let source = Arc::clone(&self.source);
        let take = async move || requests::take_up(&data_dir, &store, &name, &source, &patterns).await;
        // These are read with what is left of earlier ones.
        match unless_told(stop, take()).await {
            Some(Err(RequestError::Cursor(error))) => return Err(error.into()),
            Some(Err(RequestError::Source(error))) => tracing::warn!("{error}"),
            Some(Ok(_)) | None => {}
        }
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(REQUEST_INTERVAL) => {}
                    () = sender.closed() => return,
                }
                match take().await {
                    Ok(reads) if reads.is_empty() => {}
                    Ok(reads) => {
                        if sender.send(reads).await.is_err() {
                            return;
                        }
                    }
                    // The file is still there.
                    Err(error) => tracing::warn!("{error}"),
                }
            }
        });
        Ok(requests)
    }

    /// Where to begin. `None`: stopped while waiting for the source or a sink.
    async fn begin(&self, stop: &watch::Receiver<bool>) -> Result<Option<Begin>, PipelineError> {
        let name = &self.pipeline.name;
        let Some(layout) = self.layout(stop).await? else { return Ok(None) };
        let cursor = self.store.get(name)?.map(|c| c.position);
        let (marks, keeps_marks) = match self.marks(stop).await? {
            Marks::Stopped => return Ok(None),
            Marks::NotKept => (Vec::new(), false),
            Marks::Found(marks) => (marks, true),
        };
        let fresh = |position| Begin {
            position,
            skip: None,
            layout: layout.clone(),
            keeps_marks,
            until_levelled: false,
            recalled: Recalled::default(),
        };
        let Some(first) = marks.first() else {
            let Some(position) = self.first_position(stop, cursor.clone()).await? else { return Ok(None) };
            if keeps_marks && self.relabel_marks(stop, &position, &layout).await?.is_none() {
                return Ok(None);
            }
            if self.store.is_moved(name)? {
                // What was prepared before the place that a user has chosen may have been decided unseen, and its id used again.
                Prepared::clear(&self.prepared_folder())?;
                if self.forget_altered(stop).await?.is_none() {
                    return Ok(None);
                }
            }
            self.store.set_moved_done(name)?;
            return self.recall(fresh(position), cursor, &[]).map(Some);
        };
        let theirs = Layout { lanes: first.lanes as usize, ordering: first.ordering, bonds: Arc::clone(&first.bonds) };
        let (mut skip, lowest) = Skip::new(marks.clone())?;
        // The cursor store can be behind the marks, and it can be ahead of the mark of a lane that had nothing to write.
        let position = cursor.clone().filter(|c| c.covers(&lowest)).unwrap_or(lowest);
        skip.begin_at(&position);
        if theirs != layout && skip.is_level_at(&position) {
            if self.relabel_marks(stop, &position, &layout).await?.is_none() {
                return Ok(None);
            }
            let marks = self.marks_at(&position, &layout)?;
            return self.recall(fresh(position), cursor, &marks).map(Some);
        }
        let until_levelled = theirs != layout;
        let begin =
            Begin { position, skip: Some(skip), layout: theirs, keeps_marks, until_levelled, recalled: Recalled::default() };
        self.recall(begin, cursor, &marks).map(Some)
    }

    /// The columns that tables had at `position`, and what is known of them behind it. `None`: stopped while the source is away.
    async fn history(&self, stop: &watch::Receiver<bool>, position: &Position) -> Result<Option<History>, PipelineError> {
        let followed = Followed::new(self.pipeline.source.tables());
        let open = || {
            let kept = self.store.history(&self.pipeline.name);
            let whole = self.pipeline.ddl == OnDdl::Follow;
            History::open(kept, Arc::clone(&self.source), followed.clone(), position, whole)
        };
        let mut backoff = source_backoff();
        loop {
            let Some(opened) = unless_told(stop, open()).await else { return Ok(None) };
            match opened {
                Ok(history) => return Ok(Some(history)),
                Err(HistoryError::Source(SourceError::Transient { name, error })) => {
                    tracing::warn!(source = &*name, "{error}; trying again");
                    if unless_told(stop, tokio::time::sleep(backoff.next_delay())).await.is_none() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the manifest and the targets want. `None`: stopped while waiting for a sink.
    async fn layout(&self, stop: &watch::Receiver<bool>) -> Result<Option<Layout>, PipelineError> {
        let mut bonds = Vec::new();
        for (name, sink) in &self.sinks {
            let Some(of_sink) = self.patiently_sink(name, stop, || sink.bonds()).await? else { return Ok(None) };
            bonds.extend(Some(of_sink).filter(|b| !b.is_empty()));
        }
        Ok(Some(Layout { lanes: self.pipeline.lanes, ordering: self.pipeline.ordering, bonds: bonds.into() }))
    }

    /// The marks of this pipeline in its target. An SQL sink that is alone keeps them in either mode: rows that are written again may
    /// meet rows that are ahead of them. At-least-once does without them where it must.
    async fn marks(&self, stop: &watch::Receiver<bool>) -> Result<Marks, PipelineError> {
        let exactly_once = self.pipeline.delivery == Delivery::ExactlyOnce;
        // A manifest with several sinks and exactly-once is refused.
        let [(name, sink)] = self.sinks.as_slice() else { return Ok(Marks::NotKept) };
        if !exactly_once && !sink.is_transactional() {
            return Ok(Marks::NotKept);
        }
        let mut marks = match self.patiently_sink(name, stop, || sink.marks(&self.pipeline.name)).await {
            Ok(Some(marks)) => marks,
            Ok(None) => return Ok(Marks::Stopped),
            Err(PipelineError::Sink { error: SinkError::Configuration { reason, .. }, .. }) if !exactly_once => {
                tracing::warn!(sink = name, reason, "no marks in the target: after a crash the last changes are written again");
                return Ok(Marks::NotKept);
            }
            Err(error) => return Err(error),
        };
        if self.store.is_moved(&self.pipeline.name)? {
            marks.clear();
        }
        if !exactly_once {
            // Another pipeline of this name may write into the same target.
            let own = self.store_number()?;
            marks.retain(|mark| mark.store == own);
            if Skip::new(marks.clone()).is_err() {
                marks.clear();
            }
        }
        Ok(Marks::Found(marks))
    }

    fn store_number(&self) -> Result<Arc<str>, CursorError> {
        Ok(self.store.number(&self.pipeline.name)?.into())
    }

    async fn first_position(
        &self,
        stop: &watch::Receiver<bool>,
        cursor: Option<Position>,
    ) -> Result<Option<Position>, PipelineError> {
        if cursor.is_some() {
            return Ok(cursor);
        }
        let start: Start = self.pipeline.source.start();
        let Some(position) = unless_told(stop, patiently(|| self.source.resolve(&start))).await else { return Ok(None) };
        let position = position?;
        let mut reads = BTreeMap::new();
        if self.pipeline.source.reads_tables() {
            let patterns = self.pipeline.source.tables();
            let asked = patiently(|| self.source.tables_with_rows(patterns));
            let Some(tables) = unless_told(stop, asked).await else { return Ok(None) };
            let tables = tables?;
            self.tell_unseen(&tables);
            for (schema, table, estimate) in tables {
                let id = self.store.next_read_id()?;
                reads.insert(id, Some(ToRead { estimate, ..ToRead::new(id, &schema, &table, None) }));
            }
        }
        // Once and for all: `start` is for the first start only.
        self.store.commit_with(&self.pipeline.name, position.clone(), &reads)?;
        Ok(Some(position))
    }

    /// Tables that are not there yet are taken up when they are made; those that the account may not see would not be read.
    fn tell_unseen(&self, seen: &[(String, String, u64)]) {
        const HINT: &str = "hint: check `tables` (capital letters matter), and GRANT SELECT on them; then `tidegate snapshot`";
        let (name, patterns) = (&self.pipeline.name, self.pipeline.source.tables());
        if seen.is_empty() {
            tracing::warn!(pipeline = name, "no table that the account may see is taken by `tables`: none is read; {HINT}");
            return;
        }
        for (schema, table) in patterns.named_tables() {
            if !seen.iter().any(|(s, t, _)| (s, t) == (&schema, &table)) {
                tracing::warn!(pipeline = name, "no table {schema}.{table} that the account may see: it is not read; {HINT}");
            }
        }
    }

    /// All lanes of `layout` stand at `position`. `None`: stopped while a sink is away.
    async fn relabel_marks(
        &self,
        stop: &watch::Receiver<bool>,
        position: &Position,
        layout: &Layout,
    ) -> Result<Option<()>, PipelineError> {
        let marks = self.marks_at(position, layout)?;
        for (name, sink) in &self.seat.sinks {
            if self.patiently_sink(name, stop, || sink.set_marks(&self.pipeline.name, &marks)).await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// All lanes at one position.
    fn marks_at(&self, position: &Position, layout: &Layout) -> Result<Vec<Mark>, CursorError> {
        let (store, resume) = (self.store_number()?, Arc::new(position.clone()));
        let mark = |lane| Mark {
            lane,
            store: Arc::clone(&store),
            lanes: layout.lanes as u32,
            ordering: layout.ordering,
            bonds: Arc::clone(&layout.bonds),
            resume: Arc::clone(&resume),
            number: 0,
            partial: None,
        };
        Ok((0..layout.lanes as u32).map(mark).collect())
    }

    /// Asks a sink until it answers. `None`: stopped while it is away.
    async fn patiently_sink<T, F: Future<Output = Result<T, SinkError>>>(
        &self,
        name: &str,
        stop: &watch::Receiver<bool>,
        ask: impl Fn() -> F,
    ) -> Result<Option<T>, PipelineError> {
        let mut backoff = sink_backoff();
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
    async fn until_done<T, F: Future<Output = Result<T, SinkError>>>(
        &self,
        name: &str,
        stop: &watch::Receiver<bool>,
        work: impl Fn() -> F,
    ) -> Result<Option<T>, SinkError> {
        let mut backoff = sink_backoff();
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

/// The tasks of one round.
struct Tasks {
    read: JoinHandle<Result<(Ended, Position), PipelineError>>,
    lanes: JoinSet<Result<(), LaneError>>,
    /// Dropped to end lanes that have threads of their own, which cannot be aborted.
    give_up: Option<watch::Sender<()>>,
    keeper: Option<JoinHandle<Result<(), PipelineError>>>,
}

impl Tasks {
    /// Waits for the reading and all lanes. Where reading fails, the lanes settle what was read before; where a lane fails, the
    /// others are stopped.
    async fn attend(&mut self, name: &str) -> Result<(Ended, Position), PipelineError> {
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
    async fn end(&mut self) {
        self.read.abort();
        self.give_up = None;
        self.lanes.shutdown().await;
    }
}

/// The keeper's end, once; nothing when it has been seen.
async fn keeper_ended(keeper: &mut Option<JoinHandle<Result<(), PipelineError>>>) -> Result<(), PipelineError> {
    let Some(handle) = keeper else { return Ok(()) };
    let ended = handle.await;
    *keeper = None;
    ended?
}

/// Keeps the cursor of one round.
struct Keeper {
    store: Store,
    prepared: Arc<Mutex<Prepared>>,
    status: Arc<PipelineStatus>,
    acks: Arc<Mutex<AckTracker<Progress>>>,
    remembered: Arc<Mutex<Remembered>>,
}

impl Keeper {
    /// Flushes the settled prefix at an interval, and a last time at the end.
    async fn run(self, mut position: Position, mut finish: oneshot::Receiver<()>) -> Result<(), PipelineError> {
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

/// The first line of an error, without its hint.
fn headline(error: &PipelineError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// What the future gives; `None`: told to stop before.
async fn unless_told<T>(stop: &watch::Receiver<bool>, future: impl Future<Output = T>) -> Option<T> {
    let mut stop = stop.clone();
    tokio::select! {
        done = future => Some(done),
        _ = stop.wait_for(|stop| *stop) => None,
    }
}

fn sink_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(10))
}

fn source_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(10))
}

/// Asks a source until it answers; only what trying again cannot mend is an error.
async fn patiently<T, F: Future<Output = Result<T, SourceError>>>(ask: impl Fn() -> F) -> Result<T, SourceError> {
    let mut backoff = source_backoff();
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
