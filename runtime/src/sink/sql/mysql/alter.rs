//! Changes of tables, step by step: each statement commits by itself.

use std::collections::HashMap;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};

use super::super::Failure;
use super::super::alter::{self, Dialect, Found, Made, Step};
use super::error::failure;
use super::{MysqlSink, catalog};
use crate::alteration::Alteration;
use crate::change::Relation;
use crate::check::{Finding, Severity};
use crate::failpoint;
use crate::schema::ddl::Name;

/// Those of `needed` that the user has not in a whole schema; rights by roles are not seen.
pub(super) async fn missing_rights<'n>(conn: &mut Conn, schema: Option<&str>, needed: &[&'n str]) -> Result<Vec<&'n str>, Failure> {
    const RIGHTS: &str = "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE REPLACE(GRANTEE, '\\'', '') = CURRENT_USER() \
         UNION SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES WHERE REPLACE(GRANTEE, '\\'', '') = CURRENT_USER() \
         AND COALESCE(?, DATABASE()) LIKE TABLE_SCHEMA";
    let rows: Vec<String> = conn.exec(RIGHTS, (schema,)).await.map_err(|e| failure(&e))?;
    Ok(needed.iter().copied().filter(|right| !rows.iter().any(|row| row == right)).collect())
}

pub(super) fn place(schema: Option<&str>) -> String {
    schema.map_or_else(|| "the database".to_owned(), |schema| format!("`{schema}`"))
}

impl MysqlSink {
    pub(super) async fn made(&self, conn: &mut Conn) -> Result<Option<Made>, Failure> {
        conn.query_drop(alter::MYSQL.create).await.map_err(|e| failure(&e))?;
        let text: Option<String> =
            conn.exec_first(alter::MYSQL.select, (self.pipeline.as_str(),)).await.map_err(|e| failure(&e))?;
        text.map(|text| Made::parse(&text)).transpose()
    }

    pub(super) async fn forget(&self, conn: &mut Conn) -> Result<(), Failure> {
        self.made(conn).await?;
        conn.exec_drop(alter::MYSQL.delete, (self.pipeline.as_str(),)).await.map_err(|e| failure(&e))
    }

    /// What the user may lack; rights by roles are not seen.
    pub(super) async fn rights_to_alter(&self, relations: &[Arc<Relation>]) -> Result<Vec<Finding>, Failure> {
        let mut conn = self.target.connect().await?;
        let mut schemas: Vec<Option<String>> = relations
            .iter()
            .map(|relation| self.template.render(&relation.schema, &relation.table, &relation.to_string()).schema)
            .collect();
        schemas.sort();
        schemas.dedup();
        let mut findings = Vec::new();
        for schema in schemas {
            let missing = missing_rights(&mut conn, schema.as_deref(), &["ALTER", "CREATE", "DROP", "INSERT"]).await?;
            if !missing.is_empty() {
                let place = place(schema.as_deref());
                findings.push(self.finding(
                    Severity::Warning,
                    format!("ddl = \"follow\": the user has no right to {} in {place}", missing.join(", ")),
                    "GRANT ALTER, CREATE, DROP, INSERT ON the database TO the user, unless a role has them",
                ));
            }
        }
        let _ = conn.disconnect().await;
        Ok(findings)
    }

    async fn keep(&self, conn: &mut Conn, made: &Made) -> Result<(), Failure> {
        conn.exec_drop(alter::MYSQL.upsert, (self.pipeline.as_str(), made.text())).await.map_err(|e| failure(&e))
    }

    pub(super) async fn make(&self, alteration: &Alteration) -> Result<(), Failure> {
        let mut conn = self.target.connect().await?;
        let mut made = match self.made(&mut conn).await? {
            Some(made) if made.key == alteration.key => made,
            _ => {
                let steps = self.plan(&mut conn, alteration).await?;
                let made = Made { key: alteration.key.clone(), steps };
                self.keep(&mut conn, &made).await?;
                made
            }
        };
        while !made.steps.is_empty() {
            let step = made.steps.remove(0);
            failpoint::pass("ddl-step");
            if !is_done(&mut conn, &step).await? {
                tracing::info!(sink = self.target.place, "{}", step.shown());
                if let Err(error) = conn.query_drop(step.sql.as_str()).await {
                    return Err(refused(&mut conn, &step, &error).await);
                }
            }
            failpoint::pass("ddl-step-done");
            self.keep(&mut conn, &made).await?;
        }
        self.catalog.lock().await.clear();
        let _ = conn.disconnect().await;
        Ok(())
    }

    async fn plan(&self, conn: &mut Conn, alteration: &Alteration) -> Result<Vec<Step>, Failure> {
        let mut found = HashMap::new();
        for name in alter::targets(alteration, &self.template) {
            if let Some(table) = catalog::table(conn, &name).await? {
                let one: Option<u8> =
                    conn.query_first(format!("SELECT 1 FROM {} LIMIT 1", table.sql)).await.map_err(|e| failure(&e))?;
                found.insert(name, Found { table, has_rows: one.is_some() });
            }
        }
        let dialect = Dialect::Mysql(catalog::collations(conn).await?);
        alter::plan(alteration, &self.template, self.target.create, &dialect, found)
    }

    /// See [`crate::sink::Sink::empty`].
    pub(super) async fn delete_all(&self, table: &Name, others: &[Name]) -> Result<bool, Failure> {
        let Some(target) = alter::own_target(&self.template, table, others) else { return Ok(false) };
        let mut conn = self.target.connect().await?;
        if let Some(table) = catalog::table(&mut conn, &target).await? {
            conn.query_drop(format!("DELETE FROM {}", table.sql)).await.map_err(|e| failure(&e))?;
        }
        let _ = conn.disconnect().await;
        Ok(true)
    }
}

async fn is_done(conn: &mut Conn, step: &Step) -> Result<bool, Failure> {
    let Some(name) = step.done.table() else { return Ok(false) };
    let found = catalog::table(conn, name).await?;
    Ok(step.done.is_done(found.as_ref()))
}

/// A statement that an earlier run began may have ended meanwhile.
async fn refused(conn: &mut Conn, step: &Step, error: &Error) -> Failure {
    match is_done(conn, step).await {
        Ok(true) => Failure::Retry("the statement of an earlier run has just ended".to_owned()),
        _ => alter::refused(step, failure(error)),
    }
}
