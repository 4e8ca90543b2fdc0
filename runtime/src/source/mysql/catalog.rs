//! Tables as the server describes them: information_schema to [`TableInfo`].

use std::collections::BTreeMap;

use super::server::{Server, literal};
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
        for name in ["row_start", "row_end"] {
            info.columns.push(ColumnInfo {
                name: name.into(),
                column_type: "timestamp(6)".into(),
                collation: None,
                nullable: false,
                virtual_generated: false,
                invisible: true,
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
