//! The plugin stage: sandboxed WebAssembly components that transform, filter and route changes.
//!
//! It stands between a lane's batcher and the router. A lane owns a [`Chain`] of instances, so that plugins scale over cores and
//! never see a key's changes out of order. The interface is wit/v0.1: a plugin says once a relation what it wants of it (its
//! plan), then gets batches as raw Arrow buffers, projected to that, and returns patches.
//!
//! Invariants: this is the only module that knows wasmtime. Nothing from a guest is believed before it is checked. A guest has no
//! network, files or clock; its memory and the time of every call are limited. A row that a plugin dropped is seen by no later
//! one; it stays in the batch with an empty topic list, so that nothing is copied.

mod apply;
mod bench;
mod bindings;
mod chain;
mod derive;
mod divide;
mod engine;
mod error;
mod inspect;
mod instance;
mod lower;
mod memory;
mod plan;
mod vector;
pub mod versions;

use std::path::PathBuf;
use std::time::Duration;

pub use bench::{Bench, Times};
pub use chain::{Bound, Chain};
pub use divide::{DIVIDING_TIME_MAX, FAILURES_MAX, Find};
pub use engine::{Engine, Plugin};
pub use error::{Fault, PluginError, RowError};
pub use inspect::Inspected;

/// A plugin, as the manifest names it.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConfig {
    pub name: String,
    /// The component (`.wasm`).
    pub path: PathBuf,
    /// Handed to the plugin's `configure` as JSON.
    pub config: serde_json::Value,
    /// The most linear memory that one instance may have, and the most that one of its answers may hold. There is one instance a lane.
    pub memory_bytes_max: usize,
    /// The most time that one call may take.
    pub call_time_max: Duration,
    /// What the file must be, in hexadecimal digits; `None`: any.
    pub sha256: Option<String>,
}
