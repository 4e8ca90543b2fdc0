//! Guests that compute for long, or fail as a whole, give way: their thread goes on with a low priority, so that whoever else wants its core has
//! it. They lose nothing where a core is free. Those that used up their time have only what nobody wants.
//!
//! Nobody without special rights can raise a priority again. So only threads do this that belong to a lane alone, which goes on with another
//! one when its guests have done neither for a while.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

use super::engine::TICK;

/// Beside one other thread, three percent of a core (weights of the kernel's scheduler: 36 to 1024): others hardly feel it, and it gets on.
const NICE: i32 = 15;
/// It keeps a core for so long when another thread wakes up. By itself the kernel (since 6.12; those before pass over this) would have that one
/// wait for the end of a slice of some milliseconds.
#[cfg(target_os = "linux")]
const SLICE: Duration = Duration::from_micros(100);
/// For so long a thread goes on with it after the last reason.
const REST: Duration = Duration::from_secs(1);
/// How often a call that takes long is looked at, and what it may compute before it gives way.
const LOOK: Duration = Duration::from_millis(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Priority {
    Low,
    /// Only what nobody else wants. Whoever waits for a lock that the thread holds may have to wait for that, too: it is for guests that compute
    /// without end, which hold none.
    Idle,
}

thread_local! {
    /// The thread does nothing but run a lane.
    static IS_OF_LANE: Cell<bool> = const { Cell::new(false) };
    /// The priority that it has, and when there was a reason last.
    static GAVE_WAY: Cell<Option<(Priority, Instant)>> = const { Cell::new(None) };
}

/// The calling thread ends soon after it has given way.
pub fn may_give_way() {
    IS_OF_LANE.set(true);
}

/// The calling thread has given way, and for no reason of late: it is to be replaced.
pub fn is_rested() -> bool {
    GAVE_WAY.get().is_some_and(|(_, last)| last.elapsed() >= REST)
}

fn has_given_way() -> bool {
    GAVE_WAY.get().is_some()
}

pub(super) fn give_way() {
    lower_to(Priority::Low);
}

fn lower_to(priority: Priority) {
    if !IS_OF_LANE.get() {
        return;
    }
    let so_far = GAVE_WAY.get().map(|(priority, _)| priority);
    // Where it cannot be done, the guest takes its share as before.
    if so_far >= Some(priority) || set_priority(priority) {
        GAVE_WAY.set(Some((so_far.map_or(priority, |so_far| so_far.max(priority)), Instant::now())));
    }
}

/// Of the calling thread alone: sched_setattr(2), and sched(7). False: it cannot be done.
#[cfg(target_os = "linux")]
fn set_priority(priority: Priority) -> bool {
    let policy = match priority {
        Priority::Low => libc::SCHED_OTHER,
        Priority::Idle => libc::SCHED_IDLE,
    };
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: policy as u32,
        sched_flags: 0,
        sched_nice: NICE,
        sched_priority: 0,
        sched_runtime: SLICE.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: it reads as many bytes as `size` says.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) == 0 }
}

/// Elsewhere priorities are those of processes.
#[cfg(not(target_os = "linux"))]
fn set_priority(_: Priority) -> bool {
    false
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
            Duration::ZERO => {
                lower_to(Priority::Idle);
                UpdateDeadline::Interrupt
            }
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
