//! What the integration tests share: real servers ([`servers`]), the program under test ([`program`]) and the project's files.
//!
//! A failing helper panics with what it tried: in a test that is the report.

use std::path::{Path, PathBuf};

pub mod flow;
pub mod load;
pub mod program;
pub mod proxy;
pub mod servers;

/// A file of the project, by its path from the project's folder.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the project's folder").join(path)
}
