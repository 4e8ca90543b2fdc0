//! Sources: where changes are read.
//!
//! A source is opened once and may feed several pipelines. What they share is the framed stream: [`Segment`]s of whole, checked,
//! decompressed events with their transaction boundaries. Decoding belongs to each pipeline ([`binlog::decode::Decoder`]).
//! Sources never see sinks.

pub mod binlog;
mod feed;
mod files;
pub(crate) mod frame;
#[cfg(test)]
mod fuzz;
mod gtid_event;
mod hub;
mod inflate;
pub mod mysql;
mod relation;
pub mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use self::feed::{Origin, blocking};
use self::files::Files;
pub use self::hub::Subscription;
use self::hub::{Hub, WINDOW_BYTES_MAX};
use crate::check::Finding;
use crate::manifest::pattern::Patterns;
use crate::manifest::units::TablePath;
use crate::position::{Gtid, GtidSet, Home, Position};

/// What a source is opened with.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Name in the manifest, for messages.
    pub name: String,
    pub kind: SourceKind,
}

#[derive(Clone, Debug)]
pub enum SourceKind {
    /// A live MySQL or MariaDB, or several of one replication, in the order in which they are tried. `server_id`: under which the reading
    /// registers; see [`mysql::default_server_id`]. `reader`: what tells it from others of the same number.
    /// `signal`: a table that may be written to.
    MySql { addresses: Vec<mysql::Address>, server_id: u32, reader: Arc<str>, signal: Option<TablePath> },
    /// Binlog files: paths or globs (`*` and `?` in the last part of the path).
    Files { paths: Vec<String> },
}

/// Where a pipeline begins when it has no cursor yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After the last transaction that the source has.
    Now,
    /// At the first transaction that the source still has.
    Earliest,
    Position(Position),
    /// After the transactions of the set.
    Gtid(GtidSet),
    File {
        file: String,
        offset: u64,
    },
    /// At the first transaction committed at or after this time: microseconds since the epoch.
    Time(i64),
}

/// What a [`Subscription`] delivers.
#[derive(Clone, Debug)]
pub enum Event {
    Segment(Arc<Segment>),
    /// Nothing new at the source: everything up to here is delivered.
    Idle,
    /// The source cannot be read, and is tried again; where it is.
    Away(Arc<str>),
    /// The last binlog file is read to its end (`binlog-files` alone).
    End,
}

/// Something that goes away by itself: lost connections, a server that restarts. Subscriptions try again and never return it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{problem}")]
pub struct TransientError {
    pub problem: String,
}

/// Something that trying again cannot mend.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{problem}\nhint: {hint}")]
pub struct DefiniteError {
    pub problem: String,
    pub hint: String,
}

/// Why a source cannot be read. Messages never hold passwords or row values.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    #[error("source `{name}`: {error}")]
    Transient { name: Arc<str>, error: TransientError },
    #[error("source `{name}`: {error}")]
    Definite { name: Arc<str>, error: DefiniteError },
}

/// Either of them, before the source's name is added.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Transient(TransientError),
    Definite(DefiniteError),
}

impl Failure {
    pub(crate) fn transient(problem: impl Into<String>) -> Failure {
        Failure::Transient(TransientError { problem: problem.into() })
    }

    pub(crate) fn definite(problem: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::Definite(DefiniteError { problem: problem.into(), hint: hint.into() })
    }

    pub(crate) fn of(self, name: &Arc<str>) -> SourceError {
        match self {
            Failure::Transient(error) => SourceError::Transient { name: name.clone(), error },
            Failure::Definite(error) => SourceError::Definite { name: name.clone(), error },
        }
    }
}

impl From<frame::FrameError> for Failure {
    fn from(error: frame::FrameError) -> Failure {
        Failure::definite(error.to_string(), error.hint())
    }
}

/// A source, opened once and shared by the pipelines that read it.
#[derive(Debug)]
pub struct Source {
    name: Arc<str>,
    origin: Origin,
    hub: Arc<Hub>,
}

impl Source {
    /// Checks that the source can be reached and read.
    pub async fn open(config: SourceConfig) -> Result<Source, SourceError> {
        Source::connect(config, true).await
    }

    /// Checks only that the source can be reached: what else is wrong, [`Source::check`] tells.
    pub async fn open_to_check(config: SourceConfig) -> Result<Source, SourceError> {
        Source::connect(config, false).await
    }

    async fn connect(config: SourceConfig, admit: bool) -> Result<Source, SourceError> {
        let name: Arc<str> = config.name.as_str().into();
        let origin = match config.kind {
            SourceKind::Files { paths } => blocking(
                tokio::task::spawn_blocking(move || {
                    let files = Files::find(&paths)?;
                    files.probe()?;
                    Ok(Origin::Files(files))
                })
                .await,
            ),
            SourceKind::MySql { addresses, server_id, reader, signal } => {
                let server = mysql::Server::new(name.clone(), addresses, server_id, reader, signal);
                let server = match server {
                    Ok(server) => server.connect(admit).await.map(|()| server),
                    Err(failure) => Err(failure),
                };
                server.map(|server| Origin::MySql(Arc::new(server)))
            }
        };
        let origin = origin.map_err(|f| f.of(&name))?;
        let hub = Arc::new(Hub::new(name.clone(), origin.clone(), WINDOW_BYTES_MAX));
        Ok(Source { name, origin, hub })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a pipeline without a cursor begins.
    pub async fn resolve(&self, start: &Start) -> Result<Position, SourceError> {
        let result = match &self.origin {
            Origin::Files(files) => {
                let (files, start) = (files.clone(), start.clone());
                blocking(tokio::task::spawn_blocking(move || files.resolve(&start)).await)
            }
            Origin::MySql(server) => server.resolve(start).await,
        };
        result.map_err(|f| f.of(&self.name))
    }

    /// A reading from `from` on: exactly the transactions after it. One a pipeline.
    pub fn subscribe(&self, from: Position) -> Subscription {
        self.hub.subscribe(from)
    }

    /// The table as the server describes it now; `None`: it has none of that name, or the source is not a server.
    pub async fn table(&self, schema: &str, table: &str) -> Result<Option<TableInfo>, SourceError> {
        match &self.origin {
            Origin::Files(_) => Ok(None),
            Origin::MySql(server) => server.table(schema, table).await.map_err(|f| f.of(&self.name)),
        }
    }

    /// The version of the server, as it says it.
    pub async fn version(&self) -> Result<String, SourceError> {
        let result = match &self.origin {
            Origin::Files(files) => {
                let files = files.clone();
                blocking(tokio::task::spawn_blocking(move || files.version()).await)
            }
            Origin::MySql(server) => server.version().await,
        };
        result.map_err(|f| f.of(&self.name))
    }

    /// The server, if the source is one that can be asked about its tables.
    pub(crate) fn server(&self) -> Option<&Arc<mysql::Server>> {
        match &self.origin {
            Origin::Files(_) => None,
            Origin::MySql(server) => Some(server),
        }
    }

    /// A failure of the server, as one of this source.
    pub(crate) fn error(&self, failure: Failure) -> SourceError {
        failure.of(&self.name)
    }

    /// Schema and name of the followed tables that there are now; empty if the source is not a server.
    pub async fn tables(&self, tables: &Patterns) -> Result<Vec<(String, String)>, SourceError> {
        match &self.origin {
            Origin::Files(_) => Ok(Vec::new()),
            Origin::MySql(server) => server.tables(tables).await.map_err(|f| f.of(&self.name)),
        }
    }

    /// As [`Source::tables`], with the rows that the server thinks they have.
    pub async fn tables_with_rows(&self, tables: &Patterns) -> Result<Vec<(String, String, u64)>, SourceError> {
        match &self.origin {
            Origin::Files(_) => Ok(Vec::new()),
            Origin::MySql(server) => server.tables_with_rows(tables).await.map_err(|f| f.of(&self.name)),
        }
    }

    /// Whether the server takes a condition for the rows of a table.
    pub async fn try_filter(&self, schema: &str, table: &str, filter: &str) -> Result<(), SourceError> {
        match &self.origin {
            Origin::Files(_) => Ok(()),
            Origin::MySql(server) => server.try_filter(schema, table, filter).await.map_err(|f| f.of(&self.name)),
        }
    }

    /// What would fail. `tables` are the tables that the manifest follows.
    pub async fn check(&self, tables: &Patterns) -> Vec<Finding> {
        match &self.origin {
            Origin::Files(_) => Vec::new(),
            Origin::MySql(server) => server.check(tables).await,
        }
    }

    /// The end of what the source has now.
    pub async fn end(&self) -> Result<Position, SourceError> {
        let result = match &self.origin {
            Origin::Files(files) => files.end(),
            Origin::MySql(server) => server.end().await,
        };
        result.map_err(|f| f.of(&self.name))
    }
}

/// A run of whole binlog events of one file, in read order. Checksums are verified and cut off, compressed transactions and
/// MariaDB's compressed events are decompressed: a decoder sees plain events only.
#[derive(Debug)]
pub struct Segment {
    /// Base name of the binlog file.
    pub file: Arc<str>,
    /// Whose file it is, if it is a server's.
    pub home: Option<Arc<Home>>,
    pub data: Bytes,
    pub events: Vec<Framed>,
    /// The transactions that begin in this segment.
    pub transactions: Vec<TransactionBegin>,
    /// All transactions executed before the end of the segment, where its last event tells what nobody knew before.
    pub learned: Option<GtidSet>,
    /// Number of segments before this one in the shared stream.
    pub index: u64,
}

/// One event of a [`Segment`].
#[derive(Clone, Copy, Debug)]
pub struct Framed {
    /// Where its 19-byte header begins in [`Segment::data`].
    pub start: usize,
    /// Header and body, without checksum.
    pub len: usize,
    /// Where it begins in its file; an event of a compressed transaction has the offset of the event that carried it.
    pub offset: u64,
    /// Where the event after it begins in its file (after the carrying event, for an event out of a compressed transaction).
    pub next: u64,
    pub boundary: Boundary,
}

/// What an event means for the transaction that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Inside a transaction, or outside of any.
    Within,
    /// The first event (a GTID event, or BEGIN where there are none): index into [`Segment::transactions`].
    Begin(u32),
    /// The last event: XID, COMMIT, ROLLBACK, or a statement that commits by itself (DDL). What comes before [`Framed::next`] is complete.
    End,
    /// The connection was lost within a transaction, and reading went on at its beginning: this event begins it again. The decoder
    /// skips the rows that it has passed on already.
    BeginAgain(u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionBegin {
    /// `None`: anonymous.
    pub gtid: Option<Gtid>,
    /// Where it begins.
    pub offset: u64,
    /// Microseconds since the epoch; from the GTID event where it has them, else the event header's seconds.
    pub commit_time_us: i64,
}

/// A table as the server describes it now (information_schema), for what a TABLE_MAP event does not say.
#[derive(Clone, Debug, Default)]
pub struct TableInfo {
    pub columns: Vec<ColumnInfo>,
    /// Column indexes of the primary key, in key order; empty: none.
    pub primary_key: Vec<u16>,
    /// Column indexes of the first unique key whose columns are all NOT NULL; empty: none.
    pub unique_key: Vec<u16>,
    /// The most unique keys for which MariaDB may keep a hash: each logs a column behind all others that no one declared.
    pub hashes_max: usize,
}

#[derive(Clone, Debug)]
pub struct ColumnInfo {
    pub name: Box<str>,
    /// COLUMN_TYPE, as the server writes it: `int unsigned`, `enum('a','b')`, `varchar(20)`.
    pub column_type: Box<str>,
    /// Collation id (information_schema.COLLATIONS.ID) of a text column.
    pub collation: Option<u16>,
    pub nullable: bool,
    /// A virtual generated column: MySQL logs it, too (as it does stored ones).
    pub virtual_generated: bool,
    pub invisible: bool,
    /// What a row has that is inserted without it; `None` where that is not known.
    pub default: Option<crate::schema::Fill>,
}
