//! Row events (WRITE, UPDATE and DELETE, versions 1 and 2): the header, and the walk over a row image into reused memory.
//!
//! Format: MySQL source `libs/mysql/binlog/event/rows_event.h`, class `Rows_event`: table id 6, flags 2, in version 2 extra data (its length 2,
//! which counts itself), column count (length-encoded), present-columns bitmap (two for an update: before, after), rows. A row
//! image is a bitmap of the present columns that are NULL, then the cells of those that are not.

use super::event::{Reader, Truncated};
use super::plan::{ColumnPlan, Width};
use crate::source::gtid_event::lenenc;

/// STMT_END_F: the table maps of this statement are over.
pub const FLAG_STATEMENT_END: u16 = 1;

/// Table ids of the event without rows that only ends a statement ("dummy").
pub const DUMMY_TABLE_IDS: [u64; 2] = [0x00ff_ffff, 0xffff_ffff_ffff];

#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error(transparent)]
    Truncated(#[from] Truncated),
    #[error("{event} columns in the row event, but {table_map} in its TABLE_MAP")]
    ColumnCount { event: u64, table_map: usize },
    #[error("row {row} ends outside the event, in column {column}")]
    RowTruncated { row: u32, column: usize },
    #[error("row {row} has no bytes")]
    NoBytes { row: u32 },
    #[error("the event has no rows")]
    NoRows,
    #[error("the event is too large")]
    TooLarge,
}

/// Which columns an image has: `None` is all of them.
pub type Present<'a> = Option<&'a [u8]>;

#[derive(Clone, Copy, Debug)]
pub struct RowsEvent<'a> {
    pub table_id: u64,
    pub flags: u16,
    reader: Reader<'a>,
}

impl<'a> RowsEvent<'a> {
    /// `body` is what follows the event header.
    pub fn parse(body: &'a [u8], v2: bool) -> Result<RowsEvent<'a>, RowsError> {
        let mut reader = Reader::new(body);
        let table_id = reader.u48()?;
        let flags = reader.u16()?;
        if v2 {
            let extra = reader.u16()?.checked_sub(2).ok_or(Truncated)?;
            reader.bytes(usize::from(extra))?;
        }
        Ok(RowsEvent { table_id, flags, reader })
    }

    /// True if the (first) image does not have all columns. What is malformed is found with [`RowsEvent::images`].
    pub fn lacks_columns(&self, columns: usize) -> bool {
        matches!(self.images(columns, false), Ok((Some(_), ..)))
    }

    /// Whether the (first) image has a column.
    pub fn has_column(&self, column: usize, columns: usize) -> bool {
        match self.images(columns, false) {
            Ok((Some(present), ..)) => present.get(column / 8).is_some_and(|bits| bits >> (column % 8) & 1 == 1),
            _ => true,
        }
    }

    /// The bitmaps of the images (the second is that of an update's after image) and the bytes of the rows.
    pub fn images(&self, columns: usize, is_update: bool) -> Result<(Present<'a>, Present<'a>, &'a [u8]), RowsError> {
        let mut reader = self.reader;
        let event = reader.lenenc()?;
        if event != columns as u64 {
            return Err(RowsError::ColumnCount { event, table_map: columns });
        }
        let mut present = || -> Result<Present<'a>, Truncated> {
            let bits = reader.bytes(columns.div_ceil(8))?;
            let is_all = (0..columns).all(|i| bits[i / 8] >> (i % 8) & 1 == 1);
            Ok(if is_all { None } else { Some(bits) })
        };
        let first = present()?;
        let second = if is_update { present()? } else { first };
        let rows = reader.bytes(reader.len())?;
        if rows.is_empty() {
            return Err(RowsError::NoRows);
        }
        if rows.len() >= Cell::ABSENT.len as usize {
            return Err(RowsError::TooLarge);
        }
        Ok((first, second, rows))
    }
}

/// Where the value of a column lies in the bytes of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    start: u32,
    len: u32,
}

impl Cell {
    pub const NULL: Cell = Cell { start: 0, len: u32::MAX };
    /// The image does not have the column.
    pub const ABSENT: Cell = Cell { start: 0, len: u32::MAX - 1 };

    #[inline]
    pub fn is_absent(self) -> bool {
        self.len == Cell::ABSENT.len
    }

    /// The bytes; `None` for NULL and absent.
    #[inline]
    pub fn bytes(self, rows: &[u8]) -> Option<&[u8]> {
        if self.len >= Cell::ABSENT.len {
            return None;
        }
        rows.get(self.start as usize..self.start as usize + self.len as usize)
    }

    /// Same value byte by byte; NULL equals NULL.
    #[inline]
    pub fn is_same(self, other: Cell, rows: &[u8]) -> bool {
        match (self.bytes(rows), other.bytes(rows)) {
            (Some(a), Some(b)) => a == b,
            _ => self.len == other.len,
        }
    }
}

/// Walks the image of row `row` that begins at `at`, adds one cell a column, and returns where it ends.
#[inline]
pub fn walk(
    columns: &[ColumnPlan],
    present: Present<'_>,
    rows: &[u8],
    at: usize,
    row: u32,
    cells: &mut Vec<Cell>,
) -> Result<usize, RowsError> {
    match present {
        None => {
            let nulls_len = columns.len().div_ceil(8);
            let nulls = rows.get(at..at + nulls_len).ok_or(RowsError::RowTruncated { row, column: 0 })?;
            let mut at = at + nulls_len;
            let first = cells.len();
            cells.resize(first + columns.len(), Cell::NULL);
            let has_nulls = nulls.iter().any(|bits| *bits != 0);
            for (i, (out, column)) in cells[first..].iter_mut().zip(columns).enumerate() {
                if !has_nulls || nulls[i / 8] >> (i % 8) & 1 == 0 {
                    *out = cell(column.width, rows, &mut at).ok_or(RowsError::RowTruncated { row, column: i })?;
                }
            }
            Ok(at)
        }
        Some(present) => {
            let is_present = |i: usize| present.get(i / 8).is_some_and(|b| b >> (i % 8) & 1 == 1);
            let count = (0..columns.len()).filter(|i| is_present(*i)).count();
            let nulls_len = count.div_ceil(8);
            let nulls = rows.get(at..at + nulls_len).ok_or(RowsError::RowTruncated { row, column: 0 })?;
            let mut at = at + nulls_len;
            let mut bit = 0;
            for (i, column) in columns.iter().enumerate() {
                if !is_present(i) {
                    cells.push(Cell::ABSENT);
                    continue;
                }
                let is_null = nulls[bit / 8] >> (bit % 8) & 1 == 1;
                bit += 1;
                if is_null {
                    cells.push(Cell::NULL);
                } else {
                    cells.push(cell(column.width, rows, &mut at).ok_or(RowsError::RowTruncated { row, column: i })?);
                }
            }
            Ok(at)
        }
    }
}

/// Walks a row that a prepared statement sent, which begins at `at` with its length (see [`crate::source::mysql::SentRows`]), adds one
/// cell a column, and returns where it ends. Format: 0, a bitmap of the NULLs that begins with its third bit, the cells that are not.
#[inline]
pub fn walk_sent(columns: &[ColumnPlan], rows: &[u8], at: usize, row: u32, cells: &mut Vec<Cell>) -> Result<usize, RowsError> {
    let truncated = |column| RowsError::RowTruncated { row, column };
    let len = rows.get(at..).and_then(|rest| rest.first_chunk()).map(|len| u32::from_le_bytes(*len) as usize);
    let begin = at + 4;
    let end = len.and_then(|len| begin.checked_add(len)).filter(|end| *end <= rows.len()).ok_or(truncated(0))?;
    let nulls_len = (columns.len() + 9) / 8;
    let nulls = rows[..end].get(begin + 1..begin + 1 + nulls_len).ok_or(truncated(0))?;
    let mut at = begin + 1 + nulls_len;
    let first = cells.len();
    cells.resize(first + columns.len(), Cell::NULL);
    for (i, (out, column)) in cells[first..].iter_mut().zip(columns).enumerate() {
        if nulls[(i + 2) / 8] >> ((i + 2) % 8) & 1 == 0 {
            *out = cell(column.width, &rows[..end], &mut at).ok_or(truncated(i))?;
        }
    }
    if at == end { Ok(end) } else { Err(truncated(columns.len())) }
}

#[inline(always)]
fn cell(width: Width, rows: &[u8], at: &mut usize) -> Option<Cell> {
    let (start, len) = match width {
        Width::Fixed(len) => (*at, len),
        Width::Prefixed(1) => (*at + 1, u32::from(*rows.get(*at)?)),
        Width::Prefixed(2) => (*at + 2, u32::from(u16::from_le_bytes(*rows.get(*at..)?.first_chunk()?))),
        Width::Prefixed(3) => {
            let [a, b, c] = *rows.get(*at..)?.first_chunk()?;
            (*at + 3, u32::from_le_bytes([a, b, c, 0]))
        }
        Width::Lenenc => {
            let rest = rows.get(*at..)?;
            let (len, tail) = lenenc(rest)?;
            (*at + rest.len() - tail.len(), u32::try_from(len).ok()?)
        }
        Width::Prefixed(_) => (*at + 4, u32::from_le_bytes(*rows.get(*at..)?.first_chunk()?)),
    };
    let end = start + len as usize;
    if end > rows.len() {
        return None;
    }
    *at = end;
    Some(Cell { start: start as u32, len })
}
