//! One reader of tables: a session of its own, page after page.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};

use super::board::{Board, HasRead, Job};
use super::table::TablePlan;
use super::throttle::Leave;
use super::to_read::Range;
use super::{CHUNK_BYTES_MAX, Chunk, Stand};
use crate::retry::Backoff;
use crate::source::mysql::{ReadSession, SentRows, Server, View};
use crate::source::{Failure, SourceError};

pub(super) struct Reader {
    server: Arc<Server>,
    name: Arc<str>,
    board: Arc<Board>,
    stand: watch::Receiver<Arc<Stand>>,
    session: Option<ReadSession>,
    /// The table that was read last, and when it was described.
    table: Option<(u64, u64, Arc<TablePlan>)>,
    /// A stand that was seen to be visible.
    visible: u64,
    wires: Vec<crate::source::mysql::Wire>,
    /// Rows of the next page, at most; less than `chunk_rows` where rows are long.
    limit: usize,
}

/// Times in a row that a table is described anew before it counts as an error.
const ALTERED_MAX: u32 = 5;

/// Between two looks whether the server is less busy.
const LEAVE_LOOK: Duration = Duration::from_millis(200);

const UNSENT: &str = "leave the table out of `tables`, or begin with start = \"now\"";

/// What a page came to.
enum Page {
    Chunk(Box<Chunk>),
    /// Nothing is left of the range, or it is begun again.
    Over,
    /// To be read once more.
    Again,
    /// The table is not what it was described as; describe it again. What the server said.
    Altered(Failure),
}

impl Reader {
    pub(super) fn new(server: Arc<Server>, name: Arc<str>, board: Arc<Board>, stand: watch::Receiver<Arc<Stand>>) -> Reader {
        let limit = board.pace.chunk_rows;
        Reader { server, name, board, stand, session: None, table: None, visible: 0, wires: Vec::new(), limit }
    }

    pub(super) async fn run(mut self, chunks: mpsc::Sender<Result<Chunk, SourceError>>) {
        loop {
            let job = self.board.job().await;
            let mut backoff = Backoff::default();
            loop {
                match self.page(&job).await {
                    Ok(Page::Chunk(chunk)) => {
                        backoff = Backoff::default();
                        let (rows, is_last) = (chunk.rows, chunk.is_last);
                        if chunks.send(Ok(*chunk)).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(self.board.throttle.rest(rows)).await;
                        if is_last {
                            break;
                        }
                    }
                    Ok(Page::Over) => break,
                    Ok(Page::Again) => {}
                    Ok(Page::Altered(failure)) if backoff.tries() >= ALTERED_MAX => {
                        let _ = chunks.send(Err(failure.of(&self.name))).await;
                        return;
                    }
                    Ok(Page::Altered(_)) => {
                        self.table = None;
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                    Err(Failure::Transient(error)) => {
                        self.session = None;
                        tracing::warn!(source = &*self.name, "reading {}.{}: {error}; trying again", job.schema, job.table);
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                    Err(definite) => {
                        let _ = chunks.send(Err(definite.of(&self.name))).await;
                        return;
                    }
                }
            }
        }
    }

    async fn page(&mut self, job: &Job) -> Result<Page, Failure> {
        if !self.session.as_ref().is_some_and(|session| session.is_current(&self.server)) {
            self.visible = 0;
            self.session = Some(self.server.read_session().await?);
        }
        if let Some(session) = &mut self.session {
            let throttle = &self.board.throttle;
            match throttle.leave(Instant::now()) {
                Leave::Given => {}
                Leave::Ask => {
                    throttle.saw(session.threads_running().await?, &self.name);
                    return Ok(Page::Again);
                }
                Leave::Denied => {
                    tokio::time::sleep(LEAVE_LOOK).await;
                    return Ok(Page::Again);
                }
            }
        }
        let Some(table) = self.describe(job).await? else {
            self.board.give_up(job.read);
            return Ok(Page::Over);
        };
        let Some(range) = self.board.page(job) else { return Ok(Page::Over) };
        if let Some(ahead) = job.ahead {
            return self.divide(job, &table, &range, ahead.rows).await;
        }
        let described = self.table.as_ref().map_or(0, |(_, described, _)| *described);
        let stand = Arc::clone(&self.stand.borrow());
        let Some(session) = &mut self.session else { return Ok(Page::Over) };
        let mut locks = false;
        let mut at = None;
        // A server that is known to show this stand shows it from then on.
        if session.is_mariadb() || self.visible != stand.stamp {
            match session.view(&stand.passed).await? {
                View::Exactly(file, offset) => at = Some((file, offset)),
                View::AtLeast => self.visible = stand.stamp,
                View::Locking => locks = true,
            }
        }
        let limit = self.limit.clamp(1, self.board.pace.chunk_rows);
        let sql = table.select(&range, job.filter.as_deref(), limit, locks);
        let mut sent = SentRows { data: self.board.buffer(), wires: std::mem::take(&mut self.wires), ..SentRows::default() };
        let read_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
        if let Err(failure) = session.select(&sql, CHUNK_BYTES_MAX, &mut sent).await {
            if std::mem::take(&mut session.is_altered) {
                session.end().await?;
                return Ok(Page::Altered(failure));
            }
            return Err(failure);
        }
        if at.is_some() {
            session.end().await?;
        }
        let high = session.logged(at).await?;
        let server = session.home();
        let SentRows { wires, data, rows, is_cut } = sent;
        self.wires = wires;
        if !table.is_sent_as(&self.wires) {
            let name = format!("{}.{}", job.schema, job.table);
            return Ok(Page::Altered(Failure::definite(format!("table {name} is not sent as it is described"), UNSENT)));
        }
        let last = last_row(&data, rows).map(|row| {
            table.key_of(row).ok_or_else(|| {
                Failure::definite(
                    format!("table {}.{}: a key that was read cannot be asked for again", job.schema, job.table),
                    "leave the table out of `tables`, or begin with `start = \"now\"`",
                )
            })
        });
        let last = last.transpose()?;
        let is_last = !is_cut && rows < limit as u64;
        if let Some(per_row) = (data.len() as u64).checked_div(rows) {
            self.limit = rows_of(per_row);
        }
        match self.board.has_read(job, rows, last.as_ref(), is_last) {
            HasRead::Noted => {}
            HasRead::TooFar => return Ok(Page::Again),
            HasRead::Gone => return Ok(Page::Over),
        }
        let (read, range, board) = (job.read, job.range, Arc::clone(&self.board));
        Ok(Page::Chunk(Box::new(Chunk {
            read,
            range,
            table,
            described,
            stand,
            server,
            high,
            data,
            rows,
            last,
            is_last,
            read_us,
            board,
        })))
    }

    /// Asks for the key that has `rows` rows of a range in front of it, and divides the range there.
    async fn divide(&mut self, job: &Job, table: &TablePlan, range: &Range, rows: u64) -> Result<Page, Failure> {
        let Some(session) = &mut self.session else { return Ok(Page::Over) };
        let mut sent = SentRows::default();
        // A table that is altered is for its reader to describe anew.
        if let Err(failure) = session.select(&table.select_ahead(range, rows), CHUNK_BYTES_MAX, &mut sent).await {
            return if std::mem::take(&mut session.is_altered) { Ok(Page::Over) } else { Err(failure) };
        }
        let at = last_row(&sent.data, sent.rows).and_then(|row| table.key_ahead(row));
        self.board.divide_at(job, at);
        // The server has walked through them.
        tokio::time::sleep(self.board.throttle.rest(rows)).await;
        Ok(Page::Over)
    }

    /// The table as it is. `None`: it is no longer there.
    async fn describe(&mut self, job: &Job) -> Result<Option<Arc<TablePlan>>, Failure> {
        if let Some((read, described, table)) = &self.table
            && *read == job.read
            && *described >= job.altered
        {
            return Ok(Some(Arc::clone(table)));
        }
        // DDL that the stream has after this makes the description void.
        let described = self.stand.borrow().stamp;
        let Some(info) = self.server.table(&job.schema, &job.table).await? else { return Ok(None) };
        let Some(session) = &mut self.session else { return Ok(None) };
        session.sees_all_columns(&job.schema, &job.table).await?;
        let sql = format!(
            "SELECT TABLE_ROWS, AVG_ROW_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            crate::source::mysql::literal(&job.schema),
            crate::source::mysql::literal(&job.table)
        );
        let rows = session.query(&sql).await?;
        let number = |at: usize| rows.first().and_then(|row| row.at(at)?.parse::<u64>().ok());
        let (estimate, per_row) = (number(0).unwrap_or(0), number(1).unwrap_or(0));
        self.board.set_estimate(job, estimate);
        let table = TablePlan::new(&info, &job.schema, &job.table, estimate).map_err(|column| {
            Failure::definite(
                format!("table {}.{}: the type of column `{column}` is not known", job.schema, job.table),
                "leave the table out of `tables`",
            )
        })?;
        // Dividing is for large tables.
        if let Some(bounds) = table.bounds().filter(|_| estimate > self.board.pace.chunk_rows as u64) {
            let rows = session.query(&bounds).await?;
            let number = |at: usize| rows.first().and_then(|row| row.at(at)?.parse().ok());
            if let (Some(low), Some(high)) = (number(0), number(1)) {
                self.board.set_bounds(job, low, high);
            }
        }
        let table = Arc::new(table);
        self.limit = rows_of(per_row);
        self.table = Some((job.read, described, Arc::clone(&table)));
        Ok(Some(table))
    }
}

/// Rows of a page, if each has so many bytes: what does not fit into a chunk is sent in vain.
fn rows_of(per_row: u64) -> usize {
    (CHUNK_BYTES_MAX as u64 / 2 / per_row.max(1)).max(1) as usize
}

/// The last of `rows` rows, each of which has its length in front.
fn last_row(data: &[u8], rows: u64) -> Option<&[u8]> {
    let (mut at, mut last) = (0, None);
    for _ in 0..rows {
        let len = u32::from_le_bytes(*data.get(at..)?.first_chunk()?) as usize;
        last = data.get(at + 4..at + 4 + len);
        at += 4 + len;
    }
    last
}
