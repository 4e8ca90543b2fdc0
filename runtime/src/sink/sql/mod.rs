//! The SQL sinks: MySQL, PostgreSQL and SQLite share how a delivery becomes statements ([`fold`]), transactions and errors; each has
//! a [`Session`] of its own that speaks its dialect.
//!
//! A delivery is one target transaction: deletes of all tables, then everything else in source order of the tables, then the
//! mark. Before each transaction the tables are looked up at the target (and made, with `create = true`), so that a missing
//! column is an error by name and generated columns are left out.
//!
//! A target that says nothing for long is asked by a second connection whether it is still there. Where a connection is lost while
//! the target commits, its mark tells whether it did, so that nothing is written twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{Delivery, Mark, SinkError, Writer};
use crate::change::KeyOrigin;
use crate::check::{Finding, Severity};
use crate::manifest::template::{TableName, TableTemplate};

mod alter;
mod ddl;
pub mod fold;
mod marks;
pub mod mysql;
pub mod postgres;
pub mod sqlite;
mod table;

use fold::{Action, Group, Unit};
use table::Table;

/// Why a statement failed, before it is known which row it was about. Texts never hold row values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// See [`SinkError::Retry`].
    Retry(String),
    /// See [`SinkError::Conflict`].
    Conflict(String),
    /// A row cannot be written; `at` is its index in the group, where that is known.
    Row { at: Option<usize>, reason: String },
    /// See [`SinkError::Configuration`].
    Configuration { reason: String, hint: String },
}

impl Failure {
    fn configuration(reason: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::Configuration { reason: reason.into(), hint: hint.into() }
    }

    fn row(at: usize, reason: impl Into<String>) -> Failure {
        Failure::Row { at: Some(at), reason: reason.into() }
    }

    /// Puts where it happened before the text.
    fn within(self, place: &str) -> Failure {
        match self {
            Failure::Retry(text) => Failure::Retry(format!("{place}: {text}")),
            Failure::Conflict(text) => Failure::Conflict(format!("{place}: {text}")),
            Failure::Row { at, reason } => Failure::Row { at, reason: format!("{place}: {reason}") },
            Failure::Configuration { reason, hint } => Failure::Configuration { reason: format!("{place}: {reason}"), hint },
        }
    }

    fn into_finding(self, place: &str) -> Finding {
        let (problem, hint) = match self {
            Failure::Retry(problem) => (problem, "start the server, or check the address in the manifest".to_owned()),
            Failure::Conflict(problem) => (problem, NO_ROW_HINT.to_owned()),
            Failure::Row { reason, .. } => (reason, NO_ROW_HINT.to_owned()),
            Failure::Configuration { reason, hint } => (reason, hint),
        };
        Finding { severity: Severity::Error, subject: place.to_owned(), problem, hint }
    }

    /// Outside of any row.
    fn into_error(self) -> SinkError {
        match self {
            Failure::Retry(text) => SinkError::Retry(text),
            Failure::Conflict(text) => SinkError::Conflict(text),
            Failure::Row { reason, .. } => SinkError::Configuration { reason, hint: NO_ROW_HINT.to_owned() },
            Failure::Configuration { reason, hint } => SinkError::Configuration { reason, hint },
        }
    }
}

const NO_ROW_HINT: &str = "look into the target server's log";

/// A transaction, or the beginning of one.
pub(crate) struct Part<'p, 'u, 'a> {
    /// In the order in which they are written.
    groups: Vec<Group<'u, 'a>>,
    /// It ends there. `None`: only the last part stays open.
    commit: Option<Commit<'p>>,
}

/// The end of a transaction.
#[derive(Clone, Copy)]
pub(crate) struct Commit<'a> {
    /// Is written with it.
    mark: Option<&'a Mark>,
}

/// What the target refused.
pub(crate) struct Refusal {
    /// Index of the group in its part; `None`: it is about none of them.
    group: Option<usize>,
    failure: Failure,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal { group: None, failure }
    }
}

/// A connection to the target that speaks one dialect. After an error the caller rolls back.
#[async_trait]
pub(crate) trait Session: Send {
    /// Begins a transaction; connects first if there is no connection.
    async fn begin(&mut self) -> Result<(), Failure>;

    /// Ends the transaction without a trace; a connection that cannot do it any more is dropped.
    async fn rollback(&mut self);

    /// The tables that were looked up.
    fn tables(&mut self) -> &mut HashMap<TableName, Arc<Table>>;

    /// Looks up the target table (and makes it, if it is to be made).
    async fn look_up(&mut self, unit: &Unit<'_>) -> Result<Arc<Table>, Failure>;

    /// Writes the parts in their order; each that commits ends a transaction, and the next one begins another. The tables of their
    /// units were prepared.
    async fn write(&mut self, parts: &[Part<'_, '_, '_>]) -> Result<(), Refusal>;

    /// The text of a lane's mark as it is committed. Waits for a transaction that is writing it.
    async fn marked(&mut self, lane: u32) -> Result<Option<String>, Failure>;

    /// Drops the connection, whatever it is doing.
    fn hang_up(&mut self);

    /// By which it can be told whether the target is still there. `None`: it cannot go away.
    fn door(&self) -> Option<Box<dyn Door>>;
}

/// A session that sends each statement by itself.
#[async_trait]
pub(crate) trait Stepwise: Session {
    /// Writes the rows of a group.
    async fn apply(&mut self, group: &Group<'_, '_>) -> Result<(), Failure>;

    async fn commit(&mut self, mark: Option<&Mark>) -> Result<(), Failure>;
}

/// [`Session::write`], step by step.
async fn write_stepwise(session: &mut impl Stepwise, parts: &[Part<'_, '_, '_>]) -> Result<(), Refusal> {
    for (n, Part { groups, commit }) in parts.iter().enumerate() {
        if n > 0 {
            session.begin().await?;
        }
        for (at, group) in groups.iter().enumerate() {
            session.apply(group).await.map_err(|failure| Refusal { group: Some(at), failure })?;
        }
        if let Some(Commit { mark }) = commit {
            session.commit(*mark).await?;
        }
    }
    Ok(())
}

/// Where a target lets connections in.
#[async_trait]
pub(crate) trait Door: Send + Sync {
    /// False if nobody is there; an answer of any kind is true.
    async fn answers(&self) -> bool;
}

/// A statement that takes longer makes us knock at the door, and again after twice the time,
const KNOCK_AFTER: Duration = Duration::from_secs(5);
/// where an answer must not take longer than this.
const KNOCK_TIME_MAX: Duration = Duration::from_secs(3);
/// A delivery that takes longer is given up: its connection may be dead where others are not.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(300);

/// How long connecting and logging in may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection, if the target lets one in in time.
async fn in_time<T>(connecting: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let silent = |_| Err(Failure::Retry(format!("connection: no answer within {} s", CONNECT_TIME_MAX.as_secs())));
    tokio::time::timeout(CONNECT_TIME_MAX, connecting).await.unwrap_or_else(silent)
}

/// Returns when waiting for an answer of the target is in vain.
async fn silence(door: Option<&dyn Door>) {
    let Some(door) = door else { return std::future::pending().await };
    let mut pause = KNOCK_AFTER;
    let mut waited = Duration::ZERO;
    while waited < DELIVERY_TIME_MAX {
        tokio::time::sleep(pause).await;
        if !tokio::time::timeout(KNOCK_TIME_MAX, door.answers()).await.unwrap_or(false) {
            return;
        }
        waited += pause;
        pause *= 2;
    }
}

/// A lane's writer, whatever the dialect.
pub(crate) struct SqlWriter<S> {
    template: TableTemplate,
    session: S,
    door: Option<Box<dyn Door>>,
    /// A transaction is open at the target.
    open: bool,
    /// The target was told to commit, and has not answered yet.
    committing: bool,
    /// The marks of transactions of which nobody knows whether they were committed, in their order,
    in_doubt: Vec<String>,
    /// and of those that were, as the target says.
    committed: Vec<String>,
}

impl<S: Session> SqlWriter<S> {
    fn new(template: &TableTemplate, session: S) -> SqlWriter<S> {
        let door = session.door();
        let template = template.clone();
        SqlWriter { template, session, door, open: false, committing: false, in_doubt: Vec::new(), committed: Vec::new() }
    }

    async fn deliver(&mut self, deliveries: &[Delivery<'_>], folded: bool) -> Result<(), SinkError> {
        let door = self.door.take();
        let answer = tokio::select! {
            result = self.attempt_or_undo(deliveries, folded) => Some(result),
            () = silence(door.as_deref()) => None,
        };
        self.door = door;
        let result = answer.unwrap_or_else(|| {
            self.session.hang_up();
            self.open = false;
            Err(SinkError::Retry("no answer".to_owned()))
        });
        if std::mem::take(&mut self.committing) && result.is_err() {
            self.in_doubt = deliveries.iter().filter_map(|delivery| delivery.mark.map(marks::text)).collect();
        }
        result
    }

    async fn attempt_or_undo(&mut self, deliveries: &[Delivery<'_>], folded: bool) -> Result<(), SinkError> {
        if let [Delivery { mark: Some(mark), .. }] = deliveries
            && self.was_committed(mark).await.map_err(Failure::into_error)?
        {
            return Ok(());
        }
        let result = self.attempt(deliveries, folded).await;
        if result.is_err() && self.open {
            self.session.rollback().await;
            self.open = false;
        }
        result
    }

    /// Whether the delivery with this mark was committed when it could not be told: the target has its mark, or a later one.
    async fn was_committed(&mut self, mark: &Mark) -> Result<bool, Failure> {
        if self.in_doubt.is_empty() && self.committed.is_empty() {
            return Ok(false);
        }
        let text = marks::text(mark);
        if self.in_doubt.contains(&text) {
            self.session.begin().await?;
            let last = self.session.marked(mark.lane).await;
            self.session.rollback().await;
            let last = last?;
            let count = self.in_doubt.iter().position(|mark| Some(mark) == last.as_ref()).map_or(0, |at| at + 1);
            self.committed = std::mem::take(&mut self.in_doubt);
            self.committed.truncate(count);
        }
        Ok(self.committed.contains(&text))
    }

    /// The target table of a unit is known, and has its relation's key.
    async fn prepare(&mut self, unit: &Unit<'_>) -> Result<(), Failure> {
        if self.session.tables().contains_key(&unit.target) {
            return Ok(());
        }
        let table = self.session.look_up(unit).await?;
        if unit.relation.key_origin != KeyOrigin::WholeRow && !table.has_key(&unit.relation) {
            return Err(table::no_key(&unit.target, &unit.relation));
        }
        self.session.tables().insert(unit.target.clone(), table);
        Ok(())
    }

    async fn attempt(&mut self, deliveries: &[Delivery<'_>], folded: bool) -> Result<(), SinkError> {
        let units = deliveries.iter().map(|delivery| fold::units(&delivery.slices, &self.template));
        let units = units.collect::<Result<Vec<_>, _>>()?;
        make_room(self.session.tables(), units.iter().map(Vec::len).sum());
        for unit in units.iter().flatten() {
            let prepared = self.prepare(unit).await;
            prepared.map_err(Failure::into_error)?;
        }
        if !self.open {
            let begun = self.session.begin().await;
            begun.map_err(Failure::into_error)?;
            self.open = true;
        }
        let mut parts = Vec::with_capacity(deliveries.len());
        for (delivery, units) in deliveries.iter().zip(&units) {
            let groups = if folded { folded_groups(units) } else { unfolded_groups(units) };
            parts.push(Part { groups, commit: delivery.commit.then_some(Commit { mark: delivery.mark }) });
        }
        self.committing = deliveries.iter().any(|delivery| delivery.commit);
        let written = self.session.write(&parts).await;
        match (written, &parts[..]) {
            (Ok(()), _) => {
                self.open = deliveries.last().is_some_and(|delivery| !delivery.commit);
                self.committing = false;
                self.committed.clear();
                Ok(())
            }
            (Err(Refusal { group: Some(group), failure }), [part]) => Err(self.locate(&part.groups[group], failure).await),
            (Err(Refusal { failure, .. }), _) => Err(failure.into_error()),
        }
    }

    /// Finds the row that a failure is about: the group's rows are written again one at a time, in a transaction that is
    /// rolled back.
    async fn locate(&mut self, group: &Group<'_, '_>, failure: Failure) -> SinkError {
        let place = format!("table `{}`", table::plain_name(&group.unit.target));
        let row = |at: usize, reason: String| SinkError::Row {
            relation: group.relation(at),
            id: group.rows[at].id,
            reason: format!("{place}: {reason}"),
        };
        match failure {
            Failure::Row { at: Some(at), reason } => row(at, reason),
            Failure::Row { at: None, reason } if group.rows.len() == 1 => row(0, reason),
            Failure::Row { at: None, reason } => {
                self.session.rollback().await;
                self.open = false;
                // A table that was made in the transaction has to be made again.
                let begun = match self.prepare(group.unit).await {
                    Ok(()) => self.session.begin().await,
                    Err(failure) => Err(failure),
                };
                if let Err(failure) = begun {
                    return failure.into_error();
                }
                self.open = true;
                for at in 0..group.rows.len() {
                    let part = Part { groups: vec![group.single(at)], commit: None };
                    match self.session.write(&[part]).await.map_err(|refusal| refusal.failure) {
                        Ok(()) => {}
                        Err(Failure::Row { reason, .. }) => return row(at, reason),
                        Err(other) => return other.within(&place).into_error(),
                    }
                }
                // It fails only together with what was written before it: row by row it will show.
                SinkError::Conflict(format!("{place}: {reason}"))
            }
            other @ (Failure::Retry(_) | Failure::Conflict(_) | Failure::Configuration { .. }) => other.within(&place).into_error(),
        }
    }
}

/// Deletes of all tables first, each in order of the first row. Units of one table (their keys differ) stay one after the other.
fn folded_groups<'u, 'a>(units: &'u [Unit<'a>]) -> Vec<Group<'u, 'a>> {
    let mut groups: Vec<(usize, Group<'u, 'a>)> = Vec::new();
    for (n, unit) in units.iter().enumerate() {
        let run = units[..n].iter().filter(|u| u.target == unit.target).count();
        groups.extend(unit.folded().into_iter().map(|group| (run, group)));
    }
    // Stable: groups of one unit keep their order among themselves.
    groups.sort_by_key(|(run, group)| (*run, group.action != Action::Delete, group.unit.first()));
    groups.into_iter().map(|(_, group)| group).collect()
}

/// All rows of all tables in source order, one a group.
fn unfolded_groups<'u, 'a>(units: &'u [Unit<'a>]) -> Vec<Group<'u, 'a>> {
    let mut groups: Vec<Group<'u, 'a>> = units.iter().flat_map(Unit::unfolded).collect();
    groups.sort_by_key(|group| group.rows[0].id);
    groups
}

#[async_trait]
impl<S: Session> Writer for SqlWriter<S> {
    async fn write(&mut self, delivery: &Delivery<'_>) -> Result<(), SinkError> {
        self.deliver(std::slice::from_ref(delivery), true).await
    }

    async fn write_all(&mut self, deliveries: &[Delivery<'_>]) -> bool {
        let written = self.deliver(deliveries, true).await;
        written.inspect_err(|error| tracing::debug!("{error}: writing one transaction after the other")).is_ok()
    }

    async fn write_unfolded(&mut self, delivery: &Delivery<'_>) -> Result<(), SinkError> {
        self.deliver(std::slice::from_ref(delivery), false).await
    }

    fn forget_tables(&mut self) {
        self.session.tables().clear();
    }
}

/// What the writers of one sink share: the target's tables, looked up once.
pub(crate) type Catalog = Arc<Mutex<HashMap<TableName, Arc<Table>>>>;

/// The target table of a unit, from the catalog. `look` finds it (and makes it) where no writer has used it yet.
async fn shared(
    catalog: &Catalog,
    unit: &Unit<'_>,
    look: impl Future<Output = Result<Option<Table>, Failure>>,
) -> Result<Arc<Table>, Failure> {
    let mut known = catalog.lock().await;
    if let Some(table) = known.get(&unit.target) {
        return Ok(Arc::clone(table));
    }
    let table = Arc::new(look.await?.ok_or_else(|| table::missing(&unit.target))?);
    make_room(&mut known, 1);
    known.insert(unit.target.clone(), Arc::clone(&table));
    Ok(table)
}

/// Tables that are remembered, at most, unless one delivery has more; beyond it, all are forgotten and looked up again.
const TABLES_MAX: usize = 16_384;

/// Makes room for `more` tables.
fn make_room(tables: &mut HashMap<TableName, Arc<Table>>, more: usize) {
    if tables.len() + more > TABLES_MAX {
        tables.clear();
    }
}

/// Without `tls`, connections within this machine are not encrypted.
fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{KeyOrigin, Op, Relation, RowId, Rows, Slice};

    /// Has every table.
    #[derive(Default)]
    struct Willing {
        tables: HashMap<TableName, Arc<Table>>,
    }

    #[async_trait]
    impl Session for Willing {
        async fn begin(&mut self) -> Result<(), Failure> {
            Ok(())
        }

        async fn rollback(&mut self) {}

        fn tables(&mut self) -> &mut HashMap<TableName, Arc<Table>> {
            &mut self.tables
        }

        async fn look_up(&mut self, _: &Unit<'_>) -> Result<Arc<Table>, Failure> {
            let (columns, unique, unique_names) = (Vec::new(), Vec::new(), Vec::new());
            Ok(Arc::new(Table { sql: String::new(), columns, unique, unique_names, ignores_case: false }))
        }

        async fn write(&mut self, parts: &[Part<'_, '_, '_>]) -> Result<(), Refusal> {
            let has_table = |group: &Group<'_, '_>| self.tables.contains_key(&group.unit.target);
            assert!(parts.iter().flat_map(|part| &part.groups).all(has_table), "a table of this delivery was forgotten");
            Ok(())
        }

        async fn marked(&mut self, _: u32) -> Result<Option<String>, Failure> {
            Ok(None)
        }

        fn hang_up(&mut self) {}

        fn door(&self) -> Option<Box<dyn Door>> {
            None
        }
    }

    #[tokio::test]
    async fn tables_that_come_and_go_take_no_memory() {
        let mut writer = SqlWriter::new(&"{table}".parse().unwrap(), Willing::default());
        for first in (0..TABLES_MAX * 2).step_by(1000) {
            let rows = (first..first + 1000).map(|table| Rows {
                relation: Arc::new(Relation {
                    id: table as u32,
                    schema: "s".into(),
                    table: format!("tmp_{table}").into(),
                    columns: Vec::new(),
                    key: Vec::new(),
                    key_origin: KeyOrigin::WholeRow,
                }),
                ops: vec![Op::Insert],
                ids: vec![RowId { transaction: 1, place: table as u64 }],
                after: Vec::new(),
                before: Vec::new(),
                topics: None,
            });
            let rows: Vec<Rows> = rows.collect();
            let slice = |rows| Slice { rows, topic: "s.t".into(), picks: vec![0] };
            let delivery = Delivery { slices: rows.iter().map(slice).collect(), transactions: &[], mark: None, commit: true };
            writer.write(&delivery).await.unwrap();
            assert!(writer.session.tables.len() <= TABLES_MAX);
        }
    }
}
