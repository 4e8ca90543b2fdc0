//! What a running pipeline tells about itself: counters that its tasks add to and that displays read.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::position::Position;

/// One pipeline's counters. All of them only grow, except the lag, the state, dead letters, and rows that are read again.
#[derive(Debug)]
pub struct PipelineStatus {
    pub name: String,
    /// Row changes that were decoded (of followed tables).
    pub rows_read: AtomicU64,
    /// Row changes that are durable at the sink or filtered out.
    pub rows_settled: AtomicU64,
    /// Row changes that a plugin dropped or that `unrouted = "drop"` left out; part of `rows_settled`.
    pub rows_dropped: AtomicU64,
    /// Binlog bytes read, uncompressed.
    pub bytes_read: AtomicU64,
    /// Changes that are dead letters now.
    pub dead_letters: AtomicU64,
    /// Writes and connections that were tried again.
    pub retries: AtomicU64,
    /// Until when everything is known to be settled, microseconds since the epoch: the commit time at the source of the last settled row, or
    /// when a source that nothing was left of went away; 0: not known.
    commit_time_us: AtomicI64,
    /// Binlog bytes between what was read and the source's end; `u64::MAX`: not known.
    behind_bytes: AtomicU64,
    /// True while there is nothing more to read: the lag is then zero, however old the last row is.
    caught_up: std::sync::atomic::AtomicBool,
    position: Mutex<Option<Position>>,
    state: Mutex<State>,
    tables: Mutex<Option<TablesRead>>,
}

/// How far tables are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablesRead {
    pub rows: u64,
    /// Rows that they have, as the server estimates it.
    pub estimate: u64,
    /// Tables that are not read to their end.
    pub left: usize,
    /// Reading rests: the threads that run at the source, which are too many.
    pub rests_at: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Starting,
    Running,
    /// Something is away and is tried again: what, in a few words.
    Waiting(String),
    Stopped,
    Failed,
}

impl PipelineStatus {
    pub fn new(name: &str) -> PipelineStatus {
        PipelineStatus {
            name: name.to_owned(),
            rows_read: AtomicU64::new(0),
            rows_settled: AtomicU64::new(0),
            rows_dropped: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            commit_time_us: AtomicI64::new(0),
            behind_bytes: AtomicU64::new(u64::MAX),
            caught_up: std::sync::atomic::AtomicBool::new(false),
            position: Mutex::new(None),
            state: Mutex::new(State::Starting),
            tables: Mutex::new(None),
        }
    }

    /// Rows of a batch have settled, the last of which was committed at `commit_time_us` at the source.
    pub fn settled(&self, rows: usize, commit_time_us: i64) {
        self.rows_settled.fetch_add(rows as u64, Ordering::Relaxed);
        self.commit_time_us.fetch_max(commit_time_us, Ordering::Relaxed);
    }

    /// Reading begins at the cursor: what was read and has not settled is read again.
    pub fn begin_again(&self) {
        self.rows_read.store(self.rows_settled.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub fn set_behind(&self, bytes: Option<u64>, caught_up: bool) {
        self.behind_bytes.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.caught_up.store(caught_up, Ordering::Relaxed);
    }

    /// Nobody knows what the source has from now on: the lag grows.
    pub fn source_is_away(&self, now_us: i64) {
        if self.is_caught_up() {
            self.commit_time_us.fetch_max(now_us, Ordering::Relaxed);
        }
        self.set_behind(None, false);
    }

    fn is_caught_up(&self) -> bool {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.caught_up.load(Ordering::Relaxed) && get(&self.rows_read) == get(&self.rows_settled)
    }

    pub fn set_position(&self, position: Position) {
        *lock(&self.position) = Some(position);
    }

    /// The flushed cursor.
    pub fn position(&self) -> Option<Position> {
        lock(&self.position).clone()
    }

    /// `None`: no tables are being read.
    pub fn set_tables(&self, tables: Option<TablesRead>) {
        *lock(&self.tables) = tables;
    }

    pub fn set_state(&self, state: State) {
        *lock(&self.state) = state;
    }

    /// The counters at this moment. `now_us`: the wall clock, microseconds since the epoch.
    pub fn snapshot(&self, now_us: i64) -> StatusSnapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (rows_read, rows_settled) = (get(&self.rows_read), get(&self.rows_settled));
        let commit_time_us = self.commit_time_us.load(Ordering::Relaxed);
        let behind = get(&self.behind_bytes);
        StatusSnapshot {
            name: self.name.clone(),
            state: lock(&self.state).clone(),
            tables: *lock(&self.tables),
            rows_read,
            rows_settled,
            rows_dropped: get(&self.rows_dropped),
            bytes_read: get(&self.bytes_read),
            dead_letters: get(&self.dead_letters),
            retries: get(&self.retries),
            lag_seconds: match (self.is_caught_up(), commit_time_us) {
                (true, _) => Some(0.0),
                (false, 0) => None,
                (false, t) => Some((now_us - t).max(0) as f64 / 1e6),
            },
            lag_bytes: (behind != u64::MAX).then_some(behind),
            position: self.position(),
        }
    }
}

/// [`PipelineStatus`] at one moment.
#[derive(Clone, Debug)]
pub struct StatusSnapshot {
    pub name: String,
    pub state: State,
    /// While tables are being read.
    pub tables: Option<TablesRead>,
    pub rows_read: u64,
    pub rows_settled: u64,
    pub rows_dropped: u64,
    pub bytes_read: u64,
    pub dead_letters: u64,
    pub retries: u64,
    /// Between the commit at the source and its settling; zero when caught up, `None` before the first row.
    pub lag_seconds: Option<f64>,
    pub lag_bytes: Option<u64>,
    /// The flushed cursor.
    pub position: Option<Position>,
}

/// A panic elsewhere does not make the counters unreadable.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the lag of a pipeline that read a transaction twice would grow for as long as its source is idle.
    #[test]
    fn rows_that_are_read_again_do_not_lag_for_good() {
        let status = PipelineStatus::new("p");
        status.rows_read.fetch_add(5, Ordering::Relaxed);
        status.settled(2, 1);
        status.begin_again();
        status.rows_read.fetch_add(3, Ordering::Relaxed);
        status.set_behind(Some(0), true);
        assert_eq!(status.snapshot(9_000_001).lag_seconds, Some(9.0));
        status.settled(3, 1);
        assert_eq!(status.snapshot(9_000_001).lag_seconds, Some(0.0));
    }

    #[test]
    fn the_lag_grows_while_the_source_is_away() {
        let status = PipelineStatus::new("p");
        status.source_is_away(1_000_000);
        assert_eq!(status.snapshot(2_000_000).lag_seconds, None);
        status.set_behind(Some(0), true);
        for _ in 0..2 {
            status.source_is_away(5_000_000);
        }
        let snapshot = status.snapshot(8_000_000);
        assert_eq!((snapshot.lag_seconds, snapshot.lag_bytes), (Some(3.0), None));
        status.set_behind(Some(0), true);
        assert_eq!(status.snapshot(9_000_000).lag_seconds, Some(0.0));
    }
}
