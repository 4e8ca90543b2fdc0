//! How much the server is asked for: rows a second, and nothing while it is busy with others.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Pace;

/// The server's load is asked for no more often.
const LOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Shared by all that read tables of a pipeline.
#[derive(Debug)]
pub struct Throttle {
    pub pace: Pace,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Since when, and how many rows were read.
    paced: Option<(Instant, u64)>,
    /// When the load was asked for last,
    asked: Option<Instant>,
    /// and the threads that ran; `None`: not known yet.
    running: Option<u64>,
}

/// Whether something may be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Given,
    /// The server is too busy, or nobody knows yet.
    Denied,
    /// Nobody knows any more: the caller is to ask, and to say it with [`Throttle::saw`].
    Ask,
}

impl Throttle {
    pub fn new(pace: Pace) -> Throttle {
        Throttle { pace, inner: Mutex::default() }
    }

    /// How long to rest after so many rows.
    pub fn rest(&self, rows: u64) -> Duration {
        let Some(rate) = self.pace.rows_per_second else { return Duration::ZERO };
        let mut inner = self.lock();
        let (since, read) = inner.paced.get_or_insert_with(|| (Instant::now(), 0));
        *read += rows;
        let due = Duration::from_secs_f64(*read as f64 / rate.max(1) as f64);
        let rest = due.saturating_sub(since.elapsed());
        if rest.is_zero() {
            // Time in which nothing could be read is not made up for.
            inner.paced = None;
        }
        rest
    }

    pub(super) fn leave(&self, now: Instant) -> Leave {
        let Some(max) = self.pace.threads_running_max else { return Leave::Given };
        let mut inner = self.lock();
        if inner.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= LOAD_INTERVAL) {
            inner.asked = Some(now);
            return Leave::Ask;
        }
        if inner.running.is_some_and(|running| running <= max) { Leave::Given } else { Leave::Denied }
    }

    /// So many threads run. Says it where reading begins to rest, or goes on.
    pub(super) fn saw(&self, running: u64, source: &str) {
        let Some(max) = self.pace.threads_running_max else { return };
        let before = self.rests_at();
        self.lock().running = Some(running);
        match (before, self.rests_at()) {
            (None, Some(_)) => {
                tracing::info!(
                    source,
                    "reading tables rests: {running} threads run at the server, and threads_running_max is {max}"
                );
            }
            (Some(_), None) => tracing::info!(source, "reading tables goes on: {running} threads run at the server"),
            _ => {}
        }
    }

    /// The threads that run at the server, if they are too many.
    pub fn rests_at(&self) -> Option<u64> {
        self.lock().running.filter(|running| self.pace.threads_running_max.is_some_and(|max| *running > max))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { readers: 2, chunk_rows: 10, rows_per_second: None, threads_running_max: Some(5) };

    #[test]
    fn the_load_is_asked_for_once_a_second() {
        let throttle = Throttle::new(PACE);
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        assert_eq!((throttle.leave(begin), throttle.leave(begin)), (Leave::Ask, Leave::Denied));
        throttle.saw(5, "s");
        assert_eq!((throttle.leave(after(999)), throttle.rests_at()), (Leave::Given, None));
        assert_eq!((throttle.leave(after(1000)), throttle.leave(after(1001))), (Leave::Ask, Leave::Given));
        throttle.saw(6, "s");
        assert_eq!((throttle.leave(after(1002)), throttle.rests_at()), (Leave::Denied, Some(6)));
        assert_eq!((throttle.leave(after(2000)), throttle.leave(after(2001))), (Leave::Ask, Leave::Denied));
        throttle.saw(2, "s");
        assert_eq!((throttle.leave(after(2002)), throttle.rests_at()), (Leave::Given, None));
    }

    #[test]
    fn without_a_limit_nobody_asks() {
        let throttle = Throttle::new(Pace { threads_running_max: None, ..PACE });
        assert_eq!((throttle.leave(Instant::now()), throttle.rest(1 << 40)), (Leave::Given, Duration::ZERO));
    }
}
