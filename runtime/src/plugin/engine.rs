//! The WebAssembly engine of the process, and plugins as loaded from a file: compiled (or taken from the cache), checked, ready to
//! be instantiated once a lane.
//!
//! Compiled code is kept in `<data_dir>/plugins/<sha256 of the component>-<engine hash>.cwasm`: our magic, the SHA-256 of the
//! code, the code as wasmtime serialises it. A file that does not match is compiled again and replaced.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, OptLevel, WasmBacktraceDetails};

use super::error::{Fault, PluginError};
use super::grants::{self, Access};
use super::instance::{Guest, Instance};
use super::log::LogRate;
use super::versions::{self, Version};
use super::{Limits, PluginConfig, bindings, http, shape, state};
use crate::manifest::grant::Grant;

/// How often deadlines are looked at.
pub(super) const TICK: Duration = Duration::from_millis(10);

pub(super) const TRANSFORM: &str = "tidegate:plugin/transform@0.1.0";
const PACKAGE: &str = "tidegate:plugin/";

/// Head of a file of compiled code: this, then the SHA-256 of the rest.
const MAGIC: &[u8; 8] = b"tgcwasm1";
const HEAD: usize = MAGIC.len() + 32;

/// Frames of a crashed guest that an error shows.
const FRAMES_MAX: usize = 12;

/// Compiling one of that size may take some tenths of a second, and one of megabytes many seconds: whoever waits is told for what.
const LARGE_BYTES_MIN: usize = 32 * 1024;

/// Exports of a component that is no plugin that an error shows.
const EXPORTS_MAX: usize = 3;

/// The most files of compiled code that are kept.
const CACHED_MAX: usize = 64;

/// One a process. Cheap to clone. A thread counts time for the deadlines as long as one of its clones or plugins lives.
#[derive(Clone, Debug)]
pub struct Engine {
    engine: wasmtime::Engine,
    cache: Option<PathBuf>,
    /// For [`Version`].
    settings_key: Arc<str>,
}

impl Engine {
    /// `cache`: the folder for compiled code; made if it is missing. `None`: compile at every start.
    ///
    /// Where a plugin crashes is told by its functions: their files and lines stand in the component's debug information, and reading that
    /// takes what its author wants it to take.
    pub fn new(cache: Option<&Path>) -> Result<Engine, PluginError> {
        Engine::with(cache, WasmBacktraceDetails::Disable)
    }

    /// The same for those who write plugins: files and lines are told, too.
    pub fn for_authors(cache: Option<&Path>) -> Result<Engine, PluginError> {
        Engine::with(cache, WasmBacktraceDetails::Enable)
    }

    fn with(cache: Option<&Path>, details: WasmBacktraceDetails) -> Result<Engine, PluginError> {
        let failed = |reason: String| PluginError { plugin: "*".into(), relation: None, fault: Fault::Engine(reason) };
        let mut config = Config::new();
        // Without it a call costs a third (docs of the plugin stage in ARCHITECTURE.md have the figures); guests are synchronous.
        config.concurrency_support(false);
        config.epoch_interruption(true);
        config.wasm_backtrace_details(details);
        config.wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES_MAX));
        config.cranelift_opt_level(OptLevel::Speed);
        let engine = wasmtime::Engine::new(&config).map_err(|e| failed(format!("{e:#}")))?;
        let weak = engine.weak();
        let tick = move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        };
        std::thread::Builder::new().name("plugin-clock".into()).spawn(tick).map_err(|e| failed(e.to_string()))?;
        Ok(Engine { engine, cache: cache.map(Path::to_owned), settings_key: versions::key(cache).into() })
    }

    /// Reads, compiles and checks a plugin. Takes seconds for a large component that is not in the cache.
    pub fn load(&self, config: &PluginConfig) -> Result<Plugin, PluginError> {
        let path = &config.path;
        match versions::read(path) {
            Ok(read) => self.load_bytes(config, &read.bytes),
            Err(source) => {
                let fault = Fault::Read { path: path.clone(), source };
                Err(PluginError { plugin: config.name.as_str().into(), relation: None, fault })
            }
        }
    }

    /// The same for a component that was read already.
    pub fn load_bytes(&self, config: &PluginConfig, bytes: &[u8]) -> Result<Plugin, PluginError> {
        let name: Arc<str> = config.name.as_str().into();
        self.load_checked(config, bytes, &name).map_err(|fault| PluginError { plugin: name, relation: None, fault })
    }

    fn load_checked(&self, config: &PluginConfig, bytes: &[u8], name: &Arc<str>) -> Result<Plugin, Fault> {
        let path = &config.path;
        let sha256 = sha256(bytes);
        if let Some(expected) = config.sha256.as_ref().filter(|expected| **expected != sha256) {
            return Err(Fault::Digest { path: path.clone(), expected: expected.clone(), found: sha256.clone() });
        }
        let refuse = |reason: String| Fault::NotAPlugin { path: path.clone(), reason };
        let component = self.component(name, path, bytes, &sha256)?;
        self.check_export(&component, path)?;
        self.check_imports(&component, &config.allow)?;
        let environment = grants::environment(&config.allow)?;
        let mut linker = Linker::<Guest>::new(&self.engine);
        bindings::PluginWithState::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)
            .map_err(|e| refuse(format!("{e:#}")))?;
        grants::link(&mut linker, &config.allow).map_err(|e| refuse(format!("{e:#}")))?;
        let pre =
            linker.instantiate_pre(&component).and_then(bindings::PluginWithStatePre::new).map_err(|e| refuse(format!("{e:#}")))?;
        Ok(Plugin {
            shared: Arc::new(Shared {
                name: Arc::clone(name),
                pre,
                config: config.config.to_string(),
                version: Version::new(config, &self.settings_key, sha256, bytes.len() as u64),
                limits: config.limits.clone(),
                environment,
                http: http::targets(&config.allow, &config.http)?.into(),
                waits: imports(&self.engine, &component).iter().any(|import| grants::waits(import)),
                keeps_state: imports(&self.engine, &component).iter().any(|import| import == state::INTERFACE),
                instances: AtomicUsize::new(0),
                log: LogRate::new(name, config.limits.log_rate_max),
            }),
        })
    }

    /// That it is a plugin, of a version that this host speaks.
    pub(super) fn check_export(&self, component: &Component, path: &Path) -> Result<(), Fault> {
        let ty = component.component_type();
        let exports: Vec<&str> = ty.exports(&self.engine).map(|(name, _)| name).collect();
        if exports.contains(&TRANSFORM) {
            return Ok(());
        }
        let path = path.to_owned();
        if let Some(found) = exports.iter().find(|name| name.starts_with(PACKAGE)) {
            return Err(Fault::OtherVersion { path, found: (*found).to_owned() });
        }
        let found: Vec<String> = exports.iter().take(EXPORTS_MAX).map(|name| format!("`{name}`")).collect();
        let found = if found.is_empty() { "nor anything else".to_owned() } else { format!("but {}", found.join(", ")) };
        Err(Fault::NotAPlugin { path, reason: format!("it does not export `{TRANSFORM}`, {found}") })
    }

    /// Names every import that the plugin may not have.
    fn check_imports(&self, component: &Component, allow: &[Grant]) -> Result<(), Fault> {
        let (mut refused, mut givers, mut is_never) = (Vec::new(), Vec::new(), false);
        for import in imports(&self.engine, component) {
            match grants::access(&import, allow) {
                Access::Granted => continue,
                Access::ByGrant(giver) if givers.contains(&giver) => {}
                Access::ByGrant(giver) => givers.push(giver),
                Access::Never => is_never = true,
            }
            refused.push(format!("`{import}`"));
        }
        if refused.is_empty() {
            return Ok(());
        }
        let hint = if is_never {
            "build it without WASI (Rust: target wasm32-unknown-unknown)".to_owned()
        } else {
            let givers: Vec<String> = givers.iter().map(|giver| format!("\"{giver}\"")).collect();
            format!("if it may have that, write at this plugin: allow = [{}]", givers.join(", "))
        };
        Err(Fault::RefusedImports { imports: refused.join(", "), hint })
    }

    pub(super) fn engine(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// Compiled, or taken from the cache. `sha256`: of the bytes.
    pub(super) fn component(&self, plugin: &str, path: &Path, bytes: &[u8], sha256: &str) -> Result<Component, Fault> {
        let refused = |reason: String| Fault::NotAPlugin { path: path.to_owned(), reason };
        let kept_in = self.cache.as_ref().map(|cache| {
            let mut hasher = DefaultHasher::new();
            self.engine.precompile_compatibility_hash().hash(&mut hasher);
            (cache, cache.join(format!("{sha256}-{:016x}.cwasm", hasher.finish())))
        });
        if let Some(component) = kept_in.as_ref().and_then(|(_, file)| self.cached(file)) {
            return Ok(component);
        }
        if let Some(reason) = shape::refusal(bytes) {
            return Err(refused(reason));
        }
        let (is_large, began) = (bytes.len() >= LARGE_BYTES_MIN, Instant::now());
        if is_large {
            let (file, kib) = (path.display(), bytes.len().div_ceil(1024));
            let once = if kept_in.is_some() { ": the next start finds it done" } else { "" };
            tracing::info!(plugin, %file, kib, "compiling the plugin{once}");
        }
        let component = Component::from_binary(&self.engine, bytes).map_err(|e| refused(format!("{e:#}")))?;
        if let Some((cache, file)) = kept_in {
            let kept = component.serialize().map_err(std::io::Error::other).and_then(|code| store(cache, &file, &code));
            // The cache only saves time: a full disk must not keep a plugin from running.
            if let Err(error) = kept {
                tracing::warn!("cannot keep compiled code in {}: {error}", file.display());
            }
        }
        if is_large {
            tracing::info!(plugin, ms = began.elapsed().as_millis() as u64, "compiled");
        }
        Ok(component)
    }

    fn cached(&self, file: &Path) -> Option<Component> {
        let bytes = std::fs::read(file).ok()?;
        let (head, code) = bytes.split_at_checked(HEAD)?;
        if head[..MAGIC.len()] != *MAGIC || head[MAGIC.len()..] != *Sha256::digest(code) {
            tracing::warn!("{} is damaged: compiling again", file.display());
            return None;
        }
        // SAFETY: the bytes are what this program serialised, whole (the digest says so), in a folder that only the user can
        // write to; wasmtime itself refuses code of another version or configuration.
        unsafe { Component::deserialize(&self.engine, code) }.ok()
    }
}

/// What a component imports; an interface of which it takes types alone is none.
pub(super) fn imports(engine: &wasmtime::Engine, component: &Component) -> Vec<String> {
    let works = |item: &ComponentItem| match item {
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).any(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
        }
        _ => true,
    };
    component.component_type().imports(engine).filter(|(_, item)| works(&item.ty)).map(|(name, _)| name.to_owned()).collect()
}

/// Written beside and renamed, so that a reader never sees half a file.
fn store(folder: &Path, file: &Path, code: &[u8]) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)?;
    prune(folder)?;
    let draft = file.with_extension(format!("{}.draft", std::process::id()));
    let written = std::fs::write(&draft, [MAGIC.as_slice(), &Sha256::digest(code), code].concat());
    let kept = written.and_then(|()| std::fs::rename(&draft, file));
    if kept.is_err() {
        // On a full disk a part of it would take the room that letters and cursors need.
        let _ = std::fs::remove_file(&draft);
    }
    kept
}

/// Removes the oldest files, so that at most [`CACHED_MAX`] are there after the next one.
fn prune(folder: &Path) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort_unstable();
    let excess = (files.len() + 1).saturating_sub(CACHED_MAX);
    files.iter().take(excess).try_for_each(|(_, path)| std::fs::remove_file(path))
}

/// In hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A loaded and checked plugin. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub name: Arc<str>,
    pub pre: bindings::PluginWithStatePre<Guest>,
    /// JSON.
    pub config: String,
    pub limits: Limits,
    /// The variables that it may have, with their values.
    pub environment: Vec<(String, String)>,
    /// The hosts that it may send requests to.
    pub http: Arc<[http::Target]>,
    /// It imports what waits: its calls can be given up while they do.
    pub waits: bool,
    /// It imports `state`.
    pub keeps_state: bool,
    /// How many there are.
    pub instances: AtomicUsize,
    pub log: LogRate,
    pub version: Version,
}

impl Plugin {
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// True if it may have a state.
    pub fn keeps_state(&self) -> bool {
        self.shared.keeps_state
    }

    /// True if it may send requests: what it is given is not for it alone.
    pub fn sends_requests(&self) -> bool {
        !self.shared.http.is_empty()
    }

    /// The same plugin with another `config`: what was loaded is not loaded again.
    pub fn with_config(&self, config: &serde_json::Value) -> Plugin {
        let Shared { name, pre, limits, environment, http, waits, keeps_state, version, .. } = &*self.shared;
        Plugin {
            shared: Arc::new(Shared {
                name: Arc::clone(name),
                pre: pre.clone(),
                config: config.to_string(),
                limits: limits.clone(),
                environment: environment.clone(),
                http: Arc::clone(http),
                waits: *waits,
                keeps_state: *keeps_state,
                instances: AtomicUsize::new(0),
                log: LogRate::new(name, limits.log_rate_max),
                version: version.clone(),
            }),
        }
    }

    /// Which file it is of, and with which settings it was loaded.
    pub fn version(&self) -> &Version {
        &self.shared.version
    }

    /// A fresh, configured instance: what says whether the plugin likes its `config`.
    pub fn instantiate(&self) -> Result<Instance, PluginError> {
        Instance::new(self)
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Plugin").field(&self.shared.name).finish()
    }
}
