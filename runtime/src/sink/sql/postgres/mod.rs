//! Sink `postgres`: PostgreSQL servers. One statement writes any number of rows: each column goes as one binary array, made straight
//! from the Arrow column, and the server unnests them.
//!
//! Sessions work in UTC, in UTF-8, at READ COMMITTED.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};

use super::fold::{Group, Unit};
use super::table::{Table, plain_name};
use super::{
    Catalog, Door, Failure, Part, Refusal, Session, SqlWriter, Stepwise, ddl, in_time, is_this_machine, marks, shared, table,
    write_stepwise,
};
use crate::alteration::Alteration;
use crate::change::Relation;
use crate::check::{Finding, Severity};
use crate::lane::bonds::Bonds;
use crate::manifest::model::{ServerSink, Tls};
use crate::manifest::template::{TableName, TableTemplate};
use crate::schema::ddl::Name;
use crate::sink::{BeforeNeed, Mark, Sink, SinkError, Writer};

mod alter;
mod catalog;
mod error;
mod statement;

pub(super) use catalog::fits;
use error::failure;

/// Rows in one statement, at most.
const STATEMENT_ROWS_MAX: usize = 4096;

pub struct PostgresSink {
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
    options: PgConnectOptions,
    create: bool,
}

impl PostgresSink {
    pub fn new(name: &str, config: &ServerSink, pipeline: &str) -> Result<PostgresSink, SinkError> {
        let place = format!("sink `{name}`");
        // The error of the URL parser may quote the URL, which may hold a password.
        let mut options = PgConnectOptions::from_str(config.url.expose()).map_err(|_| SinkError::Configuration {
            reason: "the URL cannot be read".to_owned(),
            hint: "postgres://USER@HOST[:PORT]/DATABASE; special characters as %XX".to_owned(),
        })?;
        if let Some(password) = &config.password {
            options = options.password(password.expose());
        }
        let local = options.get_socket().is_some() || is_this_machine(options.get_host());
        let tls = config.tls.unwrap_or(if local { Tls::Off } else { Tls::Verify });
        options = options.application_name("tidegate").ssl_mode(match tls {
            Tls::Off => PgSslMode::Disable,
            Tls::Encrypt => PgSslMode::Require,
            Tls::Verify => PgSslMode::VerifyFull,
        });
        if let Some(ca) = &config.ca {
            options = options.ssl_root_cert(ca);
        }
        // The text of our own statements says nothing to whoever reads the log.
        options = options.disable_statement_logging();
        let target = Target { place, options, create: config.create };
        Ok(PostgresSink { target, template: config.table.clone(), pipeline: pipeline.to_owned(), catalog: Catalog::default() })
    }

    async fn check_tables(&self, relations: &[Arc<Relation>]) -> Result<Vec<Finding>, Failure> {
        let mut conn = self.target.connect().await?;
        let mut findings = Vec::new();
        for relation in relations {
            let name = self.template.render(&relation.schema, &relation.table, &relation.to_string());
            let error = |problem: String, hint: &str| Finding {
                severity: Severity::Error,
                subject: self.target.place.clone(),
                problem,
                hint: hint.to_owned(),
            };
            match catalog::table(&mut conn, &name).await? {
                Some(table) => {
                    findings.extend(table.check(&self.target.place, relation, catalog::fits));
                    let missing = catalog::missing_rights(&mut conn, &table).await?;
                    if !missing.is_empty() {
                        let problem = format!("the user may not {} table {}", missing.join(", "), table.sql);
                        findings.push(error(problem, "GRANT SELECT, INSERT, UPDATE, DELETE ON the table TO the user"));
                    }
                }
                None if self.target.create => {
                    let (problem, hint) = match catalog::may_create(&mut conn, name.schema.as_deref()).await? {
                        Some((_, true)) => continue,
                        Some((schema, false)) => (
                            format!("create = true: the user may not make tables in schema {schema}"),
                            format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {}", self.target.options.get_username()),
                        ),
                        None => (
                            match &name.schema {
                                Some(schema) => format!("create = true makes tables, and no schema; there is no `{schema}`"),
                                None => "create = true: the user has no schema to make tables in".to_owned(),
                            },
                            "CREATE SCHEMA, and GRANT USAGE, CREATE on it TO the user".to_owned(),
                        ),
                    };
                    // Once for all tables of a schema.
                    if findings.iter().any(|finding: &Finding| finding.problem == problem) {
                        continue;
                    }
                    findings.push(error(problem, &hint));
                }
                None => {
                    let problem = format!("there is no table `{}`, which `{relation}` goes to", plain_name(&name));
                    findings.push(error(problem, "create it, or set create = true"));
                }
            }
        }
        let _ = conn.close().await;
        Ok(findings)
    }
}

impl Target {
    async fn connect(&self) -> Result<PgConnection, Failure> {
        let address = format!("{}:{}", self.options.get_host(), self.options.get_port());
        in_time(async { self.options.connect().await.map_err(|e| failure(&e)) }).await.map_err(|failure| failure.within(&address))
    }
}

#[async_trait]
impl Sink for PostgresSink {
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
        self.check_tables(relations).await.unwrap_or_else(|failure| vec![failure.into_finding(&self.target.place)])
    }

    async fn bonds(&self) -> Result<Bonds, SinkError> {
        let read = async {
            let mut conn = self.target.connect().await?;
            let bonds = catalog::bonds(&mut conn, &self.template).await?;
            let _ = conn.close().await;
            Ok(bonds)
        };
        read.await.map_err(Failure::into_error)
    }

    async fn forget_tables(&self) {
        self.catalog.lock().await.clear();
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, SinkError> {
        let session = PostgresSession {
            target: self.target.clone(),
            pipeline: self.pipeline.clone(),
            catalog: Arc::clone(&self.catalog),
            tables: HashMap::new(),
            conn: None,
        };
        Ok(Box::new(SqlWriter::new(&self.template, session)))
    }

    async fn marks(&self, pipeline: &str) -> Result<Vec<Mark>, SinkError> {
        let read = async {
            let mut conn = self.target.connect().await?;
            sqlx::query(marks::POSTGRES.create).execute(&mut conn).await.map_err(|e| failure(&e))?;
            let rows = sqlx::query(marks::POSTGRES.select).bind(pipeline).fetch_all(&mut conn).await.map_err(|e| failure(&e))?;
            let _ = conn.close().await;
            rows.iter().map(|row| marks::parse(row.try_get(0).map_err(|e| failure(&e))?)).collect::<Result<Vec<_>, _>>()
        };
        read.await.map_err(Failure::into_error)
    }

    async fn set_marks(&self, pipeline: &str, all: &[Mark]) -> Result<(), SinkError> {
        let write = async {
            let mut conn = self.target.connect().await?;
            let run = async {
                sqlx::query(marks::POSTGRES.create).execute(&mut conn).await?;
                sqlx::query("BEGIN").execute(&mut conn).await?;
                sqlx::query(marks::POSTGRES.delete).bind(pipeline).execute(&mut conn).await?;
                for mark in all {
                    let query = sqlx::query(marks::POSTGRES.upsert).bind(pipeline).bind(i64::from(mark.lane));
                    query.bind(marks::text(mark)).execute(&mut conn).await?;
                }
                sqlx::query("COMMIT").execute(&mut conn).await?;
                conn.close().await
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
            let _ = conn.close().await;
            Ok(made.filter(|made| made.steps.is_empty()).map(|made| made.key))
        };
        read.await.map_err(Failure::into_error)
    }

    async fn forget_altered(&self) -> Result<(), SinkError> {
        let forget = async {
            let mut conn = self.target.connect().await?;
            self.forget(&mut conn).await?;
            let _ = conn.close().await;
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

struct PostgresSession {
    target: Target,
    pipeline: String,
    catalog: Catalog,
    /// Those of the catalog that this writer has used.
    tables: HashMap<TableName, Arc<Table>>,
    conn: Option<PgConnection>,
}

impl PostgresSession {
    fn conn(&mut self) -> Result<&mut PgConnection, Failure> {
        self.conn.as_mut().ok_or_else(|| Failure::Retry("the connection is lost".to_owned()))
    }
}

#[async_trait]
impl Stepwise for PostgresSession {
    async fn commit(&mut self, mark: Option<&Mark>) -> Result<(), Failure> {
        if let Some(mark) = mark {
            let pipeline = self.pipeline.clone();
            let query = sqlx::query(marks::POSTGRES.upsert).bind(pipeline).bind(i64::from(mark.lane)).bind(marks::text(mark));
            query.execute(self.conn()?).await.map_err(|e| failure(&e))?;
        }
        sqlx::raw_sql("COMMIT").execute(self.conn()?).await.map_err(|e| failure(&e))?;
        Ok(())
    }

    async fn apply(&mut self, group: &Group<'_, '_>) -> Result<(), Failure> {
        let table = self.tables.get(&group.unit.target).cloned().ok_or_else(|| table::missing(&group.unit.target))?;
        let shape = statement::Shape::new(&table, group)?;
        let conn = self.conn()?;
        let rows_max = if shape.is_single() { 1 } else { STATEMENT_ROWS_MAX };
        let (mut at, mut found) = (0, 0);
        while at < group.rows.len() {
            let rows = (group.rows.len() - at).min(rows_max);
            let arguments = shape.arguments(group, at, rows)?;
            let done = sqlx::query_with(AssertSqlSafe(shape.text().to_owned()), arguments).execute(&mut *conn).await;
            found += done.map_err(|e| error::at(failure(&e), rows, at))?.rows_affected();
            at += rows;
        }
        if !group.action.is_multi() {
            table::report_missed(group, (group.rows.len() as u64).saturating_sub(found));
        }
        Ok(())
    }
}

#[async_trait]
impl Session for PostgresSession {
    async fn begin(&mut self) -> Result<(), Failure> {
        if self.conn.is_none() {
            self.conn = Some(self.target.connect().await?);
        }
        let begun = sqlx::raw_sql("BEGIN ISOLATION LEVEL READ COMMITTED").execute(self.conn()?).await;
        if begun.is_err() {
            // Closed by the server while it was idle: the next try connects again.
            self.conn = None;
        }
        begun.map_err(|e| failure(&e))?;
        Ok(())
    }

    async fn write(&mut self, parts: &[Part<'_, '_, '_>]) -> Result<(), Refusal> {
        write_stepwise(self, parts).await
    }

    async fn rollback(&mut self) {
        if let Some(mut conn) = self.conn.take()
            && sqlx::raw_sql("ROLLBACK").execute(&mut conn).await.is_ok()
        {
            self.conn = Some(conn);
        }
    }

    fn tables(&mut self) -> &mut HashMap<TableName, Arc<Table>> {
        &mut self.tables
    }

    async fn look_up(&mut self, unit: &Unit<'_>) -> Result<Arc<Table>, Failure> {
        let look = async {
            // A connection of its own: other lanes must see a table that is made, and not wait for this lane's transaction.
            let mut conn = self.target.connect().await?;
            let mut found = catalog::table(&mut conn, &unit.target).await?;
            if found.is_none() && self.target.create {
                let sql = ddl::postgres(&unit.target, &unit.relation);
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.map_err(|e| failure(&e))?;
                found = catalog::table(&mut conn, &unit.target).await?;
            }
            let _ = conn.close().await;
            Ok(found)
        };
        shared(&self.catalog, unit, look).await
    }

    async fn marked(&mut self, lane: u32) -> Result<Option<String>, Failure> {
        let query = sqlx::query_scalar(marks::POSTGRES.of_lane).bind(self.pipeline.clone()).bind(i64::from(lane));
        query.fetch_optional(self.conn()?).await.map_err(|e| failure(&e))
    }

    fn hang_up(&mut self) {
        self.conn = None;
    }

    fn door(&self) -> Option<Box<dyn Door>> {
        Some(Box::new(self.target.clone()))
    }
}

#[async_trait]
impl Door for Target {
    async fn answers(&self) -> bool {
        match self.options.connect().await {
            Ok(conn) => conn.close().await.is_ok(),
            Err(e) => !matches!(e, sqlx::Error::Io(_)),
        }
    }
}
