//! XA transactions: their rows are in the binlog when they are prepared, but count only if an XA COMMIT follows, anywhere behind.
//!
//! The decoder passes on no row of one before. It says which events to keep, and when what was kept counts: then the same events come
//! again, as events of the transaction that commits them. Keeping them is [`crate::prepared`]'s work. A commit in one phase tells itself
//! only behind the rows, so that these are kept as well.

use std::fmt::Write;

use super::event::{Reader, Truncated};

const MARIADB_PREPARED_XA: u8 = 64;

/// What an event is to XA transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Xa {
    /// One begins.
    Begin,
    /// A TABLE_MAP or row event of the one that has begun.
    Keep,
    /// The one that has begun is prepared under this id.
    Prepare(String),
    /// What was kept counts now, of the one with this id or (`None`) of the one that has begun: decode it, then this event again.
    Commit(Option<String>),
    Rollback(String),
}

/// What the transaction at hand is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Plain,
    /// Prepared at its end. `has_rows`: events were kept.
    Undecided { has_rows: bool },
    /// What was kept counts: it has come, or is about to.
    Counts,
}

/// An id as XA statements in the binlog write it.
fn text(format: u32, global: &[u8], branch: &[u8]) -> String {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    format!("X'{}',X'{}',{format}", hex(global), hex(branch))
}

/// XA_PREPARE: one phase 1, format 4, length of the global part 4, of the branch 4, both. The id, and whether it commits at once.
pub(super) fn prepare(body: &[u8]) -> Result<(String, bool), Truncated> {
    let mut reader = Reader::new(body);
    let is_commit = reader.u8()? != 0;
    let (format, global, branch) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let (global, branch) = (reader.bytes(global as usize)?, reader.bytes(branch as usize)?);
    Ok((text(format, global, branch), is_commit))
}

/// True if a MariaDB GTID event begins a transaction that will be prepared. Body: sequence 8, domain 4, flags 1.
pub(super) fn mariadb_begins(body: &[u8]) -> Result<bool, Truncated> {
    let mut reader = Reader::new(body);
    reader.bytes(12)?;
    Ok(reader.u8()? & MARIADB_PREPARED_XA != 0)
}
