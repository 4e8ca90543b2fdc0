//! The dump: the binlog from a server, as a replica asks for it.
//!
//! Events are framed where the socket's bytes were read; only the part of an event that is not whole yet moves to the next buffer.
//! A segment is handed on as soon as the socket has nothing more, but not one right after the other: under load that would wake the
//! tasks behind it for every packet. A connection that says nothing for 8 s (the server sends a
//! heartbeat every second) is dead; reading then goes on at the last transaction boundary, however long that takes.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connect::{Connection, PACKET_MAX};
use super::errors::FATAL_READING;
use super::fit::{self, Unfit};
use super::request::{dump, dump_gtid, prepare, register};
use super::server::{Failures, Host, LogsLike, SETTINGS, Server, Settings, anonymous_until, replicas_query, settings_of};
use crate::position::{GtidSet, Position};
use crate::source::feed::Produced;
use crate::source::frame::{EVENT_BYTES_MAX, Entry, Fault, FrameError, Framer, Offsets, Resume, SEGMENT_BYTES, Step, kind, u32_at};
use crate::source::gtid_event::encode_set;
use crate::source::{DefiniteError, Failure};

const READ_TIMEOUT: Duration = Duration::from_secs(8);
/// Until the first event: the server may search many files for the position.
const FIRST_TIMEOUT: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The shortest time between two segments that are smaller than [`SEGMENT_BYTES`].
const GATHER: Duration = Duration::from_millis(1);
/// A buffer with less room than this is given up for a new one.
const ROOM_MIN: usize = 32 * 1024;

/// How long a server may lack what was read before that counts as lost: a transaction is sent before it is committed, which may wait for
/// an answer of a semi-synchronous replica (10 s, unless the server says otherwise).
const LACK_TIME_MAX: Duration = Duration::from_secs(15);

/// How long a server may send nothing but heartbeats before it is asked where its binlog ends. One that was reset under the connection
/// (RESET BINARY LOGS AND GTIDS, RESET MASTER) goes on with heartbeats of a file that is not there any more.
const QUIET: Duration = Duration::from_secs(10);

/// One reading of a server; it connects by itself, again and again, to the next of several hosts where one fails.
pub(crate) struct Dump {
    server: Arc<Server>,
    /// Index of the host that is read.
    host: usize,
    slot: u32,
    framer: Framer,
    link: Option<Link>,
    backoff: Duration,
    /// To wait before connecting again.
    pause: Option<Duration>,
    /// Found after what was delivered last.
    fault: Option<Failure>,
    /// Ends where the server's binlog ends.
    ends: bool,
    /// Something was read since the connection was made.
    is_good: bool,
    /// Why the hosts that were tried since then cannot be read.
    failures: Failures,
    /// By host: since when it lacks what was read.
    lacks_since: Vec<Option<Instant>>,
    /// Where a server could not read its binlog on.
    unreadable_at: Option<Position>,
    /// What decides how the server that was read last logs a transaction.
    logs_like: Option<LogsLike>,
}

/// Why reading cannot go on at a host.
enum Stumble {
    Failed(Failure),
    /// The server cannot read its binlog on, or never could; its words alone say why.
    Unreadable(Failure),
    /// The bytes are wrong, and will be so at every try.
    Frame(FrameError),
    /// It will never have what was read, and neither will any other.
    Lost(DefiniteError),
}

impl From<Failure> for Stumble {
    fn from(failure: Failure) -> Stumble {
        Stumble::Failed(failure)
    }
}

impl From<FrameError> for Stumble {
    fn from(error: FrameError) -> Stumble {
        Stumble::Frame(error)
    }
}

/// A connection that dumps.
struct Link {
    connection: Connection,
    /// Framed up to here in the connection's buffer.
    at: usize,
    inflating: bool,
    /// An event that takes several packets.
    large: Option<BytesMut>,
    /// The server has nothing more.
    heartbeat: bool,
    /// The position in the header of the last event, heartbeats among them.
    log_pos: u32,
    timeout: Duration,
    ended: bool,
    /// Before this, the socket is asked for more.
    gather_until: Instant,
    /// Since when nothing has come, or since when it was known why.
    quiet_since: Instant,
    /// The server's binlog ended elsewhere when it was asked last, and nothing has come since.
    is_elsewhere: bool,
}

impl Dump {
    pub(crate) fn new(server: Arc<Server>, resume: Resume, slot: u32) -> Dump {
        Dump {
            host: server.current(),
            lacks_since: vec![None; server.hosts.len()],
            server,
            slot,
            framer: Framer::new(resume, Offsets::FromHeader, false),
            link: None,
            backoff: BACKOFF_MIN,
            pause: None,
            fault: None,
            ends: false,
            is_good: false,
            failures: Failures::default(),
            unreadable_at: None,
            logs_like: None,
        }
    }

    /// Begins at this host.
    pub(super) fn at(mut self, host: usize) -> Dump {
        self.host = host;
        self
    }

    /// Stops at the end of what the server has, with [`Produced::End`].
    pub(crate) fn until_end(mut self) -> Dump {
        self.ends = true;
        self
    }

    /// The last transaction boundary.
    pub(crate) fn position(&self) -> &Position {
        self.framer.position()
    }

    /// The next step. What can mend itself is tried again without end; an error is definite.
    pub(crate) async fn next(&mut self) -> Result<Produced, Failure> {
        if let Some(pause) = self.pause.take() {
            sleep(pause).await;
        }
        loop {
            match self.fault.take() {
                None => {}
                Some(Failure::Definite(error)) => return Err(Failure::Definite(error)),
                Some(Failure::Transient(error)) => {
                    let wait = jittered(self.backoff);
                    self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
                    self.link = None;
                    let (source, wait_ms, position) = (&*self.server.name, wait.as_millis() as u64, self.framer.position());
                    tracing::warn!(source, %position, wait_ms, "{error}; connecting again");
                    self.pause = Some(wait);
                    return Ok(Produced::Away(self.server.places().into()));
                }
            }
            let step = match &mut self.link {
                None => match self.connect().await {
                    Ok(link) => {
                        self.link = Some(link);
                        continue;
                    }
                    Err(failure) => Err(failure),
                },
                Some(link) => link.step(&mut self.framer, self.ends).await,
            };
            let step = match step {
                Ok(Produced::Idle) => self.is_current().await.map(|()| Produced::Idle),
                other => other,
            };
            match step {
                Ok(produced) => {
                    self.backoff = BACKOFF_MIN;
                    self.is_good = true;
                    self.failures = Failures::default();
                    return Ok(produced);
                }
                Err(stumble) => {
                    let cut = self.link.as_mut().filter(|_| self.framer.has_events()).map(|link| link.cut(&mut self.framer));
                    self.fault = self.stumble(stumble).await;
                    if let Some(cut) = cut {
                        return Ok(cut);
                    }
                }
            }
        }
    }

    /// Goes on to the next host. A failure: each of them has failed once.
    async fn stumble(&mut self, stumble: Stumble) -> Option<Failure> {
        let is_lost = std::mem::take(&mut self.is_good);
        self.link = None;
        let place = self.server.place_of(self.host);
        match stumble {
            Stumble::Frame(error) => return Some(error.into()),
            // A connection that was good is tried again at its own host first.
            Stumble::Failed(Failure::Transient(error)) if is_lost => return Some(Failure::Transient(error)),
            // Maybe the files were taken away under it: when it is asked again, once at each position, it is seen why.
            Stumble::Unreadable(Failure::Definite(error))
                if is_lost && self.unreadable_at.as_ref() != Some(self.framer.position()) =>
            {
                self.unreadable_at = Some(self.framer.position().clone());
                return Some(Failure::transient(error.problem));
            }
            Stumble::Unreadable(failure) => {
                let failure = self.explain(failure).await;
                self.failures.push(place, failure);
            }
            Stumble::Failed(failure) => self.failures.push(place, failure),
            Stumble::Lost(error) => self.failures.push_final(place, error),
        }
        // What is searched is a place of one server.
        let hosts = if self.ends { 1 } else { self.server.hosts.len() };
        if hosts > 1 {
            self.host = (self.host + 1) % hosts;
        }
        (self.failures.len() == hosts).then(|| std::mem::take(&mut self.failures).into_one())
    }

    async fn connect(&mut self) -> Result<Link, Stumble> {
        let server = self.server.clone();
        let place = server.place_of(self.host);
        let Host { address, tls } = &server.hosts[self.host];
        let mut connection = Connection::open(address, tls).await?;
        let settings = settings_of(&connection.query(SETTINGS).await?, &connection.query("SELECT VERSION()").await?);
        if let Some((problem, hint)) = settings.refused(server.server_id) {
            return Err(Failure::definite(problem, hint).into());
        }
        self.framer.reconnect(settings.checksum(), &settings.identity());
        if self.slot == 0
            && let Ok(replicas) = connection.query(replicas_query(&settings)).await
            && let Some(other) = server.taken_by(&replicas)
        {
            return Err(server.taken(&other).into());
        }
        let position = self.framer.position().clone();
        let gtids = position.gtids.clone().filter(|_| settings.has_gtids());
        let gtids = gtids.map(|set| server.of_flavour(set, &settings)).transpose()?;
        if settings.has_gtids() && position.gtids.is_none() {
            let until = anonymous_until(&mut connection, &settings, &position.file).await?;
            self.framer.learn_all_gtids(until);
        }
        self.fits(&mut connection, &settings, &place, gtids.as_ref()).await?;
        self.logs_like = Some(LogsLike::of(&settings));
        prepare(&mut connection, &server, &settings, self.slot, gtids.as_ref()).await?;
        let id = server.reading_id(self.slot);
        connection.command(&register(id, &server.reading_host())).await?;
        let answer = connection.packet().await?;
        if answer.first() == Some(&0xff) {
            return Err(connection.server_error(&answer).into());
        }
        let command = match &gtids {
            Some(GtidSet::MySql(set)) => dump_gtid(id, &encode_set(set)),
            Some(GtidSet::MariaDb(_)) => dump(id, 4, "", self.ends),
            None => {
                let offset = u32::try_from(position.offset).map_err(|_| {
                    Failure::definite(
                        format!("{position} is beyond 4 GiB, from where the server cannot send without GTIDs"),
                        "set gtid_mode = ON, or max_binlog_size below 4 GiB and smaller transactions",
                    )
                })?;
                dump(id, offset.max(4), &position.file, self.ends)
            }
        };
        connection.command(&command).await?;
        if server.current() != self.host {
            tracing::warn!(source = &*server.name, "going over from {} to {place}", server.place_of(server.current()));
            server.read_from(self.host);
        }
        if !self.ends {
            let tls = connection.is_tls();
            tracing::info!(source = &*server.name, %position, tls, version = settings.version, "reading the binlog");
        }
        Ok(Link {
            connection,
            at: 0,
            inflating: false,
            large: None,
            heartbeat: false,
            log_pos: 0,
            timeout: FIRST_TIMEOUT,
            ended: false,
            gather_until: Instant::now(),
            quiet_since: Instant::now(),
            is_elsewhere: false,
        })
    }

    /// Whether the file that is read is still the one that the server writes to: asked twice, between which nothing came.
    async fn is_current(&mut self) -> Result<(), Stumble> {
        let Some(link) = self.link.as_mut().filter(|link| link.quiet_since.elapsed() >= QUIET) else { return Ok(()) };
        link.quiet_since = Instant::now();
        // Where it cannot be asked, the connection will say so, too.
        let Ok((file, offset)) = self.server.log_end().await else { return Ok(()) };
        // Events tell the lower half of an offset.
        let is_elsewhere = *file != *self.framer.position().file || offset as u32 != link.log_pos;
        if std::mem::replace(&mut link.is_elsewhere, is_elsewhere) && is_elsewhere {
            let read = self.framer.position();
            return Err(Failure::transient(format!(
                "nothing comes behind {read}, though the server's binlog ends at {file}:{offset}"
            ))
            .into());
        }
        Ok(())
    }

    /// Whether the server can go on where reading stands.
    async fn fits(
        &mut self,
        connection: &mut Connection,
        settings: &Settings,
        place: &str,
        gtids: Option<&GtidSet>,
    ) -> Result<(), Stumble> {
        let (position, open) = (self.framer.position(), self.framer.open_gtid());
        match fit::check(connection, settings, place, position, gtids, open).await {
            Ok(()) => {
                self.lacks_since[self.host] = None;
                self.is_same_file(settings, place, gtids).await?;
            }
            Err(Unfit::Failed(failure)) => return Err(failure.into()),
            Err(Unfit::Behind(behind)) => {
                let since = *self.lacks_since[self.host].get_or_insert_with(Instant::now);
                if behind.is_catching_up || since.elapsed() < LACK_TIME_MAX {
                    return Err(behind.wait(place).into());
                }
                return Err(Stumble::Lost(behind.lost(place)));
            }
        }
        let now = LogsLike::of(settings);
        match (&self.logs_like, open) {
            (Some(before), Some(open)) if before.is_otherwise_than(&now) => Err(Failure::definite(
                format!(
                    "the transaction {open} was read in part from another server, and {place} may log its rows in other events: \
                     binlog_row_event_max_size, binlog_row_image or binlog_row_value_options differ"
                ),
                "set them as at the other server, or let the source lead to that server again",
            )
            .into()),
            _ => Ok(()),
        }
    }

    /// Going by GTID, the server may leave out the file of the position: whether it is the one that was read is seen at its head.
    async fn is_same_file(&self, settings: &Settings, place: &str, gtids: Option<&GtidSet>) -> Result<(), Failure> {
        let position = self.framer.position();
        let Some(home) = position.home.as_ref().filter(|home| gtids.is_some() && home.server == settings.identity()) else {
            return Ok(());
        };
        let Some(began) = home.began else { return Ok(()) };
        match Box::pin(self.server.began_at(self.host, &position.file)).await {
            Ok(time) if time == i64::from(began) => Ok(()),
            Ok(_) => Err(Failure::definite(
                format!("{place}: {}", self.framer.error_here(Fault::OtherFile)),
                self.framer.error_here(Fault::OtherFile).hint(),
            )),
            // It is purged, or cannot be asked for: reading says so itself.
            Err(Failure::Definite(_)) => Ok(()),
            Err(transient) => Err(transient),
        }
    }

    /// Says what is left of the binlog, where the server refused to read it.
    async fn explain(&self, failure: Failure) -> Failure {
        let Failure::Definite(mut error) = failure else { return failure };
        // A server that has switched gtid_mode off is asked by file and offset.
        if error.problem.contains("AUTO_POSITION")
            && let Ok(settings) = self.server.settings().await
            && !settings.has_gtids()
        {
            return Failure::transient(error.problem);
        }
        if self.host != self.server.current() {
            return Failure::Definite(error);
        }
        if let Ok(files) = self.server.files().await {
            error.problem.push_str(&format!("; the first binlog file left is {}", files[0].0));
        }
        if let Ok(purged) = self.server.purged().await
            && !purged.is_empty()
        {
            error.problem.push_str(&format!("; purged are {}", purged.replace('\n', "")));
        }
        error.problem.push_str(&format!("; asked for was what follows {}", self.framer.position()));
        Failure::Definite(error)
    }
}

impl Link {
    async fn step(&mut self, framer: &mut Framer, ends: bool) -> Result<Produced, Stumble> {
        loop {
            if self.inflating {
                self.inflating = framer.inflate()?;
                if framer.copied_enough() {
                    return Ok(self.cut(framer));
                }
                continue;
            }
            self.frame(framer)?;
            if self.inflating {
                continue;
            }
            if self.at >= SEGMENT_BYTES || framer.copied_enough() {
                return Ok(self.cut(framer));
            }
            if self.ended {
                if framer.has_events() {
                    return Ok(self.cut(framer));
                }
                if ends {
                    return Ok(Produced::End);
                }
                return Err(self.connection.lost(&"the server ended it").into());
            }
            if self.make_room(framer) {
                return Ok(self.cut(framer));
            }
            let read = {
                let mut read = pin!(self.connection.stream.read_buf(&mut self.connection.buffer));
                let now = poll_fn(|cx| {
                    Poll::Ready(match read.as_mut().poll(cx) {
                        Poll::Ready(result) => Some(result),
                        Poll::Pending => None,
                    })
                });
                match now.await {
                    Some(result) => Some(result),
                    None if framer.has_events() => timeout_at(self.gather_until, read).await.ok(),
                    None if self.heartbeat => None,
                    None => Some(match timeout(self.timeout, read).await {
                        Ok(result) => result,
                        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no heartbeat")),
                    }),
                }
            };
            match read {
                Some(Ok(0)) => return Err(self.connection.lost(&"closed by the server").into()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.connection.lost(&error).into()),
                None if framer.has_events() => return Ok(self.cut(framer)),
                None => {
                    self.heartbeat = false;
                    return Ok(Produced::Idle);
                }
            }
        }
    }

    /// Frames the packets that are whole.
    fn frame(&mut self, framer: &mut Framer) -> Result<(), Stumble> {
        loop {
            let buffer = &self.connection.buffer;
            let Some(head) = buffer.get(self.at..self.at + 4) else { return Ok(()) };
            let len = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
            if buffer.len() < self.at + 4 + len {
                return Ok(());
            }
            if head[3] != self.connection.sequence {
                return Err(self.connection.lost(&"packets arrive out of order").into());
            }
            self.connection.sequence = self.connection.sequence.wrapping_add(1);
            let start = self.at + 4;
            self.at = start + len;
            if len == PACKET_MAX || self.large.is_some() {
                self.part(framer, start, len)?;
                if self.inflating {
                    return Ok(());
                }
                continue;
            }
            let payload = &buffer[start..start + len];
            match payload.first() {
                Some(0) => {}
                Some(0xff) => return Err(self.refused(payload)),
                Some(0xfe) => {
                    self.ended = true;
                    return Ok(());
                }
                _ => return Err(self.connection.malformed().into()),
            }
            let log_pos = u32_at(payload, 14);
            let stands_still = std::mem::replace(&mut self.log_pos, log_pos) == log_pos;
            if !stands_still {
                (self.quiet_since, self.is_elsewhere) = (Instant::now(), false);
            }
            if payload.get(5) == Some(&kind::TRANSACTION_PAYLOAD) {
                let event = Bytes::copy_from_slice(&payload[1..]);
                framer.payload(event)?;
                self.inflating = true;
                self.timeout = READ_TIMEOUT;
                return Ok(());
            }
            match framer.event(buffer, start + 1, len - 1)? {
                Step::Heartbeat => {
                    // MySQL says in a heartbeat, too, how far it has skipped transactions that were not asked for.
                    self.heartbeat = stands_still;
                    self.timeout = READ_TIMEOUT;
                }
                Step::Rotated => {}
                Step::Plain => {
                    self.heartbeat = false;
                    if framer.in_transaction() {
                        self.timeout = READ_TIMEOUT;
                    }
                }
            }
        }
    }

    /// What an ERR packet in place of an event means.
    fn refused(&self, packet: &[u8]) -> Stumble {
        let failure = self.connection.server_error(packet);
        let is_unreadable = packet.get(1..3) == Some(&FATAL_READING.to_le_bytes());
        if is_unreadable { Stumble::Unreadable(failure) } else { Stumble::Failed(failure) }
    }

    /// Gathers an event of several packets.
    fn part(&mut self, framer: &mut Framer, start: usize, len: usize) -> Result<(), Stumble> {
        let payload = &self.connection.buffer[start..start + len];
        let large = match &mut self.large {
            Some(large) => {
                large.extend_from_slice(payload);
                large
            }
            None => {
                if payload.first() != Some(&0) {
                    return Err(self.connection.malformed().into());
                }
                self.large.insert(BytesMut::from(&payload[1..]))
            }
        };
        if large.len() > EVENT_BYTES_MAX {
            return Err(framer.error_here(Fault::TooLarge).into());
        }
        if len < PACKET_MAX
            && let Some(event) = self.large.take()
        {
            let event = event.freeze();
            self.log_pos = u32_at(&event, 13);
            if event.get(4) == Some(&kind::TRANSACTION_PAYLOAD) {
                framer.payload(event)?;
                self.inflating = true;
            } else {
                framer.whole(event)?;
            }
        }
        Ok(())
    }

    /// Makes room to read into. True: what is framed must be taken first.
    fn make_room(&mut self, framer: &Framer) -> bool {
        let buffer = &mut self.connection.buffer;
        let need = match buffer.get(self.at..self.at + 4) {
            Some(head) => {
                let len = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
                (self.at + 4 + len).saturating_sub(buffer.len())
            }
            None => 0,
        };
        if buffer.capacity() - buffer.len() >= need.max(ROOM_MIN) {
            return false;
        }
        if framer.has_events() {
            return true;
        }
        buffer.advance(self.at);
        self.at = 0;
        buffer.reserve(need.max(SEGMENT_BYTES));
        false
    }

    fn cut(&mut self, framer: &mut Framer) -> Produced {
        let data = self.connection.buffer.split_to(self.at).freeze();
        self.at = 0;
        self.gather_until = Instant::now() + GATHER;
        let mut entries: Vec<Entry> = Vec::new();
        framer.take(&data, &mut entries);
        Produced::Entries(entries)
    }
}

/// Between half of it and all of it, so that many replicas do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 512;
    wait.mul_f64(0.5 + random as f64 / 1024.0)
}
