//! The schema history as users see and mend it.

use std::collections::BTreeMap;

use super::apply::{self, Context, schema_itself};
use super::ddl::{self, Change, Name};
use super::history::{Origin, Version};
use super::names::Collations;
use super::token::{Dialect, tokens};
use super::{COLLATION_UNKNOWN, State, Table};
use crate::change::Relation;
use crate::cursor::CursorError;
use crate::cursor::histories::Histories;
use crate::position::Position;
use crate::source::{Source, SourceError};

#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "the pipeline has no cursor yet, so that there is no position from which the columns hold\nhint: run the pipeline first"
    )]
    NoPosition,
    #[error(
        "the file has no CREATE TABLE statement with columns that is understood\nhint: take what SHOW CREATE TABLE says, and leave out what is not about columns and keys"
    )]
    NotUnderstood,
    #[error(
        "the server has no table `{table}`, or the account may not see it\nhint: check the name (capital letters matter); for binlog files use `tidegate schema set`"
    )]
    NoTable { table: String },
}

/// All versions of all tables.
pub fn list(kept: &Histories) -> Result<Vec<(Name, Version)>, CursorError> {
    let mut all = Vec::new();
    for (key, value) in kept.all()? {
        let version = serde_json::from_slice(&value).map_err(|e| kept.damaged(&e))?;
        if let Some((schema, table)) = key.table() {
            all.push((Name { schema: schema.into(), table: table.into() }, version));
        }
    }
    Ok(all)
}

/// Sets what a table is from `at` on. Without it: from where its columns are not known, or from the cursor.
pub fn put(kept: &Histories, name: &Name, table: Table, origin: Origin, at: Option<Position>) -> Result<(), KeptError> {
    let of_table = list(kept)?.into_iter().filter(|(of, _)| of == name).map(|(_, version)| version);
    let unknown = of_table.filter(|version| matches!(version.state, State::Unknown { .. })).last();
    let at = match (at, unknown, kept.cursor()?) {
        (Some(at), _, _) => at,
        (None, Some(unknown), _) => unknown.at,
        (None, None, Some(cursor)) => cursor,
        (None, None, None) => return Err(KeptError::NoPosition),
    };
    let version = Version { at, is_first: false, origin, state: State::Known(table) };
    kept.put(&name.schema, &name.table, &version.at, serde_json::to_vec(&version).unwrap_or_default())?;
    Ok(kept.flush()?)
}

/// The table that a CREATE TABLE statement makes at the source.
pub async fn read_create(source: &Source, name: &Name, text: &str) -> Result<Table, KeptError> {
    let dialect = Dialect::of_version(&source.version().await?);
    let (mut collations, mut in_schema) = (Collations::of_version(dialect.mariadb, dialect.version), COLLATION_UNKNOWN);
    if let Some(server) = source.server() {
        collations = server.collations().await.map_err(|f| source.error(f))?;
        let schemas = server.schemas(&collations).await.map_err(|f| source.error(f))?;
        in_schema = schemas.iter().find(|(schema, _)| **schema == *name.schema).map_or(COLLATION_UNKNOWN, |(_, id)| *id);
    }
    let tokens = tokens(text, &dialect);
    let definition = ddl::read_create(&tokens, &dialect, &name.schema).map_err(|ddl::NotUnderstood| KeptError::NotUnderstood)?;
    let change = Change::Create { table: name.clone(), guarded: false, definition };
    make(&change, name, dialect, &collations, in_schema, tokens.len() as u64).ok_or(KeptError::NotUnderstood)
}

/// The relation that a CREATE TABLE statement makes on a MySQL 9.7 that nobody asks. `None`: it cannot be read, or names no schema.
pub fn of_statement(text: &str) -> Option<Relation> {
    const VERSION: &str = "9.7.0";
    const UTF8MB4_0900_AI_CI: u16 = 255;
    let dialect = Dialect::of_version(VERSION);
    let collations = Collations::of_version(false, dialect.version);
    let change = ddl::read(&tokens(text, &dialect), &dialect, "").ok()??;
    let Change::Create { table: name, .. } = &change else { return None };
    let table = make(&change, name, dialect, &collations, UTF8MB4_0900_AI_CI, 0)?;
    table.info().relation(&name.schema, &name.table).ok().filter(|_| !name.schema.is_empty())
}

/// The table that a CREATE TABLE makes in a schema of the collation `in_schema`. `seed`: see [`Context`].
fn make(change: &Change, name: &Name, dialect: Dialect, collations: &Collations, in_schema: u16, seed: u64) -> Option<Table> {
    let context = Context { dialect, collations, session: &[], server_collation: COLLATION_UNKNOWN, seed, statement: "", at: "" };
    let schema = State::Known(Table { collation: in_schema, ..Table::default() });
    let before = BTreeMap::from([(schema_itself(&name.schema), schema)]);
    match apply::apply(change, &before, &context).remove(name) {
        Some(State::Known(table)) => Some(table),
        _ => None,
    }
}

/// The table as the server has it now.
pub async fn of_server(source: &Source, name: &Name) -> Result<Table, KeptError> {
    let missing = || KeptError::NoTable { table: name.to_string() };
    let server = source.server().ok_or_else(missing)?;
    let collations = server.collations().await.map_err(|f| source.error(f))?;
    let described = server.describe(&name.schema, &[&name.table], &collations).await.map_err(|f| source.error(f))?;
    described.into_iter().find(|(table, _)| **table == *name.table).map(|(_, table)| table).ok_or_else(missing)
}
