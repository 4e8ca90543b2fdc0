//! Why a command failed, and the exit code that says so.

use std::io;
use std::path::PathBuf;

use crate::cases::CaseError;
use crate::cursor::CursorError;
use crate::dead_letter::DeadLetterError;
use crate::lane::worker::LaneError;
use crate::manifest::ManifestError;
use crate::pipeline::PipelineError;
use crate::plugin::PluginError;
use crate::schema::kept::KeptError;
use crate::source::SourceError;
use crate::source::binlog::error::{DecodeError, Problem};

/// Why a command failed. `Display` may end with a line `hint: …`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the manifest has no pipeline `{name}`\nhint: {hint}")]
    NoPipeline { name: String, hint: String },
    #[error("{problem}\nhint: {hint}")]
    Request { problem: String, hint: String },
    #[error("{} is there already\nhint: nothing was changed; give another path, or move the file away", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be written\nhint: give a path in a folder that is yours", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("standard output cannot be written\nhint: is the disk full to which it goes?")]
    Output(#[source] io::Error),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error(transparent)]
    Schema(KeptError),
    #[error(transparent)]
    Cases(#[from] CaseError),
    #[error(transparent)]
    Kit(#[from] crate::kit::BuildError),
    /// The language's tools have said why.
    #[error("{} cannot be built", folder.display())]
    Build { folder: PathBuf },
    /// Their runner has said which.
    #[error("the unit tests in {} fail", folder.display())]
    UnitTests { folder: PathBuf },
    /// What was refused was printed, if there was something.
    #[error("{problem}\nhint: the version that runs goes on; `tidegate plugin history` shows what became of others")]
    NotReloaded { problem: String },
    /// `tidegate plugin test` has printed what differs.
    #[error("{failed} of {cases} {} failed", if *cases == 1 { "case" } else { "cases" })]
    CasesFailed { failed: usize, cases: usize },
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    /// `tidegate dead-letter retry` has printed which.
    #[error("{failed} {} failed again", if *failed == 1 { "dead letter" } else { "dead letters" })]
    LettersFailed { failed: usize },
    /// Of a plugin that no pipeline runs.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error("{}: cannot be read\nhint: check the path and its rights", .path.display())]
    Read { path: PathBuf, source: io::Error },
    /// Before any pipeline ran.
    #[error(transparent)]
    Open { source: Box<PipelineError> },
    #[error("pipeline `{name}` stopped")]
    Pipeline { name: String, source: Box<PipelineError> },
    /// `tidegate check` has printed what it found.
    #[error("{errors} {} will fail", if *errors == 1 { "thing" } else { "things" })]
    Check { errors: usize, first: Place },
    #[error("the process cannot run tasks\nhint: is the limit of threads or open files reached? see `ulimit -a`")]
    Runtime(#[source] io::Error),
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
            Error::Manifest(_)
            | Error::NoPipeline { .. }
            | Error::Request { .. }
            | Error::Exists(_)
            | Error::Write { .. }
            | Error::Output(_) => Place::Manifest,
            Error::Schema(_) | Error::Read { .. } | Error::Cases(_) | Error::Kit(_) => Place::Manifest,
            Error::Build { .. }
            | Error::UnitTests { .. }
            | Error::CasesFailed { .. }
            | Error::NotReloaded { .. }
            | Error::Plugin(_) => Place::Plugin,
            Error::LettersFailed { .. } => Place::Plugin,
            Error::Source(_) => Place::Source,
            Error::Cursor(_) | Error::DeadLetters(_) => Place::DataDir,
            Error::Open { source } | Error::Pipeline { source, .. } => place_of(source),
            Error::Check { first, .. } => *first,
            Error::Runtime(_) => Place::Defect,
        }
    }

    pub fn exit_code(&self) -> u8 {
        self.place().exit_code()
    }
}

fn place_of(error: &PipelineError) -> Place {
    match error {
        PipelineError::Decode(DecodeError { problem: Problem::Refused(refusal), .. }) if refusal.is::<PluginError>() => {
            Place::Plugin
        }
        PipelineError::Read { .. } | PipelineError::Source(_) | PipelineError::Decode(_) | PipelineError::Batch(_) => Place::Source,
        PipelineError::Plugin(_)
        | PipelineError::Lane(LaneError::Plugin(_) | LaneError::Row { .. } | LaneError::Hopeless { .. }) => Place::Plugin,
        PipelineError::Lane(LaneError::Unrouted(_) | LaneError::Thread(_)) | PipelineError::State { .. } => Place::Manifest,
        PipelineError::Sink { .. } | PipelineError::Marks(_) => Place::Sink,
        PipelineError::Lane(LaneError::Sink { .. } | LaneError::TransactionLost { .. }) => Place::Sink,
        PipelineError::Cursor(_)
        | PipelineError::Prepared(_)
        | PipelineError::DeadLetters(_)
        | PipelineError::Lane(LaneError::DeadLetters(_)) => Place::DataDir,
        PipelineError::Lane(LaneError::Stopped) | PipelineError::Task(_) => Place::Defect,
    }
}
