//! The cursor store: how far each pipeline has settled, durably, in `data_dir/cursors`.
//!
//! Last in the flow. The only module that knows sled. [`Store::commit`] returns after the flush, and only settled positions get here.
//! Format: sled trees `cursors`, pipeline name → JSON of [`Cursor`], two of pipeline names, `numbers` and `moved`,
//! `reads`, `followed`, and those of [`histories`]; the key `format` of the default tree holds the number of the
//! format. A store of a newer format, or one that sled calls corrupt, is refused and never repaired on its own.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sled::Transactional;
use sled::transaction::TransactionError;

use crate::lane::remembered::Remembered;
use crate::position::Position;
use crate::source::snapshot::to_read::ToRead;

pub mod histories;
pub mod states;

const FORMAT: u32 = 1;
/// sled's page cache; cursors are tiny.
const CACHE_BYTES: u64 = 1 << 20;
/// How long a command may have the store before whoever has it counts as a process that stays.
const OTHERS_TIME_MAX: Duration = Duration::from_secs(2);
const OTHERS_LOOK: Duration = Duration::from_millis(20);

/// Where a pipeline stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Everything before it is settled.
    pub position: Position,
    /// When it was written, seconds since the epoch.
    pub written: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    #[error("{}: another tidegate uses this data_dir\nhint: stop it first; `data_dir` must differ between processes", .0.display())]
    Locked(PathBuf),
    #[error("{}: written by a newer tidegate (format {found}, this one knows {FORMAT})\nhint: use that version, or another `data_dir`", .path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error(
        "{path}: the cursor store is damaged: {reason}\nhint: move the folder away (`mv {path} {path}.damaged`), then say where each \
         pipeline goes on with `tidegate cursor set PIPELINE POSITION`; an exactly-once pipeline finds its position in its target",
        path = .path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{}: cannot write the cursor\nhint: nothing is lost: the pipeline goes on from its last cursor once the folder can be \
         written (is the disk full?)",
        .path.display()
    )]
    Write { path: PathBuf, source: sled::Error },
    #[error("{}: cannot open the cursor store\nhint: the folder must exist or be creatable, and be writable; is the disk full?", .path.display())]
    Open { path: PathBuf, source: sled::Error },
}

/// Open in one process at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    db: sled::Db,
    cursors: sled::Tree,
    /// Pipeline name → its number, see [`Store::number`].
    numbers: sled::Tree,
    /// Names of pipelines that were moved by hand, see [`Store::is_moved`].
    moved: sled::Tree,
    /// Pipeline name, 0, number of the work → JSON of [`ToRead`]: what is left of tables that are read.
    reads: sled::Tree,
    /// Pipeline name → JSON of the patterns of tables that it followed last.
    followed: sled::Tree,
    histories: sled::Tree,
    versions: sled::Tree,
    states: sled::Tree,
    state_marks: sled::Tree,
    delivered: sled::Tree,
}

impl Store {
    /// As [`Store::open`], for the process that stays: a command that looks into the store has it for a moment.
    pub fn open_patiently(data_dir: &Path) -> Result<Store, CursorError> {
        let end = Instant::now() + OTHERS_TIME_MAX;
        loop {
            match Store::open(data_dir) {
                Err(CursorError::Locked(_)) if Instant::now() < end => std::thread::sleep(OTHERS_LOOK),
                opened => return opened,
            }
        }
    }

    /// Opens (or makes) the store under `data_dir`.
    pub fn open(data_dir: &Path) -> Result<Store, CursorError> {
        let path = data_dir.join("cursors");
        let error = |source: sled::Error| open_error(&path, source);
        // sled panics on some damaged files.
        let config = sled::Config::new().path(&path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let Ok(opened) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open())) else {
            return Err(CursorError::Damaged { path, reason: "it cannot be read at all".to_owned() });
        };
        let db = opened.map_err(error)?;
        match db.get("format").map_err(error)? {
            Some(found) => match std::str::from_utf8(&found).ok().and_then(|t| t.parse().ok()) {
                Some(FORMAT) => {}
                Some(found) => return Err(CursorError::Newer { path, found }),
                None => return Err(CursorError::Damaged { path, reason: "its format is not a number".to_owned() }),
            },
            None => {
                db.insert("format", FORMAT.to_string().as_bytes()).map_err(error)?;
                db.flush().map_err(error)?;
            }
        }
        let tree = |name: &str| db.open_tree(name).map_err(error);
        let (cursors, numbers, moved, reads) = (tree("cursors")?, tree("numbers")?, tree("moved")?, tree("reads")?);
        let (followed, histories, versions) = (tree("followed")?, tree("histories")?, tree("versions")?);
        let (states, state_marks, delivered) = (tree("states")?, tree("state_marks")?, tree("delivered")?);
        Ok(Store { path, db, cursors, numbers, moved, reads, followed, histories, versions, states, state_marks, delivered })
    }

    pub fn list(&self) -> Result<Vec<(String, Cursor)>, CursorError> {
        let entry = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (name, value) = entry.map_err(|e| open_error(&self.path, e))?;
            let name = String::from_utf8_lossy(&name).into_owned();
            let cursor = self.parse(&name, &value)?;
            Ok((name, cursor))
        };
        self.cursors.iter().map(entry).collect()
    }

    pub fn get(&self, pipeline: &str) -> Result<Option<Cursor>, CursorError> {
        let value = self.cursors.get(pipeline).map_err(|e| open_error(&self.path, e))?;
        value.map(|v| self.parse(pipeline, &v)).transpose()
    }

    /// Durable when it returns. Blocks on the disk.
    pub fn commit(&self, pipeline: &str, position: Position) -> Result<(), CursorError> {
        self.commit_with(pipeline, position, &BTreeMap::new())
    }

    /// As [`Store::commit`], together with what is left of tables: both or neither. `None`: nothing is left.
    pub fn commit_with(
        &self,
        pipeline: &str,
        position: Position,
        reads: &BTreeMap<u64, Option<ToRead>>,
    ) -> Result<(), CursorError> {
        self.commit_settled(pipeline, position, reads, &Remembered::default())
    }

    /// As [`Store::commit_with`], together with what plugins remember: all or nothing.
    pub fn commit_settled(
        &self,
        pipeline: &str,
        position: Position,
        reads: &BTreeMap<u64, Option<ToRead>>,
        remembered: &Remembered,
    ) -> Result<(), CursorError> {
        let written = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let value = serde_json::to_vec(&Cursor { position, written }).unwrap_or_default();
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        if reads.is_empty() && remembered.is_empty() {
            self.cursors.insert(pipeline, value).map_err(error)?;
        } else {
            let trees = (&self.cursors, &self.reads, &self.states, &self.state_marks);
            let all = trees.transaction(|(cursors, kept, of_plugins, marks)| {
                cursors.insert(pipeline, value.as_slice())?;
                for (id, work) in reads {
                    match work {
                        Some(work) => kept.insert(read_key(pipeline, *id), serde_json::to_vec(work).unwrap_or_default())?,
                        None => kept.remove(read_key(pipeline, *id))?,
                    };
                }
                states::put(of_plugins, marks, pipeline, remembered)
            });
            all.map_err(|e| match e {
                TransactionError::Storage(source) => error(source),
                TransactionError::Abort(()) => error(sled::Error::ReportableBug("a transaction was aborted".to_owned())),
            })?;
        }
        crate::failpoint::pass("cursor-before-flush");
        self.db.flush().map_err(error)?;
        crate::failpoint::pass("cursor-flushed");
        Ok(())
    }

    /// What is left to read of tables, oldest first.
    pub fn reads(&self, pipeline: &str) -> Result<Vec<ToRead>, CursorError> {
        let work = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (_, value) = entry.map_err(|e| open_error(&self.path, e))?;
            let error =
                |e| CursorError::Damaged { path: self.path.clone(), reason: format!("a work of pipeline `{pipeline}`: {e}") };
            serde_json::from_slice(&value).map_err(error)
        };
        self.reads.scan_prefix([pipeline.as_bytes(), &[0]].concat()).map(work).collect()
    }

    /// For [`ToRead::id`]: never the same twice.
    pub fn next_read_id(&self) -> Result<u64, CursorError> {
        self.db.generate_id().map_err(|source| CursorError::Write { path: self.path.clone(), source })
    }

    /// A table is not to be read any more; durable with the next call.
    pub fn remove_read(&self, pipeline: &str, id: u64) -> Result<(), CursorError> {
        let removed = self.reads.remove(read_key(pipeline, id));
        removed.map(|_| ()).map_err(|source| CursorError::Write { path: self.path.clone(), source })
    }

    /// More tables to read. Durable when it returns.
    pub fn add_reads(&self, pipeline: &str, reads: &[ToRead]) -> Result<(), CursorError> {
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        for read in reads {
            self.reads.insert(read_key(pipeline, read.id), serde_json::to_vec(read).unwrap_or_default()).map_err(error)?;
        }
        self.db.flush().map(|_| ()).map_err(error)
    }

    /// The patterns of tables that the pipeline followed last.
    pub fn followed(&self, pipeline: &str) -> Result<Option<Vec<String>>, CursorError> {
        let value = self.followed.get(pipeline).map_err(|e| open_error(&self.path, e))?;
        let error =
            |e| CursorError::Damaged { path: self.path.clone(), reason: format!("the tables of pipeline `{pipeline}`: {e}") };
        value.map(|value| serde_json::from_slice(&value).map_err(error)).transpose()
    }

    /// Durable when it returns, and after what was added with [`Store::add_reads`].
    pub fn set_followed(&self, pipeline: &str, patterns: &[String]) -> Result<(), CursorError> {
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        self.followed.insert(pipeline, serde_json::to_vec(patterns).unwrap_or_default()).map_err(error)?;
        self.db.flush().map(|_| ()).map_err(error)
    }

    /// As [`Store::commit`], on a user's behalf: marks in the target no longer count.
    pub fn move_to(&self, pipeline: &str, position: Position) -> Result<(), CursorError> {
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        self.moved.insert(pipeline, &[]).map_err(error)?;
        self.move_state_marks(pipeline, &position)?;
        let history = self.history(pipeline);
        if let Some(span) = history.span()? {
            let reached = self.get(pipeline)?.map(|c| c.position).filter(|c| c.covers(&span.reached)).unwrap_or(span.reached);
            // Of what lies elsewhere it has not read which tables were altered.
            if !position.covers(&span.since) || !reached.covers(&position) {
                history.clear()?;
            }
        }
        self.commit(pipeline, position)
    }

    /// True if a user has moved or removed the cursor, and no run has taken that in.
    pub fn is_moved(&self, pipeline: &str) -> Result<bool, CursorError> {
        self.moved.contains_key(pipeline).map_err(|e| open_error(&self.path, e))
    }

    /// The marks in the target are those of the cursor again.
    pub fn set_moved_done(&self, pipeline: &str) -> Result<(), CursorError> {
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        if self.moved.remove(pipeline).map_err(error)?.is_some() {
            self.db.flush().map_err(error)?;
        }
        Ok(())
    }

    /// A number that tells this pipeline from those of the same name with another store. Made by chance at the first call.
    pub fn number(&self, pipeline: &str) -> Result<String, CursorError> {
        if let Some(number) = self.numbers.get(pipeline).map_err(|e| open_error(&self.path, e))? {
            return Ok(String::from_utf8_lossy(&number).into_owned());
        }
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        let number = format!("{:016x}", RandomState::new().hash_one(pipeline));
        self.numbers.insert(pipeline, number.as_bytes()).map_err(error)?;
        self.db.flush().map_err(error)?;
        Ok(number)
    }

    /// True if there was one.
    pub fn remove(&self, pipeline: &str) -> Result<bool, CursorError> {
        let error = |source| CursorError::Write { path: self.path.clone(), source };
        self.moved.insert(pipeline, &[]).map_err(error)?;
        self.history(pipeline).clear()?;
        self.followed.remove(pipeline).map_err(error)?;
        self.clear_states(pipeline, None)?;
        let removed = self.cursors.remove(pipeline).map_err(error)?.is_some();
        for work in self.reads.scan_prefix([pipeline.as_bytes(), &[0]].concat()).keys() {
            self.reads.remove(work.map_err(error)?).map_err(error)?;
        }
        self.db.flush().map_err(error)?;
        Ok(removed)
    }

    fn parse(&self, pipeline: &str, value: &[u8]) -> Result<Cursor, CursorError> {
        let error =
            |e| CursorError::Damaged { path: self.path.clone(), reason: format!("the cursor of pipeline `{pipeline}`: {e}") };
        serde_json::from_slice(value).map_err(error)
    }
}

/// Names of pipelines have no zero byte.
fn read_key(pipeline: &str, id: u64) -> Vec<u8> {
    [pipeline.as_bytes(), &[0], &id.to_be_bytes()].concat()
}

fn open_error(path: &Path, source: sled::Error) -> CursorError {
    use sled::Error::{CollectionNotFound, Corruption, Io, ReportableBug, Unsupported};
    let path = path.to_owned();
    match source {
        Corruption { .. } | ReportableBug(_) | Unsupported(_) | CollectionNotFound(_) => {
            CursorError::Damaged { path, reason: source.to_string() }
        }
        Io(ref e) if e.to_string().contains("lock") => CursorError::Locked(path),
        Io(_) => CursorError::Open { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(offset: u64) -> Position {
        Position { file: "mybin.000003".into(), offset, gtids: None, home: None }
    }

    #[test]
    fn a_cursor_survives_and_is_locked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.get("a").unwrap(), None);
        store.commit("a", position(4)).unwrap();
        store.commit("a", position(99)).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(CursorError::Locked(_))));
        assert!(matches!(Store::open_patiently(dir.path()), Err(CursorError::Locked(_))));
        let command = std::thread::spawn(move || {
            std::thread::sleep(OTHERS_TIME_MAX / 4);
            drop(store);
        });
        let store = Store::open_patiently(dir.path()).unwrap();
        command.join().unwrap();
        assert_eq!(store.get("a").unwrap().unwrap().position, position(99));
        assert!(store.remove("a").unwrap());
        assert!(!store.remove("a").unwrap());
    }

    #[test]
    fn a_newer_or_damaged_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.db.insert("format", "2").unwrap();
        store.cursors.insert("a", "{").unwrap();
        assert!(store.get("a").unwrap_err().to_string().contains("damaged"));
        drop(store);
        assert!(Store::open(dir.path()).unwrap_err().to_string().contains("newer tidegate"));
    }

    #[test]
    fn a_flipped_byte_never_gives_a_wrong_position() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.commit("a", position(4711)).unwrap();
        drop(store);
        let db = dir.path().join("cursors/db");
        let good = std::fs::read(&db).unwrap();
        let used = good.iter().rposition(|b| *b != 0).unwrap();
        for at in (0..=used).step_by(29) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&db, &bad).unwrap();
            // An error, the right one, or (as after a crash before the flush) none.
            if let Ok(store) = Store::open(dir.path())
                && let Ok(Some(cursor)) = store.get("a")
            {
                assert_eq!(cursor.position, position(4711), "byte {at}");
            }
        }
    }
}
