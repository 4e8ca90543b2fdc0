//! What one call passes to a guest: the rows that concern it, in the columns of its plan.

use super::bindings::exports::tidegate::plugin::transform::Outcome;
use super::bindings::tidegate::plugin::types;
use super::error::Fault;
use super::instance::Instance;
use super::plan::{Image, Metadata, Plan};
use super::vector::Passed;
use crate::change::{Kind, Rows, Transaction};

/// The rows to pass, growing: those that no earlier plugin dropped, of the plan's operations. `None`: all.
pub(super) fn selection(plan: &Plan, rows: &Rows) -> Option<Vec<u32>> {
    if rows.topics.is_none() && plan.ops == [true; 4] {
        return None;
    }
    let is_dropped = |row: usize| rows.topics.as_ref().is_some_and(|t| t.lists[usize::from(t.of_row[row])].is_empty());
    let wanted = |&row: &u32| plan.ops[rows.ops[row as usize] as usize] && !is_dropped(row as usize);
    let picks: Vec<u32> = (0..rows.len() as u32).filter(wanted).collect();
    (picks.len() < rows.len()).then_some(picks)
}

/// Calls `process` with the selected rows. `transactions` are those of the batch.
pub(super) fn call(
    instance: &mut Instance,
    plan: &Plan,
    rows: &Rows,
    transactions: &[Transaction],
    picks: Option<&[u32]>,
) -> Result<Outcome, Fault> {
    lowered(plan, rows, transactions, picks, |batch| instance.process(plan.input.id, batch))
}

/// What `call` makes of the selected rows.
pub(super) fn lowered<T>(
    plan: &Plan,
    rows: &Rows,
    transactions: &[Transaction],
    picks: Option<&[u32]>,
    call: impl FnOnce(types::Batch<'_>) -> T,
) -> T {
    let has_before = rows.before.iter().any(Option::is_some);
    let mut passed = Vec::with_capacity(plan.reads.len());
    for read in &plan.reads {
        let column = match read.image {
            Image::After => rows.after[read.index].as_ref(),
            Image::Before => rows.before.get(read.index).and_then(Option::as_ref),
        };
        match column {
            Some(column) => passed.push((read, Passed::new(column, plan.kinds[read.index], picks, plan.strings))),
            None => assert!(
                !read.needed || (read.image == Image::Before && !has_before),
                "{}: the decoder gives every column that Bound asks for",
                plan.input
            ),
        }
    }
    let columns: Vec<types::ColumnParam<'_>> = passed
        .iter()
        .map(|(read, vector)| types::ColumnParam { index: read.index as u16, image: read.image as u8, vector: vector.param() })
        .collect();
    let texts: Vec<Vec<Option<String>>> = plan.metadata.iter().map(|&metadata| texts(metadata, transactions)).collect();
    let metadata: Vec<Passed<'_>> = plan
        .metadata
        .iter()
        .zip(&texts)
        .map(|(&metadata, texts)| row_metadata(metadata, texts, rows, transactions, picks, plan.strings))
        .collect();
    let metadata: Vec<types::VectorParam<'_>> = metadata.iter().map(Passed::param).collect();
    let ops: Vec<u8> = each(rows, picks).map(|row| rows.ops[row] as u8).collect();
    call(types::Batch { rows: ops.len() as u32, ops: &ops, columns: &columns, metadata: &metadata })
}

fn each<'a>(rows: &'a Rows, picks: Option<&'a [u32]>) -> impl Iterator<Item = usize> + 'a {
    let len = picks.map_or(rows.len(), <[u32]>::len);
    (0..len).map(move |i| picks.map_or(i, |picks| picks[i] as usize))
}

/// The texts of one kind of metadata, by transaction; empty for what is not text.
fn texts(metadata: Metadata, transactions: &[Transaction]) -> Vec<Option<String>> {
    let text: fn(&Transaction) -> Option<String> = match metadata {
        Metadata::Position => |t| Some(format!("{}:{}", t.file, t.offset)),
        Metadata::Transaction => |t| t.gtid.as_ref().map(ToString::to_string),
        Metadata::Place | Metadata::CommitTime => return Vec::new(),
    };
    transactions.iter().map(text).collect()
}

fn row_metadata<'a>(
    metadata: Metadata,
    texts: &'a [Option<String>],
    rows: &Rows,
    transactions: &[Transaction],
    picks: Option<&[u32]>,
    strings: bool,
) -> Passed<'a> {
    let transaction = |row: usize| {
        let at = transactions.partition_point(|t| t.number < rows.ids[row].transaction);
        assert_eq!(transactions.get(at).map(|t| t.number), Some(rows.ids[row].transaction), "a batch knows its rows' transactions");
        at
    };
    let rows_passed = each(rows, picks);
    match metadata {
        Metadata::Position | Metadata::Transaction => {
            let texts: Vec<Option<&str>> = rows_passed.map(|row| texts[transaction(row)].as_deref()).collect();
            Passed::texts(&texts, strings)
        }
        Metadata::Place => Passed::words(Kind::UInt64, rows_passed.map(|row| rows.ids[row].place.to_le_bytes())),
        Metadata::CommitTime => {
            let time = |row: usize| transactions[transaction(row)].commit_time_us.to_le_bytes();
            Passed::words(Kind::Timestamp, rows_passed.map(time))
        }
    }
}
