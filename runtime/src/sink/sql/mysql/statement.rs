//! The statements that write a group of rows, as text.

use std::fmt::Write;

use super::super::Failure;
use super::super::fold::{Action, Group, Role};
use super::super::table::{Bound, Table, quoted};
use super::error;
use crate::change::{Kind, Relation};
use crate::sink::cell::Cell;

/// One kind of statement: for a table, an action and a set of columns.
pub(super) struct Shape {
    /// What stands before the rows.
    head: String,
    row: Row,
    /// What stands after the rows.
    tail: String,
    /// The column by whose NULL the guard speaks (see [`on_duplicate`]).
    guard: Option<String>,
    /// The keys that it guards, for messages.
    guarded: String,
}

/// What stands for one row: SQL, and the values within it.
#[derive(Default)]
struct Row {
    /// SQL, and the group column whose value follows it.
    values: Vec<(String, usize)>,
    end: String,
}

impl Row {
    fn sql(&mut self, sql: &str) -> &mut Row {
        self.end.push_str(sql);
        self
    }

    fn value(&mut self, column: usize) -> &mut Row {
        self.values.push((std::mem::take(&mut self.end), column));
        self
    }

    /// A value to compare a column with: of the column's type where text would be compared as another one.
    fn compared(&mut self, column: &Bound<'_, '_>) -> &mut Row {
        let cast = match column.source.def.kind() {
            Kind::Decimal => "DECIMAL(65,30)",
            Kind::Date => "DATE",
            Kind::DateTime | Kind::Timestamp => "DATETIME(6)",
            _ => return self.value(column.index),
        };
        self.sql("CAST(").value(column.index).sql(&format!(" AS {cast})"))
    }

    /// Items with something between them.
    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, by: &str, mut write: impl FnMut(&mut Row, T)) -> &mut Row {
        for (n, item) in items.into_iter().enumerate() {
            if n > 0 {
                self.sql(by);
            }
            write(self, item);
        }
        self
    }
}

impl Shape {
    pub fn new(table: &Table, group: &Group<'_, '_>) -> Result<Shape, Failure> {
        let bound = table.bind(group)?;
        let by_role = |role: Role| bound.iter().filter(|b| b.source.role == role).collect::<Vec<_>>();
        let (keys, sets) = (by_role(Role::Key), by_role(Role::Set));
        let sql = &table.sql;
        let (mut head, mut row, mut tail) = (String::new(), Row::default(), String::new());
        let mut guard = None;
        let assign = |row: &mut Row, of: &Bound<'_, '_>| {
            row.sql(&name(of)).sql(" = ").value(of.index);
        };
        match group.action {
            Action::Upsert | Action::Insert => {
                head = format!("INSERT INTO {sql} ({}) VALUES ", names(&bound));
                let value = |row: &mut Row, of: &Bound<'_, '_>| {
                    row.value(of.index);
                };
                row.sql("(").list(&bound, ",", value).sql(")");
                if group.action == Action::Upsert {
                    (tail, guard) = on_duplicate(table, &group.unit.relation, &keys, &sets);
                }
            }
            Action::Delete => {
                let compared = |row: &mut Row, of: &&Bound<'_, '_>| {
                    row.compared(of);
                };
                if let [key] = keys[..] {
                    head = format!("DELETE FROM {sql} WHERE {} IN (", name(key));
                    row.compared(key);
                } else {
                    head = format!("DELETE FROM {sql} WHERE ({}) IN (", names(keys.iter().copied()));
                    row.sql("(").list(&keys, ",", compared).sql(")");
                }
                tail = ")".to_owned();
            }
            Action::Update => {
                row.sql(&format!("UPDATE {sql} SET "));
                if let ([], [key, ..]) = (&sets[..], &keys[..]) {
                    // An image of nothing but the key changes nothing.
                    row.sql(&format!("{0} = {0}", name(key)));
                }
                row.list(sets, ", ", assign).sql(" WHERE ");
                let found = |row: &mut Row, of: &Bound<'_, '_>| {
                    row.sql(&name(of)).sql(" = ").compared(of);
                };
                row.list(keys, " AND ", found);
            }
            Action::UpdateWhole => {
                row.sql(&format!("UPDATE {sql} SET ")).list(sets, ", ", assign).sql(" WHERE ");
                row.list(keys, " AND ", same).sql(" LIMIT 1");
            }
            Action::DeleteWhole => {
                row.sql(&format!("DELETE FROM {sql} WHERE ")).list(keys, " AND ", same).sql(" LIMIT 1");
            }
        }
        let guarded = if guard.is_some() { table.other_unique(&group.unit.relation) } else { String::new() };
        Ok(Shape { head, row, tail, guard, guarded })
    }

    pub fn head(&self) -> &str {
        &self.head
    }

    pub fn tail(&self) -> &str {
        &self.tail
    }

    /// Appends a row with its values.
    pub fn write_row(&self, out: &mut Vec<u8>, scratch: &mut String, group: &Group<'_, '_>, row: usize) {
        for (sql, column) in &self.row.values {
            out.extend_from_slice(sql.as_bytes());
            write_value(out, scratch, group.cell(row, *column));
        }
        out.extend_from_slice(self.row.end.as_bytes());
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
fn on_duplicate(table: &Table, relation: &Relation, keys: &[&Bound<'_, '_>], sets: &[&Bound<'_, '_>]) -> (String, Option<String>) {
    let mut assignments = Vec::new();
    let mut guard = None;
    let guarded = table.has_other_unique(relation);
    if guarded && let Some(first) = keys.first() {
        let same: Vec<String> = keys.iter().map(|key| format!("{0} <=> VALUES({0})", name(key))).collect();
        assignments.push(format!("{0} = IF({1}, VALUES({0}), NULL)", name(first), same.join(" AND ")));
        guard = Some(first.target.name.clone());
    }
    for (n, key) in keys.iter().enumerate() {
        if key.source.def.kind() == Kind::Text && !(guarded && n == 0) {
            assignments.push(format!("{0} = VALUES({0})", name(key)));
        }
    }
    assignments.extend(sets.iter().map(|set| format!("{0} = VALUES({0})", name(set))));
    if assignments.is_empty()
        && let Some(first) = keys.first()
    {
        assignments.push(format!("{0} = VALUES({0})", name(first)));
    }
    (format!(" ON DUPLICATE KEY UPDATE {}", assignments.join(", ")), guard)
}

fn name(column: &Bound<'_, '_>) -> String {
    quoted(&column.target.name, '`')
}

fn names<'b, 't: 'b, 'a: 'b>(columns: impl IntoIterator<Item = &'b Bound<'t, 'a>>) -> String {
    columns.into_iter().map(name).collect::<Vec<_>>().join(",")
}

/// A null-safe match of one column. Text must be equal byte for byte, whatever the collation; the plain comparison beside it lets an
/// index help.
fn same(row: &mut Row, column: &Bound<'_, '_>) {
    let name = name(column);
    match (column.source.def.kind(), &*column.target.base) {
        (Kind::Json, "json") => row.sql(&format!("{name} <=> CAST(")).value(column.index).sql(" AS JSON)"),
        (Kind::Text | Kind::Json, _) => {
            row.sql(&format!("{name} <=> ")).value(column.index);
            row.sql(&format!(" AND CAST(CONVERT({name} USING utf8mb4) AS BINARY) <=> CAST(")).value(column.index).sql(" AS BINARY)")
        }
        _ => row.sql(&format!("{name} <=> ")).compared(column),
    };
}

/// Appends a statement with `values` in place of its question marks.
pub(super) fn write<const N: usize>(out: &mut Vec<u8>, scratch: &mut String, statement: &str, values: [Cell<'_>; N]) {
    let mut parts = statement.split('?');
    out.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for (value, part) in values.into_iter().zip(parts) {
        write_value(out, scratch, value);
        out.extend_from_slice(part.as_bytes());
    }
}

/// As a literal. A number is one of its kind: a float has an exponent, since without it would be a decimal. Bytes and text need only
/// the quote and the backslash escaped: the session reads utf8mb4, in which no longer character has a byte of those, and the
/// server counts what it reads.
fn write_value(out: &mut Vec<u8>, scratch: &mut String, cell: Cell<'_>) {
    match cell {
        Cell::Null => out.extend_from_slice(b"NULL"),
        Cell::Float(n) => {
            scratch.clear();
            let _ = write!(scratch, "{n:e}");
            match n.is_finite() {
                true => out.extend_from_slice(scratch.as_bytes()),
                // The server says of which column it is no value.
                false => write_quoted(out, scratch.as_bytes()),
            }
        }
        Cell::Text(text) | Cell::Json(text) | Cell::Decimal(text) => write_quoted(out, text.as_bytes()),
        Cell::Bytes(bytes) => {
            out.extend_from_slice(b"_binary");
            write_quoted(out, bytes);
        }
        Cell::Boolean(_) | Cell::Int(_) | Cell::UInt(_) => {
            scratch.clear();
            cell.write_text(scratch, 0);
            out.extend_from_slice(scratch.as_bytes());
        }
        Cell::Date(_) | Cell::Time(_) | Cell::DateTime(_) | Cell::Timestamp(_) => {
            scratch.clear();
            cell.write_text(scratch, 6);
            write_quoted(out, scratch.as_bytes());
        }
    }
}

fn write_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'\'');
    let mut rest = bytes;
    while let Some(at) = memchr::memchr2(b'\'', b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(cell: Cell<'_>) -> String {
        let mut out = Vec::new();
        write_value(&mut out, &mut String::new(), cell);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_in_a_value_ends_its_literal() {
        assert_eq!(literal(Cell::Text("it's \\'; --")), r"'it\'s \\\'; --'");
        assert_eq!(literal(Cell::Decimal("1'")), r"'1\''");
        assert_eq!(literal(Cell::Json(r#"{"a": "\""}"#)), r#"'{"a": "\\""}'"#);
        assert_eq!(literal(Cell::Bytes(b"\0'\\")), "_binary'\0\\'\\\\'");
    }

    #[test]
    fn numbers_keep_their_kind() {
        let floats = [1.0, -0.0, 5e-324, 0.1, 1e300].map(|n| literal(Cell::Float(n)));
        assert_eq!(floats, ["1e0", "-0e0", "5e-324", "1e-1", "1e300"]);
        assert_eq!(literal(Cell::Float(f64::NAN)), "'NaN'");
        assert_eq!(literal(Cell::UInt(u64::MAX)), "18446744073709551615");
        assert_eq!(literal(Cell::Boolean(true)), "1");
        assert_eq!(literal(Cell::Null), "NULL");
    }
}
