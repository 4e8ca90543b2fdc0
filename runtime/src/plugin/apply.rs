//! What a guest answered, checked and applied to the rows: operations, values, topics, then the columns.

use std::sync::Arc;

use super::bindings::exports::tidegate::plugin::transform::{Assign, Outcome, Routing, RowError as WireRowError, Values};
use super::derive;
use super::error::Fault;
use super::instance::{MESSAGE_BYTES_MAX, tame};
use super::plan::{Image, Plan};
use super::vector::{self, bitmap_of};
use crate::change::{Column, KeyOrigin, Op, Rows, Topics};

/// Bytes of a topic name; Kafka allows 249, paths and URLs more.
const TOPIC_BYTES_MAX: usize = 1024;
/// Times that one answer may set one image of a column: each is a copy of it.
const ASSIGNS_MAX: u8 = 100;
/// Topics that one row may go to.
const TOPICS_MAX: usize = 100;
/// What a value takes at least, about: a word, or an offset.
const WORD_BYTES: usize = 8;
/// The index that leaves a row's topics as they are.
const UNROUTED: u16 = u16::MAX;

/// Which rows of the batch a guest has seen.
pub(super) struct Seen<'a> {
    picks: Option<&'a [u32]>,
    /// By row of the batch: the guest's row. Empty if it has seen all.
    guest_rows: Vec<u32>,
    len: usize,
}

impl<'a> Seen<'a> {
    const NOT: u32 = u32::MAX;

    pub(super) fn new(picks: Option<&'a [u32]>, rows: usize) -> Seen<'a> {
        let mut guest_rows = Vec::new();
        if let Some(picks) = picks {
            guest_rows.resize(rows, Self::NOT);
            for (i, &row) in picks.iter().enumerate() {
                guest_rows[row as usize] = i as u32;
            }
        }
        Seen { picks, guest_rows, len: picks.map_or(rows, <[u32]>::len) }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The batch's row of the guest's.
    pub(super) fn row(&self, guest: usize) -> usize {
        self.picks.map_or(guest, |picks| picks[guest] as usize)
    }

    /// The guest's row of the batch's.
    fn guest(&self, row: usize) -> Option<usize> {
        match self.picks {
            None => Some(row),
            Some(_) => Some(self.guest_rows[row]).filter(|&i| i != Self::NOT).map(|i| i as usize),
        }
    }
}

/// What an outcome has besides changes of the rows.
pub(super) struct Applied {
    /// The rows that the plugin could not process: index and message.
    pub errors: Vec<(usize, String)>,
    /// The rows that it made.
    pub derived: Vec<Rows>,
}

/// Applies an outcome. What it holds more than once when it is applied (constants, columns that derived rows lack) has room in `bytes_max` bytes.
pub(super) fn apply(plan: &Plan, rows: &mut Rows, seen: &Seen<'_>, outcome: Outcome, bytes_max: usize) -> Result<Applied, Fault> {
    let mut room = bytes_max;
    let Outcome { keep, ops, assigns, routing, errors, derived, attributes } = outcome;
    if let Some(attribute) = attributes.first() {
        return Err(malformed("attributes", format!("{:?} is not known to this version of tidegate", attribute.name)));
    }
    rows.after.resize(plan.kinds.len(), None);
    rows.before.resize(plan.kinds.len(), None);
    if !ops.is_empty() {
        change_ops(plan, rows, seen, &ops)?;
    }
    let mut times = vec![0; if assigns.len() > usize::from(ASSIGNS_MAX) { plan.kinds.len() * 2 } else { 0 }];
    for (i, assign) in assigns.into_iter().enumerate() {
        if let Some(times) = times.get_mut(usize::from(assign.index) * 2 + usize::from(assign.image)) {
            if *times == ASSIGNS_MAX {
                return Err(malformed("assigns", format!("column {} more than {ASSIGNS_MAX} times", assign.index)));
            }
            *times += 1;
        }
        self::assign(plan, rows, seen, assign, &mut room).map_err(|e| malformed(&format!("assigns[{i}]"), e))?;
    }
    let errors = row_errors(errors, seen)?;
    route(rows, seen, keep, routing, &errors)?;
    change_columns(plan, rows)?;
    let derived = derive::rows(&plan.derives, derived, seen, &rows.ids, &errors, room)?;
    Ok(Applied { errors, derived })
}

/// The reason may have names that the guest chose.
pub(super) fn malformed(what: &str, mut reason: String) -> Fault {
    tame(&mut reason, MESSAGE_BYTES_MAX);
    Fault::Malformed(format!("{what}: {reason}"))
}

/// Sets operations. Rows that get another image than they had get it from the one they have.
fn change_ops(plan: &Plan, rows: &mut Rows, seen: &Seen<'_>, codes: &[u8]) -> Result<(), Fault> {
    if codes.len() != seen.len {
        return Err(malformed("ops", format!("{} for {} rows", codes.len(), seen.len)));
    }
    let mut revived = vec![false; rows.len()];
    let mut deleted = vec![false; rows.len()];
    for (guest, &code) in codes.iter().enumerate() {
        let op = Op::from_code(code).ok_or_else(|| malformed("ops", format!("row {guest}: operation code {code}")))?;
        let row = seen.row(guest);
        revived[row] = rows.ops[row] == Op::Delete && op != Op::Delete;
        deleted[row] = rows.ops[row] != Op::Delete && op == Op::Delete;
        rows.ops[row] = op;
    }
    let len = rows.len();
    let origin_of = |column: usize| plan.origin.iter().position(|&c| c == column);
    if revived.contains(&true) {
        for column in 0..plan.inputs {
            let (Some(at), Some(after)) = (origin_of(column), &rows.after[column]) else { continue };
            let merged = match &rows.before[column] {
                Some(before) => vector::merge(Some(after), before, |row| revived[row].then_some(row), len, (&plan.output, at)),
                None => vector::merge(None, after, |row| (!revived[row]).then_some(row), len, (&plan.output, at)),
            };
            rows.after[column] = Some(merged.map_err(|e| malformed("ops", e.to_string()))?);
        }
    }
    if deleted.contains(&true) {
        for column in 0..plan.inputs {
            let in_key = plan.input.key_origin == KeyOrigin::WholeRow || plan.input.key.contains(&(column as u16));
            let (Some(at), Some(after), true) = (origin_of(column), &rows.after[column], in_key) else { continue };
            let before = rows.before[column].as_ref();
            // An update knows its old values; an insert is found by the only ones that it has.
            let pick = |row: usize| {
                let known = before.is_some_and(|b| b.is_present(row) && b.values.is_valid(row));
                (deleted[row] && !known).then_some(row)
            };
            let merged = vector::merge(before, after, pick, len, (&plan.output, at));
            rows.before[column] = Some(merged.map_err(|e| malformed("ops", e.to_string()))?);
        }
    }
    Ok(())
}

fn assign(plan: &Plan, rows: &mut Rows, seen: &Seen<'_>, assign: Assign, room: &mut usize) -> Result<(), String> {
    let index = usize::from(assign.index);
    let kind = *plan.kinds.get(index).ok_or_else(|| format!("column {index} of {}", plan.kinds.len()))?;
    let image = Image::from_code(assign.image).ok_or_else(|| format!("image code {}", assign.image))?;
    let (vector, is_constant) = match assign.values {
        Values::Each(vector) => (vector, false),
        Values::Constant(vector) => (vector, true),
    };
    let patch = vector::column(vector, kind, if is_constant { 1 } else { seen.len })?;
    if is_constant {
        let bytes = (vector::bytes(&patch, kind) + WORD_BYTES).saturating_mul(seen.len);
        *room = room
            .checked_sub(bytes)
            .ok_or_else(|| format!("a constant takes {bytes} bytes in {} rows, {room} of `output` are left", seen.len))?;
    }
    let set =
        if assign.rows.is_empty() { None } else { Some(bitmap_of(assign.rows, seen.len).map_err(|e| format!("`rows`: {e}"))?) };
    let Some(at) = plan.origin.iter().position(|&c| c == index) else { return Ok(()) };
    let len = rows.len();
    let slot = match image {
        Image::After => &mut rows.after[index],
        Image::Before => &mut rows.before[index],
    };
    // Nothing downstream reads it.
    if slot.is_none() && index < plan.inputs {
        return Ok(());
    }
    if !is_constant && set.is_none() && seen.picks.is_none() {
        *slot = Some(patch);
        return Ok(());
    }
    let pick = |row: usize| {
        let guest = seen.guest(row).filter(|&guest| set.as_ref().is_none_or(|set| set.value(guest)))?;
        Some(if is_constant { 0 } else { guest })
    };
    let merged = vector::merge(slot.as_ref(), &patch, pick, len, (&plan.output, at)).map_err(|e| e.to_string())?;
    *slot = Some(merged);
    Ok(())
}

fn row_errors(errors: Vec<WireRowError>, seen: &Seen<'_>) -> Result<Vec<(usize, String)>, Fault> {
    if errors.len() > seen.len {
        return Err(malformed("errors", format!("{} for {} rows", errors.len(), seen.len)));
    }
    let row = |mut error: WireRowError| match error.row as usize {
        guest if guest < seen.len => {
            tame(&mut error.message, MESSAGE_BYTES_MAX);
            Ok((seen.row(guest), error.message))
        }
        guest => Err(malformed("errors", format!("row {guest} of {}", seen.len))),
    };
    errors.into_iter().map(row).collect()
}

/// Sets the topics of rows; those that are not kept or have an error get none.
fn route(rows: &mut Rows, seen: &Seen<'_>, keep: Vec<u8>, routing: Routing, errors: &[(usize, String)]) -> Result<(), Fault> {
    let keep = match keep.is_empty() {
        true => None,
        false => Some(bitmap_of(keep, seen.len).map_err(|e| malformed("keep", e))?),
    }
    .filter(|keep| keep.count_set_bits() < seen.len);
    if keep.is_none() && errors.is_empty() && matches!(routing, Routing::Unchanged) {
        return Ok(());
    }
    let len = rows.len();
    let own = || Topics { lists: vec![vec![rows.relation.to_string().into()]], of_row: vec![0; len] };
    let mut topics = rows.topics.take().unwrap_or_else(own);
    match routing {
        Routing::Unchanged => {}
        Routing::All(list) => {
            let at = add_list(&mut topics, list)?;
            (0..seen.len).for_each(|guest| topics.of_row[seen.row(guest)] = at);
        }
        Routing::ByRow(by_row) => {
            if by_row.rows.len() != seen.len * 2 {
                let reason = format!("`rows` of {} bytes for {} rows, which take {}", by_row.rows.len(), seen.len, seen.len * 2);
                return Err(malformed("routing", reason));
            }
            let lists = by_row.lists.into_iter().map(|list| add_list(&mut topics, list)).collect::<Result<Vec<u16>, Fault>>()?;
            for (guest, index) in by_row.rows.chunks_exact(2).enumerate() {
                let index = u16::from_le_bytes([index[0], index[1]]);
                if index == UNROUTED {
                    continue;
                }
                topics.of_row[seen.row(guest)] = *lists
                    .get(usize::from(index))
                    .ok_or_else(|| malformed("routing", format!("row {guest}: list {index} of {}", lists.len())))?;
            }
        }
    }
    if keep.is_some() || !errors.is_empty() {
        let none = match topics.lists.iter().position(Vec::is_empty) {
            Some(at) => at as u16,
            None => add_list(&mut topics, Vec::new())?,
        };
        if let Some(keep) = keep {
            (0..seen.len).filter(|&guest| !keep.value(guest)).for_each(|guest| topics.of_row[seen.row(guest)] = none);
        }
        errors.iter().for_each(|(row, _)| topics.of_row[*row] = none);
    }
    rows.topics = Some(topics);
    Ok(())
}

fn add_list(topics: &mut Topics, list: Vec<String>) -> Result<u16, Fault> {
    // The rows are listed for each of them.
    if list.len() > TOPICS_MAX {
        return Err(malformed("routing", format!("{} topics for one row; {TOPICS_MAX} are allowed", list.len())));
    }
    for topic in &list {
        if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX {
            return Err(malformed("routing", format!("a topic name of {} bytes; 1 to {TOPIC_BYTES_MAX} are allowed", topic.len())));
        }
    }
    let at = u16::try_from(topics.lists.len()).ok().filter(|&at| at != UNROUTED);
    let at = at.ok_or_else(|| malformed("routing", format!("more than {UNROUTED} lists of topics in one batch")))?;
    topics.lists.push(list.into_iter().map(Arc::from).collect());
    Ok(at)
}

/// Gives the rows the columns of the plan's output.
fn change_columns(plan: &Plan, rows: &mut Rows) -> Result<(), Fault> {
    if !plan.changes_columns() {
        return Ok(());
    }
    let len = rows.len();
    for (at, &column) in plan.origin.iter().enumerate().filter(|(_, column)| **column >= plan.inputs) {
        if rows.after[column].is_none() {
            let unset = absent(plan, at, len).map_err(|e| malformed("adds", e))?;
            rows.after[column] = Some(unset);
        }
    }
    let chosen = |columns: &mut Vec<Option<Column>>| plan.origin.iter().map(|&c| columns[c].take()).collect();
    rows.after = chosen(&mut rows.after);
    rows.before = chosen(&mut rows.before);
    rows.relation = Arc::clone(&plan.output);
    Ok(())
}

/// An added column that the plugin did not set.
fn absent(plan: &Plan, at: usize, len: usize) -> Result<Column, String> {
    vector::absent(len, (&plan.output, at)).map_err(|e| e.to_string())
}

/// Rows that no plugin of the plan's operations was asked about still leave with its columns.
pub(super) fn pass_by(plan: &Plan, rows: &mut Rows) -> Result<(), Fault> {
    rows.after.resize(plan.kinds.len(), None);
    rows.before.resize(plan.kinds.len(), None);
    change_columns(plan, rows)
}
