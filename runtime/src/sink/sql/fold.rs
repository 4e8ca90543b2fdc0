//! From a delivery to the groups of rows that one statement can write: merge the slices of a target table, fold by key, group
//! by columns. Pure.
//!
//! Folding keeps, of all changes of a key, the end: the last insert or full update, with the columns of later partial images laid
//! over it; or the delete. Keys are compared by their bytes. Deletes are written before everything else, which makes that right
//! under collations, too, in which `a` and `A` are one key (delete `a`, insert `A`); upserts are written in the order of each
//! key's last change.
//!
//! Tables without a key are not folded: their rows are written one by one in source order.

use std::collections::HashMap;
use std::sync::Arc;

use crate::change::{Column, ColumnDef, KeyOrigin, Op, Relation, RowId, Rows, Slice};
use crate::manifest::template::{TableName, TableTemplate};
use crate::sink::SinkError;
use crate::sink::cell::{Cell, View};

/// What one statement does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Insert, or update by key.
    Upsert,
    /// Update by key: the image lacks columns, so that the row cannot be inserted. No row found is no error: after a restart
    /// an update may come again after the delete that follows it.
    Update,
    /// Delete by key.
    Delete,
    /// Plain insert, of a table without a key.
    Insert,
    /// Update of one row that equals the before image.
    UpdateWhole,
    /// Delete of one row that equals the before image.
    DeleteWhole,
}

impl Action {
    /// True if one statement can hold several rows.
    pub fn is_multi(self) -> bool {
        matches!(self, Action::Upsert | Action::Delete | Action::Insert)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    Before,
    After,
}

/// What a column is for in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Finds the row.
    Key,
    /// Is written.
    Set,
}

#[derive(Clone, Copy, Debug)]
pub struct GroupColumn<'a> {
    pub def: &'a ColumnDef,
    pub image: Image,
    pub role: Role,
    /// Index among the unit's columns.
    at: usize,
}

#[derive(Clone, Debug)]
enum Cells {
    One(u32, u32),
    /// Newest first; a column comes from the first image that has it.
    Many(Box<[(u32, u32)]>),
}

#[derive(Clone, Debug)]
pub struct GroupRow {
    pub id: RowId,
    cells: Cells,
}

/// Rows of one unit with the same action and the same columns.
#[derive(Debug)]
pub struct Group<'u, 'a> {
    pub unit: &'u Unit<'a>,
    pub action: Action,
    pub columns: Vec<GroupColumn<'a>>,
    pub rows: Vec<GroupRow>,
}

impl<'a> Group<'_, 'a> {
    pub fn cell(&self, row: usize, column: usize) -> Cell<'a> {
        let column = &self.columns[column];
        let view = |part: u32| self.unit.parts[part as usize].view(column.image, column.at);
        match &self.rows[row].cells {
            Cells::One(part, row) => view(*part).map_or(Cell::Null, |v| v.cell(*row as usize)),
            Cells::Many(images) => {
                let has =
                    |(part, row): &(u32, u32)| view(*part).filter(|v| v.is_present(*row as usize)).map(|v| v.cell(*row as usize));
                images.iter().find_map(has).unwrap_or(Cell::Null)
            }
        }
    }

    /// The same group with one of its rows only.
    pub fn single(&self, row: usize) -> Group<'_, 'a> {
        Group { unit: self.unit, action: self.action, columns: self.columns.clone(), rows: vec![self.rows[row].clone()] }
    }

    /// `schema.table` at the source, for messages.
    pub fn relation(&self, row: usize) -> String {
        let part = match &self.rows[row].cells {
            Cells::One(part, _) => *part,
            Cells::Many(images) => images[0].0,
        };
        self.unit.parts[part as usize].rows.relation.to_string()
    }
}

/// One slice of a unit.
#[derive(Debug)]
struct Part<'a> {
    rows: &'a Rows,
    /// By unit column.
    after: Vec<Option<View<'a>>>,
    before: Vec<Option<View<'a>>>,
    /// By unit column: the part has it, whatever the single row.
    shape: Vec<bool>,
    has_absent: bool,
}

impl<'a> Part<'a> {
    fn view(&self, image: Image, at: usize) -> Option<&View<'a>> {
        match image {
            Image::Before => self.before[at].as_ref(),
            Image::After => self.after[at].as_ref(),
        }
    }
}

/// The rows of a delivery that go to one table and have one key: what is folded together.
#[derive(Debug)]
pub struct Unit<'a> {
    pub target: TableName,
    /// The relation of the first slice, which tables are made from.
    pub relation: Arc<Relation>,
    /// All columns of all slices, by name.
    columns: Vec<&'a ColumnDef>,
    /// Indexes into `columns`, in key order.
    key: Vec<usize>,
    parts: Vec<Part<'a>>,
    /// (part, row), in source order.
    order: Vec<(u32, u32)>,
}

/// The units of a delivery, in the order in which they have to be written.
pub fn units<'a>(slices: &'a [Slice<'a>], template: &TableTemplate) -> Result<Vec<Unit<'a>>, SinkError> {
    let mut targets: Vec<(TableName, Vec<&'a Slice<'a>>)> = Vec::new();
    for slice in slices.iter().filter(|s| !s.picks.is_empty()) {
        let relation = &slice.rows.relation;
        let target = template.render(&relation.schema, &relation.table, &slice.topic);
        match targets.iter_mut().find(|(t, _)| *t == target) {
            Some((_, slices)) => slices.push(slice),
            None => targets.push((target, vec![slice])),
        }
    }
    let mut units = Vec::with_capacity(targets.len());
    for (target, slices) in targets {
        // Almost always there is one slice, or slices with one key. Where keys differ, the rows are cut into runs of one key each.
        let same_key = slices.windows(2).all(|w| key_names(&w[0].rows.relation).eq(key_names(&w[1].rows.relation)));
        let mut order: Vec<(u32, u32)> =
            slices.iter().enumerate().flat_map(|(s, slice)| slice.picks.iter().map(move |row| (s as u32, *row))).collect();
        if slices.len() > 1 {
            order.sort_by_key(|(s, row)| slices[*s as usize].rows.ids[*row as usize]);
        }
        if same_key {
            units.push(Unit::new(target, &slices, order)?);
            continue;
        }
        let differ = |a: &(u32, u32), b: &(u32, u32)| {
            key_names(&slices[a.0 as usize].rows.relation).eq(key_names(&slices[b.0 as usize].rows.relation))
        };
        for run in order.chunk_by(differ) {
            let mut of_slice: Vec<Option<u32>> = vec![None; slices.len()];
            let mut used = Vec::new();
            let mut run = run.to_vec();
            for (s, _) in &mut run {
                let old = *s as usize;
                *s = *of_slice[old].get_or_insert_with(|| {
                    used.push(slices[old]);
                    used.len() as u32 - 1
                });
            }
            units.push(Unit::new(target.clone(), &used, run)?);
        }
    }
    Ok(units)
}

fn key_names(relation: &Relation) -> impl Iterator<Item = &str> {
    relation.key.iter().map(|k| &*relation.columns[usize::from(*k)].name)
}

impl<'a> Unit<'a> {
    fn new(target: TableName, slices: &[&'a Slice<'a>], order: Vec<(u32, u32)>) -> Result<Unit<'a>, SinkError> {
        let mut columns: Vec<&'a ColumnDef> = Vec::new();
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for slice in slices {
            for def in &slice.rows.relation.columns {
                by_name.entry(&def.name).or_insert_with(|| {
                    columns.push(def);
                    columns.len() - 1
                });
            }
        }
        let part = |slice: &&'a Slice<'a>| -> Result<Part<'a>, SinkError> {
            let rows = slice.rows;
            let views = |image: &'a [Option<Column>]| -> Result<Vec<Option<View<'a>>>, SinkError> {
                let mut views = vec![None; columns.len()];
                for (def, column) in rows.relation.columns.iter().zip(image) {
                    let Some(column) = column else { continue };
                    let view = View::new(column, def.kind()).ok_or_else(|| wrong_kind(&rows.relation, def))?;
                    views[by_name[&*def.name]] = Some(view);
                }
                Ok(views)
            };
            let (after, before) = (views(&rows.after)?, views(&rows.before)?);
            let shape = after.iter().map(Option::is_some).collect();
            let has_absent = after.iter().flatten().any(View::has_absent);
            Ok(Part { rows, after, before, shape, has_absent })
        };
        let parts = slices.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        let relation = Arc::clone(&slices[0].rows.relation);
        let key = key_names(&slices[0].rows.relation).map(|name| by_name[name]).collect();
        Ok(Unit { target, relation, columns, key, parts, order })
    }

    /// The groups after folding: deletes first, then the rest.
    pub fn folded(&self) -> Vec<Group<'_, 'a>> {
        if self.is_whole_row() { self.in_order() } else { self.fold() }
    }

    /// The groups without folding, in source order; successive rows of a multi-row action do not share a group.
    pub fn unfolded(&self) -> Vec<Group<'_, 'a>> {
        let single = |&(part, row): &(u32, u32)| {
            let mut groups = Groups::new(self);
            self.push(&mut groups, part, row);
            groups.done
        };
        self.order.iter().flat_map(single).collect()
    }

    pub fn first(&self) -> RowId {
        self.order.first().map(|at| self.id(*at)).unwrap_or_default()
    }

    pub fn is_whole_row(&self) -> bool {
        self.relation.key_origin == KeyOrigin::WholeRow || self.key.is_empty()
    }

    fn id(&self, (part, row): (u32, u32)) -> RowId {
        self.parts[part as usize].rows.ids[row as usize]
    }

    fn op(&self, (part, row): (u32, u32)) -> Op {
        self.parts[part as usize].rows.ops[row as usize]
    }

    fn write_key(&self, out: &mut Vec<u8>, (part, row): (u32, u32)) {
        let part = &self.parts[part as usize];
        let image = if part.rows.ops[row as usize] == Op::Delete { Image::Before } else { Image::After };
        for at in &self.key {
            part.view(image, *at).map_or(Cell::Null, |v| v.cell(row as usize)).write_key(out);
        }
    }

    /// Which columns the after image of a row has; whether those are all that its slice has.
    fn shape(&self, (part, row): (u32, u32)) -> (Vec<bool>, bool) {
        let part = &self.parts[part as usize];
        if !part.has_absent {
            return (part.shape.clone(), true);
        }
        let shape: Vec<bool> = part.after.iter().map(|v| v.as_ref().is_some_and(|v| v.is_present(row as usize))).collect();
        let complete = shape == part.shape;
        (shape, complete)
    }

    fn fold(&self) -> Vec<Group<'_, 'a>> {
        /// What is left of a key's changes.
        struct Entry {
            deleted: Option<(u32, u32)>,
            /// Oldest first.
            images: Vec<(u32, u32)>,
            insertable: bool,
            last: u32,
        }
        let mut bytes = Vec::with_capacity(self.order.len() * 10);
        let mut ends = Vec::with_capacity(self.order.len());
        for at in &self.order {
            self.write_key(&mut bytes, *at);
            ends.push(bytes.len());
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(self.order.len());
        let mut index: HashMap<&[u8], usize, foldhash::fast::RandomState> = HashMap::default();
        index.reserve(self.order.len());
        let mut start = 0;
        for (n, at) in self.order.iter().enumerate() {
            let key = &bytes[start..ends[n]];
            start = ends[n];
            let new = entries.len();
            let slot = *index.entry(key).or_insert(new);
            if slot == new {
                entries.push(Entry { deleted: None, images: Vec::new(), insertable: false, last: 0 });
            }
            let entry = &mut entries[slot];
            entry.last = n as u32;
            let op = self.op(*at);
            if op == Op::Delete {
                entry.deleted = Some(*at);
                entry.images.clear();
                entry.insertable = false;
                continue;
            }
            let whole = !self.parts[at.0 as usize].has_absent || self.shape(*at).1;
            if whole && self.parts.len() == 1 {
                entry.images.clear();
            }
            entry.insertable |= whole || op != Op::Update;
            entry.images.push(*at);
        }
        let mut deletes = Groups::new(self);
        let mut written = Vec::new();
        for entry in &entries {
            match (entry.deleted, entry.images.last()) {
                (Some(at), None) => deletes.push_delete(at),
                (Some(at), Some(_)) => {
                    // A whole row overwrites what was there; a partial one must not take over columns of the deleted row.
                    if !(entry.images.len() == 1 && self.shape(entry.images[0]).1) {
                        deletes.push_delete(at);
                    }
                    written.push(entry);
                }
                (None, _) => written.push(entry),
            }
        }
        written.sort_unstable_by_key(|e| e.last);
        let mut writes = Groups::new(self);
        for entry in written {
            // An update after a delete cannot be; if it comes all the same, the row is what the image says.
            let action = if entry.insertable || entry.deleted.is_some() { Action::Upsert } else { Action::Update };
            writes.push_images(action, &entry.images);
        }
        let mut groups = deletes.done;
        groups.extend(writes.done);
        groups
    }

    fn in_order(&self) -> Vec<Group<'_, 'a>> {
        let mut groups = Groups::new(self);
        for (part, row) in &self.order {
            self.push(&mut groups, *part, *row);
        }
        groups.done
    }

    /// One row by itself.
    fn push<'u>(&'u self, groups: &mut Groups<'u, 'a>, part: u32, row: u32) {
        let at = (part, row);
        match (self.op(at), self.is_whole_row()) {
            (Op::Delete, false) => groups.push_delete(at),
            (Op::Insert | Op::Snapshot, false) => groups.push_images(Action::Upsert, &[at]),
            (Op::Update, false) => {
                let action = if self.shape(at).1 { Action::Upsert } else { Action::Update };
                groups.push_images(action, &[at]);
            }
            (Op::Insert | Op::Snapshot, true) => groups.push_ordered(Action::Insert, at),
            (Op::Update, true) => groups.push_ordered(Action::UpdateWhole, at),
            (Op::Delete, true) => groups.push_ordered(Action::DeleteWhole, at),
        }
    }
}

fn wrong_kind(relation: &Relation, def: &ColumnDef) -> SinkError {
    SinkError::Configuration {
        reason: format!("{relation}, column `{}`: the values are not of the kind that the column has", def.name),
        hint: "a plugin changed them; let it add a column of another kind instead".to_owned(),
    }
}

/// Groups in the making.
struct Groups<'u, 'a> {
    unit: &'u Unit<'a>,
    done: Vec<Group<'u, 'a>>,
    /// (action, columns present in the after image) of each of `done`.
    shapes: Vec<(Action, Vec<bool>)>,
}

impl<'u, 'a> Groups<'u, 'a> {
    fn new(unit: &'u Unit<'a>) -> Groups<'u, 'a> {
        Groups { unit, done: Vec::new(), shapes: Vec::new() }
    }

    fn push_delete(&mut self, at: (u32, u32)) {
        if self.done.is_empty() {
            let columns = self.unit.key.iter().map(|k| self.column(*k, Image::Before, Role::Key)).collect();
            self.done.push(Group { unit: self.unit, action: Action::Delete, columns, rows: Vec::new() });
            self.shapes.push((Action::Delete, Vec::new()));
        }
        let row = GroupRow { id: self.unit.id(at), cells: Cells::One(at.0, at.1) };
        self.done[0].rows.push(row);
    }

    /// `images`: oldest first, at least one.
    fn push_images(&mut self, action: Action, images: &[(u32, u32)]) {
        let unit = self.unit;
        let newest = images[images.len() - 1];
        // The usual case: one whole image, and the last group is of that shape.
        let (shape, cells) = if let [at] = images {
            let part = &unit.parts[at.0 as usize];
            if !part.has_absent
                && let Some((a, s)) = self.shapes.last()
                && *a == action
                && *s == part.shape
                && let Some(group) = self.done.last_mut()
            {
                group.rows.push(GroupRow { id: unit.id(newest), cells: Cells::One(at.0, at.1) });
                return;
            }
            (unit.shape(*at).0, Cells::One(at.0, at.1))
        } else {
            let mut shape = vec![false; unit.columns.len()];
            for at in images {
                shape.iter_mut().zip(unit.shape(*at).0).for_each(|(s, has)| *s |= has);
            }
            (shape, Cells::Many(images.iter().rev().copied().collect()))
        };
        let slot = match self.shapes.iter().position(|(a, s)| *a == action && *s == shape) {
            Some(slot) => slot,
            None => {
                let role = |at: &usize| if unit.key.contains(at) { Role::Key } else { Role::Set };
                let columns = (0..shape.len()).filter(|at| shape[*at]).map(|at| self.column(at, Image::After, role(&at))).collect();
                self.done.push(Group { unit, action, columns, rows: Vec::new() });
                self.shapes.push((action, shape));
                self.done.len() - 1
            }
        };
        self.done[slot].rows.push(GroupRow { id: unit.id(newest), cells });
    }

    /// For tables without a key: a new group unless the row goes on with the last one.
    fn push_ordered(&mut self, action: Action, at: (u32, u32)) {
        let unit = self.unit;
        let part = &unit.parts[at.0 as usize];
        let shape = if action == Action::DeleteWhole { Vec::new() } else { unit.shape(at).0 };
        let joins = action == Action::Insert && self.shapes.last().is_some_and(|(a, s)| *a == action && *s == shape);
        if !joins {
            let set = shape.iter().enumerate().filter(|(_, has)| **has).map(|(i, _)| self.column(i, Image::After, Role::Set));
            let mut columns: Vec<GroupColumn<'a>> = set.collect();
            if action != Action::Insert {
                let has = |i: &usize| part.before[*i].as_ref().is_some_and(|v| v.is_present(at.1 as usize));
                columns.extend((0..unit.columns.len()).filter(has).map(|i| self.column(i, Image::Before, Role::Key)));
            }
            self.done.push(Group { unit, action, columns, rows: Vec::new() });
            self.shapes.push((action, shape));
        }
        if let Some(group) = self.done.last_mut() {
            group.rows.push(GroupRow { id: unit.id(at), cells: Cells::One(at.0, at.1) });
        }
    }

    fn column(&self, at: usize, image: Image, role: Role) -> GroupColumn<'a> {
        GroupColumn { def: self.unit.columns[at], image, role, at }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::batcher::{Batcher, ColumnBuilder, Wanted};
    use crate::change::{Batch, SourceType, Transaction};
    use crate::position::Position;

    /// A change of key `key`: the columns of the image that are there, of two.
    #[derive(Clone, Debug)]
    struct Change {
        op: Op,
        key: i64,
        values: [Option<i64>; 2],
    }

    type State = BTreeMap<i64, [Option<i64>; 2]>;

    /// What a server does, one change at a time: an update of a row that is not there changes nothing, unless its image is whole.
    fn apply(state: &mut State, action: Action, key: i64, values: [Option<i64>; 2]) {
        let overlay = |row: &mut [Option<i64>; 2]| row.iter_mut().zip(values).for_each(|(old, new)| *old = new.or(*old));
        match action {
            Action::Upsert => overlay(state.entry(key).or_default()),
            Action::Update => {
                if let Some(row) = state.get_mut(&key) {
                    overlay(row);
                }
            }
            Action::Delete => {
                state.remove(&key);
            }
            Action::Insert | Action::UpdateWhole | Action::DeleteWhole => unreachable!("the table has a key"),
        }
    }

    fn run(state: &mut State, groups: &[Group<'_, '_>]) {
        for group in groups {
            for row in 0..group.rows.len() {
                let value = |name: &str| {
                    let column = group.columns.iter().position(|c| &*c.def.name == name)?;
                    let Cell::Int(value) = group.cell(row, column) else { panic!("a value is there") };
                    Some(value)
                };
                apply(state, group.action, value("id").expect("a key"), [value("a"), value("b")]);
            }
        }
    }

    fn relation() -> Arc<Relation> {
        let column = |name: &str| ColumnDef {
            name: name.into(),
            source_type: SourceType::Int { bits: 64, unsigned: false },
            nullable: true,
        };
        Arc::new(Relation {
            id: Relation::next_id(),
            schema: "s".into(),
            table: "t".into(),
            columns: ["id", "a", "b"].map(column).into(),
            key: vec![0],
            key_origin: KeyOrigin::Primary,
        })
    }

    fn batch(changes: &[Change]) -> Batch {
        let relation = relation();
        let wanted = Arc::new(Wanted { after: vec![true; 3], before: vec![true, false, false] });
        let mut batcher = Batcher::new(1000, usize::MAX);
        for (n, change) in changes.iter().enumerate() {
            let id = RowId { transaction: n as u64, place: 0 };
            let transaction = || Transaction { number: n as u64, gtid: None, file: "f".into(), offset: 4, commit_time_us: 0 };
            let rows = batcher.row(&relation, &wanted, change.op, id, 1, transaction);
            if change.op == Op::Delete {
                rows.before().iter_mut().flatten().for_each(|b| b.word(change.key));
                rows.no_after();
                continue;
            }
            rows.no_before();
            let put = |(builder, value): (&mut ColumnBuilder, Option<i64>)| match value {
                Some(value) => builder.word(value),
                None => builder.absent(),
            };
            let values = [Some(change.key), change.values[0], change.values[1]];
            rows.after().iter_mut().flatten().zip(values).for_each(put);
        }
        let position = Arc::new(Position { file: "f".into(), offset: 4, gtids: None, home: None });
        batcher.finish(position, true).expect("the values fit").expect("there are rows")
    }

    /// One slice, or the rows dealt to two topics: both go to the same table.
    fn slices(batch: &Batch, deal: bool) -> Vec<Slice<'_>> {
        let rows = &batch.relations[0];
        let all = 0..rows.len() as u32;
        let slice = |topic: &str, picks: Vec<u32>| Slice { rows, topic: topic.into(), picks };
        match deal {
            false => vec![slice("s.t", all.collect())],
            true => {
                vec![slice("s.t", all.clone().filter(|r| r % 2 == 0).collect()), slice("x", all.filter(|r| r % 2 == 1).collect())]
            }
        }
    }

    proptest! {
        /// Folded, a delivery ends as its changes one by one do: every key as the source makes it (insert before update, no
        /// insert of what is there).
        #[test]
        fn folding_ends_as_the_changes_one_by_one(
            seeds in prop::collection::vec((0i64..4, 0u8..4, 0u8..4), 1..60), before in 0u8..16, deal: bool,
        ) {
            let mut there: Vec<bool> = (0..4).map(|k| before >> k & 1 == 1).collect();
            let mut state: State = (0..4).filter(|k| there[*k as usize]).map(|k| (k, [Some(-1), Some(-2)])).collect();
            let mut changes = Vec::new();
            for (n, (key, kind, absent)) in seeds.into_iter().enumerate() {
                let is_there = &mut there[key as usize];
                let op = match (*is_there, kind) {
                    (true, 0) => Op::Delete,
                    (true, _) => Op::Update,
                    (false, 0) => Op::Snapshot,
                    (false, _) => Op::Insert,
                };
                *is_there = op != Op::Delete;
                let value = |column: u8| (op == Op::Snapshot || absent != column).then_some(n as i64 * 2 + i64::from(column));
                changes.push(Change { op, key, values: [value(0), value(1)] });
            }
            let batch = batch(&changes);
            let slices = slices(&batch, deal);
            let units = units(&slices, &TableTemplate::default()).expect("the kinds are right");
            prop_assert_eq!(units.len(), 1);
            let mut folded = state.clone();
            run(&mut folded, &units[0].folded());
            run(&mut state, &units[0].unfolded());
            prop_assert_eq!(folded, state);
        }
    }

    #[test]
    fn whole_rows_make_one_group_of_each_kind() {
        let change = |op, key| Change { op, key, values: [Some(1), Some(2)] };
        let batch = batch(&[change(Op::Insert, 1), change(Op::Update, 1), change(Op::Insert, 2), change(Op::Delete, 3)]);
        let slices = slices(&batch, false);
        let units = units(&slices, &TableTemplate::default()).expect("the kinds are right");
        let groups: Vec<(Action, usize)> = units[0].folded().iter().map(|g| (g.action, g.rows.len())).collect();
        assert_eq!(groups, [(Action::Delete, 1), (Action::Upsert, 2)]);
    }
}
