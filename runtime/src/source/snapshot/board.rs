//! What readers share: the ranges that are left, who reads which, and how far the feed has taken them over.
//!
//! A range is read page by page. One that nobody reads goes to the next reader; if there is none, a range of whole numbers that somebody
//! reads is divided. What is kept in the cursor store is always the whole of what was not taken over.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::metrics::TablesRead;

use super::to_read::{Key, Range, ToRead};
use super::{CHUNK_BYTES_MAX, Chunk, Pace};

pub struct Board {
    pub pace: Pace,
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
    /// Since when, and how many rows were read.
    paced: Option<(Instant, u64)>,
}

struct Active {
    read: ToRead,
    ranges: Vec<Open>,
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
    pub(super) fn new(reads: Vec<ToRead>, pace: Pace) -> Board {
        let board = Board { pace, inner: Mutex::default(), changed: Notify::new() };
        reads.into_iter().for_each(|read| board.add(read));
        board
    }

    /// One table more.
    pub fn add(&self, read: ToRead) {
        let mut inner = self.lock();
        let mut ranges = Vec::new();
        for range in &read.rest {
            let (id, read) = (inner.next_range, range.after.clone());
            inner.next_range += 1;
            ranges.push(Open { id, turn: 0, is_taken: false, is_read: false, range: range.clone(), read });
        }
        inner.reads.insert(read.id, Active { read, ranges, altered: 0 });
        drop(inner);
        self.changed.notify_waiters();
    }

    pub fn progress(&self) -> TablesRead {
        let inner = self.lock();
        let sum = |of: fn(&ToRead) -> u64| inner.done + inner.reads.values().map(|a| of(&a.read)).sum::<u64>();
        TablesRead { rows: sum(|w| w.rows), estimate: sum(|w| w.estimate.max(w.rows)), left: inner.reads.len() }
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
            (open.turn, open.is_taken, open.is_read) = (open.turn + 1, false, false);
            open.read = open.range.after.clone();
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
            if let Some(job) = self.lock().job() {
                return job;
            }
            changed.await;
        }
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
            (open.read, open.range.until) = (vec![(low - 1).to_string()], Some(high));
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
        Some(Range { after: open.read.clone(), until: open.range.until })
    }

    /// A page was read, up to and with `last`. False: the range was begun again meanwhile.
    pub(super) fn has_read(&self, job: &Job, last: Option<&Key>, is_last: bool) -> bool {
        let mut inner = self.lock();
        let Some(open) = inner.open(job) else { return false };
        open.is_read = is_last;
        if let Some(last) = last {
            open.read.clone_from(last);
        }
        true
    }

    /// How long a reader has to rest before its next page.
    pub(super) fn rest(&self, rows: u64) -> std::time::Duration {
        let Some(rate) = self.pace.rows_per_second else { return std::time::Duration::ZERO };
        let mut inner = self.lock();
        let (since, read) = inner.paced.get_or_insert_with(|| (Instant::now(), 0));
        *read += rows;
        let due = std::time::Duration::from_secs_f64(*read as f64 / rate.max(1) as f64);
        let rest = due.saturating_sub(since.elapsed());
        if rest.is_zero() {
            // Time in which nothing could be read is not made up for.
            inner.paced = None;
        }
        rest
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

impl Inner {
    fn open(&mut self, job: &Job) -> Option<&mut Open> {
        self.reads.get_mut(&job.read)?.ranges.iter_mut().find(|open| (open.id, open.turn) == job.range)
    }

    fn push(&mut self, of: u64, range: Range) {
        let (id, read) = (self.next_range, range.after.clone());
        self.next_range += 1;
        if let Some(active) = self.reads.get_mut(&of) {
            active.ranges.push(Open { id, turn: 0, is_taken: false, is_read: false, range, read });
        }
    }

    fn job(&mut self) -> Option<Job> {
        if !self.reads.values().any(|active| active.ranges.iter().any(|open| !open.is_taken)) {
            self.divide();
        }
        // Tables one after the other, so that few are half read.
        for active in self.reads.values_mut() {
            if let Some(open) = active.ranges.iter_mut().find(|open| !open.is_taken) {
                open.is_taken = true;
                return Some(Job {
                    read: active.read.id,
                    schema: active.read.schema.clone(),
                    table: active.read.table.clone(),
                    filter: active.read.filter.clone(),
                    range: (open.id, open.turn),
                    altered: active.altered,
                });
            }
        }
        None
    }

    /// Divides the widest range of whole numbers that is being read; its upper half is free.
    fn divide(&mut self) {
        let width = |open: &Open| {
            let (until, read) = (open.range.until?, open.read.first()?.parse::<i128>().ok()?);
            // Of less than two values there is no half.
            (!open.is_read && until - read >= 4).then_some((until - read, read + (until - read) / 2))
        };
        let all = self.reads.values().flat_map(|a| a.ranges.iter().map(|open| (a.read.id, open)));
        let widest = all.filter_map(|(read, open)| Some((width(open)?, read, open.id))).max_by_key(|((width, _), ..)| *width);
        let Some(((_, middle), read, id)) = widest else { return };
        let Some(open) = self.reads.get_mut(&read).and_then(|a| a.ranges.iter_mut().find(|open| open.id == id)) else { return };
        let until = open.range.until.replace(middle);
        self.push(read, Range { after: vec![middle.to_string()], until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(readers: usize) -> Board {
        let pace = Pace { readers, chunk_rows: 10, rows_per_second: None };
        Board::new(vec![ToRead::new(1, "s", "t", None)], pace)
    }

    /// Readers that take pages in any order, of a table with keys as they come: every key is read, and what is kept is always what is
    /// left.
    #[test]
    fn every_key_is_read_once_or_more() {
        for (keys, readers) in
            [((0..1000).collect::<Vec<i128>>(), 3), ((0..40).map(|n| n * n * n - 9000).collect(), 4), (vec![5], 2)]
        {
            let board = board(readers);
            let mut jobs: Vec<Job> = Vec::new();
            let mut seen = std::collections::BTreeSet::new();
            let mut turn = 0usize;
            loop {
                let next = if jobs.len() < readers { board.lock().job() } else { None };
                if jobs.is_empty() && next.is_none() {
                    break;
                }
                if let Some(job) = next {
                    if board.page(&job).is_some_and(|range| range == Range::default()) {
                        board.set_bounds(&job, keys[0], keys[keys.len() - 1]);
                    }
                    jobs.push(job);
                }
                turn += 7;
                let at = turn % jobs.len();
                let Some(range) = board.page(&jobs[at]) else {
                    jobs.remove(at);
                    continue;
                };
                let after = range.after.first().map_or(i128::MIN, |k| k.parse().unwrap());
                let until = range.until.unwrap_or(i128::MAX);
                let page: Vec<i128> = keys.iter().copied().filter(|k| *k > after && *k <= until).take(10).collect();
                let last = page.last().map(|k| vec![k.to_string()]);
                let is_last = page.len() < 10;
                assert!(board.has_read(&jobs[at], last.as_ref(), is_last));
                seen.extend(page);
                if is_last {
                    jobs.remove(at);
                }
            }
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), keys);
        }
    }

    #[test]
    fn a_range_that_is_begun_again_is_no_longer_the_readers() {
        let board = board(1);
        let job = board.lock().job().unwrap();
        assert!(board.has_read(&job, Some(&vec!["5".to_owned()]), true));
        assert_eq!(board.page(&job), None);
        {
            let mut inner = board.lock();
            let open = inner.open(&job).unwrap();
            (open.turn, open.is_taken, open.is_read) = (1, false, false);
            open.read = open.range.after.clone();
        }
        assert!(!board.has_read(&job, None, true));
        let again = board.lock().job().unwrap();
        assert_eq!((again.range.0, again.range.1, board.page(&again)), (job.range.0, 1, Some(Range::default())));
    }
}
