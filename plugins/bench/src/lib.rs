//! What `make bench` runs: filters on one column, masks one, adds one and routes by one, the columns named by the config.
//!
//! `{"filter": "status", "mask": "email", "route": "country", "view": "columns"}`; `"view": "rows"` does the same row by row.

use serde::Deserialize;
use tidegate_plugin::{Batch, Kind, Plan, Plugin, Relation};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bench {
    /// Rows with "deleted" in this column are dropped.
    filter: String,
    mask: String,
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
                if row.text(&self.filter) == Some("deleted") {
                    row.drop();
                    continue;
                }
                if let Some(email) = row.text(&self.mask) {
                    let mut masked = String::with_capacity(email.len());
                    mask(email, &mut masked);
                    row.set(&self.mask, masked);
                }
                row.set("region", "eu");
                row.route(row.text(&self.route).unwrap_or("none"));
            }
            return Ok(());
        }
        let status = batch.text(&self.filter);
        let country = batch.text(&self.route);
        batch.keep(|row| status.get(row) != Some("deleted"));
        batch.rewrite_text(&self.mask, mask);
        batch.set_all("region", "eu");
        batch.route_by(|row, topic| topic.push_str(country.get(row).unwrap_or("none")));
        Ok(())
    }
}

fn mask(email: &str, out: &mut String) {
    out.push_str("***");
    if let Some(at) = email.rfind('@') {
        out.push_str(&email[at..]);
    }
}

tidegate_plugin::export!(Bench);
