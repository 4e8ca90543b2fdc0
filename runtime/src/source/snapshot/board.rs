//! What readers share: the ranges that are left, who reads which, and how far the feed has taken them over.
//!
//! A range is read page by page. One that nobody reads goes to the next reader; if there is none, a range that somebody reads is divided:
//! one of whole numbers in the middle of them, another one at the key that has so many rows in front of it, which the reader asks for. What
//! is kept in the cursor store is always the whole of what was not taken over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::metrics::TablesRead;

use super::to_read::{Key, Range, ToRead};
use super::{CHUNK_BYTES_MAX, Chunk, Pace, Throttle};

/// A range is divided so many chunks ahead, at most: what the server walks through to find the key is read soon.
const AHEAD_CHUNKS_MAX: u64 = 64;
/// Dividing a range with fewer chunks is not worth the question.
const AHEAD_CHUNKS_MIN: u64 = 2;

pub struct Board {
    pub pace: Pace,
    pub(super) throttle: Arc<Throttle>,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    reads: BTreeMap<u64, Active>,
    next_range: u64,
    /// Rows of the tables that are read to their end.
    done: u64,
    gone: Vec<ToRead>,
    spare: Vec<Vec<u8>>,
}

struct Active {
    read: ToRead,
    ranges: Vec<Open>,
    /// Rows that the readers have had, again and again or not.
    seen: u64,
    /// When a description of the table was thrown away.
    altered: u64,
}

/// A range that was not taken over whole.
struct Open {
    id: u64,
    /// Each time that it is begun again it gets another number, by which chunks that were read before are known.
    turn: u32,
    is_taken: bool,
    /// Read up to its end.
    is_read: bool,
    range: Range,
    /// Read up to here.
    read: Key,
    /// Rows that were read of it.
    rows: u64,
    /// A reader looks where to divide it.
    is_measured: bool,
    /// It has not more rows than this, as far as is known.
    rows_max: u64,
}

impl Open {
    fn new(id: u64, range: Range) -> Open {
        let read = range.after.clone();
        Open { id, turn: 0, is_taken: false, is_read: false, range, read, rows: 0, is_measured: false, rows_max: u64::MAX }
    }
}

/// A range for a reader.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub read: u64,
    pub schema: String,
    pub table: String,
    pub filter: Option<String>,
    pub range: (u64, u32),
    /// Older descriptions of the table are out of date.
    pub altered: u64,
    /// Somebody else reads the range: it is to be divided behind so many rows.
    pub ahead: Option<Ahead>,
}

/// What a page that was read is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum HasRead {
    Noted,
    /// The range was divided meanwhile, and the page has rows of the other part.
    TooFar,
    /// The range was begun again meanwhile.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ahead {
    pub rows: u64,
    /// Rows that had been read when it was measured.
    from: u64,
}

/// What taking over a chunk has changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// The table has more.
    Progress(ToRead),
    /// The table is read.
    Table(ToRead),
}

impl Board {
    pub(super) fn new(reads: Vec<ToRead>, throttle: Arc<Throttle>) -> Board {
        let board = Board { pace: throttle.pace, throttle, inner: Mutex::default(), changed: Notify::new() };
        reads.into_iter().for_each(|read| board.add(read));
        board
    }

    /// One table more.
    pub fn add(&self, read: ToRead) {
        let mut inner = self.lock();
        let mut ranges = Vec::new();
        for range in &read.rest {
            ranges.push(Open::new(inner.next_range, range.clone()));
            inner.next_range += 1;
        }
        inner.reads.insert(read.id, Active { read, ranges, seen: 0, altered: 0 });
        drop(inner);
        self.changed.notify_waiters();
    }

    pub fn progress(&self) -> TablesRead {
        let inner = self.lock();
        let sum = |of: fn(&ToRead) -> u64| inner.done + inner.reads.values().map(|a| of(&a.read)).sum::<u64>();
        TablesRead {
            rows: sum(|w| w.rows),
            estimate: sum(|w| w.estimate.max(w.rows)),
            left: inner.reads.len(),
            rests_at: self.throttle.rests_at(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lock().reads.is_empty()
    }

    /// The feed has taken a chunk over. `None`: it was read before its range was begun again.
    pub fn take_over(&self, chunk: &Chunk) -> Option<Done> {
        let mut inner = self.lock();
        let active = inner.reads.get_mut(&chunk.read)?;
        let at = active.ranges.iter().position(|open| (open.id, open.turn) == chunk.range)?;
        if chunk.is_last {
            active.ranges.remove(at);
        } else {
            active.ranges[at].range.after = chunk.last.clone()?;
        }
        active.read.rows += chunk.rows;
        active.read.estimate = active.read.estimate.max(chunk.table.rows);
        active.read.rest = active.ranges.iter().map(|open| open.range.clone()).collect();
        let read = active.read.clone();
        if read.rest.is_empty() {
            inner.reads.remove(&chunk.read);
            inner.done += read.rows;
            return Some(Done::Table(read));
        }
        Some(Done::Progress(read))
    }

    /// True if the chunk is to be taken over.
    pub fn is_current(&self, chunk: &Chunk) -> bool {
        let inner = self.lock();
        let ranges = inner.reads.get(&chunk.read).map(|active| &active.ranges);
        ranges.is_some_and(|ranges| ranges.iter().any(|open| (open.id, open.turn) == chunk.range))
    }

    /// The chunk, and what was read after it, is to be read again. `altered`: with a description of the table that is not older.
    pub fn begin_again(&self, chunk: &Chunk, altered: u64) {
        let mut inner = self.lock();
        let Some(active) = inner.reads.get_mut(&chunk.read) else { return };
        active.altered = active.altered.max(altered);
        if let Some(open) = active.ranges.iter_mut().find(|open| (open.id, open.turn) == chunk.range) {
            *open = Open { turn: open.turn + 1, ..Open::new(open.id, open.range.clone()) };
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// The table is no longer there.
    pub(super) fn give_up(&self, read: u64) {
        let mut inner = self.lock();
        let gone = inner.reads.remove(&read);
        inner.gone.extend(gone.map(|active| active.read));
    }

    /// Tables that are no longer there, since the last call.
    pub fn take_gone(&self) -> Vec<ToRead> {
        std::mem::take(&mut self.lock().gone)
    }

    /// The next range to read; waits while there is none.
    pub(super) async fn job(&self) -> Job {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(job) = self.lock().job(self.pace) {
                return job;
            }
            changed.await;
        }
    }

    /// How many rows the table is thought to have.
    pub(super) fn set_estimate(&self, job: &Job, rows: u64) {
        if let Some(active) = self.lock().reads.get_mut(&job.read) {
            active.read.estimate = active.read.estimate.max(rows);
        }
        self.changed.notify_waiters();
    }

    /// The first key column of a range that nobody has read of lies between these.
    pub(super) fn set_bounds(&self, job: &Job, low: i128, high: i128) {
        let mut inner = self.lock();
        if let Some(open) = inner.open(job)
            && open.range.until.is_none()
            && open.read.is_empty()
            && low < high
        {
            // Rows beyond the highest are not counted in dividing, but read.
            (open.read, open.range.until) = (vec![(low - 1).to_string()], Some(vec![high.to_string()]));
            let rest = Range { after: vec![high.to_string()], until: None };
            inner.push(job.read, rest);
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// What is to be read of the job's range now. `None`: nothing, or somebody else begins it again.
    pub(super) fn page(&self, job: &Job) -> Option<Range> {
        let mut inner = self.lock();
        let open = inner.open(job).filter(|open| !open.is_read)?;
        Some(Range { after: open.read.clone(), until: open.range.until.clone() })
    }

    /// What [`Job::ahead`] has come to: the range's rows behind the key `at` are another range. `None`: there are not so many.
    pub(super) fn divide_at(&self, job: &Job, at: Option<Key>) {
        let mut inner = self.lock();
        let chunk_rows = self.pace.chunk_rows as u64;
        let (Some(ahead), Some(open)) = (job.ahead, inner.open(job)) else { return };
        open.is_measured = false;
        let Some(at) = at else {
            open.rows_max = ahead.from + ahead.rows;
            return;
        };
        // With the page that is under way, its reader would be past the key.
        if open.is_read || open.rows + chunk_rows >= ahead.from + ahead.rows {
            return;
        }
        let until = open.range.until.replace(at.clone());
        open.rows_max = ahead.from + ahead.rows;
        inner.push(job.read, Range { after: at, until });
        drop(inner);
        self.changed.notify_waiters();
    }

    /// A page was read, up to and with `last`.
    pub(super) fn has_read(&self, job: &Job, rows: u64, last: Option<&Key>, is_last: bool) -> HasRead {
        let mut inner = self.lock();
        let Some(active) = inner.reads.get_mut(&job.read) else { return HasRead::Gone };
        let Some(open) = active.ranges.iter_mut().find(|open| (open.id, open.turn) == job.range) else { return HasRead::Gone };
        if let (Some(last), Some(until)) = (last.and_then(number), open.range.until.as_ref().and_then(number))
            && last > until
        {
            return HasRead::TooFar;
        }
        (open.is_read, open.rows, active.seen) = (is_last, open.rows + rows, active.seen + rows);
        if let Some(last) = last {
            open.read.clone_from(last);
        }
        HasRead::Noted
    }

    pub(super) fn buffer(&self) -> Vec<u8> {
        self.lock().spare.pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        let mut inner = self.lock();
        if buffer.capacity() > 0 && buffer.capacity() <= 2 * CHUNK_BYTES_MAX && inner.spare.len() < 2 * self.pace.readers {
            inner.spare.push(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn new(read: &ToRead, open: &Open, altered: u64, ahead: Option<Ahead>) -> Job {
        Job {
            read: read.id,
            schema: read.schema.clone(),
            table: read.table.clone(),
            filter: read.filter.clone(),
            range: (open.id, open.turn),
            altered,
            ahead,
        }
    }
}

impl Inner {
    fn open(&mut self, job: &Job) -> Option<&mut Open> {
        self.reads.get_mut(&job.read)?.ranges.iter_mut().find(|open| (open.id, open.turn) == job.range)
    }

    fn push(&mut self, of: u64, range: Range) {
        if let Some(active) = self.reads.get_mut(&of) {
            active.ranges.push(Open::new(self.next_range, range));
            self.next_range += 1;
        }
    }

    fn job(&mut self, pace: Pace) -> Option<Job> {
        let chunk_rows = pace.chunk_rows as u64;
        if !self.reads.values().any(|active| active.ranges.iter().any(|open| !open.is_taken)) {
            self.divide(i128::from(chunk_rows));
        }
        // Tables one after the other, so that few are half read.
        for active in self.reads.values_mut() {
            if let Some(open) = active.ranges.iter_mut().find(|open| !open.is_taken) {
                open.is_taken = true;
                return Some(Job::new(&active.read, open, active.altered, None));
            }
        }
        // What a second allows, as the server walks through all of it at once.
        self.measure(chunk_rows, pace.rows_per_second.unwrap_or(u64::MAX))
    }

    /// The range with the most rows that are not read, to be divided where half of them are left; `rows_max`: not further ahead, if it can
    /// be.
    fn measure(&mut self, chunk_rows: u64, rows_max: u64) -> Option<Job> {
        let left = |active: &Active, open: &Open| {
            let of_table = active.read.estimate.saturating_sub(active.seen) / active.ranges.len() as u64;
            // An estimate may be far too low; that it is so is found out by asking.
            of_table.max(chunk_rows * AHEAD_CHUNKS_MIN * 2).min(open.rows_max.saturating_sub(open.rows))
        };
        let all = self.reads.values().flat_map(|a| a.ranges.iter().map(move |open| (left(a, open), a.read.id, open)));
        let candidates = all.filter(|(left, read, open)| {
            let is_described = self.reads.get(read).is_some_and(|active| active.read.estimate > 0);
            is_described && !open.is_read && !open.is_measured && *left >= chunk_rows * AHEAD_CHUNKS_MIN * 2
        });
        let (left, read, id) = candidates.map(|(left, read, open)| (left, read, open.id)).max_by_key(|(left, ..)| *left)?;
        let active = self.reads.get_mut(&read)?;
        let open = active.ranges.iter_mut().find(|open| open.id == id)?;
        open.is_measured = true;
        let rows = (left / 2).min(chunk_rows * AHEAD_CHUNKS_MAX).min(rows_max.max(chunk_rows * AHEAD_CHUNKS_MIN));
        let ahead = Ahead { rows, from: open.rows };
        Some(Job::new(&active.read, open, active.altered, Some(ahead)))
    }

    /// Divides the widest range of whole numbers that is being read; its upper half is free.
    fn divide(&mut self, chunk_rows: i128) {
        let width = |open: &Open| {
            let (until, read) = (number(open.range.until.as_ref()?)?, number(&open.read)?);
            // The page that is under way has the lower half of fewer values.
            (!open.is_read && until - read > chunk_rows * 2).then_some((until - read, read + (until - read) / 2))
        };
        let all = self.reads.values().flat_map(|a| a.ranges.iter().map(|open| (a.read.id, open)));
        let widest = all.filter_map(|(read, open)| Some((width(open)?, read, open.id))).max_by_key(|((width, _), ..)| *width);
        let Some(((_, middle), read, id)) = widest else { return };
        let Some(open) = self.reads.get_mut(&read).and_then(|a| a.ranges.iter_mut().find(|open| open.id == id)) else { return };
        let until = open.range.until.replace(vec![middle.to_string()]);
        self.push(read, Range { after: vec![middle.to_string()], until });
    }
}

/// The first column of a key that is a whole number.
fn number(key: &Key) -> Option<i128> {
    key.first()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn board(readers: usize) -> Board {
        let pace = Pace { readers, chunk_rows: 10, rows_per_second: None, threads_running_max: None };
        Board::new(vec![ToRead::new(1, "s", "t", None)], Arc::new(Throttle::new(pace)))
    }

    /// Readers that take pages in any order, of a table with keys as they come: every key is read once, and nobody reads alone for
    /// long. `literal` of a number sorts as the number does.
    fn every_key_is_read(keys: &[i128], readers: usize, literal: fn(i128) -> String, number: fn(&str) -> i128) {
        let board = board(readers);
        let mut jobs: Vec<Job> = Vec::new();
        let (mut seen, mut turn, mut pages, mut alone) = (BTreeSet::new(), 0usize, 0, 0);
        loop {
            let next = if jobs.len() < readers { board.lock().job(board.pace) } else { None };
            if jobs.is_empty() && next.is_none() {
                break;
            }
            if let Some(job) = next {
                if board.page(&job).is_some_and(|range| range == Range::default()) {
                    board.set_estimate(&job, keys.len() as u64);
                    if literal(keys[0]).parse::<i128>().is_ok() {
                        board.set_bounds(&job, keys[0], keys[keys.len() - 1]);
                    }
                }
                jobs.push(job);
            }
            turn += 7;
            let at = turn % jobs.len();
            let Some(range) = board.page(&jobs[at]) else {
                jobs.remove(at);
                continue;
            };
            let after = range.after.first().map_or(i128::MIN, |k| number(k));
            let until = range.until.map_or(i128::MAX, |k| number(&k[0]));
            let mut rest = keys.iter().copied().filter(|k| *k > after && *k <= until);
            if let Some(ahead) = jobs[at].ahead {
                board.divide_at(&jobs[at], rest.nth(ahead.rows as usize).map(|k| vec![literal(k)]));
                jobs.remove(at);
                continue;
            }
            let page: Vec<i128> = rest.take(10).collect();
            let last = page.last().map(|k| vec![literal(*k)]);
            let is_last = page.len() < 10;
            (pages, alone) = (pages + 1, alone + usize::from(jobs.len() == 1));
            if turn % 5 == 0 && jobs.len() < readers {
                // Somebody may divide the range while the page is read.
                jobs.extend(board.lock().job(board.pace));
            }
            match board.has_read(&jobs[at], page.len() as u64, last.as_ref(), is_last) {
                HasRead::Noted => {}
                HasRead::TooFar => continue,
                HasRead::Gone => panic!("nothing is begun again"),
            }
            assert!(page.into_iter().all(|key| seen.insert(key)), "a row is read twice");
            if is_last {
                jobs.remove(at);
            }
        }
        assert!(seen.into_iter().eq(keys.iter().copied()));
        assert!(alone <= 6 + pages / 10, "{readers} readers, but one alone for {alone} of {pages} pages");
    }

    #[test]
    fn every_key_is_read_once() {
        let dense: Vec<i128> = (0..1000).collect();
        let skewed: Vec<i128> = (0..40).map(|n| n * n * n).collect();
        for (keys, readers) in [(&dense, 3), (&skewed, 4), (&vec![5], 2)] {
            every_key_is_read(keys, readers, |n| n.to_string(), |k| k.parse().unwrap());
            every_key_is_read(keys, readers, |n| format!("'{n:09}'"), |k| k.trim_matches('\'').parse().unwrap());
        }
    }

    #[test]
    fn a_range_that_is_begun_again_is_no_longer_the_readers() {
        let board = board(1);
        let job = board.lock().job(board.pace).unwrap();
        assert_eq!(board.has_read(&job, 1, Some(&vec!["5".to_owned()]), true), HasRead::Noted);
        assert_eq!(board.page(&job), None);
        {
            let mut inner = board.lock();
            let open = inner.open(&job).unwrap();
            (open.turn, open.is_taken, open.is_read) = (1, false, false);
            open.read = open.range.after.clone();
        }
        assert_eq!(board.has_read(&job, 0, None, true), HasRead::Gone);
        let again = board.lock().job(board.pace).unwrap();
        assert_eq!((again.range.0, again.range.1, board.page(&again)), (job.range.0, 1, Some(Range::default())));
    }
}
