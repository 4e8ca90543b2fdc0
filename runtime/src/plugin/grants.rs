//! What a plugin may have besides its rows, by the manifest's `allow`: which interfaces of WASI 0.2 its linker gets, and what is behind them.
//!
//! An interface that is not granted is not linked, so that a component which imports it is refused before it runs. What is
//! granted shows no more than it must: of the environment the variables that are named, of the command line nothing.

use std::sync::Arc;

use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::WasiCliView;
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings::{cli, clocks, random};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;
use wasmtime_wasi_io::bindings::wasi::io;

use super::engine::Shared;
use super::error::Fault;
use super::http::Requests;
use super::instance::Guest;
use crate::manifest::grant::Grant;

/// What every plugin has; `types` holds types alone.
const OWN: [&str; 3] = ["tidegate:plugin/host@0.1.0", "tidegate:plugin/types@0.1.0", super::state::INTERFACE];

/// Most things (pollables, requests, headers, …) that an instance may hold at the host, and bytes that it may ask for by chance at once.
const RESOURCES_MAX: usize = 10_000;
const RANDOM_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of one set of headers.
const FIELDS_BYTES_MAX: usize = 64 << 10;

/// Whether an import is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every plugin has it, or the manifest grants it.
    Granted,
    /// The `allow` that would grant it.
    ByGrant(&'static str),
    Never,
}

/// `import`: with its version, as the component has it.
pub(super) fn access(import: &str, allow: &[Grant]) -> Access {
    if OWN.contains(&import) {
        return Access::Granted;
    }
    let givers: &[&str] = match import.split_once('@') {
        Some((interface, version)) if version.starts_with("0.2.") => match interface {
            "wasi:clocks/wall-clock" | "wasi:clocks/monotonic-clock" => &["clock"],
            "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => &["random"],
            "wasi:cli/environment" => &["env:NAME"],
            "wasi:http/types" | "wasi:http/outgoing-handler" => &["http:HOST"],
            // What waiting takes, for a clock as well.
            "wasi:io/poll" => &["clock", "http:HOST"],
            "wasi:io/error" | "wasi:io/streams" => &["http:HOST"],
            _ => &[],
        },
        _ => &[],
    };
    let word = |grant: &Grant| match grant {
        Grant::Clock => "clock",
        Grant::Random => "random",
        Grant::Env(_) => "env:NAME",
        Grant::Http(_) => "http:HOST",
    };
    if allow.iter().any(|grant| givers.contains(&word(grant))) {
        return Access::Granted;
    }
    givers.first().map_or(Access::Never, |giver| Access::ByGrant(giver))
}

/// True if a call of it waits for something outside: such a guest is called in a way that a wait can be given up.
pub(super) fn waits(import: &str) -> bool {
    import.starts_with("wasi:io/") || import.starts_with("wasi:http/")
}

/// Links what is granted, and nothing else.
pub(super) fn link(linker: &mut Linker<Guest>, allow: &[Grant]) -> wasmtime::Result<()> {
    let has = |what: fn(&Grant) -> bool| allow.iter().any(what);
    if has(|grant| *grant == Grant::Clock) {
        clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, WasiClocksView::clocks)?;
        clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, WasiClocksView::clocks)?;
    }
    let (waits, requests) = (has(|grant| *grant == Grant::Clock), has(|grant| matches!(grant, Grant::Http(_))));
    if waits || requests {
        io::poll::add_to_linker::<_, Io>(linker, IoView::table)?;
    }
    if requests {
        io::error::add_to_linker::<_, Io>(linker, IoView::table)?;
        io::streams::add_to_linker::<_, Io>(linker, IoView::table)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    }
    if has(|grant| *grant == Grant::Random) {
        random::random::add_to_linker::<_, WasiRandom>(linker, WasiRandomView::random)?;
        random::insecure::add_to_linker::<_, WasiRandom>(linker, WasiRandomView::random)?;
        random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, WasiRandomView::random)?;
    }
    if has(|grant| matches!(grant, Grant::Env(_))) {
        cli::environment::add_to_linker::<_, wasmtime_wasi::cli::WasiCli>(linker, WasiCliView::cli)?;
    }
    Ok(())
}

struct Io;

impl wasmtime::component::HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

/// The variables that are granted, with their values as they are now.
pub(super) fn environment(allow: &[Grant]) -> Result<Vec<(String, String)>, Fault> {
    let names = allow.iter().filter_map(|grant| match grant {
        Grant::Env(name) => Some(name),
        Grant::Clock | Grant::Random | Grant::Http(_) => None,
    });
    names
        .map(|name| match std::env::var(name) {
            Ok(value) => Ok((name.clone(), value)),
            Err(std::env::VarError::NotPresent) => Err(Fault::Variable { name: name.clone(), problem: "is not set" }),
            Err(std::env::VarError::NotUnicode(_)) => Err(Fault::Variable { name: name.clone(), problem: "is not UTF-8" }),
        })
        .collect()
}

/// The host's side of what one instance is granted.
pub(super) struct Granted {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    requests: Requests,
}

impl Granted {
    pub(super) fn new(shared: &Arc<Shared>) -> Granted {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES_MAX);
        let wasi = WasiCtx::builder().envs(&shared.environment).max_random_size(RANDOM_BYTES_MAX).build();
        Granted { wasi, table, http, requests: Requests::new(shared) }
    }

    /// A call begins.
    pub(super) fn begin(&mut self) {
        self.requests.begin();
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let Granted { table, http, requests, .. } = &mut self.granted;
        WasiHttpCtxView { ctx: http, table, hooks: requests }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.granted.wasi, table: &mut self.granted.table }
    }
}

impl IoView for Guest {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.granted.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_there_that_is_not_granted() {
        let clock = [Grant::Clock];
        assert_eq!(access("tidegate:plugin/host@0.1.0", &[]), Access::Granted);
        assert_eq!(access("tidegate:plugin/host@0.2.0", &clock), Access::Never);
        assert_eq!(access("wasi:clocks/wall-clock@0.2.0", &[]), Access::ByGrant("clock"));
        assert_eq!(access("wasi:clocks/wall-clock@0.2.9", &clock), Access::Granted);
        assert_eq!(access("wasi:clocks/wall-clock@0.3.0", &clock), Access::Never);
        assert_eq!(access("wasi:clocks/wall-clock", &clock), Access::Never);
        assert_eq!(access("wasi:random/random@0.2.0", &clock), Access::ByGrant("random"));
        for never in
            ["wasi:filesystem/types@0.2.0", "wasi:filesystem/preopens@0.2.0", "wasi:sockets/tcp@0.2.0", "wasi:cli/exit@0.2.0"]
        {
            assert_eq!(access(never, &[Grant::Clock, Grant::Random, Grant::Env("A".to_owned())]), Access::Never);
        }
    }
}
