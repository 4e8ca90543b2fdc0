//! Frames: from the bytes of a binlog, on the wire or in a file, to [`Segment`]s of plain events.
//!
//! The first step of a source. It verifies and cuts checksums, opens compressed transactions and MariaDB's compressed events, and
//! tells where transactions begin and end. It has no I/O and no clock; the readers (`files`, `mysql::dump`) feed it event by event.
//!
//! Invariants: plain events stay where they were read (a segment's bytes are the read buffer), only what was compressed is copied;
//! a segment's events are of one file; positions are 64 bits although headers carry 32, by counting over each 4 GiB.
//!
//! Formats: MySQL internals, "Binlog Event"; `libs/mysql/binlog/event/*.h`; MariaDB `sql/log_event.h`.

use std::sync::Arc;

use bytes::Bytes;

use super::gtid_event::{self, TransactionHead};
use super::inflate::{self, Payload};
use super::{Boundary, Framed, Segment, TransactionBegin};
use crate::position::{Gtid, GtidSet, Home, Position, file_number};

mod fault;
mod resume;

pub(crate) use fault::ENCRYPTED_HINT;
pub use fault::{Fault, FrameError};
pub(crate) use resume::Resume;

/// A segment is closed when it has about this many bytes.
pub(crate) const SEGMENT_BYTES: usize = 256 * 1024;
/// The largest event that can be, by the four bytes of its length. A server sends no more than 1 GiB at once, but what is compressed in it
/// may be larger.
pub(crate) const EVENT_BYTES_MAX: usize = u32::MAX as usize;
/// Bytes that are copied once more rather than kept in a buffer of [`SEGMENT_BYTES`].
const SMALL: usize = SEGMENT_BYTES / 2;
pub(crate) const HEADER: usize = 19;
const CHECKSUM: usize = 4;
const ARTIFICIAL: u16 = 0x20;

/// Event type codes (`mysql::binlog::event::Log_event_type`; MariaDB's from 160 on).
pub(crate) mod kind {
    pub const QUERY: u8 = 2;
    pub const ROTATE: u8 = 4;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const INCIDENT: u8 = 26;
    pub const HEARTBEAT: u8 = 27;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const PREVIOUS_GTIDS: u8 = 35;
    pub const XA_PREPARE: u8 = 38;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const HEARTBEAT_V2: u8 = 41;
    pub const GTID_TAGGED: u8 = 42;
    pub const MARIADB_GTID: u8 = 162;
    pub const MARIADB_GTID_LIST: u8 = 163;
    pub const MARIADB_START_ENCRYPTION: u8 = 164;
    pub const MARIADB_QUERY_COMPRESSED: u8 = 165;
    pub const MARIADB_ROWS_COMPRESSED_FIRST: u8 = 166;
    pub const MARIADB_ROWS_COMPRESSED_LAST: u8 = 171;
}

/// A segment, and where reading would go on if it were lost.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub segment: Arc<Segment>,
    pub before: Arc<Resume>,
}

/// Where events stand in their file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offsets {
    /// Counted from the bytes read: files.
    Counted,
    /// By the headers, low 32 bits: the wire, where a server leaves out what it skips.
    FromHeader,
}

/// What an event asked of its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Plain,
    /// Nothing new on the server.
    Heartbeat,
    /// What follows is of this file, from this offset on.
    Rotated,
}

/// Events of one file that wait to become a segment.
#[derive(Debug)]
struct Piece {
    file: Arc<str>,
    home: Option<Arc<Home>>,
    before: Arc<Resume>,
    events: Vec<Framed>,
    transactions: Vec<TransactionBegin>,
    learned: Option<GtidSet>,
    /// The bytes, if they are not the read buffer's.
    copied: Option<Bytes>,
}

/// The decoder of the last compressed transaction.
#[derive(Default)]
struct Spare(Option<zstd::stream::raw::Decoder<'static>>);

impl std::fmt::Debug for Spare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Spare").field(&self.0.is_some()).finish()
    }
}

/// The state of one reading. After an error it is of no use.
#[derive(Debug)]
pub(crate) struct Framer {
    offsets: Offsets,
    checksum: bool,
    file: Arc<str>,
    /// Whose file it is, on the wire.
    home: Option<Arc<Home>>,
    /// Where the next event begins.
    offset: u64,
    resume: Resume,
    /// The open transaction began in the QUERY or GTID sense that only COMMIT, XID and the like end it.
    explicit: bool,
    /// The transaction that must begin again first.
    again: Option<TransactionBegin>,
    closed: Vec<Piece>,
    events: Vec<Framed>,
    transactions: Vec<TransactionBegin>,
    before: Option<Arc<Resume>>,
    /// Events are being copied, because one since the last [`Framer::take`] was compressed.
    copying: bool,
    copy: Vec<u8>,
    payload: Option<Payload>,
    spare: Spare,
    segments: u64,
    /// Takes over the executed transactions that a file says came before it, where they are not known.
    learns_gtids: bool,
    /// Files up to this number may hold transactions that have no GTIDs.
    anonymous_until: u64,
    /// That none came before it is known, too: the source has GTIDs.
    learns_none: bool,
    /// The event at hand has told them.
    learned: Option<GtidSet>,
}

impl Framer {
    pub(crate) fn new(resume: Resume, offsets: Offsets, checksum: bool) -> Framer {
        Framer {
            offsets,
            checksum,
            file: resume.position.file.clone(),
            home: None,
            offset: resume.position.offset,
            again: resume.open,
            resume: Resume::at(resume.position),
            explicit: false,
            closed: Vec::new(),
            events: Vec::new(),
            transactions: Vec::new(),
            before: None,
            copying: false,
            copy: Vec::new(),
            payload: None,
            spare: Spare::default(),
            segments: 0,
            learns_gtids: false,
            anonymous_until: 0,
            learns_none: false,
            learned: None,
        }
    }

    /// Begins another reading of the same stream, from `server`, after the last boundary. Take what is framed before.
    pub(crate) fn reconnect(&mut self, checksum: bool, server: &Arc<str>) {
        self.close();
        let known = self.resume.position.home.clone().filter(|home| home.server == *server);
        self.home = Some(known.unwrap_or_else(|| Arc::new(Home { server: Arc::clone(server), began: None })));
        self.payload = None;
        self.checksum = checksum;
        self.again = self.resume.open.take().or(self.again.take());
        self.file = self.resume.position.file.clone();
        self.offset = self.resume.position.offset;
        self.explicit = false;
    }

    /// Of files of which it is not known whether they hold transactions without GTIDs.
    pub(crate) fn learn_gtids(&mut self) {
        self.learns_gtids = true;
    }

    /// From files after the number `anonymous_until`; one before which nothing was executed says so.
    pub(crate) fn learn_all_gtids(&mut self, anonymous_until: u64) {
        (self.learns_gtids, self.learns_none, self.anonymous_until) = (true, true, anonymous_until);
    }

    /// The transaction that has to begin again, after [`Framer::reconnect`].
    pub(crate) fn open_gtid(&self) -> Option<&Gtid> {
        self.again.as_ref()?.gtid.as_ref()
    }

    /// The last transaction boundary.
    pub(crate) fn position(&self) -> &Position {
        &self.resume.position
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.resume.open.is_some()
    }

    /// The file ends here; the next one begins (a reader of files calls this, a server says it by ROTATE).
    pub(crate) fn next_file(&mut self, file: &str, offset: u64) -> Result<(), FrameError> {
        if let Some(open) = &self.resume.open {
            return Err(self.error(self.offset, Fault::Unended(open.offset)));
        }
        self.rotate(file, offset);
        self.checksum = false;
        Ok(())
    }

    pub(crate) fn error(&self, offset: u64, fault: Fault) -> FrameError {
        FrameError { file: self.file.clone(), offset, fault }
    }

    pub(crate) fn error_here(&self, fault: Fault) -> FrameError {
        self.error(self.offset, fault)
    }

    /// Takes the event at `data[start..start + len]`, checksum and all. A compressed transaction goes to [`Framer::payload`].
    pub(crate) fn event(&mut self, data: &[u8], start: usize, len: usize) -> Result<Step, FrameError> {
        let raw = start.checked_add(len).and_then(|end| data.get(start..end));
        let raw = raw.filter(|r| r.len() >= HEADER).ok_or_else(|| self.error_here(Fault::Truncated))?;
        let code = raw[4];
        let event = self.checked(raw, code)?;
        let (offset, next) = self.place(raw)?;
        match code {
            kind::HEARTBEAT => return Ok(Step::Heartbeat),
            kind::HEARTBEAT_V2 => {
                if let Some((file, position)) = gtid_event::heartbeat_v2(&event[HEADER..])
                    && *file == *self.file
                    && position > self.offset
                {
                    self.offset = position;
                    if self.resume.open.is_none() {
                        self.resume.position.offset = position;
                    }
                }
                return Ok(Step::Heartbeat);
            }
            kind::ROTATE => return self.rotate_event(event, start, offset, next),
            kind::MARIADB_START_ENCRYPTION if self.offsets == Offsets::Counted => {
                return Err(self.error(offset, Fault::Encrypted));
            }
            kind::MARIADB_QUERY_COMPRESSED | kind::MARIADB_ROWS_COMPRESSED_FIRST..=kind::MARIADB_ROWS_COMPRESSED_LAST => {
                self.begin_copy();
                let at = self.copy.len();
                inflate::mariadb_event(event, &mut self.copy).map_err(|f| self.error(offset, f))?;
                let copy = std::mem::take(&mut self.copy);
                let done = self.frame(&copy[at..], at, offset, next);
                self.copy = copy;
                done?;
            }
            _ if self.copying => {
                let at = self.copy.len();
                self.copy.extend_from_slice(event);
                self.frame(event, at, offset, next)?;
            }
            _ => self.frame(event, start, offset, next)?,
        }
        self.offset = next;
        if self.learned.is_some() {
            // So that what comes before a segment is always told by the one before it.
            self.close();
        }
        Ok(Step::Plain)
    }

    /// Takes an event that has its bytes to itself.
    pub(crate) fn whole(&mut self, event: Bytes) -> Result<Step, FrameError> {
        self.close();
        let step = self.event(&event, 0, event.len())?;
        if !self.copying {
            self.close_with(Some(event));
        }
        Ok(step)
    }

    /// Takes the FORMAT_DESCRIPTION event of a file that is read from the middle.
    pub(crate) fn describe(&mut self, event: &[u8]) -> Result<(), FrameError> {
        self.format_description(event).map(drop)
    }

    /// Begins a compressed transaction: the whole TRANSACTION_PAYLOAD event. [`Framer::inflate`] follows.
    pub(crate) fn payload(&mut self, event: Bytes) -> Result<(), FrameError> {
        if event.len() < HEADER {
            return Err(self.error_here(Fault::Truncated));
        }
        let len = self.checked(&event, kind::TRANSACTION_PAYLOAD)?.len();
        let (offset, next) = self.place(&event)?;
        let payload = Payload::new(event.slice(HEADER..len), offset, next, &mut self.spare.0).map_err(|f| self.error(offset, f))?;
        self.begin_copy();
        self.payload = Some(payload);
        Ok(())
    }

    /// Opens the next part of a compressed transaction, about a segment of it. False: it is complete. Take the segments in between.
    pub(crate) fn inflate(&mut self) -> Result<bool, FrameError> {
        let Some(mut payload) = self.payload.take() else { return Ok(false) };
        let (offset, next) = (payload.offset, payload.next);
        self.begin_copy();
        let mut framed = self.copy.len();
        self.copy.extend_from_slice(&std::mem::take(&mut payload.unframed));
        loop {
            let more = payload.read(&mut self.copy).map_err(|f| self.error(offset, f))?;
            let copy = std::mem::take(&mut self.copy);
            let done = self.frame_inner(&copy, &mut framed, offset, next);
            self.copy = copy;
            done?;
            if !more {
                if framed < self.copy.len() {
                    return Err(self.error(offset, Fault::Truncated));
                }
                if self.resume.open.is_some() {
                    return Err(self.error(offset, Fault::Malformed("a compressed transaction has no end")));
                }
                self.offset = next;
                self.spare.0 = payload.into_spare().or(self.spare.0.take());
                return Ok(false);
            }
            if framed >= SEGMENT_BYTES {
                payload.unframed = self.copy[framed..].to_vec();
                self.copy.truncate(framed);
                self.close();
                self.payload = Some(payload);
                return Ok(true);
            }
        }
    }

    /// True if so much is framed that a segment should be cut.
    pub(crate) fn copied_enough(&self) -> bool {
        let closed = self.closed.iter().filter_map(|piece| piece.copied.as_ref()).map(Bytes::len).sum::<usize>();
        self.copy.len() + closed >= SEGMENT_BYTES
    }

    /// Makes segments of what has been framed. `data` is the buffer that [`Framer::event`] was given.
    pub(crate) fn take(&mut self, data: &Bytes, out: &mut Vec<Entry>) {
        self.close();
        for piece in self.closed.drain(..) {
            let segment = Segment {
                file: piece.file,
                home: piece.home,
                data: piece.copied.unwrap_or_else(|| data.clone()),
                events: piece.events,
                transactions: piece.transactions,
                learned: piece.learned,
                index: self.segments,
            };
            self.segments += 1;
            out.push(Entry { segment: Arc::new(segment), before: piece.before });
        }
    }

    /// True if [`Framer::take`] would give something.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty() || !self.closed.is_empty()
    }

    fn frame_inner(&mut self, copy: &[u8], framed: &mut usize, offset: u64, next: u64) -> Result<(), FrameError> {
        while let Some(header) = copy.get(*framed..*framed + HEADER) {
            let len = u32_at(header, 9) as usize;
            if len < HEADER {
                return Err(self.error(offset, Fault::Malformed("an event of a compressed transaction is shorter than its header")));
            }
            if matches!(header[4], kind::TRANSACTION_PAYLOAD | kind::MARIADB_QUERY_COMPRESSED..=kind::MARIADB_ROWS_COMPRESSED_LAST)
            {
                return Err(self.error(offset, Fault::Malformed("a compressed event stands inside of a compressed transaction")));
            }
            let Some(event) = copy.get(*framed..*framed + len) else { break };
            self.frame(event, *framed, offset, next)?;
            *framed += len;
        }
        Ok(())
    }

    /// Verifies and cuts the checksum.
    fn checked<'a>(&mut self, raw: &'a [u8], code: u8) -> Result<&'a [u8], FrameError> {
        if code == kind::FORMAT_DESCRIPTION {
            return self.format_description(raw);
        }
        if !self.checksum {
            return Ok(raw);
        }
        let Some(body) = raw.len().checked_sub(CHECKSUM).filter(|n| *n >= HEADER) else {
            return Err(self.error_here(Fault::Truncated));
        };
        let (event, stored) = raw.split_at(body);
        let (found, computed) = (u32_at(stored, 0), crc32fast::hash(event));
        if found != computed {
            return Err(self.error_here(Fault::Checksum { found, computed }));
        }
        Ok(event)
    }

    /// FORMAT_DESCRIPTION says how the events after it are checked, and always has room for a checksum itself.
    fn format_description<'a>(&mut self, raw: &'a [u8]) -> Result<&'a [u8], FrameError> {
        // binlog version 2, server version 50, created 4, header length 1, post-header lengths, algorithm 1, checksum 4.
        const FIXED: usize = HEADER + 57;
        if raw.len() < FIXED + 27 + 1 + CHECKSUM {
            return Err(self.error_here(Fault::Malformed("the file is of a server before MySQL 5.6 or MariaDB 5.3")));
        }
        if raw[HEADER..HEADER + 2] != [4, 0] || raw[FIXED - 1] as usize != HEADER {
            return Err(self.error_here(Fault::Malformed("the file is not of binlog version 4")));
        }
        self.began(u32_at(raw, 0))?;
        let (event, stored) = raw.split_at(raw.len() - CHECKSUM);
        match event[event.len() - 1] {
            0 | 255 => self.checksum = false,
            1 => {
                // The flag "in use" (1) is set in an open file after the checksum was computed.
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(&event[..17]);
                hasher.update(&[event[17] & !1]);
                hasher.update(&event[18..]);
                let (found, computed) = (u32_at(stored, 0), hasher.finalize());
                if found != computed {
                    return Err(self.error_here(Fault::Checksum { found, computed }));
                }
                self.checksum = true;
            }
            other => return Err(self.error_here(Fault::ChecksumAlgorithm(other))),
        }
        Ok(event)
    }

    /// The server's file at hand began at this time.
    fn began(&mut self, time: u32) -> Result<(), FrameError> {
        let Some(home) = &self.home else { return Ok(()) };
        match home.began {
            Some(known) if known != time => return Err(self.error_here(Fault::OtherFile)),
            Some(_) => {}
            None => self.home = Some(Arc::new(Home { server: Arc::clone(&home.server), began: Some(time) })),
        }
        Ok(())
    }

    /// Where an event begins and where the next one does.
    fn place(&self, raw: &[u8]) -> Result<(u64, u64), FrameError> {
        let len = raw.len() as u64;
        let (stored, low) = (u64::from(u32_at(raw, 9)), u32_at(raw, 13));
        if stored != len {
            return Err(self.error_here(Fault::Malformed("the length in the event's header is not its length")));
        }
        if self.offsets == Offsets::Counted {
            return Ok((self.offset, self.offset + len));
        }
        let code = raw[4];
        let artificial = u16_at(raw, 17) & ARTIFICIAL != 0;
        if artificial || (low == 0 && matches!(code, kind::FORMAT_DESCRIPTION | kind::ROTATE)) {
            return Ok((self.offset, self.offset));
        }
        if low == 0 || code == kind::HEARTBEAT {
            return Ok((self.offset, self.offset + len));
        }
        let next = widen(self.offset + len, low);
        if next - self.offset > u64::from(u32::MAX / 2) {
            if code == kind::FORMAT_DESCRIPTION {
                // The one at the head of a file that is read from the middle.
                return Ok((self.offset, self.offset));
            }
            // Events without a position may have been counted too far (MariaDB's in encrypted files): the header is right.
            if let Some(back) = next.checked_sub(1 << 32).filter(|back| *back >= 4 + len) {
                return Ok((back - len, back));
            }
        }
        Ok((next - len, next))
    }

    fn rotate_event(&mut self, event: &[u8], start: usize, offset: u64, next: u64) -> Result<Step, FrameError> {
        let Some((position, name)) = event[HEADER..].split_first_chunk::<8>() else {
            return Err(self.error(offset, Fault::Malformed("a ROTATE event has no position")));
        };
        let Ok(name) = std::str::from_utf8(name) else {
            return Err(self.error(offset, Fault::Malformed("a ROTATE event has no file name")));
        };
        let name = name.trim_end_matches('\0').rsplit('/').next().unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(self.error(offset, Fault::Malformed("a ROTATE event has no file name")));
        }
        if next > offset {
            if let Some(open) = &self.resume.open {
                return Err(self.error(offset, Fault::Unended(open.offset)));
            }
            if self.copying {
                let at = self.copy.len();
                self.copy.extend_from_slice(event);
                self.frame(event, at, offset, next)?;
            } else {
                self.frame(event, start, offset, next)?;
            }
            self.offset = next;
            if self.offsets == Offsets::Counted {
                // The next file may be called otherwise here; the reader of files says which it is.
                return Ok(Step::Plain);
            }
        }
        self.rotate(&name, u64::from_le_bytes(*position));
        Ok(Step::Rotated)
    }

    fn rotate(&mut self, file: &str, offset: u64) {
        let server = |home: &Option<Arc<Home>>| home.as_ref().map(|home| Arc::clone(&home.server));
        let is_other_server = server(&self.resume.position.home) != server(&self.home);
        if *self.file == *file && self.offset == offset && !is_other_server {
            return;
        }
        self.close();
        if *self.file != *file {
            self.home = server(&self.home).map(|server| Arc::new(Home { server, began: None }));
        }
        self.file = file.into();
        self.offset = offset;
        let position = &mut self.resume.position;
        let is_passed = position.file == self.file && position.offset >= offset && !is_other_server;
        if self.resume.open.is_none() && !is_passed {
            position.file = self.file.clone();
            position.offset = offset;
            position.home.clone_from(&self.home);
        }
    }

    fn begin_copy(&mut self) {
        if !self.copying {
            self.close();
            self.copying = true;
            self.copy.reserve(SEGMENT_BYTES + inflate::STEP);
        }
    }

    /// Ends the piece that is being gathered.
    fn close(&mut self) {
        let copied = self.copying.then(|| match self.copy.len() {
            // A small one leaves the buffer, of which it would keep most for nothing.
            ..SMALL => {
                let copied = Bytes::copy_from_slice(&self.copy);
                self.copy.clear();
                copied
            }
            _ => Bytes::from(std::mem::take(&mut self.copy)),
        });
        self.close_with(copied);
    }

    fn close_with(&mut self, copied: Option<Bytes>) {
        self.copying = false;
        let before = self.before.take();
        if let Some(before) = before
            && !self.events.is_empty()
        {
            let room = (self.events.len(), self.transactions.len());
            self.closed.push(Piece {
                file: self.file.clone(),
                home: self.home.clone(),
                before,
                events: std::mem::replace(&mut self.events, Vec::with_capacity(room.0)),
                transactions: std::mem::replace(&mut self.transactions, Vec::with_capacity(room.1)),
                learned: self.learned.take(),
                copied,
            });
        }
    }

    /// Notes a plain event that begins at `start` of its bytes.
    fn frame(&mut self, event: &[u8], start: usize, offset: u64, next: u64) -> Result<(), FrameError> {
        if self.before.is_none() {
            // A reading that must repeat a transaction resumes at its beginning until it has begun.
            let mut before = self.resume.clone();
            if before.open.is_none() {
                before.open = self.again.clone();
            }
            self.before = Some(Arc::new(before));
        }
        let boundary = self.boundary(event, offset)?;
        let (mut offset, mut next) = (offset, next);
        let passed = self.resume.position.offset;
        if self.resume.open.is_none() && boundary == Boundary::Within && next < passed && *self.file == *self.resume.position.file {
            // The head of a file that is read from the middle: positions never go back.
            (offset, next) = (passed, passed);
        }
        let framed = Framed { start, len: event.len(), offset, next, boundary };
        match boundary {
            Boundary::Begin(_) | Boundary::BeginAgain(_) => {}
            Boundary::Within if self.resume.open.is_some() => {}
            Boundary::Within | Boundary::End => {
                self.resume.boundary(&self.file, self.home.as_ref(), next);
            }
        }
        self.events.push(framed);
        Ok(())
    }

    /// What the event means for the transaction; opens it, but does not close it.
    fn boundary(&mut self, event: &[u8], offset: u64) -> Result<Boundary, FrameError> {
        let open = self.resume.open.is_some();
        Ok(match event[4] {
            code @ (kind::GTID | kind::ANONYMOUS_GTID | kind::GTID_TAGGED | kind::MARIADB_GTID) => {
                let head = gtid_event::parse(code, event).map_err(|what| self.error(offset, Fault::Malformed(what)))?;
                self.begin(head, event, offset)?
            }
            kind::XID | kind::XA_PREPARE => Boundary::End,
            kind::INCIDENT if !self.explicit => Boundary::End,
            kind::QUERY => match gtid_event::query_text(event) {
                None => return Err(self.error(offset, Fault::Malformed("a QUERY event is shorter than it says"))),
                Some(b"BEGIN") if !open => {
                    let head = TransactionHead { gtid: None, commit_time_us: None, explicit: true };
                    self.begin(head, event, offset)?
                }
                Some(b"BEGIN") => {
                    self.explicit = true;
                    Boundary::Within
                }
                Some(b"COMMIT" | b"ROLLBACK") => Boundary::End,
                Some(text) if text.starts_with(b"XA START") => {
                    self.explicit = true;
                    Boundary::Within
                }
                Some(_) if self.explicit => Boundary::Within,
                Some(_) => Boundary::End,
            },
            kind::PREVIOUS_GTIDS | kind::MARIADB_GTID_LIST => {
                let is_new = file_number(&self.file).is_none_or(|number| number > self.anonymous_until);
                if self.learns_gtids && is_new && self.resume.position.gtids.is_none() {
                    let gtids = gtid_event::executed(event[4], &event[HEADER..]);
                    let gtids = gtids.map_err(|what| self.error(offset, Fault::Malformed(what)))?;
                    self.resume.position.gtids = Some(gtids).filter(|g: &GtidSet| self.learns_none || !g.is_empty());
                    self.learned.clone_from(&self.resume.position.gtids);
                }
                Boundary::Within
            }
            _ => Boundary::Within,
        })
    }

    fn begin(&mut self, head: TransactionHead, event: &[u8], offset: u64) -> Result<Boundary, FrameError> {
        if let Some(open) = &self.resume.open {
            return Err(self.error(offset, Fault::Unended(open.offset)));
        }
        self.explicit = head.explicit;
        let begin = TransactionBegin {
            gtid: head.gtid,
            offset,
            commit_time_us: head.commit_time_us.unwrap_or(i64::from(u32_at(event, 0)) * 1_000_000),
        };
        let again = match self.again.take() {
            None => false,
            Some(before) => {
                let same = match (&before.gtid, &begin.gtid) {
                    (Some(a), Some(b)) => a == b,
                    (None, None) => before.offset == begin.offset,
                    (Some(_), None) | (None, Some(_)) => false,
                };
                if !same {
                    return Err(self.error(offset, Fault::Vanished));
                }
                true
            }
        };
        let index = self.transactions.len() as u32;
        self.transactions.push(begin.clone());
        self.resume.open = Some(begin);
        Ok(if again { Boundary::BeginAgain(index) } else { Boundary::Begin(index) })
    }
}

/// The smallest number from `least` on whose low 32 bits are `low`.
fn widen(least: u64, low: u32) -> u64 {
    least + u64::from(low.wrapping_sub(least as u32))
}

pub(crate) fn u16_at(data: &[u8], at: usize) -> u16 {
    data.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

/// Little-endian; 0 beyond the end.
pub(crate) fn u32_at(data: &[u8], at: usize) -> u32 {
    data.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}
