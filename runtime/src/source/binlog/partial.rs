//! PARTIAL_UPDATE_ROWS (`binlog_row_value_options = PARTIAL_JSON`): turned into the UPDATE_ROWS event that says the same in full.
//!
//! Format (MySQL `libs/mysql/binlog/event/rows_event.h`, `Partial_update_rows`; `sql/log_event.cc`, `Rows_log_event::pack_row`): as
//! UPDATE_ROWS, but each after image begins with value options (length-encoded), and if they have the bit PARTIAL_JSON_UPDATES with a
//! bitmap that has a bit for each JSON column of the table. The cell of a column whose bit is set is a list of diffs
//! ([`json_diff`]) against the before image.

use super::error::Problem;
use super::event::Reader;
use super::plan::{Plan, Width};
use super::rows::{self, Cell, RowsError, RowsEvent};
use super::value::Decode;
use super::values::json_diff::{self, DiffError};

const PARTIAL_JSON_UPDATES: u64 = 1;

/// Memory that is reused for every event.
#[derive(Default)]
pub(super) struct Completer {
    /// The body of the full event.
    body: Vec<u8>,
    cells: Vec<Cell>,
}

impl Completer {
    /// The body of an UPDATE_ROWS event (version 2) with whole values.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Makes [`Completer::body`].
    pub(super) fn complete(&mut self, event: &RowsEvent<'_>, plan: &Plan) -> Result<(), Problem> {
        let columns = plan.columns.len();
        let (first, second, rows) = event.images(columns, true)?;
        let Completer { body, cells } = self;
        body.clear();
        // An event of more than a segment leaves no memory behind.
        body.shrink_to(crate::source::frame::SEGMENT_BYTES);
        body.extend_from_slice(&event.table_id.to_le_bytes()[..6]);
        body.extend_from_slice(&event.flags.to_le_bytes());
        body.extend_from_slice(&[2, 0, 252]);
        body.extend_from_slice(&u16::try_from(columns).map_err(|_| RowsError::TooLarge)?.to_le_bytes());
        for present in [first, second] {
            let all = vec![0xff; columns.div_ceil(8)];
            body.extend_from_slice(present.unwrap_or(&all));
        }
        let (mut at, mut row) = (0, 0);
        while at < rows.len() {
            cells.clear();
            let middle = rows::walk(&plan.columns, first, rows, at, row, cells)?;
            body.extend_from_slice(&rows[at..middle]);
            let mut reader = Reader::new(&rows[middle..]);
            let is_partial = reader.lenenc()? & PARTIAL_JSON_UPDATES != 0;
            let json_columns = plan.columns.iter().filter(|c| matches!(c.decode, Decode::Json)).count();
            let partial = reader.bytes(if is_partial { json_columns.div_ceil(8) } else { 0 })?;
            let start = rows.len() - reader.len();
            let end = rows::walk(&plan.columns, second, rows, start, row, cells)?;
            if partial.iter().all(|bits| *bits == 0) {
                body.extend_from_slice(&rows[start..end]);
            } else {
                let present = cells[columns..].iter().filter(|cell| !cell.is_absent()).count();
                body.extend_from_slice(&rows[start..start + present.div_ceil(8)]);
                after_image(plan, rows, cells, partial, body)?;
            }
            if end == at {
                return Err(RowsError::NoBytes { row }.into());
            }
            (at, row) = (end, row + 1);
        }
        Ok(())
    }
}

/// Appends the values of an after image; `cells` are those of both images.
fn after_image(plan: &Plan, rows: &[u8], cells: &[Cell], partial: &[u8], body: &mut Vec<u8>) -> Result<(), Problem> {
    let (before, after) = cells.split_at(plan.columns.len());
    let mut json = 0;
    for (i, (column, after)) in plan.columns.iter().zip(after).enumerate() {
        let mut is_partial = false;
        if matches!(column.decode, Decode::Json) {
            is_partial = partial[json / 8] >> (json % 8) & 1 == 1;
            json += 1;
        }
        let Some(bytes) = after.bytes(rows) else { continue };
        let prefix = match column.width {
            // No row image has length-encoded cells.
            Width::Fixed(_) | Width::Lenenc => 0,
            Width::Prefixed(bytes) => usize::from(bytes),
        };
        let start = body.len();
        body.resize(start + prefix, 0);
        if is_partial {
            let name = || plan.relation.columns[i].name.clone();
            let base = match before[i].bytes(rows) {
                Some(base) => base,
                None if before[i].is_absent() => return Err(Problem::PartialBaseAbsent { column: name() }),
                None => return Err(Problem::Partial { column: name(), error: DiffError::Rejected }),
            };
            json_diff::apply(base, bytes, body).map_err(|error| Problem::Partial { column: name(), error })?;
        } else {
            body.extend_from_slice(bytes);
        }
        let len = u32::try_from(body.len() - start - prefix).map_err(|_| RowsError::TooLarge)?.to_le_bytes();
        body[start..start + prefix].copy_from_slice(&len[..prefix]);
    }
    Ok(())
}
