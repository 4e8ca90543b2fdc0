//! The `binlog-files` source: binlog files of one server, in the order of their numbers.
//!
//! A file follows the one before it; a gap in the numbers, a file cut off in the middle of an event and a transaction without
//! an end are errors with the position. Files are read 256 KiB at a time outside the async threads.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;

use super::feed::{Produced, Stop};
use super::frame::{ENCRYPTED_HINT, Entry, Fault, Framer, HEADER, Offsets, Resume, SEGMENT_BYTES, kind, u32_at};
use super::{Failure, Start};
use crate::position::{Position, file_number};

/// The first four bytes of a plain and of an encrypted (MySQL) binlog file; its first event follows.
const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];
const MAGIC_ENCRYPTED: [u8; 4] = [0xfd, b'b', b'i', b'n'];

/// The files, in order.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    list: Arc<[(Arc<str>, PathBuf)]>,
}

impl Files {
    /// Finds the files; `patterns` are paths, with `*` and `?` in their last part.
    pub(crate) fn find(patterns: &[String]) -> Result<Files, Failure> {
        let mut list: Vec<(Arc<str>, PathBuf)> = Vec::new();
        for pattern in patterns {
            let before = list.len();
            expand(Path::new(pattern), &mut list).map_err(|e| {
                Failure::definite(format!("cannot read `{pattern}`: {e}"), "check `paths` and the rights of the folder")
            })?;
            if list.len() == before {
                return Err(Failure::definite(
                    format!("no file matches `{pattern}`"),
                    "name binlog files, such as \"/var/lib/mysql/binlog.*\"; relative paths are relative to the manifest",
                ));
            }
        }
        list.sort_by_key(|(name, _)| file_number(name));
        list.dedup_by(|a, b| a.1 == b.1);
        for pair in list.windows(2) {
            let (Some(a), Some(b)) = (file_number(&pair[0].0), file_number(&pair[1].0)) else { continue };
            if b != a + 1 {
                return Err(Failure::definite(
                    format!("after `{}` comes `{}`", pair[0].0, pair[1].0),
                    "binlog files of one server, each number once and none left out, make a source",
                ));
            }
        }
        Ok(Files { list: list.into() })
    }

    /// Checks the head of every file.
    pub(crate) fn probe(&self) -> Result<(), Failure> {
        self.list.iter().try_for_each(|(name, path)| open(name, path, 4).map(drop))
    }

    /// The end of the last file.
    pub(crate) fn end(&self) -> Result<Position, Failure> {
        let (name, path) = self.list.last().ok_or_else(no_files)?;
        let offset = std::fs::metadata(path).map_err(|e| unreadable(name, &e))?.len();
        Ok(Position { file: name.clone(), offset, gtids: None, home: None })
    }

    /// The version of the server that wrote the first file: FORMAT_DESCRIPTION is header 19, binlog version 2, server version 50.
    pub(crate) fn version(&self) -> Result<String, Failure> {
        let (name, path) = self.list.first().ok_or_else(no_files)?;
        let mut head = [0; HEADER + 52];
        open(name, path, 4)?.read_exact(&mut head).map_err(|e| unreadable(name, &e))?;
        Ok(String::from_utf8_lossy(&head[HEADER + 2..]).trim_end_matches('\0').to_owned())
    }

    /// Where a first start begins. Blocks: it may read files through.
    pub(crate) fn resolve(&self, start: &Start) -> Result<Position, Failure> {
        let first = &self.list.first().ok_or_else(no_files)?.0;
        let (begin, stop) = match start {
            Start::Earliest => return Ok(Position { file: first.clone(), offset: 4, gtids: None, home: None }),
            Start::Position(position) => return Ok(position.clone()),
            Start::Now => (first.clone(), Stop::Never),
            Start::Gtid(set) => (first.clone(), Stop::Gtids(set)),
            Start::File { file, offset } => (self.list[self.index(file)?].0.clone(), Stop::Offset(*offset)),
            Start::Time(time_us) => (first.clone(), Stop::Time(*time_us)),
        };
        let mut feed = FileFeed::open(self.clone(), Resume::at(Position { file: begin, offset: 4, gtids: None, home: None }))?;
        loop {
            match feed.read()? {
                Produced::Entries(entries) => {
                    for entry in &entries {
                        if let Some(position) = stop.find(entry)? {
                            return Ok(position);
                        }
                    }
                }
                Produced::Idle | Produced::Away(_) => {}
                Produced::End => {
                    let position = feed.framer.position().clone();
                    stop.at_end(&position)?;
                    return Ok(position);
                }
            }
        }
    }

    fn index(&self, file: &str) -> Result<usize, Failure> {
        self.list.iter().position(|(name, _)| **name == *file).ok_or_else(|| {
            Failure::definite(
                format!("there is no binlog file `{file}`"),
                "add it to `paths`, or begin elsewhere with `tidegate cursor set PIPELINE …` or `tidegate cursor reset PIPELINE`",
            )
        })
    }
}

fn no_files() -> Failure {
    Failure::definite("there are no binlog files", "name them in `paths`")
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::definite(format!("cannot read `{name}`: {error}"), "check that the file is there and may be read")
}

/// Adds the files that a path with `*` and `?` in its last part stands for. Only names that end in a number; the rest of a
/// server's folder (`binlog.index`) is left out.
fn expand(pattern: &Path, list: &mut Vec<(Arc<str>, PathBuf)>) -> io::Result<()> {
    let last = pattern.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if !last.contains(['*', '?']) {
        std::fs::metadata(pattern)?;
        list.push((last.into(), pattern.to_owned()));
        return Ok(());
    }
    let folder = pattern.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str()
            && file_number(name).is_some()
            && matches(last.as_bytes(), name.as_bytes())
        {
            list.push((name.into(), entry.path()));
        }
    }
    Ok(())
}

/// `*` any bytes, `?` one byte.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|n| matches(rest, &name[n..])),
        (Some((b'?', rest)), Some((_, tail))) => matches(rest, tail),
        (Some((p, rest)), Some((n, tail))) => p == n && matches(rest, tail),
        _ => false,
    }
}

fn open(name: &str, path: &Path, offset: u64) -> Result<File, Failure> {
    let mut file = File::open(path).map_err(|e| unreadable(name, &e))?;
    let mut magic = [0; 4];
    let read = file.read(&mut magic).map_err(|e| unreadable(name, &e))?;
    if magic == MAGIC_ENCRYPTED {
        return Err(Failure::definite(format!("{name}:0: {}", Fault::Encrypted), ENCRYPTED_HINT));
    }
    if read < 4 || magic != MAGIC {
        return Err(Failure::definite(format!("{name}:0: this is no binlog file"), "leave it out of `paths`"));
    }
    let len = file.metadata().map_err(|e| unreadable(name, &e))?.len();
    if offset > len {
        return Err(Failure::definite(
            format!("`{name}` has {len} bytes, and reading should go on at {offset}"),
            "it is another file than before; go on elsewhere with `tidegate cursor set PIPELINE …`",
        ));
    }
    file.seek(SeekFrom::Start(offset)).map_err(|e| unreadable(name, &e))?;
    Ok(file)
}

/// One reading of the files.
pub(crate) struct FileFeed {
    files: Files,
    index: usize,
    file: File,
    framer: Framer,
    buffer: BytesMut,
    /// Framed up to here.
    at: usize,
    at_end: bool,
    inflating: bool,
    out: Vec<Entry>,
}

impl FileFeed {
    pub(crate) fn open(files: Files, resume: Resume) -> Result<FileFeed, Failure> {
        let index = files.index(&resume.position.file)?;
        let (name, path) = &files.list[index];
        let offset = resume.position.offset.max(4);
        let file = open(name, path, 4)?;
        let mut framer = Framer::new(resume, Offsets::Counted, false);
        framer.learn_gtids();
        let mut feed = FileFeed {
            framer,
            index,
            file,
            files: files.clone(),
            buffer: BytesMut::new(),
            at: 0,
            at_end: false,
            inflating: false,
            out: Vec::new(),
        };
        if offset > 4 {
            feed.head(offset)?;
        }
        Ok(feed)
    }

    /// Reads the FORMAT_DESCRIPTION at the file's head, which says how to check the events from `offset` on, and goes there.
    fn head(&mut self, offset: u64) -> Result<(), Failure> {
        let (name, path) = self.files.list[self.index].clone();
        self.file = open(&name, &path, offset)?;
        let mut head = open(&name, &path, 4)?;
        let mut event = vec![0; HEADER];
        head.read_exact(&mut event).map_err(|e| unreadable(&name, &e))?;
        let len = u32_at(&event, 9) as usize;
        if event[4] != kind::FORMAT_DESCRIPTION || !(HEADER..4096).contains(&len) {
            return Err(Failure::definite(
                format!("{name}:4: the file does not begin with its description"),
                "leave it out of `paths`",
            ));
        }
        event.resize(len, 0);
        head.read_exact(&mut event[HEADER..]).map_err(|e| unreadable(&name, &e))?;
        self.framer.describe(&event)?;
        Ok(())
    }

    /// The next segments, or the end. Blocks.
    pub(crate) fn read(&mut self) -> Result<Produced, Failure> {
        loop {
            if self.inflating {
                self.inflating = self.framer.inflate()?;
                if self.framer.copied_enough() {
                    return Ok(self.cut());
                }
                continue;
            }
            match self.frame() {
                Ok(()) => {}
                // What was framed before the fault is delivered; the fault is found again by the next call.
                Err(_) if self.framer.has_events() => return Ok(self.cut()),
                Err(error) => return Err(error),
            }
            if self.inflating {
                continue;
            }
            if self.framer.has_events() && (self.at >= SEGMENT_BYTES || self.at_end) {
                return Ok(self.cut());
            }
            if self.at_end {
                if self.buffer.len() > self.at {
                    return Err(self.framer.error_here(Fault::Truncated).into());
                }
                if !self.next_file()? {
                    return Ok(Produced::End);
                }
            }
            self.fill()?;
        }
    }

    fn frame(&mut self) -> Result<(), Failure> {
        while let Some(header) = self.buffer.get(self.at..self.at + HEADER) {
            let len = u32_at(header, 9) as usize;
            if len < HEADER {
                return Err(self.framer.error_here(Fault::Malformed("an event is shorter than its header")).into());
            }
            if self.buffer.len() < self.at + len {
                break;
            }
            if header[4] == kind::TRANSACTION_PAYLOAD {
                let event = self.buffer[self.at..self.at + len].to_vec();
                self.framer.payload(event.into())?;
                self.at += len;
                self.inflating = true;
                break;
            }
            self.framer.event(&self.buffer, self.at, len)?;
            self.at += len;
        }
        Ok(())
    }

    fn cut(&mut self) -> Produced {
        let data = self.buffer.split_to(self.at).freeze();
        self.at = 0;
        self.framer.take(&data, &mut self.out);
        Produced::Entries(std::mem::take(&mut self.out))
    }

    /// Reads 256 KiB, or what an event that is not whole yet needs.
    fn fill(&mut self) -> Result<(), Failure> {
        let want = match self.buffer.get(self.at..self.at + HEADER) {
            Some(header) => (self.at + u32_at(header, 9) as usize).saturating_sub(self.buffer.len()).max(SEGMENT_BYTES),
            None => SEGMENT_BYTES,
        };
        let start = self.buffer.len();
        // Grows with what the file holds, not with what a header claims.
        let want = want.min(SEGMENT_BYTES * 16);
        self.buffer.resize(start + want, 0);
        let mut filled = start;
        while filled < self.buffer.len() {
            match self.file.read(&mut self.buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(unreadable(&self.files.list[self.index].0, &e)),
            }
        }
        self.at_end = filled == start;
        self.buffer.truncate(filled);
        Ok(())
    }

    fn next_file(&mut self) -> Result<bool, Failure> {
        let Some((name, path)) = self.files.list.get(self.index + 1) else {
            if self.framer.in_transaction() {
                return Err(self.framer.error_here(Fault::Truncated).into());
            }
            return Ok(false);
        };
        self.file = open(name, path, 4)?;
        self.framer.next_file(name, 4)?;
        self.index += 1;
        self.at_end = false;
        Ok(true)
    }
}
