//! The file of a pipeline's letters: `data_dir/dead-letters/PIPELINE.letters`, which only its owner may read.
//!
//! A record a line, appended and synced: the CRC-32 of the rest in eight hexadecimal digits, a space, JSON of [`Record`]. What follows the
//! last line feed was cut off by a crash and is forgotten. When more of the file is of letters that are gone than of others, what is left
//! is written anew under another name and put in its place.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Letter, Why};
use crate::change::Relation;

/// Bytes of letters that are gone, at least, before the file is written anew while the pipeline runs.
const GONE_BYTES_MAX: u64 = 8 << 20;

/// Relations that letters share, at most.
const RELATIONS_MAX: usize = 16;

/// Bytes of letters that are kept, at most.
const BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    #[error("{}: dead letters cannot be kept\nhint: nothing is lost: the pipeline goes on from its cursor once the folder can be written (is the disk full?)", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}: dead letters cannot be read\nhint: check the rights of the file", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{}, line {line}: the file of dead letters is damaged\nhint: move it away to go on without what it holds; the changes in it \
         are then not in the target", .path.display()
    )]
    Damaged { path: PathBuf, line: usize },
    #[error(
        "{count} dead letters of pipeline `{pipeline}` wait, and its `ordering` keeps the order of all changes\nhint: retry or drop them \
         first, under ordering = \"key\": see `tidegate dead-letter list`"
    )]
    Ordering { pipeline: String, count: usize },
    #[error(
        "more than {max} dead letters would be held\nhint: mend what `tidegate dead-letter list` tells, then `tidegate dead-letter \
         retry --all` and run again; or raise `dead_letters_max`"
    )]
    Full { max: u64 },
    #[error(
        "more than {} MiB of dead letters would be held\nhint: mend what `tidegate dead-letter list` tells, then `tidegate dead-letter \
         retry --all` and run again", BYTES_MAX >> 20
    )]
    Large,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Record {
    /// The id of the next letter, at least.
    Next(u64),
    Letter(Box<Letter>),
    /// Delivered or dropped.
    Gone(Vec<u64>),
    /// Tried again in vain.
    Again {
        id: u64,
        why: Why,
        time: u64,
    },
}

/// Most letters are of few relations, which they share.
#[derive(Debug, Default)]
struct Relations(Vec<Arc<Relation>>);

impl Relations {
    fn share(&mut self, letter: &mut Letter) {
        match self.0.iter().find(|known| known.is_like(&letter.relation)) {
            Some(known) => letter.relation = Arc::clone(known),
            None => {
                self.0.truncate(RELATIONS_MAX - 1);
                self.0.insert(0, Arc::clone(&letter.relation));
            }
        }
    }
}

/// Where a letter stands in the file.
#[derive(Debug)]
struct Span {
    offset: u64,
    len: u64,
    /// What was said of it since: why, when, and how often it was tried.
    again: Option<(Why, u64, u32)>,
}

#[derive(Debug)]
pub struct LetterFile {
    path: PathBuf,
    file: File,
    /// By id.
    spans: BTreeMap<u64, Span>,
    relations: Relations,
    next: u64,
    size: u64,
    gone_bytes: u64,
}

/// The file of a pipeline.
pub fn path(data_dir: &Path, pipeline: &str) -> PathBuf {
    folder(data_dir).join(format!("{pipeline}.letters"))
}

pub(super) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("dead-letters")
}

/// Makes the folder, for its owner alone.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// All letters of a pipeline, oldest first, of a process that runs as well. Without their images, but for one, `whole`.
pub fn read(data_dir: &Path, pipeline: &str, whole: Option<u64>) -> Result<Vec<Letter>, DeadLetterError> {
    let path = path(data_dir, pipeline);
    match File::open(&path) {
        Ok(file) => Ok(scan(&path, &file, whole)?.letters.into_values().map(|(letter, _)| letter).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(DeadLetterError::Read { path, source }),
    }
}

/// What a file holds.
struct Scanned {
    letters: BTreeMap<u64, (Letter, Span)>,
    next: u64,
    /// Up to the last line feed.
    size: u64,
    gone_bytes: u64,
}

fn scan(path: &Path, file: &File, whole: Option<u64>) -> Result<Scanned, DeadLetterError> {
    let mut scanned = Scanned { letters: BTreeMap::new(), next: 1, size: 0, gone_bytes: 0 };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut relations = Relations::default();
    for number in 1.. {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        read.map_err(|source| DeadLetterError::Read { path: path.to_owned(), source })?;
        if line.pop_if(|byte| *byte == b'\n').is_none() {
            break;
        }
        let record = parse(&line).ok_or_else(|| DeadLetterError::Damaged { path: path.to_owned(), line: number })?;
        let len = line.len() as u64 + 1;
        let span = Span { offset: scanned.size, len, again: None };
        scanned.size += len;
        match record {
            Record::Next(next) => scanned.next = scanned.next.max(next),
            Record::Letter(mut letter) => {
                scanned.next = scanned.next.max(letter.id + 1);
                if whole != Some(letter.id) {
                    (letter.before, letter.after) = (None, None);
                }
                relations.share(&mut letter);
                scanned.letters.insert(letter.id, (*letter, span));
            }
            Record::Gone(ids) => {
                let gone = ids.iter().filter_map(|id| scanned.letters.remove(id));
                scanned.gone_bytes += len + gone.map(|(_, span)| span.len).sum::<u64>();
            }
            Record::Again { id, why, time } => {
                scanned.gone_bytes += len;
                if let Some((letter, span)) = scanned.letters.get_mut(&id) {
                    letter.retries += 1;
                    (letter.why, letter.time) = (why.clone(), time);
                    let retries = span.again.as_ref().map_or(0, |again| again.2) + 1;
                    span.again = Some((why, time, retries));
                }
            }
        }
    }
    Ok(scanned)
}

fn parse(line: &[u8]) -> Option<Record> {
    let (sum, json) = line.split_at_checked(9)?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?.strip_suffix(' ')?, 16).ok()?;
    (crc32fast::hash(json) == sum).then(|| serde_json::from_slice(json).ok())?
}

fn line(record: &Record) -> Vec<u8> {
    let json = serde_json::to_vec(record).unwrap_or_default();
    [format!("{:08x} ", crc32fast::hash(&json)).as_bytes(), &json, b"\n"].concat()
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

impl LetterFile {
    /// Opens the file, made if it is missing; only one process at a time may, which the lock of the cursor store sees to. Gives its letters,
    /// oldest first, without their images.
    pub fn open(data_dir: &Path, pipeline: &str) -> Result<(LetterFile, Vec<Letter>), DeadLetterError> {
        let path = path(data_dir, pipeline);
        let write = |source| DeadLetterError::Write { path: path.clone(), source };
        make_folder(&folder(data_dir)).map_err(write)?;
        let file = create(&path).map_err(write)?;
        let Scanned { letters, next, size, gone_bytes } = scan(&path, &file, None)?;
        let (letters, spans): (Vec<Letter>, BTreeMap<u64, Span>) =
            letters.into_values().map(|(letter, span)| (letter.clone(), (letter.id, span))).unzip();
        file.set_len(size).map_err(write)?;
        // A crash may have left it.
        match fs::remove_file(path.with_extension("new")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(write(error)),
            Ok(()) | Err(_) => {}
        }
        let mut file = LetterFile { path, file, spans, relations: Relations::default(), next, size, gone_bytes };
        file.forget_gone()?;
        Ok((file, letters))
    }

    fn write(&self, source: io::Error) -> DeadLetterError {
        DeadLetterError::Write { path: self.path.clone(), source }
    }

    /// Appends letters, which get their ids. Durable when it returns.
    pub fn append(&mut self, letters: &mut [Letter]) -> Result<(), DeadLetterError> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let mut spans = Vec::with_capacity(letters.len());
        for (id, letter) in (self.next..).zip(letters) {
            letter.id = id;
            let line = line(&Record::Letter(Box::new(letter.clone())));
            spans.push((id, Span { offset: self.size + bytes.len() as u64, len: line.len() as u64, again: None }));
            bytes.extend(line);
        }
        if self.size - self.gone_bytes + bytes.len() as u64 > BYTES_MAX {
            return Err(DeadLetterError::Large);
        }
        self.put(&bytes)?;
        self.next += spans.len() as u64;
        self.spans.extend(spans);
        Ok(())
    }

    /// The ids that the next letters get, from this one on.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Letters are delivered or dropped. Durable when it returns.
    pub fn remove(&mut self, ids: &[u64]) -> Result<(), DeadLetterError> {
        let line = line(&Record::Gone(ids.to_vec()));
        self.put(&line)?;
        self.gone_bytes += line.len() as u64;
        for id in ids {
            self.gone_bytes += self.spans.remove(id).map_or(0, |span| span.len);
        }
        if self.gone_bytes > GONE_BYTES_MAX.max(self.size / 2) {
            self.write_anew()?;
        }
        Ok(())
    }

    /// Nothing of letters that are gone is left in the file.
    pub fn forget_gone(&mut self) -> Result<(), DeadLetterError> {
        if self.gone_bytes > 0 { self.write_anew() } else { Ok(()) }
    }

    /// Letters were tried in vain.
    pub fn tried(&mut self, again: Vec<(u64, Why)>, time: u64) -> Result<(), DeadLetterError> {
        if again.is_empty() {
            return Ok(());
        }
        let lines: Vec<u8> = again.iter().flat_map(|(id, why)| line(&Record::Again { id: *id, why: why.clone(), time })).collect();
        self.put(&lines)?;
        self.gone_bytes += lines.len() as u64;
        for (id, why) in again {
            if let Some(span) = self.spans.get_mut(&id) {
                let retries = span.again.as_ref().map_or(0, |again| again.2) + 1;
                span.again = Some((why, time, retries));
            }
        }
        Ok(())
    }

    /// How many bytes a letter takes.
    pub fn bytes(&self, id: u64) -> u64 {
        self.spans.get(&id).map_or(0, |span| span.len)
    }

    /// The letter as it is now.
    pub fn get(&mut self, id: u64) -> Result<Option<Letter>, DeadLetterError> {
        let Some(Span { offset, len, again }) = self.spans.get(&id) else { return Ok(None) };
        let mut bytes = vec![0; *len as usize];
        let read = self.file.seek(SeekFrom::Start(*offset)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|source| DeadLetterError::Read { path: self.path.clone(), source })?;
        let Some(Record::Letter(mut letter)) = parse(bytes.trim_ascii_end()) else {
            return Err(DeadLetterError::Damaged { path: self.path.clone(), line: 0 });
        };
        self.relations.share(&mut letter);
        Ok(Some(match again.clone() {
            None => *letter,
            Some((why, time, retries)) => Letter { why, time, retries: letter.retries + retries, ..*letter },
        }))
    }

    /// Not durable yet.
    fn write_line(&mut self, record: &Record) -> Result<(), DeadLetterError> {
        let line = line(record);
        self.file.write_all(&line).map_err(|source| self.write(source))?;
        self.size += line.len() as u64;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DeadLetterError> {
        let file = &mut self.file;
        let put = file.seek(SeekFrom::Start(self.size)).and_then(|_| file.write_all(bytes)).and_then(|()| file.sync_data());
        if let Err(source) = put {
            // A part of a line would make the next one unreadable.
            let _ = self.file.set_len(self.size);
            return Err(self.write(source));
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Leaves out what is gone.
    fn write_anew(&mut self) -> Result<(), DeadLetterError> {
        let unfinished = self.path.with_extension("new");
        let mut anew = || -> Result<LetterFile, DeadLetterError> {
            let failed = |source| DeadLetterError::Write { path: unfinished.clone(), source };
            let file = create(&unfinished).map_err(failed)?;
            file.set_len(0).map_err(failed)?;
            let path = self.path.clone();
            let relations = std::mem::take(&mut self.relations);
            let mut new = LetterFile { path, file, spans: BTreeMap::new(), relations, next: self.next, size: 0, gone_bytes: 0 };
            new.write_line(&Record::Next(self.next))?;
            let ids: Vec<u64> = self.spans.keys().copied().collect();
            for id in ids {
                let Some(letter) = self.get(id)? else { continue };
                let offset = new.size;
                new.write_line(&Record::Letter(Box::new(letter)))?;
                new.spans.insert(id, Span { offset, len: new.size - offset, again: None });
            }
            new.file.sync_data().map_err(failed)?;
            fs::rename(&unfinished, &new.path).map_err(failed)?;
            File::open(new.path.parent().unwrap_or(&new.path)).and_then(|folder| folder.sync_all()).map_err(failed)?;
            Ok(new)
        };
        *self = anew()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::{at, letter};
    use super::*;

    #[test]
    fn letters_survive_and_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, none) = LetterFile::open(dir.path(), "p").unwrap();
        assert!(none.is_empty());
        let mut letters: Vec<Letter> = (0..5).map(|n| letter(0, at(n, 0))).collect();
        file.append(&mut letters).unwrap();
        assert_eq!(letters.iter().map(|l| l.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        file.remove(&[2, 5]).unwrap();
        let why = Why::Sink { name: "s".into(), message: "no".into() };
        file.tried(vec![(3, why.clone())], 77).unwrap();
        let seen = |dir: &Path| read(dir, "p", None).unwrap().iter().map(|l| (l.id, l.why.clone(), l.retries)).collect::<Vec<_>>();
        let behind = Why::Behind { id: 1 };
        let expected = vec![(1, behind.clone(), 0), (3, why.clone(), 1), (4, behind, 0)];
        assert_eq!(seen(dir.path()), expected);
        assert_eq!(file.get(3).unwrap().unwrap().why, why);
        drop(file);
        // A crash in the middle of a line.
        let path = path(dir.path(), "p");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"0123abcd {\"gone\":[1").unwrap();
        for _ in 0..2 {
            let (mut file, letters) = LetterFile::open(dir.path(), "p").unwrap();
            assert_eq!(letters.len(), 3);
            assert_eq!((file.next(), file.get(3).unwrap().unwrap().retries), (6, 1));
            assert_eq!(seen(dir.path()), expected);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(folder(dir.path())).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_damaged_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, _) = LetterFile::open(dir.path(), "p").unwrap();
        file.append(&mut [letter(0, at(4, 0)), letter(0, at(5, 0))]).unwrap();
        let path = path(dir.path(), "p");
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(LetterFile::open(dir.path(), "p"), Err(DeadLetterError::Damaged { line: 1, .. })));
    }
}
