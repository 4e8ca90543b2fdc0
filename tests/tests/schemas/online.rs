//! Online schema changes, recorded from real runs of gh-ost and pt-online-schema-change (`tests/fixtures/online-ddl`): their helper tables
//! are left out, and from the swap on the table is the new one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value};
use tidegate_tests::flow::Flow;
use tidegate_tests::project;
use tidegate_tests::servers;

#[test]
fn gh_ost_with_names_in_the_binlog() {
    replay("gh-ost-full", "state");
}

#[test]
fn gh_ost_without_names_in_the_binlog() {
    replay("gh-ost-minimal", "state");
}

#[test]
fn pt_online_schema_change_with_names_in_the_binlog() {
    replay("pt-osc-full", "status");
}

#[test]
fn pt_online_schema_change_without_names_in_the_binlog() {
    replay("pt-osc-minimal", "status");
}

/// A snapshot that begins, or is asked for, while a change is under way; a helper that the manifest names is read.
#[test]
fn helpers_are_not_read() {
    let source = servers::shared_mysql();
    source.sql("CREATE DATABASE helpers");
    for table in ["orders", "_orders_new", "_orders_old", "_orders_gho", "__orders_old"] {
        source.sql_in("helpers", &format!("CREATE TABLE {table} (id INT PRIMARY KEY); INSERT INTO {table} VALUES (1)"));
    }
    for (tables, read) in
        [("\"helpers.*\"", vec!["orders"]), ("\"helpers.*\", \"helpers._orders_gho\"", vec!["_orders_gho", "orders"])]
    {
        let flow = Flow::new(&format!(
            "[source.shop]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [{tables}]\n[sink.lines]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\n\
             [pipeline.copy]\nsource = \"shop\"\nsink = \"lines\"\n",
            source.url("root", "")
        ));
        let (_, found, _) = flow.call(&["check"]);
        assert!(found.contains("made them: helpers.__orders_old"), "{found}");
        assert_eq!(found.contains("helpers._orders_gho"), read.len() == 1, "{found}");
        flow.catch_up();
        assert_eq!(flow.call(&["snapshot", "--tables", "helpers.*"]).0, 0);
        flow.catch_up();
        let mut found: Vec<String> = fs::read_to_string(flow.folder().join("lines.jsonl"))
            .expect("lines")
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["table"].as_str().expect("a table").to_owned())
            .collect();
        found.sort();
        assert_eq!(found, read.iter().flat_map(|table| [*table, *table]).collect::<Vec<_>>(), "each once for each reading");
    }
}

/// `status`: what the column is called at the end.
fn replay(recording: &str, status: &str) {
    let fixture = project("tests/fixtures/online-ddl").join(recording);
    let flow = Flow::new(
        "[source.shop]\ntype = \"binlog-files\"\npaths = [\"mybin.*\"]\ntables = [\"shop.*\"]\n[sink.lines]\ntype = \"jsonl\"\n\
         path = \"lines.jsonl\"\n[pipeline.copy]\nsource = \"shop\"\nsink = \"lines\"\nordering = \"global\"\n",
    );
    unpack("zstd", &fixture.join("mybin.000001.zst"), &flow.folder().join("mybin.000001"));
    flow.catch_up();
    // Table → key → row, as a target has it to which nobody but the pipeline and the statement of the change writes.
    let mut tables: BTreeMap<String, BTreeMap<u64, Map<String, Value>>> = BTreeMap::new();
    for line in fs::read_to_string(flow.folder().join("lines.jsonl")).expect("lines").lines() {
        let change: Value = serde_json::from_str(line).expect("JSON");
        let table = tables.entry(change["table"].as_str().expect("a table").to_owned()).or_default();
        let key = change["key"]["id"].as_u64().expect("a key");
        match change["after"].as_object() {
            Some(row) => drop(table.insert(key, row.clone())),
            None => assert!(table.remove(&key).is_some(), "a row that was not there is deleted"),
        }
    }
    assert_eq!(tables.keys().collect::<Vec<_>>(), ["orders", "other"], "helpers are left out");
    for row in tables.get_mut("orders").expect("orders").values_mut() {
        // What the change did to rows that were not written since.
        row.remove("note");
        row.entry("region").or_insert("eu".into());
        if let Some(old) = row.remove("status") {
            row.insert(status.to_owned(), old);
        }
    }
    for (name, rows) in &tables {
        let file = flow.folder().join("table.tsv");
        unpack("gzip", &fixture.join(format!("{name}.tsv.gz")), &file);
        let text = fs::read_to_string(&file).expect("a table");
        let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let columns = lines.next().expect("a heading");
        // Where gh-ost makes a text of an ENUM, it writes the number of the member into rows that are changed meanwhile.
        let member = |cell: &str| ["new", "paid", "sent"].get(cell.parse::<usize>().ok()?.checked_sub(1)?).copied();
        let is_state = columns.iter().position(|column| *column == "state");
        let expect = |(at, cell): (usize, &str)| match member(cell).filter(|_| Some(at) == is_state) {
            Some(name) => name.to_owned(),
            None => plain(cell),
        };
        let expected: Vec<Vec<String>> = lines.map(|line| line.into_iter().enumerate().map(expect).collect()).collect();
        let cell = |value: &Value| plain(value.as_str().map_or_else(|| value.to_string(), str::to_owned).trim_end_matches('Z'));
        let row = |row: &Map<String, Value>| {
            assert_eq!(row.len(), columns.len(), "{row:?}");
            columns.iter().map(|column| cell(&row[*column])).collect::<Vec<_>>()
        };
        assert_eq!(rows.values().map(row).collect::<Vec<_>>(), expected, "{recording}: {name}");
    }
}

/// A cell of either, as far as both write it alike: decimals without zeros at their end, as the column became wider.
fn plain(text: impl AsRef<str>) -> String {
    let text = text.as_ref().replace('T', " ");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn unpack(program: &str, from: &Path, to: &Path) {
    let output = Command::new(program).arg("-dc").arg(from).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    fs::write(to, output.stdout).expect("write a file");
}
