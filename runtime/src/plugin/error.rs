//! What can go wrong with a plugin. Every error names the plugin, and the relation and row where they are known.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::engine::TRANSFORM;
use crate::change::{Relation, RowId};

/// The shape of every message: ``plugin `mask`, shop.customers: what\nhint: how to mend it``.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{plugin}`{}: {fault}", OfRelation(.relation))]
pub struct PluginError {
    pub plugin: Arc<str>,
    /// `schema.table`; `None` before there is one.
    pub relation: Option<String>,
    #[source]
    pub fault: Fault,
}

struct OfRelation<'a>(&'a Option<String>);

impl fmt::Display for OfRelation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |relation| write!(f, ", {relation}"))
    }
}

/// Kinds of faults. None of them goes away by trying again.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("cannot set up the WebAssembly engine: {0}")]
    Engine(String),
    #[error("cannot read {}: {source}\nhint: `path` is relative to the manifest's folder", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{} is not the file that the manifest names: its sha256 is {found}, not {expected}\nhint: build or fetch the right file, or change `sha256` of this plugin", path.display()
    )]
    Digest { path: PathBuf, expected: String, found: String },
    #[error(
        "was rolled back to {sha256}, which is not kept any more\nhint: `tidegate plugin reload` with its name takes its file again"
    )]
    NotKept { sha256: String },
    #[error("{} is not a plugin: {reason}\nhint: build it as a WebAssembly component against wit/v0.1 (`tidegate plugin build`)", path.display())]
    NotAPlugin { path: PathBuf, reason: String },
    /// Of the interface.
    #[error(
        "{} exports `{found}`, and this version of tidegate speaks `{TRANSFORM}`\nhint: run it with a tidegate that speaks that version, or \
         build it against wit/v0.1 (`tidegate plugin build`)", path.display()
    )]
    OtherVersion { path: PathBuf, found: String },
    /// The hint says what would grant them, if anything does.
    #[error("imports {imports}, which the sandbox does not have\nhint: {hint}")]
    RefusedImports { imports: String, hint: String },
    #[error("may have the variable {name} of the environment (`allow`), but it {problem}\nhint: export {name}=…")]
    Variable { name: String, problem: &'static str },
    #[error("cannot make requests to {host}: {problem}\nhint: change `http` of this plugin in the manifest")]
    Http { host: String, problem: String },
    #[error(
        "has {limit} instances, and may have no more\nhint: raise `instances` of this plugin, or lower `lanes` of its pipelines"
    )]
    Instances { limit: usize },
    #[error("refused its configuration: {0}\nhint: change `config` where it is given: in the manifest, or in the case file")]
    Configure(String),
    #[error("refused the table: {0}")]
    Bind(String),
    #[error("asks for what cannot be: {0}")]
    Plan(String),
    /// The plugin's own `Err`.
    #[error("reported an error: {0}")]
    Reported(String),
    /// With the frames of the guest and what it logged last.
    #[error("crashed in {call}: {trap}")]
    Trap { call: &'static str, trap: String },
    #[error("took longer than {} ms in {call} and was stopped{log}\nhint: raise `time` of this plugin, or lower the pipeline's `batch.rows`", limit.as_millis())]
    Deadline { call: &'static str, limit: Duration, log: String },
    #[error(
        "wanted more than its {limit} bytes of memory in {call}{log}\nhint: raise `memory` of this plugin, or lower the pipeline's `batch.rows`"
    )]
    Memory { call: &'static str, limit: usize, log: String },
    #[error("returned a malformed outcome: {0}")]
    Malformed(String),
    /// In a call that is of no rows.
    #[error("passed more than {limit} bytes at once to the host in {call}\nhint: raise `output` of this plugin")]
    Output { call: &'static str, limit: usize },
    /// An earlier call crashed; this instance cannot be used any more.
    #[error("has crashed before and was not started again")]
    Dead,
}

/// A row that a plugin could not process. It is marked as dropped in the batch, and the lane stops.
#[derive(Clone, Debug)]
pub struct RowError {
    pub plugin: Arc<str>,
    /// As the chain was given it.
    pub relation: Arc<Relation>,
    pub id: RowId,
    /// Index in [`crate::change::Rows`].
    pub row: usize,
    /// The plugin's words.
    pub message: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin `{}`, {}, row {} of the batch: {}", self.plugin, self.relation, self.row, self.message)
    }
}
