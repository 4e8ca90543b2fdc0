//! Requests to read tables again, which `tidegate snapshot` leaves in `data_dir/requests`. Each is done with when the cursor store has what it
//! asks for.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cursor::{CursorError, Store};
use crate::manifest::pattern::Patterns;
use crate::request::{self, Left};
use crate::source::snapshot::to_read::ToRead;
use crate::source::{Source, SourceError};

/// Read these tables of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub pipeline: String,
    /// As in the manifest; only tables that the source follows are read.
    pub tables: Vec<String>,
    /// Only rows for which this is true.
    #[serde(default, rename = "where")]
    pub filter: Option<String>,
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("requests")
}

impl Request {
    /// Leaves the request for the process that runs, or the next one.
    pub fn leave(&self, data_dir: &Path) -> std::io::Result<()> {
        request::leave(&folder(data_dir), self).map(drop)
    }

    /// Those of a pipeline, oldest first.
    fn of(data_dir: &Path, pipeline: &str) -> Vec<(Left, Request)> {
        let mut all = request::waiting::<Request>(&folder(data_dir));
        all.retain(|(_, request)| request.pipeline == pipeline);
        all
    }
}

/// Why requests could not be taken up.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

/// Takes up the requests of a pipeline: they are in the store when this returns.
pub async fn take_up(
    data_dir: &Path,
    store: &Store,
    pipeline: &str,
    source: &Source,
    followed: &Patterns,
) -> Result<Vec<ToRead>, RequestError> {
    let mut taken = Vec::new();
    for (left, request) in Request::of(data_dir, pipeline) {
        let asked = match Patterns::parse_tables(&request.tables) {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(pipeline, "asked to read tables again: {error}");
                continue;
            }
        };
        let mut reads = Vec::new();
        let cut: Vec<ToRead> = store.reads(pipeline)?.into_iter().filter(ToRead::is_cut).collect();
        for (schema, table, estimate) in source.tables_with_rows(followed).await? {
            if asked.matches(&schema, &table) {
                // Who asks for a table whose reading was cut has emptied it in the target.
                for cut in cut.iter().filter(|cut| cut.schema == schema && cut.table == table) {
                    store.remove_read(pipeline, cut.id)?;
                }
                let id = store.next_read_id()?;
                reads.push(ToRead { estimate, ..ToRead::new(id, &schema, &table, request.filter.as_deref()) });
            }
        }
        tracing::info!(pipeline, tables = reads.len(), "asked to read tables again");
        store.add_reads(pipeline, &reads)?;
        // If that fails, the tables are read once more.
        left.take();
        taken.extend(reads);
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_left_and_found() {
        let dir = tempfile::tempdir().unwrap();
        let request = |pipeline: &str, filter: Option<&str>| Request {
            pipeline: pipeline.to_owned(),
            tables: vec!["shop.o*".to_owned()],
            filter: filter.map(str::to_owned),
        };
        let (first, other) = (request("a", Some("id > 5")), request("b", None));
        first.leave(dir.path()).unwrap();
        other.leave(dir.path()).unwrap();
        let found = |pipeline: &str| Request::of(dir.path(), pipeline).into_iter().map(|(_, r)| r).collect::<Vec<_>>();
        assert_eq!((found("a"), found("b"), found("c")), (vec![first], vec![other], vec![]));
    }
}
