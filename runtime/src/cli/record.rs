//! `tidegate plugin test --record`: takes changes that a plugin would get from the manifest's source into a case file; and what
//! `tidegate plugin inspect --manifest` finds in binlog files.
//!
//! The pipeline is run without its plugins, into memory and beside a data folder of its own, so that it moves no cursor and disturbs no other run.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value as Json;
use tokio::sync::{Notify, watch};

use super::block_on;
use super::inspect::uses;
use crate::cases::mask::Mask;
use crate::cases::{Case, CaseFile, lines_of};
use crate::change::Relation;
use crate::error::Error;
use crate::manifest::model::{Manifest, OnRowError, Ordering, Pipeline, Source, SourceConfig, Unrouted};
use crate::manifest::start::Start;
use crate::pipeline::{Options, Run};
use crate::plugin::{Chain, Engine};
use crate::sink::{BeforeNeed, Delivery, Finding, Mark, Sink, SinkError, Writer};

/// Takes `count` changes of the tables that the plugin is bound to. Fewer, if the source has no more.
pub(super) fn record(
    engine: &Engine,
    manifest: &Manifest,
    component: &Path,
    count: usize,
    is_masked: bool,
) -> Result<CaseFile, Error> {
    let (pipeline, plugin) = uses(manifest, component)?[0];
    let loaded = engine.load(&plugin.load_config())?;
    let (enough, stop) = watch::channel(false);
    let chain = Mutex::new(Chain::new(&[loaded])?);
    let taken = Arc::new(Taken { count, enough, chain, state: Mutex::default() });
    let taking = Arc::clone(&taken);
    let failure = pass(manifest, pipeline, Arc::new(move |delivery: &Delivery<'_>| taking.take(delivery)), stop)?;
    let state = std::mem::take(&mut *taken.state());
    if let Some(failure) = failure
        && state.changes.len() < count
    {
        return Err(failure);
    }
    if let Some(table) = &state.altered {
        tracing::warn!("the columns of {table} have changed: its changes are recorded up to there");
    }
    state.file(plugin.config.config.clone(), &pipeline.source.name, is_masked)
}

/// The tables whose changes a source of files has, each with its last columns. Reads all of them.
pub(super) fn tables_of_files(manifest: &Manifest, pipeline: &Pipeline) -> Result<Vec<Arc<Relation>>, Error> {
    let found: Arc<Mutex<BTreeMap<String, Arc<Relation>>>> = Arc::default();
    let finding = Arc::clone(&found);
    let find = move |delivery: &Delivery<'_>| {
        let mut found = finding.lock().unwrap_or_else(PoisonError::into_inner);
        for slice in &delivery.slices {
            found.insert(slice.rows.relation.to_string(), Arc::clone(&slice.rows.relation));
        }
        Ok(())
    };
    // Nobody says that it is enough.
    let (_enough, stop) = watch::channel(false);
    match pass(manifest, pipeline, Arc::new(find), stop)? {
        Some(failure) => Err(failure),
        None => Ok(std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner)).into_values().collect()),
    }
}

/// What becomes of what a sink gets.
type Take = dyn Fn(&Delivery<'_>) -> Result<(), SinkError> + Send + Sync;

/// Runs a pipeline, without its plugins, until there is no more or `stop` says so. Returns why it failed, if it did.
fn pass(manifest: &Manifest, pipeline: &Pipeline, take: Arc<Take>, stop: watch::Receiver<bool>) -> Result<Option<Error>, Error> {
    let scratch = Scratch::new()?;
    let waits = pipeline.source.waits();
    let manifest = beside(manifest, pipeline, scratch.0.clone());
    let options = Options { pipelines: Vec::new(), until_caught_up: !waits, into: Some(Arc::new(Recorder(take))) };
    let failures = block_on(async {
        let run = Run::open(&manifest, &options).map_err(|source| Error::Open { source: Box::new(source) })?;
        Ok(run.run(stop, Arc::new(Notify::new())).await)
    })?;
    Ok(failures.into_iter().next().map(|(name, source)| Error::Pipeline { name, source: Box::new(source) }))
}

/// A manifest with this pipeline alone, which reads what is there and keeps nothing.
fn beside(manifest: &Manifest, pipeline: &Pipeline, data_dir: PathBuf) -> Manifest {
    let mut source = Source::clone(&pipeline.source);
    match &mut source.config {
        SourceConfig::Mysql(config) => {
            // Another reader than the pipeline itself, which the server would cut off.
            config.server_id = None;
            if config.start == Start::Snapshot {
                config.start = Start::Earliest;
            }
        }
        SourceConfig::BinlogFiles(_) => {}
    }
    let source = Arc::new(source);
    let pipeline = Pipeline {
        source: Arc::clone(&source),
        plugins: Vec::new(),
        ordering: Ordering::Global,
        lanes: 1,
        delivery: Default::default(),
        unrouted: Unrouted::Drop,
        on_row_error: OnRowError::Stop,
        ddl: Default::default(),
        ..pipeline.clone()
    };
    let sources = [(source.name.clone(), source)].into();
    Manifest { data_dir, sources, plugins: Default::default(), pipelines: vec![Arc::new(pipeline)], ..manifest.clone() }
}

impl Source {
    /// Begins at what happens from now on.
    fn waits(&self) -> bool {
        matches!(&self.config, SourceConfig::Mysql(config) if config.start == Start::Now)
    }
}

/// A data folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, Error> {
        let path = std::env::temp_dir().join(format!("tidegate-record-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in the folder for what may be lost.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A sink that hands over the changes that come.
struct Recorder(Arc<Take>);

struct Taken {
    count: usize,
    enough: watch::Sender<bool>,
    /// Says which tables the plugin takes.
    chain: Mutex<Chain>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By name; `None`: the plugin does not take it.
    tables: HashMap<String, Option<Arc<Relation>>>,
    changes: Vec<Json>,
    /// A table whose columns have changed.
    altered: Option<String>,
}

impl State {
    /// True if the plugin takes the table's rows, and they can be in the file with those that are there.
    fn takes(&mut self, relation: &Arc<Relation>, chain: &Mutex<Chain>) -> Result<bool, SinkError> {
        let name = relation.to_string();
        if let Some(known) = self.tables.get(&name) {
            let Some(known) = known else { return Ok(false) };
            if known.id != relation.id && (known.columns != relation.columns || known.key != relation.key) {
                self.altered = Some(name);
                return Ok(false);
            }
            return Ok(true);
        }
        let bound =
            chain.lock().unwrap_or_else(PoisonError::into_inner).bind(relation).map_err(|error| SinkError::Configuration {
                reason: error.to_string(),
                hint: "the plugin refuses this table; leave it out of the source's `tables`".to_owned(),
            })?;
        self.tables.insert(name, bound.is_transformed.then(|| Arc::clone(relation)));
        Ok(bound.is_transformed)
    }

    fn file(self, config: Json, source: &str, is_masked: bool) -> Result<CaseFile, Error> {
        if self.changes.is_empty() {
            return Err(Error::Request {
                problem: format!("source `{source}` has no change of a table that the plugin takes"),
                hint: "`tidegate plugin inspect --manifest FILE` says which it takes; `start = \"now\"` waits for changes"
                    .to_owned(),
            });
        }
        let mut changes = self.changes;
        let mut tables: Vec<_> = self.tables.into_values().flatten().collect();
        tables.sort_by_key(|table| table.to_string());
        if is_masked {
            let mask = Mask::default();
            for change in &mut changes {
                let is_of = |table: &&Arc<Relation>| change["schema"] == *table.schema && change["table"] == *table.table;
                if let Some(table) = tables.iter().find(is_of) {
                    mask.change(table, change);
                }
            }
        }
        let name = format!("{} changes from {source}, {}", changes.len(), changes[0]["position"].as_str().unwrap_or("somewhere"));
        let case = Case { name, config: None, earlier: Vec::new(), r#in: changes, out: None, errors: Vec::new(), error: None };
        Ok(CaseFile { config, tables: tables.iter().map(|table| statement(table)).collect(), cases: vec![case] })
    }
}

/// The CREATE TABLE statement of a table, as far as plugins see it.
fn statement(relation: &Relation) -> String {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let mut parts: Vec<String> = relation
        .columns
        .iter()
        .map(|c| format!("{} {}{}", quoted(&c.name), c.source_type, if c.nullable { "" } else { " NOT NULL" }))
        .collect();
    if !relation.key.is_empty() {
        let key: Vec<_> = relation.key.iter().map(|&at| quoted(&relation.columns[usize::from(at)].name)).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    format!("CREATE TABLE {}.{} ({})", quoted(&relation.schema), quoted(&relation.table), parts.join(", "))
}

impl Taken {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, delivery: &Delivery<'_>) -> Result<(), SinkError> {
        let mut state = self.state();
        let mut slices = Vec::new();
        for slice in &delivery.slices {
            if state.takes(&slice.rows.relation, &self.chain)? {
                slices.push(slice.clone());
            }
        }
        let delivery = Delivery { slices, transactions: delivery.transactions, mark: None, commit: true };
        for line in lines_of(&delivery)? {
            if state.changes.len() == self.count {
                break;
            }
            state.changes.push(line);
        }
        if state.changes.len() == self.count {
            self.enough.send_replace(true);
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for Recorder {
    fn before_need(&self) -> BeforeNeed {
        BeforeNeed::All
    }

    fn is_transactional(&self) -> bool {
        false
    }

    async fn check(&self, _relations: &[Arc<Relation>]) -> Vec<Finding> {
        Vec::new()
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, SinkError> {
        Ok(Box::new(Recorder(Arc::clone(&self.0))))
    }

    async fn marks(&self, _pipeline: &str) -> Result<Vec<Mark>, SinkError> {
        Ok(Vec::new())
    }

    async fn set_marks(&self, _pipeline: &str, _marks: &[Mark]) -> Result<(), SinkError> {
        Ok(())
    }
}

#[async_trait]
impl Writer for Recorder {
    async fn write(&mut self, delivery: &Delivery<'_>) -> Result<(), SinkError> {
        (self.0)(delivery)
    }

    async fn write_unfolded(&mut self, delivery: &Delivery<'_>) -> Result<(), SinkError> {
        (self.0)(delivery)
    }
}
