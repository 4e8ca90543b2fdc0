//! Sink `mysql`: MySQL and MariaDB servers, by multi-row statements over `mysql_async`.
//!
//! The session is strict, but takes the dates that MySQL itself stores (`ALLOW_INVALID_DATES`, no `NO_ZERO_DATE`), so that they come
//! back exactly; it works in UTC and utf8mb4, at READ COMMITTED, with foreign keys checked.
//!
//! The statements are text, values and all, so that many go in one packet, and the mark and the COMMIT with them: a small transaction
//! takes one round trip, which is most of what it costs. For large ones text costs the server what prepared statements do (measured on
//! MySQL 9.7 with upserts of 1000 rows of 11 columns: 12.2 µs of CPU a row as text, 12.9 prepared).

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, SslOpts};

use super::fold::Unit;
use super::table::{Table, plain_name};
use super::{
    Catalog, Commit, Door, Failure, Part, Refusal, Session, SqlWriter, ddl, in_time, is_this_machine, marks, shared, table,
};
use crate::alteration::Alteration;
use crate::change::Relation;
use crate::check::{Finding, Severity};
use crate::lane::bonds::Bonds;
use crate::manifest::model::{ServerSink, Tls};
use crate::manifest::template::{TableName, TableTemplate};
use crate::schema::ddl::Name;
use crate::sink::cell::Cell;
use crate::sink::{BeforeNeed, Mark, Sink, SinkError, Writer};

mod alter;
mod catalog;
mod error;
mod statement;

pub(super) use catalog::fits;
use error::failure;
use statement::Shape;

/// Rows in one statement, at most.
const STATEMENT_ROWS_MAX: usize = 1024;
/// Statements are sent when their text has this many bytes, or half of the packet that the target takes, if that is less.
const TEXT_BYTES: usize = 1 << 20;
/// What a packet holds beside the values of a single row; generous.
const ROW_OVERHEAD: usize = 64 * 1024;

pub struct MysqlSink {
    target: Target,
    template: TableTemplate,
    pipeline: String,
    catalog: Catalog,
    /// Under which marks are written: see [`marks::MYSQL`].
    hold: AtomicU64,
}

/// Where to connect, and for which manifest item.
#[derive(Clone)]
struct Target {
    /// ``sink `replica` ``.
    place: String,
    opts: Opts,
    create: bool,
}

impl MysqlSink {
    pub fn new(name: &str, config: &ServerSink, pipeline: &str) -> Result<MysqlSink, SinkError> {
        let place = format!("sink `{name}`");
        // The error of the URL parser may quote the URL, which may hold a password.
        let opts = Opts::from_url(config.url.expose()).map_err(|_| SinkError::Configuration {
            reason: "the URL cannot be read".to_owned(),
            hint: "mysql://USER@HOST[:PORT]/DATABASE; special characters as %XX".to_owned(),
        })?;
        let local = is_this_machine(opts.ip_or_hostname());
        let tls = config.tls.unwrap_or(if local { Tls::Off } else { Tls::Verify });
        let roots: Vec<_> = config.ca.iter().map(|ca: &PathBuf| ca.clone().into()).collect();
        let ssl = match tls {
            Tls::Off => None,
            Tls::Encrypt => {
                Some(SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true))
            }
            Tls::Verify => Some(SslOpts::default().with_root_certs(roots)),
        };
        let mut builder = OptsBuilder::from_opts(opts)
            .ssl_opts(ssl)
            .prefer_socket(false)
            .client_found_rows(true)
            .stmt_cache_size(0)
            .setup(SESSION.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        if let Some(password) = &config.password {
            builder = builder.pass(Some(password.expose()));
        }
        let target = Target { place, opts: builder.into(), create: config.create };
        let (template, pipeline) = (config.table.clone(), pipeline.to_owned());
        Ok(MysqlSink { target, template, pipeline, catalog: Catalog::default(), hold: AtomicU64::new(new_hold()) })
    }

    fn finding(&self, severity: Severity, problem: String, hint: impl Into<String>) -> Finding {
        Finding { severity, subject: self.target.place.clone(), problem, hint: hint.into() }
    }
}

/// One that nobody else has.
fn new_hold() -> u64 {
    RandomState::new().hash_one(0)
}

/// Run on every new connection.
const SESSION: [&str; 4] = [
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', \
     time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, innodb_lock_wait_timeout = 20",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET autocommit = 1",
];

impl Target {
    async fn connect(&self) -> Result<Conn, Failure> {
        let address = format!("{}:{}", self.opts.ip_or_hostname(), self.opts.tcp_port());
        in_time(async { Conn::new(self.opts.clone()).await.map_err(|e| failure(&e)) })
            .await
            .map_err(|failure| failure.within(&address))
    }
}

#[async_trait]
impl Sink for MysqlSink {
    fn before_need(&self) -> BeforeNeed {
        BeforeNeed::Key
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn needs_whole_rows(&self) -> bool {
        true
    }

    async fn check(&self, relations: &[Arc<Relation>]) -> Vec<Finding> {
        let mut conn = match self.target.connect().await {
            Ok(conn) => conn,
            Err(failure) => return vec![failure.into_finding(&self.target.place)],
        };
        let mut findings = Vec::new();
        // Schemas in which there are tables to make.
        let mut made_in = BTreeSet::new();
        for relation in relations {
            let name = self.template.render(&relation.schema, &relation.table, &relation.to_string());
            match catalog::table(&mut conn, &name).await {
                Ok(Some(table)) => {
                    findings.extend(table.check(&self.target.place, relation, catalog::fits));
                    if let Err(failure) = catalog::rights(&mut conn, &table).await {
                        findings.push(failure.into_finding(&self.target.place));
                    }
                }
                Ok(None) if self.target.create => drop(made_in.insert(name.schema)),
                Ok(None) => findings.push(self.finding(
                    Severity::Error,
                    format!("there is no table `{}`, which `{relation}` goes to", plain_name(&name)),
                    "create it, or set create = true",
                )),
                Err(failure) => {
                    findings.push(failure.into_finding(&self.target.place));
                    break;
                }
            }
        }
        for schema in made_in {
            match alter::missing_rights(&mut conn, schema.as_deref(), &["CREATE"]).await {
                Ok(missing) if missing.is_empty() => {}
                Ok(_) => findings.push(self.finding(
                    Severity::Warning,
                    format!("create = true: the user has no right to CREATE in {}", alter::place(schema.as_deref())),
                    "GRANT CREATE ON the database TO the user, unless a role has it",
                )),
                Err(failure) => findings.push(failure.into_finding(&self.target.place)),
            }
        }
        let _ = conn.disconnect().await;
        findings
    }

    async fn bonds(&self) -> Result<Bonds, SinkError> {
        let read = async {
            let mut conn = self.target.connect().await?;
            let bonds = catalog::bonds(&mut conn, &self.template).await?;
            let _ = conn.disconnect().await;
            Ok(bonds)
        };
        read.await.map_err(Failure::into_error)
    }

    async fn forget_tables(&self) {
        self.catalog.lock().await.clear();
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, SinkError> {
        let session = MysqlSession {
            target: self.target.clone(),
            pipeline: self.pipeline.clone(),
            catalog: Arc::clone(&self.catalog),
            tables: HashMap::new(),
            link: None,
            text: Text::default(),
            hold: self.hold.load(Relaxed),
        };
        Ok(Box::new(SqlWriter::new(&self.template, session)))
    }

    async fn marks(&self, pipeline: &str) -> Result<Vec<Mark>, SinkError> {
        let read = async {
            let mut conn = self.target.connect().await?;
            conn.query_drop(marks::MYSQL.create).await.map_err(|e| failure(&e))?;
            let hold = new_hold();
            let run = async {
                conn.exec_drop(marks::MYSQL_HOLD, (hold, pipeline)).await?;
                let rows: Vec<String> = conn.exec(marks::MYSQL.select, (pipeline,)).await?;
                conn.disconnect().await?;
                Ok(rows)
            };
            let rows = run.await.map_err(|e| failure(&e))?;
            self.hold.store(hold, Relaxed);
            rows.iter().map(|text| marks::parse(text)).collect::<Result<Vec<_>, _>>()
        };
        read.await.map_err(Failure::into_error)
    }

    async fn set_marks(&self, pipeline: &str, all: &[Mark]) -> Result<(), SinkError> {
        let write = async {
            let mut conn = self.target.connect().await?;
            let run = async {
                conn.query_drop(marks::MYSQL.create).await?;
                conn.query_drop("START TRANSACTION").await?;
                conn.exec_drop(marks::MYSQL.delete, (pipeline,)).await?;
                for mark in all {
                    let hold = self.hold.load(Relaxed);
                    conn.exec_drop(marks::MYSQL.upsert, (pipeline, mark.lane, marks::text(mark), hold, hold)).await?;
                }
                conn.query_drop("COMMIT").await?;
                conn.disconnect().await
            };
            run.await.map_err(|e| failure(&e))
        };
        write.await.map_err(Failure::into_error)
    }

    async fn empty(&self, table: &Name, others: &[Name]) -> Result<bool, SinkError> {
        self.delete_all(table, others).await.map_err(Failure::into_error)
    }

    async fn altered(&self) -> Result<Option<String>, SinkError> {
        let read = async {
            let mut conn = self.target.connect().await?;
            let made = self.made(&mut conn).await?;
            let _ = conn.disconnect().await;
            Ok(made.filter(|made| made.steps.is_empty()).map(|made| made.key))
        };
        read.await.map_err(Failure::into_error)
    }

    async fn forget_altered(&self) -> Result<(), SinkError> {
        let forget = async {
            let mut conn = self.target.connect().await?;
            self.forget(&mut conn).await?;
            let _ = conn.disconnect().await;
            Ok(())
        };
        forget.await.map_err(Failure::into_error)
    }

    async fn check_alter(&self, relations: &[Arc<Relation>]) -> Vec<Finding> {
        self.rights_to_alter(relations).await.unwrap_or_else(|failure| vec![failure.into_finding(&self.target.place)])
    }

    async fn alter(&self, alteration: &Alteration) -> Result<(), SinkError> {
        self.make(alteration).await.map_err(Failure::into_error)
    }
}

struct MysqlSession {
    target: Target,
    pipeline: String,
    catalog: Catalog,
    /// Those of the catalog that this writer has used.
    tables: HashMap<TableName, Arc<Table>>,
    link: Option<Link>,
    text: Text,
    /// See [`MysqlSink::hold`].
    hold: u64,
}

struct Link {
    conn: Conn,
    /// Bytes that one packet may have.
    packet_max: usize,
}

/// Statements that go to the server in one packet.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    statements: Vec<Statement>,
    /// The row that is being written.
    row: Vec<u8>,
    value: String,
}

/// What a statement is about.
enum Statement {
    /// Indexes of the part and of the group in it.
    Rows {
        part: usize,
        group: usize,
        rows: Range<usize>,
    },
    Mark,
    Commit,
}

#[async_trait]
impl Session for MysqlSession {
    async fn begin(&mut self) -> Result<(), Failure> {
        if self.link.is_none() {
            let mut conn = self.target.connect().await?;
            let packet: Option<usize> = conn.query_first("SELECT @@max_allowed_packet").await.map_err(|e| failure(&e))?;
            // From here on each transaction begins by its first statement: one round trip less.
            conn.query_drop("SET autocommit = 0").await.map_err(|e| failure(&e))?;
            let packet_max = packet.unwrap_or(1 << 20);
            self.link = Some(Link { conn, packet_max });
        }
        Ok(())
    }

    async fn write(&mut self, parts: &[Part<'_, '_, '_>]) -> Result<(), Refusal> {
        let mut shapes = Vec::with_capacity(parts.len());
        for Part { groups, .. } in parts {
            let mut of_part = Vec::with_capacity(groups.len());
            for (at, group) in groups.iter().enumerate() {
                let in_group = |failure| Refusal { group: Some(at), failure };
                let table = self.tables.get(&group.unit.target).ok_or_else(|| in_group(table::missing(&group.unit.target)))?;
                of_part.push(Shape::new(table, group).map_err(in_group)?);
            }
            shapes.push(of_part);
        }
        let mut link = self.link.take().ok_or_else(|| Failure::Retry("the connection is lost".to_owned()))?;
        let mut text = std::mem::take(&mut self.text);
        text.bytes.clear();
        text.statements.clear();
        let written = text.write(&mut link, parts, &shapes, (&self.pipeline, self.hold)).await;
        (self.link, self.text) = (Some(link), text);
        written
    }

    async fn rollback(&mut self) {
        if let Some(mut link) = self.link.take()
            && link.conn.query_drop("ROLLBACK").await.is_ok()
        {
            self.link = Some(link);
        }
    }

    fn tables(&mut self) -> &mut HashMap<TableName, Arc<Table>> {
        &mut self.tables
    }

    async fn look_up(&mut self, unit: &Unit<'_>) -> Result<Arc<Table>, Failure> {
        let look = async {
            // A connection of its own: DDL would commit what is open on the lane's.
            let mut conn = self.target.connect().await?;
            let mut found = catalog::table(&mut conn, &unit.target).await?;
            if found.is_none() && self.target.create {
                let names = catalog::collations(&mut conn).await?;
                let sql = ddl::mysql(&unit.target, &unit.relation, &names);
                conn.query_drop(sql).await.map_err(|e| failure(&e))?;
                found = catalog::table(&mut conn, &unit.target).await?;
            }
            let _ = conn.disconnect().await;
            Ok(found)
        };
        shared(&self.catalog, unit, look).await
    }

    async fn marked(&mut self, lane: u32) -> Result<Option<String>, Failure> {
        let (pipeline, hold) = (self.pipeline.clone(), new_hold());
        let conn = &mut self.link()?.conn;
        let run = async {
            conn.exec_drop(marks::MYSQL_HOLD_LANE, (hold, &pipeline, lane)).await?;
            let mark = conn.exec_first(marks::MYSQL.of_lane, (&pipeline, lane)).await?;
            conn.query_drop("COMMIT").await?;
            Ok(mark)
        };
        let mark = run.await.map_err(|e| failure(&e))?;
        self.hold = hold;
        Ok(mark)
    }

    fn hang_up(&mut self) {
        self.link = None;
    }

    fn door(&self) -> Option<Box<dyn Door>> {
        Some(Box::new(self.target.clone()))
    }
}

#[async_trait]
impl Door for Target {
    async fn answers(&self) -> bool {
        match Conn::new(self.opts.clone()).await {
            Ok(conn) => conn.disconnect().await.is_ok(),
            Err(e) => !matches!(e, mysql_async::Error::Io(_)),
        }
    }
}

impl MysqlSession {
    fn link(&mut self) -> Result<&mut Link, Failure> {
        self.link.as_mut().ok_or_else(|| Failure::Retry("the connection is lost".to_owned()))
    }
}

impl Text {
    async fn write(
        &mut self,
        link: &mut Link,
        parts: &[Part<'_, '_, '_>],
        shapes: &[Vec<Shape>],
        (pipeline, hold): (&str, u64),
    ) -> Result<(), Refusal> {
        let bytes_max = TEXT_BYTES.min(link.packet_max / 2);
        let mut missed: Vec<Vec<u64>> = parts.iter().map(|part| vec![0; part.groups.len()]).collect();
        for (part, Part { groups, commit }) in parts.iter().enumerate() {
            for (at, (group, shape)) in groups.iter().zip(&shapes[part]).enumerate() {
                let rows_max = if group.action.is_multi() { STATEMENT_ROWS_MAX } else { 1 };
                let mut first = 0;
                for row in 0..group.rows.len() {
                    self.row.clear();
                    shape.write_row(&mut self.row, &mut self.value, group, row);
                    if self.row.len() + ROW_OVERHEAD > link.packet_max {
                        let failure = Failure::row(row, "the row is larger than the target's max_allowed_packet");
                        return Err(Refusal { group: Some(at), failure });
                    }
                    if row > first && (row - first == rows_max || self.bytes.len() + self.row.len() > bytes_max) {
                        self.end(shape.tail(), Statement::Rows { part, group: at, rows: first..row });
                        first = row;
                    }
                    if row == first {
                        if self.bytes.len() + self.row.len() > bytes_max {
                            self.send(link, parts, shapes, &mut missed).await?;
                        }
                        self.bytes.extend_from_slice(shape.head().as_bytes());
                    } else {
                        self.bytes.push(b',');
                    }
                    self.bytes.extend_from_slice(&self.row);
                }
                self.end(shape.tail(), Statement::Rows { part, group: at, rows: first..group.rows.len() });
            }
            if let Some(Commit { mark }) = commit {
                if let Some(mark) = mark {
                    let text = marks::text(mark);
                    let (lane, hold) = (Cell::Int(i64::from(mark.lane)), Cell::UInt(hold));
                    let values = [Cell::Text(pipeline), lane, Cell::Text(&text), hold, hold];
                    statement::write(&mut self.bytes, &mut self.value, marks::MYSQL.upsert, values);
                    self.end("", Statement::Mark);
                }
                self.end("COMMIT", Statement::Commit);
            }
        }
        self.send(link, parts, shapes, &mut missed).await?;
        for (group, missed) in parts.iter().flat_map(|part| &part.groups).zip(missed.into_iter().flatten()) {
            table::report_missed(group, missed);
        }
        Ok(())
    }

    fn end(&mut self, tail: &str, statement: Statement) {
        self.bytes.extend_from_slice(tail.as_bytes());
        self.bytes.push(b';');
        self.statements.push(statement);
    }

    /// Sends what there is; counts the single rows that were not found.
    async fn send(
        &mut self,
        link: &mut Link,
        parts: &[Part<'_, '_, '_>],
        shapes: &[Vec<Shape>],
        missed: &mut [Vec<u64>],
    ) -> Result<(), Refusal> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        // The last statement needs nothing after it.
        self.bytes.pop();
        let mut at = 0;
        let sent = async {
            let mut result = link.conn.query_iter(&*self.bytes).await?;
            loop {
                if let Some(Statement::Rows { part, group, .. }) = self.statements.get(at)
                    && !parts[*part].groups[*group].action.is_multi()
                    && result.affected_rows() == 0
                {
                    missed[*part][*group] += 1;
                }
                if result.is_empty() {
                    return result.drop_result().await;
                }
                at += 1;
                result.collect::<Row>().await?;
            }
        };
        let sent: mysql_async::Result<()> = sent.await;
        sent.map_err(|e| match self.statements.get(at) {
            Some(Statement::Mark) if error::is_bad_null(&e) => Failure::configuration(
                "another program writes the marks of this pipeline".to_owned(),
                "let one run at a time, or give the pipeline of one of them another name",
            )
            .into(),
            None | Some(Statement::Mark | Statement::Commit) => failure(&e).into(),
            Some(Statement::Rows { part, group, rows }) => {
                let failure = match shapes[*part][*group].failure(&e) {
                    Failure::Row { at: None, reason } if rows.len() == 1 => Failure::row(rows.start, reason),
                    other => other,
                };
                Refusal { group: Some(*group), failure }
            }
        })?;
        self.bytes.clear();
        self.statements.clear();
        Ok(())
    }
}
