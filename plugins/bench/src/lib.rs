//! What `make bench` runs: filters on one column, masks one, adds one and routes by one, the columns named by the config.
//!
//! `{"filter": "stock", "mask": "email", "route": "customer", "view": "columns"}`; `"view": "rows"` does the same row by row.

use serde::Deserialize;
use tidegate_plugin::{Batch, Kind, Plan, Plugin, Relation};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bench {
    /// An integer: rows where 16 divides it are dropped.
    filter: String,
    /// A text, of which only the first character is left.
    mask: String,
    /// An integer: rows are spread over eight topics by it.
    route: String,
    #[serde(default)]
    view: View,
}

#[derive(Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum View {
    #[default]
    Columns,
    Rows,
}

const TOPICS: [&str; 8] = ["part-0", "part-1", "part-2", "part-3", "part-4", "part-5", "part-6", "part-7"];

impl Plugin for Bench {
    fn configure(config: &str) -> Result<Bench, String> {
        serde_json::from_str(config).map_err(|e| e.to_string())
    }

    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        if [&self.filter, &self.mask, &self.route].iter().any(|name| relation.column(name).is_none()) {
            return Ok(None);
        }
        let plan = Plan::new().reads_after(&self.filter).reads_after(&self.route).rewrites(&self.mask);
        Ok(Some(plan.adds("region", Kind::Text)))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        if self.view == View::Rows {
            for row in batch.rows() {
                if is_filtered(row.int64(&self.filter)) {
                    row.drop();
                    continue;
                }
                if let Some(text) = row.text(&self.mask) {
                    let mut masked = String::with_capacity(text.len());
                    mask(text, &mut masked);
                    row.set(&self.mask, masked);
                }
                row.set("region", "eu");
                row.route(topic(row.int64(&self.route)));
            }
            return Ok(());
        }
        let filter = batch.int64(&self.filter);
        let route = batch.int64(&self.route);
        batch.keep(|row| !is_filtered(filter.get(row)));
        batch.rewrite_text(&self.mask, mask);
        batch.set_all("region", "eu");
        batch.route_by(|row, out| out.push_str(topic(route.get(row))));
        Ok(())
    }
}

fn is_filtered(value: Option<i64>) -> bool {
    value.is_some_and(|value| value % 16 == 0)
}

fn topic(value: Option<i64>) -> &'static str {
    TOPICS[value.unwrap_or(0).rem_euclid(8) as usize]
}

fn mask(text: &str, out: &mut String) {
    out.extend(text.chars().next());
    out.push_str("***");
}

tidegate_plugin::export!(Bench);
