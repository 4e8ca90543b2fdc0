//! The statements that write a group of rows, and the arrays that go with them.
//!
//! A column travels as an array in the binary format (array_recv in arrayfuncs.c: dimensions, null flag, element type; per
//! dimension length and lower bound; then each element as a 4-byte length and its bytes). The element type is the nearest to
//! both the source's kind and the target column; all else is text, cast to the target's type without its length, so that a
//! value that is too long is refused and not cut.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments, Encode, Postgres, Type};

use super::super::Failure;
use super::super::fold::{Action, Group, Role};
use super::super::table::{Bound, Table, quoted};
use super::catalog::is_text;
use crate::change::Kind;
use crate::sink::cell::{Cell, fsp};
use crate::temporal;

/// Element type of a column's array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Int8,
    Float8,
    Bytea,
    Date,
    Timestamp,
    TimestampTz,
    Text,
}

impl Element {
    /// Name, type number of an element, of the array (pg_type.dat).
    fn type_of(self) -> (&'static str, u32, u32) {
        match self {
            Element::Int8 => ("bigint", 20, 1016),
            Element::Float8 => ("double precision", 701, 1022),
            Element::Bytea => ("bytea", 17, 1001),
            Element::Date => ("date", 1082, 1182),
            Element::Timestamp => ("timestamp without time zone", 1114, 1115),
            Element::TimestampTz => ("timestamp with time zone", 1184, 1185),
            Element::Text => ("text", 25, 1009),
        }
    }
}

/// How a column's values go to the server.
#[derive(Clone, Debug)]
struct Wire {
    /// Index in the group's columns.
    column: usize,
    element: Element,
    fsp: u8,
    /// The target takes any text, so also that of dates that no calendar has.
    is_text: bool,
    /// The target is a time of day: 0 to 24 hours.
    is_time_of_day: bool,
    /// What the element is turned into: `::integer`, ` <> 0`, or nothing.
    cast: String,
}

impl Wire {
    fn new(bound: &Bound<'_, '_>) -> Result<Wire, Failure> {
        let base = &*bound.target.base;
        let kind = bound.source.def.kind();
        let number = matches!(base, "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision");
        let element = match kind {
            Kind::Int64 if number || base == "boolean" => Element::Int8,
            Kind::Float64 if matches!(base, "real" | "double precision") => Element::Float8,
            Kind::Bytes if base == "bytea" => Element::Bytea,
            Kind::Date if base == "date" => Element::Date,
            Kind::DateTime if base == "timestamp without time zone" => Element::Timestamp,
            Kind::Timestamp if base == "timestamp with time zone" => Element::TimestampTz,
            Kind::Bytes => return Err(unfit(bound)),
            // Text would be cut to its date without a word.
            Kind::DateTime | Kind::Timestamp
                if base == "date" || base.starts_with("time without") || base.starts_with("time with") =>
            {
                return Err(unfit(bound));
            }
            _ => Element::Text,
        };
        let cast = match (element, base) {
            (Element::Int8, "boolean") => " <> 0".to_owned(),
            // `character` alone means one character, `bit` one bit.
            (_, "character") => "::bpchar".to_owned(),
            (_, "bit") => "::varbit".to_owned(),
            (element, base) if element.type_of().0 == base => String::new(),
            (_, base) => format!("::{base}"),
        };
        Ok(Wire {
            column: bound.index,
            element,
            fsp: fsp(&bound.source.def.source_type),
            is_text: is_text(base),
            is_time_of_day: base.starts_with("time without") || base.starts_with("time with"),
            cast,
        })
    }
}

fn unfit(bound: &Bound<'_, '_>) -> Failure {
    Failure::configuration(
        format!("column `{}`: `{}` cannot take `{}`", bound.target.name, bound.target.full, bound.source.def.source_type),
        "compare docs/types.md, and change the target column's type",
    )
}

/// One kind of statement: for a table, an action and a set of columns.
pub(super) struct Shape {
    text: String,
    /// In the order of the parameters.
    wires: Vec<Wire>,
    is_single: bool,
}

impl Shape {
    pub fn new(table: &Table, group: &Group<'_, '_>) -> Result<Shape, Failure> {
        let bound = table.bind(group)?;
        let wires = bound.iter().map(Wire::new).collect::<Result<Vec<_>, _>>()?;
        let sql = &table.sql;
        let name = |i: usize| quoted(&bound[i].target.name, '"');
        let array = |i: usize| format!("${}::{}[]", i + 1, wires[i].element.type_of().0);
        let all: Vec<usize> = (0..bound.len()).collect();
        let by_role = |role: Role| all.iter().copied().filter(|i| bound[*i].source.role == role).collect::<Vec<_>>();
        let (keys, sets) = (by_role(Role::Key), by_role(Role::Set));
        let join =
            |list: &[usize], by: &str, item: &dyn Fn(usize) -> String| list.iter().map(|i| item(*i)).collect::<Vec<_>>().join(by);
        let names = |list: &[usize]| join(list, ", ", &name);
        // Many rows: columns c0, c1, … of v.
        let value = |i: usize| format!("(v.c{i}){}", wires[i].cast);
        let rows = format!("unnest({}) AS v({})", join(&all, ", ", &array), join(&all, ", ", &|i| format!("c{i}")));
        // One row: the first elements, so that the search for it does not depend on a join.
        let one = |i: usize| format!("(({})[1]){}", array(i), wires[i].cast);
        let is_same = |i: usize| match &*bound[i].target.base {
            // No operator compares these.
            "json" | "point" | "xml" => format!("x.{}::text IS NOT DISTINCT FROM ({})::text", name(i), one(i)),
            _ => format!("x.{} IS NOT DISTINCT FROM ({})", name(i), one(i)),
        };
        let matched = || format!("ctid = (SELECT x.ctid FROM {sql} AS x WHERE {} LIMIT 1)", join(&keys, " AND ", &is_same));
        let found = || join(&keys, " AND ", &|i| format!("t.{} = {}", name(i), value(i)));
        let text = match group.action {
            Action::Insert => {
                format!(
                    "INSERT INTO {sql} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {rows}",
                    names(&all),
                    join(&all, ", ", &value)
                )
            }
            Action::Upsert => {
                // A text key is assigned, too: under a collation of its own an update may change `a` to `A`.
                let is_assigned = |i: &usize| bound[*i].source.role == Role::Set || bound[*i].source.def.kind() == Kind::Text;
                let assigned: Vec<usize> = all.iter().copied().filter(is_assigned).collect();
                let then = match assigned.is_empty() {
                    true => "NOTHING".to_owned(),
                    false => format!("UPDATE SET {}", join(&assigned, ", ", &|i| format!("{0} = excluded.{0}", name(i)))),
                };
                format!(
                    "INSERT INTO {sql} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {rows} ON CONFLICT ({}) DO {then}",
                    names(&all),
                    join(&all, ", ", &value),
                    names(&keys),
                )
            }
            Action::Update => {
                // An image of nothing but the key changes nothing.
                let set = match sets.is_empty() {
                    true => format!("{0} = t.{0}", name(keys[0])),
                    false => join(&sets, ", ", &|i| format!("{} = {}", name(i), value(i))),
                };
                format!("UPDATE {sql} AS t SET {set} FROM {rows} WHERE {}", found())
            }
            Action::Delete => format!("DELETE FROM {sql} AS t USING {rows} WHERE {}", found()),
            Action::UpdateWhole => {
                format!("UPDATE {sql} SET {} WHERE {}", join(&sets, ", ", &|i| format!("{} = {}", name(i), one(i))), matched())
            }
            Action::DeleteWhole => format!("DELETE FROM {sql} WHERE {}", matched()),
        };
        let is_single = matches!(group.action, Action::UpdateWhole | Action::DeleteWhole);
        Ok(Shape { text, wires, is_single })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The statement writes one row only.
    pub fn is_single(&self) -> bool {
        self.is_single
    }

    pub fn arguments(&self, group: &Group<'_, '_>, from: usize, rows: usize) -> Result<PgArguments, Failure> {
        let mut arguments = PgArguments::default();
        let mut scratch = String::new();
        for wire in &self.wires {
            let (_, element, array) = wire.element.type_of();
            let mut bytes = Vec::with_capacity(20 + rows * 16);
            for word in [1, 1, element, rows as u32, 1] {
                bytes.extend_from_slice(&word.to_be_bytes());
            }
            for row in from..from + rows {
                wire.push(&mut bytes, group.cell(row, wire.column), &mut scratch)
                    .map_err(|reason| Failure::row(row, format!("column `{}`: {reason}", group.columns[wire.column].def.name)))?;
            }
            let added = arguments.add(Array { array, bytes });
            added.map_err(|e| Failure::Retry(format!("the values cannot be sent: {e}")))?;
        }
        Ok(arguments)
    }
}

/// Days and microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH_US: i64 = EPOCH_DAYS * 86_400_000_000;
const DAY_US: i64 = 86_400_000_000;

impl Wire {
    /// Appends an element: its length and bytes.
    fn push(&self, out: &mut Vec<u8>, cell: Cell<'_>, scratch: &mut String) -> Result<(), &'static str> {
        let word = |out: &mut Vec<u8>, word: i64| {
            out.extend_from_slice(&8u32.to_be_bytes());
            out.extend_from_slice(&word.to_be_bytes());
        };
        match (self.element, cell) {
            (_, Cell::Null) => out.extend_from_slice(&(-1i32).to_be_bytes()),
            (_, Cell::Date(w) | Cell::DateTime(w) | Cell::Timestamp(w)) if temporal::is_invalid(w) && !self.is_text => {
                return Err(
                    "a zero or impossible date, which PostgreSQL does not have; make the target column text, or replace the value in a plugin",
                );
            }
            (Element::Int8, Cell::Int(n)) => word(out, n),
            (Element::Float8, Cell::Float(n)) => word(out, n.to_bits() as i64),
            (Element::Timestamp, Cell::DateTime(w)) | (Element::TimestampTz, Cell::Timestamp(w)) => word(out, w - EPOCH_US),
            (Element::Date, Cell::Date(w)) => {
                out.extend_from_slice(&4u32.to_be_bytes());
                out.extend_from_slice(&((w.div_euclid(86_400_000) - EPOCH_DAYS) as i32).to_be_bytes());
            }
            (Element::Bytea, Cell::Bytes(b)) => bytes(out, b),
            (Element::Text, Cell::Text(s) | Cell::Decimal(s) | Cell::Json(s)) => text(out, s)?,
            (Element::Text, Cell::Time(w)) if self.is_time_of_day && !(0..DAY_US).contains(&w) => {
                return Err("not a time of day; make the target column an interval");
            }
            (_, cell) => {
                scratch.clear();
                if !cell.write_text(scratch, self.fsp) {
                    return Err("bytes do not fit the column's type");
                }
                text(out, scratch)?;
            }
        }
        Ok(())
    }
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn text(out: &mut Vec<u8>, s: &str) -> Result<(), &'static str> {
    if memchr::memchr(0, s.as_bytes()).is_some() {
        return Err(
            "text with a zero byte, which PostgreSQL does not have; make the column bytea, or replace the byte in a plugin",
        );
    }
    bytes(out, s.as_bytes());
    Ok(())
}

/// An array, encoded.
struct Array {
    /// Type number.
    array: u32,
    bytes: Vec<u8>,
}

impl Type<Postgres> for Array {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1009))
    }
}

impl Encode<'_, Postgres> for Array {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buf.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.array)))
    }

    fn size_hint(&self) -> usize {
        self.bytes.len()
    }
}
