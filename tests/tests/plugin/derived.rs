//! Rows that a plugin makes of others, from the source to the sinks.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;
use tidegate::change::{Batch, Op, SourceType};
use tidegate_tests::flow::{Flow, copying};
use tidegate_tests::load::Random;
use tidegate_tests::project;
use tidegate_tests::servers::{self, Kind, Server};

use super::{batch, customers, load, process, texts, topics};

/// Elements of `email`, which is JSON here, as rows of shop.words (id, line, value).
fn exploded(emails: &[&str], ops: &[Op], then: &[tidegate::plugin::Plugin]) -> Batch {
    let mut batch = batch(&customers(), ops, emails);
    let config = json!({ "column": "email", "table": "{schema}.words", "fields": { "value": "text" } });
    let plugins: Vec<_> = [load("explode", config)].into_iter().chain(then.iter().cloned()).collect();
    let errors = process(&plugins, &mut batch).unwrap_or_else(|e| panic!("{e}"));
    assert!(errors.is_empty(), "{errors:?}");
    batch
}

#[test]
fn derived_rows_follow_the_row_they_come_from() {
    let batch = exploded(&[r#"["a", "b"]"#, "[]", r#"["c"]"#], &[Op::Insert, Op::Insert, Op::Delete], &[]);
    let [customers, words] = batch.relations.as_slice() else { panic!("two tables") };
    assert_eq!(words.relation.to_string(), "shop.words");
    assert_eq!(words.relation.columns[2].source_type, SourceType::Plugin(tidegate::change::Kind::Text));
    assert_eq!(words.ops, [Op::Insert, Op::Insert, Op::Delete]);
    assert_eq!(words.ids, [customers.ids[0], customers.ids[0], customers.ids[2]]);
    assert_eq!(texts(&words.after[2]), [Some("a".to_owned()), Some("b".to_owned()), None]);
    assert!(customers.topics.is_none(), "the row itself goes on as it was");
}

#[test]
fn later_plugins_see_derived_rows() {
    let mask = load("mask", json!({ "columns": ["value"] }));
    let router = load("router", json!({ "column": "value", "topic": "words.{value}" }));
    let batch = exploded(&[r#"["ab", null]"#], &[Op::Insert], &[mask, router]);
    let words = &batch.relations[1];
    assert_eq!(texts(&words.after[2]), [Some("a***".to_owned()), None]);
    assert_eq!(topics(words), [vec!["words.a***"], vec!["shop.words"]]);
}

#[test]
fn derived_tables_are_right_in_mysql_through_kills() {
    let target = servers::mysql(&["--server-id=9"]);
    explode_into(&target, "exploded_my", "delivery = \"exactly-once\"\nlanes = 2\n");
}

#[test]
fn derived_tables_are_right_in_mariadb_with_transactions() {
    explode_into(servers::shared_mariadb(), "exploded_ma", "ordering = \"transaction\"\n");
}

#[test]
fn derived_tables_are_right_in_postgres_through_kills() {
    explode_into(servers::shared_postgres(), "exploded_pg", "lanes = 2\n");
}

/// Orders change while Tidegate is killed again and again; in the end the target's lines are what the source's JSON_TABLE says.
fn explode_into(target: &Server, name: &str, pipeline: &str) {
    let source = servers::shared_mysql();
    source.sql(&format!("CREATE DATABASE {name}"));
    source.sql_in(
        name,
        "CREATE TABLE orders (shop INT, name VARCHAR(20) COLLATE utf8mb4_0900_bin, items JSON, PRIMARY KEY (shop, name))",
    );
    target.sql(&format!("CREATE DATABASE {name}"));
    let plugin = project("target/plugins/explode.wasm");
    let mut manifest = copying(name, source, target, &format!("plugins = [\"explode\"]\n{pipeline}"));
    manifest = manifest.replace("[pipeline.copy]", "create = true\n\n[pipeline.copy]");
    write!(
        manifest,
        "\n[plugin.explode]\npath = \"{}\"\nconfig = {{ column = \"items\", table = \"{{schema}}.order_items\", \
         fields = {{ sku = \"text\", price = \"decimal\", many = \"boolean\" }} }}\n",
        plugin.display()
    )
    .expect("a manifest");
    let flow = Flow::new(&manifest);
    let mut random = Random::new(11);
    for round in 0..12 {
        source.sql_in(name, &changes(&mut random, 40));
        if round % 3 < 2 {
            let mut run = flow.start(&[], &[]);
            std::thread::sleep(Duration::from_millis(100 + random.below(400)));
            run.kill();
        }
    }
    flow.catch_up();
    let lines = "SELECT shop, name, n - 1, sku, ROUND(price, 2), many FROM orders, JSON_TABLE(items, '$[*]' COLUMNS (n FOR ORDINALITY, \
                 sku VARCHAR(50) PATH '$.sku', price DECIMAL(20, 2) PATH '$.price', many INT PATH '$.many')) AS t \
                 ORDER BY shop, name, n";
    let (many, name_bytes) = match target.kind {
        Kind::Postgres => ("many::int", "name COLLATE \"C\""),
        _ => ("many", "CAST(name AS BINARY)"),
    };
    let there = format!("SELECT shop, name, line, sku, ROUND(price, 2), {many} FROM order_items ORDER BY shop, {name_bytes}, line");
    let (here, there) = (source.sql_in(name, lines), target.sql_in(name, &there));
    assert!(here.lines().count() > 20, "{here}");
    let null = |text: &str| text.replace("NULL", "");
    assert_eq!(null(&here), null(&there));
}

/// Transactions of inserts, updates, deletes and changes of the key; names that differ in case and in blanks alone.
fn changes(random: &mut Random, count: usize) -> String {
    let mut sql = String::new();
    for _ in 0..count {
        let name = ["a", "A", "a ", "é", "e"][random.below(5) as usize];
        let shop = random.below(4);
        let items = (0..random.below(4)).map(|_| match random.below(3) {
            0 => r#"{"sku": "s\u00e9", "price": 12.50, "many": true}"#,
            1 => r#"{"sku": null, "price": 99999999999.99}"#,
            _ => r#"{"many": false}"#,
        });
        let items = format!("'[{}]'", items.collect::<Vec<_>>().join(", "));
        let items = if random.below(6) == 0 { "NULL" } else { &items };
        let statement = match random.below(5) {
            0 => format!("DELETE FROM orders WHERE shop = {shop} AND name = '{name}'"),
            1 => format!("UPDATE orders SET items = {items} WHERE shop = {shop}"),
            2 => format!("UPDATE IGNORE orders SET name = '{name}' WHERE shop = {shop} ORDER BY RAND({shop}) LIMIT 1"),
            _ => format!("INSERT INTO orders VALUES ({shop}, '{name}', {items}) ON DUPLICATE KEY UPDATE items = VALUES(items)"),
        };
        writeln!(sql, "BEGIN; {statement}; INSERT IGNORE INTO orders VALUES ({}, '{name}', {items}); COMMIT;", 5 + shop)
            .expect("a statement");
    }
    sql
}
