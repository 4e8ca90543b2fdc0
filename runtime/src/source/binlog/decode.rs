//! The decoder of one pipeline: framed events in, rows appended to the lanes' builders.
//!
//! Invariants: [`RowId::place`] counts all row events of a transaction, followed or not, so that reading a transaction again gives
//! the same places; rows that were passed on already are skipped after a lost connection, never appended twice.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use foldhash::fast::FixedState;

use crate::batcher::Wanted;
use crate::change::{Op, Relation, Transaction};
use crate::lane::Lanes;
use crate::schema::token::Dialect;
use crate::schema::{self, history::Ddl};
use crate::source::{Boundary, Framed, Segment, TableInfo, TransactionBegin};

use super::absent::{self, Absent};
use super::append::{Appender, Progress, Scratch};
use super::error::{DecodeError, Problem, Refusal};
use super::event::{self, EventType, HEADER_LEN, Header, Reader};
use super::partial::Completer;
use super::plan::{self, Plan};
use super::query;
use super::rows::{DUMMY_TABLE_IDS, FLAG_STATEMENT_END, RowsEvent};
use super::statement::{self, Name, Statement};
use super::table_map::{self, TableMap};
use super::values::collation;
use super::xa::{self, Xa};

/// Which tables are followed: schema, table.
pub type Follows = Box<dyn Fn(&str, &str) -> bool + Send>;
/// Which columns of a relation anyone reads. `None`: nobody wants its rows.
pub type Wants = Box<dyn FnMut(&Relation) -> Result<Option<Wanted>, Refusal> + Send>;

/// More different TABLE_MAPs, or relations, than this in one run are forgotten and planned anew.
const PLANS_MAX: usize = 16_384;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The event is consumed.
    Done,
    /// A batch is full, and the event has more rows: hand on what is full, and decode the same event again.
    More,
    /// The event is consumed, unless it is an [`Xa::Commit`], and means this.
    Xa(Xa),
    /// The TABLE_MAP does not say the names or the key: ask the history, call [`Decoder::provide`], and decode the same event again.
    NeedsTable(Box<TableMap>),
    /// An INSERT leaves out columns: ask the history for the table as it was here, call [`Decoder::provide`], and decode the same event again.
    NeedsDefaults(Box<TableMap>),
    /// A statement that defines or empties tables: take it in, call [`Decoder::pass_ddl`], and decode the same event again.
    Ddl(Box<Ddl>),
}

/// A relation that was planned, and what is wanted of it; kept so that another TABLE_MAP of the same columns is the same relation.
struct Known {
    relation: Arc<Relation>,
    wanted: Option<Arc<Wanted>>,
}

/// What is behind a table id, or the bytes of a TABLE_MAP. `None`: not followed or not wanted.
type MaybePlan = Option<Arc<Plan>>;

/// The transaction that is being read.
pub(super) struct Current {
    pub transaction: Transaction,
    is_open: bool,
    /// Row events so far.
    pub row_events: u32,
    /// Place of the last row that was passed on.
    pub last_place: Option<u64>,
    /// Rows up to this place were passed on before the connection was lost.
    pub skip_through: Option<u64>,
    xa: xa::State,
}

pub struct Decoder {
    follows: Follows,
    wants: Wants,
    known: Vec<Known>,
    /// By the bytes of the TABLE_MAP after the table id.
    plans: HashMap<Box<[u8]>, MaybePlan, FixedState>,
    /// Which kind of server wrote the events: known from the first transaction on.
    is_mariadb: bool,
    /// The table ids of the current statement.
    active: Vec<(u64, MaybePlan)>,
    provided: Option<Option<TableInfo>>,
    /// The statement at hand was taken in.
    is_ddl_passed: bool,
    /// Of the server that wrote the file.
    dialect: Dialect,
    current: Current,
    /// The event at hand comes again: its boundary is accounted for.
    is_retry: bool,
    /// What is appended of it.
    progress: Option<Progress>,
    completed: Option<(Arc<str>, u64)>,
    scratch: Scratch,
    completer: Completer,
    /// A column that is absent from a new row, and of which it is not known what it has, is an error.
    needs_whole_rows: bool,
}

impl Decoder {
    pub fn new(follows: Follows, wants: Wants) -> Decoder {
        let transaction = Transaction { number: 0, gtid: None, file: "".into(), offset: 0, commit_time_us: 0 };
        Decoder {
            follows,
            wants,
            known: Vec::new(),
            plans: HashMap::with_hasher(FixedState::default()),
            is_mariadb: false,
            active: Vec::new(),
            provided: None,
            current: Current {
                transaction,
                is_open: false,
                row_events: 0,
                last_place: None,
                skip_through: None,
                xa: xa::State::Plain,
            },
            is_ddl_passed: false,
            dialect: Dialect::default(),
            is_retry: false,
            progress: None,
            completed: None,
            scratch: Scratch::default(),
            completer: Completer::default(),
            needs_whole_rows: false,
        }
    }

    /// For sinks that would write something else where a new row lacks a column.
    pub fn needing_whole_rows(self, needs_whole_rows: bool) -> Decoder {
        Decoder { needs_whole_rows, ..self }
    }

    /// Decodes event `index` of the segment and appends its rows to `lanes`. After an error the decoder is not called again; the
    /// rows before the fault, or most of them, are appended whole.
    pub fn event(&mut self, segment: &Segment, index: usize, lanes: &mut Lanes) -> Result<Step, DecodeError> {
        let mut context = Context { event: "event", relation: None };
        let framed = segment.events.get(index).copied();
        let step = match framed {
            Some(framed) => self.framed(segment, framed, lanes, &mut context),
            None => Err(Problem::Framing),
        };
        step.map_err(|problem| DecodeError {
            file: Arc::clone(&segment.file),
            offset: framed.map_or(0, |f| f.offset),
            event: context.event,
            relation: context.relation.map(|r| r.to_string().into_boxed_str()),
            problem,
            after: Box::default(),
        })
    }

    /// Answers [`Step::NeedsTable`]. `None`: the source has no server to ask (binlog files).
    pub fn provide(&mut self, info: Option<TableInfo>) {
        self.provided = Some(info);
    }

    /// Answers [`Step::Ddl`]: forgets what TABLE_MAPs of these tables did not say.
    pub fn pass_ddl(&mut self, touched: &[schema::ddl::Name]) {
        self.is_ddl_passed = true;
        let is_touched = |relation: &Relation| touched.iter().any(|n| n.schema == relation.schema && n.table == relation.table);
        let holds = |plan: &Plan| plan.is_from_server || plan.absent.get().is_some();
        self.plans.retain(|_, plan| !plan.as_ref().is_some_and(|p| holds(p) && is_touched(&p.relation)));
    }

    /// The relations that were met, the newest of a table last.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.known.iter().map(|known| &*known.relation)
    }

    /// What others want of the relations that were met, in place of who wanted them so far. `wants` was asked about each, and
    /// `wanted` is what it said. Between two transactions.
    pub fn take_wants(&mut self, wants: Wants, wanted: Vec<Option<Wanted>>) {
        self.wants = wants;
        let mut changed = HashSet::new();
        for (known, wanted) in self.known.iter_mut().zip(wanted) {
            if known.wanted.as_deref() != wanted.as_ref() {
                known.wanted = wanted.map(Arc::new);
                changed.insert(known.relation.id);
            }
        }
        self.plans.retain(|_, plan| plan.as_ref().is_none_or(|plan| !changed.contains(&plan.relation.id)));
    }

    /// The transaction that is being read, or the last one that was; its number is 0 before the first.
    pub fn transaction(&self) -> &Transaction {
        &self.current.transaction
    }

    pub fn is_in_transaction(&self) -> bool {
        self.current.is_open
    }

    /// File and offset behind the last transaction that was read whole.
    pub fn completed(&self) -> Option<(&Arc<str>, u64)> {
        self.completed.as_ref().map(|(file, offset)| (file, *offset))
    }

    /// The plan of a relation whose rows are read from the table; the same relation as the stream's, if the stream had it.
    /// `None`: nobody wants its rows.
    pub fn read_plan(&mut self, draft: plan::Draft) -> Result<Option<Arc<Plan>>, Problem> {
        self.plan(draft)
    }

    /// Between two transactions: rows that were read from a table follow, as if they were one.
    pub fn begin_read(&mut self, file: &Arc<str>, offset: u64, commit_time_us: i64) {
        let number = self.current.transaction.number + 1;
        self.current.transaction = Transaction { number, gtid: None, file: Arc::clone(file), offset, commit_time_us };
        (self.current.last_place, self.current.skip_through, self.current.row_events) = (None, None, 0);
    }

    /// Appends the next rows of an answer to a SELECT, some of those from `at` on. `row` counts them.
    /// `since`: keys that were touched since then are left out.
    pub fn read_rows(
        &mut self,
        plan: &Plan,
        sent: &[u8],
        at: &mut usize,
        row: &mut u32,
        since: u64,
        lanes: &mut Lanes,
    ) -> Result<(), Problem> {
        Appender::new(plan, &mut self.current, &mut self.scratch, lanes).sent(sent, at, row, since).map_err(|problem| *problem)
    }

    fn framed(&mut self, segment: &Segment, framed: Framed, lanes: &mut Lanes, context: &mut Context) -> Result<Step, Problem> {
        let end = framed.start.checked_add(framed.len).ok_or(Problem::Framing)?;
        let bytes = segment.data.get(framed.start..end).ok_or(Problem::Framing)?;
        let header = Header::parse(bytes).ok_or(Problem::Framing)?;
        let body = &bytes[HEADER_LEN..];
        context.event = event::type_name(header.code);
        if !std::mem::take(&mut self.is_retry) {
            self.begin(segment, framed)?;
        }
        let step = match EventType::of_code(header.code) {
            EventType::TableMap
            | EventType::WriteRows { .. }
            | EventType::UpdateRows { .. }
            | EventType::DeleteRows { .. }
            | EventType::PartialUpdateRows
                if let xa::State::Undecided { has_rows } = &mut self.current.xa =>
            {
                *has_rows = true;
                Step::Xa(Xa::Keep)
            }
            EventType::WriteRows { v2 } => self.row_event(body, v2, Op::Insert, lanes, context)?,
            EventType::UpdateRows { v2 } => self.row_event(body, v2, Op::Update, lanes, context)?,
            EventType::DeleteRows { v2 } => self.row_event(body, v2, Op::Delete, lanes, context)?,
            EventType::TableMap => self.table_map(body, context)?,
            EventType::PartialUpdateRows => self.partial_update(body, lanes, context)?,
            EventType::Query => {
                let step = self.query(body, 0, segment, framed)?;
                if matches!(step, Step::Ddl(_)) {
                    self.is_retry = true;
                    return Ok(step);
                }
                step
            }
            EventType::ExecuteLoadQuery => self.query(body, query::LOAD_QUERY_EXTRA, segment, framed)?,
            EventType::FormatDescription => {
                self.active.clear();
                // Binlog version 2, server version 50.
                if let Some(version) = body.get(2..52) {
                    self.dialect = Dialect::of_version(String::from_utf8_lossy(version).trim_end_matches('\0'));
                }
                Step::Done
            }
            EventType::Rotate => {
                self.active.clear();
                Step::Done
            }
            EventType::MariaDbGtid => {
                self.is_mariadb = true;
                if xa::mariadb_begins(body)? { self.xa_begin() } else { Step::Done }
            }
            EventType::NoChange => Step::Done,
            EventType::XaPrepare => self.xa_prepare(body)?,
            EventType::Incident => return Err(Problem::Incident),
            EventType::Compressed => return Err(Problem::Compressed),
            EventType::Ancient => return Err(Problem::Ancient),
            EventType::Unknown if header.is_ignorable() => Step::Done,
            EventType::Unknown => return Err(Problem::UnknownEvent { code: header.code }),
        };
        if matches!(step, Step::NeedsTable { .. } | Step::NeedsDefaults(_) | Step::More | Step::Xa(Xa::Commit(_))) {
            self.is_retry = true;
            return Ok(step);
        }
        if framed.boundary == Boundary::End {
            self.current.is_open = false;
            self.current.xa = xa::State::Plain;
            self.completed = Some((Arc::clone(&segment.file), framed.next));
        }
        Ok(step)
    }

    /// Accounts for the beginning of a transaction.
    fn begin(&mut self, segment: &Segment, framed: Framed) -> Result<(), Problem> {
        let begin = |index: u32| segment.transactions.get(index as usize).ok_or(Problem::Framing);
        let current = &mut self.current;
        match framed.boundary {
            Boundary::Within | Boundary::End => return Ok(()),
            Boundary::Begin(_) if current.is_open => return Err(Problem::Nested),
            Boundary::Begin(index) => {
                let TransactionBegin { gtid, offset, commit_time_us } = begin(index)?.clone();
                let (number, file) = (current.transaction.number + 1, Arc::clone(&segment.file));
                current.transaction = Transaction { number, gtid, file, offset, commit_time_us };
                current.last_place = None;
            }
            Boundary::BeginAgain(index) => {
                let again = begin(index)?;
                let was = &current.transaction;
                let is_same = match (&was.gtid, &again.gtid) {
                    (Some(was), Some(again)) => was == again,
                    (None, None) => was.file == segment.file && was.offset == again.offset,
                    _ => false,
                };
                if !current.is_open || !is_same {
                    return Err(Problem::OtherTransaction);
                }
            }
        }
        current.skip_through = current.last_place;
        current.is_open = true;
        current.row_events = 0;
        current.xa = xa::State::Plain;
        self.active.clear();
        Ok(())
    }

    fn table_map(&mut self, body: &[u8], context: &mut Context) -> Result<Step, Problem> {
        let table_id = Reader::new(body).u48()?;
        let key = &body[6..];
        let plan = match self.plans.get(key) {
            Some(plan) => plan.clone(),
            None => {
                let (schema, table, _) = table_map::names(body)?;
                let plan = if (self.follows)(schema, table) {
                    context.relation = Some(RelationName::Pair(schema.to_owned(), table.to_owned()));
                    let map = table_map::parse(body, self.is_mariadb)?;
                    let info = if plan::needs_server(&map) {
                        match self.provided.take() {
                            Some(info) => info,
                            None => return Ok(Step::NeedsTable(Box::new(map))),
                        }
                    } else {
                        None
                    };
                    self.plan(plan::draft(&map, info.as_ref())?)?
                } else {
                    None
                };
                if self.plans.len() >= PLANS_MAX {
                    self.plans.clear();
                }
                self.plans.insert(key.into(), plan.clone());
                plan
            }
        };
        match self.active.iter_mut().find(|(id, _)| *id == table_id) {
            Some(active) => active.1 = plan,
            None => self.active.push((table_id, plan)),
        }
        Ok(Step::Done)
    }

    /// Finishes a plan: the same columns as before are the same relation, another one is asked about.
    fn plan(&mut self, draft: plan::Draft) -> Result<MaybePlan, Problem> {
        let plan::Draft { mut relation, columns, key, is_from_server, is_minimal } = draft;
        if self.is_mariadb && plan::is_sequence(&relation) {
            tracing::info!("`{relation}` is a sequence and no table: left out");
            return Ok(None);
        }
        let known = self.known.iter().find(|k| {
            relation.id = k.relation.id;
            *k.relation == relation
        });
        let (relation, wanted) = match known {
            Some(known) => (Arc::clone(&known.relation), known.wanted.clone()),
            None => {
                relation.id = Relation::next_id();
                let wanted = (self.wants)(&relation).map_err(Problem::Refused)?.map(Arc::new);
                let relation = Arc::new(relation);
                if self.known.len() >= PLANS_MAX {
                    self.known.clear();
                }
                self.known.push(Known { relation: Arc::clone(&relation), wanted: wanted.clone() });
                (relation, wanted)
            }
        };
        let Some(wanted) = wanted else { return Ok(None) };
        let seed = collation::hash_bytes(relation.table.as_bytes(), collation::hash_bytes(relation.schema.as_bytes(), 0));
        let absent = OnceLock::new();
        Ok(Some(Arc::new(Plan { relation, wanted, columns, key, seed, is_from_server, is_minimal, absent })))
    }

    /// The plan behind a table id of the current statement; `None` if its rows are not wanted.
    fn active_plan(&self, table_id: u64) -> Result<MaybePlan, Problem> {
        let active = self.active.iter().find(|(id, _)| *id == table_id);
        active.map(|(_, plan)| plan.clone()).ok_or(Problem::UnknownTable(table_id))
    }

    fn row_event(&mut self, body: &[u8], v2: bool, op: Op, lanes: &mut Lanes, context: &mut Context) -> Result<Step, Problem> {
        let event = RowsEvent::parse(body, v2)?;
        let is_dummy = DUMMY_TABLE_IDS.contains(&event.table_id);
        if !is_dummy {
            if !self.current.is_open {
                return Err(Problem::OutsideTransaction);
            }
            if let Some(plan) = self.active_plan(event.table_id)? {
                if op == Op::Insert
                    && event.lacks_columns(plan.columns.len())
                    && let Some(step) = self.defaults(&plan, &event, context)?
                {
                    return Ok(step);
                }
                let from = self.progress.take().unwrap_or_default();
                let result = Appender::new(&plan, &mut self.current, &mut self.scratch, lanes).event(&event, op, from);
                if result.is_err() {
                    context.relation = Some(RelationName::Relation(Arc::clone(&plan.relation)));
                }
                self.progress = result.map_err(|problem| *problem)?;
                if self.progress.is_some() {
                    return Ok(Step::More);
                }
            }
            self.current.row_events += 1;
        }
        if event.flags & FLAG_STATEMENT_END != 0 {
            self.active.clear();
        }
        Ok(Step::Done)
    }

    /// Makes sure that it is known what an INSERT left out. `Some`: the history has to be asked.
    fn defaults(&mut self, plan: &Arc<Plan>, event: &RowsEvent<'_>, context: &mut Context) -> Result<Option<Step>, Problem> {
        if plan.absent.get().is_none() {
            match self.provided.take() {
                Some(info) => drop(plan.absent.set(absent::of(&plan.relation, info.as_ref()))),
                None => {
                    let known = self.plans.iter().find(|(_, known)| known.as_ref().is_some_and(|known| Arc::ptr_eq(known, plan)));
                    // A TABLE_MAP was forgotten where there are very many: nothing is known then.
                    match known {
                        Some((map, _)) => {
                            let map = table_map::parse(&[&[0; 6], &**map].concat(), self.is_mariadb)?;
                            return Ok(Some(Step::NeedsDefaults(Box::new(map))));
                        }
                        None => drop(plan.absent.set(absent::of(&plan.relation, None))),
                    }
                }
            }
        }
        let Some(absent) = plan.absent.get().filter(|_| self.needs_whole_rows) else { return Ok(None) };
        let columns = plan.columns.len();
        let unknown = (0..plan.relation.columns.len())
            .find(|&column| !event.has_column(column, columns) && absent[column] == Absent::Unknown);
        match unknown {
            Some(column) => {
                context.relation = Some(RelationName::Relation(Arc::clone(&plan.relation)));
                Err(Problem::InsertPartial { column: plan.relation.columns[column].name.clone() })
            }
            None => Ok(None),
        }
    }

    fn xa_begin(&mut self) -> Step {
        self.current.xa = xa::State::Undecided { has_rows: false };
        Step::Xa(Xa::Begin)
    }

    fn xa_prepare(&mut self, body: &[u8]) -> Result<Step, Problem> {
        let (xid, is_commit) = xa::prepare(body)?;
        Ok(if is_commit { self.xa_commit(None) } else { Step::Xa(Xa::Prepare(xid)) })
    }

    /// Asks for what was kept; done when that has come.
    fn xa_commit(&mut self, xid: Option<String>) -> Step {
        match self.current.xa {
            xa::State::Counts => Step::Done,
            xa::State::Plain | xa::State::Undecided { .. } => {
                self.current.xa = xa::State::Counts;
                Step::Xa(Xa::Commit(xid))
            }
        }
    }

    /// An update that holds parts of JSON values, as one that holds them whole.
    fn partial_update(&mut self, body: &[u8], lanes: &mut Lanes, context: &mut Context) -> Result<Step, Problem> {
        let event = RowsEvent::parse(body, true)?;
        let plan = if self.current.is_open { self.active_plan(event.table_id)? } else { None };
        let Some(plan) = plan else { return self.row_event(body, true, Op::Update, lanes, context) };
        let mut completer = std::mem::take(&mut self.completer);
        let completed = if self.progress.is_some() { Ok(()) } else { completer.complete(&event, &plan) };
        let done = match completed.map(|()| completer.body()) {
            Ok(whole) => self.row_event(whole, true, Op::Update, lanes, context),
            Err(problem) => {
                context.relation = Some(RelationName::Relation(Arc::clone(&plan.relation)));
                Err(problem)
            }
        };
        self.completer = completer;
        done
    }

    /// A QUERY event, or EXECUTE_LOAD_QUERY with `extra` bytes more before its variables.
    fn query(&mut self, body: &[u8], extra: usize, segment: &Segment, framed: Framed) -> Result<Step, Problem> {
        let query = query::parse(body, extra)?;
        if !query.takes_effect {
            return Ok(Step::Done);
        }
        let dialect = self.dialect.with_sql_mode(query.sql_mode);
        let statement = statement::parse(&query.text, &dialect);
        if matches!(statement, Statement::Defines(_) | Statement::Empties(_) | Statement::DefinesSchema) {
            if std::mem::take(&mut self.is_ddl_passed) {
                return Ok(Step::Done);
            }
            return Ok(Step::Ddl(Box::new(Ddl {
                empties: matches!(statement, Statement::Empties(_)),
                error: query.error,
                text: query.text.into_owned(),
                schema: query.schema.into_owned(),
                sql_mode: query.sql_mode,
                server_collation: query.server_collation,
                collations: query.collations,
                file: Arc::clone(&segment.file),
                offset: framed.offset,
                next: framed.next,
            })));
        }
        let schema = query.schema;
        let first = |names: Vec<Name>| {
            let mut names = names.into_iter().map(|n| (n.schema.unwrap_or_else(|| schema.clone().into_owned()), n.table));
            // Under lower_case_table_names = 1 a statement may write capitals; elsewhere this stops once too often rather than never.
            let follows = |schema: &str, table: &str| {
                (self.follows)(schema, table) || (self.follows)(&schema.to_lowercase(), &table.to_lowercase())
            };
            names.find(|(schema, table)| follows(schema, table)).map(|(schema, table)| format!("{schema}.{table}"))
        };
        match statement {
            Statement::Other => {}
            Statement::XaStart => return Ok(self.xa_begin()),
            Statement::XaCommit(xid) => return Ok(self.xa_commit(Some(xid))),
            Statement::XaRollback(xid) => return Ok(Step::Xa(Xa::Rollback(xid))),
            Statement::Rollback | Statement::RollbackToSavepoint => {
                let has_rows = self.current.last_place.is_some() || self.current.xa == xa::State::Undecided { has_rows: true };
                if self.current.is_open && has_rows {
                    return Err(Problem::RolledBack);
                }
            }
            Statement::Changes(names) => {
                if let Some(table) = first(names) {
                    return Err(Problem::StatementChange { table });
                }
            }
            Statement::Calls => return Err(Problem::StatementCall),
            Statement::Empties(_) | Statement::Defines(_) | Statement::DefinesSchema => {}
        }
        Ok(Step::Done)
    }
}

enum RelationName {
    Pair(String, String),
    Relation(Arc<Relation>),
}

impl std::fmt::Display for RelationName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RelationName::Pair(schema, table) => write!(f, "{schema}.{table}"),
            RelationName::Relation(relation) => relation.fmt(f),
        }
    }
}

/// What an error message will say about the event at hand.
struct Context {
    event: &'static str,
    relation: Option<RelationName>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::KeyOrigin;

    #[test]
    fn relations_that_come_and_go_take_no_memory() {
        let wants = |_: &Relation| Ok(Some(Wanted { after: Vec::new(), before: Vec::new() }));
        let mut decoder = Decoder::new(Box::new(|_, _| true), Box::new(wants));
        let mut plan = |table: usize| {
            let (schema, table) = ("s".into(), format!("tmp_{table}").into());
            let relation = Relation { id: 0, schema, table, columns: Vec::new(), key: Vec::new(), key_origin: KeyOrigin::WholeRow };
            let draft = plan::Draft { relation, columns: Vec::new(), key: Vec::new(), is_from_server: true, is_minimal: true };
            let id = decoder.plan(draft).unwrap().unwrap().relation.id;
            (id, decoder.known.len())
        };
        // What stays is the same relation, until all are forgotten.
        let first = plan(0).0;
        assert_eq!(plan(0), (first, 1));
        let most = (1..PLANS_MAX + 10).map(|table| plan(table).1).max();
        assert_eq!(most, Some(PLANS_MAX));
        assert_ne!(plan(0).0, first);
    }
}
