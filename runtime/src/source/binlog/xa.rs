//! XA transactions: their rows are in the binlog when they are prepared, but count only if an XA COMMIT follows, anywhere behind.
//!
//! What the decoder promises: no row of an XA transaction is passed on, and no commit of one that may have changed followed tables is
//! passed over. So it stops at the first followed row of one (a commit in one phase tells itself only behind the rows), and at an XA COMMIT
//! of one that it has not read. XA ROLLBACK takes back nothing.

use std::collections::HashSet;
use std::fmt::Write;

use super::event::{Reader, Truncated};

/// More prepared transactions than this are forgotten: their commits stop the pipeline.
const PREPARED_MAX: usize = 65_536;

const MARIADB_GROUP_COMMIT_ID: u8 = 2;
const MARIADB_PREPARED_XA: u8 = 64;

/// Prepared transactions that have no row of a followed table.
#[derive(Default)]
pub(super) struct Prepared(HashSet<String>);

impl Prepared {
    pub(super) fn add(&mut self, xid: String) {
        if self.0.len() >= PREPARED_MAX {
            self.0.clear();
        }
        self.0.insert(xid);
    }

    /// True if nothing of the transaction is wanted.
    pub(super) fn end(&mut self, xid: &str) -> bool {
        self.0.remove(xid)
    }
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

/// The id in a MariaDB GTID event that begins a transaction which will be prepared: sequence 8, domain 4, flags 1, with the flag
/// GROUP_COMMIT_ID an id 8, then format 4, length of the global part 1, of the branch 1, both.
pub(super) fn mariadb_begin(body: &[u8]) -> Result<Option<String>, Truncated> {
    let mut reader = Reader::new(body);
    reader.bytes(12)?;
    let flags = reader.u8()?;
    if flags & MARIADB_PREPARED_XA == 0 {
        return Ok(None);
    }
    if flags & MARIADB_GROUP_COMMIT_ID != 0 {
        reader.bytes(8)?;
    }
    let (format, global, branch) = (reader.u32()?, reader.u8()?, reader.u8()?);
    let (global, branch) = (reader.bytes(usize::from(global))?, reader.bytes(usize::from(branch))?);
    Ok(Some(text(format, global, branch)))
}
