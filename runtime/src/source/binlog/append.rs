//! The rows of one row event on their way to the lanes' builders.
//!
//! Block by block: first where each value lies, which change each row is and which lane it goes to; then, lane by lane, the values
//! column by column, so that what a column needs is looked up once and not for each of its values.
//!
//! An event may hold millions of rows: after each block that fills a batch, whoever called hands it on and comes again.
//! Invariant: a block is appended whole or not at all.

use crate::batcher::ColumnBuilder;
use crate::change::{Op, RowId};
use crate::lane::Lanes;

use super::absent::Absent;
use super::decode::Current;
use super::error::Problem;
use super::plan::{KeyHash, Plan};
use super::rows::{self, Cell, Present, RowsError, RowsEvent};
use super::value::{Decode, ValueError};
use super::values::{collation, decimal};

/// Rows of a block: their cells stay in the nearest cache.
const BLOCK_ROWS: usize = 128;
/// A block is over once it has so many bytes, so that a batch has at most these and one row more than it should.
const BLOCK_BYTES: usize = 64 * 1024;

/// How far an event is appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes of its rows.
    at: usize,
    /// Rows.
    row: u32,
}

/// Memory that is reused for every event.
#[derive(Default)]
pub(super) struct Scratch {
    /// The images of a block's rows, one after the other, a cell for each column. Empty if the event has none.
    before: Vec<Cell>,
    after: Vec<Cell>,
    /// What becomes of them, by lane, in source order.
    changes: Vec<Vec<Change>>,
    text: Vec<u8>,
    packed: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Change {
    op: Op,
    /// Index in the block.
    row: u32,
    /// Size of the row in the binlog.
    bytes: u32,
    place: u64,
}

/// One event while it is appended. Problems are boxed: a large result costs a row more than its values do.
pub(super) struct Appender<'a> {
    pub plan: &'a Plan,
    pub current: &'a mut Current,
    pub scratch: &'a mut Scratch,
    pub lanes: &'a mut Lanes,
    /// The bytes of the event's rows.
    rows: &'a [u8],
    is_skipping: bool,
}

impl<'a> Appender<'a> {
    pub(super) fn new(plan: &'a Plan, current: &'a mut Current, scratch: &'a mut Scratch, lanes: &'a mut Lanes) -> Appender<'a> {
        let is_skipping = current.skip_through.is_some_and(|through| through >> 32 >= u64::from(current.row_events));
        scratch.changes.resize_with(lanes.batchers.len(), Vec::new);
        Appender { plan, current, scratch, lanes, rows: &[], is_skipping }
    }

    /// Appends the rows of the event from `from` on, until a batch is full. `None`: that was all of them.
    pub(super) fn event(mut self, event: &RowsEvent<'a>, op: Op, from: Progress) -> Result<Option<Progress>, Box<Problem>> {
        let (first, second, rows) = event.images(self.plan.columns.len(), op == Op::Update).map_err(boxed)?;
        self.rows = rows;
        let mut done = from;
        loop {
            let place = self.place(done.row);
            let appended = self.block(op, first, second, &mut done).and_then(|()| self.append());
            if appended.is_err() {
                self.lanes.retract(RowId { transaction: self.current.transaction.number, place });
                appended?;
            }
            if done.at >= rows.len() {
                return Ok(None);
            }
            if self.lanes.is_any_full() {
                return Ok(Some(done));
            }
        }
    }

    /// Appends the next rows of an answer to a SELECT, from `at` on: one block. `since`: rows whose keys were touched since then are left
    /// out, which must have all their columns in the stream.
    pub(super) fn sent(mut self, sent: &'a [u8], at: &mut usize, row: &mut u32, since: u64) -> Result<(), Box<Problem>> {
        self.rows = sent;
        self.scratch.after.clear();
        self.scratch.changes.iter_mut().for_each(Vec::clear);
        let looks = self.lanes.touched.as_ref().is_some_and(|touched| !touched.is_empty());
        let first = RowId { transaction: self.current.transaction.number, place: u64::from(*row) * 2 };
        for in_block in 0..BLOCK_ROWS as u32 {
            if *at >= sent.len() {
                break;
            }
            let end = rows::walk_sent(&self.plan.columns, sent, *at, *row, &mut self.scratch.after).map_err(boxed)?;
            let change = Change { op: Op::Snapshot, row: in_block, bytes: (end - *at) as u32, place: u64::from(*row) * 2 };
            (*at, *row) = (end, *row + 1);
            if looks {
                let key = self.key(in_block, false)?;
                if let Some(touched) = self.lanes.touched.as_ref().filter(|touched| touched.is_touched(key, since)) {
                    if touched.is_partial(self.plan.seed) {
                        return Err(Box::new(Problem::ReadPartial));
                    }
                    continue;
                }
            }
            let key_hash = self.key_hash(in_block, false)?;
            let lane = self.lanes.lane_of_read(&self.plan.relation, key_hash);
            self.scratch.changes[lane].push(change);
        }
        let appended = self.append();
        if appended.is_err() {
            self.lanes.retract(first);
        }
        appended
    }

    /// [`RowId::place`] of a row of the event.
    #[inline]
    fn place(&self, row: u32) -> u64 {
        (u64::from(self.current.row_events) << 32) | (u64::from(row) * 2)
    }

    /// Finds the values of the next rows, and their lanes.
    fn block(&mut self, op: Op, first: Present<'_>, second: Present<'_>, done: &mut Progress) -> Result<(), Box<Problem>> {
        self.scratch.before.clear();
        self.scratch.after.clear();
        self.scratch.changes.iter_mut().for_each(Vec::clear);
        let Progress { at: start, .. } = *done;
        for in_block in 0..self.lanes.room().min(BLOCK_ROWS) {
            let Progress { at, row } = *done;
            if at >= self.rows.len() || at - start >= BLOCK_BYTES {
                break;
            }
            let end = self.walk(op, first, second, at, row).map_err(boxed)?;
            if end == at {
                return Err(boxed(RowsError::NoBytes { row }));
            }
            let change = Change { op, row: in_block as u32, bytes: (end - at) as u32, place: self.place(row) };
            self.row(change)?;
            *done = Progress { at: end, row: row + 1 };
        }
        Ok(())
    }

    /// Notes the cells of the images that `op` has; returns where the row ends.
    #[inline]
    fn walk(&mut self, op: Op, first: Present<'_>, second: Present<'_>, at: usize, row: u32) -> Result<usize, RowsError> {
        let (columns, Scratch { before, after, .. }) = (&self.plan.columns, &mut *self.scratch);
        match op {
            Op::Insert | Op::Snapshot => rows::walk(columns, first, self.rows, at, row, after),
            Op::Delete => rows::walk(columns, first, self.rows, at, row, before),
            Op::Update => {
                let start = before.len();
                let middle = rows::walk(columns, first, self.rows, at, row, before)?;
                let end = rows::walk(columns, second, self.rows, middle, row, after)?;
                if second.is_some() {
                    // What an update leaves out it does not change.
                    for (after, before) in after[start..].iter_mut().zip(&before[start..]) {
                        if after.is_absent() {
                            *after = *before;
                        }
                    }
                }
                Ok(end)
            }
        }
    }

    /// Decides what becomes of a row: an update that changes the key is a delete and an insert, each in the lane of its key.
    #[inline]
    fn row(&mut self, change: Change) -> Result<(), Box<Problem>> {
        if change.op != Op::Update {
            return self.change(change, change.op == Op::Delete);
        }
        let (plan, rows) = (self.plan, self.rows);
        let (before, after) = (image(&self.scratch.before, plan, change.row), image(&self.scratch.after, plan, change.row));
        let is_same = |c: u16| before[usize::from(c)].is_same(after[usize::from(c)], rows);
        if plan.key.iter().all(|part| is_same(part.column)) {
            return self.change(change, false);
        }
        let after = &after[..plan.relation.columns.len()];
        if let Some(absent) = after.iter().position(|cell| cell.is_absent()) {
            return Err(Box::new(Problem::KeyChangePartial { column: plan.relation.columns[absent].name.clone() }));
        }
        self.change(Change { op: Op::Delete, ..change }, true)?;
        self.change(Change { op: Op::Insert, place: change.place | 1, ..change }, false)
    }

    /// Notes one change, whose key is in the before or the after image, for its lane.
    #[inline]
    fn change(&mut self, change: Change, is_key_before: bool) -> Result<(), Box<Problem>> {
        if !self.lanes.held.is_empty()
            && self.plan.key.is_empty()
            && self.lanes.is_held(&self.plan.relation, &self.current.transaction)
        {
            return Ok(());
        }
        let key_hash = self.key_hash(change.row, is_key_before)?;
        if self.lanes.touched.is_some() {
            self.touch(change, is_key_before)?;
        }
        if self.is_skipping && self.current.skip_through.is_some_and(|through| change.place <= through) {
            return Ok(());
        }
        self.current.last_place = Some(change.place);
        if let Some(lane) = self.lanes.lane(&self.plan.relation, key_hash, change.place) {
            self.scratch.changes[lane].push(change);
        }
        Ok(())
    }

    #[cold]
    fn touch(&mut self, change: Change, is_key_before: bool) -> Result<(), Box<Problem>> {
        let key = self.key(change.row, is_key_before)?;
        let after = || &image(&self.scratch.after, self.plan, change.row)[..self.plan.relation.columns.len()];
        let is_whole = change.op == Op::Delete || after().iter().all(|c| !c.is_absent());
        if let Some(touched) = &mut self.lanes.touched {
            touched.note(key);
            if !is_whole {
                touched.note_partial(self.plan.seed);
            }
        }
        Ok(())
    }

    /// What tells a key from all others, byte by byte, whether the stream had it or the table.
    fn key(&mut self, row: u32, is_before: bool) -> Result<u128, Box<Problem>> {
        let plan = self.plan;
        let Some(touched) = &self.lanes.touched else { return Ok(0) };
        let mut hasher = touched.hasher();
        hasher.word(plan.seed as i64);
        let cells = image(if is_before { &self.scratch.before } else { &self.scratch.after }, plan, row);
        for part in &plan.key {
            let column = usize::from(part.column);
            let decode = &plan.columns[column].decode;
            match (cells[column].bytes(self.rows), part.hash) {
                (None, _) => hasher.word(0),
                (Some(cell), KeyHash::Word) => hasher.word(decode.word(cell).map_err(|error| value_error(plan, column, error))?),
                (Some(cell), KeyHash::Bytes) => {
                    hasher.bytes(packed(cell, decode, &mut self.scratch.packed).map_err(|error| value_error(plan, column, error))?)
                }
                (Some(cell), KeyHash::Text(_)) => hasher.bytes(cell),
            }
        }
        Ok(hasher.key())
    }

    /// Equal for keys that are equal at the source.
    #[inline]
    fn key_hash(&mut self, row: u32, is_before: bool) -> Result<u64, Box<Problem>> {
        let plan = self.plan;
        let cells = image(if is_before { &self.scratch.before } else { &self.scratch.after }, plan, row);
        let mut hash = plan.seed;
        for part in &plan.key {
            let column = usize::from(part.column);
            let cell = cells[column];
            let Some(bytes) = cell.bytes(self.rows) else {
                if cell.is_absent() {
                    return Err(Box::new(Problem::KeyAbsent { column: plan.relation.columns[column].name.clone() }));
                }
                hash = collation::hash_word(0, hash);
                continue;
            };
            let decode = &plan.columns[column].decode;
            hash = match (part.hash, decode) {
                (KeyHash::Word, _) => {
                    collation::hash_word(decode.word(bytes).map_err(|error| value_error(plan, column, error))?, hash)
                }
                (KeyHash::Bytes, decode) => {
                    let bytes =
                        packed(bytes, decode, &mut self.scratch.packed).map_err(|error| value_error(plan, column, error))?;
                    collation::hash_bytes(bytes, hash)
                }
                (KeyHash::Text(id), Decode::Transcode(charset)) => {
                    let text = &mut self.scratch.text;
                    text.clear();
                    let done = charset.transcode(bytes, text);
                    done.map_err(|_| value_error(plan, column, ValueError::Charset))?;
                    collation::hash(id, text, hash)
                }
                (KeyHash::Text(id), _) => collation::hash(id, bytes, hash),
            };
        }
        Ok(hash)
    }

    /// Appends the block to the builders of its lanes.
    fn append(&mut self) -> Result<(), Box<Problem>> {
        let (plan, transaction) = (self.plan, &self.current.transaction);
        for (changes, batcher) in self.scratch.changes.iter().zip(&mut self.lanes.batchers) {
            // Changes with the same images in a row, which is all of them but where keys change.
            for changes in changes.chunk_by(|a, b| a.op == b.op) {
                for change in changes {
                    let id = RowId { transaction: transaction.number, place: change.place };
                    let bytes = change.bytes as usize;
                    let builder = batcher.row(&plan.relation, &plan.wanted, change.op, id, bytes, || transaction.clone());
                    match change.op {
                        Op::Insert | Op::Snapshot => builder.no_before(),
                        Op::Delete => builder.no_after(),
                        Op::Update => {}
                    }
                }
                self.lanes.rows_read += changes.len() as u64;
                let builder = batcher.builder(&plan.relation);
                if changes[0].op != Op::Delete {
                    let absent = plan.absent.get().filter(|_| changes[0].op == Op::Insert);
                    append_image(plan, self.rows, &self.scratch.after, changes, absent.map(|a| &**a), builder.after())?;
                }
                if matches!(changes[0].op, Op::Delete | Op::Update) {
                    append_image(plan, self.rows, &self.scratch.before, changes, None, builder.before())?;
                }
            }
        }
        Ok(())
    }
}

/// A value that is hashed byte by byte, as the binlog has it: without the zeros at the end of a BINARY, and decimals packed.
#[inline]
fn packed<'c>(cell: &'c [u8], decode: &Decode, packed: &'c mut Vec<u8>) -> Result<&'c [u8], ValueError> {
    match *decode {
        Decode::Pad(_) | Decode::Address(_) => Ok(&cell[..cell.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1)]),
        Decode::SentDecimal { precision, scale } => {
            packed.clear();
            decimal::pack(cell, precision, scale, packed).map_err(|_| ValueError::Decimal)?;
            Ok(packed)
        }
        _ => Ok(cell),
    }
}

/// The cells of one row of a block.
#[inline]
fn image<'c>(cells: &'c [Cell], plan: &Plan, row: u32) -> &'c [Cell] {
    let columns = plan.columns.len();
    &cells[row as usize * columns..][..columns]
}

/// Appends the wanted values of one image. `absent`: what is in columns that it leaves out, which all images of an event do alike.
#[inline]
fn append_image(
    plan: &Plan,
    rows: &[u8],
    cells: &[Cell],
    changes: &[Change],
    absent: Option<&[Absent]>,
    out: &mut [Option<ColumnBuilder>],
) -> Result<(), Box<Problem>> {
    let columns = plan.columns.len();
    for (i, (out, column)) in out.iter_mut().zip(&plan.columns).enumerate() {
        let Some(out) = out else { continue };
        if let Some(absent) = absent
            && cells[changes[0].row as usize * columns + i].is_absent()
        {
            changes.iter().for_each(|_| absent[i].append(out));
            continue;
        }
        let cells = changes.iter().map(|change| cells[change.row as usize * columns + i]);
        column.decode.append_all(cells, rows, out).map_err(|error| value_error(plan, i, error))?;
    }
    Ok(())
}

#[cold]
fn boxed(error: RowsError) -> Box<Problem> {
    Box::new(error.into())
}

#[cold]
fn value_error(plan: &Plan, column: usize, error: ValueError) -> Box<Problem> {
    Box::new(Problem::Value { column: plan.relation.columns[column].name.clone(), error })
}
