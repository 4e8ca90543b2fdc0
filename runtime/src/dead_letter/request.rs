//! What `tidegate dead-letter` asks a running process to do, in `data_dir/dead-letters/requests`.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::store;
use crate::request::{self, Left};

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

impl Request {
    /// It stays until it is answered, by the next process if need be.
    pub fn leave(&self, data_dir: &Path) -> io::Result<Left> {
        store::make_folder(&store::folder(data_dir))?;
        request::leave(&folder(data_dir), self)
    }

    /// Those of a pipeline, oldest first.
    pub fn of(data_dir: &Path, pipeline: &str) -> Vec<(Left, Request)> {
        let mut all = request::waiting::<Request>(&folder(data_dir));
        all.retain(|(_, request)| request.pipeline == pipeline);
        all
    }
}

fn folder(data_dir: &Path) -> PathBuf {
    store::folder(data_dir).join("requests")
}
