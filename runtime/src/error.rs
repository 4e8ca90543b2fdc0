//! Why a command failed, and the exit code that says so.

use std::io;
use std::path::PathBuf;

use crate::cursor::CursorError;
use crate::manifest::ManifestError;

/// Why a command failed. `Display` may end with a line `hint: …`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the manifest has no pipeline `{name}`\nhint: {hint}")]
    NoPipeline { name: String, hint: String },
    #[error("{} is there already\nhint: nothing was changed; give another path, or move the file away", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be written\nhint: give a path in a folder that is yours", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// `tidegate check` has printed what it found.
    #[error("{errors} of what was checked will fail")]
    Check { errors: usize, first: Place },
}

/// Where the reason of a failure lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In Tidegate itself.
    Defect,
    /// In the command line or the manifest.
    Manifest,
    Source,
    Plugin,
    Sink,
    DataDir,
}

impl Place {
    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Place::Defect => 1,
            Place::Manifest => 2,
            Place::Source => 3,
            Place::Plugin => 4,
            Place::Sink => 5,
            Place::DataDir => 6,
        }
    }
}

impl Error {
    pub fn place(&self) -> Place {
        match self {
            Error::Manifest(_) | Error::NoPipeline { .. } | Error::Exists(_) | Error::Write { .. } => Place::Manifest,
            Error::Cursor(_) => Place::DataDir,
            Error::Check { first, .. } => *first,
        }
    }

    pub fn exit_code(&self) -> u8 {
        self.place().exit_code()
    }
}
