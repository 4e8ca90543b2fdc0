//! Other columns, or another key, of a table that is there.

use super::{Dialect, Done, Found, Plan, convert};
use crate::alteration::{Altered, Constant, Conversion, Origin, conversion};
use crate::change::{Relation, SourceType};
use crate::manifest::template::TableName;
use crate::sink::sql::table::{Table, TargetColumn, quoted, quoted_name};
use crate::sink::sql::{Failure, ddl, mysql, postgres, sqlite};

impl Plan<'_> {
    pub(super) fn alter(&mut self, altered: &Altered, is_strict: bool) -> Result<(), Failure> {
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
                } else if conversion != Conversion::Same || mysql::fits(&after.source_type, target).is_some() {
                    return Err(refused(modify));
                }
            }
            Dialect::Postgres => {
                let (old, new) = (ddl::postgres_type(&before.source_type), ddl::postgres_type(&after.source_type));
                let is_own = convert::is_postgres_type(&target.full, &old);
                let takes = postgres::fits(&after.source_type, target).is_none();
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
                    None if conversion == Conversion::Same && sqlite::fits(&after.source_type, target).is_none() => {}
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
