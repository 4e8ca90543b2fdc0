//! A batch of rows of one relation: read it by column or by row; what is to be changed is collected and handed back at the end.

use std::cell::RefCell;

use crate::bindings::exports::tidegate::plugin::transform as wit;
use crate::bindings::tidegate::plugin::types::{Buffer, Varlen, Vector};
use crate::column::{Booleans, Bytes, Float64s, Images, Int64s, Texts, UInt64s, Value, bit};
use crate::derived::{Made, Table};
use crate::outcome::Patches;
use crate::plan::Metadata;
use crate::relation::{Kind, Op, Relation};
use crate::row::{Row, Rows};

pub(crate) const AFTER: u8 = 0;
pub(crate) const BEFORE: u8 = 1;

/// A relation and what was asked of it.
pub(crate) struct Bound {
    pub(crate) relation: Relation,
    /// All columns: those of the relation, then those added.
    columns: Vec<(String, Kind)>,
    reads: Vec<(u16, bool, bool)>,
    metadata: Vec<u8>,
    derives: Vec<Table>,
}

impl Bound {
    pub(crate) fn new(relation: Relation, columns: Vec<(String, Kind)>, plan: &wit::Plan) -> Bound {
        let reads = plan.reads.iter().map(|r| (r.index, r.after != wit::Want::No, r.before != wit::Want::No)).collect();
        let derives = plan.derives.iter().map(Table::new).collect();
        Bound { relation, columns, reads, metadata: plan.metadata.clone(), derives }
    }
}

/// Columns are named. A name that the plan does not have is a mistake of the plugin and panics.
pub struct Batch<'a> {
    bound: &'a Bound,
    wire: wit::Batch,
    has_deletes: bool,
    patches: RefCell<Patches>,
    /// One a derived table.
    made: RefCell<Vec<Made>>,
}

/// Which image of the rows to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// After the change, or before it where the row was deleted.
    Own,
    After,
    Before,
}

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident $name_in:ident: $view:ident),*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(&self, column: &str) -> $view<'_> {
            self.$name_in(Side::Own, column)
        }

        /// The same of one image; `None` where a row does not have it.
        #[track_caller]
        pub fn $name_in(&self, side: Side, column: &str) -> $view<'_> {
            $view { images: self.images(column, side) }
        }
    )*};
}

impl<'a> Batch<'a> {
    pub(crate) fn new(bound: &'a Bound, wire: wit::Batch) -> Batch<'a> {
        let patches = RefCell::new(Patches::new(wire.rows as usize));
        let made = RefCell::new(bound.derives.iter().map(|_| Made::default()).collect());
        let has_deletes = wire.ops.contains(&Op::Delete.code());
        Batch { bound, wire, has_deletes, patches, made }
    }

    pub fn relation(&self) -> &Relation {
        &self.bound.relation
    }

    /// How many rows it has: at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.wire.rows as usize
    }

    #[inline]
    pub fn op(&self, row: usize) -> Op {
        Op::from_code(self.wire.ops[row])
    }

    /// The rows, one by one.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(self)
    }

    pub fn row(&self, row: usize) -> Row<'_> {
        assert!(row < self.len(), "row {row} of {}", self.len());
        Row::new(self, row)
    }

    columns!(
        /// A column of text, decimals or JSON: values after the change, or before it where the row was deleted.
        text text_in: Texts,
        /// See [`text`](Self::text) for which values these are.
        bytes bytes_in: Bytes,
        /// Also dates and times.
        int64 int64_in: Int64s,
        uint64 uint64_in: UInt64s,
        float64 float64_in: Float64s,
        boolean boolean_in: Booleans
    );

    #[track_caller]
    pub(crate) fn is_present(&self, row: usize, column: &str, side: Side) -> bool {
        let vector = self.images(column, side).of_row(row);
        vector.is_some_and(|v| v.present.is_empty() || bit(&v.present, row))
    }

    #[track_caller]
    pub(crate) fn is_null(&self, row: usize, column: &str, side: Side) -> bool {
        let vector = self.images(column, side).of_row(row);
        vector.is_none_or(|v| !v.nulls.is_empty() && !bit(&v.nulls, row))
    }

    #[track_caller]
    pub(crate) fn value(&self, row: usize, column: &str, side: Side) -> Value {
        let vector = self.images(column, side).of_row(row);
        vector.map_or(Value::Null, |vector| Value::of(vector, row))
    }

    /// Text that the plan asked for as metadata.
    #[track_caller]
    pub fn metadata_text(&self, metadata: Metadata) -> Texts<'_> {
        Texts { images: self.metadata(metadata) }
    }

    /// A number or time that the plan asked for as metadata.
    #[track_caller]
    pub fn metadata_int64(&self, metadata: Metadata) -> Int64s<'_> {
        Int64s { images: self.metadata(metadata) }
    }

    #[track_caller]
    fn metadata(&self, metadata: Metadata) -> Images<'_> {
        let at = self.bound.metadata.iter().position(|&code| code == metadata as u8);
        let Some(at) = at else { panic!("the plan does not read the metadata {metadata:?}") };
        let vector = Some(&self.wire.metadata[at]);
        self.images_from(vector, vector, true)
    }

    #[track_caller]
    pub(crate) fn images(&self, column: &str, side: Side) -> Images<'_> {
        let (index, _) = self.column(column);
        let read = self.bound.reads.iter().find(|(i, ..)| *i == index);
        let Some(&(_, has_after, has_before)) = read else { panic!("the plan does not read the column `{column}`") };
        let is_read = match side {
            Side::Own => has_after || has_before,
            Side::After => has_after,
            Side::Before => has_before,
        };
        assert!(is_read, "the plan does not read this image of the column `{column}`");
        let (after, before) = match side {
            Side::Own => (AFTER, BEFORE),
            Side::After => (AFTER, AFTER),
            Side::Before => (BEFORE, BEFORE),
        };
        self.images_from(self.vector(index, after), self.vector(index, before), side != Side::Own)
    }

    /// `same`: both are one.
    fn images_from<'v>(&'v self, after: Option<&'v Vector>, before: Option<&'v Vector>, same: bool) -> Images<'v> {
        let whole = after.filter(|vector| vector.nulls.is_empty() && (same || !self.has_deletes));
        Images { ops: &self.wire.ops, after, before, whole }
    }

    fn vector(&self, index: u16, image: u8) -> Option<&Vector> {
        self.wire.columns.iter().find(|c| c.index == index && c.image == image).map(|c| &c.vector)
    }

    #[track_caller]
    fn column(&self, name: &str) -> (u16, Kind) {
        let at = self.bound.columns.iter().position(|(n, _)| n == name);
        let Some(at) = at else { panic!("{}.{} has no column `{name}`", self.bound.relation.schema, self.bound.relation.table) };
        (at as u16, self.bound.columns[at].1)
    }

    pub(crate) fn patch(&self, patch: impl FnOnce(&mut Patches)) {
        patch(&mut self.patches.borrow_mut());
    }

    #[track_caller]
    pub(crate) fn set_cell(&self, row: usize, column: &str, image: u8, value: Value) {
        let (index, kind) = self.column(column);
        let set = self.patches.borrow_mut().set(row, index, image, kind, value);
        let Some(()) = set else { panic!("a value of another kind for the column `{column}`, which is {kind:?}") };
    }

    pub(crate) fn set_op(&self, row: usize, op: Op) {
        self.patches.borrow_mut().set_op(row, op.code(), &self.wire.ops);
    }

    /// A derived table's index.
    #[track_caller]
    pub(crate) fn derived(&self, name: &str) -> usize {
        let at = self.bound.derives.iter().position(|table| table.name == name);
        let Some(at) = at else { panic!("the plan does not derive the table `{name}`") };
        at
    }

    pub(crate) fn make<R>(&self, table: usize, make: impl FnOnce(&Table, &mut Made) -> R) -> R {
        make(&self.bound.derives[table], &mut self.made.borrow_mut()[table])
    }

    pub(crate) fn finish(self) -> wit::Outcome {
        let mut outcome = self.patches.into_inner().finish();
        let made = (0..).zip(self.made.into_inner()).zip(&self.bound.derives);
        outcome.derived = made.filter_map(|((at, made), table)| made.finish(at, table)).collect();
        outcome
    }

    /// Drops the rows for which `keep` says false.
    pub fn keep(&self, keep: impl Fn(usize) -> bool) {
        let mut patches = self.patches.borrow_mut();
        (0..self.len()).filter(|&row| !keep(row)).for_each(|row| patches.drop(row));
    }

    /// Sends every row to these topics, but those that are routed one by one.
    pub fn route_all<T: Into<String>>(&self, topics: impl IntoIterator<Item = T>) {
        self.patches.borrow_mut().route_all(topics.into_iter().map(Into::into).collect());
    }

    /// Sends each row to the topic that `topic` writes into the (empty) text; a row for which it writes nothing stays.
    pub fn route_by(&self, topic: impl Fn(usize, &mut String)) {
        let mut patches = self.patches.borrow_mut();
        let mut text = String::new();
        for row in 0..self.len() {
            text.clear();
            topic(row, &mut text);
            if !text.is_empty() {
                patches.route(row, &text);
            }
        }
    }

    /// The same value in every row, after the change.
    #[track_caller]
    pub fn set_all(&self, column: &str, value: impl Into<Value>) {
        let (index, kind) = self.column(column);
        let mut one = Patches::new(1);
        let Some(()) = one.set(0, index, AFTER, kind, value.into()) else {
            panic!("a value of another kind for the column `{column}`, which is {kind:?}")
        };
        let Some(wit::Assign { values: wit::Values::Each(vector), .. }) = one.finish().assigns.pop() else { return };
        self.patches.borrow_mut().assign(index, AFTER, wit::Values::Constant(vector));
    }

    /// Replaces the texts of a column in both images, so that no old value gets past. `rewrite` appends the new text; NULL stays
    /// NULL and absent values stay absent.
    #[track_caller]
    pub fn rewrite_text(&self, column: &str, mut rewrite: impl FnMut(&str, &mut String)) {
        let (index, _) = self.column(column);
        for image in [AFTER, BEFORE] {
            let Some(vector) = self.vector(index, image) else { continue };
            let Buffer::Packed(old) = &vector.data else { panic!("the column `{column}` is not text") };
            let texts = Texts { images: self.images_from(Some(vector), Some(vector), true) };
            let mut data = String::with_capacity(old.data.len());
            let mut offsets = Vec::with_capacity(self.len() + 1);
            offsets.push([0; 4]);
            for row in 0..self.len() {
                if let Some(value) = texts.get(row) {
                    rewrite(value, &mut data);
                }
                offsets.push((data.len() as u32).to_le_bytes());
            }
            let data = Buffer::Packed(Varlen { offsets: offsets.into_flattened(), data: data.into_bytes() });
            let vector = Vector { kind: vector.kind, nulls: vector.nulls.clone(), present: vector.present.clone(), data };
            self.patches.borrow_mut().assign(index, image, wit::Values::Each(vector));
        }
    }
}
