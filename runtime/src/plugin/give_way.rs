//! Guests that compute for long, or fail as a whole, give way: their thread goes on with a low priority, so that whoever else wants its core has
//! it. They lose nothing where a core is free.
//!
//! Nobody without special rights can raise a priority again. So only threads do this that belong to a lane alone, which goes on with another
//! one when its guests have done neither for a while.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

use super::engine::TICK;

/// Beside one other thread, three percent of a core (weights of the kernel's scheduler: 36 to 1024): others hardly feel it, and it gets on.
const NICE: i32 = 15;
/// For so long a thread goes on with it after the last reason.
const REST: Duration = Duration::from_secs(1);
/// How often a call that takes long is looked at, and what it may compute before it gives way.
const LOOK: Duration = Duration::from_millis(30);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Thread {
    /// Also runs what has nothing to do with guests.
    Shared,
    OfLane,
    /// Last at this time.
    GaveWay(Instant),
}

thread_local! {
    static THREAD: Cell<Thread> = const { Cell::new(Thread::Shared) };
}

/// The calling thread ends soon after it has given way.
pub fn may_give_way() {
    THREAD.set(Thread::OfLane);
}

/// The calling thread has given way, and for no reason of late: it is to be replaced.
pub fn is_rested() -> bool {
    matches!(THREAD.get(), Thread::GaveWay(last) if last.elapsed() >= REST)
}

fn has_given_way() -> bool {
    matches!(THREAD.get(), Thread::GaveWay(_))
}

pub(super) fn give_way() {
    match THREAD.get() {
        Thread::Shared => {}
        // Of the calling thread alone, on Linux. Where it fails, the guest takes its share as before.
        Thread::OfLane if setpriority_process(None, NICE).is_err() => {}
        Thread::OfLane | Thread::GaveWay(_) => THREAD.set(Thread::GaveWay(Instant::now())),
    }
}

/// How long a lane's guests have been at something. Where they have given way, what others had of the core meanwhile does not count, unless they
/// wait for something outside.
#[derive(Debug)]
pub(super) struct Spent {
    since: Instant,
    computed: Duration,
}

impl Spent {
    pub(super) fn begin() -> Spent {
        Spent { since: Instant::now(), computed: computed() }
    }

    pub(super) fn time(&self, waits: bool) -> Duration {
        if has_given_way() && !waits { computed().saturating_sub(self.computed) } else { self.since.elapsed() }
    }
}

/// How long one call has taken, of what it may take.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    limit: Duration,
    looked: Option<Look>,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    /// What the thread had computed.
    computed: Duration,
    /// The same at the first look.
    first: Duration,
    /// When the call is to end.
    end: Instant,
}

impl Stopwatch {
    /// A call begins: in so many ticks it is looked at.
    pub(super) fn begin(&mut self, limit: Duration) -> u64 {
        *self = Stopwatch { limit, looked: None };
        ticks(LOOK.min(limit))
    }

    /// `waits`: it may be waiting for something outside, and not for a core.
    pub(super) fn look(&mut self, waits: bool) -> UpdateDeadline {
        let (at, computed) = (Instant::now(), computed());
        let mut look = match self.looked {
            Some(before) => before,
            None => Look { at, computed, first: computed, end: at + self.limit.saturating_sub(LOOK) },
        };
        if has_given_way() && !waits {
            // While others have the core, its time stands still: else an honest call would fail for what others do.
            look.end += (at - look.at).saturating_sub(computed.saturating_sub(look.computed));
        }
        if computed.saturating_sub(look.first) >= LOOK {
            give_way();
        }
        (look.at, look.computed) = (at, computed);
        self.looked = Some(look);
        match look.end.saturating_duration_since(at) {
            Duration::ZERO => UpdateDeadline::Interrupt,
            left => UpdateDeadline::Continue(ticks(LOOK.min(left))),
        }
    }
}

/// What the calling thread has, ever.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// One tick more than the time, for the one that is running.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX / 2).saturating_add(1)
}
