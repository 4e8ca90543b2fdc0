//! What a manifest holds. Sources, plugins and sinks have the form in which they are written; a pipeline has its names resolved.
//!
//! The doc comments of keys become the JSON Schema, the reference in `docs/manifest.md` and the hints of error messages, so they
//! are written for the people who write manifests. After loading every path is absolute, every `${…}` is replaced and every
//! default filled in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grant::{Grant, HttpHost};
use super::pattern::Patterns;
use super::secret::Secret;
use super::server_url::ServerUrl;
use super::start::Start;
use super::template::TableTemplate;
use super::units::{ByteSize, Sha256, TablePath, TimeSpan};
use crate::plugin::HttpConfig;

/// A manifest that was read and found correct.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The manifest itself; absolute.
    pub file: PathBuf,
    /// Where cursors and compiled plugins are kept; absolute.
    pub data_dir: PathBuf,
    pub sources: BTreeMap<String, Arc<Source>>,
    pub plugins: BTreeMap<String, Arc<Plugin>>,
    pub sinks: BTreeMap<String, Arc<Sink>>,
    /// In the order of their names.
    pub pipelines: Vec<Arc<Pipeline>>,
    /// What is odd, but not wrong; as people see it.
    pub warnings: Vec<String>,
    /// A hash of what each section says, by which it is seen that it says something else: `source.shop`, `data_dir`.
    pub sections: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub config: SourceConfig,
}

#[derive(Clone, Debug)]
pub struct Plugin {
    pub name: String,
    pub config: PluginConfig,
}

#[derive(Clone, Debug)]
pub struct Sink {
    pub name: String,
    pub config: SinkConfig,
}

/// One source, its plugins, its sinks.
#[derive(Clone, Debug)]
pub struct Pipeline {
    pub name: String,
    pub source: Arc<Source>,
    /// In the order in which changes pass through them.
    pub plugins: Vec<Arc<Plugin>>,
    /// At least one. `sink = "…"` is one route that takes every topic.
    pub routes: Vec<Route>,
    pub ordering: Ordering,
    /// At least 1; 1 for the orderings that have a single lane.
    pub lanes: usize,
    pub delivery: Delivery,
    pub batch: Batch,
    pub on_row_error: OnRowError,
    pub dead_letters_max: u64,
    pub unrouted: Unrouted,
    pub ddl: OnDdl,
}

#[derive(Clone, Debug)]
pub struct Route {
    pub topics: Patterns,
    pub sink: Arc<Sink>,
}

/// Which changes keep their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// Changes of one key; lanes by the hash of the key.
    #[default]
    Key,
    /// Changes of one table.
    Table,
    /// All changes: one lane.
    Global,
    /// All changes, and a source transaction is one target transaction: one lane.
    Transaction,
}

/// How often a change may arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// After a crash the last changes are written again, in order; written by key they end the same.
    #[default]
    AtLeastOnce,
    /// How far each lane is stands in the target, in the transaction that writes the data. SQL sinks only.
    ExactlyOnce,
}

/// What happens with a row that a plugin or the sink can never take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnRowError {
    /// The pipeline stops, and nothing after that row is settled.
    #[default]
    Stop,
    /// The change is set aside in `data_dir`, whole, and with it all later changes of its key, until `tidegate dead-letter` retries or drops
    /// it; the rest goes on. Not for `ordering = "global"` or `"transaction"`, where everything would have to wait.
    DeadLetter,
}

/// What happens with a change whose topic no route takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unrouted {
    /// The pipeline stops and names the topic.
    #[default]
    Stop,
    /// The change is left out, and counts as settled.
    Drop,
}

/// What happens at a statement that defines a followed table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnDdl {
    /// It is logged, and the rows behind it arrive with their new columns; the target's tables are left as they are.
    #[default]
    Ignore,
    /// The pipeline stops in front of it, with all before it settled, and tells the command to go on after it.
    Stop,
    /// The same is done at the target, behind all rows before it and in front of all rows after it; what cannot be done there exactly stops
    /// the pipeline. For sinks of type mysql, postgres and sqlite.
    Follow,
}

/// When a lane hands what it has collected to the sink: at the first of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Most rows in a batch. Default 1000. More hold more memory and settle later.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rows: usize,
    /// Most bytes in a batch, as the rows are long in the binlog. Default `"4MiB"`.
    pub bytes: ByteSize,
    /// Longest time that the first row of a batch waits for more. Default `"20ms"`.
    pub wait: TimeSpan,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { rows: 1000, bytes: ByteSize(4 << 20), wait: TimeSpan(std::time::Duration::from_millis(20)) }
    }
}

/// Where changes are read.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[schemars(extend("x-later" = later(&["poll", "change-table", "http", "kafka"], "this version reads \"mysql\" and \"binlog-files\"")))]
pub enum SourceConfig {
    /// A MySQL or MariaDB server, whose binlog is followed as a replica follows it.
    Mysql(MysqlSource),
    /// Binlog files on disk, read in the order of their numbers.
    BinlogFiles(BinlogFilesSource),
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MysqlSource {
    /// The server: `mysql://USER@HOST:PORT`. The user needs REPLICATION SLAVE, REPLICATION CLIENT, and SELECT on the tables.
    #[schemars(example = "mysql://tidegate@127.0.0.1:3306")]
    pub url: Option<Secret>,
    /// Instead of `url`: servers of one replication, in the order in which they are tried. Where one is away the next is read, from the
    /// same transaction on, by GTID.
    #[schemars(length(min = 1), example = ["mysql://tidegate@db1.example.org", "mysql://tidegate@db2.example.org"])]
    pub urls: Option<Vec<Secret>>,
    /// The user's password, where the URL has none.
    #[schemars(example = "${env:SHOP_PASSWORD}")]
    pub password: Option<Secret>,
    /// Whether the connection is encrypted. Default: `"verify"`, and `"off"` for a server on this machine.
    pub tls: Option<Tls>,
    /// File with the certificates (PEM) that sign the server's. Default: the public authorities.
    #[schemars(example = "certs/ca.pem")]
    pub ca: Option<PathBuf>,
    /// The tables to follow, as patterns of `schema.table`; `*` and `?` are wild, `!` takes out, and the last pattern that
    /// matches decides. Names with a dot stand in backticks. What gh-ost and pt-online-schema-change make beside a followed table (`_t_gho`,
    /// `_t_new`, `_t_old` and the like) is left out, unless its whole name stands here.
    #[schemars(example = ["shop.*", "!shop.tmp_*"])]
    pub tables: Patterns,
    /// Where to begin when a pipeline has no cursor yet. Default `"snapshot"`.
    #[serde(default = "snapshot")]
    pub start: Start,
    /// The number by which the server knows this replica: unique among its replicas. Default: made from
    /// `data_dir` and the source's name, and above 2^31.
    #[schemars(range(min = 1), example = 4711)]
    pub server_id: Option<u32>,
    /// Tables that have neither a primary key nor a unique key of NOT NULL columns.
    #[serde(default)]
    pub without_key: WithoutKey,
    /// How tables are read, at the start and by `tidegate snapshot`.
    #[serde(default)]
    pub snapshot: Snapshot,
}

/// How tables are read: how much the server is asked for at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Snapshot {
    /// Connections that read side by side. Default 2.
    #[schemars(range(min = 1, max = 64))]
    pub readers: usize,
    /// Most rows that one SELECT asks for; fewer where rows are long. Default 20000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub chunk_rows: usize,
    /// Most rows that are read in a second, by all readers together; those that the server passes over to find where to divide a table
    /// count, too. Default: as fast as the pipeline takes them.
    #[schemars(range(min = 1), example = 50_000)]
    pub rows_per_second: Option<u64>,
    /// Reading rests while the server has more than this many threads running (its status `Threads_running`, asked for once a second);
    /// a SELECT that is under way is not ended. At least `readers` + 2, which Tidegate and an idle server come to. Default: however busy
    /// the server is.
    #[schemars(range(min = 3), example = 25)]
    pub threads_running_max: Option<u64>,
    /// A table that the account may write to: `CREATE TABLE tidegate.signal (id INT PRIMARY KEY, n BIGINT NOT NULL)`. On a MySQL without
    /// GTIDs, a row that is written there before each chunk takes the place of the shared locks that reading takes else. It must
    /// not be among `tables`. Other servers need none. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "tidegate.signal")]
    pub signal_table: Option<TablePath>,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot { readers: 2, chunk_rows: 20_000, rows_per_second: None, threads_running_max: None, signal_table: None }
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BinlogFilesSource {
    /// The files, or patterns of them; relative to the manifest's folder.
    #[schemars(length(min = 1), example = ["binlogs/binlog.*"])]
    pub paths: Vec<String>,
    /// The tables to follow, as patterns of `schema.table`; `*` and `?` are wild, `!` takes out, and the last pattern that
    /// matches decides. Names with a dot stand in backticks. What gh-ost and pt-online-schema-change make beside a followed table (`_t_gho`,
    /// `_t_new`, `_t_old` and the like) is left out, unless its whole name stands here.
    #[schemars(example = ["shop.*", "!shop.tmp_*"])]
    pub tables: Patterns,
    /// Where to begin when a pipeline has no cursor yet. Default `"earliest"`: all there is.
    #[serde(default = "earliest")]
    #[schemars(schema_with = "super::start::of_files")]
    pub start: Start,
    /// Tables that have neither a primary key nor a unique key of NOT NULL columns.
    #[serde(default)]
    pub without_key: WithoutKey,
}

/// Names that a later version will know, with a hint for each.
fn later(names: &[&str], hint: &str) -> serde_json::Value {
    names.iter().map(|name| ((*name).to_owned(), hint.into())).collect::<serde_json::Map<_, _>>().into()
}

fn snapshot() -> Start {
    Start::Snapshot
}

fn earliest() -> Start {
    Start::Earliest
}

impl Source {
    /// The source for messages: which it is, and where.
    pub fn place(&self) -> String {
        match &self.config {
            SourceConfig::Mysql(c) => {
                let servers: Vec<String> = c.urls().filter_map(server_of).collect();
                place("source", &self.name, Some(servers.join(", ")))
            }
            SourceConfig::BinlogFiles(_) => place("source", &self.name, None),
        }
    }
}

impl Sink {
    /// The sink for messages: which it is, and where.
    pub fn place(&self) -> String {
        let at = match &self.config {
            SinkConfig::Mysql(c) | SinkConfig::Postgres(c) => server_of(&c.url),
            SinkConfig::Sqlite(SqliteSink { path, .. }) | SinkConfig::Jsonl(JsonlSink { path }) => Some(path.display().to_string()),
            SinkConfig::Null(_) => None,
        };
        place("sink", &self.name, at)
    }
}

fn place(kind: &str, name: &str, at: Option<String>) -> String {
    at.map_or_else(|| format!("{kind} `{name}`"), |at| format!("{kind} `{name}` at {at}"))
}

/// Host and port of a URL.
fn server_of(url: &Secret) -> Option<String> {
    let ServerUrl { host, port, .. } = ServerUrl::split(url.expose())?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Some(port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
}

impl MysqlSource {
    /// The servers, in the order in which they are tried.
    pub fn urls(&self) -> impl Iterator<Item = &Secret> {
        self.url.iter().chain(self.urls.iter().flatten())
    }

    /// How the connection to one of them is protected.
    pub fn tls(&self, url: &Secret) -> Tls {
        self.tls.unwrap_or_else(|| Tls::for_url(url))
    }
}

impl ServerSink {
    pub fn tls(&self) -> Tls {
        self.tls.unwrap_or_else(|| Tls::for_url(&self.url))
    }
}

impl Tls {
    /// What goes without saying: a password never travels unprotected to another machine.
    fn for_url(url: &Secret) -> Tls {
        match ServerUrl::split(url.expose()) {
            Some(url) if url.is_local() => Tls::Off,
            _ => Tls::Verify,
        }
    }
}

/// What to do with tables that have neither a primary key nor a unique key of NOT NULL columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutKey {
    /// `check` and `run` name them and stop. The default, because writing a keyless row again after a crash doubles it.
    #[default]
    Refuse,
    /// A row is found at the target by all its values, which takes a look at the whole table, and all changes of the table share one lane.
    WholeRow,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// Not encrypted.
    Off,
    /// Encrypted, but whoever answers is believed.
    Encrypt,
    /// Encrypted, and the certificate must be signed by an authority and carry the host's name.
    Verify,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginConfig {
    /// The WebAssembly component; relative to the manifest's folder.
    #[schemars(example = "plugins/mask.wasm")]
    pub path: PathBuf,
    /// What the plugin's `configure` gets, as JSON. Default: an empty table.
    #[serde(default = "empty_object")]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>", example = serde_json::json!({"columns": ["email"]}))]
    pub config: serde_json::Value,
    /// Most memory that one instance (one lane) may have. Default `"64MiB"`.
    #[serde(default = "plugin_memory")]
    pub memory: ByteSize,
    /// Longest time that one call may take. Default `"1s"`.
    #[serde(default = "plugin_time")]
    pub time: TimeSpan,
    /// The SHA-256 that the file must have, as `tidegate plugin inspect` and `sha256sum` print it; another file is refused. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    pub sha256: Option<Sha256>,
    /// Most bytes that one answer of the plugin may hold. Default `"64MiB"`.
    #[serde(default = "plugin_memory")]
    pub output: ByteSize,
    /// Most bytes of its state in one lane: keys, values, and 64 bytes an entry. Default `"4MiB"`.
    #[serde(default = "plugin_state")]
    pub state: ByteSize,
    /// Most instances at a time, those of all pipelines together: one a lane, one more a pipeline, and as many again while it is reloaded.
    /// Default 1000.
    #[serde(default = "plugin_instances")]
    #[schemars(range(min = 1, max = 100_000))]
    pub instances: usize,
    /// Most log entries a second, those of all lanes together; what is left out is counted, and told. Default 100.
    #[serde(default = "plugin_log_rate")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub log_rate: u32,
    /// What the plugin may have besides its rows: `"clock"`, `"random"`, `"env:NAME"` (one variable of the environment), `"http:HOST"` or
    /// `"http:HOST:PORT"` (requests to one host). Default: nothing. docs/security.md says what each is.
    #[serde(default)]
    #[schemars(example = ["clock", "http:api.example.com"])]
    pub allow: Vec<Grant>,
    /// More about hosts that `allow` names, by host: `[plugin.NAME.http."api.example.com"]`. Default: nothing.
    #[serde(default)]
    #[schemars(example = serde_json::json!({"api.example.com": {"headers": {"authorization": "Bearer ${env:API_TOKEN}"}}}))]
    pub http: BTreeMap<String, PluginHttp>,
}

/// How a plugin's requests to one host are made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginHttp {
    /// Headers that are put into every request, in place of the plugin's own; it never sees them. Default: none.
    #[serde(default)]
    #[schemars(example = serde_json::json!({"authorization": "Bearer ${env:API_TOKEN}"}))]
    pub headers: BTreeMap<String, Secret>,
    /// Whether the connection is encrypted. Default: `"verify"`, and `"off"` for this machine itself.
    pub tls: Option<HttpTls>,
    /// File with the certificates (PEM) that sign the host's. Default: the public authorities.
    #[schemars(example = "certs/ca.pem")]
    pub ca: Option<PathBuf>,
}

/// How a request is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HttpTls {
    /// Not encrypted: `http://`.
    Off,
    /// `https://`, and the certificate must be signed by an authority and carry the host's name.
    Verify,
}

impl PluginConfig {
    pub fn http_configs(&self) -> Vec<HttpConfig> {
        let config = |(host, http): (&String, &PluginHttp)| {
            let host: HttpHost = host.parse().ok()?;
            let is_encrypted = http.tls.map_or(!host.is_local(), |tls| tls == HttpTls::Verify);
            Some(HttpConfig { host, headers: http.headers.clone(), is_encrypted, ca: http.ca.clone() })
        };
        self.http.iter().filter_map(config).collect()
    }
}

fn empty_object() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

pub fn plugin_memory() -> ByteSize {
    ByteSize(64 << 20)
}

pub fn plugin_time() -> TimeSpan {
    TimeSpan(std::time::Duration::from_secs(1))
}

pub fn plugin_state() -> ByteSize {
    ByteSize(4 << 20)
}

pub fn plugin_instances() -> usize {
    1000
}

pub fn plugin_log_rate() -> u32 {
    100
}

/// Where changes are written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[schemars(extend("x-later" = later(
    &["kafka", "elasticsearch", "redis", "rabbitmq", "http"],
    "this version writes \"mysql\", \"postgres\", \"sqlite\", \"jsonl\" and \"null\"",
)))]
pub enum SinkConfig {
    /// A MySQL or MariaDB server.
    Mysql(ServerSink),
    /// A PostgreSQL server.
    Postgres(ServerSink),
    /// An SQLite database file.
    Sqlite(SqliteSink),
    /// A file, or standard output, of one JSON object a line and change.
    Jsonl(JsonlSink),
    /// Nowhere: changes are read, decoded, and counted. For measuring.
    Null(NullSink),
}

/// A SQL server to write to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerSink {
    /// The server and the database: `TYPE://USER@HOST:PORT/DATABASE`.
    #[schemars(example = "postgres://tidegate@127.0.0.1/shop")]
    pub url: Secret,
    /// The user's password, where the URL has none.
    #[schemars(example = "${file:/run/secrets/replica}")]
    pub password: Option<Secret>,
    /// Whether the connection is encrypted. Default: `"verify"`, and `"off"` for a server on this machine.
    pub tls: Option<Tls>,
    /// File with the certificates (PEM) that sign the server's. Default: the public authorities.
    #[schemars(example = "certs/ca.pem")]
    pub ca: Option<PathBuf>,
    /// The target table. Placeholders: `{schema}`, `{table}`, `{topic}`. Default `"{table}"`.
    #[serde(default)]
    #[schemars(example = "{schema}.{table}")]
    pub table: TableTemplate,
    /// Make target tables that are missing. Default false: a misspelt name is an error, not a new table.
    #[serde(default)]
    pub create: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteSink {
    /// The database file, made if it is missing; relative to the manifest's folder.
    #[schemars(example = "replica.db")]
    pub path: PathBuf,
    /// The target table. Placeholders: `{schema}`, `{table}`, `{topic}`. Default `"{table}"`.
    #[serde(default)]
    #[schemars(example = "{schema}_{table}")]
    pub table: TableTemplate,
    /// Make target tables that are missing. Default false: a misspelt name is an error, not a new table.
    #[serde(default)]
    pub create: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonlSink {
    /// The file to append to, or `"-"` for standard output; relative to the manifest's folder.
    #[schemars(example = "changes.jsonl")]
    pub path: PathBuf,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NullSink {}
