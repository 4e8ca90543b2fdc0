//! The statements that write a group of rows, and the values that go with them.

use mysql_async::Value;

use super::super::Failure;
use super::super::fold::{Action, Group, Role};
use super::super::table::{Bound, Table, quoted};
use super::error;
use crate::change::{Kind, Relation};
use crate::sink::cell::Cell;
use crate::temporal::{self, Fields};

/// One kind of statement: for a table, an action and a set of columns.
pub(super) struct Shape {
    /// What stands before the rows; tells one shape from another.
    head: String,
    /// One row's placeholders.
    row: String,
    /// What stands after the rows.
    tail: String,
    /// Group columns, in the order of a row's placeholders.
    order: Vec<usize>,
    /// The column by whose NULL the guard speaks (see [`guard`]).
    guard: Option<String>,
    /// The keys that it guards, for messages.
    guarded: String,
}

impl Shape {
    pub fn new(table: &Table, group: &Group<'_, '_>) -> Result<Shape, Failure> {
        let bound = table.bind(group)?;
        let name = |i: usize| quoted(&bound[i].target.name, '`');
        let all: Vec<usize> = (0..bound.len()).collect();
        let by_role = |role: Role| all.iter().copied().filter(|i| bound[*i].source.role == role).collect::<Vec<_>>();
        let (keys, sets) = (by_role(Role::Key), by_role(Role::Set));
        let index = |list: &[usize]| list.iter().map(|i| bound[*i].index).collect::<Vec<_>>();
        let join = |items: Vec<String>, by: &str| items.join(by);
        let value = |i: usize| new_value(&bound[i].target.base);
        let assignments = |list: &[usize]| join(list.iter().map(|i| format!("{} = {}", name(*i), value(*i))).collect(), ", ");
        let mut guard_column = None;
        let sql = &table.sql;
        let (head, row, tail, order) = match group.action {
            Action::Upsert | Action::Insert => {
                let names = join(all.iter().map(|i| name(*i)).collect(), ",");
                let tail = if group.action == Action::Upsert {
                    let (tail, column) = on_duplicate(table, &group.unit.relation, &keys, &sets, &bound);
                    guard_column = column;
                    tail
                } else {
                    String::new()
                };
                let row = format!("({})", join(all.iter().map(|i| value(*i).to_owned()).collect(), ","));
                (format!("INSERT INTO {sql} ({names}) VALUES "), row, tail, index(&all))
            }
            Action::Delete => {
                let kind = |i: usize| bound[i].source.def.kind();
                if let [key] = keys[..] {
                    (
                        format!("DELETE FROM {sql} WHERE {} IN (", name(key)),
                        placeholder(kind(key)).to_owned(),
                        ")".to_owned(),
                        index(&keys),
                    )
                } else {
                    let names = join(keys.iter().map(|i| name(*i)).collect(), ",");
                    let row = format!("({})", join(keys.iter().map(|i| placeholder(kind(*i)).to_owned()).collect(), ","));
                    (format!("DELETE FROM {sql} WHERE ({names}) IN ("), row, ")".to_owned(), index(&keys))
                }
            }
            Action::Update => {
                let found = join(
                    keys.iter().map(|i| format!("{} = {}", name(*i), placeholder(bound[*i].source.def.kind()))).collect(),
                    " AND ",
                );
                // An image of nothing but the key changes nothing.
                let set = if sets.is_empty() { format!("{0} = {0}", name(keys[0])) } else { assignments(&sets) };
                (
                    format!("UPDATE {sql} SET {set} WHERE {found}"),
                    String::new(),
                    String::new(),
                    [index(&sets), index(&keys)].concat(),
                )
            }
            Action::UpdateWhole | Action::DeleteWhole => {
                let mut order = index(&sets);
                let mut found = Vec::new();
                for i in &keys {
                    let (text, parameters) = whole_match(&name(*i), bound[*i].source.def.kind(), &bound[*i].target.base);
                    found.push(text);
                    order.extend(std::iter::repeat_n(bound[*i].index, parameters));
                }
                let found = found.join(" AND ");
                let head = match group.action {
                    Action::UpdateWhole => format!("UPDATE {sql} SET {} WHERE {found} LIMIT 1", assignments(&sets)),
                    _ => format!("DELETE FROM {sql} WHERE {found} LIMIT 1"),
                };
                (head, String::new(), String::new(), order)
            }
        };
        let guarded = if guard_column.is_some() { table.other_unique(&group.unit.relation) } else { String::new() };
        Ok(Shape { head, row, tail, order, guard: guard_column, guarded })
    }

    /// Tells this statement from all others, together with the number of rows.
    pub fn head(&self) -> &str {
        &self.head
    }

    pub fn text(&self, rows: usize) -> String {
        let mut text = String::with_capacity(self.head.len() + rows * (self.row.len() + 1) + self.tail.len());
        text.push_str(&self.head);
        for i in 0..rows {
            text.push_str(if i > 0 && !self.row.is_empty() { "," } else { "" });
            text.push_str(&self.row);
        }
        text.push_str(&self.tail);
        text
    }

    /// Placeholders of one row.
    pub fn parameters(&self) -> usize {
        self.order.len()
    }

    /// Appends a row's values; returns how many bytes they take, roughly.
    pub fn push(&self, group: &Group<'_, '_>, row: usize, values: &mut Vec<Value>) -> usize {
        let mut bytes = 0;
        for column in &self.order {
            let value = value(group.cell(row, *column));
            bytes += if let Value::Bytes(b) = &value { b.len() + 9 } else { 12 };
            values.push(value);
        }
        bytes
    }

    pub fn failure(&self, e: &mysql_async::Error) -> Failure {
        if let (mysql_async::Error::Server(server), Some(column)) = (e, &self.guard)
            && server.code == error::BAD_NULL
            && error::quoted_name(&server.message) == Some(column)
        {
            let guarded = &self.guarded;
            return Failure::Conflict(format!("a row of another key holds the row's values of a unique key: one of {guarded}"));
        }
        error::failure(e)
    }
}

/// The update half of an upsert.
///
/// ON DUPLICATE KEY UPDATE fires on every unique key. Where the table has others than the relation's, the first assignment is a
/// guard: it gives the key column NULL if the row that was hit has another key, which a strict session refuses (error 1048);
/// [`Shape::failure`] makes a conflict of that. Without a guard, a key column of text is assigned, too: an update may change `a`
/// to `A`, which is the same key.
fn on_duplicate(
    table: &Table,
    relation: &Relation,
    keys: &[usize],
    sets: &[usize],
    bound: &[Bound<'_, '_>],
) -> (String, Option<String>) {
    let name = |i: usize| quoted(&bound[i].target.name, '`');
    let mut assignments = Vec::new();
    let mut guard = None;
    let guarded = table.has_other_unique(relation);
    if guarded && let Some(first) = keys.first() {
        let same: Vec<String> = keys.iter().map(|i| format!("{0} <=> VALUES({0})", name(*i))).collect();
        assignments.push(format!("{0} = IF({1}, VALUES({0}), NULL)", name(*first), same.join(" AND ")));
        guard = Some(bound[*first].target.name.clone());
    }
    for (n, i) in keys.iter().enumerate() {
        if bound[*i].source.def.kind() == Kind::Text && !(guarded && n == 0) {
            assignments.push(format!("{0} = VALUES({0})", name(*i)));
        }
    }
    assignments.extend(sets.iter().map(|i| format!("{0} = VALUES({0})", name(*i))));
    if assignments.is_empty()
        && let Some(first) = keys.first()
    {
        assignments.push(format!("{0} = VALUES({0})", name(*first)));
    }
    (format!(" ON DUPLICATE KEY UPDATE {}", assignments.join(", ")), guard)
}

/// A value to write into a column of the type `base`. A vector takes only binary strings; a parameter is one of utf8mb4 when the server
/// has prepared the statement once more with the types that came.
fn new_value(base: &str) -> &'static str {
    match base {
        "vector" => "CAST(? AS BINARY)",
        _ => "?",
    }
}

/// A value to compare a column with. A decimal comes as text, which MySQL would compare as a double.
fn placeholder(kind: Kind) -> &'static str {
    match kind {
        Kind::Decimal => "CAST(? AS DECIMAL(65,30))",
        _ => "?",
    }
}

/// A null-safe match of one column, and how often it takes the value. Text must be equal byte for byte, whatever the collation; the
/// plain comparison beside it lets an index help.
fn whole_match(name: &str, kind: Kind, base: &str) -> (String, usize) {
    match (kind, base) {
        (Kind::Json, "json") => (format!("{name} <=> CAST(? AS JSON)"), 1),
        (Kind::Text | Kind::Json, _) => {
            (format!("{name} <=> ? AND CAST(CONVERT({name} USING utf8mb4) AS BINARY) <=> CAST(? AS BINARY)"), 2)
        }
        (kind, _) => (format!("{name} <=> {}", placeholder(kind)), 1),
    }
}

/// As the binary protocol takes it. Impossible dates go as their fields.
fn value(cell: Cell<'_>) -> Value {
    match cell {
        Cell::Null => Value::NULL,
        Cell::Boolean(b) => Value::Int(i64::from(b)),
        Cell::Int(n) => Value::Int(n),
        Cell::UInt(n) => Value::UInt(n),
        Cell::Float(n) => Value::Double(n),
        Cell::Text(s) | Cell::Decimal(s) | Cell::Json(s) => Value::Bytes(s.as_bytes().to_vec()),
        Cell::Bytes(b) => Value::Bytes(b.to_vec()),
        Cell::Date(word) => date(Fields::of_date(word)),
        Cell::DateTime(word) | Cell::Timestamp(word) => date(Fields::of_datetime(word)),
        // MySQL 9.7 refuses its own least TIME(6), -838:59:58.999999, in binary form (error 1690); as text it takes it.
        Cell::Time(word) => {
            let mut text = String::new();
            temporal::write_time(&mut text, word, 6);
            Value::Bytes(text.into_bytes())
        }
    }
}

fn date(f: Fields) -> Value {
    Value::Date(f.year as u16, f.month as u8, f.day as u8, f.hour as u8, f.minute as u8, f.second as u8, f.microsecond)
}
