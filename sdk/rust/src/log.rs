//! Log entries, which the host shows with the plugin's name. Never log row values.

use std::cell::Cell;

use crate::bindings::tidegate::plugin::host::{self, Level};

thread_local! {
    /// The row that the row view is at; `None`: not in a loop over rows.
    pub(crate) static ROW: Cell<Option<usize>> = const { Cell::new(None) };
}

pub fn debug(message: &str) {
    entry(Level::Debug, message);
}

pub fn info(message: &str) {
    entry(Level::Info, message);
}

pub fn warn(message: &str) {
    entry(Level::Warn, message);
}

pub fn error(message: &str) {
    entry(Level::Error, message);
}

fn entry(level: Level, message: &str) {
    if cfg!(target_arch = "wasm32") {
        host::log(level, message);
    } else {
        // A test on the host, where there is no component to ask.
        eprintln!("{level:?}: {message}");
    }
}

/// Done by [`export!`](crate::export). Without it a panic is a trap that says only `unreachable`.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let row = ROW.get().map(|row| format!(", row {row} of the batch")).unwrap_or_default();
        error(&format!("panic at {at}{row}: {}", panic.payload_as_str().unwrap_or("(no message)")));
    }));
}
