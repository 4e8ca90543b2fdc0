//! Routes rows by the value of a column: `{ "column": "country", "topic": "customers.{value}" }`.
//!
//! `{schema}`, `{table}` and `{value}` are replaced; a row in which the column is NULL or not known stays where it is, and a
//! table without the column passes by.

use serde::Deserialize;
use tidegate_plugin::{Batch, Plan, Plugin, Relation};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Router {
    column: String,
    topic: String,
}

impl Plugin for Router {
    fn configure(config: &str) -> Result<Router, String> {
        let router: Router = serde_json::from_str(config).map_err(|e| e.to_string())?;
        if !router.topic.contains("{value}") {
            return Err("`topic` must contain {value}".to_owned());
        }
        Ok(router)
    }

    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        match relation.column(&self.column) {
            None => Ok(None),
            Some(column) if column.kind.is_text() || column.kind.is_int64() => Ok(Some(Plan::new().reads(&self.column))),
            Some(column) => Err(format!("column `{}` is {}, neither text nor an integer", self.column, column.source_type)),
        }
    }

    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        let relation = batch.relation();
        let topic = self.topic.replace("{schema}", &relation.schema).replace("{table}", &relation.table);
        if relation.column(&self.column).is_some_and(|column| column.kind.is_text()) {
            let values = batch.text(&self.column);
            batch.route_by(|row, out| fill(&topic, values.get(row), out));
        } else {
            let values = batch.int64(&self.column);
            batch.route_by(|row, out| fill(&topic, values.get(row).map(|v| v.to_string()).as_deref(), out));
        }
        Ok(())
    }
}

fn fill(topic: &str, value: Option<&str>, out: &mut String) {
    let Some(value) = value else { return };
    for (i, part) in topic.split("{value}").enumerate() {
        if i > 0 {
            out.push_str(value);
        }
        out.push_str(part);
    }
}

tidegate_plugin::export!(Router);

#[cfg(test)]
mod tests {
    use tidegate_plugin::test::{Change, Tester, table};
    use tidegate_plugin::{Kind, Value};

    use super::*;

    #[test]
    fn rows_go_where_their_value_says() {
        let mut tester = Tester::<Router>::new(r#"{"column": "country", "topic": "{table}.{value}"}"#).expect("configure");
        let customers = table("shop.customers", &[("id", Kind::Int64), ("country", Kind::Text)], 1);
        let row = |country: Value| [Value::Int64(1), country];
        let changes = [Change::insert(row("de".into())), Change::delete(row("fr".into())), Change::insert(row(Value::Null))];
        let rows = tester.run(&customers, &changes).expect("run");
        let topics: Vec<_> = rows.iter().map(|row| row.topics.clone()).collect();
        assert_eq!(topics, [Some(vec!["customers.de".to_owned()]), Some(vec!["customers.fr".to_owned()]), None]);
    }

    #[test]
    fn a_topic_without_the_value_is_refused() {
        assert!(Tester::<Router>::new(r#"{"column": "country", "topic": "customers"}"#).is_err());
    }
}
