//! What `tidegate plugin reload` and `rollback` ask of the process that runs, in `data_dir/plugins/asked`. A request is done with when the process
//! begins with it, or when whoever asked has given up.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::request::{self, Left};

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
    left: Left,
}

/// On the way to the process.
pub struct Asking(Left);

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("plugins/asked")
}

impl Asked {
    pub fn leave(&self, data_dir: &Path) -> io::Result<Asking> {
        request::leave(&folder(data_dir), self).map(Asking)
    }
}

impl Asking {
    /// True once the process has begun with it.
    pub fn is_taken(&self) -> bool {
        self.0.is_taken()
    }

    /// The answer, if it is there.
    pub fn answer(&self) -> Option<Vec<Told>> {
        self.0.take_answer()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// Takes what was asked, oldest first.
pub fn take(data_dir: &Path) -> Vec<Request> {
    let mut all = request::waiting::<Asked>(&folder(data_dir));
    all.retain(|(left, _)| left.take());
    all.into_iter().map(|(left, asked)| Request { asked, left }).collect()
}

impl Request {
    pub fn answer(&self, told: &[Told]) {
        self.left.answer(&told);
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
        assert_eq!(std::fs::read_dir(folder(dir.path())).unwrap().count(), 0);
    }
}
