//! The manifest as it is written: what its tables and keys are, before names are resolved.
//!
//! The doc comments of keys are for the people who write manifests (see [`super::model`]).

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::model::{Batch, Delivery, OnDdl, OnRowError, Ordering, PluginConfig, SinkConfig, SourceConfig, Unrouted};

/// A Tidegate manifest: what is read, how it is changed on the way, and where it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Tidegate manifest")]
pub(super) struct ManifestFile {
    /// The folder of cursors and compiled plugins; relative to the manifest's folder. One process at a time.
    #[serde(default = "data_dir")]
    #[schemars(example = "/var/lib/tidegate")]
    pub data_dir: PathBuf,
    /// Where changes are read: `[source.NAME]`.
    #[serde(default)]
    pub source: BTreeMap<String, SourceConfig>,
    /// What changes pass through: `[plugin.NAME]`. May be left out.
    #[serde(default)]
    pub plugin: BTreeMap<String, PluginConfig>,
    /// Where changes are written: `[sink.NAME]`.
    #[serde(default)]
    pub sink: BTreeMap<String, SinkConfig>,
    /// Which source goes through which plugins into which sink: `[pipeline.NAME]`.
    #[serde(default)]
    pub pipeline: BTreeMap<String, PipelineConfig>,
}

fn data_dir() -> PathBuf {
    PathBuf::from("tidegate-data")
}

/// One source, its plugins, its sinks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PipelineConfig {
    /// Name of the source. Several pipelines may have the same: they share one connection.
    #[schemars(example = &"shop")]
    pub source: String,
    /// Names of the plugins, in the order in which changes pass through them. Default: none.
    #[serde(default)]
    #[schemars(example = ["mask"])]
    pub plugins: Vec<String>,
    /// Name of the sink that takes every change; or write `routes`.
    #[schemars(example = &"replica")]
    pub sink: Option<String>,
    /// Which topics go to which sinks: `[[pipeline.NAME.routes]]`; or write `sink`. A change goes to every route that takes it.
    pub routes: Option<Vec<RouteConfig>>,
    /// Which changes keep their order.
    #[serde(default)]
    pub ordering: Ordering,
    /// How many lanes work side by side. Default: the number of cores; 1 for `ordering = "global"` and `"transaction"`.
    #[schemars(range(min = 1, max = 256), example = 2)]
    pub lanes: Option<usize>,
    /// How often a change may arrive.
    #[serde(default)]
    pub delivery: Delivery,
    /// When a lane hands what it has collected to the sink: at the first of the three.
    #[serde(default)]
    pub batch: Batch,
    /// What happens with a row that a plugin or the sink can never take.
    #[serde(default)]
    pub on_row_error: OnRowError,
    /// Most changes that are set aside at a time; one more stops the pipeline. Default 10000.
    #[serde(default = "dead_letters_max")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub dead_letters_max: u64,
    /// What happens with a change whose topic no route takes.
    #[serde(default)]
    pub unrouted: Unrouted,
    /// What happens at a statement that defines a followed table: CREATE, ALTER, RENAME, DROP. One that takes rows away without logging them
    /// (DROP PARTITION; TRUNCATE, unless it is followed) always stops the pipeline.
    #[serde(default)]
    pub ddl: OnDdl,
}

/// Which topics go to a sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteConfig {
    /// Patterns of topics. A change's topic is `schema.table` until a plugin routes it elsewhere.
    #[schemars(length(min = 1), extend("x-form" = "topics"), example = ["shop.orders", "vip.*"])]
    pub topics: Vec<String>,
    /// Name of the sink.
    #[schemars(example = &"replica")]
    pub sink: String,
}

fn dead_letters_max() -> u64 {
    10_000
}
