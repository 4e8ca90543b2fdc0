//! Tables as the server describes them: information_schema to [`TableInfo`].

use std::collections::{BTreeMap, HashSet};

use super::server::{Server, literal};
use crate::schema::names::Collations;
use crate::schema::{COLLATION_UNKNOWN, Column, Fill, Generated, IMPLICIT_VERSIONS, Key, Table};
use crate::source::binlog::values::collation::hash_bytes;
use crate::source::{ColumnInfo, Failure, TableInfo};

impl Server {
    /// The table as it is now; `None`: there is none of that name (or the account may not see it).
    pub(crate) async fn table(&self, schema: &str, table: &str) -> Result<Option<TableInfo>, Failure> {
        let place = format!("c.TABLE_SCHEMA = {} AND c.TABLE_NAME = {}", literal(schema), literal(table));
        let columns = |id: &str, join: &str| {
            format!(
                "SELECT c.COLUMN_NAME, c.COLUMN_TYPE, {id}, c.IS_NULLABLE, c.EXTRA, c.GENERATION_EXPRESSION FROM information_schema.COLUMNS c \
                 {join} WHERE {place} ORDER BY c.ORDINAL_POSITION"
            )
        };
        // MariaDB from 10.10 on has collations whose full names stand in another table.
        let full = columns(
            "a.ID",
            "LEFT JOIN information_schema.COLLATION_CHARACTER_SET_APPLICABILITY a ON a.FULL_COLLATION_NAME = c.COLLATION_NAME",
        );
        let plain = columns("l.ID", "LEFT JOIN information_schema.COLLATIONS l ON l.COLLATION_NAME = c.COLLATION_NAME");
        let settings = self.settings().await?;
        if !settings.mariadb && settings.version_number() >= 8_030 {
            // Else invisible primary keys that the server made are not among the columns.
            self.query("SET SESSION show_gipk_in_create_table_and_information_schema = ON").await?;
        }
        let modern = settings.mariadb && settings.version_number() >= 10_010;
        let rows = self.query(if modern { &full } else { &plain }).await?;
        let mut info = TableInfo::default();
        let row_end = rows.iter().position(|row| row.at(5).is_some_and(|expression| expression.eq_ignore_ascii_case("ROW END")));
        for row in rows.iter() {
            let extra = row.at(4).unwrap_or_default().to_ascii_uppercase();
            info.columns.push(ColumnInfo {
                name: row.at(0).unwrap_or_default().into(),
                column_type: row.at(1).unwrap_or_default().into(),
                collation: row.at(2).and_then(|id| id.parse().ok()),
                nullable: row.at(3) == Some("YES"),
                virtual_generated: extra.contains("VIRTUAL"),
                invisible: extra.contains("INVISIBLE"),
                default: None,
            });
        }
        if info.columns.is_empty() {
            return Ok(None);
        }
        let sql = format!(
            "SELECT c.INDEX_NAME, c.COLUMN_NAME, c.SUB_PART, c.NULLABLE FROM information_schema.STATISTICS c \
             WHERE {place} AND c.NON_UNIQUE = 0 ORDER BY c.INDEX_NAME, c.SEQ_IN_INDEX"
        );
        let rows = self.query(&sql).await?;
        // By name; `None`: it does not tell every row apart (a part of a column, NULL allowed, an expression).
        let mut keys: BTreeMap<String, Option<Vec<u16>>> = BTreeMap::new();
        for row in rows.iter() {
            let column = row.at(1).and_then(|name| info.columns.iter().position(|c| &*c.name == name));
            let usable = row.at(2).is_none() && row.at(3) != Some("YES");
            let key = keys.entry(row.at(0).unwrap_or_default().to_owned()).or_insert_with(|| Some(Vec::new()));
            match (column, key.as_mut()) {
                (Some(column), Some(columns)) if usable => columns.push(column as u16),
                _ => *key = None,
            }
        }
        info.primary_key = keys.remove("PRIMARY").flatten().unwrap_or_default();
        info.unique_key = keys.into_values().flatten().next().unwrap_or_default();
        if settings.mariadb {
            let rows = self.query(&format!("SELECT c.TABLE_TYPE FROM information_schema.TABLES c WHERE {place}")).await?;
            if rows.first().and_then(|row| row.at(0)) == Some("SYSTEM VERSIONED") {
                add_versions(&mut info, row_end);
            }
        }
        Ok(Some(info))
    }
}

/// A system-versioned table holds all versions of its rows: their keys have one column more, the end of the version, and two columns
/// are there though nobody declared them, unless somebody did.
fn add_versions(info: &mut TableInfo, row_end: Option<usize>) {
    let row_end = row_end.unwrap_or_else(|| {
        for name in IMPLICIT_VERSIONS {
            info.columns.push(ColumnInfo {
                name: name.into(),
                column_type: "timestamp(6)".into(),
                collation: None,
                nullable: false,
                virtual_generated: false,
                invisible: true,
                default: None,
            });
        }
        info.columns.len() - 1
    });
    for key in [&mut info.primary_key, &mut info.unique_key] {
        if !key.is_empty() && !key.contains(&(row_end as u16)) {
            key.push(row_end as u16);
        }
    }
}

/// What the server says about the tables of a schema.
impl Server {
    pub(crate) async fn version(&self) -> Result<String, Failure> {
        Ok(self.settings().await?.version)
    }

    /// TABLE_MAPs do not say the names of columns, or rows are inserted without the columns that have defaults.
    pub(crate) async fn logs_in_part(&self) -> Result<bool, Failure> {
        let settings = self.settings().await?;
        let is_full = |name: &str| settings.get(name).eq_ignore_ascii_case("FULL");
        Ok(!is_full("binlog_row_metadata") || !is_full("binlog_row_image"))
    }

    pub(crate) async fn collations(&self) -> Result<Collations, Failure> {
        let settings = self.settings().await?;
        let full = settings.mariadb && settings.version_number() >= 10_010;
        let sql = match full {
            true => {
                "SELECT FULL_COLLATION_NAME, CHARACTER_SET_NAME, ID, IS_DEFAULT FROM \
                 information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL"
            }
            false => {
                "SELECT COLLATION_NAME, CHARACTER_SET_NAME, ID, IS_DEFAULT FROM information_schema.COLLATIONS WHERE ID IS NOT NULL"
            }
        };
        let rows = self.query(sql).await?;
        let known = rows.iter().filter_map(|r| Some((r.at(0)?, r.at(1)?, r.at(2)?.parse().ok()?, r.at(3) == Some("Yes"))));
        Ok(Collations::of_server(known))
    }

    /// Names of tables are kept in small letters.
    pub(crate) async fn lowers_names(&self) -> Result<bool, Failure> {
        let rows = self.query("SELECT @@lower_case_table_names").await?;
        Ok(rows.first().and_then(|row| row.at(0)) == Some("1"))
    }

    /// The schemas that hold tables of people, each with the collation of its new tables.
    pub(crate) async fn schemas(&self, collations: &Collations) -> Result<Vec<(String, u16)>, Failure> {
        let sql = "SELECT SCHEMA_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN \
                   ('mysql', 'sys', 'performance_schema', 'information_schema')";
        let rows = self.query(sql).await?;
        Ok(rows.iter().filter_map(|r| Some((r.at(0)?.to_owned(), collations.named(r.at(1)?, None)))).collect())
    }

    /// The names of a schema's tables.
    pub(crate) async fn table_names(&self, schema: &str) -> Result<Vec<String>, Failure> {
        let sql = format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW')",
            literal(schema)
        );
        Ok(self.query(&sql).await?.iter().filter_map(|row| row.at(0).map(str::to_owned)).collect())
    }

    /// For how many tables it is asked best: an answer is kept in memory.
    pub(crate) async fn describes_at_once(&self) -> Result<usize, Failure> {
        Ok(if self.settings().await?.mariadb { usize::MAX } else { 1000 })
    }

    /// Some tables of a schema.
    pub(crate) async fn describe(
        &self,
        schema: &str,
        names: &[&str],
        collations: &Collations,
    ) -> Result<Vec<(String, Table)>, Failure> {
        let mariadb = self.settings().await?.mariadb;
        let place = match names {
            // MariaDB looks up one table, or opens them all, whatever a list says.
            [_, _, ..] if mariadb => format!("TABLE_SCHEMA = {}", literal(schema)),
            _ => {
                let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
                format!("TABLE_SCHEMA = {} AND TABLE_NAME IN ({})", literal(schema), names.join(", "))
            }
        };
        let names: HashSet<&str> = names.iter().copied().collect();
        let sql = format!(
            "SELECT TABLE_NAME, TABLE_COLLATION, TABLE_TYPE FROM information_schema.TABLES WHERE {place} \
             AND TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW') ORDER BY TABLE_NAME"
        );
        let rows = self.query(&sql).await?;
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        // System-versioned ones, with the column that ends a version, if it is declared.
        let mut versioned: BTreeMap<String, Option<Box<str>>> = BTreeMap::new();
        for row in rows.iter() {
            if row.at(2) == Some("SYSTEM VERSIONED") {
                versioned.insert(row.at(0).unwrap_or_default().to_owned(), None);
            }
            if !row.at(0).is_some_and(|name| names.contains(name)) {
                continue;
            }
            let collation = row.at(1).map_or(COLLATION_UNKNOWN, |name| collations.named(name, None));
            tables.insert(row.at(0).unwrap_or_default().to_owned(), Table { collation, ..Table::default() });
        }
        let sql = format!(
            "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, COLLATION_NAME, IS_NULLABLE, EXTRA, GENERATION_EXPRESSION, COLUMN_DEFAULT \
             FROM information_schema.COLUMNS WHERE {place} ORDER BY TABLE_NAME, ORDINAL_POSITION"
        );
        let rows = self.query(&sql).await?;
        for row in rows.iter() {
            let (Some(name), Some(column)) = (row.at(0), row.at(1)) else { continue };
            let Some(table) = tables.get_mut(name) else { continue };
            if row.at(6).is_some_and(|expression| expression.eq_ignore_ascii_case("ROW END"))
                && let Some(row_end) = versioned.get_mut(name)
            {
                *row_end = Some(column.into());
            }
            let extra = row.at(5).unwrap_or_default().to_ascii_uppercase();
            let generated = match () {
                () if extra.contains("VIRTUAL") => Generated::Virtual,
                () if extra.contains("STORED GENERATED") || extra.contains("PERSISTENT") => Generated::Stored,
                () => Generated::Not,
            };
            let nullable = row.at(4) == Some("YES");
            let column_type = row.at(2).unwrap_or_default();
            // Bytes are shown in a form of their own.
            let is_shown = !["binary", "varbinary", "bit"].iter().any(|word| column_type.starts_with(word));
            let is_computed =
                generated != Generated::Not || extra.contains("DEFAULT_GENERATED") || extra.contains("AUTO_INCREMENT");
            table.columns.push(Column {
                id: column_id(schema, name, column),
                name: column.into(),
                column_type: without_width(column_type),
                collation: row.at(3).map(|name| collations.named(name, None)),
                nullable,
                generated,
                invisible: extra.contains("INVISIBLE"),
                default: match () {
                    () if is_computed => Some(Fill::Computed),
                    () if is_shown || row.at(7).is_none() => default(row.at(7), nullable, mariadb),
                    () => None,
                },
                fill: None,
            });
        }
        let sql = format!(
            "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS WHERE {place} AND NON_UNIQUE = 0 \
             ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
        );
        let rows = self.query(&sql).await?;
        for row in rows.iter() {
            let (Some(table), Some(name)) = (row.at(0).and_then(|name| tables.get_mut(name)), row.at(1)) else { continue };
            if table.keys.last().is_none_or(|key| &*key.name != name) {
                table.keys.push(Key { name: name.into(), columns: Vec::new(), is_whole: true });
            }
            if let Some(key) = table.keys.last_mut() {
                key.is_whole &= row.at(2).is_some() && row.at(3).is_none();
                key.columns.extend(row.at(2).map(Box::from));
            }
        }
        for (name, row_end) in versioned {
            if let Some(table) = tables.get_mut(&name) {
                add_row_end(table, row_end);
            }
        }
        Ok(tables.into_iter().filter(|(_, table)| !table.columns.is_empty()).collect())
    }
}

/// What COLUMN_DEFAULT says of a column that is not generated; `None`: it does not say it in a way that is sure.
fn default(said: Option<&str>, nullable: bool, mariadb: bool) -> Option<Fill> {
    match said {
        None if nullable => Some(Fill::Null),
        None => None,
        Some(text) if !mariadb => Some(Fill::Value(text.into())),
        // MariaDB writes an expression: literals stand between quotes, or are numbers.
        Some("NULL") => Some(Fill::Null),
        Some(text) => match text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            Some(inner) if !inner.contains(['\'', '\\']) => Some(Fill::Value(inner.into())),
            Some(_) => None,
            None if text.parse::<f64>().is_ok() => Some(Fill::Value(text.into())),
            None => Some(Fill::Computed),
        },
    }
}

/// As [`add_versions`], to a table of the history.
fn add_row_end(table: &mut Table, declared: Option<Box<str>>) {
    if declared.is_none() {
        for (id, name) in IMPLICIT_VERSIONS.into_iter().enumerate() {
            let column_type = "timestamp(6)".into();
            let column = Column { id: id as u64, name: name.into(), column_type, invisible: true, ..Column::default() };
            table.columns.push(column);
        }
    }
    let row_end = declared.unwrap_or_else(|| IMPLICIT_VERSIONS[1].into());
    for key in &mut table.keys {
        if !key.columns.contains(&row_end) {
            key.columns.push(row_end.clone());
        }
    }
}

/// The same whenever the table is described.
fn column_id(schema: &str, table: &str, column: &str) -> u64 {
    [schema, table, column].iter().fold(0, |state, name| hash_bytes(name.as_bytes(), state))
}

/// Integers and years lose the display width that old servers write.
fn without_width(column_type: &str) -> Box<str> {
    match column_type.split_once('(') {
        Some((word, rest)) if matches!(word, "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year") => {
            let rest = rest.split_once(')').map_or("", |(_, rest)| rest);
            format!("{word}{rest}").into()
        }
        _ => column_type.into(),
    }
}
