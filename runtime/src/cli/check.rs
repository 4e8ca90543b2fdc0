//! `tidegate check`: what would fail, before the first row. Asks sources, plugins and sinks, in the order of the flow.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{CheckArgs, Format, block_on, screen};
use crate::change::{KeyOrigin, Relation};
use crate::check::{Finding, Severity};
use crate::dead_letter::store;
use crate::error::{Error, Place};
use crate::manifest;
use crate::manifest::model::{self, Manifest, OnDdl, Unrouted, WithoutKey};
use crate::plugin::versions::{Chosen, Versions, short};
use crate::plugin::{Chain, Engine, Plugin, PluginError};
use crate::sink::SinkError;
use crate::source::{Source, SourceError};

pub(super) fn run(args: &CheckArgs, format: Format) -> Result<(), Error> {
    let manifest = manifest::load(&args.manifest)?;
    for warning in &manifest.warnings {
        screen::print(warning);
    }
    let mut check = Check { manifest: &manifest, found: Vec::new(), relations: BTreeMap::new(), plugins: BTreeMap::new() };
    check.load_plugins();
    check.count_letters();
    if !args.offline {
        block_on(async {
            check.ask_servers().await;
            Ok(())
        })?;
    }
    report(&check.found, &manifest, args.offline, format)
}

struct Check<'a> {
    manifest: &'a Manifest,
    found: Vec<(Place, Finding)>,
    /// The followed tables of the sources that could be asked.
    relations: BTreeMap<&'a str, Vec<Arc<Relation>>>,
    /// Those that could be loaded.
    plugins: BTreeMap<&'a str, Plugin>,
}

impl<'a> Check<'a> {
    /// The same thing found by way of two pipelines is told once.
    fn add(&mut self, place: Place, finding: Finding) {
        if !self.found.iter().any(|(_, f)| *f == finding) {
            self.found.push((place, finding));
        }
    }

    fn error(&mut self, place: Place, subject: String, message: &str) {
        let (problem, hint) = message.split_once("\nhint: ").unwrap_or((message, ""));
        let problem = problem.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        self.add(place, Finding { severity: Severity::Error, subject, problem, hint: hint.to_owned() });
    }

    fn plugin_error(&mut self, error: &PluginError) {
        let of = error.relation.as_ref().map_or(String::new(), |relation| format!(", {relation}"));
        self.error(Place::Plugin, format!("plugin `{}`{of}", error.plugin), &error.fault.to_string());
    }

    /// Compiles the plugins and lets each have its `config`. Nothing is kept on the disk.
    fn load_plugins(&mut self) {
        if self.manifest.plugins.is_empty() {
            return;
        }
        let engine = match Engine::new(None) {
            Ok(engine) => engine,
            Err(error) => return self.plugin_error(&error),
        };
        let versions = Versions::new(&self.manifest.data_dir);
        for (name, plugin) in &self.manifest.plugins {
            let config = plugin.load_config();
            let load = |chosen: &Chosen| engine.load_bytes(&config, &chosen.bytes).and_then(|p| p.instantiate().map(|_| p));
            let loaded = versions.choose(&config).and_then(|chosen| Ok((load(&chosen)?, chosen.is_back)));
            match loaded {
                Ok((plugin, is_back)) => {
                    if is_back {
                        let to = short(&plugin.version().sha256).to_owned();
                        let finding = Finding {
                            severity: Severity::Warning,
                            subject: format!("plugin `{name}`"),
                            problem: format!("was rolled back to {to}, which runs instead of its file"),
                            hint: format!("`tidegate plugin reload {name}` takes the file again"),
                        };
                        self.add(Place::Plugin, finding);
                    }
                    drop(self.plugins.insert(name, plugin));
                }
                Err(error) => self.plugin_error(&error),
            }
        }
    }

    /// What waits for someone to look at it.
    fn count_letters(&mut self) {
        for pipeline in &self.manifest.pipelines {
            let subject = format!("pipeline `{}`", pipeline.name);
            match store::read(&self.manifest.data_dir, &pipeline.name, None) {
                Ok(letters) if letters.is_empty() => {}
                Ok(letters) => {
                    let waiting = letters.iter().filter(|letter| letter.why.waits()).count();
                    let dead = letters.len() - waiting;
                    let finding = Finding {
                        severity: Severity::Warning,
                        subject,
                        problem: format!(
                            "{dead} changes could not be delivered, and {waiting} later ones of their keys wait behind them"
                        ),
                        hint: "see `tidegate dead-letter list`; mend what it tells, then `tidegate dead-letter retry --all`"
                            .to_owned(),
                    };
                    self.add(Place::DataDir, finding);
                }
                Err(error) => self.error(Place::DataDir, subject, &error.to_string()),
            }
        }
    }

    async fn ask_servers(&mut self) {
        for source in self.manifest.sources.values() {
            self.ask_source(source).await;
        }
        for pipeline in &self.manifest.pipelines {
            let relations = self.bind(pipeline);
            self.ask_sinks(pipeline, &relations).await;
        }
    }

    async fn ask_source(&mut self, source: &'a model::Source) {
        match self.read_source(source).await {
            Ok(relations) => drop(self.relations.insert(&source.name, relations)),
            Err(SourceError::Transient { error, .. }) => {
                let message = format!("{error}\nhint: does the server run, and is the URL right?");
                self.error(Place::Source, format!("source `{}`", source.name), &message);
            }
            Err(SourceError::Definite { error, .. }) => {
                self.error(Place::Source, format!("source `{}`", source.name), &error.to_string());
            }
        }
    }

    async fn read_source(&mut self, config: &model::Source) -> Result<Vec<Arc<Relation>>, SourceError> {
        let source = Source::open_to_check(config.open_config(self.manifest)?).await?;
        for finding in source.check(config.tables()).await {
            self.add(Place::Source, finding);
        }
        let mut relations = Vec::new();
        for (schema, table) in source.tables(config.tables()).await? {
            let Some(info) = source.table(&schema, &table).await? else { continue };
            let subject = format!("source `{}`, {schema}.{table}", config.name);
            match info.relation(&schema, &table) {
                Ok(relation) => {
                    if relation.key_origin == KeyOrigin::WholeRow && config.without_key() == WithoutKey::Refuse {
                        let message = "has neither a primary key nor a unique key of NOT NULL columns\n\
                            hint: give it a key, leave it out of `tables`, or write without_key = \"whole-row\"";
                        self.error(Place::Source, subject, message);
                    }
                    relations.push(Arc::new(relation));
                }
                Err(column) => {
                    let message = format!("column `{column}` has a type that is not known\nhint: leave the table out of `tables`");
                    self.error(Place::Source, subject, &message);
                }
            }
        }
        Ok(relations)
    }

    /// What the pipeline's plugins make of the followed tables.
    fn bind(&mut self, pipeline: &model::Pipeline) -> Vec<Arc<Relation>> {
        let relations = self.relations.get(pipeline.source.name.as_str()).cloned().unwrap_or_default();
        let plugins: Option<Vec<Plugin>> = pipeline.plugins.iter().map(|p| self.plugins.get(p.name.as_str()).cloned()).collect();
        // A plugin that does not load was told already.
        let Some(plugins) = plugins.filter(|p| !p.is_empty()) else { return relations };
        let mut chain = match Chain::new(&plugins) {
            Ok(chain) => chain,
            Err(error) => {
                self.plugin_error(&error);
                return Vec::new();
            }
        };
        let mut bound = Vec::new();
        for relation in &relations {
            match chain.bind(relation) {
                Ok(b) => bound.push(b.output),
                Err(error) => self.plugin_error(&error),
            }
        }
        // One that refused a table has told so.
        if !bound.is_empty() && bound.len() == relations.len() {
            for plugin in chain.idle() {
                let finding = Finding {
                    severity: Severity::Warning,
                    subject: format!("plugin `{plugin}`"),
                    problem: format!("leaves every table of pipeline `{}` alone", pipeline.name),
                    hint: "check the names of tables and columns in its `config`".to_owned(),
                };
                self.add(Place::Plugin, finding);
            }
            let tables = || relations.iter().chain(&bound);
            for plugin in &pipeline.plugins {
                let named = named_columns(&plugin.config.config);
                let is_known = |name: &str| tables().any(|table| table.columns.iter().any(|column| *column.name == *name));
                for name in named.into_iter().filter(|name| !is_known(name)) {
                    let finding = Finding {
                        severity: Severity::Warning,
                        subject: format!("plugin `{}`", plugin.name),
                        problem: format!(
                            "no table of pipeline `{}` has the column `{name}`, which its `config` names",
                            pipeline.name
                        ),
                        hint: "check the column's name".to_owned(),
                    };
                    self.add(Place::Plugin, finding);
                }
            }
        }
        bound
    }

    async fn ask_sinks(&mut self, pipeline: &model::Pipeline, relations: &[Arc<Relation>]) {
        let topic = |relation: &Relation| format!("{}.{}", relation.schema, relation.table);
        for route in &pipeline.routes {
            let name = &route.sink.name;
            let taken: Vec<Arc<Relation>> = relations.iter().filter(|r| route.topics.matches_topic(&topic(r))).cloned().collect();
            match crate::sink::open(name, &route.sink.config, &pipeline.name) {
                Ok(sink) => {
                    for finding in sink.check(&taken).await {
                        self.add(Place::Sink, finding);
                    }
                    if pipeline.ddl == OnDdl::Follow {
                        for finding in sink.check_alter(&taken).await {
                            self.add(Place::Sink, finding);
                        }
                    }
                }
                Err(SinkError::Configuration { reason, hint }) => {
                    self.error(Place::Sink, format!("sink `{name}`"), &format!("{reason}\nhint: {hint}"));
                }
                Err(other) => self.error(Place::Sink, format!("sink `{name}`"), &other.to_string()),
            }
        }
        // Where there are plugins they may route, and nobody knows where to before the first row.
        if pipeline.plugins.is_empty() && pipeline.unrouted == Unrouted::Stop {
            for relation in relations.iter().filter(|r| !pipeline.routes.iter().any(|route| route.topics.matches_topic(&topic(r))))
            {
                let message = format!(
                    "no route takes the topic {}\nhint: add it to the topics of a route, or write unrouted = \"drop\"",
                    topic(relation)
                );
                self.error(Place::Manifest, format!("pipeline `{}`", pipeline.name), &message);
            }
        }
    }
}

/// What a plugin's `config` names by `column` or `columns`, as the ready-made plugins do.
fn named_columns(config: &Value) -> Vec<&str> {
    match config {
        Value::Array(items) => items.iter().flat_map(named_columns).collect(),
        Value::Object(keys) => {
            let mut names = Vec::new();
            for (key, value) in keys {
                match (key.as_str(), value) {
                    ("column", Value::String(name)) => names.push(name.as_str()),
                    ("columns", Value::Array(columns)) => names.extend(columns.iter().filter_map(Value::as_str)),
                    _ => names.extend(named_columns(value)),
                }
            }
            names
        }
        _ => Vec::new(),
    }
}

/// Prints what was found. The error says how many will fail, and where the first lies.
fn report(found: &[(Place, Finding)], manifest: &Manifest, offline: bool, format: Format) -> Result<(), Error> {
    screen::print_result(&match format {
        Format::Text => text(found, manifest, offline),
        Format::Json => format!("{}\n", json!({ "findings": found.iter().map(|(_, finding)| finding).collect::<Vec<_>>() })),
    })?;
    let mut errors = found.iter().filter(|(_, f)| f.severity == Severity::Error);
    match errors.next() {
        Some((first, _)) => Err(Error::Check { errors: 1 + errors.count(), first: *first }),
        None => Ok(()),
    }
}

fn text(found: &[(Place, Finding)], manifest: &Manifest, offline: bool) -> String {
    let mut out = String::new();
    for (_, Finding { severity, subject, problem, hint }) in found {
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        out.push_str(&format!("{severity}: {subject}: {problem}\n"));
        if !hint.is_empty() {
            out.push_str(&format!("hint: {hint}\n"));
        }
        out.push('\n');
    }
    if !found.iter().any(|(_, f)| f.severity == Severity::Error) {
        let names: Vec<&str> = manifest.pipelines.iter().map(|p| p.name.as_str()).collect();
        let kind = if names.len() == 1 { "pipeline" } else { "pipelines" };
        let asked = if offline { " (no server was asked)" } else { "" };
        let file = manifest.file.file_name().map(Path::new).unwrap_or(&manifest.file).display();
        out.push_str(&format!("{file}: {kind} {} ready to run{asked}\n", names.join(", ")));
    }
    out
}
