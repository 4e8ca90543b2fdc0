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
                "SELECT c.COLUMN_NAME, c.COLUMN_TYPE, {id}, c.IS_NULLABLE, c.EXTRA FROM information_schema.COLUMNS c \
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
        Ok(Some(info))
    }
}
