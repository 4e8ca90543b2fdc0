//! Prepared XA transactions: their row events, kept until the commit or the rollback that may come at any time later.
//!
//! Stands beside the cursor store. A pipeline has a folder `<data_dir>/prepared/PIPELINE` with a file for each transaction, `NUMBER.xa`:
//! its TABLE_MAP and row events as the decoder gets them, behind the length and the CRC-32 of each (4 bytes each, little-endian), then a
//! description ([`Description`], JSON), the description's length and CRC-32, and [`MAGIC`]. A file that is not durable yet is called
//! `NUMBER.part`.
//!
//! Invariants: before a position leaves the reader, as a mark ([`Prepared::sync`]) or as a cursor ([`Prepared::before_cursor`]), all that was
//! prepared before it and decided behind it is durable; a file goes when the cursor has passed the decision. So reading that begins at any
//! cursor or mark finds what was prepared before, and reads again what was prepared behind. `NUMBER.decided` has the boundary behind the
//! decision, so that a file goes even if the process ends between the cursor's move and that. Transactions that are decided soon after they
//! are prepared never touch the disk.
//!
//! Memory: [`BUFFERED_MAX`] of events, one event, and some hundred bytes for each of at most [`UNDECIDED_MAX`] transactions.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::failpoint;
use crate::position::Position;
use crate::source::{Boundary, Framed, Segment};

const MAGIC: &[u8; 8] = b"TideXA\x00\x01";
/// Length 4, CRC-32 4 and [`MAGIC`].
const TAIL: usize = 16;
const DESCRIPTION_BYTES_MAX: usize = 1 << 20;
/// Length and CRC-32 of an event.
const HEAD: usize = 8;
/// Events that are not on the disk, of all transactions together.
const BUFFERED_MAX: usize = 4 << 20;
/// Of one transaction.
const BUFFERED_OF_ONE_MAX: usize = 256 << 10;
/// Read back at once, or one event if that is larger.
const SEGMENT_BYTES: usize = 256 << 10;
const UNDECIDED_MAX: usize = 65_536;

#[derive(Debug, thiserror::Error)]
pub enum PreparedError {
    #[error(
        "{}: prepared XA transactions cannot be kept: {error}\nhint: nothing is lost: the pipeline goes on from its last cursor once the \
         folder can be written (is the disk full?)",
        .path.display()
    )]
    Write { path: PathBuf, error: io::Error },
    #[error(
        "{}: a prepared XA transaction cannot be read back: {reason}\nhint: move the file away; when its XA COMMIT comes, the pipeline \
         stops and says how to go on without its rows",
        .path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "more than {UNDECIDED_MAX} XA transactions are prepared and neither committed nor rolled back\nhint: decide those that `XA RECOVER` \
         lists at the source"
    )]
    TooMany,
}

/// What stands behind the events of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    /// As XA statements in the binlog write it.
    xid: String,
    /// The binlog file in which it was prepared, and where its group begins there.
    file: Arc<str>,
    offset: u64,
    /// The boundary behind its XA PREPARE; not known while that is being read.
    end: Option<Position>,
}

/// One transaction.
#[derive(Debug)]
struct Kept {
    number: u64,
    about: Description,
    /// Events that are not on the disk.
    buffer: Vec<u8>,
    /// Bytes of events on the disk.
    written: u64,
    is_durable: bool,
}

/// The prepared transactions of one pipeline.
#[derive(Debug)]
pub struct Prepared {
    folder: PathBuf,
    next: u64,
    /// The one that is being read.
    open: Option<Kept>,
    /// By xid: neither committed nor rolled back.
    undecided: HashMap<String, Kept>,
    /// By xid: durable, and prepared behind where reading began. A lane whose mark is behind that, too, may need it before its decision
    /// once more, so it stays when it is read again.
    again: HashMap<String, Kept>,
    /// Decided, and the boundary behind that, once it is read.
    decided: Vec<(Kept, Option<Position>)>,
    buffered: usize,
    /// Prepared by the transaction at hand.
    fresh: Option<String>,
    /// One that [`Prepared::sync`] looks for may not be durable.
    needs_sync: bool,
}

impl Prepared {
    /// The folder of a pipeline.
    pub fn folder(data_dir: &Path, pipeline: &str) -> PathBuf {
        data_dir.join("prepared").join(pipeline)
    }

    /// Finds what was prepared before `position`, where reading begins; what was prepared behind it is read again.
    pub fn open(folder: PathBuf, position: &Position) -> Result<Prepared, PreparedError> {
        let mut prepared = Prepared {
            folder,
            next: 0,
            open: None,
            undecided: HashMap::new(),
            again: HashMap::new(),
            decided: Vec::new(),
            buffered: 0,
            fresh: None,
            needs_sync: false,
        };
        let mut numbers = Vec::new();
        for entry in prepared.files()? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match name.strip_suffix(".xa").and_then(|number| number.parse::<u64>().ok()) {
                Some(number) => numbers.push(number),
                None if name.ends_with(".part") => remove(&entry)?,
                None => {}
            }
        }
        numbers.sort_unstable();
        prepared.next = numbers.last().map_or(0, |last| last + 1);
        for number in numbers {
            let kept = Kept::load(&prepared.folder, number)?;
            let is_behind = kept.about.end.as_ref().is_none_or(|end| !position.covers(end));
            if kept.decision(&prepared.folder).is_some_and(|end| position.covers(&end)) {
                kept.remove(&prepared.folder)?;
                continue;
            }
            let kin = if is_behind { &mut prepared.again } else { &mut prepared.undecided };
            if let Some(stale) = kin.insert(kept.about.xid.clone(), kept) {
                // An id is free again once its transaction is decided.
                stale.remove(&prepared.folder)?;
            }
        }
        Ok(prepared)
    }

    /// Forgets everything that is kept for a pipeline: its cursor was moved by hand.
    pub fn clear(folder: &Path) -> Result<(), PreparedError> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(write_error(folder, error)),
            _ => Ok(()),
        }
    }

    fn files(&self) -> Result<Vec<PathBuf>, PreparedError> {
        let error = |error| write_error(&self.folder, error);
        match fs::read_dir(&self.folder) {
            Ok(entries) => entries.map(|entry| entry.map(|e| e.path()).map_err(error)).collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(error(e)),
        }
    }

    /// An XA transaction begins, which stands at this place of the binlog; or the same one again, after a lost connection.
    pub fn begin(&mut self, file: &Arc<str>, offset: u64) -> Result<(), PreparedError> {
        if let Some(again) = self.open.take() {
            self.forget(&again)?;
        }
        let about = Description { xid: String::new(), file: Arc::clone(file), offset, end: None };
        self.open = Some(Kept { number: self.next, about, buffer: Vec::new(), written: 0, is_durable: false });
        self.next += 1;
        Ok(())
    }

    /// A TABLE_MAP or row event of it, header and all.
    pub fn add(&mut self, event: &[u8]) -> Result<(), PreparedError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.buffer.extend_from_slice(&(event.len() as u32).to_le_bytes());
        open.buffer.extend_from_slice(&crc32fast::hash(event).to_le_bytes());
        open.buffer.extend_from_slice(event);
        self.buffered += HEAD + event.len();
        if open.buffer.len() >= BUFFERED_OF_ONE_MAX {
            self.buffered -= open.write(&self.folder)?;
        }
        if self.buffered >= BUFFERED_MAX {
            for kept in self.undecided.values_mut().chain(self.decided.iter_mut().map(|(kept, _)| kept)).chain(&mut self.open) {
                kept.write(&self.folder)?;
            }
            self.buffered = 0;
        }
        Ok(())
    }

    /// It is prepared; [`Prepared::passed`] follows.
    pub fn prepare(&mut self, xid: String) -> Result<(), PreparedError> {
        let Some(mut kept) = self.open.take() else { return Ok(()) };
        if self.undecided.len() >= UNDECIDED_MAX {
            return Err(PreparedError::TooMany);
        }
        match self.again.remove(&xid) {
            Some(same) if (&same.about.file, same.about.offset) == (&kept.about.file, kept.about.offset) => {
                self.forget(&kept)?;
                kept = same;
            }
            Some(other) => self.forget(&other)?,
            None => {}
        }
        kept.about.xid.clone_from(&xid);
        self.fresh = Some(xid.clone());
        match self.undecided.insert(xid, kept) {
            // Its decision was before the reading began.
            Some(stale) => self.forget(&stale),
            None => Ok(()),
        }
    }

    /// It is committed: its events. `None`: it was prepared where nobody read it.
    pub fn commit(&mut self, xid: &str) -> Result<Option<Replay>, PreparedError> {
        let Some(kept) = self.undecided.remove(xid) else { return Ok(None) };
        let replay = kept.replay(&self.folder)?;
        // Batches that are cut within the commit go on before it.
        self.needs_sync |= !kept.is_durable;
        self.decided.push((kept, None));
        Ok(Some(replay))
    }

    /// The one that is being read is committed in one phase: its events.
    pub fn commit_open(&mut self) -> Result<Option<Replay>, PreparedError> {
        let Some(kept) = self.open.take() else { return Ok(None) };
        let replay = kept.replay(&self.folder)?;
        // The open file is read though its name is gone.
        self.forget(&kept)?;
        Ok(Some(replay))
    }

    /// It is rolled back.
    pub fn rollback(&mut self, xid: &str) {
        self.decided.extend(self.undecided.remove(xid).map(|kept| (kept, None)));
    }

    /// Reading has come to this boundary. Call it before anybody else is told so.
    pub fn passed(&mut self, position: &Position) -> Result<(), PreparedError> {
        if let Some(kept) = self.fresh.take().and_then(|xid| self.undecided.get_mut(&xid)) {
            kept.about.end = Some(position.clone());
            self.needs_sync = true;
        }
        for (kept, end) in self.decided.iter_mut().rev().take_while(|(_, end)| end.is_none()) {
            kept.note_decision(&self.folder, position)?;
            *end = Some(position.clone());
        }
        Ok(())
    }

    /// What was prepared before the last boundary and not decided there is durable when it returns. Blocks on the disk.
    pub fn sync(&mut self) -> Result<(), PreparedError> {
        if !std::mem::take(&mut self.needs_sync) {
            return Ok(());
        }
        let mut is_new = false;
        let deciding = self.decided.iter_mut().filter_map(|decided| match decided {
            (kept, None) => Some(kept),
            (_, Some(_)) => None,
        });
        for kept in self.undecided.values_mut().filter(|kept| kept.about.end.is_some()).chain(deciding) {
            self.buffered -= kept.buffer.len();
            is_new |= kept.sync(&self.folder)?;
        }
        self.sync_folder(is_new)
    }

    /// The cursor is about to move to `position`: what was prepared before it and not decided there is durable when it returns.
    pub fn before_cursor(&mut self, position: &Position) -> Result<(), PreparedError> {
        self.sync()?;
        let mut is_new = false;
        for (kept, end) in &mut self.decided {
            if kept.is_durable || end.as_ref().is_some_and(|end| position.covers(end)) {
                continue;
            }
            self.buffered -= kept.buffer.len();
            is_new |= kept.sync(&self.folder)?;
            if let Some(end) = end {
                kept.note_decision(&self.folder, end)?;
            }
        }
        self.sync_folder(is_new)
    }

    /// The cursor has moved to `position`, and that is durable: what was decided before it goes.
    pub fn after_cursor(&mut self, position: &Position) -> Result<(), PreparedError> {
        let decided = std::mem::take(&mut self.decided).into_iter();
        let is_passed = |end: &Option<Position>| end.as_ref().is_some_and(|end| position.covers(end));
        let (gone, left): (Vec<_>, Vec<_>) = decided.partition(|(_, end)| is_passed(end));
        self.decided = left;
        gone.iter().try_for_each(|(kept, _)| self.forget(kept))
    }

    fn sync_folder(&self, is_new: bool) -> Result<(), PreparedError> {
        if is_new {
            let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| write_error(&self.folder, error))?;
            failpoint::pass("prepared-kept");
        }
        Ok(())
    }

    fn forget(&mut self, kept: &Kept) -> Result<(), PreparedError> {
        self.buffered -= kept.buffer.len();
        if kept.written > 0 || kept.is_durable { kept.remove(&self.folder) } else { Ok(()) }
    }
}

impl Kept {
    /// Beside a durable file: the boundary behind the decision. Need not be durable itself.
    fn decision_path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{:020}.decided", self.number))
    }

    fn note_decision(&self, folder: &Path, end: &Position) -> Result<(), PreparedError> {
        if !self.is_durable {
            return Ok(());
        }
        let path = self.decision_path(folder);
        fs::write(&path, serde_json::to_vec(end).unwrap_or_default()).map_err(|error| write_error(&path, error))
    }

    fn decision(&self, folder: &Path) -> Option<Position> {
        serde_json::from_slice(&fs::read(self.decision_path(folder)).ok()?).ok()
    }

    fn remove(&self, folder: &Path) -> Result<(), PreparedError> {
        remove(&self.path(folder))?;
        if self.is_durable { remove(&self.decision_path(folder)) } else { Ok(()) }
    }

    fn path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{:020}.{}", self.number, if self.is_durable { "xa" } else { "part" }))
    }

    /// Moves the buffer to the disk; returns how many bytes it had.
    fn write(&mut self, folder: &Path) -> Result<usize, PreparedError> {
        let len = self.buffer.len();
        if len > 0 {
            let path = self.path(folder);
            let written = || {
                fs::create_dir_all(folder)?;
                let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
                file.write_all(&self.buffer)
            };
            written().map_err(|error| write_error(&path, error))?;
            self.written += len as u64;
            // A large transaction leaves no memory behind.
            self.buffer = Vec::new();
        }
        Ok(len)
    }

    /// True if it was not durable before.
    fn sync(&mut self, folder: &Path) -> Result<bool, PreparedError> {
        if self.is_durable {
            return Ok(false);
        }
        self.write(folder)?;
        let mut tail = serde_json::to_vec(&self.about).unwrap_or_default();
        let (len, crc) = (tail.len() as u32, crc32fast::hash(&tail));
        tail.extend_from_slice(&len.to_le_bytes());
        tail.extend_from_slice(&crc.to_le_bytes());
        tail.extend_from_slice(MAGIC);
        let part = self.path(folder);
        let written = || {
            fs::create_dir_all(folder)?;
            let mut file = OpenOptions::new().create(true).append(true).open(&part)?;
            file.write_all(&tail)?;
            file.sync_all()
        };
        written().map_err(|error| write_error(&part, error))?;
        self.is_durable = true;
        let path = self.path(folder);
        fs::rename(&part, &path).map_err(|error| write_error(&path, error))?;
        Ok(true)
    }

    fn load(folder: &Path, number: u64) -> Result<Kept, PreparedError> {
        let path = folder.join(format!("{number:020}.xa"));
        let damaged = |reason: &str| PreparedError::Damaged { path: path.clone(), reason: reason.to_owned() };
        let unreadable = |error: io::Error| damaged(&error.to_string());
        let mut file = File::open(&path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let mut read_before = |end: u64, len: usize| -> Result<Vec<u8>, PreparedError> {
            let start = end.checked_sub(len as u64).ok_or_else(|| damaged("it is cut off"))?;
            let mut bytes = vec![0; len];
            file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes)).map_err(unreadable)?;
            Ok(bytes)
        };
        let tail = read_before(size, TAIL)?;
        let word = |at: usize| u32::from_le_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
        let len = word(0) as usize;
        if tail[8..] != MAGIC[..] || len > DESCRIPTION_BYTES_MAX {
            return Err(damaged("it does not end as it should"));
        }
        let text = read_before(size - TAIL as u64, len)?;
        if crc32fast::hash(&text) != word(4) {
            return Err(damaged("its description has another checksum"));
        }
        let about = serde_json::from_slice(&text).map_err(|error| damaged(&error.to_string()))?;
        Ok(Kept { number, about, buffer: Vec::new(), written: size - (TAIL + len) as u64, is_durable: true })
    }

    fn replay(&self, folder: &Path) -> Result<Replay, PreparedError> {
        let path = self.path(folder);
        let file = match self.written {
            0 => None,
            _ => Some(File::open(&path).map_err(|error| PreparedError::Damaged { path: path.clone(), reason: error.to_string() })?),
        };
        let (left, buffer) = (self.written, self.buffer.clone());
        Ok(Replay { path, file, left, buffer, binlog: Arc::clone(&self.about.file), offset: self.about.offset })
    }
}

/// The events of one transaction, in order.
pub struct Replay {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of it that are not read.
    left: u64,
    /// What comes after the file.
    buffer: Vec<u8>,
    binlog: Arc<str>,
    offset: u64,
}

impl Replay {
    /// The next of them. Blocks on the disk.
    pub fn next_segment(&mut self) -> Result<Option<Segment>, PreparedError> {
        let mut data = Vec::new();
        while data.is_empty() && self.left > 0 {
            self.read(&mut data)?;
        }
        if data.is_empty() {
            data = std::mem::take(&mut self.buffer);
        }
        if data.is_empty() {
            return Ok(None);
        }
        let mut events = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let start = at + HEAD;
            let event = event_len(&data[at..]).and_then(|len| data.get(start..start + len));
            let event = event.ok_or_else(|| self.damaged("an event is cut off"))?;
            if crc32fast::hash(event).to_le_bytes() != data[at + 4..start] {
                return Err(self.damaged("an event has another checksum"));
            }
            events.push(Framed { start, len: event.len(), offset: self.offset, next: self.offset, boundary: Boundary::Within });
            at = start + event.len();
        }
        let (file, data) = (Arc::clone(&self.binlog), Bytes::from(data));
        Ok(Some(Segment { file, home: None, data, events, transactions: Vec::new(), learned: None, index: 0 }))
    }

    /// Reads whole events of the file.
    fn read(&mut self, data: &mut Vec<u8>) -> Result<(), PreparedError> {
        let Some(file) = &mut self.file else { return Err(self.damaged("it is gone")) };
        let want = SEGMENT_BYTES.min(usize::try_from(self.left).unwrap_or(SEGMENT_BYTES));
        data.resize(want, 0);
        let done = file.read_exact(data);
        done.map_err(|error| self.damaged(&error.to_string()))?;
        let mut whole = 0;
        while let Some(len) = data.get(whole..).and_then(event_len) {
            if whole + HEAD + len > want {
                if whole > 0 {
                    break;
                }
                // An event that is larger than a segment.
                if (HEAD + len) as u64 > self.left {
                    return Err(self.damaged("an event is cut off"));
                }
                data.resize(HEAD + len, 0);
                let done = self.file.as_mut().map_or(Ok(()), |file| file.read_exact(&mut data[want..]));
                done.map_err(|error| self.damaged(&error.to_string()))?;
                self.left -= data.len() as u64;
                return Ok(());
            }
            whole += HEAD + len;
        }
        if whole == 0 {
            return Err(self.damaged("an event is cut off"));
        }
        let back = (want - whole) as i64;
        data.truncate(whole);
        self.left -= whole as u64;
        let done = self.file.as_mut().map_or(Ok(0), |file| file.seek(SeekFrom::Current(-back)));
        done.map(drop).map_err(|error| self.damaged(&error.to_string()))
    }

    fn damaged(&self, reason: &str) -> PreparedError {
        PreparedError::Damaged { path: self.path.clone(), reason: reason.to_owned() }
    }
}

/// The length of the event at the front; `None`: its head is cut off.
fn event_len(data: &[u8]) -> Option<usize> {
    data.first_chunk().map(|len| u32::from_le_bytes(*len) as usize)
}

fn remove(path: &Path) -> Result<(), PreparedError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(write_error(path, error)),
        _ => Ok(()),
    }
}

fn write_error(path: &Path, error: io::Error) -> PreparedError {
    PreparedError::Write { path: path.to_owned(), error }
}
