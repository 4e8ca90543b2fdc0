//! What arrives at SQL targets, and in which order: real servers, the real program, and every row compared at the end.

use std::path::PathBuf;
use std::process::Command;

use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, Kind, Server};

mod defaults;
mod events;
mod large;
mod partial;
mod rows;
mod transaction;
mod types;
mod unique;
mod xa;

/// A database at a source server, of which every pipeline copies what is written after [`Origin::new`].
struct Origin<'s> {
    server: &'s Server,
    database: String,
    /// The `start` of the manifest.
    start: String,
}

impl<'s> Origin<'s> {
    fn new(server: &'s Server, database: &str) -> Origin<'s> {
        server.sql(&format!("CREATE DATABASE {database}"));
        let status = if server.kind == Kind::MySql { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
        let status = server.rows(status);
        let start = format!("{{ file = \"{}\", offset = {} }}", status[0][0], status[0][1]);
        Origin { server, database: database.to_owned(), start }
    }

    fn sql(&self, statements: &str) -> String {
        self.server.sql_in(&self.database, statements)
    }
}

/// Where a [`Copy`] goes.
enum Target<'s> {
    Server(&'s Server, String),
    Sqlite(PathBuf),
}

/// One pipeline from an [`Origin`] to a target, in a folder of its own.
struct Copy<'s> {
    flow: Flow,
    target: Target<'s>,
    source: String,
}

impl<'s> Copy<'s> {
    /// Into a new database `name` of a server.
    fn to_server(origin: &Origin<'_>, target: &'s Server, name: &str) -> Copy<'s> {
        target.sql(&format!("CREATE DATABASE {name}"));
        Copy::new(origin, Target::Server(target, name.to_owned()))
    }

    fn to_sqlite(origin: &Origin<'_>) -> Copy<'static> {
        Copy::new(origin, Target::Sqlite(PathBuf::new()))
    }

    fn new<'t>(origin: &Origin<'_>, target: Target<'t>) -> Copy<'t> {
        let flow = Flow::new("");
        let target = match target {
            Target::Sqlite(_) => Target::Sqlite(flow.folder().join("target.db")),
            server @ Target::Server(..) => server,
        };
        let source = format!(
            "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{}.*\"]\nstart = {}\n",
            origin.server.url("root", ""),
            origin.database,
            origin.start,
        );
        Copy { flow, target, source }
    }

    /// Writes the manifest; `pipeline` has the settings of the pipeline beside source and sink.
    fn configure(&self, pipeline: &str) -> &Self {
        self.configure_all("", "", pipeline)
    }

    /// As [`Copy::configure`], with more settings of the source and of the sink.
    fn configure_all(&self, source: &str, sink: &str, pipeline: &str) -> &Self {
        let there = match &self.target {
            Target::Server(server, database) => {
                let (kind, user) = if server.kind == Kind::Postgres { ("postgres", "postgres") } else { ("mysql", "root") };
                format!("type = \"{kind}\"\nurl = \"{}\"", server.url(user, database))
            }
            Target::Sqlite(path) => format!("type = \"sqlite\"\npath = \"{}\"", path.display()),
        };
        self.flow.write(&format!(
            "{}{source}\n[sink.there]\n{there}\n{sink}\n[pipeline.copy]\nsource = \"here\"\nsink = \"there\"\n{pipeline}\n",
            self.source
        ));
        self
    }

    /// What the target's own client answers.
    fn sql(&self, statements: &str) -> String {
        match &self.target {
            Target::Server(server, database) => server.sql_in(database, statements),
            Target::Sqlite(path) => {
                let mut command = Command::new("sqlite3");
                command.args(["-batch", "-separator", "\t", "-nullvalue", "NULL", "-cmd", ".timeout 20000"]).arg(path);
                servers::run(command, statements)
            }
        }
    }

    /// `None`: SQLite.
    fn kind(&self) -> Option<Kind> {
        match &self.target {
            Target::Server(server, _) => Some(server.kind),
            Target::Sqlite(_) => None,
        }
    }

    /// For messages.
    fn name(&self) -> String {
        match &self.target {
            Target::Server(server, _) => format!("{:?}", server.kind),
            Target::Sqlite(_) => "Sqlite".to_owned(),
        }
    }

    /// Holds the answers of source and target against each other.
    fn assert_same(&self, origin: &Origin<'_>, query: &str) {
        let (here, there) = (origin.sql(query), self.sql(query));
        let differ = here.lines().zip(there.lines()).find(|(a, b)| a != b);
        let rows = (here.lines().count(), there.lines().count());
        assert!(here == there, "{}: {query}: {rows:?} rows at source and target; first difference: {differ:?}", self.name());
    }
}
