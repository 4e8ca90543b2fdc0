//! The hub: one reading of a source, shared by the pipelines that follow it.
//!
//! The reader fills a window of recent segments, bounded in bytes, and waits only for the fastest subscriber. It is no task of its
//! own: whoever waits for the next segment polls it, so that a segment is decoded where it was read, while the caches have it. A
//! subscriber that stops waiting wakes the others, who poll it then. One that falls
//! out of the window, or begins elsewhere, gets a reading of its own and joins the shared one as soon as it stands at a transaction
//! boundary that the window has. A subscriber that goes away disturbs nobody; with the last one the shared reading stops.
//!
//! Memory: the window and one segment beyond it, and for each reading of one's own [`OWN_SEGMENTS`] segments. A segment has
//! about 256 KiB, or one event if that is larger.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll};

use tokio::sync::{Notify, mpsc};

use super::feed::{Origin, Produced};
use super::frame::{Entry, Resume};
use super::{Boundary, Event, Failure, Segment, SourceError};
use crate::position::{Position, file_number};

/// Bytes of recent segments that are kept for subscribers that are behind the fastest one.
pub(crate) const WINDOW_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a segment takes beside its data, about.
const ENTRY_BYTES: usize = 1024;
/// Segments that a reading of one's own is ahead of its subscriber.
const OWN_SEGMENTS: usize = 8;

pub(crate) struct Hub {
    name: Arc<str>,
    origin: Origin,
    window_bytes_max: usize,
    state: Mutex<State>,
    /// The shared reading, and its generation. Never waited for while `state` is locked: it locks that itself.
    reader: Mutex<Option<(u64, Reader)>>,
    /// The window has more, or reading has ended.
    news: Notify,
    /// A subscriber has moved on or gone away.
    room: Notify,
    /// Numbers the readings.
    slots: AtomicU32,
}

type Reader = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
struct State {
    window: VecDeque<Entry>,
    /// What the window counts for, see [`cost_of`].
    bytes: usize,
    /// Bytes of all segments that went into the window since the shared reading began.
    bytes_read: u64,
    /// Number of the first entry of the window, counted since the shared reading began.
    first: u64,
    /// By subscriber: number of the entry that it takes next.
    cursors: HashMap<u64, u64>,
    subscribers: u64,
    /// Where the shared reading began.
    start: Option<Resume>,
    /// How often the reader found nothing new, or could not read;
    pauses: u64,
    /// which of the two it was last, and the number of the next entry then.
    pause: Option<(Pause, u64)>,
    ended: Option<Ended>,
    /// The reader waits for room.
    is_full: bool,
    /// Counts shared readings, so that one that was stopped cannot write into the next one's window.
    generation: u64,
}

/// Why the reader has nothing.
#[derive(Clone, Debug)]
enum Pause {
    Idle,
    Away(Arc<str>),
}

impl From<Pause> for Event {
    fn from(pause: Pause) -> Event {
        match pause {
            Pause::Idle => Event::Idle,
            Pause::Away(place) => Event::Away(place),
        }
    }
}

#[derive(Clone)]
enum Ended {
    End,
    Failed(SourceError),
}

impl State {
    fn next_number(&self) -> u64 {
        self.first + self.window.len() as u64
    }

    /// The reader of a generation has nothing.
    fn pause(&mut self, generation: u64, pause: Pause) {
        if generation == self.generation {
            self.pauses += 1;
            self.pause = Some((pause, self.next_number()));
        }
    }

    fn fastest(&self) -> u64 {
        self.cursors.values().copied().max().unwrap_or(self.first)
    }

    /// The number of the entry at which reading goes on from a boundary, and how many events of it come before.
    fn find(&self, position: &Position) -> Option<(u64, usize)> {
        if self.window.is_empty() {
            let start = self.start.as_ref()?;
            return (start.open.is_none() && start.position.is_at(position)).then_some((self.first, 0));
        }
        let key = |p: &Position| (file_number(&p.file), p.offset);
        let mut at = self.window.partition_point(|e| key(&e.before.position) <= key(position)).checked_sub(1)?;
        while self.window[at].before.open.is_some() && key(&self.window[at].before.position) == key(position) {
            at = at.checked_sub(1)?;
        }
        let entry = &self.window[at];
        let number = self.first + at as u64;
        let mut resume = (*entry.before).clone();
        if resume.open.is_none() && resume.position.is_at(position) {
            return Some((number, 0));
        }
        for (i, event) in entry.segment.events.iter().enumerate() {
            resume.step(&entry.segment, event);
            if resume.open.is_none() && resume.position.is_at(position) {
                let all = i + 1 == entry.segment.events.len();
                return Some(if all { (number + 1, 0) } else { (number, i + 1) });
            }
        }
        None
    }
}

impl Hub {
    pub(crate) fn new(name: Arc<str>, origin: Origin, window_bytes_max: usize) -> Hub {
        Hub {
            name,
            origin,
            window_bytes_max,
            state: Mutex::default(),
            reader: Mutex::default(),
            news: Notify::new(),
            room: Notify::new(),
            slots: AtomicU32::new(1),
        }
    }

    pub(crate) fn subscribe(self: &Arc<Self>, from: Position) -> Subscription {
        let resume = Resume::at(from);
        Subscription { hub: self.clone(), mode: Mode::New { resume }, last: None, pauses: 0 }
    }

    pub(crate) fn slot(&self) -> u32 {
        self.slots.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the shared reading, or begins it if nobody reads. `None`: somebody reads elsewhere.
    fn attach(self: &Arc<Self>, resume: &Resume) -> Option<Shared> {
        let mut state = self.lock();
        if !state.cursors.is_empty() {
            drop(state);
            return self.join(resume);
        }
        state.generation += 1;
        (state.window, state.bytes, state.first, state.bytes_read) = (VecDeque::new(), 0, 0, 0);
        (state.ended, state.pause) = (None, None);
        state.start = Some(resume.clone());
        let generation = state.generation;
        let shared = self.place(&mut state, resume, 0, 0);
        drop(state);
        let reader = Box::pin(self.clone().read(resume.clone(), generation));
        let mut slot = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_none_or(|(of, _)| *of < generation) {
            *slot = Some((generation, reader));
        }
        drop(slot);
        // Who has joined meanwhile found nothing to poll.
        self.news.notify_waiters();
        Some(shared)
    }

    /// Lets the shared reading go on, and has it wake this task when it can go on again.
    fn poll_reader(&self, cx: &mut Context<'_>) {
        let mut slot = match self.reader.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
            // Another subscriber is at it, and says so when there is something new, or when it stops waiting.
            Err(TryLockError::WouldBlock) => return,
        };
        if let Some((_, reader)) = &mut *slot
            && reader.as_mut().poll(cx).is_ready()
        {
            *slot = None;
        }
    }

    /// Joins the shared reading, if its window has the position.
    fn join(self: &Arc<Self>, resume: &Resume) -> Option<Shared> {
        let mut state = self.lock();
        if resume.open.is_some() || state.cursors.is_empty() {
            return None;
        }
        let (next, skip) = state.find(&resume.position)?;
        Some(self.place(&mut state, resume, next, skip))
    }

    fn place(self: &Arc<Self>, state: &mut State, resume: &Resume, next: u64, skip: usize) -> Shared {
        state.subscribers += 1;
        let id = state.subscribers;
        state.cursors.insert(id, next);
        let ahead = state.window.iter().skip((next - state.first) as usize).map(|e| e.segment.data.len() as u64);
        let bytes_taken = state.bytes_read - ahead.sum::<u64>();
        Shared { hub: self.clone(), id, skip, bytes_taken, last: None, resume: resume.clone() }
    }

    /// The shared reader. After each step it waits to be polled again.
    async fn read(self: Arc<Self>, resume: Resume, generation: u64) {
        let mut feed = self.origin.feed(resume, 0);
        let ended = loop {
            match feed.next().await {
                Ok(Produced::Entries(entries)) => {
                    for entry in entries {
                        if !self.push(generation, entry).await {
                            return;
                        }
                    }
                }
                Ok(Produced::Idle) => self.lock().pause(generation, Pause::Idle),
                Ok(Produced::Away(place)) => self.lock().pause(generation, Pause::Away(place)),
                Ok(Produced::End) => break Ended::End,
                Err(failure) => break Ended::Failed(failure.of(&self.name)),
            }
            self.news.notify_waiters();
            pause().await;
        };
        let mut state = self.lock();
        if state.generation == generation {
            state.ended = Some(ended);
            drop(state);
            self.news.notify_waiters();
        }
    }

    /// Puts a segment into the window as soon as there is room. False: this reading was stopped.
    async fn push(&self, generation: u64, entry: Entry) -> bool {
        let len = entry.segment.data.len();
        let cost = cost_of(&entry);
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = self.lock();
                if state.generation != generation {
                    return false;
                }
                let fastest = state.fastest();
                while state.bytes + cost > self.window_bytes_max && state.first < fastest && state.window.len() > 1 {
                    if let Some(old) = state.window.pop_front() {
                        state.bytes -= cost_of(&old);
                        state.first += 1;
                    }
                }
                if state.bytes + cost <= self.window_bytes_max || fastest >= state.next_number() {
                    state.is_full = false;
                    state.bytes += cost;
                    state.bytes_read += len as u64;
                    state.window.push_back(entry);
                    drop(state);
                    self.news.notify_waiters();
                    return true;
                }
                state.is_full = true;
            }
            room.await;
        }
    }

    /// A reading of one's own.
    async fn read_alone(self: Arc<Self>, resume: Resume, slot: u32, out: mpsc::Sender<Result<Alone, SourceError>>) {
        let mut feed = self.origin.feed(resume, slot);
        loop {
            let items = match feed.next().await {
                Ok(Produced::Entries(entries)) => entries.into_iter().map(|e| Ok(Alone::Entry(e))).collect(),
                Ok(Produced::Idle) => vec![Ok(Alone::Pause(Pause::Idle))],
                Ok(Produced::Away(place)) => vec![Ok(Alone::Pause(Pause::Away(place)))],
                Ok(Produced::End) => vec![Ok(Alone::End)],
                Err(failure) => vec![Err(failure.of(&self.name))],
            };
            let last = matches!(items.last(), Some(Ok(Alone::End) | Err(_)));
            for item in items {
                if out.send(item).await.is_err() {
                    return;
                }
            }
            if last {
                return;
            }
        }
    }
}

#[derive(Debug)]
enum Alone {
    Entry(Entry),
    Pause(Pause),
    End,
}

/// A place in the shared reading; leaves it when dropped.
struct Shared {
    hub: Arc<Hub>,
    id: u64,
    /// Events of the next entry that this subscriber has already.
    skip: usize,
    /// Of [`State::bytes_read`].
    bytes_taken: u64,
    /// The last entry taken, and where this subscriber stood before it.
    last: Option<Entry>,
    resume: Resume,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        state.cursors.remove(&self.id);
        let stopped = state.cursors.is_empty().then_some(state.generation);
        if stopped.is_some() {
            state.generation += 1;
            state.window.clear();
            state.bytes = 0;
        }
        drop(state);
        if let Some(generation) = stopped {
            let mut slot = self.hub.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let reader = slot.take_if(|(of, _)| *of <= generation);
            drop(slot);
            drop(reader);
        }
        self.hub.room.notify_waiters();
    }
}

enum Taken {
    Event(Result<Event, SourceError>),
    Nothing,
    FellOut,
}

impl Shared {
    fn take(&mut self, pauses: &mut u64) -> Taken {
        let mut state = self.hub.lock();
        let next = state.cursors.get(&self.id).copied().unwrap_or(0);
        let Some(at) = next.checked_sub(state.first) else { return Taken::FellOut };
        if let Some(entry) = state.window.get(at as usize).cloned() {
            state.cursors.insert(self.id, next + 1);
            self.bytes_taken += entry.segment.data.len() as u64;
            let wake = state.is_full;
            drop(state);
            if wake {
                self.hub.room.notify_waiters();
            }
            let segment = match std::mem::take(&mut self.skip) {
                0 => entry.segment.clone(),
                skip => Arc::new(tail(&entry.segment, skip)),
            };
            self.last = Some(entry);
            return Taken::Event(Ok(Event::Segment(segment)));
        }
        match (&state.ended, &state.pause) {
            (Some(Ended::End), _) => Taken::Event(Ok(Event::End)),
            (Some(Ended::Failed(error)), _) => Taken::Event(Err(error.clone())),
            // A pause before the last entry says nothing about what comes after it.
            (None, Some((pause, at))) if state.pauses > *pauses && *at == next => {
                *pauses = state.pauses;
                Taken::Event(Ok(pause.clone().into()))
            }
            (None, _) => Taken::Nothing,
        }
    }

    /// Where this subscriber stands.
    fn resume(&self) -> Resume {
        match &self.last {
            None => self.resume.clone(),
            Some(entry) => {
                let mut resume = (*entry.before).clone();
                resume.advance(&entry.segment);
                resume
            }
        }
    }
}

/// Dropped when a subscriber gives up waiting: the others poll the shared reading from then on.
struct Waiting<'a>(&'a Notify);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// Returns when it is polled the second time.
async fn pause() {
    let mut is_again = false;
    poll_fn(|_| if std::mem::replace(&mut is_again, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// What an entry counts for in the window: small segments take more memory than their bytes.
fn cost_of(entry: &Entry) -> usize {
    entry.segment.data.len() + ENTRY_BYTES
}

/// The events of a segment from `skip` on; it must be a transaction boundary.
fn tail(segment: &Segment, skip: usize) -> Segment {
    let events = &segment.events[skip..];
    let begun =
        segment.events[..skip].iter().filter(|e| matches!(e.boundary, Boundary::Begin(_) | Boundary::BeginAgain(_))).count();
    let events = events.iter().map(|event| {
        let mut event = *event;
        if let Boundary::Begin(i) | Boundary::BeginAgain(i) = &mut event.boundary {
            *i -= begun as u32;
        }
        event
    });
    Segment {
        file: segment.file.clone(),
        home: segment.home.clone(),
        data: segment.data.clone(),
        events: events.collect(),
        transactions: segment.transactions[begun..].to_vec(),
        learned: segment.learned.clone(),
        index: segment.index,
    }
}

enum Mode {
    New { resume: Resume },
    Shared(Shared),
    Alone { resume: Resume, events: mpsc::Receiver<Result<Alone, SourceError>> },
}

/// One pipeline's reading of a source. Dropping it disturbs nobody.
pub struct Subscription {
    hub: Arc<Hub>,
    mode: Mode,
    /// The last word: an error, or the end.
    last: Option<Result<Event, SourceError>>,
    pauses: u64,
}

impl Subscription {
    /// The next event. Cancel-safe. An error and [`Event::End`] are final, and given again by every further call.
    pub async fn next(&mut self) -> Result<Event, SourceError> {
        let hub = self.hub.clone();
        let waiting = Waiting(&hub.news);
        let mut news = pin!(hub.news.notified());
        let event = poll_fn(|cx| {
            loop {
                news.as_mut().enable();
                if let Some(event) = self.try_next() {
                    return Poll::Ready(event);
                }
                if let Mode::Alone { events, .. } = &mut self.mode {
                    let Poll::Ready(item) = events.poll_recv(cx) else { return Poll::Pending };
                    if let Some(event) = self.alone(item) {
                        return Poll::Ready(event);
                    }
                    continue;
                }
                hub.poll_reader(cx);
                if news.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                news.set(hub.news.notified());
            }
        });
        let event = event.await;
        // What is new woke the others already.
        std::mem::forget(waiting);
        event
    }

    /// The same without waiting; `None`: nothing is there yet. Call it within a tokio runtime.
    pub fn try_next(&mut self) -> Option<Result<Event, SourceError>> {
        if let Some(last) = &self.last {
            return Some(last.clone());
        }
        self.settle_mode();
        match &mut self.mode {
            Mode::New { .. } => None,
            Mode::Shared(shared) => match shared.take(&mut self.pauses) {
                Taken::Event(event) => Some(self.keep(event)),
                Taken::Nothing => None,
                Taken::FellOut => {
                    let resume = shared.resume();
                    tracing::debug!(source = &*self.hub.name, position = %resume.position, "fell behind the shared reading");
                    self.read_alone(resume);
                    None
                }
            },
            Mode::Alone { events, .. } => match events.try_recv() {
                Ok(item) => self.alone(Some(item)),
                Err(mpsc::error::TryRecvError::Empty) => None,
                Err(mpsc::error::TryRecvError::Disconnected) => self.alone(None),
            },
        }
    }

    /// Bytes that are read and not delivered yet; `None`: not known (a reading of its own that is catching up). What the server has
    /// beyond that, [`super::Source::end`] tells.
    pub fn behind_bytes(&self) -> Option<u64> {
        match &self.mode {
            Mode::New { .. } | Mode::Alone { .. } => None,
            Mode::Shared(shared) => Some(self.hub.lock().bytes_read - shared.bytes_taken),
        }
    }

    /// Begins, or goes over to the shared reading where that is possible.
    fn settle_mode(&mut self) {
        match &self.mode {
            Mode::Shared(_) => {}
            Mode::New { resume } => match self.hub.attach(resume) {
                Some(shared) => self.mode = Mode::Shared(shared),
                None => self.read_alone(resume.clone()),
            },
            Mode::Alone { resume, .. } => {
                // Never as the one that begins it: nobody would gain by that.
                if let Some(shared) = self.hub.join(resume) {
                    tracing::debug!(source = &*self.hub.name, position = %resume.position, "joined the shared reading");
                    self.mode = Mode::Shared(shared);
                }
            }
        }
    }

    fn read_alone(&mut self, resume: Resume) {
        let (out, events) = mpsc::channel(OWN_SEGMENTS);
        tokio::spawn(self.hub.clone().read_alone(resume.clone(), self.hub.slot(), out));
        self.mode = Mode::Alone { resume, events };
    }

    fn alone(&mut self, item: Option<Result<Alone, SourceError>>) -> Option<Result<Event, SourceError>> {
        // Without a last word the reading can only have been stopped with its runtime.
        let stopped = || Err(Failure::transient("reading was stopped").of(&self.hub.name));
        let event = match item.unwrap_or_else(stopped) {
            Ok(Alone::Entry(entry)) => {
                if let Mode::Alone { resume, .. } = &mut self.mode {
                    *resume = (*entry.before).clone();
                    resume.advance(&entry.segment);
                }
                Ok(Event::Segment(entry.segment))
            }
            Ok(Alone::Pause(pause)) => Ok(pause.into()),
            Ok(Alone::End) => Ok(Event::End),
            Err(error) => Err(error),
        };
        Some(self.keep(event))
    }

    fn keep(&mut self, event: Result<Event, SourceError>) -> Result<Event, SourceError> {
        if matches!(event, Ok(Event::End) | Err(_)) {
            self.last = Some(event.clone());
        }
        event
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("source", &self.hub.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("source", &self.name).finish_non_exhaustive()
    }
}
