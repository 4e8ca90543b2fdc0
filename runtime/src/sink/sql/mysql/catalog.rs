//! What the server's information_schema says about a target table.

use std::collections::HashMap;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::super::Failure;
use super::super::table::{Table, TargetColumn, quoted_name};
use super::error::failure;
use crate::change::SourceType;
use crate::lane::bonds::Bonds;
use crate::manifest::template::{TableName, TableTemplate};

/// `None`: there is no such table.
pub(super) async fn table(conn: &mut Conn, name: &TableName) -> Result<Option<Table>, Failure> {
    let columns: Vec<(String, String, String, String, String, bool)> = conn
        .exec(
            "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, EXTRA, IS_NULLABLE, COLUMN_DEFAULT IS NOT NULL FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            (&name.schema, &name.table),
        )
        .await
        .map_err(|e| failure(&e))?;
    if columns.is_empty() {
        return Ok(None);
    }
    let column = |(name, base, full, extra, nullable, default): (String, String, String, String, String, bool)| {
        let extra = extra.to_ascii_uppercase();
        TargetColumn {
            name,
            base,
            full,
            generated: extra.contains("VIRTUAL") || extra.contains("STORED") || extra.contains("PERSISTENT"),
            nullable: nullable == "YES",
            has_default: default || extra.contains("AUTO_INCREMENT") || extra.contains("DEFAULT_GENERATED"),
        }
    };
    let keys: Vec<(String, Option<String>, bool)> = conn
        .exec(
            "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART IS NOT NULL FROM information_schema.STATISTICS \
             WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX",
            (&name.schema, &name.table),
        )
        .await
        .map_err(|e| failure(&e))?;
    let (mut unique, mut unique_names): (Vec<Vec<String>>, Vec<String>) = (Vec::new(), Vec::new());
    for index in keys.chunk_by(|a, b| a.0 == b.0) {
        let names: Option<Vec<String>> = index.iter().map(|(_, column, _)| column.clone()).collect();
        unique.push(names.unwrap_or_default());
        unique_names.push(index[0].0.clone());
        if index.iter().any(|(_, _, is_prefix)| *is_prefix) {
            // A key of prefixes makes more rows equal than the relation's key does: it counts as another one, too.
            unique.push(Vec::new());
            unique_names.push(index[0].0.clone());
        }
    }
    let columns = columns.into_iter().map(column).collect();
    Ok(Some(Table { sql: quoted_name(name, '`'), columns, unique, unique_names, ignores_case: true }))
}

/// Tables with several unique keys, and tables that foreign keys connect.
pub(super) async fn bonds(conn: &mut Conn, template: &TableTemplate) -> Result<Bonds, Failure> {
    let home: Option<String> = conn.query_first("SELECT COALESCE(DATABASE(), '')").await.map_err(|e| failure(&e))?;
    let unique: Vec<String> = conn
        .query(
            "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 \
             AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') \
             GROUP BY TABLE_SCHEMA, TABLE_NAME HAVING COUNT(DISTINCT INDEX_NAME) > 1 OR MAX(SUB_PART IS NOT NULL) = 1",
        )
        .await
        .map_err(|e| failure(&e))?;
    let references: Vec<(String, String)> = conn
        .query(
            "SELECT CONCAT(CONSTRAINT_SCHEMA, '.', TABLE_NAME), CONCAT(UNIQUE_CONSTRAINT_SCHEMA, '.', REFERENCED_TABLE_NAME) \
             FROM information_schema.REFERENTIAL_CONSTRAINTS",
        )
        .await
        .map_err(|e| failure(&e))?;
    Ok(Bonds::new(template, &home.unwrap_or_default(), unique, references))
}

/// Collation and character set names by collation id.
pub(super) async fn collations(conn: &mut Conn) -> Result<HashMap<u16, (String, String)>, Failure> {
    // MariaDB has collations of several character sets under one name, and tells their numbers elsewhere.
    let full: Option<u8> = conn
        .query_first(
            "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema' AND COLUMN_NAME = 'FULL_COLLATION_NAME'",
        )
        .await
        .map_err(|e| failure(&e))?;
    let query = match full {
        Some(_) => {
            "SELECT ID, FULL_COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
        }
        None => "SELECT ID, COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS",
    };
    let rows: Vec<(Option<u64>, String, Option<String>)> = conn.query(query).await.map_err(|e| failure(&e))?;
    let named =
        |(id, collation, charset): (Option<u64>, String, Option<String>)| Some((u16::try_from(id?).ok()?, (collation, charset?)));
    Ok(rows.into_iter().filter_map(named).collect())
}

/// Why a column of this source type may not arrive in the target column.
pub(in crate::sink::sql) fn fits(source: &SourceType, target: &TargetColumn) -> Option<String> {
    let full = target.full.to_ascii_lowercase();
    let base = target.base.to_ascii_lowercase();
    let unsigned = full.contains("unsigned");
    let bits = |base: &str| match base {
        "tinyint" => Some(8),
        "smallint" => Some(16),
        "mediumint" => Some(24),
        "int" => Some(32),
        "bigint" => Some(64u8),
        _ => None,
    };
    let text_bytes = match &*base {
        "tinytext" | "tinyblob" => Some(1),
        "text" | "blob" => Some(2),
        "mediumtext" | "mediumblob" => Some(3),
        "longtext" | "longblob" | "json" => Some(4u8),
        _ => None,
    };
    let declared = numbers(&full);
    let wide = match source {
        SourceType::Int { bits: need, unsigned: from } => match bits(&base) {
            Some(have) if *from == unsigned => have >= *need,
            // The sign takes a bit; a signed source never fits an unsigned target.
            Some(have) => *from && have > *need,
            None => true,
        },
        SourceType::Char { length, .. } | SourceType::VarChar { length, .. } if matches!(&*base, "char" | "varchar") => {
            declared.first().is_some_and(|have| have >= length)
        }
        SourceType::Binary { length } | SourceType::VarBinary { length } if matches!(&*base, "binary" | "varbinary") => {
            declared.first().is_some_and(|have| have >= length)
        }
        SourceType::Text { length_bytes, .. } | SourceType::Blob { length_bytes } => match text_bytes {
            Some(have) => have >= *length_bytes,
            None => false,
        },
        SourceType::Address(address) => match &*base {
            "uuid" | "inet6" | "inet4" => base == source.to_string(),
            "char" | "varchar" => declared.first().is_some_and(|have| *have >= u32::from(address.text_len())),
            _ => text_bytes.is_some(),
        },
        SourceType::Decimal { precision, scale, .. } if base == "decimal" => match declared[..] {
            [p, s] => s >= u32::from(*scale) && p - s.min(p) >= u32::from(precision - scale),
            _ => false,
        },
        SourceType::DateTime { fsp } | SourceType::Timestamp { fsp } | SourceType::Time { fsp }
            if matches!(&*base, "datetime" | "timestamp" | "time") =>
        {
            declared.first().copied().unwrap_or(0) >= u32::from(*fsp)
        }
        _ => true,
    };
    (!wide).then(|| format!("make it at least `{source}`"))
}

/// The numbers between the parentheses of `decimal(10,2)`.
fn numbers(full: &str) -> Vec<u32> {
    let inside = full.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
    inside.split(',').filter_map(|n| n.trim().parse().ok()).collect()
}

/// Asks for the plan of every kind of statement, which needs the same rights as running it.
pub(super) async fn rights(conn: &mut Conn, table: &Table) -> Result<(), Failure> {
    let Some(column) = table.columns.iter().find(|c| !c.generated) else { return Ok(()) };
    let (sql, column) = (&table.sql, super::super::table::quoted(&column.name, '`'));
    for statement in [
        format!("EXPLAIN INSERT INTO {sql} ({column}) VALUES (NULL)"),
        format!("EXPLAIN UPDATE {sql} SET {column} = {column} WHERE FALSE"),
        format!("EXPLAIN DELETE FROM {sql} WHERE FALSE"),
    ] {
        match conn.query_drop(statement).await.map_err(|e| failure(&e)) {
            Ok(()) | Err(Failure::Row { .. }) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
