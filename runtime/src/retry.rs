//! How long to wait before something is tried again: growing, capped, with jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Delays of one series of tries.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    max: Duration,
    tries: u32,
}

/// For servers that are away: from 100 ms to 10 s.
impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(10))
    }
}

impl Backoff {
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Backoff { next: first, max, tries: 0 }
    }

    /// Delays given so far.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Twice the last delay, up to the maximum, then between half of that and all of it.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (self.next * 2).min(self.max);
        self.tries += 1;
        // Each RandomState has new keys: random enough to keep many clients apart.
        let share = RandomState::new().hash_one(self.tries) % 1000;
        delay / 2 + delay.mul_f64(share as f64 / 2000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let delays: Vec<Duration> = (0..10).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] >= Duration::from_millis(50) && delays[0] <= Duration::from_millis(100));
        assert!(delays[9] >= Duration::from_millis(500) && delays[9] <= Duration::from_secs(1));
    }
}
