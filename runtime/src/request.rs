//! What the command line asks of a process that runs: a JSON file each in a folder under `data_dir`, and beside it the answer.
//!
//! The data folder's store belongs to the process that runs; a file can be left beside it at any time. Files are there whole or not at all, and
//! are taken oldest first. When a request is done with is for its kind to say: one may outlive the process, and be for the next.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data_dir::write_whole;

/// An answer that nobody has fetched for so long is removed.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3600);

/// A request, as both sides know it.
#[derive(Debug)]
pub struct Left {
    file: PathBuf,
}

/// Leaves a request for the process that runs, or the next one.
pub fn leave(folder: &Path, request: &impl Serialize) -> io::Result<Left> {
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
    let free = |n: &u32| !folder.join(format!("{now_us:020}-{}-{n}.json", std::process::id())).exists();
    let n = (0..).find(free).unwrap_or_default();
    let file = folder.join(format!("{now_us:020}-{}-{n}.json", std::process::id()));
    write_whole(&file, &serde_json::to_vec(request)?)?;
    Ok(Left { file })
}

/// Those that are there, oldest first. What cannot be understood is told, and put aside.
pub fn waiting<T: DeserializeOwned>(folder: &Path) -> Vec<(Left, T)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let (mut files, others): (Vec<PathBuf>, Vec<PathBuf>) = entries.map(|e| e.path()).partition(|path| has_extension(path, "json"));
    for answer in others.iter().filter(|path| has_extension(path, "answer")) {
        let age = fs::metadata(answer).and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > ANSWER_TIME_MAX) {
            let _ = fs::remove_file(answer);
        }
    }
    files.sort();
    let read = |file: PathBuf| match fs::read(&file).map(|text| serde_json::from_slice(&text)) {
        Ok(Ok(request)) => Some((Left { file }, request)),
        Ok(Err(error)) => {
            tracing::warn!("{}: not a request, and put aside: {error}", file.display());
            let _ = fs::rename(&file, file.with_extension("bad"));
            None
        }
        // Taken back, or taken by another.
        Err(_) => None,
    };
    files.into_iter().filter_map(read).collect()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}

impl Left {
    /// It is done with, or taken back. False: somebody else was faster.
    pub fn take(&self) -> bool {
        fs::remove_file(&self.file).is_ok()
    }

    /// True once it is done with.
    pub fn is_taken(&self) -> bool {
        !self.file.exists()
    }

    /// For whoever asked; the request is done with.
    pub fn answer(&self, answer: &impl Serialize) {
        let path = self.file.with_extension("answer");
        let written = serde_json::to_vec(answer).map_err(io::Error::from).and_then(|text| write_whole(&path, &text));
        match written {
            Ok(()) => drop(self.take()),
            Err(error) => tracing::warn!("{}: cannot be written: {error}", path.display()),
        }
    }

    /// The answer, once it is there; taken away.
    pub fn take_answer<T: DeserializeOwned>(&self) -> Option<T> {
        let path = self.file.with_extension("answer");
        let answer = serde_json::from_slice(&fs::read(&path).ok()?).ok();
        let _ = fs::remove_file(path);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_answered_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("requests");
        assert!(waiting::<String>(&folder).is_empty());
        let left: Vec<Left> = ["a", "b", "c"].iter().map(|text| leave(&folder, text).unwrap()).collect();
        fs::write(folder.join("0.json"), "{").unwrap();
        let found = || waiting::<String>(&folder).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(found(), ["a", "b", "c"]);
        assert!(folder.join("0.bad").exists());
        assert!(left[1].take() && !left[1].take() && left[1].is_taken());
        let (asked, _) = waiting::<String>(&folder).remove(0);
        assert_eq!(left[0].take_answer::<u8>(), None);
        asked.answer(&7);
        assert_eq!((left[0].take_answer(), left[0].take_answer::<u8>()), (Some(7), None));
        assert_eq!(found(), ["c"]);
    }
}
