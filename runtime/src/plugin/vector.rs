//! Columns across the boundary: Arrow arrays as the bytes that a guest gets, and a guest's bytes, checked, as Arrow arrays.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date64Type, DurationMicrosecondType, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use super::bindings::tidegate::plugin::types::{BufferParam, BufferResult, VarlenParam, VarlenResult, VectorParam, VectorResult};
use crate::batcher::{BatchError, ColumnBuilder};
use crate::change::{Column, Kind, Relation};
use crate::temporal::INVALID_MAX;

// Arrow's buffers are passed as they are; the interface says little-endian.
const _: () = assert!(cfg!(target_endian = "little"));

/// The words of real dates of the years 0 to 9999: milliseconds, microseconds.
const DATE_WORDS: Range<i64> = -62_167_219_200_000..253_402_300_800_000;
const DATETIME_WORDS: Range<i64> = DATE_WORDS.start * 1000..DATE_WORDS.end * 1000;

/// One column on its way to a guest: borrowed from Arrow where every row is passed, gathered where only some are.
pub(super) struct Passed<'a> {
    kind: Kind,
    nulls: Cow<'a, [u8]>,
    present: Cow<'a, [u8]>,
    data: PassedData<'a>,
}

enum PassedData<'a> {
    Words(Cow<'a, [u8]>),
    Bits(Cow<'a, [u8]>),
    Packed(Cow<'a, [u8]>, Cow<'a, [u8]>),
    Strings(Vec<&'a str>),
}

impl<'a> Passed<'a> {
    /// `picks`: the rows to pass; `None`: all. `strings`: texts one by one.
    pub(super) fn new(column: &'a Column, kind: Kind, picks: Option<&[u32]>, strings: bool) -> Passed<'a> {
        let array = &*column.values;
        let data = match kind {
            Kind::Boolean => PassedData::Bits(bitmap(array.as_boolean().values(), picks)),
            Kind::Text | Kind::Decimal | Kind::Json if strings => {
                let array = array.as_string::<i32>();
                PassedData::Strings(match picks {
                    None => (0..array.len()).map(|row| array.value(row)).collect(),
                    Some(picks) => picks.iter().map(|&row| array.value(row as usize)).collect(),
                })
            }
            Kind::Text | Kind::Decimal | Kind::Json => {
                let array = array.as_string::<i32>();
                packed(array.offsets(), array.value_data(), picks)
            }
            Kind::Bytes => {
                let array = array.as_binary::<i32>();
                packed(array.offsets(), array.value_data(), picks)
            }
            _ => {
                let bytes = word_bytes(array, kind);
                PassedData::Words(match picks {
                    None => Cow::Borrowed(bytes),
                    Some(picks) => {
                        Cow::Owned(picks.iter().flat_map(|&row| &bytes[row as usize * 8..row as usize * 8 + 8]).copied().collect())
                    }
                })
            }
        };
        let bits = |bits: Option<&'a BooleanBuffer>| bits.map_or(Cow::Borrowed(&[][..]), |bits| bitmap(bits, picks));
        Passed { kind, nulls: bits(array.nulls().map(NullBuffer::inner)), present: bits(column.present.as_ref()), data }
    }

    /// A column of texts that is in no array.
    pub(super) fn texts(texts: &[Option<&'a str>], strings: bool) -> Passed<'a> {
        let nulls = match texts.iter().all(Option::is_some) {
            true => Vec::new(),
            false => gather_bits(texts.len(), |i| texts[i].is_some()),
        };
        let values = texts.iter().map(|text| text.unwrap_or_default());
        let data = if strings {
            PassedData::Strings(values.collect())
        } else {
            let offsets = OffsetBuffer::<i32>::from_lengths(values.clone().map(str::len));
            let offsets = offsets.inner().inner().as_slice().to_vec();
            PassedData::Packed(Cow::Owned(offsets), Cow::Owned(values.collect::<String>().into_bytes()))
        };
        Passed { kind: Kind::Text, nulls: Cow::Owned(nulls), present: Cow::Borrowed(&[]), data }
    }

    pub(super) fn words(kind: Kind, words: impl Iterator<Item = [u8; 8]>) -> Passed<'a> {
        let data = PassedData::Words(Cow::Owned(words.flatten().collect()));
        Passed { kind, nulls: Cow::Borrowed(&[]), present: Cow::Borrowed(&[]), data }
    }

    pub(super) fn param(&self) -> VectorParam<'_> {
        let data = match &self.data {
            PassedData::Words(words) => BufferParam::Words(words),
            PassedData::Bits(bits) => BufferParam::Bits(bits),
            PassedData::Packed(offsets, data) => BufferParam::Packed(VarlenParam { offsets, data }),
            PassedData::Strings(strings) => BufferParam::Strings(strings),
        };
        VectorParam { kind: self.kind as u8, nulls: &self.nulls, present: &self.present, data }
    }
}

/// The bytes of a bitmap from its first bit on. Arrow's may begin within a byte.
fn bitmap<'a>(bits: &'a BooleanBuffer, picks: Option<&[u32]>) -> Cow<'a, [u8]> {
    match picks {
        Some(picks) => Cow::Owned(gather_bits(picks.len(), |i| bits.value(picks[i] as usize))),
        None if bits.offset().is_multiple_of(8) => Cow::Borrowed(&bits.values()[bits.offset() / 8..][..bits.len().div_ceil(8)]),
        None => Cow::Owned(gather_bits(bits.len(), |i| bits.value(i))),
    }
}

fn gather_bits(len: usize, bit: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut bytes = vec![0; len.div_ceil(8)];
    for i in (0..len).filter(|&i| bit(i)) {
        bytes[i / 8] |= 1 << (i % 8);
    }
    bytes
}

/// Arrow's offsets may begin above 0, and its data end after the last of them.
fn packed<'a>(offsets: &'a OffsetBuffer<i32>, data: &'a [u8], picks: Option<&[u32]>) -> PassedData<'a> {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let Some(picks) = picks else {
        let bytes = match first {
            0 => Cow::Borrowed(offsets.inner().inner().as_slice()),
            _ => Cow::Owned(offsets.iter().flat_map(|o| (o - first).to_le_bytes()).collect()),
        };
        return PassedData::Packed(bytes, Cow::Borrowed(&data[first as usize..last as usize]));
    };
    let mut ends = Vec::with_capacity((picks.len() + 1) * 4);
    let mut gathered = Vec::new();
    ends.extend(0i32.to_le_bytes());
    for &row in picks {
        gathered.extend_from_slice(&data[offsets[row as usize] as usize..offsets[row as usize + 1] as usize]);
        // What is gathered is a part of a column, which has fewer than 2 GiB.
        ends.extend((gathered.len() as i32).to_le_bytes());
    }
    PassedData::Packed(Cow::Owned(ends), Cow::Owned(gathered))
}

fn word_buffer(array: &dyn Array, kind: Kind) -> &Buffer {
    match kind {
        Kind::Int64 => array.as_primitive::<Int64Type>().values().inner(),
        Kind::UInt64 => array.as_primitive::<UInt64Type>().values().inner(),
        Kind::Float64 => array.as_primitive::<Float64Type>().values().inner(),
        Kind::Date => array.as_primitive::<Date64Type>().values().inner(),
        Kind::Time => array.as_primitive::<DurationMicrosecondType>().values().inner(),
        Kind::DateTime | Kind::Timestamp => array.as_primitive::<TimestampMicrosecondType>().values().inner(),
        Kind::Boolean | Kind::Text | Kind::Bytes | Kind::Decimal | Kind::Json => unreachable!("{kind:?} is not made of words"),
    }
}

fn word_bytes(array: &dyn Array, kind: Kind) -> &[u8] {
    word_buffer(array, kind).as_slice()
}

/// A guest's vector of `rows` values as a column of `kind`; the error says what is wrong with it.
pub(super) fn column(vector: VectorResult, kind: Kind, rows: usize) -> Result<Column, String> {
    if vector.kind != kind as u8 {
        return Err(format!("kind {} for a column of kind {} ({kind:?})", vector.kind, kind as u8));
    }
    let bits = |name: &str, bytes: Vec<u8>| -> Result<Option<BooleanBuffer>, String> {
        if bytes.is_empty() {
            return Ok(None);
        }
        bitmap_of(bytes, rows).map(Some).map_err(|e| format!("{name}: {e}"))
    };
    let mut nulls = bits("`nulls`", vector.nulls)?;
    let present = bits("`present`", vector.present)?;
    if let Some(present) = &present {
        nulls = Some(nulls.map_or_else(|| present.clone(), |nulls| &nulls & present));
    }
    let nulls = nulls.map(NullBuffer::new);
    let values: ArrayRef = match (vector.data, kind) {
        (BufferResult::Bits(bits), Kind::Boolean) => Arc::new(BooleanArray::new(bitmap_of(bits, rows)?, nulls)),
        (BufferResult::Words(bytes), kind) if kind.is_word() => words(bytes, kind, rows, nulls)?,
        (BufferResult::Packed(varlen), Kind::Bytes) => {
            let (offsets, data) = offsets(varlen, rows)?;
            Arc::new(BinaryArray::new(offsets, Buffer::from_vec(data), nulls))
        }
        (BufferResult::Packed(varlen), Kind::Text | Kind::Decimal | Kind::Json) => {
            let (offsets, data) = offsets(varlen, rows)?;
            text(offsets, data, nulls)?
        }
        (BufferResult::Strings(strings), Kind::Text | Kind::Decimal | Kind::Json) => {
            if strings.len() != rows {
                return Err(format!("{} strings for {rows} rows", strings.len()));
            }
            let offsets = OffsetBuffer::from_lengths(strings.iter().map(String::len));
            Arc::new(StringArray::new(offsets, Buffer::from_vec(strings.concat().into_bytes()), nulls))
        }
        (data, _) => {
            let shape = match data {
                BufferResult::Words(_) => "words",
                BufferResult::Bits(_) => "bits",
                BufferResult::Packed(_) => "packed",
                BufferResult::Strings(_) => "strings",
            };
            return Err(format!("a buffer of `{shape}` for kind {kind:?}"));
        }
    };
    Ok(Column { values, present })
}

/// A guest's bitmap of `rows` bits.
pub(super) fn bitmap_of(bytes: Vec<u8>, rows: usize) -> Result<BooleanBuffer, String> {
    if bytes.len() != rows.div_ceil(8) {
        return Err(format!("a bitmap of {} bytes for {rows} rows, which take {}", bytes.len(), rows.div_ceil(8)));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes), 0, rows))
}

fn words(bytes: Vec<u8>, kind: Kind, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef, String> {
    if bytes.len() != rows * 8 {
        return Err(format!("words of {} bytes for {rows} rows, which take {}", bytes.len(), rows * 8));
    }
    let words = ScalarBuffer::<i64>::new(aligned(bytes), 0, rows);
    let range = match kind {
        Kind::Date => Some(DATE_WORDS),
        Kind::DateTime | Kind::Timestamp => Some(DATETIME_WORDS),
        _ => None,
    };
    if let Some(range) = range {
        let outside = |row: usize| {
            nulls.as_ref().is_none_or(|n| n.is_valid(row)) && !range.contains(&words[row]) && words[row] >= INVALID_MAX
        };
        if let Some(row) = (0..rows).find(|&row| outside(row)) {
            return Err(format!("row {row}: outside of the years 0 to 9999"));
        }
    }
    Ok(word_array(words, kind, nulls))
}

/// Arrow wants its words aligned; a byte vector need not be.
fn aligned(bytes: Vec<u8>) -> Buffer {
    if bytes.as_ptr().align_offset(8) == 0 { Buffer::from_vec(bytes) } else { Buffer::from(bytes.as_slice()) }
}

fn word_array(words: ScalarBuffer<i64>, kind: Kind, nulls: Option<NullBuffer>) -> ArrayRef {
    fn primitive<T: ArrowPrimitiveType>(words: ScalarBuffer<i64>, nulls: Option<NullBuffer>) -> PrimitiveArray<T> {
        PrimitiveArray::new(ScalarBuffer::from(words.into_inner()), nulls)
    }
    match kind {
        Kind::UInt64 => Arc::new(primitive::<UInt64Type>(words, nulls)),
        Kind::Float64 => Arc::new(primitive::<Float64Type>(words, nulls)),
        Kind::Date => Arc::new(primitive::<Date64Type>(words, nulls)),
        Kind::Time => Arc::new(primitive::<DurationMicrosecondType>(words, nulls)),
        Kind::DateTime => Arc::new(primitive::<TimestampMicrosecondType>(words, nulls)),
        Kind::Timestamp => Arc::new(primitive::<TimestampMicrosecondType>(words, nulls).with_timezone("UTC")),
        _ => Arc::new(primitive::<Int64Type>(words, nulls)),
    }
}

/// Checks that offsets grow from 0 and stay within the data, and cuts off what follows the last.
fn offsets(varlen: VarlenResult, rows: usize) -> Result<(OffsetBuffer<i32>, Vec<u8>), String> {
    let VarlenResult { offsets: bytes, mut data } = varlen;
    if bytes.len() != (rows + 1) * 4 {
        return Err(format!("offsets of {} bytes for {rows} rows, which take {}", bytes.len(), (rows + 1) * 4));
    }
    let offsets = ScalarBuffer::<i32>::new(aligned(bytes), 0, rows + 1);
    if offsets[0] != 0 {
        return Err(format!("the first offset is {}, not 0", offsets[0]));
    }
    if let Some(row) = (0..rows).find(|&row| offsets[row + 1] < offsets[row]) {
        return Err(format!("row {row}: the offset goes down from {} to {}", offsets[row], offsets[row + 1]));
    }
    let last = offsets[rows] as usize;
    if last > data.len() {
        return Err(format!("offsets up to {last} in {} bytes of data", data.len()));
    }
    data.truncate(last);
    Ok((OffsetBuffer::new(offsets), data))
}

fn text(offsets: OffsetBuffer<i32>, data: Vec<u8>, nulls: Option<NullBuffer>) -> Result<ArrayRef, String> {
    let whole = simdutf8::basic::from_utf8(&data).is_ok();
    let at_boundaries = || offsets.iter().all(|&o| data.get(o as usize).is_none_or(|b| b & 0xc0 != 0x80));
    if !whole || !at_boundaries() {
        let bad = |row: &usize| std::str::from_utf8(&data[offsets[*row] as usize..offsets[row + 1] as usize]).is_err();
        let row = (0..offsets.len() - 1).find(bad).unwrap_or_default();
        return Err(format!("row {row}: not UTF-8"));
    }
    // SAFETY: the bytes are valid UTF-8 as a whole and every offset is on a character boundary; offsets grow.
    Ok(Arc::new(unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(data), nulls) }))
}

/// A column of `rows` values: for each row, the value of `patch` at what `pick` says; where it says `None` the one of `base`, or
/// absent if there is no base. `relation` and `at` name the column in an error.
pub(super) fn merge(
    base: Option<&Column>,
    patch: &Column,
    pick: impl Fn(usize) -> Option<usize>,
    rows: usize,
    (relation, at): (&Relation, usize),
) -> Result<Column, BatchError> {
    let kind = relation.columns[at].kind();
    let patch = Values::new(patch, kind);
    let base = base.map(|base| Values::new(base, kind));
    // A constant may be one value for all rows.
    let bytes = base.as_ref().map_or(patch.bytes() * rows / patch.column.values.len().max(1), |base| base.bytes() + patch.bytes());
    let mut builder = ColumnBuilder::new(kind, rows, bytes);
    for row in 0..rows {
        match (pick(row), &base) {
            (Some(from), _) => patch.append(from, &mut builder),
            (None, Some(base)) => base.append(row, &mut builder),
            (None, None) => builder.absent(),
        }
    }
    builder.finish(kind, rows, relation, at)
}

/// The bytes of a column's values of variable length.
pub(super) fn bytes(column: &Column, kind: Kind) -> usize {
    Values::new(column, kind).bytes()
}

/// A column of which no row knows the value.
pub(super) fn absent(rows: usize, (relation, at): (&Relation, usize)) -> Result<Column, BatchError> {
    let kind = relation.columns[at].kind();
    let mut builder = ColumnBuilder::new(kind, rows, 0);
    (0..rows).for_each(|_| builder.absent());
    builder.finish(kind, rows, relation, at)
}

/// A column that can be copied from value by value.
struct Values<'a> {
    column: &'a Column,
    data: ValuesData<'a>,
}

enum ValuesData<'a> {
    Words(ScalarBuffer<i64>),
    Bits(&'a BooleanBuffer),
    Bytes(&'a OffsetBuffer<i32>, &'a [u8]),
}

impl<'a> Values<'a> {
    fn new(column: &'a Column, kind: Kind) -> Values<'a> {
        let array = &*column.values;
        let data = match kind {
            Kind::Boolean => ValuesData::Bits(array.as_boolean().values()),
            Kind::Text | Kind::Decimal | Kind::Json => {
                let array = array.as_string::<i32>();
                ValuesData::Bytes(array.offsets(), array.value_data())
            }
            Kind::Bytes => {
                let array = array.as_binary::<i32>();
                ValuesData::Bytes(array.offsets(), array.value_data())
            }
            _ => ValuesData::Words(ScalarBuffer::from(word_buffer(array, kind).clone())),
        };
        Values { column, data }
    }

    /// Of all values of variable length.
    fn bytes(&self) -> usize {
        match &self.data {
            ValuesData::Words(_) | ValuesData::Bits(_) => 0,
            ValuesData::Bytes(offsets, _) => (offsets[offsets.len() - 1] - offsets[0]) as usize,
        }
    }

    #[inline]
    fn append(&self, row: usize, builder: &mut ColumnBuilder) {
        if !self.column.is_present(row) {
            return builder.absent();
        }
        if self.column.values.is_null(row) {
            return builder.null();
        }
        match &self.data {
            ValuesData::Words(words) => builder.word(words[row]),
            ValuesData::Bits(bits) => builder.word(i64::from(bits.value(row))),
            ValuesData::Bytes(offsets, data) => builder.bytes(&data[offsets[row] as usize..offsets[row + 1] as usize]),
        }
    }
}
