//! Reading tables while their changes are followed: which chunk is read next, by whom, and what is known about when.
//!
//! Beside the stream in the flow: [`Readers`] read chunks ([`Chunk`]), the pipeline's feed puts them between the stream's transactions. No
//! lock is taken, and nothing is written to the source. What makes it right (docs/decisions/009-snapshot.md):
//!
//! - A chunk is read after a [`Stand`] of the stream, and sees every transaction that the stream had passed there.
//! - All that it sees is logged before its `high`, and it waits until the stream has passed that.
//! - Rows whose keys the stream touched after the stand are left out: the stream had something newer, or the same.

mod board;
mod reader;
mod table;
mod throttle;
pub mod to_read;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use self::board::{Board, Done};
pub use self::table::TablePlan;
use self::throttle::Leave;
pub use self::throttle::Throttle;
use super::mysql::{ReadSession, SentRows};
use super::{Failure, Origin, Source, SourceError};
use crate::position::Position;
use to_read::{Key, Range, ToRead};

/// A boundary that the stream has passed, and the stamp since which touched keys are noted.
#[derive(Debug)]
pub struct Stand {
    pub stamp: u64,
    pub passed: Position,
}

/// Rows of one table that were read by one statement.
pub struct Chunk {
    pub read: u64,
    /// Which of the board's ranges it is of, and how often that was begun.
    pub range: (u64, u32),
    pub table: Arc<TablePlan>,
    /// When the table was described.
    pub described: u64,
    pub stand: Arc<Stand>,
    /// The server that it was read from,
    pub server: Arc<str>,
    /// and where in its binlog everything is logged that it sees.
    pub high: Position,
    /// As sent, see [`crate::source::mysql::SentRows`].
    pub data: Vec<u8>,
    pub rows: u64,
    /// The key of its last row.
    pub last: Option<Key>,
    /// The range ends with it.
    pub is_last: bool,
    /// Microseconds since the epoch.
    pub read_us: i64,
    board: Arc<Board>,
}

/// Memory goes back to the readers.
impl Drop for Chunk {
    fn drop(&mut self) {
        self.board.give_back(std::mem::take(&mut self.data));
    }
}

/// How fast tables are read.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub readers: usize,
    pub chunk_rows: usize,
    pub rows_per_second: Option<u64>,
    /// Nothing is begun while the server has more threads running.
    pub threads_running_max: Option<u64>,
}

/// Most bytes of a chunk; one row may have more.
pub const CHUNK_BYTES_MAX: usize = 8 << 20;

/// The tasks that read. They end when this is dropped.
pub struct Readers {
    pub board: Arc<Board>,
    pub chunks: mpsc::Receiver<Result<Chunk, SourceError>>,
    pub stands: watch::Sender<Arc<Stand>>,
    _tasks: JoinSet<()>,
}

/// The rows of a table without a key, as they were at one position.
pub struct WholeTable {
    source: Arc<str>,
    session: ReadSession,
    pub table: Arc<TablePlan>,
    pub position: Position,
    sent: SentRows,
    has_more: bool,
}

impl WholeTable {
    /// The next rows, as sent, and whether they are the last.
    pub async fn next(&mut self) -> Result<(&[u8], u64, bool), SourceError> {
        if self.has_more {
            self.has_more = self.session.more(CHUNK_BYTES_MAX / 4, &mut self.sent).await.map_err(|f| f.of(&self.source))?;
        }
        Ok((&self.sent.data, self.sent.rows, !self.has_more))
    }
}

impl Source {
    /// Opens a table that has no key, as it is behind everything that the stream has `passed`. `None`: it is gone, or has a key.
    pub async fn whole_table(&self, read: &ToRead, passed: &Position) -> Result<Option<WholeTable>, SourceError> {
        let Origin::MySql(server) = &self.origin else { return Ok(None) };
        let open = async {
            let mut session = server.read_session().await?;
            let Some(info) = server.table(&read.schema, &read.table).await? else { return Ok(None) };
            if !info.primary_key.is_empty() || !info.unique_key.is_empty() {
                return Ok(None);
            }
            session.sees_all_columns(&read.schema, &read.table).await?;
            let position = session.view_exactly(passed).await?;
            let table = TablePlan::new(&info, &read.schema, &read.table, read.estimate).map_err(|column| {
                Failure::definite(
                    format!("table {read}: the type of column `{column}` is not known"),
                    "leave the table out of `tables`",
                )
            })?;
            let mut sent = SentRows::default();
            let sql = table.select(&Range::default(), read.filter.as_deref(), 0, false);
            // Since it was described it may have been altered, or have gone: it is described again then.
            let altered = || Failure::transient(format!("table {read} was altered"));
            if let Err(failure) = session.begin_select(&sql, &mut sent).await {
                return Err(if session.is_altered { altered() } else { failure });
            }
            if !table.is_sent_as(&sent.wires) {
                return Err(altered());
            }
            Ok(Some(WholeTable { source: Arc::clone(&self.name), session, table: Arc::new(table), position, sent, has_more: true }))
        };
        open.await.map_err(|f: Failure| f.of(&self.name))
    }

    /// Whether reading a table may begin now; asks the server where nobody knows.
    pub async fn gives_leave(&self, throttle: &Throttle) -> Result<bool, SourceError> {
        let Origin::MySql(server) = &self.origin else { return Ok(true) };
        Ok(match throttle.leave(Instant::now()) {
            Leave::Given => true,
            Leave::Denied => false,
            Leave::Ask => {
                throttle.saw(server.threads_running().await.map_err(|f| f.of(&self.name))?, &self.name);
                throttle.rests_at().is_none()
            }
        })
    }

    /// Begins to read tables. `None`: the source is not a server.
    pub fn read_tables(&self, reads: Vec<ToRead>, throttle: Arc<Throttle>, stand: Stand) -> Option<Readers> {
        let Origin::MySql(server) = &self.origin else { return None };
        let pace = throttle.pace;
        let board = Arc::new(Board::new(reads, throttle));
        let (sender, chunks) = mpsc::channel(pace.readers);
        let (stands, stand) = watch::channel(Arc::new(stand));
        let mut tasks = JoinSet::new();
        for _ in 0..pace.readers {
            let reader = reader::Reader::new(Arc::clone(server), Arc::clone(&self.name), Arc::clone(&board), stand.clone());
            tasks.spawn(reader.run(sender.clone()));
        }
        Some(Readers { board, chunks, stands, _tasks: tasks })
    }
}
