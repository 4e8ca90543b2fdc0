//! Changes of tables, all of one change in one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::super::Failure;
use super::super::alter::{self, Dialect, Found, Made};
use super::super::table::{plain_name, quoted_name};
use super::error::failure;
use super::{PostgresSink, catalog};
use crate::alteration::Alteration;
use crate::change::Relation;
use crate::check::{Finding, Severity};
use crate::failpoint;
use crate::schema::ddl::Name;

impl PostgresSink {
    pub(super) async fn made(&self, conn: &mut PgConnection) -> Result<Option<Made>, Failure> {
        sqlx::query(alter::POSTGRES.create).execute(&mut *conn).await.map_err(|e| failure(&e))?;
        let row = sqlx::query_scalar::<_, String>(alter::POSTGRES.select).bind(&self.pipeline).fetch_optional(conn).await;
        row.map_err(|e| failure(&e))?.map(|text| Made::parse(&text)).transpose()
    }

    pub(super) async fn forget(&self, conn: &mut PgConnection) -> Result<(), Failure> {
        self.made(conn).await?;
        let deleted = sqlx::query(alter::POSTGRES.delete).bind(&self.pipeline).execute(conn).await;
        deleted.map(drop).map_err(|e| failure(&e))
    }

    /// Only who owns a table alters it.
    pub(super) async fn rights_to_alter(&self, relations: &[Arc<Relation>]) -> Result<Vec<Finding>, Failure> {
        let mut conn = self.target.connect().await?;
        let mut findings = Vec::new();
        let warning = |problem: String, hint: &str| Finding {
            severity: Severity::Warning,
            subject: self.target.place.clone(),
            problem,
            hint: hint.to_owned(),
        };
        for relation in relations {
            let name = self.template.render(&relation.schema, &relation.table, &relation.to_string());
            let owns = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass($1)";
            let owns = sqlx::query_scalar::<_, bool>(owns).bind(quoted_name(&name, '"')).fetch_optional(&mut conn).await;
            if owns.map_err(|e| failure(&e))? == Some(false) {
                let problem = format!("ddl = \"follow\": the user does not own table `{}`, and cannot alter it", plain_name(&name));
                findings.push(warning(problem, "ALTER TABLE … OWNER TO the user, or to a role that it is a member of"));
            }
        }
        let creates = "SELECT COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE)";
        let creates = sqlx::query_scalar::<_, bool>(creates).fetch_one(&mut conn).await;
        if !creates.map_err(|e| failure(&e))? {
            let problem = "ddl = \"follow\": the user may not make tables in its schema, `tidegate_ddl` among them".to_owned();
            findings.push(warning(problem, "GRANT CREATE ON SCHEMA … TO the user"));
        }
        let _ = conn.close().await;
        Ok(findings)
    }

    pub(super) async fn make(&self, alteration: &Alteration) -> Result<(), Failure> {
        let mut conn = self.target.connect().await?;
        if self.made(&mut conn).await?.is_some_and(|made| made.key == alteration.key) {
            // Maybe by a COMMIT of which no answer came.
            self.catalog.lock().await.clear();
            return Ok(());
        }
        let mut found = HashMap::new();
        for name in alter::targets(alteration, &self.template) {
            if let Some(table) = catalog::table(&mut conn, &name).await? {
                let sql = format!("SELECT EXISTS (SELECT FROM {})", table.sql);
                let has_rows = sqlx::query_scalar::<_, bool>(AssertSqlSafe(sql)).fetch_one(&mut conn).await;
                found.insert(name, Found { table, has_rows: has_rows.map_err(|e| failure(&e))? });
            }
        }
        let steps = alter::plan(alteration, &self.template, self.target.create, &Dialect::Postgres, found)?;
        let mut transaction = conn.begin().await.map_err(|e| failure(&e))?;
        for step in steps {
            failpoint::pass("ddl-step");
            tracing::info!(sink = self.target.place, "{}", step.shown());
            let run = sqlx::raw_sql(AssertSqlSafe(step.sql.clone())).execute(&mut *transaction).await;
            run.map_err(|e| alter::refused(&step, failure(&e)))?;
            failpoint::pass("ddl-step-done");
        }
        let made = Made { key: alteration.key.clone(), steps: Vec::new() };
        let kept = sqlx::query(alter::POSTGRES.upsert).bind(&self.pipeline).bind(made.text()).execute(&mut *transaction).await;
        kept.map_err(|e| failure(&e))?;
        transaction.commit().await.map_err(|e| failure(&e))?;
        self.catalog.lock().await.clear();
        let _ = conn.close().await;
        Ok(())
    }

    /// See [`crate::sink::Sink::empty`].
    pub(super) async fn delete_all(&self, table: &Name, others: &[Name]) -> Result<bool, Failure> {
        let Some(target) = alter::own_target(&self.template, table, others) else { return Ok(false) };
        let mut conn = self.target.connect().await?;
        if let Some(table) = catalog::table(&mut conn, &target).await? {
            let sql = format!("DELETE FROM {}", table.sql);
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.map_err(|e| failure(&e))?;
        }
        let _ = conn.close().await;
        Ok(true)
    }
}
