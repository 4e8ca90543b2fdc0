//! Makes a row of each element of a JSON array: `{ "column": "items", "table": "shop.order_items", "fields": { "sku": "text",
//! "price": "decimal" } }`.
//!
//! The rows have the key columns of the row that they come from, the element's number (`line`, from 0) and the fields of the element; an
//! element that is no object has the one field `value`. What the element lacks is NULL. When the array gets shorter, or its row is
//! deleted, the rows behind its end are deleted. The row itself goes on as it was.
//!
//! A column that is neither NULL nor an array is an error of its row. A table without the column, or without a key, passes by.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_plugin::{Batch, Derivation, Kind, Op, Plan, Plugin, Relation, Row, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Explode {
    column: String,
    /// `schema.table`; `{schema}` and `{table}` are those of the row.
    table: String,
    #[serde(default = "line")]
    line: String,
    fields: BTreeMap<String, Field>,
}

fn line() -> String {
    "line".to_owned()
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Field {
    Text,
    Int64,
    UInt64,
    Float64,
    Boolean,
    Decimal,
    Json,
}

impl Field {
    fn kind(self) -> Kind {
        match self {
            Field::Text => Kind::Text,
            Field::Int64 => Kind::Int64,
            Field::UInt64 => Kind::UInt64,
            Field::Float64 => Kind::Float64,
            Field::Boolean => Kind::Boolean,
            Field::Decimal => Kind::Decimal,
            Field::Json => Kind::Json,
        }
    }

    /// `None`: it is something else.
    fn value(self, json: &Json) -> Option<Value> {
        if json.is_null() {
            return Some(Value::Null);
        }
        Some(match self {
            Field::Text => json.as_str()?.into(),
            Field::Int64 => json.as_i64()?.into(),
            Field::UInt64 => json.as_u64()?.into(),
            Field::Float64 => json.as_f64()?.into(),
            Field::Boolean => json.as_bool()?.into(),
            // The digits as they are.
            Field::Decimal => json.as_number()?.to_string().into(),
            Field::Json => json.to_string().into(),
        })
    }
}

impl Plugin for Explode {
    fn configure(config: &str) -> Result<Explode, String> {
        let explode: Explode = serde_json::from_str(config).map_err(|e| e.to_string())?;
        if explode.fields.is_empty() {
            return Err("`fields` is empty".to_owned());
        }
        Ok(explode)
    }

    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        let Some(column) = relation.column(&self.column) else { return Ok(None) };
        if column.kind != Kind::Json && column.kind != Kind::Text {
            return Err(format!("column `{}` is {}, neither JSON nor text", self.column, column.source_type));
        }
        if relation.key.is_empty() {
            return Ok(None);
        }
        let mut plan = Plan::new().reads(&self.column);
        let mut table = Derivation::new(&self.table(relation));
        for column in relation.key.iter().map(|key| &relation.columns[usize::from(*key)]) {
            plan = plan.reads(&column.name);
            table = table.key(&column.name, column.kind);
        }
        table = table.key(&self.line, Kind::Int64);
        for (name, field) in &self.fields {
            table = table.column(name, field.kind());
        }
        Ok(Some(plan.derives(table)))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        let table = self.table(batch.relation());
        for row in batch.rows() {
            let made = self.elements(row.after(), row.op() != Op::Delete).and_then(|after| {
                let before = self.elements(row.before(), matches!(row.op(), Op::Update | Op::Delete))?;
                // An image that lacks the column says that it is as it was.
                self.make(&table, batch.relation(), row, after, before.map_or(0, |before| before.len()))
            });
            if let Err(problem) = made {
                row.fail(format!("column `{}`: {problem}", self.column));
            }
        }
        Ok(())
    }
}

impl Explode {
    fn table(&self, relation: &Relation) -> String {
        self.table.replace("{schema}", &relation.schema).replace("{table}", &relation.table)
    }

    /// The array of an image. `None`: it is not in the image, or there is no image.
    fn elements(&self, row: Row<'_>, has_image: bool) -> Result<Option<Vec<Json>>, String> {
        if !has_image || !row.is_present(&self.column) {
            return Ok(None);
        }
        let Some(text) = row.text(&self.column) else { return Ok(Some(Vec::new())) };
        let elements =
            serde_json::from_str(text).map_err(|e| format!("no JSON array: line {}, column {}", e.line(), e.column()))?;
        Ok(Some(elements))
    }

    /// `before`: how many elements there were.
    fn make(&self, table: &str, relation: &Relation, row: Row<'_>, after: Option<Vec<Json>>, before: usize) -> Result<(), String> {
        let is_deleted = row.op() == Op::Delete;
        let count = after.as_ref().map_or(if is_deleted { 0 } else { before }, Vec::len);
        let mut lines = Vec::with_capacity(count);
        for (line, element) in after.unwrap_or_default().iter().enumerate() {
            let field = |(name, field): (&'_ String, &Field)| {
                let json = if element.is_object() { element.get(name) } else { Some(element).filter(|_| name == "value") };
                let value = json.map_or(Some(Value::Null), |json| field.value(json));
                value.ok_or_else(|| format!("field `{name}` of element {line} is no {:?}", field.kind()))
            };
            lines.push(self.fields.iter().map(field).collect::<Result<Vec<Value>, String>>()?);
        }
        for (line, values) in lines.into_iter().enumerate() {
            let made = row.derive(table);
            made.set(&self.line, line as i64);
            key(relation, row).for_each(|(name, value)| made.set(name, value));
            self.fields.keys().zip(values).for_each(|(name, value)| made.set(name, value));
        }
        for line in count..before {
            let gone = row.derive_as(Op::Delete, table);
            gone.set(&self.line, line as i64);
            key(relation, row).for_each(|(name, value)| gone.set(name, value));
        }
        Ok(())
    }
}

/// The key columns of a row, by name.
fn key<'a>(relation: &'a Relation, row: Row<'a>) -> impl Iterator<Item = (&'a str, Value)> {
    relation.key.iter().map(move |at| {
        let column = &relation.columns[usize::from(*at)];
        (column.name.as_str(), row.value(&column.name))
    })
}

tidegate_plugin::export!(Explode);

#[cfg(test)]
mod tests {
    use tidegate_plugin::test::{Change, Tester, table};

    use super::*;

    const CONFIG: &str = r#"{"column": "items", "table": "{schema}.order_items", "fields": {"sku": "text", "price": "decimal"}}"#;

    /// (op, line, sku, price) of the rows that are made of a change.
    fn made(change: Change) -> Result<Vec<(Op, Value, Value, Value)>, String> {
        let mut tester = Tester::<Explode>::new(CONFIG)?;
        let orders = table("shop.orders", &[("id", Kind::Int64), ("items", Kind::Json)], 1);
        let rows = tester.run(&orders, &[change])?;
        if let Some(error) = &rows[0].error {
            return Err(error.clone());
        }
        let of = |row: &tidegate_plugin::test::Derived| {
            assert_eq!(row.table, "shop.order_items");
            let own = if row.op == Op::Delete { &row.before } else { &row.after };
            assert_eq!(own["id"], 7.into());
            let value = |name: &str| own.get(name).cloned().unwrap_or(Value::Null);
            (row.op, value("line"), value("sku"), value("price"))
        };
        Ok(rows[0].derived.iter().map(of).collect())
    }

    fn row(items: &str) -> [Value; 2] {
        [7.into(), items.into()]
    }

    #[test]
    fn each_element_is_a_row() {
        let made = made(Change::insert(row(r#"[{"sku": "a", "price": 0.10}, {"sku": "b", "more": 1}]"#))).expect("rows");
        let expected = [(Op::Insert, 0.into(), "a".into(), "0.10".into()), (Op::Insert, 1.into(), "b".into(), Value::Null)];
        assert_eq!(made, expected);
    }

    #[test]
    fn what_is_gone_is_deleted() {
        let gone = |line: i64| (Op::Delete, line.into(), Value::Null, Value::Null);
        let shorter = Change::update(row(r#"[{"sku": "a"}, {}, {}]"#), row(r#"[{"sku": "c"}]"#));
        assert_eq!(made(shorter).expect("rows"), [(Op::Insert, 0.into(), "c".into(), Value::Null), gone(1), gone(2)]);
        assert_eq!(made(Change::delete(row("[{}, {}]"))).expect("rows"), [gone(0), gone(1)]);
        let cleared = Change::update(row("[{}]"), [7.into(), Value::Null]);
        assert_eq!(made(cleared).expect("rows"), [gone(0)]);
    }

    #[test]
    fn what_is_no_array_or_has_other_fields_is_an_error_of_its_row() {
        let error = made(Change::insert(row(r#"{"sku": "a"}"#))).expect_err("no array");
        assert_eq!(error, "column `items`: no JSON array: line 1, column 0");
        let error = made(Change::insert(row(r#"[{"sku": 5}]"#))).expect_err("no text");
        assert_eq!(error, "column `items`: field `sku` of element 0 is no Text");
    }
}
