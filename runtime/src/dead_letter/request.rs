//! What `tidegate dead-letter` asks a running process to do: a JSON file in `data_dir/dead-letters/requests`, and the answer beside it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::store;

/// An answer that nobody has taken for so long is deleted.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(600);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub pipeline: String,
    pub action: Action,
    /// `None`: all.
    pub ids: Option<Vec<u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Retry,
    Drop,
}

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Letters that are delivered, or dropped.
    pub done: u64,
    /// What failed again, and why.
    pub failed: Vec<(u64, String)>,
    /// Letters that wait behind those.
    pub waiting: u64,
    /// Ids of which there is no letter.
    pub unknown: Vec<u64>,
}

/// A request that was left, until it is answered.
#[derive(Debug)]
pub struct Left {
    path: PathBuf,
}

fn folder(data_dir: &Path) -> PathBuf {
    store::folder(data_dir).join("requests")
}

/// Writes a file for its owner alone, which is there whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

impl Request {
    pub fn leave(&self, data_dir: &Path) -> io::Result<Left> {
        let folder = folder(data_dir);
        store::make_folder(&folder)?;
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
        let path = folder.join(format!("{now_us:020}-{}.json", std::process::id()));
        write(&path, &serde_json::to_vec(self)?)?;
        Ok(Left { path })
    }

    /// Those of a pipeline, oldest first. What cannot be read is told and left where it is.
    pub fn of(data_dir: &Path, pipeline: &str) -> Vec<(Left, Request)> {
        let entries = fs::read_dir(folder(data_dir)).into_iter().flatten().flatten();
        let (answers, mut paths): (Vec<PathBuf>, Vec<PathBuf>) =
            entries.map(|e| e.path()).partition(|p| has_extension(p, "answer"));
        for answer in answers {
            let age = fs::metadata(&answer).and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok());
            if age.is_some_and(|age| age > ANSWER_TIME_MAX) {
                let _ = fs::remove_file(answer);
            }
        }
        paths.retain(|path| has_extension(path, "json"));
        paths.sort();
        let read = |path: PathBuf| match fs::read(&path).map(|bytes| serde_json::from_slice::<Request>(&bytes)) {
            Ok(Ok(request)) => Some((Left { path }, request)),
            Ok(Err(error)) => {
                tracing::warn!("{}: not a request: {error}", path.display());
                None
            }
            // Taken back.
            Err(_) => None,
        };
        paths.into_iter().filter_map(read).filter(|(_, request)| request.pipeline == pipeline).collect()
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}

impl Left {
    /// The request is done.
    pub fn answer(&self, outcome: &Outcome) -> io::Result<()> {
        write(&self.path.with_extension("answer"), &serde_json::to_vec(outcome)?)?;
        fs::remove_file(&self.path)
    }

    /// The answer, once it is there; taken away.
    pub fn take_answer(&self) -> Option<Outcome> {
        let path = self.path.with_extension("answer");
        let outcome = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let _ = fs::remove_file(path);
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_left_and_answered() {
        let dir = tempfile::tempdir().unwrap();
        let request = Request { pipeline: "p".into(), action: Action::Retry, ids: Some(vec![3]) };
        let left = request.leave(dir.path()).unwrap();
        assert!(Request::of(dir.path(), "other").is_empty() && left.take_answer().is_none());
        let [(taken, found)] = &Request::of(dir.path(), "p")[..] else { panic!("one request") };
        assert_eq!(*found, request);
        let outcome = Outcome { done: 1, ..Outcome::default() };
        taken.answer(&outcome).unwrap();
        assert!(Request::of(dir.path(), "p").is_empty());
        assert_eq!(left.take_answer(), Some(outcome));
        assert_eq!(left.take_answer(), None);
    }
}
