//! Changes, as they travel from the decoder to the sink: columnar, grouped by relation, in Arrow arrays.
//!
//! A [`Batch`] belongs to one lane. It holds the rows of many events and transactions, grouped by relation ([`Rows`]); a
//! [`RowId`] a row keeps the order across relations. Every value of a source type has one physical form, so that the decoder,
//! the plugin boundary and the sinks need only two: 8-byte words and variable-length bytes (see [`Kind`]).
//!
//! Invariants: all columns of a [`Rows`] have the same length; ids grow strictly within a `Rows` (rows that a plugin derived from one
//! row share its id); text is valid UTF-8.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow_array::ArrayRef;
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::position::{Gtid, Position};

/// What happened to a row. The discriminants are the op codes of the plugin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Op {
    Insert = 0,
    Update = 1,
    Delete = 2,
    /// A row read from the table itself and not from the change stream; an upsert at the sink.
    Snapshot = 3,
}

impl Op {
    pub fn from_code(code: u8) -> Option<Op> {
        [Op::Insert, Op::Update, Op::Delete, Op::Snapshot].into_iter().find(|op| *op as u8 == code)
    }
}

/// The logical kind of a column: what a plugin and a sink see, whatever the source calls the type.
///
/// Physical form in Arrow: `Int64` i64 · `UInt64` u64 · `Float64` f64 · `Text`, `Decimal`, `Json` Utf8 (i32 offsets) ·
/// `Bytes` Binary (i32 offsets) · `Date` Date64 (milliseconds since 1970-01-01) · `Time` Duration(µs), signed ·
/// `DateTime` Timestamp(µs, no zone) · `Timestamp` Timestamp(µs, "UTC") · `Boolean` Boolean, which plugins alone add.
/// Decimals are their exact text. A zero or impossible date of the four temporal kinds is below [`crate::temporal::INVALID_MAX`].
/// The discriminants are the kind codes of the plugin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Kind {
    Boolean,
    Int64,
    UInt64,
    Float64,
    Text,
    Bytes,
    Decimal,
    Json,
    Date,
    Time,
    DateTime,
    Timestamp,
}

impl Kind {
    const ALL: [Kind; 12] = [
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

    pub fn from_code(code: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(code)).copied()
    }

    /// The Arrow type of a column of this kind.
    pub fn data_type(self) -> DataType {
        match self {
            Kind::Boolean => DataType::Boolean,
            Kind::Int64 => DataType::Int64,
            Kind::UInt64 => DataType::UInt64,
            Kind::Float64 => DataType::Float64,
            Kind::Text | Kind::Decimal | Kind::Json => DataType::Utf8,
            Kind::Bytes => DataType::Binary,
            Kind::Date => DataType::Date64,
            Kind::Time => DataType::Duration(TimeUnit::Microsecond),
            Kind::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// True for the kinds that are stored as 8-byte words.
    pub fn is_word(self) -> bool {
        !matches!(self, Kind::Boolean | Kind::Text | Kind::Bytes | Kind::Decimal | Kind::Json)
    }
}

/// The type of a column at the source, with what a sink needs to declare it again. Lengths are in characters for text and in
/// bytes for binary types, as in the source's own DDL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceType {
    /// `bits` of storage: 8, 16, 24, 32 or 64.
    Int {
        bits: u8,
        unsigned: bool,
    },
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
        unsigned: bool,
    },
    Bit {
        bits: u8,
    },
    Year,
    Date,
    Time {
        fsp: u8,
    },
    DateTime {
        fsp: u8,
    },
    Timestamp {
        fsp: u8,
    },
    Char {
        length: u32,
        collation: u16,
    },
    VarChar {
        length: u32,
        collation: u16,
    },
    /// TINYTEXT, TEXT, MEDIUMTEXT, LONGTEXT: 1 to 4 length bytes.
    Text {
        length_bytes: u8,
        collation: u16,
    },
    Binary {
        length: u32,
    },
    VarBinary {
        length: u32,
    },
    Blob {
        length_bytes: u8,
    },
    Enum {
        members: Arc<[Box<str>]>,
        collation: u16,
    },
    Set {
        members: Arc<[Box<str>]>,
        collation: u16,
    },
    Json,
    /// Value: 4 bytes of SRID little-endian, then WKB, as MySQL stores it.
    Geometry,
    /// Value: 4-byte little-endian floats.
    Vector {
        dimensions: u16,
    },
    /// MariaDB's types of addresses.
    Address(Address),
    /// A column that a plugin added.
    Plugin(Kind),
}

/// What MariaDB keeps as bytes and shows as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    Uuid,
    Inet6,
    Inet4,
}

impl Address {
    /// How many a value has.
    pub fn bytes(self) -> u16 {
        match self {
            Address::Uuid | Address::Inet6 => 16,
            Address::Inet4 => 4,
        }
    }

    /// Most characters of a value's text.
    pub fn text_len(self) -> u16 {
        match self {
            Address::Uuid => 36,
            Address::Inet6 => 39,
            Address::Inet4 => 15,
        }
    }
}

impl SourceType {
    pub fn kind(&self) -> Kind {
        match self {
            SourceType::Int { unsigned: false, .. } | SourceType::Year => Kind::Int64,
            SourceType::Int { unsigned: true, .. } | SourceType::Bit { .. } => Kind::UInt64,
            SourceType::Float | SourceType::Double => Kind::Float64,
            SourceType::Decimal { .. } => Kind::Decimal,
            SourceType::Date => Kind::Date,
            SourceType::Time { .. } => Kind::Time,
            SourceType::DateTime { .. } => Kind::DateTime,
            SourceType::Timestamp { .. } => Kind::Timestamp,
            SourceType::Char { .. }
            | SourceType::VarChar { .. }
            | SourceType::Text { .. }
            | SourceType::Enum { .. }
            | SourceType::Set { .. }
            | SourceType::Address(_) => Kind::Text,
            SourceType::Binary { .. }
            | SourceType::VarBinary { .. }
            | SourceType::Blob { .. }
            | SourceType::Geometry
            | SourceType::Vector { .. } => Kind::Bytes,
            SourceType::Json => Kind::Json,
            SourceType::Plugin(kind) => *kind,
        }
    }

    /// The collation id of a text column (information_schema.COLLATIONS.ID), which decides which keys are equal.
    pub fn collation(&self) -> Option<u16> {
        match self {
            SourceType::Char { collation, .. }
            | SourceType::VarChar { collation, .. }
            | SourceType::Text { collation, .. }
            | SourceType::Enum { collation, .. }
            | SourceType::Set { collation, .. } => Some(*collation),
            _ => None,
        }
    }
}

/// As MySQL's DDL writes it: `bigint unsigned`, `decimal(10,2)`, `varchar(55)`.
impl fmt::Display for SourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unsigned = |u: bool| if u { " unsigned" } else { "" };
        let fsp = |f: &mut fmt::Formatter<'_>, name: &str, fsp: u8| match fsp {
            0 => f.write_str(name),
            n => write!(f, "{name}({n})"),
        };
        let members = |f: &mut fmt::Formatter<'_>, name: &str, members: &[Box<str>]| {
            write!(f, "{name}(")?;
            for (i, m) in members.iter().enumerate() {
                f.write_str(if i > 0 { ",'" } else { "'" })?;
                for char in m.chars() {
                    match char {
                        '\'' => f.write_str("''")?,
                        '\\' => f.write_str("\\\\")?,
                        '\n' => f.write_str("\\n")?,
                        '\r' => f.write_str("\\r")?,
                        '\0' => f.write_str("\\0")?,
                        char => f.write_char(char)?,
                    }
                }
                f.write_char('\'')?;
            }
            f.write_str(")")
        };
        match self {
            SourceType::Int { bits, unsigned: u } => {
                let name = match bits {
                    8 => "tinyint",
                    16 => "smallint",
                    24 => "mediumint",
                    32 => "int",
                    _ => "bigint",
                };
                write!(f, "{name}{}", unsigned(*u))
            }
            SourceType::Float => f.write_str("float"),
            SourceType::Double => f.write_str("double"),
            SourceType::Decimal { precision, scale, unsigned: u } => {
                write!(f, "decimal({precision},{scale}){}", unsigned(*u))
            }
            SourceType::Bit { bits } => write!(f, "bit({bits})"),
            SourceType::Year => f.write_str("year"),
            SourceType::Date => f.write_str("date"),
            SourceType::Time { fsp: n } => fsp(f, "time", *n),
            SourceType::DateTime { fsp: n } => fsp(f, "datetime", *n),
            SourceType::Timestamp { fsp: n } => fsp(f, "timestamp", *n),
            SourceType::Char { length, .. } => write!(f, "char({length})"),
            SourceType::VarChar { length, .. } => write!(f, "varchar({length})"),
            SourceType::Text { length_bytes, .. } => f.write_str(match length_bytes {
                1 => "tinytext",
                2 => "text",
                3 => "mediumtext",
                _ => "longtext",
            }),
            SourceType::Binary { length } => write!(f, "binary({length})"),
            SourceType::VarBinary { length } => write!(f, "varbinary({length})"),
            SourceType::Blob { length_bytes } => f.write_str(match length_bytes {
                1 => "tinyblob",
                2 => "blob",
                3 => "mediumblob",
                _ => "longblob",
            }),
            SourceType::Enum { members: m, .. } => members(f, "enum", m),
            SourceType::Set { members: m, .. } => members(f, "set", m),
            SourceType::Json => f.write_str("json"),
            SourceType::Geometry => f.write_str("geometry"),
            SourceType::Vector { dimensions } => write!(f, "vector({dimensions})"),
            SourceType::Address(address) => f.write_str(match address {
                Address::Uuid => "uuid",
                Address::Inet6 => "inet6",
                Address::Inet4 => "inet4",
            }),
            SourceType::Plugin(kind) => f.write_str(match kind {
                Kind::Boolean => "boolean",
                Kind::Int64 => "bigint",
                Kind::UInt64 => "bigint unsigned",
                Kind::Float64 => "double",
                Kind::Text => "longtext",
                Kind::Bytes => "longblob",
                Kind::Decimal => "decimal(65,30)",
                Kind::Json => "json",
                Kind::Date => "date",
                Kind::Time => "time(6)",
                Kind::DateTime => "datetime(6)",
                Kind::Timestamp => "timestamp(6)",
            }),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnDef {
    pub name: Box<str>,
    pub source_type: SourceType,
    pub nullable: bool,
}

impl ColumnDef {
    pub fn kind(&self) -> Kind {
        self.source_type.kind()
    }
}

/// How a relation's rows are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyOrigin {
    /// The primary key.
    Primary,
    /// A unique key of NOT NULL columns, for want of a primary key.
    Unique,
    /// No key: a row is found by all its values, and all rows share one lane.
    WholeRow,
}

/// A table as seen at one position. Another one is made when its columns change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relation {
    /// Unique within the process; a plugin is bound once for each.
    #[serde(skip, default = "Relation::next_id")]
    pub id: u32,
    pub schema: Box<str>,
    pub table: Box<str>,
    pub columns: Vec<ColumnDef>,
    /// Indexes into `columns`, in key order; empty exactly when `key_origin` is `WholeRow`.
    pub key: Vec<u16>,
    pub key_origin: KeyOrigin,
}

impl Relation {
    /// A new value for [`Relation::id`]: 0, 1, 2, …
    pub fn next_id() -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// True if both say the same of a table, whatever their ids.
    pub fn is_like(&self, other: &Relation) -> bool {
        let Relation { id: _, schema, table, columns, key, key_origin } = self;
        (schema, table, columns, key, key_origin) == (&other.schema, &other.table, &other.columns, &other.key, &other.key_origin)
    }

    /// Where a table of [`Relation::SLOTS`] entries keeps what it knows of the relation, by its id. Ids are dense, so few relations share a
    /// slot; and tables that come and go for ever take no more memory than this.
    #[inline]
    pub fn slot(&self) -> usize {
        self.id as usize % Relation::SLOTS
    }

    pub const SLOTS: usize = 4096;

    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| &*c.name == name)
    }
}

/// `schema.table`, which is also a change's topic until a plugin routes it elsewhere.
impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// Where a row stands in the read order of its pipeline. Deterministic within a transaction: reading the same transaction
/// again gives the same `place`, whatever tables are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RowId {
    /// Number of the transaction, counted by the pipeline since it started.
    pub transaction: u64,
    /// Row event within the transaction (high 32 bits), row within the event times two (low 32 bits); the insert half of a
    /// key change has the lowest bit set.
    pub place: u64,
}

/// A source transaction of which a batch holds rows.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// [`RowId::transaction`] of its rows.
    pub number: u64,
    pub gtid: Option<Gtid>,
    /// Where it begins; reading resumes there.
    pub file: Arc<str>,
    pub offset: u64,
    /// Microseconds since the epoch, UTC, by the source's clock.
    pub commit_time_us: i64,
}

/// One column of one image.
#[derive(Clone, Debug)]
pub struct Column {
    /// Of the Arrow type of the column's [`Kind`].
    pub values: ArrayRef,
    /// Set bit: the row image has this column. `None`: all rows have it. An absent value is null in `values` as well, but
    /// means "not known", never NULL.
    pub present: Option<BooleanBuffer>,
}

impl Column {
    pub fn is_present(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|p| p.value(row))
    }

    pub fn nulls(&self) -> Option<&NullBuffer> {
        self.values.nulls()
    }
}

/// The rows of one relation in a batch.
#[derive(Clone, Debug)]
pub struct Rows {
    pub relation: Arc<Relation>,
    pub ops: Vec<Op>,
    pub ids: Vec<RowId>,
    /// After images, by column index; null for a delete. `None`: nobody downstream asked for this column.
    pub after: Vec<Option<Column>>,
    /// Before images, by column index; null for an insert. `None` as above, and when the batch has no row with a before image.
    pub before: Vec<Option<Column>>,
    /// Set by plugins; `None`: every row goes to its relation's own topic.
    pub topics: Option<Topics>,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    fn head(&self, rows_max: usize) -> Rows {
        Rows { topics: None, ..self.slice(0..self.len().min(rows_max)) }
    }

    /// The rows of a range, without a copy of their values.
    pub fn slice(&self, range: Range<usize>) -> Rows {
        let column = |column: &Option<Column>| {
            let Column { values, present } = column.as_ref()?;
            let present = present.as_ref().map(|present| present.slice(range.start, range.len()));
            Some(Column { values: values.slice(range.start, range.len()), present })
        };
        let topics = |topics: &Topics| Topics { lists: topics.lists.clone(), of_row: topics.of_row[range.clone()].to_vec() };
        Rows {
            relation: Arc::clone(&self.relation),
            ops: self.ops[range.clone()].to_vec(),
            ids: self.ids[range.clone()].to_vec(),
            after: self.after.iter().map(column).collect(),
            before: self.before.iter().map(column).collect(),
            topics: self.topics.as_ref().map(topics),
        }
    }

    /// Leaves out rows as a plugin drops them. How many were not left out before.
    pub fn leave_out(&mut self, is_out: impl Fn(RowId) -> bool) -> usize {
        let out: Vec<usize> = (0..self.len()).filter(|row| is_out(self.ids[*row])).collect();
        if out.is_empty() {
            return 0;
        }
        let own = || Topics { lists: vec![vec![self.relation.to_string().into()]], of_row: vec![0; self.ops.len()] };
        let topics = self.topics.get_or_insert_with(own);
        let none = topics.lists.iter().position(Vec::is_empty).unwrap_or_else(|| {
            topics.lists.push(Vec::new());
            topics.lists.len() - 1
        });
        let mut count = 0;
        for row in out {
            count += usize::from(!topics.lists[usize::from(topics.of_row[row])].is_empty());
            topics.of_row[row] = none as u16;
        }
        count
    }

    /// The image that identifies a row: before for a delete, else after. The decoder sees to it that the key columns of that
    /// image are always present.
    pub fn key_image(&self, row: usize) -> &[Option<Column>] {
        match self.ops[row] {
            Op::Delete => &self.before,
            Op::Insert | Op::Update | Op::Snapshot => &self.after,
        }
    }
}

impl Batch {
    /// The first rows of each relation, as they are read: no value is copied.
    pub fn head(&self, rows_max: usize) -> Batch {
        let relations = self.relations.iter().map(|rows| rows.head(rows_max)).collect();
        Batch { relations, transactions: self.transactions.clone(), ends: Vec::new(), resume: Arc::clone(&self.resume), ..*self }
    }
}

/// Where plugins sent rows: `lists[of_row[i]]` are the topics of row i; an empty list is a dropped row.
#[derive(Clone, Debug)]
pub struct Topics {
    pub lists: Vec<Vec<Arc<str>>>,
    pub of_row: Vec<u16>,
}

impl Topics {
    /// For each of `lists`, the rows that have it, growing.
    pub fn picks(&self) -> Vec<Vec<u32>> {
        let mut counts = vec![0; self.lists.len()];
        self.of_row.iter().for_each(|&list| counts[usize::from(list)] += 1);
        let mut picks: Vec<Vec<u32>> = counts.into_iter().map(Vec::with_capacity).collect();
        (0..).zip(&self.of_row).for_each(|(row, &list)| picks[usize::from(list)].push(row));
        picks
    }
}

/// The changes of one lane that settle together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// At most one entry a relation.
    pub relations: Vec<Rows>,
    /// Those of which the batch holds rows, in read order.
    pub transactions: Vec<Transaction>,
    /// Rows and value bytes before any plugin.
    pub rows: usize,
    pub bytes: usize,
    pub first: RowId,
    pub last: RowId,
    /// The last transaction boundary read when the batch was closed: all rows of the lane before it are in this batch or an
    /// earlier one.
    pub resume: Arc<Position>,
    /// Its rows were read from a table. They share no batch with changes.
    pub is_read: bool,
    /// `ordering = "transaction"` alone: the transactions that end in the batch, by number, and the boundary behind each.
    pub ends: Vec<(u64, Arc<Position>)>,
    /// The transaction of `last` ends at or before `resume`; else the batch was cut inside of it.
    pub ends_transaction: bool,
}

/// The rows of one relation that go to one topic of one sink: what a sink writes.
#[derive(Clone, Debug)]
pub struct Slice<'a> {
    pub rows: &'a Rows,
    pub topic: Arc<str>,
    /// Row indexes, growing.
    pub picks: Vec<u32>,
}
