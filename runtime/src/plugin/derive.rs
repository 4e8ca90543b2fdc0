//! Rows that a plugin makes out of others: the tables that it declares, and what it answers for them, checked.

use std::collections::HashSet;
use std::sync::Arc;

use super::apply::{Seen, malformed};
use super::bindings::exports::tidegate::plugin::transform::{Addition, Derivation, Derived};
use super::error::Fault;
use super::plan::Image;
use super::vector;
use crate::change::{Column, ColumnDef, KeyOrigin, Kind, Op, Relation, RowId, Rows, SourceType, Topics};

/// Tables that one plan may declare.
const DERIVATIONS_MAX: usize = 64;
/// What a column takes besides its values.
const COLUMN_BYTES: usize = 512;
/// Columns that a table may have when it leaves a plugin: as many as MySQL allows.
const COLUMNS_MAX: usize = 4096;

/// The tables of a plan, as relations. The error says what is wrong with them.
pub(super) fn relations(derivations: Vec<Derivation>) -> Result<Vec<Arc<Relation>>, String> {
    if derivations.len() > DERIVATIONS_MAX {
        return Err(format!("{} derived tables; {DERIVATIONS_MAX} are allowed", derivations.len()));
    }
    let mut names = HashSet::new();
    let mut relations = Vec::with_capacity(derivations.len());
    for derivation in derivations {
        let Derivation { schema, table, columns, key, attributes } = derivation;
        let name = format!("{schema}.{table}");
        if schema.is_empty() || table.is_empty() {
            return Err(format!("a derived table `{name}`, which lacks a part of its name"));
        }
        if let Some(attribute) = attributes.first() {
            return Err(format!("attribute {:?} of derived table `{name}`", attribute.name));
        }
        let columns = columns.into_iter().map(added).collect::<Result<Vec<ColumnDef>, String>>()?;
        let columns = distinct(columns).map_err(|e| format!("derived table `{name}`: {e}"))?;
        let in_key: HashSet<u16> = key.iter().copied().collect();
        if in_key.len() < key.len() || key.iter().any(|k| usize::from(*k) >= columns.len()) {
            return Err(format!("derived table `{name}`: a key of the columns {key:?} of {}", columns.len()));
        }
        let key_origin = if key.is_empty() { KeyOrigin::WholeRow } else { KeyOrigin::Primary };
        if !names.insert(name.clone()) {
            return Err(format!("two derived tables `{name}`"));
        }
        let (schema, table) = (schema.into(), table.into());
        relations.push(Arc::new(Relation { id: Relation::next_id(), schema, table, columns, key, key_origin }));
    }
    Ok(relations)
}

/// A column that a plugin adds.
pub(super) fn added(add: Addition) -> Result<ColumnDef, String> {
    let kind = Kind::from_code(add.kind).ok_or_else(|| format!("kind code {} of added column `{}`", add.kind, add.name))?;
    if let Some(attribute) = add.attributes.first() {
        return Err(format!("attribute {:?} of added column `{}`", attribute.name, add.name));
    }
    Ok(ColumnDef { name: add.name.into(), source_type: SourceType::Plugin(kind), nullable: add.nullable })
}

/// The same columns, if they are not too many and each has a name of its own.
pub(super) fn distinct(columns: Vec<ColumnDef>) -> Result<Vec<ColumnDef>, String> {
    if columns.is_empty() || columns.len() > COLUMNS_MAX {
        return Err(format!("{} columns; 1 to {COLUMNS_MAX} are allowed", columns.len()));
    }
    let mut names = HashSet::new();
    for column in &columns {
        if column.name.is_empty() {
            return Err("a column without a name".to_owned());
        }
        if !names.insert(&*column.name) {
            return Err(format!("two columns with the name `{}`", column.name));
        }
    }
    Ok(columns)
}

/// The rows that a guest made of a batch whose rows have `ids`; those of rows with an error go nowhere. Their columns have
/// room in `room` bytes.
pub(super) fn rows(
    relations: &[Arc<Relation>],
    derived: Vec<Derived>,
    seen: &Seen<'_>,
    ids: &[RowId],
    errors: &[(usize, String)],
    mut room: usize,
) -> Result<Vec<Rows>, Fault> {
    let one = |(i, derived)| {
        rows_of(relations, derived, seen, ids, errors, &mut room).map_err(|e| malformed(&format!("derived[{i}]"), e))
    };
    derived.into_iter().enumerate().map(one).collect()
}

fn rows_of(
    relations: &[Arc<Relation>],
    derived: Derived,
    seen: &Seen<'_>,
    ids: &[RowId],
    errors: &[(usize, String)],
    room: &mut usize,
) -> Result<Rows, String> {
    let Derived { derivation, origins, ops, columns } = derived;
    let relation = relations.get(usize::from(derivation));
    let relation = relation.ok_or_else(|| format!("derivation {derivation} of {}", relations.len()))?;
    let len = ops.len();
    if origins.len() != len * 4 {
        return Err(format!("`origins` of {} bytes for {len} rows, which take {}", origins.len(), len * 4));
    }
    let bytes = (len * 8 + COLUMN_BYTES).saturating_mul(relation.columns.len());
    *room = room.checked_sub(bytes).ok_or_else(|| {
        format!("{len} rows of {} columns take {bytes} bytes, {room} of `output` are left", relation.columns.len())
    })?;
    let mut origin_rows = Vec::with_capacity(len);
    let mut last = 0;
    for (i, origin) in origins.chunks_exact(4).enumerate() {
        let origin = u32::from_le_bytes([origin[0], origin[1], origin[2], origin[3]]) as usize;
        if origin >= seen.len() {
            return Err(format!("row {i} comes from row {origin} of {}", seen.len()));
        }
        if origin < last {
            return Err(format!("row {i} comes from row {origin}, the one before it from row {last}"));
        }
        last = origin;
        origin_rows.push(seen.row(origin));
    }
    let op = |(i, code): (usize, &u8)| Op::from_code(*code).ok_or_else(|| format!("row {i}: operation code {code}"));
    let ops = ops.iter().enumerate().map(op).collect::<Result<Vec<Op>, String>>()?;
    if relation.key.is_empty()
        && let Some(row) = ops.iter().position(|op| !matches!(op, Op::Insert | Op::Snapshot))
    {
        return Err(format!("row {row} of {relation} is not inserted, and the table has no key to find it by"));
    }
    let (mut after, mut before) = (vec![None; relation.columns.len()], vec![None; relation.columns.len()]);
    for column in columns {
        let at = usize::from(column.index);
        let def = relation.columns.get(at).ok_or_else(|| format!("column {at} of {}", relation.columns.len()))?;
        let image = Image::from_code(column.image).ok_or_else(|| format!("image code {}", column.image))?;
        let named = |e: String| format!("column `{}`: {e}", def.name);
        let values = vector::column(column.vector, def.kind(), len).map_err(named)?;
        // What an operation does not have of an image is not believed.
        let has = |op: Op| match image {
            Image::After => op != Op::Delete,
            Image::Before => matches!(op, Op::Update | Op::Delete),
        };
        let values = match ops.iter().all(|op| has(*op)) {
            true => values,
            false => {
                vector::merge(None, &values, |row| has(ops[row]).then_some(row), len, (relation, at)).map_err(|e| e.to_string())?
            }
        };
        let slot = if image == Image::After { &mut after[at] } else { &mut before[at] };
        if slot.replace(values).is_some() {
            return Err(named("given twice".to_owned()));
        }
    }
    fill(&mut after, relation, len)?;
    if ops.contains(&Op::Delete) || before.iter().any(Option::is_some) {
        fill(&mut before, relation, len)?;
    }
    let mut rows = Rows {
        relation: Arc::clone(relation),
        ops,
        ids: origin_rows.iter().map(|row| ids[*row]).collect(),
        after,
        before,
        topics: None,
    };
    check_keys(&rows)?;
    if !errors.is_empty() {
        let failed: HashSet<usize> = errors.iter().map(|(row, _)| *row).collect();
        let of_row = origin_rows.iter().map(|row| u16::from(failed.contains(row))).collect();
        rows.topics = Some(Topics { lists: vec![vec![relation.to_string().into()], Vec::new()], of_row });
    }
    Ok(rows)
}

/// Later plugins and sinks find every column, if only to see that it is absent.
fn fill(image: &mut [Option<Column>], relation: &Relation, len: usize) -> Result<(), String> {
    for (at, column) in image.iter_mut().enumerate().filter(|(_, column)| column.is_none()) {
        *column = Some(vector::absent(len, (relation, at)).map_err(|e| e.to_string())?);
    }
    Ok(())
}

/// Every row can be told apart.
fn check_keys(rows: &Rows) -> Result<(), String> {
    for row in 0..rows.len() {
        for &key in &rows.relation.key {
            let column = rows.key_image(row)[usize::from(key)].as_ref();
            if column.is_none_or(|column| !column.is_present(row) || column.values.is_null(row)) {
                let name = &rows.relation.columns[usize::from(key)].name;
                return Err(format!("row {row} of {} lacks its key `{name}`", rows.relation));
            }
        }
    }
    Ok(())
}
