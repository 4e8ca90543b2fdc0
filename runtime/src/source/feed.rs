//! What a reader of any kind gives, and how a place in the stream is searched.

use std::sync::Arc;

use super::files::{FileFeed, Files};
use super::frame::{Entry, Resume};
use super::mysql::{Dump, Server};
use super::{Boundary, Failure};
use crate::position::{GtidSet, Position};

/// What one step of reading gives.
#[derive(Debug)]
pub(crate) enum Produced {
    Entries(Vec<Entry>),
    /// Nothing new.
    Idle,
    /// The server cannot be read; where it is. It is tried again by the next step.
    Away(Arc<str>),
    /// The end; only files have one.
    End,
}

/// Opens readings of one source.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Files(Files),
    MySql(Arc<Server>),
}

/// One reading.
pub(crate) enum Feed {
    /// `None` while a blocking thread has it.
    Files {
        files: Files,
        resume: Resume,
        feed: Option<Box<FileFeed>>,
    },
    MySql(Box<Dump>),
}

impl Origin {
    /// A reading from a transaction boundary on. `slot` tells apart the readings of one source that run at the same time.
    pub(crate) fn feed(&self, resume: Resume, slot: u32) -> Feed {
        match self {
            Origin::Files(files) => Feed::Files { files: files.clone(), resume, feed: None },
            Origin::MySql(server) => Feed::MySql(Box::new(Dump::new(server.clone(), resume, slot))),
        }
    }
}

impl Feed {
    /// The next step. Tries again by itself what can mend itself; a failure is final. Not cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Produced, Failure> {
        match self {
            Feed::Files { files, resume, feed } => {
                let (files, resume, reading) = (files.clone(), resume.clone(), feed.take());
                let task = tokio::task::spawn_blocking(move || {
                    let mut reading = match reading {
                        Some(reading) => reading,
                        None => Box::new(FileFeed::open(files, resume)?),
                    };
                    let produced = reading.read();
                    produced.map(|p| (reading, p))
                });
                let (reading, produced) = blocking(task.await)?;
                *feed = Some(reading);
                Ok(produced)
            }
            Feed::MySql(dump) => dump.next().await,
        }
    }
}

/// The result of a blocking task, which fails otherwise only while the process ends.
pub(crate) fn blocking<T>(joined: Result<Result<T, Failure>, tokio::task::JoinError>) -> Result<T, Failure> {
    joined.unwrap_or_else(|_| Err(Failure::transient("reading was stopped")))
}

/// Where a search for a position stops.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop<'a> {
    Never,
    /// At this offset of the file that reading begins in; it must be a transaction boundary.
    Offset(u64),
    /// Before the first transaction committed at or after (microseconds since the epoch).
    Time(i64),
    /// After the last transaction of the set.
    Gtids(&'a GtidSet),
}

impl Stop<'_> {
    /// The position, if it is in the segment.
    pub(crate) fn find(&self, entry: &Entry) -> Result<Option<Position>, Failure> {
        let segment = &entry.segment;
        let mut at = (*entry.before).clone();
        if at.open.is_none() && self.is_here(&at.position)? {
            return Ok(Some(at.position));
        }
        for event in &segment.events {
            if let (Stop::Time(time_us), Boundary::Begin(i) | Boundary::BeginAgain(i)) = (self, event.boundary)
                && segment.transactions.get(i as usize).is_some_and(|t| t.commit_time_us >= *time_us)
            {
                return Ok(Some(at.position));
            }
            at.step(segment, event);
            if at.open.is_none() && self.is_here(&at.position)? {
                return Ok(Some(at.position));
            }
        }
        Ok(None)
    }

    /// Whether the end of what there is will do.
    pub(crate) fn at_end(&self, end: &Position) -> Result<(), Failure> {
        match self {
            Stop::Never | Stop::Time(_) => Ok(()),
            Stop::Offset(offset) if *offset == end.offset => Ok(()),
            Stop::Offset(offset) => Err(Failure::definite(
                format!("offset {offset} is beyond the end, {end}"),
                "start at an offset that `mysqlbinlog` prints as `# at`, before a GTID event",
            )),
            Stop::Gtids(set) if end.gtids.as_ref().is_some_and(|have| have.contains_set(set)) => Ok(()),
            Stop::Gtids(_) => Err(Failure::definite(
                "the GTID set to start after has transactions that are not there",
                "start after a set that the source has executed",
            )),
        }
    }

    fn is_here(&self, position: &Position) -> Result<bool, Failure> {
        match self {
            Stop::Never | Stop::Time(_) => Ok(false),
            Stop::Offset(offset) if position.offset > (*offset).max(4) => Err(Failure::definite(
                format!("offset {offset} is inside of a transaction; the next begins at {}", position.offset),
                "start where a transaction begins: at a `# at` that `mysqlbinlog` prints before a GTID event",
            )),
            Stop::Offset(offset) => Ok(position.offset == (*offset).max(4)),
            Stop::Gtids(set) => Ok(position.gtids.as_ref().is_some_and(|have| have.contains_set(set))),
        }
    }
}
