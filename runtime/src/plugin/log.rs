//! How many log entries a plugin may have: so many a second, those of all its instances together. What is left out is counted, and told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct LogRate {
    plugin: Arc<str>,
    rate_max: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    entries: u32,
    left_out: u64,
}

impl LogRate {
    pub(super) fn new(plugin: &Arc<str>, rate_max: u32) -> LogRate {
        let window = Mutex::new(Window { began: Instant::now(), entries: 0, left_out: 0 });
        LogRate { plugin: Arc::clone(plugin), rate_max, window }
    }

    /// True if one more entry may be shown.
    pub(super) fn admits(&self) -> bool {
        self.tell(false);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let is_within = window.entries < self.rate_max;
        if is_within {
            window.entries += 1;
        } else {
            window.left_out += 1;
        }
        is_within
    }

    /// Says how many entries were left out, once a second, or at the end.
    pub(super) fn tell(&self, is_end: bool) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_end && window.began.elapsed() < WINDOW {
            return;
        }
        let left_out = window.left_out;
        *window = Window { began: Instant::now(), entries: 0, left_out: 0 };
        drop(window);
        if left_out > 0 {
            tracing::warn!(
                plugin = &*self.plugin,
                "{left_out} log entries were left out: `log_rate` is {} a second",
                self.rate_max
            );
        }
    }
}

impl Drop for LogRate {
    fn drop(&mut self) {
        self.tell(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_are_admitted() {
        let rate = LogRate::new(&"noisy".into(), 3);
        assert_eq!((0..10).filter(|_| rate.admits()).count(), 3);
        rate.window.lock().unwrap().began -= WINDOW;
        assert_eq!((0..10).filter(|_| rate.admits()).count(), 3);
    }
}
