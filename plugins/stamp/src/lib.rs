//! For tests: writes into a column which version of itself has seen the row: `{ "column": "v" }`. The version is a number that stands in
//! the component, so that a component with another one is made without a compiler.
//!
//! `"add"` names a column to add, with the same number; `"difference"` two columns, the second of which gets what an update adds to
//! the first, for which the image before it is read; rows whose `id` is not below `"below"` are errors.

use serde::Deserialize;
use tidegate_plugin::{Batch, Kind, Plan, Plugin, Relation};

/// The digits are what differs between versions.
static VERSION: [u8; 27] = *b"tidegate-stamp-version:0001";
const DIGITS: usize = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    column: String,
    add: Option<String>,
    difference: Option<(String, String)>,
    below: Option<i64>,
}

/// The compiler must not know the number.
fn version() -> i64 {
    let text = std::hint::black_box(&VERSION);
    text[text.len() - DIGITS..].iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

impl Stamp {
    fn difference_in(&self, relation: &Relation) -> Option<&(String, String)> {
        self.difference.as_ref().filter(|(of, _)| relation.column(of).is_some())
    }
}

impl Plugin for Stamp {
    fn configure(config: &str) -> Result<Stamp, String> {
        serde_json::from_str(config).map_err(|e| e.to_string())
    }

    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        if relation.column(&self.column).is_none() {
            return Ok(None);
        }
        let mut plan = Plan::new();
        if let Some(name) = &self.add {
            plan = plan.adds(name, Kind::Int64);
        }
        if let Some((of, _)) = self.difference_in(relation) {
            plan = plan.reads(of);
        }
        if self.below.is_some() {
            plan = plan.reads("id");
        }
        Ok(Some(plan))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        batch.set_all(&self.column, version());
        if let Some(name) = &self.add {
            batch.set_all(name, version());
        }
        if let Some((of, to)) = self.difference_in(batch.relation()) {
            for row in batch.rows() {
                if let (Some(after), Some(before)) = (row.after().int64(of), row.before().int64(of)) {
                    row.set(to, after - before);
                }
            }
        }
        for row in batch.rows() {
            if self.below.is_some_and(|below| row.int64("id").is_some_and(|id| id >= below)) {
                row.fail("not below");
            }
        }
        Ok(())
    }
}

tidegate_plugin::export!(Stamp);

#[cfg(test)]
mod tests {
    use tidegate_plugin::test::{Change, Tester, table};

    use super::*;

    #[test]
    fn rows_are_stamped() {
        let mut tester = Tester::<Stamp>::new(r#"{"column": "v", "difference": ["n", "d"]}"#).expect("configure");
        let columns = [("id", Kind::Int64), ("n", Kind::Int64), ("v", Kind::Int64), ("d", Kind::Int64)];
        let change = Change::update([1.into(), 5.into(), 0.into(), 0.into()], [1.into(), 8.into(), 0.into(), 0.into()]);
        let rows = tester.run(&table("shop.t", &columns, 1), &[change]).expect("run");
        assert_eq!((rows[0].after["v"].clone(), rows[0].after["d"].clone()), (1.into(), 3.into()));
    }
}
