//! Builds one lane's batches: the decoder appends rows, column by column; a full batch is turned into Arrow arrays without a copy.
//!
//! Pure: no clock, no I/O. Who owns a [`Batcher`] decides when to call [`Batcher::finish`]; [`Batcher::is_full`] says when it must.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date64Type, DurationMicrosecondType, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::change::{Batch, Column, ColumnDef, Kind, Op, Relation, RowId, Rows, Transaction};
use crate::position::Position;

/// The most bytes that one column of one batch can hold: Arrow's offsets are 32-bit.
pub const COLUMN_BYTES_MAX: usize = i32::MAX as usize;

/// A column that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{place}{relation}, column `{column}`: {problem}")]
pub struct BatchError {
    /// `file:offset (GTID): ` of the row's transaction; empty for rows that are not the source's.
    place: String,
    relation: String,
    column: Box<str>,
    /// Index in the relation's rows.
    row: usize,
    problem: BatchProblem,
}

#[derive(Debug, thiserror::Error)]
enum BatchProblem {
    #[error(
        "not valid UTF-8\nhint: the table's declared character set does not hold what is in it; convert the column or leave the table out"
    )]
    NotUtf8,
    #[error("more than 2 GiB of values in one batch\nhint: lower `batch.bytes`")]
    TooLarge,
}

/// A growing bitmap that stays unallocated while every bit is set.
#[derive(Debug)]
struct Bits {
    bytes: Vec<u8>,
    /// Rows covered by `bytes`; 0 while unallocated.
    len: usize,
    /// To make room for.
    rows: usize,
}

impl Bits {
    fn new(rows: usize) -> Bits {
        Bits { bytes: Vec::new(), len: 0, rows }
    }

    /// `count` rows from `row` on have clear bits; rows between the last call and this one have set ones.
    #[inline]
    fn clear(&mut self, row: usize, count: usize) {
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(self.rows.div_ceil(8));
        }
        self.extend(row);
        self.len = row + count;
        self.bytes.resize(self.len.div_ceil(8), 0);
    }

    /// Sets the bits up to `rows`. Bits above `len` are always clear.
    fn extend(&mut self, rows: usize) {
        if rows <= self.len {
            return;
        }
        if let Some(last) = self.bytes.last_mut()
            && !self.len.is_multiple_of(8)
        {
            *last |= 0xff << (self.len % 8);
        }
        self.bytes.resize(rows.div_ceil(8), 0xff);
        if let Some(last) = self.bytes.last_mut()
            && !rows.is_multiple_of(8)
        {
            *last &= (1 << (rows % 8)) - 1;
        }
        self.len = rows;
    }

    /// Forgets the rows from `rows` on.
    fn truncate(&mut self, rows: usize) {
        if self.len <= rows {
            return;
        }
        self.len = rows;
        self.bytes.truncate(rows.div_ceil(8));
        if let Some(last) = self.bytes.last_mut()
            && !rows.is_multiple_of(8)
        {
            *last &= (1 << (rows % 8)) - 1;
        }
    }

    fn finish(mut self, rows: usize) -> Option<BooleanBuffer> {
        if self.bytes.is_empty() {
            return None;
        }
        self.extend(rows);
        Some(BooleanBuffer::new(Buffer::from_vec(self.bytes), 0, rows))
    }
}

/// One column that grows row by row. Exactly one of [`word`](Self::word), [`bytes`](Self::bytes), [`null`](Self::null) and
/// [`absent`](Self::absent) is called a row; `word` for kinds with [`Kind::is_word`], `bytes` for the others.
#[derive(Debug)]
pub struct ColumnBuilder {
    words: Vec<i64>,
    data: Vec<u8>,
    /// Ends only; the leading zero is there from the start.
    offsets: Vec<i32>,
    nulls: Bits,
    absents: Bits,
    is_word: bool,
}

impl ColumnBuilder {
    pub(crate) fn new(kind: Kind, rows: usize, bytes: usize) -> ColumnBuilder {
        let is_word = kind.is_word() || kind == Kind::Boolean;
        let (words, offsets, data) = if is_word {
            (Vec::with_capacity(rows), Vec::new(), Vec::new())
        } else {
            (Vec::new(), Vec::with_capacity(rows + 1), Vec::with_capacity(bytes))
        };
        let mut builder = ColumnBuilder { words, data, offsets, nulls: Bits::new(rows), absents: Bits::new(rows), is_word };
        if !is_word {
            builder.offsets.push(0);
        }
        builder
    }

    #[inline]
    fn len(&self) -> usize {
        if self.is_word { self.words.len() } else { self.offsets.len() - 1 }
    }

    /// Appends a word: the bits of an i64, u64 or f64.
    #[inline]
    pub fn word(&mut self, word: i64) {
        debug_assert!(self.is_word);
        self.words.push(word);
    }

    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.end_bytes();
    }

    /// For values that are made in place: append to the buffer, then call [`end_bytes`](Self::end_bytes).
    #[inline]
    pub fn data(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    /// Ends the value whose bytes were appended to [`data`](Self::data).
    #[inline]
    pub fn end_bytes(&mut self) {
        debug_assert!(!self.is_word);
        // Saturates above 2 GiB, which `finish` reports.
        self.offsets.push(i32::try_from(self.data.len()).unwrap_or(i32::MAX));
    }

    #[inline]
    pub fn null(&mut self) {
        self.nulls.clear(self.len(), 1);
        if self.is_word { self.words.push(0) } else { self.end_bytes() }
    }

    /// `count` rows at once do not have the image that the column is of.
    fn missing(&mut self, count: usize) {
        let len = self.len();
        self.nulls.clear(len, count);
        if self.is_word {
            self.words.resize(len + count, 0);
        } else {
            let end = self.offsets[len];
            self.offsets.resize(len + count + 1, end);
        }
    }

    /// The row image does not have this column.
    #[inline]
    pub fn absent(&mut self) {
        self.absents.clear(self.len(), 1);
        self.null();
    }

    /// Forgets what was appended from row `rows` on, half a value among it.
    fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        self.absents.truncate(rows);
        if self.is_word {
            self.words.truncate(rows);
            return;
        }
        self.offsets.truncate(rows + 1);
        // Beyond that the offsets are not true, which `finish` reports.
        if self.data.len() <= COLUMN_BYTES_MAX {
            self.data.truncate(self.offsets[self.offsets.len() - 1] as usize);
        }
    }

    /// `relation` and `column` name it in an error.
    pub(crate) fn finish(self, kind: Kind, rows: usize, relation: &Relation, column: usize) -> Result<Column, BatchError> {
        assert_eq!(self.len(), rows, "{relation}, column {column}: every column gets one value a row");
        let error = |row, problem| {
            let (relation, column) = (relation.to_string(), relation.columns[column].name.clone());
            BatchError { place: String::new(), relation, column, row, problem }
        };
        if self.data.len() > COLUMN_BYTES_MAX {
            return Err(error(0, BatchProblem::TooLarge));
        }
        let nulls = self.nulls.finish(rows).map(NullBuffer::new);
        let present = self.absents.finish(rows);
        let words = self.words;
        let values: ArrayRef = match kind {
            Kind::Int64 => primitive::<Int64Type>(words, nulls),
            Kind::UInt64 => primitive::<UInt64Type>(words, nulls),
            Kind::Float64 => primitive::<Float64Type>(words, nulls),
            Kind::Date => primitive::<Date64Type>(words, nulls),
            Kind::Time => primitive::<DurationMicrosecondType>(words, nulls),
            Kind::DateTime => primitive::<TimestampMicrosecondType>(words, nulls),
            Kind::Timestamp => {
                Arc::new(PrimitiveArray::<TimestampMicrosecondType>::new(ScalarBuffer::from(words), nulls).with_timezone("UTC"))
            }
            Kind::Text | Kind::Decimal | Kind::Json => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
                // One check a column; a value boundary inside a character is caught as well. Decimals are digits that were made here.
                let is_text = |data: &[u8]| {
                    let is_start = |o: &i32| data.get(*o as usize).is_none_or(|b| b & 0xc0 != 0x80);
                    simdutf8::basic::from_utf8(data).is_ok() && offsets.iter().all(is_start)
                };
                if kind != Kind::Decimal && !is_text(&self.data) {
                    let is_broken = |ends: &[i32]| {
                        let value = self.data.get(ends[0] as usize..ends[1] as usize);
                        value.is_none_or(|value| std::str::from_utf8(value).is_err())
                    };
                    return Err(error(offsets.windows(2).position(is_broken).unwrap_or(0), BatchProblem::NotUtf8));
                }
                // SAFETY: the bytes are valid UTF-8 as a whole and every offset is on a character boundary; offsets grow.
                Arc::new(unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(self.data), nulls) })
            }
            Kind::Bytes => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
                Arc::new(BinaryArray::new(offsets, Buffer::from_vec(self.data), nulls))
            }
            Kind::Boolean => {
                let values = words.iter().map(|w| *w != 0).collect::<BooleanBuffer>();
                Arc::new(BooleanArray::new(values, nulls))
            }
        };
        Ok(Column { values, present })
    }
}

fn primitive<T: ArrowPrimitiveType>(words: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
    let len = words.len();
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::new(Buffer::from_vec(words), 0, len), nulls))
}

/// Which columns of a relation anyone downstream reads; the decoder skips the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// By column index.
    pub after: Vec<bool>,
    pub before: Vec<bool>,
}

/// What a relation had in its last batch, by which the next one's buffers are sized.
#[derive(Debug, Default)]
struct Expected {
    /// Its id.
    relation: u32,
    rows: usize,
    after: Arc<[usize]>,
    before: Arc<[usize]>,
}

/// One image of a relation's rows.
#[derive(Debug, Default)]
struct Image {
    /// By column index; empty until the first row that has this image.
    columns: Vec<Option<ColumnBuilder>>,
    /// Rows since the last one that has this image.
    missing: usize,
    /// Bytes to expect in each column.
    bytes: Arc<[usize]>,
}

impl Image {
    /// The columns for the next row, made at the first call; rows without this image are caught up with.
    #[inline]
    fn columns(&mut self, relation: &Relation, wanted: &[bool], rows: usize) -> &mut [Option<ColumnBuilder>] {
        if self.columns.is_empty() {
            let bytes = |column: usize| self.bytes.get(column).map_or(rows * 16, |bytes| bytes + bytes / 8);
            let builder =
                |(i, (c, wanted)): (usize, (&ColumnDef, &bool))| wanted.then(|| ColumnBuilder::new(c.kind(), rows, bytes(i)));
            self.columns = relation.columns.iter().zip(wanted).enumerate().map(builder).collect();
        }
        self.catch_up();
        &mut self.columns
    }

    #[inline]
    fn catch_up(&mut self) {
        if self.missing > 0 {
            let missing = std::mem::take(&mut self.missing);
            self.columns.iter_mut().flatten().for_each(|c| c.missing(missing));
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().flatten().for_each(|c| c.truncate(rows));
        let has = if self.columns.is_empty() { 0 } else { self.columns.iter().flatten().next().map_or(rows, ColumnBuilder::len) };
        self.missing = rows - has;
    }

    fn sizes(&self) -> Arc<[usize]> {
        self.columns.iter().map(|c| c.as_ref().map_or(0, |c| c.data.len())).collect()
    }

    fn finish(mut self, relation: &Relation, rows: usize) -> Result<Vec<Option<Column>>, BatchError> {
        if self.columns.is_empty() {
            return Ok(vec![None; relation.columns.len()]);
        }
        self.catch_up();
        let finish =
            |(i, b): (usize, Option<ColumnBuilder>)| b.map(|b| b.finish(relation.columns[i].kind(), rows, relation, i)).transpose();
        self.columns.into_iter().enumerate().map(finish).collect()
    }
}

/// One relation's rows in the making. A row is [`start`](Self::start), then for each image one value for every wanted column, or
/// word that the row does not have it.
#[derive(Debug)]
pub struct RowsBuilder {
    relation: Arc<Relation>,
    wanted: Arc<Wanted>,
    ops: Vec<Op>,
    ids: Vec<RowId>,
    after: Image,
    before: Image,
}

impl RowsBuilder {
    fn new(relation: Arc<Relation>, wanted: Arc<Wanted>, expected: &Expected, rows_max: usize) -> RowsBuilder {
        let rows = (expected.rows + expected.rows / 8).clamp(4, rows_max.max(4));
        RowsBuilder {
            ops: Vec::with_capacity(rows),
            ids: Vec::with_capacity(rows),
            after: Image { bytes: Arc::clone(&expected.after), ..Image::default() },
            before: Image { bytes: Arc::clone(&expected.before), ..Image::default() },
            relation,
            wanted,
        }
    }

    #[inline]
    pub fn start(&mut self, op: Op, id: RowId) {
        self.ops.push(op);
        self.ids.push(id);
    }

    /// The after columns, by column index; `None` is not wanted.
    #[inline]
    pub fn after(&mut self) -> &mut [Option<ColumnBuilder>] {
        self.after.columns(&self.relation, &self.wanted.after, self.ops.capacity())
    }

    /// The before columns, as [`after`](Self::after).
    #[inline]
    pub fn before(&mut self) -> &mut [Option<ColumnBuilder>] {
        self.before.columns(&self.relation, &self.wanted.before, self.ops.capacity())
    }

    /// The row has no after image (a delete).
    #[inline]
    pub fn no_after(&mut self) {
        self.after.missing += 1;
    }

    /// The row has no before image (an insert).
    #[inline]
    pub fn no_before(&mut self) {
        self.before.missing += 1;
    }

    /// Takes back the rows from `id` on; returns how many they were.
    fn retract(&mut self, id: RowId) -> usize {
        let rows = self.ids.partition_point(|of_row| *of_row < id);
        let count = self.ids.len() - rows;
        if count > 0 {
            self.ops.truncate(rows);
            self.ids.truncate(rows);
            self.after.truncate(rows);
            self.before.truncate(rows);
        }
        count
    }

    /// `transactions`: those of the batch.
    fn finish(self, transactions: &[Transaction]) -> Result<(Rows, Expected), BatchError> {
        let RowsBuilder { relation, wanted, ops, ids, mut after, before } = self;
        // After columns are there even if all rows are deletes.
        after.columns(&relation, &wanted.after, ops.len());
        let expected = Expected { relation: relation.id, rows: ops.len(), after: after.sizes(), before: before.sizes() };
        let finish = |image: Image| {
            image.finish(&relation, ops.len()).map_err(|error| BatchError { place: place(&ids, error.row, transactions), ..error })
        };
        let (after, before) = (finish(after)?, finish(before)?);
        Ok((Rows { relation, ops, ids, after, before, topics: None }, expected))
    }
}

/// Where the transaction of a row begins.
fn place(ids: &[RowId], row: usize, transactions: &[Transaction]) -> String {
    let of_row = |id: &RowId| transactions.iter().find(|t| t.number == id.transaction);
    let Some(Transaction { file, offset, gtid, .. }) = ids.get(row).and_then(of_row) else { return String::new() };
    let gtid = gtid.as_ref().map(|gtid| format!(" ({gtid})")).unwrap_or_default();
    format!("{file}:{offset}{gtid}: ")
}

/// The open batch of one lane.
#[derive(Debug)]
pub struct Batcher {
    rows_max: usize,
    bytes_max: usize,
    open: Vec<RowsBuilder>,
    /// By [`Relation::slot`]: the relation's id, and 1 + index in `open`, 0 for none.
    index: Vec<(u32, u32)>,
    /// Relations in `open` have shared a slot, so that `index` does not find all of them.
    has_shared: bool,
    /// By [`Relation::slot`].
    expected: Vec<Expected>,
    transactions: Vec<Transaction>,
    /// See [`Batch::ends`].
    ends: Vec<(u64, Arc<Position>)>,
    rows: usize,
    bytes: usize,
    first: RowId,
    last: RowId,
}

impl Batcher {
    /// A batch is full at `rows_max` rows or `bytes_max` bytes, whichever comes first; one row may exceed `bytes_max`.
    pub fn new(rows_max: usize, bytes_max: usize) -> Batcher {
        Batcher {
            rows_max,
            bytes_max,
            open: Vec::new(),
            index: Vec::new(),
            has_shared: false,
            expected: Vec::new(),
            transactions: Vec::new(),
            ends: Vec::new(),
            rows: 0,
            bytes: 0,
            first: RowId::default(),
            last: RowId::default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    #[inline]
    pub fn is_full(&self) -> bool {
        self.rows >= self.rows_max || self.bytes >= self.bytes_max
    }

    /// How many rows it still takes.
    #[inline]
    pub fn room(&self) -> usize {
        self.rows_max.saturating_sub(self.rows)
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The id of the first row of the open batch; `None` while it is empty.
    pub fn first(&self) -> Option<RowId> {
        (self.rows > 0).then_some(self.first)
    }

    /// The id of the last row that was appended.
    pub fn last(&self) -> RowId {
        self.last
    }

    /// Counts one row of `bytes` value bytes and returns where to append it. `transaction` is called for the first row of a
    /// transaction in this batch.
    #[inline]
    pub fn row(
        &mut self,
        relation: &Arc<Relation>,
        wanted: &Arc<Wanted>,
        op: Op,
        id: RowId,
        bytes: usize,
        transaction: impl FnOnce() -> Transaction,
    ) -> &mut RowsBuilder {
        if self.rows == 0 {
            self.first = id;
        }
        if self.transactions.last().is_none_or(|t| t.number != id.transaction) {
            self.transactions.push(transaction());
        }
        self.last = id;
        self.rows += 1;
        self.bytes += bytes;
        let at = match self.index.get(relation.slot()) {
            Some((known, at @ 1..)) if *known == relation.id => *at as usize - 1,
            Some(_) | None => self.open(relation, wanted),
        };
        let builder = &mut self.open[at];
        builder.start(op, id);
        builder
    }

    /// The index in `open` of a relation that `index` does not have.
    fn open(&mut self, relation: &Arc<Relation>, wanted: &Arc<Wanted>) -> usize {
        let slot = relation.slot();
        if slot >= self.index.len() {
            self.index.resize(slot + 1, (0, 0));
            self.expected.resize_with(slot + 1, Expected::default);
        }
        self.has_shared |= self.index[slot].1 > 0;
        let there = if self.has_shared { self.open.iter().position(|builder| builder.relation.id == relation.id) } else { None };
        let at = there.unwrap_or_else(|| {
            let unknown = Expected::default();
            let expected = Some(&self.expected[slot]).filter(|e| e.relation == relation.id).unwrap_or(&unknown);
            self.open.push(RowsBuilder::new(Arc::clone(relation), Arc::clone(wanted), expected, self.rows_max));
            self.open.len() - 1
        });
        self.index[slot] = (relation.id, at as u32 + 1);
        at
    }

    /// The builder of the relation that the last row is of.
    #[inline]
    pub fn builder(&mut self, relation: &Relation) -> &mut RowsBuilder {
        &mut self.open[self.index[relation.slot()].1 as usize - 1]
    }

    /// Takes back the rows from `id` on, of which values may be missing: what is before them is whole. Returns how many they were.
    pub fn retract(&mut self, id: RowId) -> usize {
        let retracted = self.open.iter_mut().map(|builder| builder.retract(id)).sum::<usize>();
        self.rows -= retracted;
        // What was made for these rows is behind what had rows before.
        while let Some(empty) = self.open.pop_if(|builder| builder.ops.is_empty()) {
            self.index[empty.relation.slot()] = (0, 0);
        }
        self.last = self.open.iter().filter_map(|builder| builder.ids.last().copied()).max().unwrap_or_default();
        self.transactions.retain(|t| t.number <= self.last.transaction);
        retracted
    }

    /// The transaction of the last row ends at `resume`, as its target transaction is to do, or one without rows behind it.
    pub fn end_transaction(&mut self, resume: Arc<Position>) {
        match self.ends.last_mut() {
            Some((number, end)) if *number == self.last.transaction => *end = resume,
            _ => self.ends.push((self.last.transaction, resume)),
        }
    }

    /// Takes the open batch; `None` if it has no rows. After an error its rows are gone. For the parameters see [`Batch`].
    pub fn finish(&mut self, resume: Arc<Position>, ends_transaction: bool) -> Result<Option<Batch>, BatchError> {
        let (rows, bytes) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.bytes));
        if rows == 0 {
            return Ok(None);
        }
        let mut relations = Vec::with_capacity(self.open.len());
        for builder in self.open.drain(..) {
            let slot = builder.relation.slot();
            self.index[slot] = (0, 0);
            let (rows, expected) = builder.finish(&self.transactions)?;
            self.expected[slot] = expected;
            relations.push(rows);
        }
        self.has_shared = false;
        let expected = self.transactions.len();
        let transactions = std::mem::replace(&mut self.transactions, Vec::with_capacity(expected));
        let ends = std::mem::take(&mut self.ends);
        let (first, last) = (self.first, self.last);
        let is_read = relations.iter().any(|rows: &Rows| rows.ops.first() == Some(&Op::Snapshot));
        let batch = Batch { relations, transactions, rows, bytes, first, last, resume, is_read, ends, ends_transaction };
        Ok(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;

    use super::*;
    use crate::change::{KeyOrigin, SourceType};

    /// Relations without end, of which several share a slot in one batch.
    #[test]
    fn relations_that_come_and_go_take_no_memory() {
        let wanted = Arc::new(Wanted { after: Vec::new(), before: Vec::new() });
        let transaction = || Transaction { number: 1, gtid: None, file: "f".into(), offset: 4, commit_time_us: 0 };
        let relation = |id| {
            let key_origin = KeyOrigin::WholeRow;
            Arc::new(Relation { id, schema: "s".into(), table: "t".into(), columns: Vec::new(), key: Vec::new(), key_origin })
        };
        let mut batcher = Batcher::new(1000, usize::MAX);
        for first in (0..Relation::SLOTS as u32 * 3).step_by(100) {
            let ids = [first, first + Relation::SLOTS as u32, first + 1, first];
            for (place, id) in (0..).zip(ids.iter().cycle().take(12)) {
                let row = batcher.row(&relation(*id), &wanted, Op::Insert, RowId { transaction: 1, place }, 1, transaction);
                row.no_before();
                row.after();
            }
            let half = batcher.row(&relation(first + 2), &wanted, Op::Insert, RowId { transaction: 1, place: 12 }, 1, transaction);
            half.no_before();
            batcher.retract(RowId { transaction: 1, place: 12 });
            let resume = Arc::new(Position { file: "f".into(), offset: 4, gtids: None, home: None });
            let batch = batcher.finish(resume, true).unwrap().unwrap();
            let places = |r: &Rows| (r.relation.id, r.ids.iter().map(|id| id.place).collect::<Vec<_>>());
            let expected = [(ids[0], vec![0, 3, 4, 7, 8, 11]), (ids[1], vec![1, 5, 9]), (ids[2], vec![2, 6, 10])];
            assert_eq!(batch.relations.iter().map(places).collect::<Vec<_>>(), expected);
        }
        assert!(batcher.index.len() <= Relation::SLOTS && batcher.expected.len() <= Relation::SLOTS);
    }

    /// The decoder stops in the middle of a row: what is before it leaves whole.
    #[test]
    fn a_half_appended_row_is_taken_back() {
        let column = |name: &str, source_type| ColumnDef { name: name.into(), source_type, nullable: true };
        let relation = |id, key_origin| {
            let columns = vec![column("a", SourceType::Int { bits: 64, unsigned: false }), column("b", SourceType::Json)];
            Arc::new(Relation { id, schema: "s".into(), table: "t".into(), columns, key: vec![0], key_origin })
        };
        let (first, second) = (relation(0, KeyOrigin::Primary), relation(1, KeyOrigin::Unique));
        let wanted = Arc::new(Wanted { after: vec![true; 2], before: vec![true; 2] });
        let transaction = |number| Transaction { number, gtid: None, file: "f".into(), offset: 4, commit_time_us: 0 };
        let resume = || Arc::new(Position { file: "f".into(), offset: 4, gtids: None, home: None });
        for whole in 0..10u64 {
            for fault in [&first, &second] {
                let mut batcher = Batcher::new(100, usize::MAX);
                let ids = [RowId { transaction: 1, place: 2 }, RowId { transaction: 2, place: 2 }];
                for place in 0..whole {
                    let id = RowId { transaction: 1, place };
                    let row = batcher.row(&first, &wanted, Op::Delete, id, 1, || transaction(1));
                    row.no_after();
                    row.before().iter_mut().flatten().for_each(|c| c.null());
                }
                let half = batcher.row(fault, &wanted, Op::Update, ids[1], 1, || transaction(2));
                half.before().iter_mut().flatten().for_each(|c| c.absent());
                let columns = half.after();
                columns[0].as_mut().unwrap().word(7);
                columns[1].as_mut().unwrap().data().push(b'{');
                batcher.retract(ids[1]);
                assert_eq!(batcher.rows() as u64, whole);
                let batch = batcher.finish(resume(), true).unwrap();
                assert_eq!(batch.is_some(), whole > 0);
                let Some(batch) = batch else { continue };
                assert_eq!((batch.last.place, batch.transactions.len(), batch.relations.len()), (whole - 1, 1, 1));
                let before = batch.relations[0].before[0].as_ref().unwrap();
                assert_eq!(before.values.null_count() as u64, whole);
                assert!(before.present.as_ref().is_none_or(|p| p.count_set_bits() as u64 == whole));
                assert_eq!(batch.relations[0].after[1].as_ref().unwrap().values.len() as u64, whole);
            }
        }
    }
}
