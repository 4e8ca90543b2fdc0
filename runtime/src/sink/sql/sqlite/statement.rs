//! The statements that write a group of rows, and the values that go with them.

use sqlx::Arguments;
use sqlx::sqlite::SqliteArguments;

use super::super::Failure;
use super::super::fold::{Action, Group, Role};
use super::super::table::{Table, TargetColumn, quoted};
use crate::change::{Kind, SourceType};
use crate::sink::cell::{Cell, fsp};

/// What a declared type makes of values (sqlite.org/datatype3.html, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

fn affinity(declared: &str) -> Affinity {
    let declared = declared.to_ascii_uppercase();
    let has = |word: &str| declared.contains(word);
    if has("INT") {
        Affinity::Integer
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Affinity::Text
    } else if declared.is_empty() || has("BLOB") {
        Affinity::Blob
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Affinity::Real
    } else {
        Affinity::Numeric
    }
}

/// Why a column of this source type may not arrive exactly in the target column.
pub(in crate::sink::sql) fn fits(source: &SourceType, target: &TargetColumn) -> Option<String> {
    let numeric = matches!(affinity(&target.base), Affinity::Integer | Affinity::Real | Affinity::Numeric);
    match source.kind() {
        Kind::Decimal if numeric => Some("SQLite would round it to a double: declare the column TEXT".to_owned()),
        Kind::UInt64 if numeric && matches!(source, SourceType::Int { bits: 64, .. } | SourceType::Bit { bits: 64 }) => {
            Some("values above 2^63-1 do not fit: declare the column without a type, or TEXT".to_owned())
        }
        Kind::Text | Kind::Json if numeric => Some("SQLite would turn digits into a number: declare the column TEXT".to_owned()),
        _ => None,
    }
}

/// One kind of statement: for a table, an action and a set of columns.
pub(super) struct Shape {
    head: String,
    /// One row's placeholders.
    row: String,
    tail: String,
    /// In the order of a row's placeholders: group column, digits of fraction, target affinity.
    order: Vec<(usize, u8, Affinity)>,
}

impl Shape {
    pub fn new(table: &Table, group: &Group<'_, '_>) -> Result<Shape, Failure> {
        let bound = table.bind(group)?;
        let sql = &table.sql;
        let name = |i: usize| quoted(&bound[i].target.name, '"');
        let all: Vec<usize> = (0..bound.len()).collect();
        let by_role = |role: Role| all.iter().copied().filter(|i| bound[*i].source.role == role).collect::<Vec<_>>();
        let (keys, sets) = (by_role(Role::Key), by_role(Role::Set));
        let join =
            |list: &[usize], by: &str, item: &dyn Fn(usize) -> String| list.iter().map(|i| item(*i)).collect::<Vec<_>>().join(by);
        let assign = |i: usize| format!("{} = ?", name(i));
        let (head, row, tail, order) = match group.action {
            Action::Upsert | Action::Insert => {
                let tail = match group.action {
                    Action::Upsert => {
                        // The key is assigned, too: under NOCASE an update may change `a` to `A`.
                        let set = join(&all, ", ", &|i| format!("{0} = excluded.{0}", name(i)));
                        format!(" ON CONFLICT ({}) DO UPDATE SET {set}", join(&keys, ",", &name))
                    }
                    _ => String::new(),
                };
                let row = format!("({})", vec!["?"; bound.len()].join(","));
                (format!("INSERT INTO {sql} ({}) VALUES ", join(&all, ",", &name)), row, tail, all.clone())
            }
            Action::Delete => match keys[..] {
                [key] => (format!("DELETE FROM {sql} WHERE {} IN (", name(key)), "?".to_owned(), ")".to_owned(), keys),
                _ => {
                    let head = format!("DELETE FROM {sql} WHERE ({}) IN (VALUES ", join(&keys, ",", &name));
                    (head, format!("({})", vec!["?"; keys.len()].join(",")), ")".to_owned(), keys)
                }
            },
            Action::Update => {
                let set = if sets.is_empty() { format!("{0} = {0}", name(keys[0])) } else { join(&sets, ", ", &assign) };
                let head = format!("UPDATE {sql} SET {set} WHERE {}", join(&keys, " AND ", &assign));
                (head, String::new(), String::new(), [sets, keys].concat())
            }
            Action::UpdateWhole | Action::DeleteWhole => {
                let same = |i: usize| format!("{} IS ? COLLATE BINARY", name(i));
                let found = format!("rowid = (SELECT rowid FROM {sql} WHERE {} LIMIT 1)", join(&keys, " AND ", &same));
                let head = match group.action {
                    Action::UpdateWhole => format!("UPDATE {sql} SET {} WHERE {found}", join(&sets, ", ", &assign)),
                    _ => format!("DELETE FROM {sql} WHERE {found}"),
                };
                (head, String::new(), String::new(), [sets, keys].concat())
            }
        };
        let column = |i: usize| (bound[i].index, fsp(&bound[i].source.def.source_type), affinity(&bound[i].target.base));
        Ok(Shape { head, row, tail, order: order.into_iter().map(column).collect() })
    }

    pub fn text(&self, rows: usize) -> String {
        format!("{}{}{}", self.head, vec![&*self.row; rows].join(","), self.tail)
    }

    /// Placeholders of one row.
    pub fn parameters(&self) -> usize {
        self.order.len()
    }

    pub fn arguments(&self, group: &Group<'_, '_>, from: usize, rows: usize) -> Result<SqliteArguments, Failure> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(rows * self.order.len(), 0);
        for row in from..from + rows {
            for (column, fsp, affinity) in &self.order {
                let added = add(&mut arguments, group.cell(row, *column), *fsp, *affinity);
                added.map_err(|reason| Failure::row(row, format!("column `{}`: {reason}", group.columns[*column].def.name)))?;
            }
        }
        Ok(arguments)
    }
}

fn add(arguments: &mut SqliteArguments, cell: Cell<'_>, fsp: u8, affinity: Affinity) -> Result<(), String> {
    let numeric = matches!(affinity, Affinity::Integer | Affinity::Real | Affinity::Numeric);
    let added = match cell {
        Cell::Null => arguments.add(None::<i64>),
        Cell::Boolean(b) => arguments.add(i64::from(b)),
        Cell::Int(n) => arguments.add(n),
        Cell::UInt(n) => match i64::try_from(n) {
            Ok(n) => arguments.add(n),
            Err(_) if numeric => return Err("above 2^63-1, which SQLite would round; declare the column TEXT".to_owned()),
            Err(_) => arguments.add(n.to_string()),
        },
        Cell::Float(n) => arguments.add(n),
        Cell::Decimal(_) if numeric => return Err("SQLite would round a decimal; declare the column TEXT".to_owned()),
        Cell::Text(s) | Cell::Decimal(s) | Cell::Json(s) => arguments.add(s),
        Cell::Bytes(b) => arguments.add(b),
        Cell::Date(_) | Cell::Time(_) | Cell::DateTime(_) | Cell::Timestamp(_) => {
            let mut text = String::with_capacity(26);
            cell.write_text(&mut text, fsp);
            arguments.add(text)
        }
    };
    added.map_err(|e| e.to_string())
}
