//! Lets rows through that meet every condition: `{ "where": [{ "column": "status", "op": "=", "value": "active" }] }`; with
//! `"ops": ["insert", "update"]` only those operations.
//!
//! A table that has none of the columns is only filtered by operation. An update that takes a row out of the filter becomes a
//! delete, so that the target does not keep it. A delete of which the old values are not known goes through.

use serde::Deserialize;
use serde_json::Value as Json;
use std::cmp::Ordering;
use tidegate_plugin::{Batch, Kind, Op, Plan, Plugin, Relation, Row};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    #[serde(default, rename = "where")]
    conditions: Vec<Condition>,
    #[serde(default)]
    ops: Vec<Operation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Insert,
    Update,
    Delete,
    Snapshot,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    column: String,
    op: Compare,
    /// A text, number, boolean or null, as the column is.
    value: Json,
}

/// Null is equal to null alone, and neither less nor greater than anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Compare {
    #[serde(rename = "=")]
    Equal,
    #[serde(rename = "!=")]
    NotEqual,
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    LessOrEqual,
    #[serde(rename = ">")]
    Greater,
    #[serde(rename = ">=")]
    GreaterOrEqual,
}

impl Plugin for Filter {
    fn configure(config: &str) -> Result<Filter, String> {
        let filter: Filter = serde_json::from_str(config).map_err(|e| e.to_string())?;
        if filter.conditions.is_empty() && filter.ops.is_empty() {
            return Err("`where` or `ops` is needed".to_owned());
        }
        Ok(filter)
    }

    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        let mut plan = Plan::new();
        let mut is_filtered = !self.ops.is_empty();
        for condition in &self.conditions {
            let Some(column) = relation.column(&condition.column) else { continue };
            condition.check(column.kind).map_err(|e| format!("column `{}`: {e}", condition.column))?;
            plan = plan.reads(&condition.column);
            is_filtered = true;
        }
        Ok(is_filtered.then_some(plan))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        let relation = batch.relation();
        let conditions: Vec<(&Condition, Kind)> =
            self.conditions.iter().filter_map(|c| Some((c, relation.column(&c.column)?.kind))).collect();
        let known = |row: Row| conditions.iter().all(|(c, _)| row.is_present(&c.column));
        let matches = |row: Row| conditions.iter().all(|(condition, kind)| condition.holds(row, *kind));
        for row in batch.rows() {
            let op = match row.op() {
                Op::Insert => Operation::Insert,
                Op::Update => Operation::Update,
                Op::Delete => Operation::Delete,
                Op::Snapshot => Operation::Snapshot,
            };
            if !self.ops.is_empty() && !self.ops.contains(&op) {
                row.drop();
            } else if op == Operation::Delete {
                if known(row) && !matches(row) {
                    row.drop();
                }
            } else if !matches(row) {
                if op == Operation::Update && (!known(row.before()) || matches(row.before())) {
                    row.set_op(Op::Delete);
                } else {
                    row.drop();
                }
            }
        }
        Ok(())
    }
}

impl Condition {
    fn check(&self, kind: Kind) -> Result<(), String> {
        let fits = match &self.value {
            Json::Null => matches!(self.op, Compare::Equal | Compare::NotEqual),
            Json::String(_) => kind == Kind::Text,
            Json::Number(_) => matches!(kind, Kind::Int64 | Kind::UInt64 | Kind::Float64),
            Json::Bool(_) => kind == Kind::Boolean,
            Json::Array(_) | Json::Object(_) => false,
        };
        if fits { Ok(()) } else { Err(format!("{} cannot be compared with {kind:?} by {:?}", self.value, self.op)) }
    }

    fn holds(&self, row: Row, kind: Kind) -> bool {
        let name = &*self.column;
        let number = |value: Option<f64>| value.zip(self.value.as_f64()).and_then(|(a, b)| a.partial_cmp(&b));
        let (is_null, order) = match kind {
            Kind::Text => {
                let value = row.text(name);
                (value.is_none(), value.zip(self.value.as_str()).map(|(a, b)| a.cmp(b)))
            }
            Kind::Int64 => {
                let value = row.int64(name);
                let exact = value.zip(self.value.as_i64()).map(|(a, b)| a.cmp(&b));
                (value.is_none(), exact.or_else(|| number(value.map(|v| v as f64))))
            }
            Kind::UInt64 => {
                let value = row.uint64(name);
                let exact = value.zip(self.value.as_u64()).map(|(a, b)| a.cmp(&b));
                (value.is_none(), exact.or_else(|| number(value.map(|v| v as f64))))
            }
            Kind::Float64 => {
                let value = row.float64(name);
                (value.is_none(), number(value))
            }
            Kind::Boolean => {
                let value = row.boolean(name);
                (value.is_none(), value.zip(self.value.as_bool()).map(|(a, b)| a.cmp(&b)))
            }
            _ => (row.is_null(name), None),
        };
        let order = if is_null && self.value.is_null() { Some(Ordering::Equal) } else { order };
        match self.op {
            Compare::Equal => order == Some(Ordering::Equal),
            Compare::NotEqual => order != Some(Ordering::Equal),
            Compare::Less => order == Some(Ordering::Less),
            Compare::LessOrEqual => order.is_some_and(Ordering::is_le),
            Compare::Greater => order == Some(Ordering::Greater),
            Compare::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

tidegate_plugin::export!(Filter);

#[cfg(test)]
mod tests {
    use tidegate_plugin::Value;
    use tidegate_plugin::test::{Change, Tester, table};

    use super::*;

    /// What becomes of each change; `None`: dropped.
    fn filtered(config: &str, changes: &[Change]) -> Vec<Option<Op>> {
        let mut tester = Tester::<Filter>::new(config).expect("configure");
        let columns = [("id", Kind::Int64), ("status", Kind::Text), ("total", Kind::Int64)];
        let rows = tester.run(&table("shop.orders", &columns, 1), changes).expect("run");
        rows.iter().map(|row| (!row.dropped).then_some(row.op)).collect()
    }

    fn row(status: &str, total: i64) -> [Value; 3] {
        [1.into(), status.into(), total.into()]
    }

    #[test]
    fn rows_meet_every_condition() {
        let config =
            r#"{"where": [{"column": "status", "op": "=", "value": "open"}, {"column": "total", "op": ">=", "value": 10}]}"#;
        let changes = [Change::insert(row("open", 10)), Change::insert(row("open", 9)), Change::insert(row("done", 10))];
        assert_eq!(filtered(config, &changes), [Some(Op::Insert), None, None]);
    }

    #[test]
    fn an_update_that_leaves_the_filter_is_a_delete() {
        let config = r#"{"where": [{"column": "status", "op": "=", "value": "open"}]}"#;
        let changes = [
            Change::update(row("open", 1), row("done", 1)),
            Change::update(row("done", 1), row("done", 2)),
            Change::update(row("done", 1), row("open", 1)),
            Change::delete(row("open", 1)),
            Change::delete(row("done", 1)),
        ];
        assert_eq!(filtered(config, &changes), [Some(Op::Delete), None, Some(Op::Update), Some(Op::Delete), None]);
    }

    #[test]
    fn operations_are_chosen() {
        let changes = [Change::insert(row("open", 1)), Change::delete(row("open", 1))];
        assert_eq!(filtered(r#"{"ops": ["insert"]}"#, &changes), [Some(Op::Insert), None]);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        assert!(Tester::<Filter>::new("{}").is_err());
        let mut tester = Tester::<Filter>::new(r#"{"where": [{"column": "id", "op": "=", "value": "x"}]}"#).expect("configure");
        assert!(tester.run(&table("shop.orders", &[("id", Kind::Int64)], 1), &[Change::insert([1.into()])]).is_err());
    }
}
