//! Rows of a batch, one by one.

use crate::batch::{AFTER, BEFORE, Batch, Side};
use crate::column::{Booleans, Bytes, Float64s, Int64s, Texts, UInt64s, Value};
use crate::derived::DerivedRow;
use crate::log;
use crate::relation::Op;

/// One row. Reads and sets its own image (after the change, or before it if the row was deleted) unless
/// [`after`](Self::after) or [`before`](Self::before) says otherwise. What is set is not read back.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    batch: &'a Batch<'a>,
    row: usize,
    side: Side,
}

macro_rules! values {
    ($($(#[$doc:meta])* $name:ident -> $value:ty: $view:ident),*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(self, column: &str) -> Option<$value> {
            $view { images: self.batch.images(column, self.side) }.get(self.row)
        }
    )*};
}

impl<'a> Row<'a> {
    pub(crate) fn new(batch: &'a Batch<'a>, row: usize) -> Row<'a> {
        Row { batch, row, side: Side::Own }
    }

    /// Index in the batch.
    pub fn index(self) -> usize {
        self.row
    }

    pub fn op(self) -> Op {
        self.batch.op(self.row)
    }

    /// The same row, looked at after the change.
    pub fn after(self) -> Row<'a> {
        Row { side: Side::After, ..self }
    }

    /// The same row, looked at before the change.
    pub fn before(self) -> Row<'a> {
        Row { side: Side::Before, ..self }
    }

    values!(
        /// Text, decimal or JSON. `None`: NULL, or not in the image.
        text -> &'a str: Texts,
        bytes -> &'a [u8]: Bytes,
        /// Also dates and times: see [`Kind`](crate::Kind).
        int64 -> i64: Int64s,
        uint64 -> u64: UInt64s,
        float64 -> f64: Float64s,
        boolean -> bool: Booleans
    );

    /// The value of a column of any kind. `Value::Null`: NULL, or not in the image.
    #[track_caller]
    pub fn value(self, column: &str) -> Value {
        self.batch.value(self.row, column, self.side)
    }

    /// NULL, or not in the image.
    #[track_caller]
    pub fn is_null(self, column: &str) -> bool {
        self.batch.is_null(self.row, column, self.side)
    }

    /// True if the image has a value or a NULL for this column; what it does not have is not known
    /// (`binlog_row_image = MINIMAL`).
    #[track_caller]
    pub fn is_present(self, column: &str) -> bool {
        self.batch.is_present(self.row, column, self.side)
    }

    /// Sets a value; `None` is NULL.
    #[track_caller]
    pub fn set(self, column: &str, value: impl Into<Value>) {
        let image = match (self.side, self.op()) {
            (Side::Before, _) | (Side::Own, Op::Delete) => BEFORE,
            (Side::After | Side::Own, _) => AFTER,
        };
        self.batch.set_cell(self.row, column, image, value.into());
    }

    /// Makes another operation of it: a delete into an update keeps the row at the sink.
    pub fn set_op(self, op: Op) {
        self.batch.set_op(self.row, op);
    }

    /// It goes no further.
    pub fn drop(self) {
        self.batch.patch(|patches| patches.drop(self.row));
    }

    /// Sends it to this topic and to no other; by default it goes to `schema.table`.
    pub fn route(self, topic: &str) {
        self.batch.patch(|patches| patches.route(self.row, topic));
    }

    /// Sends it to this topic as well as to those that [`route`](Self::route) and this have named.
    pub fn route_also(self, topic: &str) {
        self.batch.patch(|patches| patches.route_also(self.row, topic));
    }

    /// Makes a row of a table that the plan [`derives`](crate::Plan::derives), `schema.table`: an insert, which replaces a row of its key.
    /// It is written after this one, whether this one is dropped or not.
    #[track_caller]
    pub fn derive(self, table: &str) -> DerivedRow<'a> {
        self.derive_as(Op::Insert, table)
    }

    /// Makes another change: an update sets some columns of the row of its key, a delete needs the key alone.
    #[track_caller]
    pub fn derive_as(self, op: Op, table: &str) -> DerivedRow<'a> {
        DerivedRow::new(self.batch, self.row, op, table)
    }

    /// It cannot be processed: the pipeline stops in front of it. The message should not hold values.
    pub fn fail(self, message: impl Into<String>) {
        self.batch.patch(|patches| patches.fail(self.row, message.into()));
    }
}

/// Iterates over the rows of a batch.
pub struct Rows<'a> {
    batch: &'a Batch<'a>,
    next: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(batch: &'a Batch<'a>) -> Rows<'a> {
        Rows { batch, next: 0 }
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        let row = self.next;
        if row == self.batch.len() {
            log::ROW.set(None);
            return None;
        }
        log::ROW.set(Some(row));
        self.next += 1;
        Some(Row::new(self.batch, row))
    }
}
