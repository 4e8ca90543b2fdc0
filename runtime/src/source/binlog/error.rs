//! Why an event could not be decoded. Says where (file, offset, event, relation, column), what, and how to go on; never a row value.

use std::fmt;
use std::sync::Arc;

use super::event::Truncated;
use super::plan::PlanError;
use super::rows::RowsError;
use super::table_map::TableMapError;
use super::value::ValueError;
use super::values::json_diff::DiffError;

/// Stops the pipeline: nothing of this event and what follows it may be settled.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{offset}: {event}{}: {}", RelationSuffix(.relation.as_deref()), .problem.told(.after))]
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
    /// How the pipeline goes on after the transaction.
    pub after: Box<After>,
}

/// A command that lets a pipeline go on, for hints.
#[derive(Debug)]
pub struct After {
    /// The pipeline's name.
    pub pipeline: String,
    /// The position after the transaction, as `tidegate cursor set` takes it; `None`: not known.
    pub position: Option<String>,
}

impl Default for After {
    fn default() -> After {
        After { pipeline: "PIPELINE".to_owned(), position: None }
    }
}

impl Problem {
    /// The text, with the commands that its hint means by {after} and {start}.
    fn told(&self, after: &After) -> String {
        let at = |where_: &str| {
            let name = &after.pipeline;
            format!("`tidegate cursor set {name} FILE:OFFSET`, where `mysqlbinlog FILE` prints `# at OFFSET` {where_}")
        };
        let go_on = match &after.position {
            Some(position) => format!("`tidegate cursor set {} {position}`", after.pipeline),
            None => at("behind its COMMIT"),
        };
        self.to_string()
            .replace("{pipeline}", &after.pipeline)
            .replace("{after}", &go_on)
            .replace("{start}", &at("before a GTID or BEGIN"))
    }
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
        "{0}\nhint: the binlog is damaged: compare it with the server's own, copy the transaction's rows by hand, and go on after it with {{after}}"
    )]
    Truncated(#[from] Truncated),
    #[error(
        "a row changed while it was read from its table, and the change has not all its columns (binlog_row_image is not FULL)\nhint: set binlog_row_image = 'FULL' at the server, let sessions that are open connect again, and start again: reading goes on where it was"
    )]
    ReadPartial,
    #[error(transparent)]
    TableMap(#[from] TableMapError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(
        "{0}\nhint: the binlog is damaged: compare it with the server's own, copy the transaction's rows by hand, and go on after it with {{after}}"
    )]
    Rows(#[from] RowsError),
    #[error(
        "column `{column}`: {error}\nhint: the row or its TABLE_MAP is damaged, or the server writes the type in a way that is not known: leave the table out, or go on after this transaction with {{after}}"
    )]
    Value { column: Box<str>, error: ValueError },
    #[error(
        "column `{column}` is part of the key, but the row image does not have it\nhint: set binlog_row_image=FULL at the source, copy the transaction's rows by hand, and go on after it with {{after}}"
    )]
    KeyAbsent { column: Box<str> },
    #[error(
        "the key of a row changes, but the row image leaves out column `{column}`, so the row cannot be written anew under its new key\nhint: set binlog_row_image=FULL at the source, let sessions that are open connect again; change the key at the target by hand and go on after the transaction with {{after}}, or begin anew with a snapshot"
    )]
    KeyChangePartial { column: Box<str> },
    #[error(
        "a row was inserted without column `{column}`, and what its default was is not known for sure (binlog_row_image is not FULL)\nhint: set binlog_row_image=FULL at the source, let sessions that are open connect again; copy the transaction's rows by hand and go on after it with {{after}}, or begin anew with a snapshot"
    )]
    InsertPartial { column: Box<str> },
    #[error("its table id {0} was not announced by a TABLE_MAP\nhint: begin at the start of a transaction with {{start}}")]
    UnknownTable(u64),
    /// From whoever was asked which columns are wanted.
    #[error("{0}")]
    Refused(Refusal),
    #[error(
        "event type {code} is not known and not marked as ignorable\nhint: this server is newer than what Tidegate knows; if it is harmless, go on after this event with {{after}}"
    )]
    UnknownEvent { code: u8 },
    #[error("the format of servers before 5.1 is not supported\nhint: begin at a newer binlog file")]
    Ancient,
    #[error("the event is still compressed\nhint: this is a defect of Tidegate; please report it")]
    Compressed,
    #[error(
        "column `{column}`: only parts of a JSON value were logged, and the row image does not have the value before\nhint: set binlog_row_image=FULL or binlog_row_value_options='' at the source, copy the row by hand, and go on after this transaction with {{after}}"
    )]
    PartialBaseAbsent { column: Box<str> },
    #[error(
        "column `{column}`: {error}\nhint: the binlog is damaged: compare it with the server's own, copy the transaction's rows by hand, and go on after it with {{after}}"
    )]
    Partial { column: Box<str>, error: DiffError },
    #[error(
        "commits the XA transaction {xid}, which was prepared before the place where this pipeline began to read (or was told to go on)\nhint: if it changed followed tables, copy their rows by hand; then go on after this event with {{after}}"
    )]
    XaCommit { xid: String },
    #[error(
        "the source reports that changes may be missing from its binlog\nhint: compare or copy the tables anew, then go on after this event with {{after}}"
    )]
    Incident,
    #[error(
        "changes `{table}` by a statement and not by rows\nhint: set binlog_format=ROW at the source, copy the table anew, then go on after this event with {{after}}"
    )]
    StatementChange { table: String },
    #[error(
        "calls a stored function that changes rows, of which tables it does not say\nhint: set binlog_format=ROW at the source, copy anew what the function changes, then go on after this event with {{after}}"
    )]
    StatementCall,
    #[error(
        "takes rows from `{table}` that are not logged one by one\nhint: do the same at the target, then go on after this event with {{after}}"
    )]
    Emptied { table: String },
    #[error(
        "{reason}\nhint: write the table's CREATE TABLE, as it was then, into a file, and say `tidegate schema set {{pipeline}} '{table}' FILE`; if the server's table has the same columns, `tidegate schema refresh {{pipeline}} '{table}'` takes them; binlog_row_metadata=FULL at the source avoids it"
    )]
    Schema { table: String, reason: String },
    #[error(
        "defines `{table}`: `{statement}`\nhint: do the same at the target if it needs it, then go on after this statement with {{after}}"
    )]
    Ddl { table: String, statement: String },
    #[error(transparent)]
    NotFollowed(Box<NotFollowed>),
    #[error(
        "rolls back rows that are in the binlog, as statements on tables with and without transactions in one transaction do\nhint: compare the tables, then go on after this transaction with {{after}}"
    )]
    RolledBack,
    #[error("row event outside of a transaction\nhint: begin at the start of a transaction with {{start}}")]
    OutsideTransaction,
    #[error(
        "a transaction begins inside another one\nhint: the binlog is damaged or was cut; go on at the start of a transaction with {{start}}"
    )]
    Nested,
    #[error(
        "after the connection was lost, reading went on at another transaction than the one that was open\nhint: start the pipeline again; it goes on at its cursor"
    )]
    OtherTransaction,
    #[error("the framing of this event does not fit its segment\nhint: this is a defect of Tidegate; please report it")]
    Framing,
}

/// A statement that cannot be carried over to a target (`ddl = "follow"`). `by_hand`: what to do there instead.
#[derive(Debug, thiserror::Error)]
#[error(
    "defines `{table}`: `{statement}`, which is not made at the target: {reason}\nhint: {by_hand}; then go on after this statement with {{after}}"
)]
pub struct NotFollowed {
    pub table: String,
    pub statement: String,
    pub reason: String,
    pub by_hand: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_commands_to_copy() {
        let problem = || Problem::Emptied { table: "s.t".to_owned() };
        let told = |problem, position: Option<&str>| {
            let after = Box::new(After { pipeline: "copy".to_owned(), position: position.map(str::to_owned) });
            DecodeError { file: "b.000001".into(), offset: 4, event: "QUERY", relation: None, problem, after }.to_string()
        };
        assert!(
            told(problem(), Some("b.000001:99")).ends_with("go on after this event with `tidegate cursor set copy b.000001:99`")
        );
        let unknown = told(problem(), None);
        assert!(unknown.contains("`tidegate cursor set copy FILE:OFFSET`") && unknown.contains("`mysqlbinlog FILE`"), "{unknown}");
        assert!(told(Problem::Nested, Some("b.000001:99")).contains("`tidegate cursor set copy FILE:OFFSET`"));
    }
}
