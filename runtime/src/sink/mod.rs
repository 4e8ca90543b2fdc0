//! Sinks: where changes are written.
//!
//! A sink is opened once a pipeline ([`Sink`]) and gives each lane a [`Writer`] of its own. The lane owns retries, backoff and
//! the wait after a conflict; a writer only tries once and says what happened. Sinks never see sources.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use crate::check::{Finding, Severity};

use crate::alteration::Alteration;
use crate::change::{Relation, RowId, Slice, Transaction};
use crate::lane::bonds::Bonds;
use crate::manifest::model::{Ordering, SinkConfig};
use crate::position::{Gtid, Position};
use crate::schema::ddl::Name;

pub mod cell;
pub mod jsonl;
pub mod null;
pub mod sql;

/// Makes the sink of one pipeline, without connecting. `name` is the `NAME` of `[sink.NAME]`, for messages; `pipeline` is under which
/// marks are kept. Fails with [`SinkError::Configuration`] if a URL cannot be read.
pub fn open(name: &str, config: &SinkConfig, pipeline: &str) -> Result<Arc<dyn Sink>, SinkError> {
    Ok(match config {
        SinkConfig::Jsonl(config) => Arc::new(jsonl::JsonlSink::new(name, config)),
        SinkConfig::Mysql(config) => Arc::new(sql::mysql::MysqlSink::new(name, config, pipeline)?),
        SinkConfig::Null(_) => Arc::new(null::NullSink),
        SinkConfig::Postgres(config) => Arc::new(sql::postgres::PostgresSink::new(name, config, pipeline)?),
        SinkConfig::Sqlite(config) => Arc::new(sql::sqlite::SqliteSink::new(name, config, pipeline)?),
    })
}

/// What a sink reads of the before images; the decoder leaves out the rest. After images are always whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BeforeNeed {
    /// Only the key columns, of deletes (and all columns of relations without a key).
    Key,
    /// All columns, of updates and deletes.
    All,
}

/// How far one lane has got, kept in the target in the transaction that wrote the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    pub lane: u32,
    /// Of the cursor store beside which it was written: [`Store::number`](crate::cursor::Store::number).
    pub store: Arc<str>,
    /// The lane count, ordering and bonds under which the mark was written: together they say which rows it covers.
    pub lanes: u32,
    pub ordering: Ordering,
    #[serde(default, skip_serializing_if = "no_bonds")]
    pub bonds: Arc<[Bonds]>,
    /// The lane has written all of its rows before this transaction boundary,
    pub resume: Arc<Position>,
    /// and these of the transaction that begins there.
    pub partial: Option<Partial>,
    /// Another one for each write: rows that were read from a table move no position, and whether the target has committed them is told
    /// by the mark that it has.
    #[serde(default)]
    pub number: u64,
}

fn no_bonds(bonds: &Arc<[Bonds]>) -> bool {
    bonds.is_empty()
}

/// How far into a transaction a [`Mark`] reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// The transaction: its GTID in text form, or where it begins.
    pub gtid: Option<String>,
    pub file: Arc<str>,
    pub offset: u64,
    /// [`RowId::place`] of the last row written.
    pub place: u64,
}

/// What a lane hands to one sink at once.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// One per (relation, topic). A row that goes to several topics is in several slices. Order across slices is that of
    /// `rows.ids`: slices that end in the same target table must be merged by it before they are folded.
    pub slices: Vec<Slice<'a>>,
    /// The transactions of the rows, for sinks that pass on where a change comes from.
    pub transactions: &'a [Transaction],
    /// To write in the same target transaction; `None` unless the pipeline keeps marks.
    pub mark: Option<&'a Mark>,
    /// False: more of the same source transaction follows, so the target transaction must stay open
    /// (`ordering = "transaction"` alone). True: durable when `write` returns `Ok`.
    pub commit: bool,
}

impl Delivery<'_> {
    pub fn transaction(&self, id: RowId) -> Option<&Transaction> {
        let at = self.transactions.partition_point(|t| t.number < id.transaction);
        self.transactions.get(at).filter(|t| t.number == id.transaction)
    }

    pub fn gtid(&self, id: RowId) -> Option<&Gtid> {
        self.transaction(id).and_then(|t| t.gtid.as_ref())
    }
}

/// Why a write failed; which says what the lane does next. Messages never hold row values, nor the sink's name: whoever tells the user adds it.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The target is away or busy (connection lost, deadlock, lock timeout, too many connections): the same delivery is tried again.
    #[error("{0}")]
    Retry(String),
    /// A unique or foreign key of another row is in the way: it may be that another lane has to write first, or that folding hid
    /// an intermediate step. The lane waits and tries again row by row in source order.
    #[error("{0}")]
    Conflict(String),
    /// This row can never be written (too long, out of range, violates a check): stop.
    #[error("{relation}: {reason}")]
    Row { relation: String, id: RowId, reason: String },
    /// The manifest or the target must be changed first (no such table or column, no right, wrong password): stop.
    #[error("{reason}\nhint: {hint}")]
    Configuration { reason: String, hint: String },
}

/// One target. Shared by the lanes of a pipeline.
#[async_trait]
pub trait Sink: Send + Sync {
    fn before_need(&self) -> BeforeNeed;

    /// True if [`Delivery::mark`] and [`Delivery::commit`]` = false` are honoured.
    fn is_transactional(&self) -> bool;

    /// True if a column that a new row lacks would become something else in the target, a NULL or the target's own default.
    fn needs_whole_rows(&self) -> bool {
        false
    }

    /// What would fail for these relations (after plugins; `topics` are what routes may name): reachability, tables, columns,
    /// widths, rights. Does not change the target.
    async fn check(&self, relations: &[Arc<Relation>]) -> Vec<Finding>;

    /// Which of the target's tables depend on each other.
    async fn bonds(&self) -> Result<Bonds, SinkError> {
        Ok(Bonds::default())
    }

    /// Connects a lane's writer.
    async fn writer(&self) -> Result<Box<dyn Writer>, SinkError>;

    /// The marks of this pipeline in the target (making their table if it is missing); empty if there are none. Transactional sinks only.
    async fn marks(&self, pipeline: &str) -> Result<Vec<Mark>, SinkError>;

    /// Replaces all marks of this pipeline in one transaction.
    async fn set_marks(&self, pipeline: &str, marks: &[Mark]) -> Result<(), SinkError>;

    /// Takes all rows from the table that a source's table goes to, before it is read anew. False: the sink cannot, or the target's table has
    /// rows of `others`, too.
    async fn empty(&self, _table: &Name, _others: &[Name]) -> Result<bool, SinkError> {
        Ok(false)
    }

    /// [`Alteration::key`] of the last one that was made wholly.
    async fn altered(&self) -> Result<Option<String>, SinkError> {
        Ok(None)
    }

    /// Forgets which one was made last: a user has moved the pipeline.
    async fn forget_altered(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Makes a change of the target's tables, or what is left of it; nothing if it was the last that was made. No writer has rows that
    /// are not committed. Any error but [`SinkError::Retry`] says why it cannot be made, and in its hint what to do by hand.
    async fn alter(&self, _alteration: &Alteration) -> Result<(), SinkError> {
        Err(SinkError::Configuration { reason: "the sink has no tables".to_owned(), hint: String::new() })
    }

    /// Rows will come with other columns: what is known of the target's tables is looked up again.
    async fn forget_tables(&self) {}

    /// What would stop [`Sink::alter`] at these relations: rights.
    async fn check_alter(&self, _relations: &[Arc<Relation>]) -> Vec<Finding> {
        Vec::new()
    }
}

/// One lane's way into a sink. Calls never overlap.
#[async_trait]
pub trait Writer: Send {
    /// Writes a delivery, folded by key, all or nothing (with what was left open before). `Ok` with `commit` promises durability;
    /// writing the same delivery again must end in the same state. After an `Err` nothing of the open target
    /// transaction remains, and the writer can be called again: it reconnects by itself.
    async fn write(&mut self, delivery: &Delivery<'_>) -> Result<(), SinkError>;

    /// Writes several as [`write`](Self::write) writes one, each in a target transaction of its own, where that is faster than one after
    /// the other; only the last may have no `commit`. False: each is to be written by itself; those that were committed all the same are left
    /// out then, which their marks tell.
    async fn write_all(&mut self, _deliveries: &[Delivery<'_>]) -> bool {
        false
    }

    /// The same without folding, in source order, one statement a row: what the lane does after a [`SinkError::Conflict`].
    /// A delivery here is usually one row.
    async fn write_unfolded(&mut self, delivery: &Delivery<'_>) -> Result<(), SinkError>;

    /// See [`Sink::forget_tables`].
    fn forget_tables(&mut self) {}
}
