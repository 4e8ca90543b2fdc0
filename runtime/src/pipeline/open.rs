//! From what the manifest says to what is opened: what pipelines share is opened by the first that needs it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, OnceCell};

use super::PipelineError;
use super::seat::Seat;
use crate::data_dir;
use crate::manifest::model::{Manifest, Pipeline, Plugin, Snapshot, Source, SourceConfig, Tls, WithoutKey};
use crate::manifest::pattern::Patterns;
use crate::manifest::start::Start as ManifestStart;
use crate::plugin::versions::{Chosen, Stamp, Versions, short};
use crate::plugin::{self, Engine, Limits, PluginConfig, PluginError};
use crate::sink::Sink;
use crate::source::mysql::{self, Address, SslMode};
use crate::source::snapshot::Pace;
use crate::source::{self, DefiniteError, SourceError, SourceKind, Start};

/// The sources and plugins of a run. Each is opened once, by the first pipeline that asks for it; others wait for it meanwhile.
pub struct Shared {
    pub manifest: Manifest,
    /// By name.
    sources: BTreeMap<String, OnceCell<Arc<source::Source>>>,
    pub engine: Engine,
    pub versions: Versions,
    /// By name, those that were loaded. One is loaded at a time.
    pub plugins: Mutex<HashMap<String, Loaded>>,
    /// Of the pipelines that run, and of some that have ended.
    seats: std::sync::Mutex<Vec<Arc<Seat>>>,
}

/// A plugin as it was loaded last.
pub struct Loaded {
    pub plugin: plugin::Plugin,
    /// The manifest's section.
    pub config: PluginConfig,
    /// Of its file. `None`: it could not be read, and an earlier component runs.
    pub stamp: Option<Stamp>,
}

impl Shared {
    pub fn new(manifest: &Manifest) -> Result<Shared, PluginError> {
        Ok(Shared {
            manifest: manifest.clone(),
            sources: manifest.sources.keys().map(|name| (name.clone(), OnceCell::new())).collect(),
            engine: Engine::new(Some(&manifest.data_dir.join("plugins")))?,
            versions: Versions::new(&manifest.data_dir),
            plugins: Mutex::default(),
            seats: std::sync::Mutex::default(),
        })
    }

    /// Waits while the source is away.
    pub async fn source(&self, source: &Source) -> Result<Arc<source::Source>, SourceError> {
        let open = || async {
            let config = source.open_config(&self.manifest)?;
            super::patience::patiently(|| source::Source::open(config.clone())).await.map(Arc::new)
        };
        self.sources[&source.name].get_or_try_init(open).await.cloned()
    }

    pub async fn plugin(&self, plugin: &Plugin) -> Result<plugin::Plugin, PipelineError> {
        let mut loaded = self.plugins.lock().await;
        if let Some(loaded) = loaded.get(&plugin.name) {
            return Ok(loaded.plugin.clone());
        }
        let (engine, versions, config) = (self.engine.clone(), self.versions.clone(), plugin.load_config());
        let load = move || load(&engine, &versions, config);
        let new = tokio::task::spawn_blocking(load).await??;
        let plugin = loaded.entry(plugin.name.clone()).or_insert(new).plugin.clone();
        Ok(plugin)
    }

    /// For the plugins of a pipeline that runs from now on.
    pub fn seat(&self, pipeline: &Arc<Pipeline>, sinks: &[(String, Arc<dyn Sink>)], plugins: Vec<plugin::Plugin>) -> Arc<Seat> {
        let seat = Arc::new(Seat::new(Arc::clone(pipeline), sinks.to_vec(), plugins, self.versions.clone()));
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&seat));
        seat
    }

    /// Of the pipelines that run.
    pub fn seats(&self) -> Vec<Arc<Seat>> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|seat| !seat.has_ended());
        seats.clone()
    }
}

/// Loads what a plugin is to run, and keeps it. Blocks for as long as it is compiled.
pub fn load(engine: &Engine, versions: &Versions, config: PluginConfig) -> Result<Loaded, PluginError> {
    let Chosen { bytes, stamp, is_back, ends_back } = versions.choose(&config)?;
    let plugin = engine.load_bytes(&config, &bytes)?;
    if let Some(why) = ends_back {
        versions.end_rollback(&config.name);
        tracing::warn!(plugin = config.name, "its rollback has ended: {why}");
    }
    if is_back {
        tracing::warn!(
            plugin = config.name,
            "runs {}, to which it was rolled back, until its file is another one, or `tidegate plugin reload {}`",
            short(&plugin.version().sha256),
            config.name
        );
    }
    if let Err(error) = versions.keep(&bytes) {
        tracing::warn!(plugin = config.name, "its component is not kept, and cannot be gone back to: {error}");
    }
    Ok(Loaded { plugin, config, stamp })
}

impl From<ManifestStart> for Start {
    fn from(start: ManifestStart) -> Start {
        match start {
            // What is in the tables then is read beside it.
            ManifestStart::Snapshot | ManifestStart::Now => Start::Now,
            ManifestStart::Earliest => Start::Earliest,
            ManifestStart::Gtid(set) => Start::Gtid(set),
            ManifestStart::File { file, offset } => Start::File { file, offset },
            ManifestStart::Time(time_us) => Start::Time(time_us),
        }
    }
}

impl Plugin {
    /// What the plugin is loaded from.
    pub fn load_config(&self) -> PluginConfig {
        PluginConfig {
            name: self.name.clone(),
            path: self.config.path.clone(),
            config: self.config.config.clone(),
            limits: Limits {
                memory_bytes_max: self.config.memory.0 as usize,
                output_bytes_max: self.config.output.0 as usize,
                call_time_max: self.config.time.0,
                instances_max: self.config.instances,
                state_bytes_max: self.config.state.0 as usize,
                log_rate_max: self.config.log_rate,
            },
            allow: self.config.allow.clone(),
            http: self.config.http_configs(),
            sha256: self.config.sha256.as_ref().map(|sha256| sha256.0.clone()),
        }
    }
}

impl Source {
    pub fn tables(&self) -> &Patterns {
        match &self.config {
            SourceConfig::Mysql(c) => &c.tables,
            SourceConfig::BinlogFiles(c) => &c.tables,
        }
    }

    pub fn without_key(&self) -> WithoutKey {
        match &self.config {
            SourceConfig::Mysql(c) => c.without_key,
            SourceConfig::BinlogFiles(c) => c.without_key,
        }
    }

    /// Where a pipeline without a cursor begins.
    pub fn start(&self) -> Start {
        let start = match &self.config {
            SourceConfig::Mysql(c) => &c.start,
            SourceConfig::BinlogFiles(c) => &c.start,
        };
        Start::from(start.clone())
    }

    /// A pipeline without a cursor reads the tables.
    pub fn reads_tables(&self) -> bool {
        matches!(&self.config, SourceConfig::Mysql(c) if c.start == ManifestStart::Snapshot)
    }

    /// How tables are read.
    pub fn pace(&self) -> Pace {
        let snapshot = match &self.config {
            SourceConfig::Mysql(c) => c.snapshot.clone(),
            SourceConfig::BinlogFiles(_) => Snapshot::default(),
        };
        let Snapshot { readers, chunk_rows, rows_per_second, threads_running_max, signal_table: _ } = snapshot;
        Pace { readers, chunk_rows, rows_per_second, threads_running_max }
    }

    /// What the source is opened with.
    pub fn open_config(&self, manifest: &Manifest) -> Result<source::SourceConfig, SourceError> {
        let kind = match &self.config {
            SourceConfig::Mysql(c) => {
                let mut addresses = Vec::new();
                for url in c.urls() {
                    let mut address = Address::parse(url.expose(), c.password.as_ref().map(|p| p.expose())).map_err(|e| {
                        let error = DefiniteError { problem: "the URL cannot be read".to_owned(), hint: e.to_string() };
                        SourceError::Definite { name: self.name.as_str().into(), error }
                    })?;
                    address.ssl_mode = match c.tls(url) {
                        Tls::Off => SslMode::Disabled,
                        Tls::Encrypt => SslMode::Required,
                        Tls::Verify => SslMode::VerifyIdentity,
                    };
                    address.ssl_ca.clone_from(&c.ca);
                    addresses.push(address);
                }
                let server_id = c.server_id.unwrap_or_else(|| mysql::default_server_id(&manifest.data_dir, &self.name));
                let signal = c.snapshot.signal_table.clone();
                SourceKind::MySql { addresses, server_id, reader: data_dir::identity(&manifest.data_dir), signal }
            }
            SourceConfig::BinlogFiles(c) => SourceKind::Files { paths: c.paths.clone() },
        };
        Ok(source::SourceConfig { name: self.name.clone(), kind })
    }
}
