//! Numbers the changes of each row, from its insert on: `{ "tables": ["shop.orders"], "column": "version" }`.
//!
//! It adds the column to the tables (those that have a key), and remembers the last number of each key: 1 for an insert, or for the first change
//! that it meets, and one more for each change after that. A delete forgets the key, and so does an update that changes it. What was read from a
//! table (a snapshot) is 1. The plugin's `state` must hold all keys of a lane, at some 100 bytes each.

use std::collections::HashMap;

use serde::Deserialize;
use tidegate_plugin::{Batch, Kind, Op, Plan, Plugin, Relation, Row, Value, state};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Number {
    tables: Vec<String>,
    column: String,
}

impl Plugin for Number {
    fn configure(config: &str) -> Result<Number, String> {
        serde_json::from_str(config).map_err(|e| e.to_string())
    }

    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        if !self.tables.contains(&format!("{}.{}", relation.schema, relation.table)) {
            return Ok(None);
        }
        if relation.key.is_empty() {
            return Err("it has no key, so its rows cannot be told apart".to_owned());
        }
        let plan = Plan::new().adds(&self.column, Kind::Int64);
        Ok(Some(key_of(relation).fold(plan, |plan, name| plan.reads(name))))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        let relation = batch.relation();
        let names: Vec<&str> = key_of(relation).collect();
        let keys: Vec<Vec<u8>> = batch.rows().map(|row| key(relation, &names, row)).collect();
        let known = state::get_all(&keys)?;
        let mut numbers: HashMap<&[u8], Option<i64>> = HashMap::new();
        for (key, known) in keys.iter().zip(&known) {
            let number = known.as_deref().and_then(|bytes| Some(i64::from_le_bytes(bytes.try_into().ok()?)));
            numbers.insert(key, number);
        }
        for (row, key) in batch.rows().zip(&keys) {
            let last = numbers.entry(key).or_default();
            *last = match row.op() {
                Op::Delete => None,
                Op::Insert | Op::Snapshot => Some(1),
                Op::Update => Some(last.unwrap_or(0) + 1),
            };
            if let Some(number) = *last {
                row.set(&self.column, number);
            }
        }
        let change = |(key, number): (&[u8], Option<i64>)| (key.to_vec(), number.map(|n| n.to_le_bytes().to_vec()));
        Ok(state::put(numbers.into_iter().map(change).collect())?)
    }
}

fn key_of(relation: &Relation) -> impl Iterator<Item = &str> {
    relation.key.iter().map(|index| relation.columns[usize::from(*index)].name.as_str())
}

/// Table and values, each with its length in front.
fn key(relation: &Relation, names: &[&str], row: Row<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut push = |part: &[u8]| {
        bytes.extend((part.len() as u32).to_le_bytes());
        bytes.extend(part);
    };
    push(relation.schema.as_bytes());
    push(relation.table.as_bytes());
    for name in names {
        match row.value(name) {
            Value::Null => push(&[]),
            Value::Boolean(value) => push(&[value.into()]),
            Value::Int64(value) => push(&value.to_le_bytes()),
            Value::UInt64(value) => push(&value.to_le_bytes()),
            Value::Float64(value) => push(&value.to_le_bytes()),
            Value::Text(value) => push(value.as_bytes()),
            Value::Bytes(value) => push(&value),
        }
    }
    bytes
}

tidegate_plugin::export!(Number);

#[cfg(test)]
mod tests {
    use tidegate_plugin::test::{Change, Tester, table};

    use super::*;

    #[test]
    fn changes_of_a_key_are_counted_from_batch_to_batch() {
        let mut tester = Tester::<Number>::new(r#"{"tables": ["shop.orders"], "column": "version"}"#).expect("configure");
        let orders = table("shop.orders", &[("id", Kind::Int64)], 1);
        let mut run = |changes: &[Change]| {
            let rows = tester.run(&orders, changes).expect("run");
            rows.iter().map(|row| row.after.get("version").cloned()).collect::<Vec<_>>()
        };
        let (insert, update, delete) = (
            |id: i64| Change::insert([id.into()]),
            |id: i64| Change::update([id.into()], [id.into()]),
            |id: i64| Change::delete([id.into()]),
        );
        let number = |n: i64| Some(Value::Int64(n));
        assert_eq!(run(&[insert(1), update(1), insert(2), update(1)]), [number(1), number(2), number(1), number(3)]);
        assert_eq!(run(&[update(2), delete(1), insert(1), update(3)]), [number(2), None, number(1), number(1)]);
    }
}
