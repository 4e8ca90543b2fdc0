//! Sources: where changes are read.
//!
//! A source is opened once and may feed several pipelines. What they share is the framed stream: [`Segment`]s of whole, checked,
//! decompressed events with their transaction boundaries. Decoding belongs to each pipeline ([`binlog::decode::Decoder`]).
//! Sources never see sinks.

use std::sync::Arc;

use bytes::Bytes;

use crate::position::Gtid;

/// A run of whole binlog events of one file, in read order. Checksums are verified and cut off, compressed transactions and
/// MariaDB's compressed events are decompressed: a decoder sees plain events only.
#[derive(Debug)]
pub struct Segment {
    /// Base name of the binlog file.
    pub file: Arc<str>,
    pub data: Bytes,
    pub events: Vec<Framed>,
    /// The transactions that begin in this segment.
    pub transactions: Vec<TransactionBegin>,
    /// Number of segments before this one in the shared stream.
    pub index: u64,
}

/// One event of a [`Segment`].
#[derive(Clone, Copy, Debug)]
pub struct Framed {
    /// Where its 19-byte header begins in [`Segment::data`].
    pub start: usize,
    /// Header and body, without checksum.
    pub len: usize,
    /// Where it begins in its file; an event of a compressed transaction has the offset of the event that carried it.
    pub offset: u64,
    /// Where the event after it begins in its file (after the carrying event, for an event out of a compressed transaction).
    pub next: u64,
    pub boundary: Boundary,
}

/// What an event means for the transaction that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Inside a transaction, or outside of any.
    Within,
    /// The first event (a GTID event, or BEGIN where there are none): index into [`Segment::transactions`].
    Begin(u32),
    /// The last event: XID, COMMIT, ROLLBACK, or a statement that commits by itself (DDL). What comes before [`Framed::next`] is complete.
    End,
    /// The connection was lost within a transaction, and reading went on at its beginning: this event begins it again. The decoder
    /// skips the rows that it has passed on already.
    BeginAgain(u32),
}

#[derive(Clone, Debug)]
pub struct TransactionBegin {
    /// `None`: anonymous.
    pub gtid: Option<Gtid>,
    /// Where it begins.
    pub offset: u64,
    /// Microseconds since the epoch; from the GTID event where it has them, else the event header's seconds.
    pub commit_time_us: i64,
}

/// A table as the server describes it now (information_schema), for what a TABLE_MAP event does not say.
#[derive(Clone, Debug, Default)]
pub struct TableInfo {
    pub columns: Vec<ColumnInfo>,
    /// Column indexes of the primary key, in key order; empty: none.
    pub primary_key: Vec<u16>,
    /// Column indexes of the first unique key whose columns are all NOT NULL; empty: none.
    pub unique_key: Vec<u16>,
}

#[derive(Clone, Debug)]
pub struct ColumnInfo {
    pub name: Box<str>,
    /// COLUMN_TYPE, as the server writes it: `int unsigned`, `enum('a','b')`, `varchar(20)`.
    pub column_type: Box<str>,
    /// Collation id (information_schema.COLLATIONS.ID) of a text column.
    pub collation: Option<u16>,
    pub nullable: bool,
    /// A virtual generated column: MySQL logs it, too (as it does stored ones).
    pub virtual_generated: bool,
    pub invisible: bool,
}
