//! `tidegate schema`: which columns tables had at which position.

use std::path::Path;

use serde_json::json;

use super::table::table;
use super::{Format, SchemaCommand, block_on, cursor, screen};
use crate::cursor::Store;
use crate::error::Error;
use crate::manifest::model::{Manifest, Pipeline};
use crate::manifest::{self};
use crate::schema::ddl::Name;
use crate::schema::history::{Origin, Version};
use crate::schema::kept::{self, KeptError};
use crate::schema::{State, Table};
use crate::source::Source;

pub(super) fn run(command: &SchemaCommand, format: Format) -> Result<(), Error> {
    let (file, pipeline) = match command {
        SchemaCommand::Show { pipeline, manifest, .. }
        | SchemaCommand::Set { pipeline, manifest, .. }
        | SchemaCommand::Refresh { pipeline, manifest, .. } => (&manifest.manifest, pipeline),
    };
    let (manifest, store) = open(file)?;
    let found = cursor::find(&manifest, pipeline)?;
    match command {
        SchemaCommand::Show { table, .. } => show(&store, pipeline, table.as_ref(), format),
        SchemaCommand::Set { table, file, at, .. } => {
            let text = std::fs::read_to_string(file).map_err(|source| Error::Read { path: file.clone(), source })?;
            let made = block_on(async {
                let source = source(found, &manifest).await?;
                Ok(kept::read_create(&source, table, &text).await?)
            })?;
            put(&store, pipeline, table, made, Origin::Hand, at.as_ref().cloned(), format)
        }
        SchemaCommand::Refresh { table, .. } => {
            let made = block_on(async {
                let source = source(found, &manifest).await?;
                Ok(kept::of_server(&source, table).await?)
            })?;
            put(&store, pipeline, table, made, Origin::Server, None, format)
        }
    }
}

fn open(file: &Path) -> Result<(Manifest, Store), Error> {
    let manifest = manifest::load(file)?;
    let store = Store::open(&manifest.data_dir)?;
    Ok((manifest, store))
}

async fn source(pipeline: &Pipeline, manifest: &Manifest) -> Result<Source, Error> {
    Ok(Source::open_to_check(pipeline.source.open_config(manifest)?).await?)
}

fn put(
    store: &Store,
    pipeline: &str,
    name: &Name,
    made: Table,
    origin: Origin,
    at: Option<crate::position::Position>,
    format: Format,
) -> Result<(), Error> {
    kept::put(&store.history(pipeline), name, made, origin, at)?;
    show(store, pipeline, Some(name), format)
}

fn show(store: &Store, pipeline: &str, only: Option<&Name>, format: Format) -> Result<(), Error> {
    let mut all = kept::list(&store.history(pipeline))?;
    all.retain(|(name, _)| !name.table.is_empty() && only.is_none_or(|only| only == name));
    screen::print_result(&match format {
        Format::Json => {
            let versions: Vec<_> = all.iter().map(|(name, version)| as_json(name, version)).collect();
            format!("{}\n", json!({ "pipeline": pipeline, "versions": versions }))
        }
        Format::Text if all.is_empty() => "nothing is known: the binlog says the columns, or no row was read yet\n".to_owned(),
        Format::Text => {
            let mut rows = vec![["table", "from", "by", "columns"].map(str::to_owned).to_vec()];
            for (name, version) in &all {
                rows.push(vec![name.to_string(), place(version), by(version.origin).to_owned(), columns(&version.state)]);
            }
            table(&rows, 0..0)
        }
    })
}

fn place(version: &Version) -> String {
    format!("{}:{}", version.at.file, version.at.offset)
}

fn by(origin: Origin) -> &'static str {
    match origin {
        Origin::Statement => "statement",
        Origin::Server => "server",
        Origin::Hand => "hand",
    }
}

fn columns(state: &State) -> String {
    match state {
        State::Known(table) => table.columns.iter().map(|c| format!("{} {}", c.name, c.column_type)).collect::<Vec<_>>().join(", "),
        State::Unknown { statement, .. } => format!("not known, since `{statement}`"),
        State::Dropped => "dropped".to_owned(),
    }
}

fn as_json(name: &Name, version: &Version) -> serde_json::Value {
    let (state, columns, key) = match &version.state {
        State::Known(table) => {
            let info = table.info();
            let key: Vec<_> = info.primary_key.iter().filter_map(|i| info.columns.get(usize::from(*i))).map(|c| &*c.name).collect();
            let column = |c: &crate::schema::Column| json!({ "name": c.name, "type": c.column_type, "collation": c.collation, "nullable": c.nullable });
            ("known", table.columns.iter().map(column).collect(), json!(key))
        }
        State::Unknown { .. } => ("unknown", Vec::new(), json!([])),
        State::Dropped => ("dropped", Vec::new(), json!([])),
    };
    json!({
        "schema": name.schema,
        "table": name.table,
        "file": version.at.file.to_string(),
        "offset": version.at.offset,
        "by": by(version.origin),
        "state": state,
        "columns": columns,
        "primary_key": key,
    })
}

/// `schema.table`; a part with a dot in backticks.
pub(super) fn parse_name(text: &str) -> Result<Name, String> {
    use crate::schema::token::{Dialect, Token, tokens};
    let part = |token: &Token<'_>| match token {
        Token::Word(word) => Some((*word).to_owned()),
        Token::Number(number) => Some((*number).to_owned()),
        Token::Name(name) => Some(name.clone()),
        Token::Text(_) | Token::Punct(_) => None,
    };
    let parsed = match &tokens(text, &Dialect::default())[..] {
        [schema, Token::Punct('.'), table] => part(schema).zip(part(table)),
        // Names with dashes and the like, without backticks.
        _ => text.split_once('.').filter(|(_, t)| !t.contains(['.', '`'])).map(|(s, t)| (s.to_owned(), t.to_owned())),
    };
    let (schema, table) = parsed.ok_or("expected schema.table; a name with a dot stands in backticks")?;
    Ok(Name { schema: schema.into(), table: table.into() })
}

/// `FILE:OFFSET`.
pub(super) fn parse_place(text: &str) -> Result<crate::position::Position, String> {
    let expected = || "expected FILE:OFFSET, as the message said it".to_owned();
    let (file, offset) = text.rsplit_once(':').ok_or_else(expected)?;
    crate::position::file_number(file).ok_or_else(expected)?;
    let offset = offset.parse().map_err(|_| expected())?;
    Ok(crate::position::Position { file: file.into(), offset, home: None, gtids: None })
}

impl From<KeptError> for Error {
    fn from(error: KeptError) -> Error {
        match error {
            KeptError::Cursor(error) => Error::Cursor(error),
            KeptError::Source(error) => Error::Source(error),
            other @ (KeptError::NoPosition | KeptError::NotUnderstood | KeptError::NoTable { .. }) => Error::Schema(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        for (text, schema, table) in [
            ("shop.t", "shop", "t"),
            ("`a.b`.`c.d`", "a.b", "c.d"),
            ("my-shop.orders-2", "my-shop", "orders-2"),
            ("s.1a", "s", "1a"),
        ] {
            assert_eq!(parse_name(text), Ok(Name { schema: schema.into(), table: table.into() }), "{text}");
        }
        assert!(parse_name("t").is_err() && parse_name("a.b.c").is_err());
        assert!(parse_place("binlog.000001:4").is_ok() && parse_place("x:4").is_err());
    }
}
