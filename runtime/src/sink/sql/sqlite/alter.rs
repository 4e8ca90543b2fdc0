//! Changes of tables, all of one change in one transaction.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::super::Failure;
use super::super::alter::{self, Dialect, Found, Made};
use super::error::failure;
use super::{SqliteSink, connect, read_table};
use crate::alteration::Alteration;
use crate::failpoint;
use crate::schema::ddl::Name;

impl SqliteSink {
    pub(super) async fn made(&self, conn: &mut SqliteConnection) -> Result<Option<Made>, Failure> {
        sqlx::query(alter::SQLITE.create).execute(&mut *conn).await.map_err(|e| failure(&e))?;
        let row = sqlx::query_scalar::<_, String>(alter::SQLITE.select).bind(&self.pipeline).fetch_optional(conn).await;
        row.map_err(|e| failure(&e))?.map(|text| Made::parse(&text)).transpose()
    }

    pub(super) async fn forget(&self, conn: &mut SqliteConnection) -> Result<(), Failure> {
        self.made(conn).await?;
        let deleted = sqlx::query(alter::SQLITE.delete).bind(&self.pipeline).execute(conn).await;
        deleted.map(drop).map_err(|e| failure(&e))
    }

    pub(super) async fn make(&self, alteration: &Alteration) -> Result<(), Failure> {
        let _turn = self.turn.lock().await;
        let mut conn = connect(&self.path).await?;
        if self.made(&mut conn).await?.is_some_and(|made| made.key == alteration.key) {
            return Ok(());
        }
        let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await.map_err(|e| failure(&e))?;
        let mut found = HashMap::new();
        for name in alter::targets(alteration, &self.template) {
            if let Some(table) = read_table(&mut transaction, &name).await? {
                let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table.sql);
                let has_rows = sqlx::query_scalar::<_, bool>(AssertSqlSafe(sql)).fetch_one(&mut *transaction).await;
                found.insert(name, Found { table, has_rows: has_rows.map_err(|e| failure(&e))? });
            }
        }
        for step in alter::plan(alteration, &self.template, self.create, &Dialect::Sqlite, found)? {
            failpoint::pass("ddl-step");
            tracing::info!(sink = self.place, "{}", step.shown());
            let run = sqlx::raw_sql(AssertSqlSafe(step.sql.clone())).execute(&mut *transaction).await;
            run.map_err(|e| alter::refused(&step, failure(&e)))?;
            failpoint::pass("ddl-step-done");
        }
        let made = Made { key: alteration.key.clone(), steps: Vec::new() };
        let kept = sqlx::query(alter::SQLITE.upsert).bind(&self.pipeline).bind(made.text()).execute(&mut *transaction).await;
        kept.map_err(|e| failure(&e))?;
        transaction.commit().await.map_err(|e| failure(&e))?;
        let _ = conn.close().await;
        Ok(())
    }

    /// See [`crate::sink::Sink::empty`].
    pub(super) async fn delete_all(&self, table: &Name, others: &[Name]) -> Result<bool, Failure> {
        let Some(target) = alter::own_target(&self.template, table, others) else { return Ok(false) };
        let _turn = self.turn.lock().await;
        let mut conn = connect(&self.path).await?;
        if let Some(table) = read_table(&mut conn, &target).await? {
            let sql = format!("DELETE FROM {}", table.sql);
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.map_err(|e| failure(&e))?;
        }
        let _ = conn.close().await;
        Ok(true)
    }
}
