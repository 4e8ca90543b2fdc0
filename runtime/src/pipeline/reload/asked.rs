//! What `tidegate plugin reload` and `rollback` ask of the process that runs: a JSON file each in `data_dir/plugins/asked`, and beside
//! it the answer. The process takes a file away when it begins with it; whoever asked takes the answer away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::data_dir::write_whole;

/// An answer that nobody fetched is removed after this time.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Asked {
    /// Load these again, or all: the manifest's sections and the files.
    Reload { plugins: Vec<String> },
    /// Go back to the component that ran before, or to the one whose digest begins with `to`.
    Rollback { plugin: String, to: Option<String> },
}

/// What became of one plugin in one pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    pub plugin: String,
    /// `None`: it came to no pipeline.
    pub pipeline: Option<String>,
    pub what: What,
    /// Digests of the components.
    pub before: Option<String>,
    pub after: Option<String>,
    pub position: Option<String>,
    pub pause_us: Option<u64>,
    pub why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Swapped,
    /// It runs already.
    Unchanged,
    /// No pipeline runs it yet.
    Loaded,
    Refused,
    /// Another version came before this one was taken.
    Superseded,
    /// The pipeline ended before it was taken.
    Ended,
}

/// What was asked, and who waits for the answer.
#[derive(Debug)]
pub struct Request {
    pub asked: Asked,
    answer: PathBuf,
}

/// On the way to the process.
pub struct Left {
    file: PathBuf,
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("plugins/asked")
}

impl Asked {
    pub fn leave(&self, data_dir: &Path) -> io::Result<Left> {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
        let file = folder(data_dir).join(format!("{now_us:020}-{}.json", std::process::id()));
        write_whole(&file, &serde_json::to_vec(self)?)?;
        Ok(Left { file })
    }
}

impl Left {
    /// True once the process has begun with it.
    pub fn is_taken(&self) -> bool {
        !self.file.exists()
    }

    /// The answer, if it is there.
    pub fn answer(&self) -> Option<Vec<Told>> {
        let path = self.file.with_extension("answer");
        let told = serde_json::from_slice(&fs::read(&path).ok()?).ok();
        let _ = fs::remove_file(path);
        told
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Takes what was asked, oldest first. What cannot be understood is told and removed.
pub fn take(data_dir: &Path) -> Vec<Request> {
    let entries = fs::read_dir(folder(data_dir)).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    paths.sort();
    let mut requests = Vec::new();
    for path in paths {
        let text = fs::read(&path);
        if fs::remove_file(&path).is_err() {
            continue;
        }
        match text.map(|text| serde_json::from_slice(&text)) {
            Ok(Ok(asked)) => requests.push(Request { asked, answer: path.with_extension("answer") }),
            Ok(Err(error)) => tracing::warn!("{}: not understood: {error}", path.display()),
            Err(error) => tracing::warn!("{}: {error}", path.display()),
        }
    }
    requests
}

/// At the start: what was asked of an earlier process is answered by the start, and its answers are old.
pub fn clear(data_dir: &Path) {
    for entry in fs::read_dir(folder(data_dir)).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|m| m.elapsed().ok());
        let is_answer = entry.path().extension().is_some_and(|e| e == "answer");
        if !is_answer || age.is_some_and(|age| age > ANSWER_TIME_MAX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Request {
    pub fn answer(&self, told: &[Told]) {
        let written = serde_json::to_vec(told).map_err(io::Error::from).and_then(|text| write_whole(&self.answer, &text));
        if let Err(error) = written {
            tracing::warn!("{}: cannot be written: {error}", self.answer.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let asked = Asked::Rollback { plugin: "mask".to_owned(), to: None };
        let left = asked.leave(dir.path()).unwrap();
        assert!(!left.is_taken());
        fs::write(folder(dir.path()).join("0.json"), "{").unwrap();
        let requests = take(dir.path());
        assert_eq!(requests.iter().map(|r| &r.asked).collect::<Vec<_>>(), [&asked]);
        assert!(left.is_taken() && left.answer().is_none());
        let told = Told {
            plugin: "mask".to_owned(),
            pipeline: None,
            what: What::Refused,
            before: None,
            after: None,
            position: None,
            pause_us: None,
            why: Some("no".to_owned()),
        };
        requests[0].answer(std::slice::from_ref(&told));
        assert_eq!(left.answer(), Some(vec![told]));
        // What is left by somebody who has given up is not done.
        drop(Asked::Reload { plugins: Vec::new() }.leave(dir.path()).unwrap());
        assert!(take(dir.path()).is_empty());
        assert_eq!(fs::read_dir(folder(dir.path())).unwrap().count(), 0);
    }
}
