//! For tests: code under millions of inputs that nobody meant. Each is made of its seed; none may panic, hang, or take memory without end.
//! The tests run some; `TIDEGATE_FUZZ_INPUTS` says how many (`make fuzz`), and `TIDEGATE_FUZZ_SEED` runs one alone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use crate::random::Random;

/// Inputs of an ordinary test run.
const INPUTS: u64 = 10_000;
/// What one input may have allocated at a time.
const BYTES_MAX: isize = 64 << 20;
/// Of the thread's own time: on a machine that others use, a clock on the wall tells nothing of the code.
const TIME_MAX: Duration = Duration::from_secs(2);

thread_local! {
    /// Bytes that this thread has allocated and not freed, and the most it had.
    static LIVE: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

impl Counting {
    fn count(bytes: isize) {
        let _ = LIVE.try_with(|live| {
            let (now, most) = live.get();
            let now = now + bytes;
            live.set((now, most.max(now)));
        });
    }
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        Counting::count(-(layout.size() as isize));
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::count(size as isize - layout.size() as isize);
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Says which seed it was if the code under test panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("TIDEGATE_FUZZ_SEED={}", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// How long this thread has had a CPU.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into the structure that it is given, and nowhere else.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Makes inputs, and runs each; says what they took.
pub fn attack<T>(make: impl Fn(&mut Random) -> T, mut run: impl FnMut(T)) {
    let seeds = match number("TIDEGATE_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_FUZZ_INPUTS").unwrap_or(INPUTS),
    };
    let (mut most, mut longest) = (0, Duration::ZERO);
    for seed in seeds.clone() {
        let named = Named(seed);
        let input = make(&mut Random::new(seed));
        let (live, _) = LIVE.get();
        LIVE.set((live, live));
        let began = thread_time();
        run(input);
        let took = thread_time() - began;
        let peak = LIVE.get().1 - live;
        assert!(peak < BYTES_MAX, "{peak} bytes");
        assert!(took < TIME_MAX, "{took:?}");
        (most, longest) = (most.max(peak), longest.max(took));
        drop(named);
    }
    println!("{} inputs: at most {most} bytes and {longest:?} of a CPU for one", seeds.end - seeds.start);
}
