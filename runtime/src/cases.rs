//! Cases for plugins: changes in, changes out, in a file that people write and read.
//!
//! A file is one JSON object: `config` for the plugin, `tables` as CREATE TABLE statements, and `cases`. A change is written as the
//! sink `jsonl` writes it, so that a recorded line can be pasted: `op`, `schema`, `table`, `before`, `after`, and for what plugins may ask
//! of a change's transaction `position`, `gtid`, `commit_time`. Columns that an image leaves out are absent; docs/types.md says how
//! values are written.

pub mod mask;
pub mod sample;
mod value;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::batcher::{Batcher, ColumnBuilder, Wanted};
use crate::change::{Batch, Op, Relation, RowId, Transaction};
use crate::manifest::model::Unrouted;
use crate::manifest::pattern::Patterns;
use crate::manifest::start::parse_time;
use crate::plugin::{Chain, Plugin, RowError};
use crate::position::{Gtid, Position};
use crate::router::Router;
use crate::schema::kept;
use crate::sink::{Delivery, SinkError, jsonl};

/// A file of cases.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The plugin's configuration, unless a case has one of its own.
    #[serde(default = "no_config")]
    pub config: Json,
    /// CREATE TABLE statements with names `schema.table`.
    pub tables: Vec<String>,
    pub cases: Vec<Case>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Json>,
    /// Changes that another instance has got before, in one batch: what the plugin remembers of them is there, and nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Json>,
    /// The changes that the plugin gets, in one batch.
    pub r#in: Vec<Json>,
    /// What it leaves, in order: a line a row and topic, with its topic where that is not its table. `None`: not written down yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<Vec<Json>>,
    /// The rows that it cannot process: `row 1: message`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// The plugin fails with an error that contains this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn no_config() -> Json {
    Json::Object(Map::new())
}

/// Why cases cannot be read. Their outcome is no error: see [`Made`].
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    #[error("{}: cannot be read\nhint: check the path and its rights", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}\nhint: docs/plugins/cases.md shows such a file", path.display())]
    Syntax { path: PathBuf, source: serde_json::Error },
    #[error("{}: {place}: {problem}\nhint: {hint}", path.display())]
    Content { path: PathBuf, place: String, problem: String, hint: &'static str },
}

/// What a plugin made of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    Rows {
        out: Vec<Json>,
        errors: Vec<String>,
    },
    /// The plugin's error.
    Error(String),
}

impl CaseFile {
    pub fn read(path: &Path) -> Result<CaseFile, CaseError> {
        let text = std::fs::read_to_string(path).map_err(|source| CaseError::Read { path: path.to_owned(), source })?;
        serde_json::from_str(&text).map_err(|source| CaseError::Syntax { path: path.to_owned(), source })
    }

    /// As a file: a change a line.
    pub fn text(&self) -> String {
        let mut text = format!("{{\n  \"config\": {},\n  \"tables\": [", self.config);
        lines(&mut text, 4, self.tables.iter().map(|table| Json::from(table.as_str())));
        text.push_str("],\n  \"cases\": [");
        for (i, case) in self.cases.iter().enumerate() {
            let _ = write!(text, "{}\n    {{\n      \"name\": {}", if i > 0 { "," } else { "" }, Json::from(case.name.as_str()));
            if let Some(config) = &case.config {
                let _ = write!(text, ",\n      \"config\": {config}");
            }
            if !case.earlier.is_empty() {
                text.push_str(",\n      \"earlier\": [");
                lines(&mut text, 8, case.earlier.iter().cloned());
                text.push(']');
            }
            text.push_str(",\n      \"in\": [");
            lines(&mut text, 8, case.r#in.iter().cloned());
            text.push(']');
            if let Some(out) = &case.out {
                text.push_str(",\n      \"out\": [");
                lines(&mut text, 8, out.iter().cloned());
                text.push(']');
            }
            if !case.errors.is_empty() {
                text.push_str(",\n      \"errors\": [");
                lines(&mut text, 8, case.errors.iter().map(|error| Json::from(error.as_str())));
                text.push(']');
            }
            if let Some(error) = &case.error {
                let _ = write!(text, ",\n      \"error\": {}", Json::from(error.as_str()));
            }
            text.push_str("\n    }");
        }
        text.push_str("\n  ]\n}\n");
        text
    }

    /// The tables, as relations by name. `path` is for errors.
    pub fn relations(&self, path: &Path) -> Result<Tables, CaseError> {
        let mut tables = HashMap::new();
        for (i, statement) in self.tables.iter().enumerate() {
            let relation = kept::of_statement(statement).ok_or_else(|| CaseError::Content {
                path: path.to_owned(),
                place: format!("tables[{i}]"),
                problem: "not a CREATE TABLE statement that could be read".to_owned(),
                hint: "write CREATE TABLE schema.table (…), as SHOW CREATE TABLE says it",
            })?;
            tables.insert(relation.to_string(), Arc::new(relation));
        }
        Ok(tables)
    }
}

/// By `schema.table`.
pub type Tables = HashMap<String, Arc<Relation>>;

/// Each item on a line of its own.
fn lines(text: &mut String, indent: usize, items: impl Iterator<Item = Json>) {
    let mut is_empty = true;
    for item in items {
        let _ = write!(text, "{}\n{:indent$}{item}", if is_empty { "" } else { "," }, "");
        is_empty = false;
    }
    if !is_empty {
        let _ = write!(text, "\n{:1$}", "", indent - 2);
    }
}

impl Case {
    /// Passes the case's changes through a new instance of a plugin, as one batch. `path` is for errors.
    pub fn run(&self, plugin: &Plugin, tables: &Tables, path: &Path) -> Result<Made, CaseError> {
        let mut batch = self.batch(tables, path)?;
        let mut remembered = Vec::new();
        if !self.earlier.is_empty() {
            let mut earlier = self.batch_of("earlier", &self.earlier, tables, path)?;
            let made = Chain::new(std::slice::from_ref(plugin)).and_then(|mut chain| {
                let errors = chain.process(&mut earlier)?;
                Ok((errors, chain.take_changes()))
            });
            match made {
                Ok((errors, changes)) if errors.is_empty() => remembered = changes,
                Ok((errors, _)) => return Ok(Made::Error(format!("earlier: {}", error(&errors[0])))),
                Err(error) => return Ok(Made::Error(format!("earlier: {}", error.fault))),
            }
        }
        let made = Chain::new(std::slice::from_ref(plugin)).and_then(|mut chain| {
            remembered.into_iter().for_each(|change| chain.restore(change));
            chain.process(&mut batch)
        });
        match made {
            Ok(errors) => Ok(Made::Rows { out: out(&batch), errors: errors.iter().map(error).collect() }),
            Err(error) => Ok(Made::Error(error.fault.to_string())),
        }
    }

    /// Its changes as one batch.
    pub fn batch(&self, tables: &Tables, path: &Path) -> Result<Batch, CaseError> {
        self.batch_of("in", &self.r#in, tables, path)
    }

    /// `key`: where the changes stand in the case.
    fn batch_of(&self, key: &str, changes: &[Json], tables: &Tables, path: &Path) -> Result<Batch, CaseError> {
        let bad = |row: usize, problem: String, hint: &'static str| CaseError::Content {
            path: path.to_owned(),
            place: format!("case {:?}, {key}[{row}]", self.name),
            problem,
            hint,
        };
        let mut batcher = Batcher::new(usize::MAX, usize::MAX);
        let mut wanted: HashMap<u32, Arc<Wanted>> = HashMap::new();
        let mut transactions: Vec<Transaction> = Vec::new();
        for (row, change) in changes.iter().enumerate() {
            let hint = "a change is written as the sink `jsonl` writes it";
            let text = |key: &str| change.get(key).and_then(Json::as_str);
            let (Some(schema), Some(table)) = (text("schema"), text("table")) else {
                return Err(bad(row, "`schema` or `table` is missing".to_owned(), hint));
            };
            let name = format!("{schema}.{table}");
            let relation = tables
                .get(&name)
                .ok_or_else(|| bad(row, format!("no statement of `tables` makes {name}"), "add its CREATE TABLE to `tables`"))?;
            let op = match text("op") {
                Some("insert") => Op::Insert,
                Some("update") => Op::Update,
                Some("delete") => Op::Delete,
                Some("snapshot") => Op::Snapshot,
                _ => return Err(bad(row, "`op` is none of insert, update, delete, snapshot".to_owned(), hint)),
            };
            let number = transactions.len() as u64 + 1;
            let transaction = transaction(number, text("position"), text("gtid"), text("commit_time"));
            let transaction = transaction.map_err(|problem| bad(row, problem, hint))?;
            if transactions.last().is_none_or(|last| !is_same(last, &transaction)) {
                transactions.push(transaction);
            }
            let number = transactions.len() as u64;
            let id = RowId { transaction: number, place: row as u64 * 2 };
            let all = || Arc::new(Wanted { after: vec![true; relation.columns.len()], before: vec![true; relation.columns.len()] });
            let wanted = wanted.entry(relation.id).or_insert_with(all);
            let rows = batcher.row(relation, wanted, op, id, 0, || transactions[transactions.len() - 1].clone());
            let image = |name: &str| match change.get(name) {
                Some(Json::Object(image)) => Ok(image),
                _ => Err(bad(row, format!("`{name}` is missing"), hint)),
            };
            if op == Op::Delete {
                rows.no_after();
            } else {
                append(rows.after(), relation, image("after")?).map_err(|problem| bad(row, problem, VALUES))?;
            }
            if matches!(op, Op::Update | Op::Delete) {
                append(rows.before(), relation, image("before")?).map_err(|problem| bad(row, problem, VALUES))?;
            } else {
                rows.no_before();
            }
        }
        let resume = Position { file: "binlog.000001".into(), offset: 4, gtids: None, home: None };
        let whole = |problem: String, hint: &'static str| CaseError::Content {
            path: path.to_owned(),
            place: format!("case {:?}", self.name),
            problem,
            hint,
        };
        let made = batcher.finish(Arc::new(resume), true).map_err(|e| whole(e.to_string(), VALUES))?;
        made.ok_or_else(|| whole("`in` is empty".to_owned(), "give it at least one change"))
    }

    /// What is otherwise than the case says, line by line; empty: nothing.
    pub fn differences(&self, made: &Made) -> Vec<String> {
        let (out, errors) = match (made, &self.error) {
            (Made::Error(text), Some(expected)) if text.contains(expected) => return Vec::new(),
            (Made::Error(text), expected) => {
                let mut lines: Vec<String> = expected.iter().map(|expected| format!("- error: {expected}")).collect();
                lines.extend(text.lines().map(|line| format!("+ error: {line}")));
                return lines;
            }
            (Made::Rows { .. }, Some(expected)) => return vec![format!("- error: {expected}"), "+ no error".to_owned()],
            (Made::Rows { out, errors }, None) => (out, errors),
        };
        let Some(expected) = &self.out else { return vec!["the case has no `out` yet: --accept writes it".to_owned()] };
        let mut lines = difference(expected, out, is_same_value, Json::to_string);
        lines.extend(difference(&self.errors, errors, |a, b| a == b, |error| format!("error of {error}")));
        lines
    }

    /// The case says what was made.
    pub fn accept(&mut self, made: Made) {
        match made {
            Made::Rows { out, errors } => (self.out, self.errors, self.error) = (Some(out), errors, None),
            // What the case says is enough.
            Made::Error(text) if self.error.as_ref().is_some_and(|expected| text.contains(expected)) => {}
            Made::Error(text) => {
                let first = text.lines().next().unwrap_or_default().to_owned();
                (self.out, self.errors, self.error) = (None, Vec::new(), Some(first));
            }
        }
    }
}

const VALUES: &str = "docs/types.md says how values are written";

/// The lines of one list that the other does not have at that place.
fn difference<T>(expected: &[T], made: &[T], is_same: impl Fn(&T, &T) -> bool, show: impl Fn(&T) -> String) -> Vec<String> {
    let mut lines = Vec::new();
    for at in 0..expected.len().max(made.len()) {
        let (a, b) = (expected.get(at), made.get(at));
        if a.zip(b).is_some_and(|(a, b)| is_same(a, b)) {
            continue;
        }
        lines.extend(a.map(|a| format!("- {}", show(a))));
        lines.extend(b.map(|b| format!("+ {}", show(b))));
    }
    lines
}

/// 1 and 1.0 are the same.
fn is_same_value(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) if a.is_f64() || b.is_f64() => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same_value(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same_value(a, b)))
        }
        _ => a == b,
    }
}

/// Of the same position are of the same transaction.
fn is_same(a: &Transaction, b: &Transaction) -> bool {
    (&a.file, a.offset, &a.gtid) == (&b.file, b.offset, &b.gtid)
}

fn transaction(number: u64, position: Option<&str>, gtid: Option<&str>, time: Option<&str>) -> Result<Transaction, String> {
    let bad = |name: &str, text: &str| format!("`{name}` is {text:?}");
    let (file, offset) = match position {
        None => ("binlog.000001", 4),
        Some(text) => {
            let parts = text.rsplit_once(':').and_then(|(file, offset)| Some((file, offset.parse().ok()?)));
            parts.ok_or_else(|| bad("position", text))?
        }
    };
    let gtid = gtid.map(|text| Gtid::parse(text).ok_or_else(|| bad("gtid", text))).transpose()?;
    let time = time.map(|text| parse_time(text).ok_or_else(|| bad("commit_time", text))).transpose()?;
    Ok(Transaction { number, gtid, file: file.into(), offset, commit_time_us: time.unwrap_or(0) })
}

/// One image of a row. The error names the column.
fn append(builders: &mut [Option<ColumnBuilder>], relation: &Relation, image: &Map<String, Json>) -> Result<(), String> {
    if let Some(unknown) = image.keys().find(|name| relation.column(name).is_none()) {
        return Err(format!("{relation} has no column `{unknown}`"));
    }
    for (builder, def) in builders.iter_mut().flatten().zip(&relation.columns) {
        match image.get(&*def.name) {
            None => builder.absent(),
            Some(value) => value::append(builder, &def.source_type, value).map_err(|e| format!("column `{}`: {e}", def.name))?,
        }
    }
    Ok(())
}

fn error(error: &RowError) -> String {
    format!("row {}: {}", error.id.place / 2, error.message)
}

/// The lines of a batch that came out of a plugin.
fn out(batch: &Batch) -> Vec<Json> {
    let everything = Patterns::parse(&["*".to_owned()]).expect("a pattern");
    let routed = Router::new(vec![(everything, 0)], Unrouted::Drop).route(batch, 1).expect("what no route takes is dropped");
    let mut lines = Vec::new();
    for slices in routed.slices {
        let delivery = Delivery { slices, transactions: &[], mark: None, commit: true };
        lines.extend(lines_of(&delivery).expect("the chain has checked the kinds"));
    }
    lines
}

/// The changes that a sink gets, as cases have them: without the key, and without a topic that is the table's own.
pub fn lines_of(delivery: &Delivery<'_>) -> Result<Vec<Json>, SinkError> {
    let mut lines = Vec::new();
    jsonl::render(delivery, &mut lines, &mut String::new())?;
    let line = |line: &[u8]| {
        let mut line: Json = serde_json::from_slice(line).expect("the sink writes JSON");
        if let Json::Object(members) = &mut line {
            members.shift_remove("key");
            let own =
                members.get("schema").zip(members.get("table")).and_then(|(s, t)| Some(format!("{}.{}", s.as_str()?, t.as_str()?)));
            if members.get("topic").and_then(Json::as_str) == own.as_deref() {
                members.shift_remove("topic");
            }
        }
        line
    };
    Ok(lines.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()).map(line).collect())
}
