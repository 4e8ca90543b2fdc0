//! Why an event could not be decoded. Says where (file, offset, event, relation, column), what, and how to go on; never a row value.

use std::fmt;
use std::sync::Arc;

use super::event::Truncated;
use super::plan::PlanError;
use super::rows::RowsError;
use super::table_map::TableMapError;
use super::value::ValueError;

/// Stops the pipeline: nothing of this event and what follows it may be settled.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{offset}: {event}{}: {problem}", RelationSuffix(.relation.as_deref()))]
pub struct DecodeError {
    /// Base name of the binlog file.
    pub file: Arc<str>,
    /// Where the event begins in it.
    pub offset: u64,
    /// Name of the event type.
    pub event: &'static str,
    /// `schema.table`.
    pub relation: Option<Box<str>>,
    pub problem: Problem,
}

struct RelationSuffix<'a>(Option<&'a str>);

impl fmt::Display for RelationSuffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(relation) => write!(f, " of `{relation}`"),
            None => Ok(()),
        }
    }
}

/// Why a relation cannot be taken: what whoever was asked says.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(
        "{0}\nhint: the binlog is damaged: compare it with the server's own, go on after this transaction with `tidegate cursor set`, and copy its rows by hand"
    )]
    Truncated(#[from] Truncated),
    #[error(transparent)]
    TableMap(#[from] TableMapError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(
        "{0}\nhint: the binlog is damaged: compare it with the server's own, go on after this transaction with `tidegate cursor set`, and copy its rows by hand"
    )]
    Rows(#[from] RowsError),
    #[error(
        "column `{column}`: {error}\nhint: the row or its TABLE_MAP is damaged, or the server writes the type in a way that is not known: go on after this transaction with `tidegate cursor set`, or leave the table out"
    )]
    Value { column: Box<str>, error: ValueError },
    #[error(
        "column `{column}` is part of the key, but the row image does not have it\nhint: set binlog_row_image=FULL at the source"
    )]
    KeyAbsent { column: Box<str> },
    #[error(
        "the key of a row changes, but the row image leaves out column `{column}`, so the row cannot be written anew\nhint: set binlog_row_image=FULL at the source"
    )]
    KeyChangePartial { column: Box<str> },
    #[error("its table id {0} was not announced by a TABLE_MAP\nhint: begin at the start of a transaction (`tidegate cursor set`)")]
    UnknownTable(u64),
    /// From whoever was asked which columns are wanted.
    #[error("{0}")]
    Refused(Refusal),
    #[error(
        "event type {code} is not known and not marked as ignorable\nhint: this server is newer than what Tidegate knows; go on after this event with `tidegate cursor set`, if it is harmless"
    )]
    UnknownEvent { code: u8 },
    #[error("the format of servers before 5.1 is not supported\nhint: begin at a newer binlog file")]
    Ancient,
    #[error("the event is still compressed\nhint: this is a defect of Tidegate; please report it")]
    Compressed,
    #[error(
        "partial JSON updates are not supported\nhint: set binlog_row_value_options='' at the source, and begin after this transaction (`tidegate cursor set`)"
    )]
    PartialUpdate,
    #[error("XA transactions are not supported\nhint: if it changes no followed table, go on after it with `tidegate cursor set`")]
    Xa,
    #[error(
        "the source reports that changes may be missing from its binlog\nhint: compare or copy the tables anew, then go on after this event with `tidegate cursor set`"
    )]
    Incident,
    #[error(
        "changes `{table}` by a statement and not by rows\nhint: set binlog_format=ROW at the source, copy the table anew, then go on after this event with `tidegate cursor set`"
    )]
    StatementChange { table: String },
    #[error(
        "takes rows from `{table}` that are not logged one by one\nhint: do the same at the target, then go on after this event with `tidegate cursor set`"
    )]
    Emptied { table: String },
    #[error(
        "alters `{table}`, whose column names are not in the binlog\nhint: set binlog_row_metadata=FULL at the source, then go on after this event with `tidegate cursor set`"
    )]
    MinimalDdl { table: String },
    #[error(
        "rolls back rows that are in the binlog, as statements on tables with and without transactions in one transaction do\nhint: compare the tables, then go on after this transaction with `tidegate cursor set`"
    )]
    RolledBack,
    #[error("row event outside of a transaction\nhint: begin at the start of a transaction (`tidegate cursor set`)")]
    OutsideTransaction,
    #[error(
        "a transaction begins inside another one\nhint: the binlog is damaged or was cut; go on at the start of a transaction with `tidegate cursor set`"
    )]
    Nested,
    #[error(
        "after the connection was lost, reading went on at another transaction than the one that was open\nhint: start the pipeline again; it goes on at its cursor"
    )]
    OtherTransaction,
    #[error("the framing of this event does not fit its segment\nhint: this is a defect of Tidegate; please report it")]
    Framing,
}
