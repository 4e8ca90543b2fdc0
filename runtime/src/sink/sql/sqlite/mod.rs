//! Sink `sqlite`: a database file, by multi-row statements that SQLite keeps prepared.
//!
//! The file is in WAL mode with `synchronous = FULL`: what is committed survives a power cut. SQLite has one writer at a time, so
//! the lanes of a pipeline take turns, a transaction each; other processes are waited for. A schema in a table's name is part of
//! the name: SQLite has no schemas.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::fold::{Group, Unit};
use super::table::{Table, TargetColumn, plain_name, quoted};
use super::{Door, Failure, Part, Refusal, Session, SqlWriter, Stepwise, ddl, marks, table, write_stepwise};
use crate::alteration::Alteration;
use crate::change::Relation;
use crate::check::{Finding, Severity};
use crate::lane::bonds::Bonds;
use crate::manifest::model;
use crate::manifest::template::{TableName, TableTemplate};
use crate::schema::ddl::Name;
use crate::sink::{BeforeNeed, Mark, Sink, SinkError, Writer};

mod alter;
mod error;
mod statement;

use error::failure;
pub(super) use statement::fits;

/// Rows in one statement, at most: SQLite gains nothing from more.
const STATEMENT_ROWS_MAX: usize = 128;
/// Placeholders in one statement, at most (SQLITE_MAX_VARIABLE_NUMBER).
const STATEMENT_PARAMETERS_MAX: usize = 32_766;
/// How long another process may keep the file locked before a write is put off.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

pub struct SqliteSink {
    place: String,
    path: PathBuf,
    create: bool,
    template: TableTemplate,
    pipeline: String,
    /// Held from BEGIN to the end of a transaction.
    turn: Arc<Mutex<()>>,
}

impl SqliteSink {
    pub fn new(name: &str, config: &model::SqliteSink, pipeline: &str) -> Result<SqliteSink, SinkError> {
        Ok(SqliteSink {
            place: format!("sink `{name}`"),
            path: config.path.clone(),
            create: config.create,
            template: config.table.clone(),
            pipeline: pipeline.to_owned(),
            turn: Arc::default(),
        })
    }

    fn finding(&self, problem: String, hint: impl Into<String>) -> Finding {
        Finding { severity: Severity::Error, subject: self.place.clone(), problem, hint: hint.into() }
    }

    async fn check_file(&self, relations: &[Arc<Relation>]) -> Result<Vec<Finding>, Failure> {
        let missing = |name: &TableName, relation: &Relation| {
            let problem = format!("there is no table `{}`, which `{relation}` goes to", plain_name(name));
            self.finding(problem, "create it, or set create = true")
        };
        let mut findings = Vec::new();
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            let problem = format!("`{}` is in a folder that does not exist", self.path.display());
            return Ok(vec![self.finding(problem, "make the folder, or name a file in another one")]);
        }
        let mut conn = None;
        if self.path.exists() {
            if std::fs::OpenOptions::new().write(true).open(&self.path).is_err() {
                let problem = format!("`{}` cannot be written to", self.path.display());
                return Ok(vec![self.finding(problem, "give this user the right to write it, or name another file")]);
            }
            let options = SqliteConnectOptions::new().filename(&self.path).busy_timeout(BUSY_TIMEOUT);
            conn = Some(options.connect().await.map_err(|e| failure(&e))?);
        }
        for relation in relations {
            let name = self.template.render(&relation.schema, &relation.table, &relation.to_string());
            let found = match &mut conn {
                Some(conn) => read_table(conn, &name).await?,
                None => None,
            };
            match found {
                Some(table) => findings.extend(table.check(&self.place, relation, statement::fits)),
                None if self.create => {}
                None => findings.push(missing(&name, relation)),
            }
        }
        Ok(findings)
    }
}

/// Tables with a unique key beside the primary key, or with several.
const UNIQUE: &str = "SELECT m.name FROM sqlite_master m, pragma_index_list(m.name) l WHERE m.type = 'table' AND l.\"unique\" \
     GROUP BY m.name HAVING count(*) + (SELECT max(pk) > 0 FROM pragma_table_info(m.name)) > 1 AND max(l.origin <> 'pk')";

const REFERENCES: &str =
    "SELECT DISTINCT m.name, f.\"table\" FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'";

async fn connect(path: &PathBuf) -> Result<SqliteConnection, Failure> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .disable_statement_logging()
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    options.connect().await.map_err(|e| failure(&e))
}

/// `None`: there is no such table.
async fn read_table(conn: &mut SqliteConnection, name: &TableName) -> Result<Option<Table>, Failure> {
    let plain = plain_name(name);
    let rows = sqlx::query("SELECT name, type, \"notnull\", dflt_value IS NOT NULL, hidden, pk FROM pragma_table_xinfo(?)")
        .bind(&plain)
        .fetch_all(&mut *conn)
        .await
        .map_err(|e| failure(&e))?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut columns = Vec::new();
    let mut primary: Vec<(i64, String)> = Vec::new();
    for row in &rows {
        let get = |i: usize| row.try_get::<i64, _>(i).map_err(|e| failure(&e));
        let name: String = row.try_get(0).map_err(|e| failure(&e))?;
        let full: String = row.try_get(1).map_err(|e| failure(&e))?;
        if get(5)? > 0 {
            primary.push((get(5)?, name.clone()));
        }
        let (not_null, has_default, hidden) = (get(2)? != 0, get(3)? != 0, get(4)?);
        // hidden: 2 and 3 are generated columns.
        columns.push(TargetColumn { name, base: full.clone(), full, generated: hidden >= 2, nullable: !not_null, has_default });
    }
    primary.sort();
    let (mut unique, mut unique_names) = (Vec::new(), Vec::new());
    if !primary.is_empty() {
        unique.push(primary.into_iter().map(|(_, name)| name).collect());
        unique_names.push(String::new());
    }
    let indexes = "SELECT l.name, i.name, l.partial FROM pragma_index_list(?) l, pragma_index_info(l.name) i \
                   WHERE l.\"unique\" AND l.origin <> 'pk' ORDER BY l.seq, i.seqno";
    let rows = sqlx::query(indexes).bind(&plain).fetch_all(&mut *conn).await.map_err(|e| failure(&e))?;
    let mut last: Option<String> = None;
    for row in &rows {
        let index: String = row.try_get(0).map_err(|e| failure(&e))?;
        let column: Option<String> = row.try_get(1).map_err(|e| failure(&e))?;
        let partial: i64 = row.try_get(2).map_err(|e| failure(&e))?;
        if last.as_deref() != Some(&*index) {
            unique.push(Vec::new());
            unique_names.push(index.clone());
            last = Some(index);
        }
        if let (Some(names), Some(column), 0) = (unique.last_mut(), column, partial) {
            names.push(column);
        }
    }
    Ok(Some(Table { sql: quoted(&plain, '"'), columns, unique, unique_names, ignores_case: true }))
}

#[async_trait]
impl Sink for SqliteSink {
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
        self.check_file(relations).await.unwrap_or_else(|failure| vec![failure.into_finding(&self.place)])
    }

    async fn bonds(&self) -> Result<Bonds, SinkError> {
        let read = async {
            let _turn = self.turn.lock().await;
            let mut conn = connect(&self.path).await?;
            let unique = sqlx::query_scalar::<_, String>(UNIQUE).fetch_all(&mut conn).await.map_err(|e| failure(&e))?;
            let references = sqlx::query_as::<_, (String, String)>(REFERENCES).fetch_all(&mut conn).await;
            let _ = conn.close().await;
            Ok(Bonds::new(&self.template, "", unique, references.map_err(|e| failure(&e))?))
        };
        read.await.map_err(Failure::into_error)
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, SinkError> {
        let session = SqliteSession {
            path: self.path.clone(),
            create: self.create,
            pipeline: self.pipeline.clone(),
            turn: Arc::clone(&self.turn),
            guard: None,
            tables: HashMap::new(),
            conn: None,
        };
        Ok(Box::new(SqlWriter::new(&self.template, session)))
    }

    async fn marks(&self, pipeline: &str) -> Result<Vec<Mark>, SinkError> {
        let read = async {
            let _turn = self.turn.lock().await;
            let mut conn = connect(&self.path).await?;
            sqlx::query(marks::SQLITE.create).execute(&mut conn).await.map_err(|e| failure(&e))?;
            let rows = sqlx::query(marks::SQLITE.select).bind(pipeline).fetch_all(&mut conn).await.map_err(|e| failure(&e))?;
            let _ = conn.close().await;
            rows.iter().map(|row| marks::parse(row.try_get(0).map_err(|e| failure(&e))?)).collect::<Result<Vec<_>, _>>()
        };
        read.await.map_err(Failure::into_error)
    }

    async fn set_marks(&self, pipeline: &str, all: &[Mark]) -> Result<(), SinkError> {
        let write = async {
            let _turn = self.turn.lock().await;
            let mut conn = connect(&self.path).await?;
            let run = async {
                sqlx::query(marks::SQLITE.create).execute(&mut conn).await?;
                sqlx::query("BEGIN IMMEDIATE").execute(&mut conn).await?;
                sqlx::query(marks::SQLITE.delete).bind(pipeline).execute(&mut conn).await?;
                for mark in all {
                    let query = sqlx::query(marks::SQLITE.upsert).bind(pipeline).bind(i64::from(mark.lane));
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
            let _turn = self.turn.lock().await;
            let mut conn = connect(&self.path).await?;
            let made = self.made(&mut conn).await?;
            let _ = conn.close().await;
            Ok(made.filter(|made| made.steps.is_empty()).map(|made| made.key))
        };
        read.await.map_err(Failure::into_error)
    }

    async fn forget_altered(&self) -> Result<(), SinkError> {
        let forget = async {
            let _turn = self.turn.lock().await;
            let mut conn = connect(&self.path).await?;
            self.forget(&mut conn).await?;
            let _ = conn.close().await;
            Ok(())
        };
        forget.await.map_err(Failure::into_error)
    }

    async fn alter(&self, alteration: &Alteration) -> Result<(), SinkError> {
        self.make(alteration).await.map_err(Failure::into_error)
    }
}

struct SqliteSession {
    path: PathBuf,
    create: bool,
    pipeline: String,
    turn: Arc<Mutex<()>>,
    /// This lane's turn, while its transaction is open.
    guard: Option<OwnedMutexGuard<()>>,
    tables: HashMap<TableName, Arc<Table>>,
    conn: Option<SqliteConnection>,
}

impl SqliteSession {
    async fn conn(&mut self) -> Result<&mut SqliteConnection, Failure> {
        match self.conn.take() {
            Some(conn) => Ok(self.conn.insert(conn)),
            None => {
                let conn = connect(&self.path).await?;
                Ok(self.conn.insert(conn))
            }
        }
    }
}

#[async_trait]
impl Stepwise for SqliteSession {
    async fn commit(&mut self, mark: Option<&Mark>) -> Result<(), Failure> {
        if let Some(mark) = mark {
            let pipeline = self.pipeline.clone();
            let query = sqlx::query(marks::SQLITE.upsert).bind(pipeline).bind(i64::from(mark.lane)).bind(marks::text(mark));
            query.execute(self.conn().await?).await.map_err(|e| failure(&e))?;
        }
        let conn = self.conn().await?;
        sqlx::query("COMMIT").execute(conn).await.map_err(|e| failure(&e))?;
        self.guard = None;
        Ok(())
    }

    async fn apply(&mut self, group: &Group<'_, '_>) -> Result<(), Failure> {
        let table = self.tables.get(&group.unit.target).cloned().ok_or_else(|| table::missing(&group.unit.target))?;
        let shape = statement::Shape::new(&table, group)?;
        let rows_max =
            if group.action.is_multi() { STATEMENT_ROWS_MAX.min(STATEMENT_PARAMETERS_MAX / shape.parameters()) } else { 1 };
        let conn = self.conn().await?;
        let (mut at, mut missed) = (0, 0);
        let (mut text, mut text_rows) = (String::new(), 0);
        while at < group.rows.len() {
            // Powers of two, so that few different statements are ever prepared.
            let rows = 1 << (group.rows.len() - at).min(rows_max.max(1)).ilog2();
            let arguments = shape.arguments(group, at, rows)?;
            if text_rows != rows {
                text = shape.text(rows);
                text_rows = rows;
            }
            let done = sqlx::query_with(AssertSqlSafe(text.clone()), arguments).execute(&mut *conn).await;
            let found = done.map_err(|e| error::at(failure(&e), rows, at))?.rows_affected();
            missed += u64::from(!group.action.is_multi() && found == 0);
            at += rows;
        }
        table::report_missed(group, missed);
        Ok(())
    }
}

#[async_trait]
impl Session for SqliteSession {
    async fn begin(&mut self) -> Result<(), Failure> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let conn = self.conn().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(conn).await.map_err(|e| failure(&e))?;
        self.guard = Some(turn);
        Ok(())
    }

    async fn write(&mut self, parts: &[Part<'_, '_, '_>]) -> Result<(), Refusal> {
        write_stepwise(self, parts).await
    }

    async fn rollback(&mut self) {
        if let Some(mut conn) = self.conn.take()
            && sqlx::query("ROLLBACK").execute(&mut conn).await.is_ok()
        {
            self.conn = Some(conn);
        }
        // A table that was made in the transaction is gone.
        self.tables.clear();
        self.guard = None;
    }

    fn tables(&mut self) -> &mut HashMap<TableName, Arc<Table>> {
        &mut self.tables
    }

    async fn look_up(&mut self, unit: &Unit<'_>) -> Result<Arc<Table>, Failure> {
        let create = self.create;
        // DDL needs the turn, too, unless this lane has it.
        let _turn = if self.guard.is_none() { Some(Arc::clone(&self.turn).lock_owned().await) } else { None };
        let conn = self.conn().await?;
        let mut found = read_table(conn, &unit.target).await?;
        if found.is_none() && create {
            let sql = ddl::sqlite(&plain_name(&unit.target), &unit.relation);
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *conn).await.map_err(|e| failure(&e))?;
            found = read_table(conn, &unit.target).await?;
        }
        found.map(Arc::new).ok_or_else(|| table::missing(&unit.target))
    }

    async fn marked(&mut self, lane: u32) -> Result<Option<String>, Failure> {
        let query = sqlx::query_scalar(marks::SQLITE.of_lane).bind(self.pipeline.clone()).bind(i64::from(lane));
        query.fetch_optional(self.conn().await?).await.map_err(|e| failure(&e))
    }

    fn hang_up(&mut self) {
        self.conn = None;
        self.guard = None;
    }

    fn door(&self) -> Option<Box<dyn Door>> {
        None
    }
}
