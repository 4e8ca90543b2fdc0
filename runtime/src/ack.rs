//! The ack tracker: how far everything is settled, though batches settle in any order.
//!
//! Stands between the lanes and the cursor store. Pure: no clock, no I/O, no tokio. Reading passes transaction ends one after the
//! other; batches open in read order and settle in any order; what was passed before the oldest open batch is settled. A token
//! that is dropped unsettled stops the cursor for good: it never counts as delivered.
//!
//! Memory: one entry an open batch, however far reading goes on.

use std::collections::VecDeque;

/// What accumulates between two batches: the transactions that were passed.
pub trait Passed: Default {
    /// Takes in what was passed after `self`.
    fn append(&mut self, later: Self);
}

/// An open batch. Settling consumes it, so that none settles twice.
#[derive(Debug)]
#[must_use = "a batch that is never settled stops the cursor"]
pub struct Token(u64);

#[derive(Debug, Default)]
pub struct AckTracker<P> {
    /// Passed, and everything before it is settled; taken by [`AckTracker::take`].
    settled: Option<P>,
    /// Open batches in read order, each with what was passed after it opened and before the next one did.
    open: VecDeque<(u64, Option<P>)>,
    next: u64,
}

impl<P: Passed> AckTracker<P> {
    /// Opens a batch: call when its first row was read, before the end of that row's transaction is passed.
    pub fn open(&mut self) -> Token {
        let token = self.next;
        self.next += 1;
        self.open.push_back((token, None));
        Token(token)
    }

    /// Reading has passed the end of a transaction; `add` puts it into the accumulated progress.
    pub fn pass(&mut self, add: impl FnOnce(&mut P)) {
        let slot = self.open.back_mut().map_or(&mut self.settled, |(_, passed)| passed);
        add(slot.get_or_insert_default());
    }

    /// All rows of the batch are durable at the sink or filtered out.
    pub fn settle(&mut self, token: Token) {
        let at = self.open.partition_point(|(id, _)| *id < token.0);
        let Some((_, Some(passed))) = self.open.remove(at) else { return };
        let slot = match at.checked_sub(1) {
            Some(before) => &mut self.open[before].1,
            None => &mut self.settled,
        };
        slot.get_or_insert_default().append(passed);
    }

    /// What has become settled since the last call.
    pub fn take(&mut self) -> Option<P> {
        self.settled.take()
    }

    /// True when nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Passed for Vec<u32> {
        fn append(&mut self, later: Self) {
            self.extend(later);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Open,
        Pass,
        /// Settle the n-th open batch, modulo their number.
        Settle(usize),
        Drop(usize),
        Take,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Open),
            6 => Just(Step::Pass),
            4 => any::<usize>().prop_map(Step::Settle),
            1 => any::<usize>().prop_map(Step::Drop),
            2 => Just(Step::Take),
        ]
    }

    proptest! {
        /// The naive model keeps the whole history and finds the settled prefix anew each time.
        #[test]
        fn the_cursor_is_the_settled_prefix(steps in proptest::collection::vec(step(), 0..200)) {
            let mut tracker = AckTracker::<Vec<u32>>::default();
            let mut tokens: Vec<(Token, usize)> = Vec::new();
            // (passes before it opened, settled)
            let mut batches: Vec<(u32, bool)> = Vec::new();
            let (mut passes, mut taken) = (0u32, Vec::new());
            for step in steps {
                match step {
                    Step::Open => {
                        tokens.push((tracker.open(), batches.len()));
                        batches.push((passes, false));
                    }
                    Step::Pass => {
                        tracker.pass(|p| p.push(passes));
                        passes += 1;
                    }
                    Step::Settle(n) if !tokens.is_empty() => {
                        let (token, batch) = tokens.remove(n % tokens.len());
                        tracker.settle(token);
                        batches[batch].1 = true;
                    }
                    Step::Drop(n) if !tokens.is_empty() => drop(tokens.remove(n % tokens.len())),
                    Step::Settle(_) | Step::Drop(_) => {}
                    Step::Take => taken.extend(tracker.take().unwrap_or_default()),
                }
            }
            taken.extend(tracker.take().unwrap_or_default());
            let prefix = batches.iter().find(|(_, settled)| !settled).map_or(passes, |(at, _)| *at);
            prop_assert_eq!(taken, (0..prefix).collect::<Vec<_>>());
            prop_assert_eq!(tracker.is_idle(), batches.iter().all(|(_, settled)| *settled));
        }
    }
}
