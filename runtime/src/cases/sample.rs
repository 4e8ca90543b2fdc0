//! Changes for those who have no cases of their own: a table of customers, whose rows are updated.

use serde_json::{Value as Json, json};

use super::{Case, CaseError, CaseFile, Tables};
use crate::change::Batch;

const TABLE: &str = "CREATE TABLE shop.customers (id BIGINT PRIMARY KEY, email VARCHAR(55) NOT NULL, status VARCHAR(20) NOT NULL, \
                     country CHAR(2) NOT NULL, name VARCHAR(55) NOT NULL, total BIGINT NOT NULL)";

/// Many changes as one batch. `of`: the changes, taken again and again until there are `rows`. `path` is for errors.
pub fn repeated(of: &[Json], tables: &Tables, rows: usize, path: &std::path::Path) -> Result<Batch, CaseError> {
    let changes = of.iter().cycle().take(rows).cloned().collect();
    let case = Case {
        name: "all".to_owned(),
        config: None,
        earlier: Vec::new(),
        r#in: changes,
        out: None,
        errors: Vec::new(),
        error: None,
    };
    case.batch(tables, path)
}

/// Updates of all columns, as a sink gets them that reads no before images.
pub fn updates(rows: usize) -> Batch {
    let countries = ["de", "fr", "gb", "us", "jp"];
    let update = |i: usize| {
        let after = json!({
            "id": i,
            "email": format!("customer{i}@example.com"),
            "status": if i % 10 == 3 { "deleted" } else { "active" },
            "country": countries[i % 5],
            "name": format!("Customer Number {i}"),
            "total": i,
        });
        json!({ "op": "update", "schema": "shop", "table": "customers", "before": after.clone(), "after": after })
    };
    let changes: Vec<Json> = (0..rows).map(update).collect();
    let file = CaseFile { config: Json::Null, tables: vec![TABLE.to_owned()], cases: Vec::new() };
    let path = "sample".as_ref();
    let tables = file.relations(path).expect("a statement that can be read");
    let mut batch = repeated(&changes, &tables, rows, path).expect("changes of this table");
    batch.relations.iter_mut().for_each(|rows| rows.before.fill(None));
    batch
}
