//! `ddl = "follow"`: what a statement makes of the source's tables, the target's become, too; compared by SELECT at both ends.

use std::process::Command;

use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, Kind, Server};

mod crash;
mod kinds;
mod online;
mod places;
mod refused;

/// Where the tables go.
pub enum Target<'s> {
    Server(&'s Server),
    Sqlite,
}

/// A schema of a source, and a pipeline that follows its statements.
pub struct Pair<'s> {
    pub source: &'s Server,
    pub target: Target<'s>,
    pub name: String,
    pub flow: Flow,
}

impl<'s> Pair<'s> {
    /// `of_source`, `of_pipeline`: more keys.
    pub fn new(source: &'s Server, target: Target<'s>, name: &str, of_source: &str, of_pipeline: &str) -> Pair<'s> {
        source.sql(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
        let sink = match &target {
            Target::Sqlite => "type = \"sqlite\"\npath = \"copy.sqlite\"".to_owned(),
            Target::Server(server) => {
                server.sql(&format!("CREATE DATABASE {name}_copy"));
                let (kind, user) = if server.kind == Kind::Postgres { ("postgres", "postgres") } else { ("mysql", "root") };
                format!("type = \"{kind}\"\nurl = \"{}\"", server.url(user, &format!("{name}_copy")))
            }
        };
        let flow = Flow::new(&format!(
            "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{name}.*\"]\n{of_source}\n[sink.there]\n{sink}\ncreate = true\n\
             [pipeline.copy]\nsource = \"here\"\nsink = \"there\"\nddl = \"follow\"\n{of_pipeline}\n",
            source.url("root", "")
        ));
        Pair { source, target, name: name.to_owned(), flow }
    }

    pub fn sql(&self, statements: &str) {
        self.source.sql_in(&self.name, &format!("SET NAMES utf8mb4; {statements}"));
    }

    pub fn at_target(&self, statements: &str) -> String {
        match &self.target {
            Target::Server(server) => server.sql_in(&format!("{}_copy", self.name), statements),
            Target::Sqlite => {
                let mut sqlite = Command::new("sqlite3");
                sqlite.args(["-batch", "-separator", "\t", "-nullvalue", "NULL", "copy.sqlite"]).arg(statements);
                sqlite.current_dir(self.flow.folder());
                servers::run(sqlite, "")
            }
        }
    }

    /// The target's tables but ours, by name.
    pub fn tables_there(&self) -> Vec<String> {
        let tables = match &self.target {
            Target::Server(server) if server.kind == Kind::Postgres => {
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'".to_owned()
            }
            Target::Server(_) => {
                format!("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{}_copy'", self.name)
            }
            Target::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'".to_owned(),
        };
        let mut tables: Vec<String> = self.at_target(&tables).lines().map(str::to_owned).collect();
        tables.retain(|table| !table.starts_with("tidegate_"));
        tables.sort();
        tables
    }

    fn columns_there(&self, table: &str) -> Vec<String> {
        let columns = match &self.target {
            Target::Server(server) if server.kind == Kind::Postgres => {
                format!("SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'")
            }
            Target::Server(_) => format!(
                "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{}_copy' AND TABLE_NAME = '{table}'",
                self.name
            ),
            Target::Sqlite => format!("SELECT name FROM pragma_table_info('{table}')"),
        };
        sorted(&self.at_target(&columns))
    }

    /// Both ends have the same tables with the same columns and rows.
    pub fn assert_same(&self, what: &str) {
        let name = &self.name;
        let tables = format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{name}' AND TABLE_TYPE <> 'VIEW' ORDER BY 1"
        );
        let tables = sorted(&self.source.sql(&tables));
        assert_eq!(self.tables_there(), tables, "{name}: {what}: tables");
        for table in tables {
            let columns = format!(
                "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{name}' AND TABLE_NAME = '{table}'"
            );
            let columns = sorted(&self.source.sql(&columns));
            assert_eq!(self.columns_there(&table), columns, "{name}: {what}: columns of {table}");
            let list = |quote: &str| {
                columns
                    .iter()
                    .map(|c| format!("{quote}{}{quote}", c.replace(quote, &quote.repeat(2))))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let select = |quote: &str| format!("SELECT {} FROM {quote}{table}{quote};", list(quote));
            let here = self.source.sql_in(name, &format!("SET NAMES utf8mb4; SET time_zone = '+00:00'; {}", select("`")));
            let there = match &self.target {
                Target::Server(server) if server.kind != Kind::Postgres => {
                    self.at_target(&format!("SET NAMES utf8mb4; SET time_zone = '+00:00'; {}", select("`")))
                }
                _ => self.at_target(&select("\"")),
            };
            // Only these clients escape backslashes.
            let is_escaped = matches!(&self.target, Target::Server(server) if server.kind != Kind::Postgres);
            let there = if is_escaped { there } else { there.replace('\\', "\\\\") };
            let (here, there) = (rows(&here), rows(&there));
            let differ = here.iter().zip(&there).find(|(a, b)| a != b);
            assert!(
                here == there,
                "{name}: {what}: {table} {columns:?}: {} rows at the source, {} at the target; first difference: {differ:?}",
                here.len(),
                there.len()
            );
        }
    }
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Sorted, with all times alike: without zeros at the end of a fraction, and without PostgreSQL's zone.
fn rows(text: &str) -> Vec<String> {
    let plain = |field: &str| field.strip_suffix("+00").filter(|f| f.contains(':')).unwrap_or(field).to_owned();
    let field = |field: &str| match plain(field).split_once('.') {
        Some((head, _)) if head.contains(':') => plain(field).trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => plain(field),
    };
    let mut rows: Vec<String> = text.lines().map(|line| line.split('\t').map(field).collect::<Vec<_>>().join("\t")).collect();
    rows.sort();
    rows
}
