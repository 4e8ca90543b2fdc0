//! A session that reads rows of tables: prepared statements, whose rows stay in the buffer as they arrive, and where the server stands.
//!
//! Text comes in the character set of its column, times in UTC, so that values are those of the binlog. Format: MySQL internals,
//! "Prepared Statements", binary protocol result set.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::connect::{Connection, PACKET_MAX, Rows};
use super::server::{Server, Settings, literal};
use crate::manifest::pattern::Patterns;
use crate::position::{GtidSet, Position};
use crate::source::Failure;
use crate::source::gtid_event::lenenc;

const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_CLOSE: u8 = 0x19;
/// The buffer grows by so much.
const READ_BYTES: usize = 256 * 1024;
/// Between two looks at a server that has not yet made visible what it has logged.
const VISIBLE_LOOK: Duration = Duration::from_millis(1);
/// How long a moment without commits is waited for.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(60);
/// For the next bytes of an answer: a server that sorts or waits for locks sends nothing.
const ROWS_TIMEOUT: Duration = Duration::from_secs(300);
/// Length of a row in front of it.
pub(crate) const ROW_HEADER: usize = 4;

pub(crate) struct ReadSession {
    /// Index of its host.
    host: usize,
    connection: Connection,
    settings: Settings,
    /// See [`super::server::Signal::sql`].
    signal: Option<Arc<str>>,
    /// The last error says that the table is not what it was described as.
    pub is_altered: bool,
}

/// No such schema or table, unknown column, definition changed since the snapshot.
const ALTERED: [u16; 5] = [1049, 1051, 1054, 1146, 1412];

/// How a column of an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Fixed(u8),
    /// A length of one byte, then fields of a date or time.
    Temporal,
    /// A length-encoded string.
    String,
}

/// Rows as they were sent: each has its length, 4 bytes little-endian, in front of it.
#[derive(Debug, Default)]
pub(crate) struct SentRows {
    pub wires: Vec<Wire>,
    pub data: Vec<u8>,
    pub rows: u64,
    /// There were more than fit: the rest was thrown away.
    pub is_cut: bool,
}

/// What a statement sees, in terms of the binlog.
pub(crate) enum View {
    /// A snapshot transaction is open, and sees exactly what is logged before the position (MariaDB).
    Exactly(Arc<str>, u64),
    /// Everything that the stream has passed.
    AtLeast,
    /// Nothing is known before it reads; reading with locks waits for what is logged but not visible (MySQL without GTIDs).
    Locking,
}

impl Server {
    pub(crate) async fn read_session(&self) -> Result<ReadSession, Failure> {
        let settings = self.settings().await?;
        let host = self.current();
        let mut connection = self.connection().await?;
        // A lane that is full makes rows of a table without a key wait.
        let session = "SET SESSION time_zone = '+00:00', sql_mode = '', character_set_results = NULL, net_write_timeout = 86400, \
                       wait_timeout = 86400";
        connection.query(session).await?;
        // A consistent snapshot wants REPEATABLE READ; locks of rows are to be held no longer than needed.
        let isolation = if settings.mariadb { "REPEATABLE READ" } else { "READ COMMITTED" };
        connection.query(&format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}")).await?;
        Ok(ReadSession {
            host,
            connection,
            settings,
            signal: self.signal.as_ref().map(|signal| Arc::clone(&signal.sql)),
            is_altered: false,
        })
    }
}

impl Server {
    /// The followed tables, with the rows that the server thinks they have.
    pub(crate) async fn tables_with_rows(&self, tables: &Patterns) -> Result<Vec<(String, String, u64)>, Failure> {
        let rows = self.query("SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS FROM information_schema.TABLES").await?;
        let estimate =
            |row: super::connect::Row<'_>| Some(((row.at(0)?.to_owned(), row.at(1)?.to_owned()), row.at(2)?.parse().ok()?));
        let estimates: HashMap<(String, String), u64> = rows.iter().filter_map(estimate).collect();
        let with_rows = |(schema, table): (String, String)| {
            let name = (schema, table);
            let rows = estimates.get(&name).copied().unwrap_or(0);
            (name.0, name.1, rows)
        };
        Ok(self.tables(tables).await?.into_iter().map(with_rows).collect())
    }

    /// As [`ReadSession::threads_running`].
    pub(crate) async fn threads_running(&self) -> Result<u64, Failure> {
        let rows = self.query(THREADS_RUNNING).await?;
        threads_running(&rows).ok_or_else(|| Failure::transient("the server does not say how many threads run"))
    }

    /// Whether the server takes a condition for the rows of a table.
    pub(crate) async fn try_filter(&self, schema: &str, table: &str, filter: &str) -> Result<(), Failure> {
        let name = format!("{}.{}", quoted(schema), quoted(table));
        // The line break ends a comment in the filter.
        match self.query(&format!("SELECT 1 FROM {name} WHERE ({filter}\n) LIMIT 0")).await {
            Err(Failure::Definite(error)) => Err(Failure::definite(error.problem, "mend `--where`: what may stand behind WHERE")),
            done => done.map(|_| ()),
        }
    }
}

const THREADS_RUNNING: &str = "SHOW GLOBAL STATUS LIKE 'Threads_running'";

fn threads_running(rows: &Rows) -> Option<u64> {
    rows.first()?.at(1)?.parse().ok()
}

pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl ReadSession {
    /// True if it is with the host that the stream is read from.
    pub(crate) fn is_current(&self, server: &Server) -> bool {
        self.host == server.current()
    }

    /// Whose binlog its places are of.
    pub(crate) fn home(&self) -> Arc<str> {
        self.settings.identity()
    }

    pub(crate) fn is_mariadb(&self) -> bool {
        self.settings.mariadb
    }

    /// Makes sure that what is read next has everything that the stream has passed. A server logs a transaction before it makes it
    /// visible, and a stream may be ahead of what can be seen.
    pub(crate) async fn view(&mut self, passed: &Position) -> Result<View, Failure> {
        if self.settings.mariadb {
            loop {
                self.connection.query("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
                let rows = self.connection.query("SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
                let value = |name: &str| {
                    let row = rows.iter().find(|row| row.at(0).is_some_and(|n| n.eq_ignore_ascii_case(name)));
                    row.and_then(|row| row.at(1)).map(str::to_owned)
                };
                let (file, offset) = (value("binlog_snapshot_file"), value("binlog_snapshot_position"));
                let (Some(file), Some(offset)) = (file, offset.and_then(|o| o.parse().ok())) else {
                    return Err(Failure::definite(
                        "the server does not say where in the binlog a snapshot stands",
                        "MariaDB 10.6 is the least",
                    ));
                };
                let at = Position { file: file.as_str().into(), offset, home: None, gtids: None };
                // What was passed at another server is compared by GTID.
                let is_here = passed.home.as_ref().is_none_or(|home| home.server == self.settings.identity());
                let has_passed = match is_here {
                    true => at.covers(&Position { gtids: None, ..passed.clone() }),
                    false => Some(self.at_snapshot(at.clone()).await?).is_some_and(|at| at.gtids.is_some() && at.covers(passed)),
                };
                if has_passed {
                    return Ok(View::Exactly(at.file, at.offset));
                }
                self.end().await?;
                tokio::time::sleep(VISIBLE_LOOK).await;
            }
        }
        let Some(GtidSet::MySql(_)) = passed.gtids.as_ref().filter(|_| self.settings.has_gtids()) else {
            let Some(signal) = self.signal.as_ref().filter(|_| self.settings.orders_commits()) else {
                return Ok(View::Locking);
            };
            // Engines commit in the order of the binlog: once this is committed, everything that was logged before it is visible.
            self.connection.query(signal).await?;
            return Ok(View::AtLeast);
        };
        let sql = format!("SELECT GTID_SUBSET('{}', @@GLOBAL.gtid_executed)", passed.gtids.as_ref().expect("seen above"));
        loop {
            let rows = self.connection.query(&sql).await?;
            if rows.first().and_then(|row| row.at(0)) == Some("1") {
                return Ok(View::AtLeast);
            }
            tokio::time::sleep(VISIBLE_LOOK).await;
        }
    }

    /// A place in the binlog of MariaDB with the GTIDs before it.
    async fn at_snapshot(&mut self, at: Position) -> Result<Position, Failure> {
        let gtids = self.connection.query(&format!("SELECT BINLOG_GTID_POS({}, {})", literal(&at.file), at.offset)).await?;
        Ok(Position { gtids: gtids.first().and_then(|row| GtidSet::parse(row.at(0)?).ok()), ..at })
    }

    /// Ends the snapshot transaction.
    pub(crate) async fn end(&mut self) -> Result<(), Failure> {
        self.connection.query("COMMIT").await.map(|_| ())
    }

    /// The end of the binlog: everything visible is logged before it. `at`: where that is known already.
    pub(crate) async fn logged(&mut self, at: Option<(Arc<str>, u64)>) -> Result<Position, Failure> {
        if let Some((file, offset)) = at {
            let rows = self.connection.query("SELECT @@GLOBAL.gtid_binlog_pos").await?;
            let gtids = rows.first().and_then(|row| GtidSet::parse(row.at(0)?).ok());
            return Ok(Position { file, offset, gtids, home: None });
        }
        let modern = !self.settings.mariadb && self.settings.version_number() >= 8_002;
        let rows = self.connection.query(if modern { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }).await?;
        let has_gtids = self.settings.has_gtids();
        let place = rows.first().and_then(|row| {
            let gtids = row.get("Executed_Gtid_Set").filter(|_| has_gtids).and_then(|set| GtidSet::parse(set).ok());
            Some(Position { file: row.at(0)?.into(), offset: row.at(1)?.parse().ok()?, gtids, home: None })
        });
        place.ok_or_else(|| Failure::definite("the server writes no binlog", "switch `log_bin` on"))
    }

    pub(crate) async fn query(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.connection.query(sql).await
    }

    /// How many threads run at the server, this one among them.
    pub(crate) async fn threads_running(&mut self) -> Result<u64, Failure> {
        let rows = self.connection.query(THREADS_RUNNING).await?;
        threads_running(&rows).ok_or_else(|| self.connection.malformed())
    }

    /// Opens a snapshot transaction that sees exactly what is before the position that is returned, and everything that the stream has
    /// `passed`. Nothing is locked: it is tried until no transaction is on its way.
    pub(crate) async fn view_exactly(&mut self, passed: &Position) -> Result<Position, Failure> {
        let give_up = tokio::time::Instant::now() + QUIET_WAIT_MAX;
        if self.settings.mariadb {
            let begin = Position { file: "".into(), offset: 0, gtids: None, home: None };
            while tokio::time::Instant::now() < give_up {
                let View::Exactly(file, offset) = self.view(&begin).await? else { return Err(self.connection.malformed()) };
                let position = self.at_snapshot(Position { file, offset, gtids: None, home: None }).await?;
                if position.covers(passed) {
                    return Ok(position);
                }
                self.end().await?;
                tokio::time::sleep(VISIBLE_LOOK).await;
            }
            return Err(Failure::transient("what the stream has passed cannot be seen in tables"));
        }
        if !self.settings.has_gtids() {
            return Err(Failure::definite(
                "a table without a key can be read only where every transaction has a GTID (gtid_mode is not ON)",
                "switch gtid_mode to ON, give the table a key, leave it out of `tables`, or begin with start = \"now\"",
            ));
        }
        self.connection.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        while tokio::time::Instant::now() < give_up {
            let before = self.executed().await?;
            // What is logged and not yet visible owns its GTID.
            let owned = self.connection.query("SELECT @@GLOBAL.gtid_owned").await?;
            let is_quiet = owned.first().is_some_and(|row| row.at(0) == Some(""));
            self.connection.query("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
            if is_quiet && before.covers(passed) && self.executed().await? == before {
                return Ok(before);
            }
            self.end().await?;
        }
        Err(Failure::definite(
            "a table without a key is read at a moment in which nothing is committed, and there was none in 60 s",
            "start again when less is written, give the table a key, or leave it out of `tables`",
        ))
    }

    async fn executed(&mut self) -> Result<Position, Failure> {
        let modern = self.settings.version_number() >= 8_002;
        let rows = self.connection.query(if modern { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }).await?;
        let position = rows.first().and_then(|row| {
            let gtids = GtidSet::parse(row.get("Executed_Gtid_Set")?).ok()?;
            Some(Position { file: row.at(0)?.into(), offset: row.at(1)?.parse().ok()?, gtids: Some(gtids), home: None })
        });
        position.ok_or_else(|| self.connection.malformed())
    }

    /// Runs a SELECT. Rows beyond `bytes_max` are thrown away; the first one is always kept.
    pub(crate) async fn select(&mut self, sql: &str, bytes_max: usize, out: &mut SentRows) -> Result<(), Failure> {
        let statement = self.begin(sql, out).await?;
        self.rows(bytes_max, false, out).await?;
        let mut close = vec![COM_STMT_CLOSE];
        close.extend_from_slice(&statement);
        self.connection.command(&close).await
    }

    /// An error where the account may not read the whole table: of single columns that it may read, information_schema shows no others.
    pub(crate) async fn sees_all_columns(&mut self, schema: &str, table: &str) -> Result<(), Failure> {
        let sql = format!("SELECT * FROM {}.{} LIMIT 0", quoted(schema), quoted(table));
        match self.select(&sql, 0, &mut SentRows::default()).await {
            // Whoever reads it will see.
            Err(_) if std::mem::take(&mut self.is_altered) => Ok(()),
            done => done,
        }
    }

    /// Begins a SELECT whose rows come with [`ReadSession::more`].
    pub(crate) async fn begin_select(&mut self, sql: &str, out: &mut SentRows) -> Result<(), Failure> {
        self.begin(sql, out).await.map(|_| ())
    }

    /// The next rows, some `bytes`. False: these are the last.
    pub(crate) async fn more(&mut self, bytes: usize, out: &mut SentRows) -> Result<bool, Failure> {
        self.rows(bytes, true, out).await
    }

    async fn begin(&mut self, sql: &str, out: &mut SentRows) -> Result<[u8; 4], Failure> {
        let mut payload = vec![COM_STMT_PREPARE];
        payload.extend_from_slice(sql.as_bytes());
        self.connection.command(&payload).await?;
        let prepared = self.answer().await?;
        let head: [u8; 9] =
            prepared.first_chunk().copied().filter(|head| head[0] == 0).ok_or_else(|| self.connection.malformed())?;
        let statement = [head[1], head[2], head[3], head[4]];
        let columns = u16::from_le_bytes([head[5], head[6]]);
        if columns > 0 {
            for _ in 0..=columns {
                self.answer().await?;
            }
        }
        let mut execute = vec![COM_STMT_EXECUTE];
        execute.extend_from_slice(&statement);
        execute.extend_from_slice(&[0, 1, 0, 0, 0]);
        self.connection.command(&execute).await?;
        let head = self.answer().await?;
        let columns = lenenc(&head).ok_or_else(|| self.connection.malformed())?.0;
        out.wires.clear();
        for _ in 0..columns {
            let definition = self.answer().await?;
            let wire = wire(&definition).ok_or_else(|| self.connection.malformed())?;
            out.wires.push(wire);
        }
        self.answer().await?;
        Ok(statement)
    }

    fn server_error(&mut self, packet: &[u8]) -> Failure {
        let code = packet.get(1..3).map_or(0, |code| u16::from_le_bytes([code[0], code[1]]));
        self.is_altered = ALTERED.contains(&code);
        self.connection.server_error(packet)
    }

    async fn answer(&mut self) -> Result<bytes::Bytes, Failure> {
        let packet = timeout(ROWS_TIMEOUT, self.connection.packet()).await;
        let packet = packet.map_err(|_| self.connection.lost(&"no answer within 300 s"))??;
        if packet.first() == Some(&0xff) {
            return Err(self.server_error(&packet));
        }
        Ok(packet)
    }

    /// Reads row packets, in place: up to the end of the answer, or (`leaves`) until there are `bytes_max`. True: there are more.
    async fn rows(&mut self, bytes_max: usize, leaves: bool, out: &mut SentRows) -> Result<bool, Failure> {
        (out.rows, out.is_cut) = (0, false);
        let data = &mut out.data;
        data.clear();
        data.extend_from_slice(&self.connection.buffer);
        self.connection.buffer.clear();
        // Where the packet at hand begins, and the row that it is a part of.
        let (mut at, mut row, mut in_row) = (0, 0, false);
        loop {
            while data.len() < at + ROW_HEADER {
                fill(&mut self.connection, data).await?;
            }
            let len = usize::from(data[at]) | usize::from(data[at + 1]) << 8 | usize::from(data[at + 2]) << 16;
            if data[at + 3] != self.connection.sequence {
                return Err(self.connection.lost(&"packets arrive out of order"));
            }
            self.connection.sequence = self.connection.sequence.wrapping_add(1);
            let end = at + ROW_HEADER + len;
            while data.len() < end {
                fill(&mut self.connection, data).await?;
            }
            if !in_row {
                match data.get(at + ROW_HEADER) {
                    Some(0xff) => {
                        let packet = data[at + ROW_HEADER..end].to_vec();
                        return Err(self.server_error(&packet));
                    }
                    Some(0xfe) if len < 9 => {
                        data.truncate(at);
                        return Ok(false);
                    }
                    _ => row = at,
                }
                at = end;
            } else {
                // A further part of a row of 16 MiB and more: it moves up to the part before it.
                data.drain(at..at + ROW_HEADER);
                at = end - ROW_HEADER;
            }
            in_row = len == PACKET_MAX;
            if in_row {
                continue;
            }
            if out.is_cut || (!leaves && row > 0 && at > bytes_max) {
                out.is_cut = true;
                data.drain(row..at);
                at = row;
                continue;
            }
            let whole = u32::try_from(at - row - ROW_HEADER).map_err(|_| self.connection.malformed())?;
            data[row..row + ROW_HEADER].copy_from_slice(&whole.to_le_bytes());
            out.rows += 1;
            if leaves && at > bytes_max {
                self.connection.buffer.extend_from_slice(&data[at..]);
                data.truncate(at);
                return Ok(true);
            }
        }
    }
}

async fn fill(connection: &mut Connection, data: &mut Vec<u8>) -> Result<(), Failure> {
    if data.capacity() - data.len() < READ_BYTES / 4 {
        data.reserve(READ_BYTES);
    }
    match timeout(ROWS_TIMEOUT, connection.stream.read_buf(data)).await {
        Ok(Ok(0)) => Err(connection.lost(&"closed by the server")),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(connection.lost(&e)),
        Err(_) => Err(connection.lost(&"no answer within 300 s")),
    }
}

/// From a column definition: six strings, a length, character set 2, length 4, type 1.
fn wire(definition: &[u8]) -> Option<Wire> {
    let mut rest = definition;
    for _ in 0..6 {
        let (len, tail) = lenenc(rest)?;
        rest = tail.get(usize::try_from(len).ok()?..)?;
    }
    Some(match rest.get(7)? {
        1 => Wire::Fixed(1),
        2 | 13 => Wire::Fixed(2),
        3 | 4 | 9 => Wire::Fixed(4),
        5 | 8 => Wire::Fixed(8),
        7 | 10..=12 => Wire::Temporal,
        _ => Wire::String,
    })
}
