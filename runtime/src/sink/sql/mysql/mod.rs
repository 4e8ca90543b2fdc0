//! Sink `mysql`: MySQL and MariaDB servers, by prepared multi-row statements over `mysql_async`.
//!
//! The session is strict, but takes the dates that MySQL itself stores (`ALLOW_INVALID_DATES`, no `NO_ZERO_DATE`), so that they come
//! back exactly; it works in UTC and utf8mb4, at READ COMMITTED, with foreign keys checked.
//!
//! Prepared, and not literals in the text: measured on MySQL 9.7 with upserts of 1000 rows of 11 columns, the server takes 13 µs
//! of CPU a row either way (medians of three interleaved runs: 12.9 prepared, 12.2 text), and nothing has to be escaped.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Params, SslOpts, Statement, Value};

use super::fold::{Group, Unit};
use super::table::{Table, plain_name};
use super::{Catalog, Door, Failure, Session, SqlWriter, ddl, in_time, is_this_machine, make_room, marks, table};
use crate::change::{KeyOrigin, Relation};
use crate::check::{Finding, Severity};
use crate::lane::bonds::Bonds;
use crate::manifest::model::{ServerSink, Tls};
use crate::manifest::template::{TableName, TableTemplate};
use crate::sink::{BeforeNeed, Mark, Sink, SinkError, Writer};

mod catalog;
mod error;
mod statement;

use error::failure;

/// Rows in one statement, at most.
const STATEMENT_ROWS_MAX: usize = 1024;
/// Placeholders in one statement, at most: the protocol counts them in 16 bits.
const STATEMENT_PARAMETERS_MAX: usize = u16::MAX as usize;
/// Placeholders in all statements that a connection keeps prepared; beyond it the least recently used are closed.
const PREPARED_PARAMETERS_MAX: usize = 400_000;

pub struct MysqlSink {
    target: Target,
    template: TableTemplate,
    pipeline: String,
    catalog: Catalog,
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
        Ok(MysqlSink { target, template: config.table.clone(), pipeline: pipeline.to_owned(), catalog: Catalog::default() })
    }

    fn finding(&self, severity: Severity, problem: String, hint: impl Into<String>) -> Finding {
        Finding { severity, subject: self.target.place.clone(), problem, hint: hint.into() }
    }
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
        in_time(async { Conn::new(self.opts.clone()).await.map_err(|e| failure(&e)) }).await
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

    async fn check(&self, relations: &[Arc<Relation>]) -> Vec<Finding> {
        let mut conn = match self.target.connect().await {
            Ok(conn) => conn,
            Err(failure) => return vec![failure.into_finding(&self.target.place)],
        };
        let mut findings = Vec::new();
        for relation in relations {
            let name = self.template.render(&relation.schema, &relation.table, &relation.to_string());
            match catalog::table(&mut conn, &name).await {
                Ok(Some(table)) => {
                    findings.extend(table.check(&self.target.place, relation, catalog::fits));
                    if let Err(failure) = catalog::rights(&mut conn, &table).await {
                        findings.push(failure.into_finding(&self.target.place));
                    }
                }
                Ok(None) if self.target.create => {}
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

    async fn writer(&self) -> Result<Box<dyn Writer>, SinkError> {
        let session = MysqlSession {
            target: self.target.clone(),
            pipeline: self.pipeline.clone(),
            catalog: Arc::clone(&self.catalog),
            tables: HashMap::new(),
            link: None,
        };
        Ok(Box::new(SqlWriter::new(&self.template, session)))
    }

    async fn marks(&self, pipeline: &str) -> Result<Vec<Mark>, SinkError> {
        let read = async {
            let mut conn = self.target.connect().await?;
            conn.query_drop(marks::MYSQL.create).await.map_err(|e| failure(&e))?;
            let rows: Vec<String> = conn.exec(marks::MYSQL.select, (pipeline,)).await.map_err(|e| failure(&e))?;
            let _ = conn.disconnect().await;
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
                    conn.exec_drop(marks::MYSQL.upsert, (pipeline, mark.lane, marks::text(mark))).await?;
                }
                conn.query_drop("COMMIT").await?;
                conn.disconnect().await
            };
            run.await.map_err(|e| failure(&e))
        };
        write.await.map_err(Failure::into_error)
    }
}

/// One connection and what is prepared on it.
struct Link {
    conn: Conn,
    /// By statement text and row count.
    prepared: HashMap<(String, usize), Prepared>,
    parameters: usize,
    /// Grows by one a statement, for the order of last uses.
    tick: u64,
    /// Bytes that one statement may take.
    packet_max: usize,
}

struct Prepared {
    statement: Statement,
    used: u64,
}

struct MysqlSession {
    target: Target,
    pipeline: String,
    catalog: Catalog,
    /// Those of the catalog that this writer has used.
    tables: HashMap<TableName, Arc<Table>>,
    link: Option<Link>,
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
            self.link = Some(Link { conn, prepared: HashMap::new(), parameters: 0, tick: 0, packet_max });
        }
        Ok(())
    }

    async fn commit(&mut self, mark: Option<&Mark>) -> Result<(), Failure> {
        // The one statement that is text, and goes with the COMMIT: for a small transaction a round trip is most of what it costs.
        let sql = match mark {
            Some(mark) => format!("{}; COMMIT", marks::mysql_upsert(&self.pipeline, mark)),
            None => "COMMIT".to_owned(),
        };
        self.link()?.conn.query_drop(sql).await.map_err(|e| failure(&e))
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

    async fn prepare(&mut self, unit: &Unit<'_>) -> Result<(), Failure> {
        if self.tables.contains_key(&unit.target) {
            return Ok(());
        }
        let mut known = self.catalog.lock().await;
        let table = match known.get(&unit.target) {
            Some(table) => Arc::clone(table),
            None => {
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
                let table = Arc::new(found.ok_or_else(|| table::missing(&unit.target))?);
                make_room(&mut known, 1);
                known.insert(unit.target.clone(), Arc::clone(&table));
                table
            }
        };
        if unit.relation.key_origin != KeyOrigin::WholeRow && !table.has_key(&unit.relation) {
            return Err(table::no_key(&unit.target, &unit.relation));
        }
        self.tables.insert(unit.target.clone(), table);
        Ok(())
    }

    async fn apply(&mut self, group: &Group<'_, '_>) -> Result<(), Failure> {
        let table = self.tables.get(&group.unit.target).cloned().ok_or_else(|| table::missing(&group.unit.target))?;
        let shape = statement::Shape::new(&table, group)?;
        let link = self.link()?;
        if !group.action.is_multi() {
            return link.one_by_one(&shape, group).await;
        }
        let rows_max = STATEMENT_ROWS_MAX.min(STATEMENT_PARAMETERS_MAX / shape.parameters()).max(1);
        let mut at = 0;
        while at < group.rows.len() {
            // Powers of two, so that few different statements are ever prepared.
            let rows = 1 << (group.rows.len() - at).min(rows_max).ilog2();
            let mut values = Vec::with_capacity(rows * shape.parameters());
            let mut bytes = 0;
            let mut taken = 0;
            while taken < rows {
                let row_bytes = shape.push(group, at + taken, &mut values);
                if row_bytes + ROW_OVERHEAD > link.packet_max {
                    return Err(Failure::row(at + taken, "the row is larger than the target's max_allowed_packet"));
                }
                if taken > 0 && bytes + row_bytes > link.packet_max / 2 {
                    break;
                }
                bytes += row_bytes;
                taken += 1;
            }
            let rows = 1 << taken.ilog2();
            values.truncate(rows * shape.parameters());
            link.execute(&shape, rows, values).await?;
            at += rows;
        }
        Ok(())
    }

    async fn marked(&mut self, lane: u32) -> Result<Option<String>, Failure> {
        let params = (self.pipeline.clone(), lane);
        self.link()?.conn.exec_first(marks::MYSQL.of_lane, params).await.map_err(|e| failure(&e))
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

/// What a packet holds beside the values of a single row; generous.
const ROW_OVERHEAD: usize = 64 * 1024;

impl MysqlSession {
    fn link(&mut self) -> Result<&mut Link, Failure> {
        self.link.as_mut().ok_or_else(|| Failure::Retry("the connection is lost".to_owned()))
    }
}

impl Link {
    /// The statement of that key, prepared now if it is not.
    async fn prepared(
        &mut self,
        key: (String, usize),
        text: impl FnOnce(usize) -> String,
        parameters: usize,
    ) -> Result<Statement, Failure> {
        self.tick += 1;
        if let Some(prepared) = self.prepared.get_mut(&key) {
            prepared.used = self.tick;
            return Ok(prepared.statement.clone());
        }
        while self.parameters + parameters > PREPARED_PARAMETERS_MAX {
            let Some(oldest) = self.prepared.iter().min_by_key(|(_, p)| p.used).map(|(key, _)| key.clone()) else { break };
            if let Some(prepared) = self.prepared.remove(&oldest) {
                self.parameters -= usize::from(prepared.statement.num_params());
                self.conn.close(prepared.statement).await.map_err(|e| failure(&e))?;
            }
        }
        let statement = self.conn.prep(text(key.1)).await.map_err(|e| failure(&e))?;
        self.parameters += usize::from(statement.num_params());
        self.prepared.insert(key, Prepared { statement: statement.clone(), used: self.tick });
        Ok(statement)
    }

    /// Returns how many rows the statement found.
    async fn execute(&mut self, shape: &statement::Shape, rows: usize, values: Vec<Value>) -> Result<u64, Failure> {
        let statement = self.prepared((shape.head().to_owned(), rows), |rows| shape.text(rows), values.len()).await?;
        let result = self.conn.exec_iter(&statement, Params::Positional(values)).await;
        let result = result.map_err(|e| shape.failure(&e))?;
        let found = result.affected_rows();
        result.drop_result().await.map_err(|e| failure(&e))?;
        Ok(found)
    }

    async fn one_by_one(&mut self, shape: &statement::Shape, group: &Group<'_, '_>) -> Result<(), Failure> {
        let mut missed = 0;
        for row in 0..group.rows.len() {
            let mut values = Vec::with_capacity(shape.parameters());
            shape.push(group, row, &mut values);
            let found = self.execute(shape, 1, values).await.map_err(|failure| match failure {
                Failure::Row { at: None, reason } => Failure::row(row, reason),
                other => other,
            })?;
            missed += u64::from(found == 0);
        }
        table::report_missed(group, missed);
        Ok(())
    }
}
