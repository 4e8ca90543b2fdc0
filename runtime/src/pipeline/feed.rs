//! A pipeline's reading side: takes segments, has them decoded into the lanes' open batches, and hands full batches on.
//!
//! A batch leaves when it is full, when no other waits in front of its lane and nothing more is there to read, or when its first row has
//! waited for `batch.wait`. Everything that it waits on is bounded: see "Memory" in ARCHITECTURE.md.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc, watch};

use super::PipelineError;
use super::seat::Seat;
use crate::ack::{AckTracker, Token};
use crate::cursor::Store;
use crate::failpoint;
use crate::lane::Lanes;
use crate::lane::order::SourceOrder;
use crate::lane::worker::Work;
use crate::metrics::{PipelineStatus, State};
use crate::position::{Home, Position, Progress, file_number};
use crate::prepared::Prepared;
use crate::schema::history::History;
use crate::source::binlog::decode::{Decoder, Step};
use crate::source::binlog::xa::Xa;
use crate::source::snapshot::to_read::ToRead;
use crate::source::snapshot::{Pace, Throttle};
use crate::source::{Boundary, Event, Segment, Source, Subscription};

mod event;
mod follow;
mod send;
mod swap;
mod weave;

pub use follow::{Due, Follow};
use weave::Weave;

/// Batches that may wait in front of a lane.
pub const LANE_DEPTH: usize = 2;
/// After a segment of so many bytes the next one is only a moment away, and larger batches cost less a row:
const FLOOD_BYTES: usize = 64 * 1024;
/// so long it is waited for, before what there is leaves.
const QUIET: Duration = Duration::from_millis(1);
/// How often an idle lane's mark follows the position (where marks are kept).
const MARK_INTERVAL: Duration = Duration::from_secs(1);

/// A server also says that it is idle while it passes over transactions that were read before; so many times in a row is the end.
/// Only where the server has executed transactions that are not in its binlog does it come to this.
const IDLES_AT_END: u32 = 3;

/// Why reading ended.
#[derive(Debug)]
pub enum Ended {
    /// Asked to, or caught up as asked to.
    Stopped,
    /// A lane has failed; its task knows why.
    LaneFailed,
    /// All marks of an earlier run are passed, and everything read is handed on.
    Levelled,
    /// The targets are to be altered before anything more is read; everything before it is handed on.
    Altering(Box<Due>),
    /// Dead letters are to be delivered before anything more is read; everything before them is handed on.
    Letters,
    /// Reading a table without a key was cut by the source: it is to be begun again, with the target's table emptied.
    Cut,
}

/// What reading goes on with.
enum Wake {
    Event(Event),
    /// One of a table has arrived, or tables are asked for.
    Chunk,
    /// New plugins are there.
    Plugins,
}

/// What reading begins with.
pub struct Feed {
    pub source: Arc<Source>,
    pub subscription: Subscription,
    pub decoder: Decoder,
    pub history: History,
    pub lanes: Lanes,
    pub senders: Vec<mpsc::Sender<Work>>,
    pub prepared: Arc<Mutex<Prepared>>,
    pub acks: Arc<Mutex<AckTracker<Progress>>>,
    pub order: Arc<SourceOrder>,
    /// A lane has done its batch.
    pub lane_done: Arc<Notify>,
    pub status: Arc<PipelineStatus>,
    pub stop: watch::Receiver<bool>,
    pub options: FeedOptions,
    /// Statements that define tables are made at the targets.
    pub follow: Option<Follow>,
    /// Everything before it is read.
    pub executed: Position,
    /// Tables to read.
    pub reads: Vec<ToRead>,
    /// Tables without a key are told there before they are begun.
    pub store: Store,
    /// More of them, asked for meanwhile.
    pub requests: mpsc::Receiver<Vec<ToRead>>,
    /// The plugins, and those that are to take their place.
    pub seat: Arc<Seat>,
}

pub struct FeedOptions {
    pub wait: Duration,
    pub keeps_marks: bool,
    /// A target transaction ends where its source transaction ends (`ordering = "transaction"`).
    pub ends_transactions: bool,
    /// Stop there.
    pub until: Option<Position>,
    /// A statement that defines a followed table is an error.
    pub stop_at_ddl: bool,
    /// Stop when no mark is left to skip.
    pub until_levelled: bool,
    /// How tables are read.
    pub pace: Pace,
    /// Tables that begin to be followed are read.
    pub reads_tables: bool,
    /// Tables without a key are read, too.
    pub reads_whole: bool,
}

/// The state of reading.
struct Reading {
    feed: Feed,
    /// The tokens of the open batches, by lane.
    tokens: Vec<Option<Token>>,
    /// When the oldest open batch has to leave.
    deadline: Option<Instant>,
    /// The last batch that left was cut inside its transaction.
    is_cut: bool,
    resume: Arc<Position>,
    last_marks: Instant,
    marks_due: bool,
    rows_read: u64,
    /// The last segment was so large that more is to be expected.
    is_flood: bool,
    /// Times that the source was idle since the last segment.
    idles: u32,
    is_source_away: bool,
    /// Tables that are being read.
    weave: Option<Weave>,
    /// Tables without a key that were read at a position, which the stream has not passed.
    held: Vec<(Position, u64)>,
    /// When the server was asked last about tables that are not known.
    last_learnt: Instant,
    /// Tables to read from the next boundary on, or when the source is less busy.
    asked: Vec<ToRead>,
    /// Tables without a key that have other columns already than the targets: to read behind the next statement.
    put_off: Vec<ToRead>,
    throttle: Arc<Throttle>,
    /// Tables without a key are not tried before.
    whole_again: Option<Instant>,
    /// Reading one of them was cut: the round ends when the stream has a server again.
    is_table_cut: bool,
}

impl Feed {
    /// Reads until it is told to stop. Dropping the senders at the end lets the lanes finish.
    pub async fn run(mut self) -> Result<(Ended, Position), PipelineError> {
        let lanes = self.senders.len();
        let asked = std::mem::take(&mut self.reads);
        let resume = Arc::new(self.executed.clone());
        let mut reading = Reading {
            tokens: (0..lanes).map(|_| None).collect(),
            deadline: None,
            is_cut: false,
            resume,
            last_marks: Instant::now(),
            marks_due: false,
            rows_read: 0,
            is_flood: false,
            idles: 0,
            is_source_away: false,
            weave: None,
            held: Vec::new(),
            last_learnt: Instant::now(),
            asked,
            put_off: Vec::new(),
            throttle: Arc::new(Throttle::new(self.options.pace)),
            whole_again: None,
            is_table_cut: false,
            feed: self,
        };
        let ended = reading.run().await;
        reading.count();
        if ended.is_err() {
            // What was read before the fault is whole; if a lane has failed as well, its task tells why.
            reading.forget_open_transaction();
            let _ = reading.send_everything().await;
        }
        Ok((ended?, reading.feed.executed))
    }
}

impl Reading {
    async fn run(&mut self) -> Result<Ended, PipelineError> {
        if let Some(ended) = self.read_tables().await? {
            return Ok(ended);
        }
        if self.has_reached_end() {
            return Ok(Ended::Stopped);
        }
        loop {
            let event = match self.feed.subscription.try_next() {
                Some(event) => Wake::Event(event?),
                None => match self.wait_for_event().await? {
                    Some(event) => event,
                    None => return Ok(Ended::Stopped),
                },
            };
            if let Wake::Event(event) = &event {
                self.show_source(event);
            }
            let ended = match event {
                Wake::Event(Event::Segment(segment)) => self.segment(&segment).await?,
                Wake::Event(Event::Idle) => self.idle(false).await?,
                Wake::Event(Event::Away(_)) => {
                    self.idles = 0;
                    None
                }
                Wake::Event(Event::End) => self.idle(true).await?,
                Wake::Chunk if !self.feed.decoder.is_in_transaction() => self.weave().await?,
                Wake::Chunk | Wake::Plugins => None,
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
            if let Some(ended) = self.swap().await? {
                return Ok(ended);
            }
        }
    }

    /// Tells whether the source is there.
    fn show_source(&mut self, event: &Event) {
        let status = &self.feed.status;
        match event {
            Event::Away(place) => {
                let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
                status.source_is_away(now_us);
                status.set_state(State::Waiting(format!("source `{}` at {place}", self.feed.source.name())));
            }
            _ if self.is_source_away => status.set_state(State::Running),
            _ => {}
        }
        self.is_source_away = matches!(event, Event::Away(_));
    }

    /// Nothing is there to read: lanes that have nothing to do get what there is. `None`: told to stop.
    async fn wait_for_event(&mut self) -> Result<Option<Wake>, PipelineError> {
        let next = self.feed.subscription.next();
        let now = if self.is_flood { tokio::time::timeout(QUIET, next).await.ok() } else { next.now_or_never() };
        if let Some(event) = now {
            return Ok(Some(Wake::Event(event?)));
        }
        self.is_flood = false;
        self.send_to_idle_lanes()?;
        loop {
            let wake = self.deadline.unwrap_or_else(|| Instant::now() + MARK_INTERVAL);
            tokio::select! {
                event = self.feed.subscription.next() => return Ok(Some(Wake::Event(event?))),
                Some(asked) = self.feed.requests.recv() => {
                    self.asked.extend(asked);
                    return Ok(Some(Wake::Chunk));
                }
                arrived = Weave::arrive(&mut self.weave) => {
                    arrived?;
                    return Ok(Some(Wake::Chunk));
                }
                () = self.feed.seat.due(), if !self.feed.decoder.is_in_transaction() => return Ok(Some(Wake::Plugins)),
                () = told_to_stop(&mut self.feed.stop) => return Ok(None),
                () = self.feed.lane_done.notified() => self.send_to_idle_lanes()?,
                () = tokio::time::sleep_until(wake.into()) => {
                    if self.send_all_due().await?.is_some() || self.feed.senders.iter().any(mpsc::Sender::is_closed) {
                        return Ok(None);
                    }
                    self.marks_due = self.last_marks.elapsed() >= MARK_INTERVAL;
                    self.mark_idle_lanes()?;
                }
            }
        }
    }

    /// The source says that it has nothing new. `for_good`: there will never be more.
    async fn idle(&mut self, for_good: bool) -> Result<Option<Ended>, PipelineError> {
        self.feed.status.set_behind(Some(0), true);
        self.idles += 1;
        self.learn().await?;
        if !self.feed.decoder.is_in_transaction()
            && let Some(ended) = self.weave().await?
        {
            return Ok(Some(ended));
        }
        if for_good || (self.feed.options.until.is_some() && self.idles >= IDLES_AT_END && !self.has_tables_left()) {
            return Ok(Some(self.send_everything().await?.unwrap_or(Ended::Stopped)));
        }
        self.send_to_idle_lanes()?;
        Ok(None)
    }

    async fn segment(&mut self, segment: &Segment) -> Result<Option<Ended>, PipelineError> {
        failpoint::pass("segment-read");
        self.idles = 0;
        self.is_flood = segment.data.len() >= FLOOD_BYTES;
        self.feed.status.bytes_read.fetch_add(segment.data.len() as u64, std::sync::atomic::Ordering::Relaxed);
        for index in 0..segment.events.len() {
            let boundary = segment.events[index].boundary;
            if let Some(ended) = self.decode(segment, index).await? {
                return Ok(Some(ended));
            }
            // One that begins again is the same: what is left of it to skip is known.
            if let Boundary::Begin(_) = boundary {
                self.feed.lanes.begin(self.feed.decoder.transaction(), &self.feed.executed);
            }
            self.open_batches();
            let next = segment.events[index].next;
            let passed = match boundary {
                Boundary::End => self.end(segment, next).await?,
                Boundary::Within if !self.feed.decoder.is_in_transaction() && self.lies_ahead(segment, next) => {
                    let learned = segment.learned.as_ref().filter(|_| index + 1 == segment.events.len());
                    self.pass(|progress| progress.pass_between(learned, (&segment.file, segment.home.as_ref()), next)).await?
                }
                Boundary::Within | Boundary::Begin(_) | Boundary::BeginAgain(_) => None,
            };
            if let Some(ended) = passed {
                return Ok(Some(ended));
            }
            if let Some(ended) = self.send_full().await? {
                return Ok(Some(ended));
            }
        }
        self.count();
        while let Ok(asked) = self.feed.requests.try_recv() {
            self.asked.extend(asked);
        }
        self.feed.status.set_behind(self.feed.subscription.behind_bytes(), false);
        if *self.feed.stop.borrow() {
            return Ok(Some(Ended::Stopped));
        }
        self.marks_due = self.last_marks.elapsed() >= MARK_INTERVAL;
        self.send_all_due().await
    }

    /// Passes on how many rows were read.
    fn count(&mut self) {
        let before = std::mem::replace(&mut self.rows_read, self.feed.lanes.rows_read);
        self.feed.status.rows_read.fetch_add(self.rows_read - before, std::sync::atomic::Ordering::Relaxed);
    }

    /// Decodes one event, and before it what was kept of the XA transaction that it commits.
    async fn decode(&mut self, segment: &Segment, index: usize) -> Result<Option<Ended>, PipelineError> {
        loop {
            match self.step(segment, index).await? {
                ControlFlow::Break(ended) => return Ok(Some(ended)),
                ControlFlow::Continue(Step::Xa(Xa::Commit(xid))) => {
                    let mut kept = self.kept(xid.as_deref(), segment, index)?;
                    while let Some(kept) = kept.next_segment()? {
                        for index in 0..kept.events.len() {
                            if let ControlFlow::Break(ended) = self.step(&kept, index).await? {
                                return Ok(Some(ended));
                            }
                            self.open_batches();
                            if let Some(ended) = self.send_full().await? {
                                return Ok(Some(ended));
                            }
                        }
                    }
                }
                ControlFlow::Continue(step) => {
                    self.keep(step, segment, index)?;
                    failpoint::pass("row-decoded");
                    return Ok(None);
                }
            }
        }
    }

    fn prepared(&self) -> std::sync::MutexGuard<'_, Prepared> {
        self.feed.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction ends before `next`.
    async fn end(&mut self, segment: &Segment, next: u64) -> Result<Option<Ended>, PipelineError> {
        let gtid = self.feed.decoder.transaction().gtid.clone();
        self.pass(|progress| progress.pass(gtid.as_ref(), (&segment.file, segment.home.as_ref()), next)).await
    }

    /// True if a server that is asked for what comes after a GTID set has not gone back to say it.
    fn lies_ahead(&self, segment: &Segment, next: u64) -> bool {
        let executed = &self.feed.executed;
        let server = |home: &Option<Arc<Home>>| home.as_ref().map(|home| Arc::clone(&home.server));
        server(&segment.home) != server(&executed.home)
            || (file_number(&segment.file), next) > (file_number(&executed.file), executed.offset)
    }

    /// Something more is read: a transaction, or what stands between transactions, as at the head of a file. The cursor takes in both, so
    /// that it never stays behind in a file that is purged.
    async fn pass(&mut self, pass: impl Fn(&mut Progress)) -> Result<Option<Ended>, PipelineError> {
        let mut progress = Progress::default();
        pass(&mut progress);
        self.feed.executed.advance(progress);
        self.prepared().passed(&self.feed.executed)?;
        self.feed.acks.lock().unwrap_or_else(PoisonError::into_inner).pass(&pass);
        self.mark_idle_lanes()?;
        if self.feed.options.ends_transactions
            && let Some(ended) = self.end_target_transaction().await?
        {
            return Ok(Some(ended));
        }
        if let Some(ended) = self.swap().await? {
            return Ok(Some(ended));
        }
        if let Some(ended) = self.weave().await? {
            return Ok(Some(ended));
        }
        if self.has_reached_end() {
            return Ok(Some(self.send_everything().await?.unwrap_or(Ended::Stopped)));
        }
        if self.feed.options.until_levelled && self.feed.lanes.is_levelled(&self.feed.executed) {
            return Ok(Some(self.send_everything().await?.unwrap_or(Ended::Levelled)));
        }
        Ok(None)
    }

    fn has_tables_left(&self) -> bool {
        self.weave.is_some() || !self.asked.is_empty() || self.is_table_cut
    }

    fn has_reached_end(&self) -> bool {
        !self.has_tables_left() && self.feed.options.until.as_ref().is_some_and(|until| self.feed.executed.covers(until))
    }
}

/// Returns when the pipeline is told to stop (or whoever could tell it is gone).
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
