//! Tables as a plugin sees them.

use crate::bindings::tidegate::plugin::types as wire;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Insert,
    Update,
    Delete,
    /// Read from the table itself and not from the change stream.
    Snapshot,
}

impl Op {
    pub const ALL: [Op; 4] = [Op::Insert, Op::Update, Op::Delete, Op::Snapshot];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The host passes only operations that the plan asks for.
    pub(crate) fn from_code(code: u8) -> Op {
        Op::ALL[usize::from(code)]
    }
}

/// What a column holds. Dates and times are words: see each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Boolean,
    Int64,
    UInt64,
    Float64,
    Text,
    Bytes,
    /// Exact, as text.
    Decimal,
    /// As text.
    Json,
    /// Milliseconds since 1970-01-01.
    Date,
    /// Microseconds, signed.
    Time,
    /// Microseconds since 1970-01-01T00:00:00, no zone.
    DateTime,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// One that this version of the SDK does not know.
    Unknown(u8),
}

const KINDS: [Kind; 12] = [
    Kind::Boolean,
    Kind::Int64,
    Kind::UInt64,
    Kind::Float64,
    Kind::Text,
    Kind::Bytes,
    Kind::Decimal,
    Kind::Json,
    Kind::Date,
    Kind::Time,
    Kind::DateTime,
    Kind::Timestamp,
];

impl Kind {
    pub(crate) fn from_code(code: u8) -> Kind {
        KINDS.get(usize::from(code)).copied().unwrap_or(Kind::Unknown(code))
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Kind::Unknown(code) => code,
            known => KINDS.iter().position(|k| *k == known).unwrap_or_default() as u8,
        }
    }

    /// Text, decimal and JSON: what [`Batch::text`](crate::Batch::text) reads.
    pub fn is_text(self) -> bool {
        matches!(self, Kind::Text | Kind::Decimal | Kind::Json)
    }

    /// Int64 and the kinds of dates and times: what [`Batch::int64`](crate::Batch::int64) reads.
    pub fn is_int64(self) -> bool {
        matches!(self, Kind::Int64 | Kind::Date | Kind::Time | Kind::DateTime | Kind::Timestamp)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub nullable: bool,
    /// As the source's DDL writes it: `varchar(55)`; empty for a column that a plugin added.
    pub source_type: String,
}

/// A table as seen at one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub id: u32,
    pub schema: String,
    pub table: String,
    pub columns: Vec<Column>,
    /// Indexes of the key columns, in key order; empty: the table has no key.
    pub key: Vec<u16>,
}

impl Relation {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// True for `schema.table`, `table`, `schema.*` and `*`.
    pub fn matches(&self, pattern: &str) -> bool {
        let (schema, table) = pattern.split_once('.').unwrap_or(("*", pattern));
        (schema == "*" || schema == self.schema) && (table == "*" || table == self.table)
    }
}

impl From<wire::Relation> for Relation {
    fn from(relation: wire::Relation) -> Relation {
        let column = |c: wire::ColumnDef| Column {
            name: c.name,
            kind: Kind::from_code(c.kind),
            nullable: c.nullable,
            source_type: c.source_type,
        };
        Relation {
            id: relation.id,
            schema: relation.schema,
            table: relation.table,
            columns: relation.columns.into_iter().map(column).collect(),
            key: relation.key,
        }
    }
}
