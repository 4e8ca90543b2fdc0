//! One running instance of a plugin: its store, limits and log, and the three calls.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use wasmtime::component::{ComponentNamedList, Lift, Lower};
use wasmtime::error::Context;
use wasmtime::{Store, Trap, WasmBacktrace};

use super::bindings::{self, exports::tidegate::plugin::transform as wit, tidegate::plugin::host, tidegate::plugin::types};
use super::engine::{Plugin, Shared, TRANSFORM};
use super::error::{Fault, PluginError};
use super::give_way::{Stopwatch, give_way};
use super::grants::Granted;
use super::memory::{Limits, TooLarge};
use super::state::State;

/// Bytes of one log entry that are passed on.
const LOG_BYTES_MAX: usize = 4096;
/// Entries that an error repeats.
const LOG_TAIL_MAX: usize = 10;
/// Bytes of a crash that an error shows: names of functions are the guest's, and may have any length.
const TRAP_BYTES_MAX: usize = 8 << 10;
/// Bytes of a guest's message that an error shows.
pub(super) const MESSAGE_BYTES_MAX: usize = 1000;
/// So many log entries that `log_rate` leaves out are a reason to give way.
const FLOOD: u64 = 1000;

/// What belongs to a store: the host's side of one instance.
pub(super) struct Guest {
    shared: Arc<Shared>,
    limits: Limits,
    stopwatch: Stopwatch,
    pub(super) granted: Granted,
    /// During `process`, if the plugin has one.
    pub(super) state: Option<State>,
    /// The last log entries, for errors.
    tail: VecDeque<String>,
    entries_left_out: u64,
}

impl Guest {
    pub(super) fn output_bytes_max(&self) -> usize {
        self.shared.limits.output_bytes_max
    }
}

impl host::Host for Guest {
    fn log(&mut self, level: host::Level, mut message: String) {
        tame(&mut message, LOG_BYTES_MAX);
        if self.shared.log.admits() {
            let plugin = &*self.shared.name;
            // A line of its own would look like one of another writer.
            let message = message.replace('\n', "\n    ");
            match level {
                host::Level::Debug => tracing::debug!(plugin, "{message}"),
                host::Level::Info => tracing::info!(plugin, "{message}"),
                host::Level::Warn => tracing::warn!(plugin, "{message}"),
                host::Level::Error => tracing::error!(plugin, "{message}"),
            }
        } else {
            self.entries_left_out += 1;
            if self.entries_left_out.is_multiple_of(FLOOD) {
                give_way();
            }
        }
        if self.tail.len() == LOG_TAIL_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(message);
    }
}

impl types::Host for Guest {}

/// What a guest wrote, for logs and errors: cut at a character boundary, with a mark, and without what moves a terminal's cursor.
pub(super) fn tame(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
        // It may be kept, and all that the guest wrote with it.
        text.shrink_to_fit();
    }
    let moves = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(moves) {
        *text = text.chars().map(|c| if moves(c) { char::REPLACEMENT_CHARACTER } else { c }).collect();
    }
}

/// A plugin at work, in a store of its own. After a crash the store is gone and every call says [`Fault::Dead`].
pub struct Instance {
    seat: Seat,
    /// Of a plugin that keeps none: what an earlier version remembered, for a later one that does.
    state: Option<State>,
    /// What the host holds of its plans.
    plan_bytes: usize,
    alive: Option<(Store<Guest>, Exports)>,
}

/// How the three calls are reached.
enum Exports {
    Direct(bindings::PluginWithState),
    /// Of a plugin that may wait for something outside: by a stack of their own, so that they can be given up while they wait.
    Waiting(wasmtime::component::Instance),
}

/// One of the instances that a plugin may have.
struct Seat(Arc<Shared>);

impl Seat {
    fn take(shared: &Arc<Shared>) -> Result<Seat, Fault> {
        let limit = shared.limits.instances_max;
        let taken = shared.instances.fetch_update(Relaxed, Relaxed, |taken| (taken < limit).then_some(taken + 1));
        taken.map(|_| Seat(Arc::clone(shared))).map_err(|_| Fault::Instances { limit })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Relaxed);
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("plugin", self.name()).field("alive", &self.alive.is_some()).finish()
    }
}

impl Instance {
    /// With an empty state, if the plugin keeps one.
    pub(super) fn new(plugin: &Plugin) -> Result<Instance, PluginError> {
        let Shared { keeps_state, limits, .. } = &*plugin.shared;
        Instance::with_state(plugin, keeps_state.then(|| State::new(limits.state_bytes_max)))
    }

    fn with_state(plugin: &Plugin, state: Option<State>) -> Result<Instance, PluginError> {
        let failed = |fault| PluginError { plugin: Arc::clone(plugin.name()), relation: None, fault };
        let mut instance = Instance::start(&plugin.shared).map_err(failed)?;
        instance.configure().map_err(failed)?;
        instance.state = state;
        Ok(instance)
    }

    fn start(shared: &Arc<Shared>) -> Result<Instance, Fault> {
        let seat = Seat::take(shared)?;
        let limits = Limits::new(shared.limits.memory_bytes_max);
        let (granted, stopwatch) = (Granted::new(shared), Stopwatch::default());
        let guest = Guest {
            shared: Arc::clone(shared),
            limits,
            stopwatch,
            granted,
            state: None,
            tail: VecDeque::new(),
            entries_left_out: 0,
        };
        let mut store = Store::new(shared.pre.engine(), guest);
        store.limiter(|guest| &mut guest.limits);
        // What an answer may make the host allocate: lists can overlap in the guest's memory.
        store.set_hostcall_fuel(shared.limits.output_bytes_max);
        let waits = shared.waits;
        store.epoch_deadline_callback(move |mut guest| Ok(guest.data_mut().stopwatch.look(waits)));
        begin(&mut store, shared);
        let exports = if shared.waits {
            let instantiate = shared.pre.instance_pre().instantiate_async(&mut store);
            waiting(shared.limits.call_time_max, instantiate).map(Exports::Waiting)
        } else {
            shared.pre.instantiate(&mut store).map(Exports::Direct)
        };
        match exports {
            Ok(exports) => Ok(Instance { seat, state: None, plan_bytes: 0, alive: Some((store, exports)) }),
            Err(error) => Err(fault(&error, "start", &store, shared)),
        }
    }

    /// It may wait for something outside.
    pub(super) fn waits(&self) -> bool {
        self.seat.0.waits
    }

    /// False: it has crashed.
    pub(super) fn is_alive(&self) -> bool {
        self.alive.is_some()
    }

    /// Another instance of the same plugin, with this one's state.
    pub(super) fn anew(&self) -> Result<Instance, PluginError> {
        Instance::with_state(&Plugin { shared: Arc::clone(&self.seat.0) }, self.state.clone())
    }

    /// `None`: it keeps none.
    pub(super) fn state(&self) -> Option<&State> {
        self.state.as_ref().filter(|_| self.seat.0.keeps_state)
    }

    /// What the store has.
    pub(super) fn restore(&mut self, key: Box<[u8]>, value: Box<[u8]>) {
        let bytes_max = self.seat.0.limits.state_bytes_max;
        self.state.get_or_insert_with(|| State::new(bytes_max)).restore(key, value);
    }

    /// Goes on with the state of an earlier version of the plugin; with none, if there was none, whatever it has been tried with.
    pub(super) fn inherit(&mut self, earlier: Option<&Instance>) {
        let Shared { keeps_state, limits, .. } = &*self.seat.0;
        self.state = earlier.and_then(|earlier| earlier.state.clone());
        if *keeps_state {
            let state = self.state.get_or_insert_with(|| State::new(limits.state_bytes_max));
            state.set_bytes_max(limits.state_bytes_max);
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.seat.0.name
    }

    /// Its linear memory; 0 once it is dead.
    pub(super) fn memory_bytes(&self) -> usize {
        self.alive.as_ref().map_or(0, |(store, _)| store.data().limits.bytes())
    }

    pub(super) fn sha256(&self) -> &str {
        &self.seat.0.version.sha256
    }

    /// What an answer may make the host hold.
    pub(super) fn output_bytes_max(&self) -> usize {
        self.seat.0.limits.output_bytes_max
    }

    fn configure(&mut self) -> Result<(), Fault> {
        let shared = Arc::clone(&self.seat.0);
        let direct = |store: &mut Store<Guest>, guest: &wit::Guest, (config,): (&str,)| guest.call_configure(store, config);
        self.call("configure", (shared.config.as_str(),), direct)?.map_err(|message| Fault::Configure(short(message)))
    }

    pub(super) fn bind(&mut self, relation: types::Relation<'_>) -> Result<Option<wit::Plan>, Fault> {
        let direct = |store: &mut Store<Guest>, guest: &wit::Guest, (relation,): (_,)| guest.call_bind(store, relation);
        self.call("bind", (relation,), direct)?.map_err(|message| Fault::Bind(short(message)))
    }

    /// The plans of all tables that it is bound to have room in `output`.
    pub(super) fn hold_plan(&mut self, bytes: usize) -> Result<(), Fault> {
        self.plan_bytes = self.plan_bytes.saturating_add(bytes);
        let limit = self.output_bytes_max();
        if self.plan_bytes > limit {
            return Err(Fault::Plan(format!("columns and tables whose names take more than {limit} bytes (`output`)")));
        }
        Ok(())
    }

    /// The next plan may be one too many.
    pub(super) fn is_full_of_plans(&self) -> bool {
        self.plan_bytes > self.output_bytes_max() / 2
    }

    pub(super) fn process(&mut self, relation: u32, rows: types::Batch<'_>) -> Result<wit::Outcome, Fault> {
        let direct =
            |store: &mut Store<Guest>, guest: &wit::Guest, (relation, rows): (_, _)| guest.call_process(store, relation, rows);
        let state = self.state().cloned();
        if let Some((store, _)) = &mut self.alive {
            store.data_mut().state = state;
        }
        self.call("process", (relation, rows), direct)?.map_err(|message| Fault::Reported(short(message)))
    }

    /// What the guest answers: its own `Ok` or `Err`.
    fn call<P, A>(
        &mut self,
        name: &'static str,
        params: P,
        direct: impl FnOnce(&mut Store<Guest>, &wit::Guest, P) -> wasmtime::Result<Result<A, String>>,
    ) -> Result<Result<A, String>, Fault>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        A: Lift + Send + Sync + 'static,
    {
        let shared = &self.seat.0;
        let (store, exports) = self.alive.as_mut().ok_or(Fault::Dead)?;
        begin(store, shared);
        store.data_mut().granted.begin();
        let answer = match exports {
            Exports::Direct(guest) => direct(store, guest.tidegate_plugin_transform(), params),
            Exports::Waiting(instance) => waiting(shared.limits.call_time_max, async {
                let interface = instance.get_export_index(&mut *store, None, TRANSFORM);
                let function = instance.get_export_index(&mut *store, interface.as_ref(), name).context("an export is gone")?;
                let function = instance.get_typed_func::<P, (Result<A, String>,)>(&mut *store, function)?;
                function.call_async(&mut *store, params).await.map(|(answer,)| answer)
            }),
        };
        shared.log.tell(false);
        store.data_mut().state = None;
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let fault = fault(&error, name, store, shared);
        self.alive = None;
        Err(fault)
    }
}

/// Drives a call that may wait, for as long as it may take. The lane's thread is one that may block.
fn waiting<T>(time_max: Duration, call: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    let call = async {
        match tokio::time::timeout(time_max, call).await {
            Ok(answer) => answer,
            Err(_) => Err(Trap::Interrupt.into()),
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => tokio::task::block_in_place(|| runtime.block_on(call)),
        // A command of its own, as `tidegate plugin test`.
        Err(_) => wasmtime_wasi::runtime::in_tokio(call),
    }
}

/// The time of a call.
fn begin(store: &mut Store<Guest>, shared: &Shared) {
    let ticks = store.data_mut().stopwatch.begin(shared.limits.call_time_max);
    store.set_epoch_deadline(ticks);
}

fn short(mut message: String) -> String {
    tame(&mut message, MESSAGE_BYTES_MAX);
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
        Some(Trap::Interrupt) => Fault::Deadline { call, limit: shared.limits.call_time_max, log },
        None if error.is::<TooLarge>()
            || cause.contains("forcing trap when growing memory")
            || cause.contains("memory minimum size") =>
        {
            Fault::Memory { call, limit: shared.limits.memory_bytes_max, log }
        }
        None if cause.contains("fuel allocated for hostcalls") => match shared.limits.output_bytes_max {
            limit if call == "process" => Fault::Malformed(format!("it holds more than {limit} bytes")),
            limit => Fault::Output { call, limit },
        },
        _ => {
            let mut trap = short(cause);
            if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
                let _ = write!(trap, "\n{backtrace}");
            }
            tame(&mut trap, TRAP_BYTES_MAX);
            trap.push_str(&log);
            Fault::Trap { call, trap }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_writes_is_tamed() {
        let mut text = format!("é\u{1b}[2J\r{}", "x".repeat(1 << 20));
        tame(&mut text, 12);
        assert_eq!(text, "é\u{fffd}[2J\u{fffd}xxxxx…");
        assert!(text.capacity() < 100, "{}", text.capacity());
        let mut text = "line 1\n\tline 2".to_owned();
        tame(&mut text, 100);
        assert_eq!(text, "line 1\n\tline 2");
    }
}
