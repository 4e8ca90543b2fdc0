//! Named places in the flow where a test can kill the process. Compiled out unless the feature `failpoints` is on.
//!
//! `TIDEGATE_FAILPOINT=name:n` sends SIGKILL to the process when it passes the place `name` for the n-th time. The places, in
//! flow order: [`NAMES`].

/// Every place, so that a test can visit them all.
pub const NAMES: [&str; 10] = [
    "segment-read",
    "row-decoded",
    "prepared-kept",
    "batch-sent",
    "plugin-done",
    "sink-before",
    "sink-after",
    "batch-settled",
    "cursor-before-flush",
    "cursor-flushed",
];

/// More places, which are passed while tables are read.
pub const TABLE_NAMES: [&str; 3] = ["chunk-arrived", "chunk-decoded", "chunk-sent"];

/// Those around a change of the target's tables.
pub const DDL_NAMES: [&str; 5] = ["ddl-read", "ddl-settled", "ddl-step", "ddl-step-done", "ddl-made"];

/// Those where plugins take the place of others.
pub const SWAP_NAMES: [&str; 2] = ["swap-sent", "swap-taken"];

/// Those around dead letters: kept, then delivered, remembered by plugins, and removed.
pub const LETTER_NAMES: [&str; 4] = ["letters-kept", "letter-delivered", "letter-remembered", "letter-removed"];

/// Passes the place `name`, which is one of these.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn pass(_name: &str) {}

#[cfg(feature = "failpoints")]
pub fn pass(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    debug_assert!(
        [&NAMES[..], &TABLE_NAMES, &DDL_NAMES, &SWAP_NAMES, &LETTER_NAMES].iter().any(|names| names.contains(&name)),
        "{name} is not in NAMES"
    );
    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("TIDEGATE_FAILPOINT").ok()?;
        let (name, count) = text.split_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    if let Some((armed, count)) = armed
        && armed == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *count
    {
        let _ = std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
        std::process::abort();
    }
}
