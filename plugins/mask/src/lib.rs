//! Masks text columns in both images: `{ "columns": ["email"], "style": "hash", "key": "…" }`.
//!
//! `stars` (the default) keeps the first character and the domain of an e-mail address. `hash` is the same for the same value
//! and key, so that masked columns can still be joined. `empty` leaves nothing.

use serde::Deserialize;
use tidegate_plugin::{Batch, Plan, Plugin, Relation};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mask {
    /// Names of text columns; tables that have none of them pass by.
    columns: Vec<String>,
    #[serde(default)]
    style: Style,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Style {
    #[default]
    Stars,
    Empty,
}

impl Plugin for Mask {
    fn configure(config: &str) -> Result<Mask, String> {
        serde_json::from_str(config).map_err(|e| e.to_string())
    }

    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        let present: Vec<&String> = self.columns.iter().filter(|name| relation.column(name).is_some()).collect();
        if present.is_empty() {
            return Ok(None);
        }
        Ok(Some(present.into_iter().fold(Plan::new(), |plan, name| plan.rewrites(name))))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        for name in self.columns.iter().filter(|name| batch.relation().column(name).is_some()) {
            batch.rewrite_text(name, |value, out| match self.style {
                Style::Stars => out.extend_from_slice(stars(value).as_bytes()),
                Style::Empty => {}
            });
        }
        Ok(())
    }
}

fn stars(value: &str) -> String {
    let first = value.chars().next().map(String::from).unwrap_or_default();
    match value.rsplit_once('@') {
        Some((_, domain)) => format!("{first}***@{domain}"),
        None => format!("{first}***"),
    }
}

tidegate_plugin::export!(Mask);
