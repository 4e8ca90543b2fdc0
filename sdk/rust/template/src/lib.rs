//! Masks the columns that its `config` names: `{ "columns": ["email"] }`.

use serde::Deserialize;
use tidegate_plugin::{Batch, Plan, Plugin, Relation};

/// The manifest's `config`, which is also all that this plugin has to remember.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mask {
    columns: Vec<String>,
}

impl Plugin for Mask {
    /// Once, first. An error here is what `tidegate check` shows.
    fn configure(config: &str) -> Result<Mask, String> {
        serde_json::from_str(config).map_err(|e| e.to_string())
    }

    /// Once a table: which columns to pass. Others are not even decoded.
    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        let mut plan = None;
        for name in self.columns.iter().filter(|name| relation.column(name).is_some()) {
            plan = Some(plan.unwrap_or_else(Plan::new).rewrites(name));
        }
        Ok(plan)
    }

    /// Many rows at a time. Both images are masked: nothing that should be hidden gets past in a before image.
    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        for name in self.columns.iter().filter(|name| batch.relation().column(name).is_some()) {
            batch.rewrite_text(name, |value, out| {
                out.extend(value.chars().next());
                out.push_str("***");
            });
        }
        Ok(())
    }
}

tidegate_plugin::export!(Mask);

#[cfg(test)]
mod tests {
    use tidegate_plugin::Kind;
    use tidegate_plugin::test::{Change, Tester, table};

    use super::*;

    #[test]
    fn values_are_masked() {
        let mut tester = Tester::<Mask>::new(r#"{"columns": ["email"]}"#).expect("configure");
        let customers = table("shop.customers", &[("id", Kind::Int64), ("email", Kind::Text)], 1);
        let rows = tester.run(&customers, &[Change::insert([1.into(), "ada@example.com".into()])]).expect("run");
        assert_eq!(rows[0].after["email"], "a***".into());
    }
}
