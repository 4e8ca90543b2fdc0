//! Proves that a table is still as it was at a position: no statement between there and where the server stands defines it.
//!
//! The server's description and the server's position are read first, in this order; then the binlog is read up to that position for
//! statements alone. What was read once is remembered, so that all tables together cost one reading.

use std::collections::HashMap;
use std::sync::Arc;

use super::apply::{schema_itself, touches};
use super::ddl::{self, Change, Name};
use super::token::{Dialect, tokens};
use crate::position::{Position, file_number};
use crate::source::Failure;
use crate::source::binlog::query::Query;
use crate::source::binlog::statement;
use crate::source::mysql::Server;

/// File number and offset: the order of one server's binlog.
pub type Place = (u64, u64);

pub fn place(position: &Position) -> Place {
    (file_number(&position.file).unwrap_or_default(), position.offset)
}

/// More tables than this are not told apart: all of them count as defined by the last statement.
const TABLES_MAX: usize = 262_144;

/// Statements that lie ahead of a pipeline.
#[derive(Debug, Default)]
pub struct Ahead {
    /// From where to where they were read.
    read: Option<(Place, Position)>,
    /// The last statement that defines a table, or a schema.
    last: HashMap<Name, Place>,
    /// The last one that found no room.
    last_of_all: Option<Place>,
}

impl Ahead {
    /// Reads on until `to`, from `executed` or where the reading before ended.
    pub(crate) async fn reach(
        &mut self,
        server: &Arc<Server>,
        executed: &Position,
        to: &Position,
        dialect: &Dialect,
    ) -> Result<(), Failure> {
        let here = place(executed);
        let from = match self.read.take() {
            Some((since, through)) if since <= here && here <= place(&through) && is_of_same_server(&through, executed) => {
                self.last.retain(|_, at| *at > here);
                through
            }
            _ => {
                *self = Ahead::default();
                executed.clone()
            }
        };
        let mut through = from.clone();
        if !from.covers(to) {
            let (last, last_of_all) = (&mut self.last, &mut self.last_of_all);
            through = server
                .statements(&from, to, |query, file, next| {
                    let at = (file_number(file).unwrap_or_default(), next);
                    for name in defined(query, dialect) {
                        if last.len() < TABLES_MAX || last.contains_key(&name) {
                            last.insert(name, at);
                        } else {
                            *last_of_all = Some(at);
                        }
                    }
                })
                .await?;
        }
        self.read = Some((here, through));
        Ok(())
    }

    /// The last statement behind `here` that defines the table.
    pub fn defined_after(&self, name: &Name, here: Place) -> Option<Place> {
        let of = |name: &Name| self.last.get(name).copied();
        [of(name), of(&schema_itself(&name.schema)), self.last_of_all].into_iter().flatten().filter(|at| *at > here).max()
    }
}

fn is_of_same_server(a: &Position, b: &Position) -> bool {
    let server = |position: &Position| position.home.as_ref().map(|home| Arc::clone(&home.server));
    server(a) == server(b)
}

/// The tables that a statement defines, or its schema.
fn defined(query: &Query<'_>, dialect: &Dialect) -> Vec<Name> {
    if matches!(&*query.text, "BEGIN" | "COMMIT") {
        return Vec::new();
    }
    let dialect = dialect.with_sql_mode(query.sql_mode);
    let tokens = tokens(&query.text, &dialect);
    let mut names = named(statement::parse_tokens(&query.text, &tokens), &query.schema, &dialect);
    match ddl::read(&tokens, &dialect, &query.schema) {
        Ok(Some(Change::DropSchema(schema) | Change::Schema { schema, .. })) => names.push(schema_itself(&schema)),
        Ok(Some(change)) => names.extend(touches(&change)),
        Ok(None) | Err(ddl::NotUnderstood) => {}
    }
    names
}

/// The tables that a statement defines or empties, as far as its names can be found.
pub fn named(statement: statement::Statement, schema: &str, dialect: &Dialect) -> Vec<Name> {
    match statement {
        statement::Statement::Defines(names) | statement::Statement::Empties(names) | statement::Statement::Changes(names) => {
            let name =
                |n: statement::Name| Name { schema: n.schema.unwrap_or_else(|| schema.to_owned()).into(), table: n.table.into() };
            names.into_iter().map(name).map(|name: Name| name.lowered(dialect)).collect()
        }
        _ => Vec::new(),
    }
}
