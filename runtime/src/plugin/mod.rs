//! The plugin stage: sandboxed WebAssembly components that transform, filter and route changes.
//!
//! It stands between a lane's batcher and the router. A lane owns a [`Chain`] of instances, so that plugins scale over cores and
//! never see a key's changes out of order. The interface is wit/v0.1: a plugin says once a relation what it wants of it (its
//! plan), then gets batches as raw Arrow buffers, projected to that, and returns patches.
//!
//! Invariants: this is the only module that knows wasmtime. Nothing from a guest is believed before it is checked. A guest has no
//! network, files or clock but what the manifest grants; all that it takes is limited. A row that a plugin dropped is seen by no later
//! one; it stays in the batch with an empty topic list, so that nothing is copied.

mod apply;
mod bench;
mod bindings;
mod chain;
mod derive;
mod divide;
mod engine;
mod error;
mod give_way;
mod grants;
mod http;
mod inspect;
mod instance;
mod log;
mod lower;
mod memory;
pub mod native;
mod plan;
mod reach;
mod shape;
mod state;
mod vector;
pub mod versions;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use bench::{Bench, Times};
pub use chain::{Bound, Chain};
pub use divide::{DIVIDING_TIME_MAX, FAILURES_MAX, Find};
pub use engine::{Engine, Plugin};
pub use error::{Fault, PluginError, RowError};
pub use give_way::{is_rested, may_give_way};
pub use grants::Access;
pub use http::HttpConfig;
pub use inspect::Inspected;
pub use state::StateChange;

use crate::manifest::grant::Grant;
use crate::manifest::model;
use crate::manifest::units::{ByteSize, TimeSpan};

/// A plugin, as the manifest names it.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConfig {
    pub name: String,
    /// The component (`.wasm`).
    pub path: PathBuf,
    /// Handed to the plugin's `configure` as JSON.
    pub config: serde_json::Value,
    pub limits: Limits,
    /// What it may have besides its rows.
    pub allow: Vec<Grant>,
    /// Of hosts that `allow` names.
    pub http: Vec<HttpConfig>,
    /// What the file must be, in hexadecimal digits; `None`: any.
    pub sha256: Option<String>,
}

/// What a plugin may take, of the host and of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The most linear memory that one instance may have. There is one instance a lane.
    pub memory_bytes_max: usize,
    /// The most that one answer may hold.
    pub output_bytes_max: usize,
    /// The most time that one call may take.
    pub call_time_max: Duration,
    /// The most instances at a time.
    pub instances_max: usize,
    /// The most that its state may hold, in one lane.
    pub state_bytes_max: usize,
    /// The most log entries a second, of all instances together.
    pub log_rate_max: u32,
}

impl Default for Limits {
    /// Those of a manifest that gives none.
    fn default() -> Limits {
        Limits {
            memory_bytes_max: model::plugin_memory().0 as usize,
            output_bytes_max: model::plugin_memory().0 as usize,
            call_time_max: model::plugin_time().0,
            instances_max: model::plugin_instances(),
            state_bytes_max: model::plugin_state().0 as usize,
            log_rate_max: model::plugin_log_rate(),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |bytes: usize| ByteSize(bytes as u64);
        write!(
            f,
            "{} of memory, {} an answer, {} of state, {} a call, {} instances, {} log entries a second",
            size(self.memory_bytes_max),
            size(self.output_bytes_max),
            size(self.state_bytes_max),
            TimeSpan(self.call_time_max),
            self.instances_max,
            self.log_rate_max
        )
    }
}
