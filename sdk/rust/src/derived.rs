//! Rows that a plugin makes of others.

use crate::batch::{AFTER, BEFORE, Batch};
use crate::bindings::exports::tidegate::plugin::transform as wit;
use crate::bindings::tidegate::plugin::types::Column;
use crate::column::Value;
use crate::outcome::Cells;
use crate::relation::{Kind, Op};

/// A table that the plan derives.
pub(crate) struct Table {
    pub(crate) name: String,
    columns: Vec<(String, Kind)>,
}

impl Table {
    pub(crate) fn new(derivation: &wit::Derivation) -> Table {
        let columns = derivation.columns.iter().map(|c| (c.name.clone(), Kind::from_code(c.kind)));
        Table { name: format!("{}.{}", derivation.schema, derivation.table), columns: columns.collect() }
    }
}

/// The rows of one table that were made of a batch, in the order of their making.
#[derive(Default)]
pub(crate) struct Made {
    /// Where each comes from, and its operation.
    rows: Vec<(u32, Op)>,
    values: Vec<MadeValue>,
}

struct MadeValue {
    row: usize,
    column: u16,
    image: u8,
    value: Value,
}

impl Made {
    /// As the host wants them: by the rows that they come from. `None`: there are none.
    pub(crate) fn finish(self, derivation: u16, table: &Table) -> Option<wit::Derived> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|&row| self.rows[row].0);
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &row)| place[row] = at);
        let mut cells: Vec<((u16, u8), Cells)> = Vec::new();
        for MadeValue { row, column, image, value } in self.values {
            let (name, kind) = &table.columns[usize::from(column)];
            let at = cells.iter().position(|(of, _)| *of == (column, image)).unwrap_or_else(|| {
                cells.push(((column, image), Cells::new(column, image, *kind, order.len())));
                cells.len() - 1
            });
            let set = cells[at].1.set(place[row], value);
            set.unwrap_or_else(|| panic!("a value of another kind for the column `{name}` of `{}`, which is {kind:?}", table.name));
        }
        let column = |((index, image), cells): ((u16, u8), Cells)| {
            let wit::Assign { rows, values: wit::Values::Each(mut vector), .. } = cells.finish() else { return None };
            vector.present = rows;
            Some(Column { index, image, vector })
        };
        (!order.is_empty()).then(|| wit::Derived {
            derivation,
            origins: order.iter().flat_map(|&row| self.rows[row].0.to_le_bytes()).collect(),
            ops: order.iter().map(|&row| self.rows[row].1.code()).collect(),
            columns: cells.into_iter().filter_map(column).collect(),
        })
    }
}

/// A row in the making. What is not set is absent: a sink leaves it alone.
#[derive(Clone, Copy)]
pub struct DerivedRow<'a> {
    batch: &'a Batch<'a>,
    table: usize,
    row: usize,
    image: u8,
}

impl<'a> DerivedRow<'a> {
    #[track_caller]
    pub(crate) fn new(batch: &'a Batch<'a>, origin: usize, op: Op, table: &str) -> DerivedRow<'a> {
        let table = batch.derived(table);
        let row = batch.make(table, |_, made| {
            made.rows.push((origin as u32, op));
            made.rows.len() - 1
        });
        DerivedRow { batch, table, row, image: if op == Op::Delete { BEFORE } else { AFTER } }
    }

    /// The same row before the change, for updates.
    pub fn before(self) -> DerivedRow<'a> {
        DerivedRow { image: BEFORE, ..self }
    }

    /// Sets a value; `None` is NULL. A column that the table does not have is a mistake of the plugin and panics.
    #[track_caller]
    pub fn set(self, column: &str, value: impl Into<Value>) {
        let set = self.batch.make(self.table, |table, made| {
            let at = table.columns.iter().position(|(name, _)| name == column).ok_or_else(|| table.name.clone())?;
            made.values.push(MadeValue { row: self.row, column: at as u16, image: self.image, value: value.into() });
            Ok::<_, String>(())
        });
        if let Err(table) = set {
            panic!("the derived table `{table}` has no column `{column}`");
        }
    }
}
