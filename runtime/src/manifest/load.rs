//! From a file to a [`Manifest`].

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::file::{ManifestFile, PipelineConfig};
use super::interpolate::interpolate;
use super::meaning;
use super::model::{Manifest, Ordering, Pipeline, Plugin, Route, Sink, SinkConfig, Source, SourceConfig};
use super::pattern::Patterns;
use super::problem::{Excerpts, ManifestError, Problem, SHOWN_MAX, hidden_in_broken_text};
use super::schema::schema;
use super::tree::{Node, Value};
use super::validate::{Findings, printable};

/// Most bytes of a manifest.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a manifest and all that it names: the environment, and the files of `${file:…}`.
///
/// # Errors
/// All that is wrong with it at once.
pub fn load(file: &Path) -> Result<Manifest, ManifestError> {
    let failed = |problem: String, hint| ManifestError::Unreadable { file: file.to_owned(), problem, hint };
    let unreadable = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => failed("there is no such file".to_owned(), "`tidegate init` writes one to start from"),
        _ => failed(format!("cannot be read: {e}"), "give the path of the manifest as the argument"),
    };
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(failed("it is not a file".to_owned(), "give the path of the manifest as the argument"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(file).and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed("it is larger than 1 MiB".to_owned(), "a manifest names what is to be done; data belongs elsewhere"));
    }
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(e) => {
            let before = &bytes[..e.valid_up_to()];
            let line = before.iter().filter(|b| **b == b'\n').count() + 1;
            let hint = "save the manifest as UTF-8 text";
            return Err(failed(format!("line {line} has bytes that are not UTF-8 text"), hint));
        }
    };
    let absolute = std::path::absolute(file).map_err(unreadable)?;
    parse(text, file, &absolute, &|name| std::env::var(name).ok())
}

/// The same for a text. `shown` is what messages call it; `file` is its absolute path; `env` looks up the environment.
///
/// # Errors
/// All that is wrong with it at once.
pub fn parse(text: &str, shown: &Path, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Manifest, ManifestError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let name = shown.display().to_string();
    let mut excerpts = Excerpts { file: &name, text, hidden: Vec::new() };
    let (table, broken) = DeTable::parse_recoverable(text);
    if !broken.is_empty() {
        excerpts.hidden = hidden_in_broken_text(text);
        return Err(failure(shown, &excerpts, syntax_problems(text, &broken)));
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut root = Node::of_table(&table);
    let mut findings = Findings::default();
    interpolate(&mut root, folder, env, &mut findings.problems);
    findings.check(schema().as_value(), &root, "");
    meaning::check(&root, &mut findings.problems);

    excerpts.hidden = strings_but(&root, &findings.harmless);
    let (mut warnings, errors): (Vec<Problem>, Vec<Problem>) = findings.problems.into_iter().partition(|p| p.is_warning);
    if !errors.is_empty() {
        return Err(failure(shown, &excerpts, errors));
    }
    let json = root.to_json();
    let sections = sections(&json);
    let made: Result<ManifestFile, _> = serde_json::from_value(json);
    match made {
        Ok(made) => {
            let mut manifest = resolve(made, file, folder);
            warnings.sort_by_key(|w| w.span.start);
            manifest.sections = sections;
            manifest.warnings = warnings.iter().map(|w| excerpts.show(w)).collect();
            Ok(manifest)
        }
        // Only if the checks and the structs disagree. Serde's words may hold a value, so they stay unsaid.
        Err(_) => {
            let problem = Problem::error(
                0..0,
                "a value does not fit, and the checks did not see it",
                "this is a defect of Tidegate: please report it",
            );
            Err(failure(shown, &excerpts, vec![problem]))
        }
    }
}

/// See [`Manifest::sections`].
fn sections(root: &serde_json::Value) -> BTreeMap<String, u64> {
    let hash = |value: &serde_json::Value| {
        let mut hasher = DefaultHasher::new();
        value.to_string().hash(&mut hasher);
        hasher.finish()
    };
    let mut sections = BTreeMap::new();
    for (name, value) in root.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(table) => sections.extend(table.iter().map(|(item, value)| (format!("{name}.{item}"), hash(value)))),
            None => drop(sections.insert(name.clone(), hash(value))),
        }
    }
    sections
}

fn failure(shown: &Path, excerpts: &Excerpts<'_>, mut problems: Vec<Problem>) -> ManifestError {
    problems.sort_by_key(|p| p.span.start);
    let left_out = problems.len().saturating_sub(SHOWN_MAX);
    let problems = problems.iter().take(SHOWN_MAX).map(|p| excerpts.show(p)).collect();
    ManifestError::Wrong { file: shown.to_owned(), problems, left_out }
}

/// One problem a line, for what the parser says after the first is mostly its confusion; and of what stands twice the first line.
fn syntax_problems(text: &str, broken: &[toml::de::Error]) -> Vec<Problem> {
    let mut problems: BTreeMap<usize, Problem> = BTreeMap::new();
    let mut last_twice = None;
    for error in broken {
        let span = error.span().unwrap_or(0..0);
        let before = text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count();
        let word = text.get(span.clone()).unwrap_or_default();
        let next = text.get(span.start..).and_then(|rest| rest.chars().next()).unwrap_or(' ');
        let (what, hint) = match error.message() {
            m if m.contains("duplicate key") => {
                if last_twice.replace(line).is_some_and(|last| line <= last + 1) {
                    continue;
                }
                (format!("`{}` is there twice", printable(word)), "take one out, or give it another name")
            }
            m if m.contains("recurs") => ("it is nested too deep".to_owned(), "nothing in a manifest nests that deep"),
            _ if next.is_control() && !next.is_whitespace() => {
                ("this is not TOML: a control character".to_owned(), "take it out; in a string it can be written as \\u0000")
            }
            m if m.contains("must be quoted") || (before.trim_end().ends_with('=') && next.is_alphabetic()) => {
                ("this is not TOML: a text needs quotes".to_owned(), "put the value in quotes")
            }
            m => (format!("this is not TOML: {m}"), ""),
        };
        problems.entry(line).or_insert_with(|| Problem::error(span, what, hint));
    }
    problems.into_values().collect()
}

/// Where all strings stand but these.
fn strings_but(node: &Node, harmless: &[std::ops::Range<usize>]) -> Vec<std::ops::Range<usize>> {
    let mut hidden = Vec::new();
    let mut rest = vec![node];
    while let Some(node) = rest.pop() {
        match &node.value {
            Value::Text(_) if !harmless.contains(&node.span) => hidden.push(node.span.start + 1..node.span.end.saturating_sub(1)),
            Value::Array(items) => rest.extend(items),
            Value::Table(entries) => rest.extend(entries.iter().map(|e| &e.node)),
            _ => {}
        }
    }
    hidden
}

fn resolve(made: ManifestFile, file: &Path, folder: &Path) -> Manifest {
    let data_dir = folder.join(&made.data_dir);
    let sources: BTreeMap<String, Arc<Source>> = made
        .source
        .into_iter()
        .map(|(name, mut config)| {
            match &mut config {
                SourceConfig::Mysql(c) => absolute(&mut c.ca, folder),
                SourceConfig::BinlogFiles(c) => {
                    c.paths.iter_mut().for_each(|p| *p = folder.join(&*p).to_string_lossy().into_owned());
                }
            }
            (name.clone(), Arc::new(Source { name, config }))
        })
        .collect();
    let plugins: BTreeMap<String, Arc<Plugin>> = made
        .plugin
        .into_iter()
        .map(|(name, mut config)| {
            config.path = folder.join(config.path);
            config.http.values_mut().for_each(|http| absolute(&mut http.ca, folder));
            (name.clone(), Arc::new(Plugin { name, config }))
        })
        .collect();
    let sinks: BTreeMap<String, Arc<Sink>> = made
        .sink
        .into_iter()
        .map(|(name, mut config)| {
            match &mut config {
                SinkConfig::Mysql(c) | SinkConfig::Postgres(c) => absolute(&mut c.ca, folder),
                SinkConfig::Sqlite(c) => c.path = folder.join(&c.path),
                SinkConfig::Jsonl(c) if c.path == Path::new("-") => {}
                SinkConfig::Jsonl(c) => c.path = folder.join(&c.path),
                SinkConfig::Null(_) => {}
            }
            (name.clone(), Arc::new(Sink { name, config }))
        })
        .collect();
    let pipelines = made
        .pipeline
        .into_iter()
        .filter_map(|(name, config)| pipeline(name, config, &sources, &plugins, &sinks))
        .map(Arc::new)
        .collect();
    Manifest {
        file: file.to_owned(),
        data_dir,
        sources,
        plugins,
        sinks,
        pipelines,
        warnings: Vec::new(),
        sections: BTreeMap::new(),
    }
}

/// `None` never happens after the checks of [`meaning`].
fn pipeline(
    name: String,
    config: PipelineConfig,
    sources: &BTreeMap<String, Arc<Source>>,
    plugins: &BTreeMap<String, Arc<Plugin>>,
    sinks: &BTreeMap<String, Arc<Sink>>,
) -> Option<Pipeline> {
    let routes = match (config.sink, config.routes) {
        (Some(sink), _) => vec![Route { topics: Patterns::all(), sink: sinks.get(&sink)?.clone() }],
        (None, routes) => {
            let route = |r: super::file::RouteConfig| {
                Some(Route { topics: Patterns::parse(&r.topics).ok()?, sink: sinks.get(&r.sink)?.clone() })
            };
            routes.into_iter().flatten().map(route).collect::<Option<Vec<_>>>()?
        }
    };
    let lanes = match config.ordering {
        Ordering::Key | Ordering::Table => config.lanes.unwrap_or_else(cores),
        Ordering::Global | Ordering::Transaction => 1,
    };
    Some(Pipeline {
        source: sources.get(&config.source)?.clone(),
        plugins: config.plugins.iter().map(|p| plugins.get(p).cloned()).collect::<Option<Vec<_>>>()?,
        name,
        routes,
        ordering: config.ordering,
        lanes,
        delivery: config.delivery,
        batch: config.batch,
        on_row_error: config.on_row_error,
        dead_letters_max: config.dead_letters_max,
        unrouted: config.unrouted,
        ddl: config.ddl,
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn absolute(path: &mut Option<PathBuf>, folder: &Path) {
    if let Some(path) = path {
        *path = folder.join(&*path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::model::Tls;

    const GOOD: &str = r#"
[source.shop]
type   = "mysql"
url    = "mysql://tidegate@127.0.0.1:3306"
password = "${env:SHOP_PASSWORD}"
tables = ["shop.*", "!shop.tmp_*"]
start  = { gtid = "0-1-100" }

[plugin.mask]
path   = "plugins/mask.wasm"
config = { columns = ["email"] }

[sink.replica]
type  = "postgres"
url   = "postgres://tidegate@db.example.org/shop"

[sink.file]
type = "jsonl"
path = "-"

[pipeline.replica]
source   = "shop"
plugins  = ["mask"]
sink     = "replica"
lanes    = 2

[pipeline.routed]
source = "shop"
ordering = "global"

[[pipeline.routed.routes]]
topics = ["shop.orders", "vip.*"]
sink = "file"
"#;

    fn read(text: &str) -> Result<Manifest, ManifestError> {
        parse(text, Path::new("tidegate.toml"), Path::new("/etc/tide/tidegate.toml"), &|name| {
            (name == "SHOP_PASSWORD").then(|| "hunter2".to_owned())
        })
    }

    #[test]
    fn a_manifest_is_resolved() {
        let manifest = read(GOOD).unwrap();
        assert_eq!(manifest.data_dir, Path::new("/etc/tide/tidegate-data"));
        let [replica, routed] = &manifest.pipelines[..] else { panic!("two pipelines") };
        assert_eq!(replica.name, "replica");
        assert_eq!(replica.lanes, 2);
        assert_eq!(replica.batch.bytes.0, 4 << 20);
        assert_eq!(replica.plugins[0].config.path, Path::new("/etc/tide/plugins/mask.wasm"));
        assert_eq!(replica.plugins[0].config.config, serde_json::json!({"columns": ["email"]}));
        assert!(replica.routes[0].topics.matches_topic("anything"));
        assert_eq!(routed.lanes, 1);
        assert!(!routed.routes[0].topics.matches_topic("shop.users"));
        let SourceConfig::Mysql(source) = &replica.source.config else { panic!("a MySQL source") };
        assert_eq!(source.password.as_ref().unwrap().expose(), "hunter2");
        assert_eq!(source.tls(source.url.as_ref().unwrap()), Tls::Off);
        let SinkConfig::Postgres(sink) = &replica.routes[0].sink.config else { panic!("a Postgres sink") };
        assert_eq!(sink.tls(), Tls::Verify);
        assert!(manifest.warnings.is_empty());
        assert!(!format!("{manifest:?}").contains("hunter2"));
    }

    /// Whatever is done to a manifest, it is read or refused, and the secret stays unseen.
    #[test]
    fn mutations_neither_panic_nor_tell() {
        let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
        proptest::proptest!(config, |(at in 0..GOOD.len(), cut in 0..40usize, put in "[\\PC\n\"'=\\[\\]{}.$]{0,4}")| {
            let mut text = GOOD.replace("${env:SHOP_PASSWORD}", "correct-horse");
            let end = (at + cut).min(text.len());
            text.replace_range(at.min(end)..end, &put);
            if let Err(error) = read(&text) {
                let shown = error.to_string();
                proptest::prop_assert!(!shown.is_empty());
                proptest::prop_assert!(!shown.contains("correct-horse"), "{shown}");
            }
        });
    }
}
