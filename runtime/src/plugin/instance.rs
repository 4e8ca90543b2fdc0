//! One running instance of a plugin: its store, limits and log, and the three calls.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Store, Trap, WasmBacktrace};

use super::bindings::{self, exports::tidegate::plugin::transform as wit, tidegate::plugin::host, tidegate::plugin::types};
use super::engine::{Plugin, Shared, TICK};
use super::error::{Fault, PluginError};
use super::memory::Limits;

/// Log entries of one call that are passed on, and bytes of one entry; the rest is counted.
const LOG_ENTRIES_MAX: usize = 100;
const LOG_BYTES_MAX: usize = 4096;
/// Entries that an error repeats.
const LOG_TAIL_MAX: usize = 10;
/// Bytes of a guest's message that an error shows.
pub(super) const MESSAGE_BYTES_MAX: usize = 1000;

/// What belongs to a store: the host's side of one instance.
pub(super) struct Guest {
    name: Arc<str>,
    limits: Limits,
    /// Entries of the current call.
    entries: usize,
    /// The last of them, for errors.
    tail: std::collections::VecDeque<String>,
}

impl host::Host for Guest {
    fn log(&mut self, level: host::Level, mut message: String) {
        self.entries += 1;
        if self.entries > LOG_ENTRIES_MAX {
            return;
        }
        truncate(&mut message, LOG_BYTES_MAX);
        match level {
            host::Level::Debug => tracing::debug!(plugin = &*self.name, "{message}"),
            host::Level::Info => tracing::info!(plugin = &*self.name, "{message}"),
            host::Level::Warn => tracing::warn!(plugin = &*self.name, "{message}"),
            host::Level::Error => tracing::error!(plugin = &*self.name, "{message}"),
        }
        if self.tail.len() == LOG_TAIL_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(message);
    }
}

impl types::Host for Guest {}

/// Cut at a character boundary, with a mark.
pub(super) fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
}

/// A plugin at work, in a store of its own. After a crash the store is gone and every call says [`Fault::Dead`].
pub struct Instance {
    shared: Arc<Shared>,
    alive: Option<(Store<Guest>, bindings::Plugin)>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("plugin", &self.shared.name).field("alive", &self.alive.is_some()).finish()
    }
}

impl Instance {
    pub(super) fn new(plugin: &Plugin) -> Result<Instance, PluginError> {
        let shared = Arc::clone(&plugin.shared);
        let limits = Limits::new(shared.memory_bytes_max);
        let guest = Guest { name: Arc::clone(&shared.name), limits, entries: 0, tail: Default::default() };
        let mut store = Store::new(shared.pre.engine(), guest);
        store.limiter(|guest| &mut guest.limits);
        // What an answer may make the host allocate: lists can overlap in the guest's memory.
        store.set_hostcall_fuel(shared.memory_bytes_max);
        let mut instance = Instance { shared, alive: None };
        store.set_epoch_deadline(ticks(instance.shared.call_time_max));
        match instance.shared.pre.instantiate(&mut store) {
            Ok(bindings) => instance.alive = Some((store, bindings)),
            Err(error) => {
                let fault = fault(&error, "start", &store, &instance.shared);
                return Err(PluginError { plugin: Arc::clone(&instance.shared.name), relation: None, fault });
            }
        }
        let config = instance.shared.config.clone();
        instance
            .call("configure", |store, guest| guest.call_configure(store, &config))
            .and_then(|answer| answer.map_err(|message| Fault::Configure(short(message))))
            .map_err(|fault| PluginError { plugin: Arc::clone(plugin.name()), relation: None, fault })?;
        Ok(instance)
    }

    /// False: it has crashed.
    pub(super) fn is_alive(&self) -> bool {
        self.alive.is_some()
    }

    /// Another instance of the same plugin.
    pub(super) fn anew(&self) -> Result<Instance, PluginError> {
        Instance::new(&Plugin { shared: Arc::clone(&self.shared) })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// Its linear memory; 0 once it is dead.
    pub(super) fn memory_bytes(&self) -> usize {
        self.alive.as_ref().map_or(0, |(store, _)| store.data().limits.bytes())
    }

    pub(super) fn sha256(&self) -> &str {
        &self.shared.version.sha256
    }

    /// What a guest may hold, and make the host hold.
    pub(super) fn memory_bytes_max(&self) -> usize {
        self.shared.memory_bytes_max
    }

    pub(super) fn bind(&mut self, relation: types::Relation<'_>) -> Result<Option<wit::Plan>, Fault> {
        self.call("bind", |store, guest| guest.call_bind(store, relation))?.map_err(|message| Fault::Bind(short(message)))
    }

    pub(super) fn process(&mut self, relation: u32, rows: types::Batch<'_>) -> Result<wit::Outcome, Fault> {
        self.call("process", |store, guest| guest.call_process(store, relation, rows))?
            .map_err(|message| Fault::Reported(short(message)))
    }

    fn call<R>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(&mut Store<Guest>, &wit::Guest) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        let (store, bindings) = self.alive.as_mut().ok_or(Fault::Dead)?;
        store.data_mut().entries = 0;
        store.set_epoch_deadline(ticks(self.shared.call_time_max));
        let answer = call(store, bindings.tidegate_plugin_transform());
        let unseen = store.data().entries.saturating_sub(LOG_ENTRIES_MAX);
        if unseen > 0 {
            tracing::warn!(plugin = &*self.shared.name, "{unseen} more log entries in one {name} call were left out");
        }
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let fault = fault(&error, name, store, &self.shared);
        self.alive = None;
        Err(fault)
    }
}

/// One tick more than the time, for the one that is running.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX / 2).saturating_add(1)
}

fn short(mut message: String) -> String {
    truncate(&mut message, MESSAGE_BYTES_MAX);
    message
}

/// What a failed call means.
fn fault(error: &wasmtime::Error, call: &'static str, store: &Store<Guest>, shared: &Shared) -> Fault {
    let mut log = String::new();
    for entry in &store.data().tail {
        let _ = write!(log, "\n  log: {entry}");
    }
    let cause = error.root_cause().to_string();
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::Deadline { call, limit: shared.call_time_max, log },
        None if cause.contains("forcing trap when growing memory") || cause.contains("memory minimum size") => {
            Fault::Memory { call, limit: shared.memory_bytes_max, log }
        }
        None if cause.contains("fuel allocated for hostcalls") => {
            Fault::Malformed(format!("it holds more than {} bytes", shared.memory_bytes_max))
        }
        _ => {
            let mut trap = short(cause);
            if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
                let _ = write!(trap, "\n{backtrace}");
            }
            trap.push_str(&log);
            Fault::Trap { call, trap }
        }
    }
}
