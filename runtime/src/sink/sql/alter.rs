//! `ddl = "follow"`: from a change of tables at the source to statements at the target.
//!
//! The plan is made of what the statement changed and of what the target's tables are. Types are those of `create = true`; a column whose
//! type somebody has chosen keeps it while it takes the values. What would leave other values than the source has is refused.
//!
//! Which change was made stands in table `tidegate_ddl`, a row a pipeline. PostgreSQL and SQLite change the tables and the row in
//! one transaction. MySQL commits each statement by itself: there the row holds the steps that are left, and each tells by the tables
//! whether it was made, so that a crash in between makes none of them twice.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::Failure;
use super::ddl::{self, Collations};
use super::table::{Table, plain_name, quoted, quoted_name};
use crate::alteration::{Alteration, TableChange};
use crate::manifest::template::{TableName, TableTemplate};
use crate::schema::ddl::Name;

mod columns;
mod convert;

/// The statements of a dialect for the row of a pipeline. `upsert` takes pipeline and change.
pub(super) struct Statements {
    pub create: &'static str,
    pub select: &'static str,
    pub upsert: &'static str,
    pub delete: &'static str,
}

pub(super) const MYSQL: Statements = Statements {
    create: "CREATE TABLE IF NOT EXISTS tidegate_ddl (pipeline VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY, \
             made LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE = InnoDB",
    select: "SELECT made FROM tidegate_ddl WHERE pipeline = ?",
    upsert: "INSERT INTO tidegate_ddl (pipeline, made) VALUES (?, ?) ON DUPLICATE KEY UPDATE made = VALUES(made)",
    delete: "DELETE FROM tidegate_ddl WHERE pipeline = ?",
};

pub(super) const POSTGRES: Statements = Statements {
    create: "CREATE TABLE IF NOT EXISTS tidegate_ddl (pipeline text PRIMARY KEY, made text NOT NULL)",
    select: "SELECT made FROM tidegate_ddl WHERE pipeline = $1",
    upsert: "INSERT INTO tidegate_ddl (pipeline, made) VALUES ($1, $2) ON CONFLICT (pipeline) DO UPDATE SET made = excluded.made",
    delete: "DELETE FROM tidegate_ddl WHERE pipeline = $1",
};

pub(super) const SQLITE: Statements = Statements {
    create: "CREATE TABLE IF NOT EXISTS tidegate_ddl (pipeline TEXT NOT NULL PRIMARY KEY, made TEXT NOT NULL) WITHOUT ROWID",
    select: "SELECT made FROM tidegate_ddl WHERE pipeline = ?",
    upsert: "INSERT INTO tidegate_ddl (pipeline, made) VALUES (?, ?) ON CONFLICT (pipeline) DO UPDATE SET made = excluded.made",
    delete: "DELETE FROM tidegate_ddl WHERE pipeline = ?",
};

/// How far a change has come: the row of a pipeline, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    pub key: String,
    /// What is left of it.
    pub steps: Vec<Step>,
}

impl Made {
    pub fn parse(text: &str) -> Result<Made, Failure> {
        serde_json::from_str(text).map_err(|e| {
            Failure::configuration(
                format!("table `tidegate_ddl` holds a change that cannot be read: {e}"),
                "it may be of a newer release; run that one, or delete the pipeline's row once the change is made by hand",
            )
        })
    }

    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a change has only text keys")
    }
}

/// A statement, and how to tell that it was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub sql: String,
    pub done: Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Done {
    /// Running it again is harmless.
    Never,
    /// The table has the column, or has it no more.
    Column { table: TableName, column: String, there: bool },
    /// There is such a table, or no more.
    Table { table: TableName, there: bool },
    /// The table has this unique key, or has it no more.
    Key { table: TableName, columns: Vec<String>, there: bool },
}

impl Done {
    /// The table that tells.
    pub fn table(&self) -> Option<&TableName> {
        match self {
            Done::Never => None,
            Done::Column { table, .. } | Done::Table { table, .. } | Done::Key { table, .. } => Some(table),
        }
    }

    pub fn is_done(&self, found: Option<&Table>) -> bool {
        match self {
            Done::Never => false,
            Done::Table { there, .. } => found.is_some() == *there,
            // Capital letters count: a name may get others.
            Done::Column { column, there, .. } => {
                found.is_some_and(|table| table.columns.iter().any(|c| c.name == *column) == *there)
            }
            Done::Key { columns, there, .. } => {
                let is_key = |unique: &Vec<String>| {
                    unique.len() == columns.len() && columns.iter().all(|c| unique.iter().any(|u| u.eq_ignore_ascii_case(c)))
                };
                found.is_some_and(|table| table.unique.iter().any(is_key) == *there)
            }
        }
    }
}

impl Step {
    /// For the log: without values.
    pub fn shown(&self) -> &str {
        let ends = [" DEFAULT ", " = "].iter().filter_map(|end| self.sql.find(end));
        &self.sql[..ends.min().unwrap_or(self.sql.len())]
    }
}

/// Why a step cannot be made.
pub(super) fn refused(step: &Step, failure: Failure) -> Failure {
    match failure {
        Failure::Retry(reason) => Failure::Retry(reason),
        Failure::Configuration { reason, .. } | Failure::Row { reason, .. } | Failure::Conflict(reason) => {
            Failure::configuration(format!("the target refuses `{}`: {reason}", step.sql), step.sql.clone())
        }
    }
}

/// A table of the target.
pub(super) struct Found {
    pub table: Table,
    pub has_rows: bool,
}

pub(super) enum Dialect {
    Mysql(Collations),
    Postgres,
    Sqlite,
}

/// The target's tables that a change is about.
pub(super) fn targets(alteration: &Alteration, template: &TableTemplate) -> Vec<TableName> {
    let mut targets = Vec::new();
    for change in &alteration.tables {
        match change {
            TableChange::Create(relation) => {
                targets.push(template.render(&relation.schema, &relation.table, &relation.to_string()))
            }
            TableChange::Alter(altered) => {
                targets.push(template.render(&altered.after.schema, &altered.after.table, &altered.after.to_string()));
            }
            TableChange::Drop(name) | TableChange::Empty(name) | TableChange::Unknown(name) => targets.push(render(template, name)),
            TableChange::Rename(moves) => {
                targets.extend(moves.iter().flat_map(|(old, new)| [render(template, old), render(template, new)]));
            }
        }
    }
    targets.sort_by_key(plain_name);
    targets.dedup();
    targets
}

/// The target's table, if rows of no other table are in it.
pub(super) fn own_target(template: &TableTemplate, table: &Name, others: &[Name]) -> Option<TableName> {
    let target = render(template, table);
    others.iter().all(|other| other == table || render(template, other) != target).then_some(target)
}

fn render(template: &TableTemplate, name: &Name) -> TableName {
    template.render(&name.schema, &name.table, &name.to_string())
}

pub(super) struct Plan<'a> {
    dialect: &'a Dialect,
    template: &'a TableTemplate,
    create: bool,
    found: HashMap<TableName, Found>,
    steps: Vec<Step>,
    /// Another one for each change.
    number: u64,
}

/// The statements that make a change. `found`: those of [`targets`] that exist.
pub(super) fn plan(
    alteration: &Alteration,
    template: &TableTemplate,
    create: bool,
    dialect: &Dialect,
    found: HashMap<TableName, Found>,
) -> Result<Vec<Step>, Failure> {
    let targets = targets(alteration, template);
    if let Some(other) = alteration.others.iter().find(|other| targets.contains(&render(template, other))) {
        let target = plain_name(&render(template, other));
        return Err(Failure::configuration(
            format!("table `{target}` takes the rows of `{other}`, too"),
            "make the change at the target by hand, once it holds for all tables that go there",
        ));
    }
    let mut hasher = DefaultHasher::new();
    alteration.key.hash(&mut hasher);
    let mut plan = Plan { dialect, template, create, found, steps: Vec::new(), number: hasher.finish() };
    for change in &alteration.tables {
        plan.change(change, alteration)?;
    }
    Ok(plan.steps)
}

impl Plan<'_> {
    fn change(&mut self, change: &TableChange, alteration: &Alteration) -> Result<(), Failure> {
        match change {
            TableChange::Create(relation) => {
                let name = self.template.render(&relation.schema, &relation.table, &relation.to_string());
                match self.found.get(&name) {
                    Some(found) if found.has_rows => {
                        return Err(Failure::configuration(
                            format!("table `{}` has rows at the target, and the source's is new", plain_name(&name)),
                            format!("empty it, or take it away: DROP TABLE {}", self.name(&name)),
                        ));
                    }
                    Some(_) => {}
                    None if self.create => {
                        let sql = match self.dialect {
                            Dialect::Mysql(collations) => ddl::mysql(&name, relation, collations),
                            Dialect::Postgres => ddl::postgres(&name, relation),
                            Dialect::Sqlite => ddl::sqlite(&plain_name(&name), relation),
                        };
                        self.step(sql, Done::Never);
                    }
                    // Whoever makes tables by hand has until its first row.
                    None => {}
                }
            }
            TableChange::Drop(name) => {
                let name = render(self.template, name);
                if self.found.remove(&name).is_some() {
                    self.step(format!("DROP TABLE IF EXISTS {}", self.name(&name)), Done::Never);
                }
            }
            TableChange::Empty(name) => {
                let name = render(self.template, name);
                if self.found.contains_key(&name) {
                    let verb = if matches!(self.dialect, Dialect::Sqlite) { "DELETE FROM" } else { "TRUNCATE TABLE" };
                    self.step(format!("{verb} {}", self.name(&name)), Done::Never);
                }
            }
            TableChange::Rename(moves) => self.rename_tables(moves)?,
            TableChange::Alter(altered) => self.alter(altered, alteration.is_strict)?,
            TableChange::Unknown(name) => {
                let name = render(self.template, name);
                // One that is not there yet is made as it is then.
                if self.found.contains_key(&name) {
                    return Err(Failure::configuration(
                        format!("the columns that table `{}` had before at the source are not known", plain_name(&name)),
                        "do the same at the target",
                    ));
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, sql: String, done: Done) {
        self.steps.push(Step { sql, done });
    }

    /// Quoted, for statements.
    fn name(&self, name: &TableName) -> String {
        match self.dialect {
            Dialect::Mysql(_) => quoted_name(name, '`'),
            Dialect::Postgres => quoted_name(name, '"'),
            Dialect::Sqlite => quoted(&plain_name(name), '"'),
        }
    }

    fn column(&self, name: &str) -> String {
        quoted(name, if matches!(self.dialect, Dialect::Mysql(_)) { '`' } else { '"' })
    }

    /// Tables that take each other's names get names of their own on the way.
    fn rename_tables(&mut self, moves: &[(Name, Name)]) -> Result<(), Failure> {
        let moves = moves.iter().map(|(old, new)| (render(self.template, old), render(self.template, new)));
        let moves: Vec<(TableName, TableName)> = moves.filter(|(old, new)| old != new && self.found.contains_key(old)).collect();
        let is_moved = |name: &TableName| moves.iter().any(|(old, _)| old == name);
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for (n, (old, new)) in moves.iter().enumerate() {
            if is_moved(new) {
                let between = TableName { schema: old.schema.clone(), table: format!("tidegate_{n}") };
                first.push((old.clone(), between.clone()));
                last.push((between, new.clone()));
            } else if self.found.contains_key(new) {
                return Err(Failure::configuration(
                    format!("table `{}` is to be called `{}`, and the target has such a table", plain_name(old), plain_name(new)),
                    format!("take it away: DROP TABLE {}", self.name(new)),
                ));
            } else {
                first.push((old.clone(), new.clone()));
            }
        }
        self.rename_indexes(&moves);
        for (old, new) in first.into_iter().chain(last) {
            self.rename_table(&old, &new);
        }
        let mut moved: Vec<(TableName, Found)> = Vec::new();
        for (old, new) in moves {
            if let Some(mut found) = self.found.remove(&old) {
                found.table.sql = self.name(&new);
                moved.push((new, found));
            }
        }
        self.found.extend(moved);
        Ok(())
    }

    /// PostgreSQL takes the indexes of a table along to another schema, where their names may be taken.
    fn rename_indexes(&mut self, moves: &[(TableName, TableName)]) {
        if !matches!(self.dialect, Dialect::Postgres) {
            return;
        }
        let between_schemas = moves.iter().filter(|(old, new)| old.schema != new.schema).map(|(old, _)| old);
        let indexes: Vec<TableName> = between_schemas
            .flat_map(|old| {
                let names = self.found.get(old).map(|found| found.table.unique_names.clone()).unwrap_or_default();
                names.into_iter().map(|table| TableName { schema: old.schema.clone(), table })
            })
            .collect();
        for (n, index) in indexes.iter().enumerate() {
            let new = quoted(&format!("tidegate_{:x}_{n}", self.number), '"');
            self.step(format!("ALTER INDEX {} RENAME TO {new}", self.name(index)), Done::Never);
        }
    }

    fn rename_table(&mut self, old: &TableName, new: &TableName) {
        let gone = Done::Table { table: old.clone(), there: false };
        match self.dialect {
            Dialect::Mysql(_) => self.step(format!("RENAME TABLE {} TO {}", self.name(old), self.name(new)), gone),
            Dialect::Sqlite => self.step(format!("ALTER TABLE {} RENAME TO {}", self.name(old), self.name(new)), gone),
            Dialect::Postgres => {
                let mut old = old.clone();
                if let Some(schema) = new.schema.as_ref().filter(|schema| old.schema.as_ref() != Some(schema)) {
                    self.step(format!("ALTER TABLE {} SET SCHEMA {}", self.name(&old), quoted(schema, '"')), Done::Never);
                    old.schema.clone_from(&new.schema);
                }
                if old.table != new.table {
                    self.step(format!("ALTER TABLE {} RENAME TO {}", self.name(&old), quoted(&new.table, '"')), gone);
                }
            }
        }
    }
}
