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
use super::table::{Table, TargetColumn, plain_name, quoted, quoted_name};
use crate::alteration::{Alteration, Altered, Constant, Conversion, Origin, TableChange, conversion};
use crate::change::{Relation, SourceType};
use crate::manifest::template::{TableName, TableTemplate};
use crate::schema::ddl::Name;

mod convert;

/// The statements of a dialect for the row of a pipeline. `upsert` takes pipeline and change.
pub(super) struct Statements {
    pub create: &'static str,
    pub select: &'static str,
    pub upsert: &'static str,
}

pub(super) const MYSQL: Statements = Statements {
    create: "CREATE TABLE IF NOT EXISTS tidegate_ddl (pipeline VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY, \
             made LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE = InnoDB",
    select: "SELECT made FROM tidegate_ddl WHERE pipeline = ?",
    upsert: "INSERT INTO tidegate_ddl (pipeline, made) VALUES (?, ?) ON DUPLICATE KEY UPDATE made = VALUES(made)",
};

pub(super) const POSTGRES: Statements = Statements {
    create: "CREATE TABLE IF NOT EXISTS tidegate_ddl (pipeline text PRIMARY KEY, made text NOT NULL)",
    select: "SELECT made FROM tidegate_ddl WHERE pipeline = $1",
    upsert: "INSERT INTO tidegate_ddl (pipeline, made) VALUES ($1, $2) ON CONFLICT (pipeline) DO UPDATE SET made = excluded.made",
};

pub(super) const SQLITE: Statements = Statements {
    create: "CREATE TABLE IF NOT EXISTS tidegate_ddl (pipeline TEXT NOT NULL PRIMARY KEY, made TEXT NOT NULL) WITHOUT ROWID",
    select: "SELECT made FROM tidegate_ddl WHERE pipeline = ?",
    upsert: "INSERT INTO tidegate_ddl (pipeline, made) VALUES (?, ?) ON CONFLICT (pipeline) DO UPDATE SET made = excluded.made",
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

    fn alter(&mut self, altered: &Altered, is_strict: bool) -> Result<(), Failure> {
        let name = self.template.render(&altered.after.schema, &altered.after.table, &altered.after.to_string());
        // A table that is not there yet is made of its first row, or missed by it.
        let Some(Found { mut table, has_rows }) = self.found.remove(&name) else { return Ok(()) };
        let is_keyed = altered.is_key_changed();
        if is_keyed {
            self.drop_key(&name, &mut table, altered)?;
        }
        self.drop_columns(&name, &mut table, altered);
        self.rename_columns(&name, &mut table, altered)?;
        self.add_columns(&name, &mut table, altered);
        for (at, origin) in altered.origins.iter().enumerate() {
            if let Origin::Was(was) = origin {
                self.retype(&name, &table, altered, *was, at, is_strict)?;
            }
        }
        if is_keyed {
            self.add_key(&name, &mut table, altered);
        }
        self.found.insert(name, Found { table, has_rows });
        Ok(())
    }

    /// The key by which rows were found: under another one, it would refuse rows that the source has.
    fn drop_key(&mut self, name: &TableName, table: &mut Table, altered: &Altered) -> Result<(), Failure> {
        let at = table.unique.iter().position(|unique| table.is_key(unique, &altered.before));
        let sql = self.name(name);
        if matches!(self.dialect, Dialect::Sqlite) {
            return Err(Failure::configuration(
                format!("table {sql} gets another key, which SQLite cannot give to a table that there is"),
                "make a new table with the new key, copy the rows into it, and give it the name of the old one",
            ));
        }
        let Some(at) = at.filter(|_| !altered.before.key.is_empty()) else { return Ok(()) };
        table.unique.remove(at);
        let key = table.unique_names.remove(at);
        match self.dialect {
            Dialect::Mysql(_) => {
                let drop =
                    if key == "PRIMARY" { "DROP PRIMARY KEY".to_owned() } else { format!("DROP INDEX {}", quoted(&key, '`')) };
                let done = Done::Key { table: name.clone(), columns: key_names(&altered.before), there: false };
                self.step(format!("ALTER TABLE {sql} {drop}"), done);
            }
            Dialect::Postgres => {
                let index = quoted_name(&TableName { schema: name.schema.clone(), table: key.clone() }, '"');
                self.step(format!("ALTER TABLE {sql} DROP CONSTRAINT IF EXISTS {}", quoted(&key, '"')), Done::Never);
                self.step(format!("DROP INDEX IF EXISTS {index}"), Done::Never);
            }
            Dialect::Sqlite => {}
        }
        Ok(())
    }

    fn add_key(&mut self, name: &TableName, table: &mut Table, altered: &Altered) {
        // Columns that were in the old key alone.
        for (at, origin) in altered.origins.iter().enumerate() {
            let was_key = matches!(origin, Origin::Was(was) if altered.before.key.iter().any(|k| usize::from(*k) == *was));
            if was_key && !ddl::is_not_null(&altered.after, at) && altered.after.columns[at].nullable {
                self.allow_null(name, altered, at);
            }
        }
        if altered.after.key.is_empty() || table.has_key(&altered.after) {
            return;
        }
        let columns = key_names(&altered.after);
        let listed = columns.iter().map(|column| self.column(column)).collect::<Vec<_>>().join(", ");
        let sql = format!("ALTER TABLE {} ADD PRIMARY KEY ({listed})", self.name(name));
        self.step(sql, Done::Key { table: name.clone(), columns, there: true });
    }

    fn allow_null(&mut self, name: &TableName, altered: &Altered, at: usize) {
        let (sql, column) = (self.name(name), self.column(&altered.after.columns[at].name));
        match self.dialect {
            Dialect::Mysql(collations) => {
                let definition = ddl::mysql_column(&altered.after, at, collations);
                self.step(format!("ALTER TABLE {sql} MODIFY {definition}"), Done::Never);
            }
            Dialect::Postgres => self.step(format!("ALTER TABLE {sql} ALTER COLUMN {column} DROP NOT NULL"), Done::Never),
            Dialect::Sqlite => {}
        }
    }

    fn drop_columns(&mut self, name: &TableName, table: &mut Table, altered: &Altered) {
        for (at, def) in altered.before.columns.iter().enumerate() {
            if altered.becomes(at).is_some() {
                continue;
            }
            let Some(column) = table.column(&def.name).map(|c| c.name.clone()) else { continue };
            let sql = format!("ALTER TABLE {} DROP COLUMN {}", self.name(name), self.column(&column));
            self.step(sql, Done::Column { table: name.clone(), column: column.clone(), there: false });
            table.columns.retain(|c| c.name != column);
        }
    }

    fn rename_columns(&mut self, name: &TableName, table: &mut Table, altered: &Altered) -> Result<(), Failure> {
        let mut renames: Vec<(String, String)> = Vec::new();
        for (at, origin) in altered.origins.iter().enumerate() {
            let Origin::Was(was) = origin else { continue };
            let (old, new) = (&altered.before.columns[*was].name, &altered.after.columns[at].name);
            if old != new
                && let Some(column) = table.column(old)
            {
                renames.push((column.name.clone(), new.to_string()));
            }
        }
        let same = |a: &str, b: &str| if table.ignores_case { a.eq_ignore_ascii_case(b) } else { a == b };
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for (n, (old, new)) in renames.iter().enumerate() {
            if renames.iter().any(|(other, _)| same(other, new) && other != old) {
                let between = format!("tidegate_{n}");
                first.push((old.clone(), between.clone()));
                last.push((between, new.clone()));
            } else if table.column(new).is_some() && !same(old, new) {
                return Err(Failure::configuration(
                    format!("table {}: column `{old}` is to be called `{new}`, and the target has such a column", table.sql),
                    format!("take one of the two away: ALTER TABLE {} DROP COLUMN {}", table.sql, self.column(new)),
                ));
            } else {
                first.push((old.clone(), new.clone()));
            }
        }
        for (old, new) in first.into_iter().chain(last) {
            let sql = format!("ALTER TABLE {} RENAME COLUMN {} TO {}", self.name(name), self.column(&old), self.column(&new));
            self.step(sql, Done::Column { table: name.clone(), column: new, there: true });
        }
        for (old, new) in renames {
            // One after the other would take a swapped column twice.
            if let Some(column) = table.columns.iter_mut().find(|c| c.name == old) {
                column.name = format!("\0{new}");
            }
        }
        for column in &mut table.columns {
            if let Some(new) = column.name.strip_prefix('\0') {
                column.name = new.to_owned();
            }
        }
        Ok(())
    }

    fn add_columns(&mut self, name: &TableName, table: &mut Table, altered: &Altered) {
        let (mut adds, mut first, mut fills, mut defaults) = (Vec::new(), None, Vec::new(), Vec::new());
        let sql = self.name(name);
        for (at, origin) in altered.origins.iter().enumerate() {
            let Origin::New(constant) = origin else { continue };
            let def = &altered.after.columns[at];
            let literal = self.literal(constant);
            let column = self.column(&def.name);
            if let Some(there) = table.column(&def.name) {
                // Somebody has made it already; what its rows have is another matter.
                if !there.generated {
                    fills.push(format!("UPDATE {sql} SET {column} = {literal}"));
                }
                continue;
            }
            let not_null = if ddl::is_not_null(&altered.after, at) { " NOT NULL" } else { "" };
            let mut definition = match self.dialect {
                Dialect::Mysql(collations) => ddl::mysql_column(&altered.after, at, collations),
                Dialect::Postgres => format!("{column} {}{not_null}", ddl::postgres_type(&def.source_type)),
                Dialect::Sqlite => format!("{column} {}", ddl::sqlite_type(&def.source_type)),
            };
            if *constant != Constant::Null {
                match self.dialect {
                    // These have no literal as their default.
                    Dialect::Mysql(_) if matches!(def.source_type, SourceType::Text { .. } | SourceType::Blob { .. }) => {
                        fills.push(format!("UPDATE {sql} SET {column} = {literal}"));
                    }
                    Dialect::Mysql(_) | Dialect::Postgres => {
                        definition.push_str(&format!(" DEFAULT {literal}"));
                        // Rows bring their values.
                        let drop = match (self.dialect, not_null) {
                            (Dialect::Mysql(_), "") => "SET DEFAULT NULL",
                            _ => "DROP DEFAULT",
                        };
                        defaults.push(format!("ALTER TABLE {sql} ALTER COLUMN {column} {drop}"));
                    }
                    Dialect::Sqlite => fills.push(format!("UPDATE {sql} SET {column} = {literal}")),
                }
            }
            adds.push(format!("ADD COLUMN {definition}"));
            first.get_or_insert_with(|| def.name.to_string());
            let full = String::new();
            let target = TargetColumn {
                name: def.name.to_string(),
                base: full.clone(),
                full,
                generated: false,
                nullable: not_null.is_empty(),
                has_default: false,
            };
            table.columns.push(target);
        }
        if let Some(first) = first {
            let done = Done::Column { table: name.clone(), column: first, there: true };
            match self.dialect {
                Dialect::Sqlite => adds.iter().for_each(|add| self.step(format!("ALTER TABLE {sql} {add}"), Done::Never)),
                Dialect::Mysql(_) | Dialect::Postgres => self.step(format!("ALTER TABLE {sql} {}", adds.join(", ")), done),
            }
        }
        fills.into_iter().chain(defaults).for_each(|sql| self.step(sql, Done::Never));
    }

    fn literal(&self, constant: &Constant) -> String {
        let doubled = |text: &str| text.replace('\'', "''");
        match (constant, self.dialect) {
            (Constant::Null, _) => "NULL".to_owned(),
            (Constant::Text(text), Dialect::Mysql(_)) => format!("'{}'", doubled(&text.replace('\\', "\\\\"))),
            (Constant::Text(text), _) => format!("'{}'", doubled(text)),
            (Constant::Number(number), Dialect::Postgres) => format!("'{number}'"),
            // SQLite would round them.
            (Constant::Number(number), Dialect::Sqlite) if number.parse::<u64>().is_ok_and(|n| n > i64::MAX as u64) => {
                format!("'{number}'")
            }
            (Constant::Number(number), _) => number.clone(),
            (Constant::Bytes(bytes), dialect) => {
                let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                if matches!(dialect, Dialect::Postgres) { format!("'\\x{hex}'") } else { format!("X'{hex}'") }
            }
        }
    }

    fn retype(
        &mut self,
        name: &TableName,
        table: &Table,
        altered: &Altered,
        was: usize,
        at: usize,
        is_strict: bool,
    ) -> Result<(), Failure> {
        let (before, after) = (&altered.before.columns[was], &altered.after.columns[at]);
        let Some(target) = table.column(&after.name) else { return Err(table.no_column(&after.name)) };
        let must_take_null = after.nullable && !before.nullable && !target.nullable && !ddl::is_not_null(&altered.after, at);
        if before.source_type == after.source_type {
            if must_take_null {
                self.allow_null(name, altered, at);
            }
            return Ok(());
        }
        let conversion = conversion(&before.source_type, &after.source_type, is_strict);
        let (sql, column) = (self.name(name), self.column(&target.name));
        let refused = |by_hand: String| {
            let (old, new) = (&before.source_type, &after.source_type);
            Failure::configuration(
                format!(
                    "table {}, column `{}`: the source makes `{new}` of `{old}`, and at the target, where it is `{}`, other values could come of it",
                    table.sql, target.name, target.full
                ),
                by_hand,
            )
        };
        match self.dialect {
            Dialect::Mysql(collations) => {
                let definition = ddl::mysql_column(&altered.after, at, collations);
                let modify = format!("ALTER TABLE {sql} MODIFY {definition}");
                let is_own = convert::is_mysql_type(&target.full, &before.source_type)
                    || convert::is_mysql_type(&target.full, &after.source_type);
                if is_own {
                    self.step(modify, Done::Never);
                } else if conversion != Conversion::Same || super::mysql::fits(&after.source_type, target).is_some() {
                    return Err(refused(modify));
                }
            }
            Dialect::Postgres => {
                let (old, new) = (ddl::postgres_type(&before.source_type), ddl::postgres_type(&after.source_type));
                let is_own = convert::is_postgres_type(&target.full, &old);
                let takes = super::postgres::fits(&after.source_type, target).is_none();
                let by_hand = format!("ALTER TABLE {sql} ALTER COLUMN {column} TYPE {new} USING {column}::{new}");
                match conversion {
                    Conversion::Same if old == new && is_own => {}
                    Conversion::Same | Conversion::Cast if is_own => {
                        self.step(format!("ALTER TABLE {sql} ALTER COLUMN {column} TYPE {new}"), Done::Never);
                    }
                    Conversion::Same if takes => {}
                    Conversion::Same | Conversion::Cast | Conversion::Other => return Err(refused(by_hand)),
                }
                if must_take_null {
                    self.allow_null(name, altered, at);
                }
            }
            Dialect::Sqlite => {
                let (old, new) = (ddl::sqlite_type(&before.source_type), ddl::sqlite_type(&after.source_type));
                let is_own = target.full.eq_ignore_ascii_case(old);
                let by_hand = "make a column of the new type, fill it, drop the old one and give the new one its name".to_owned();
                let value = convert::sqlite_value(&column, &before.source_type, &after.source_type, conversion);
                let is_key = ddl::is_not_null(&altered.after, at);
                match value {
                    None if conversion == Conversion::Same && old == new => {}
                    None if conversion == Conversion::Same && super::sqlite::fits(&after.source_type, target).is_none() => {}
                    Some(value) if is_own && old == new => self.step(format!("UPDATE {sql} SET {column} = {value}"), Done::Never),
                    Some(value) if is_own && !is_key => {
                        let between = self.column("tidegate_0");
                        self.step(format!("ALTER TABLE {sql} ADD COLUMN {between} {new}"), Done::Never);
                        self.step(format!("UPDATE {sql} SET {between} = {value}"), Done::Never);
                        self.step(format!("ALTER TABLE {sql} DROP COLUMN {column}"), Done::Never);
                        self.step(format!("ALTER TABLE {sql} RENAME COLUMN {between} TO {column}"), Done::Never);
                    }
                    Some(_) | None => return Err(refused(by_hand)),
                }
            }
        }
        Ok(())
    }
}

fn key_names(relation: &Relation) -> Vec<String> {
    relation.key.iter().map(|k| relation.columns[usize::from(*k)].name.to_string()).collect()
}
