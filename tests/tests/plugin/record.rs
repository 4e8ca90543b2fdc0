//! `tidegate plugin test --record` and `--watch`, and `tidegate plugin inspect --manifest`.

use std::fs;

use serde_json::Value as Json;
use tidegate_tests::flow::Flow;
use tidegate_tests::project;
use tidegate_tests::servers::{self, wait_until};

fn manifest(source: &str, plugin: &str) -> String {
    format!(
        "{source}\n[plugin.it]\npath = \"{}\"\n{plugin}\n[sink.out]\ntype = \"null\"\n\
         [pipeline.p]\nsource = \"s\"\nplugins = [\"it\"]\nsink = \"out\"\non_row_error = \"dead-letter\"\n",
        project("target/plugins/mask.wasm").display()
    )
}

fn demo() -> Flow {
    let source = format!(
        "[source.s]\ntype = \"binlog-files\"\npaths = [\"{}/examples/demo/binlog/shop.*\"]\ntables = [\"shop.*\"]\n",
        project("").display()
    );
    Flow::new(&manifest(&source, "config = { columns = [\"email\", \"phone\"] }"))
}

fn record(flow: &Flow, arguments: &[&str]) -> (i32, String, String) {
    let plugin = project("target/plugins/mask.wasm").display().to_string();
    flow.call(&[&["plugin", "test", &plugin], arguments].concat())
}

fn cases(flow: &Flow, file: &str) -> Json {
    serde_json::from_slice(&fs::read(flow.folder().join(file)).expect("a case file")).expect("JSON")
}

/// Where `tidegate plugin new` has put it.
#[test]
fn the_manifest_beside_the_plugin_is_found() {
    let flow = demo();
    fs::create_dir(flow.folder().join("it")).expect("a folder");
    fs::rename(flow.folder().join("tidegate.toml"), flow.folder().join("it/tidegate.toml")).expect("move the manifest");
    std::os::unix::fs::symlink(project("target/plugins/mask.wasm"), flow.folder().join("it/it.wasm")).expect("a link");
    let (code, stdout, stderr) = flow.call(&["plugin", "test", "it", "--record", "5"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(cases(&flow, "it/cases/recorded.json")["cases"][0]["in"].as_array().map(Vec::len), Some(5));
    let (code, _, stderr) =
        flow.call(&["plugin", "test", "it/it.wasm", "other.json", "--record", "5", "--manifest", "tidegate.toml"]);
    assert!(code == 2 && stderr.contains("tidegate.toml: there is no such file"), "{stderr}");
}

#[test]
fn changes_of_recorded_binlogs_become_cases() {
    let flow = demo();
    let (code, stdout, stderr) = record(&flow, &["cases/real.json", "--record", "25"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let file = cases(&flow, "cases/real.json");
    let case = &file["cases"][0];
    let changes = case["in"].as_array().expect("changes");
    assert_eq!((changes.len(), &case["name"]), (25, &Json::from("25 changes from s, shop.000001:2269")), "{file}");
    // Only of tables that the plugin takes, with the columns and keys that these have.
    assert!(changes.iter().all(|change| change["table"] == "customers"), "{file}");
    assert!(file["tables"][0].as_str().is_some_and(|table| table.starts_with("CREATE TABLE `shop`.`customers` (`id` ")), "{file}");
    assert!(case["out"].to_string().contains("***"), "{file}");
    let (code, stdout, _) = record(&flow, &["cases/real.json"]);
    assert!(code == 0 && stdout.ends_with("1 passed, 0 failed\n"), "{stdout}");
    assert!(!flow.folder().join("tidegate-data").exists(), "the pipeline has not begun");
    let (code, _, stderr) = record(&flow, &["cases/real.json", "--record", "1"]);
    assert!(code == 2 && stderr.contains("cases/real.json is there already"), "{stderr}");

    let (code, _, stderr) = record(&flow, &["hidden.json", "--record", "25", "--mask"]);
    assert_eq!(code, 0, "{stderr}");
    let hidden = cases(&flow, "hidden.json");
    for (old, new) in changes.iter().zip(hidden["cases"][0]["in"].as_array().expect("changes")) {
        let (old, new) = (&old["after"], &new["after"]);
        let (was, is) = (old["email"].as_str().unwrap_or_default(), new["email"].as_str().unwrap_or_default());
        assert!(was != is && was.len() == is.len() && was.find('@') == is.find('@'), "{old} {new}");
        assert_eq!(old["id"].to_string().len(), new["id"].to_string().len());
    }
}

#[test]
fn changes_of_a_server_are_taken_beside_a_running_pipeline() {
    let server = servers::shared_mysql();
    server.sql("CREATE DATABASE recorded; CREATE TABLE recorded.people (id INT PRIMARY KEY, email VARCHAR(50), born DATE)");
    server.sql("CREATE TABLE recorded.other (id INT PRIMARY KEY)");
    let source = format!(
        "[source.s]\ntype = \"mysql\"\nurl = \"{}\"\nserver_id = 90210\ntables = [\"recorded.*\"]\nstart = \"earliest\"\n",
        server.url("root", "")
    );
    let flow = Flow::new(&manifest(&source, "config = { columns = [\"email\"] }"));
    let mut run = flow.start(&[], &[]);
    server.sql("INSERT INTO recorded.other VALUES (1); INSERT INTO recorded.people VALUES (1, 'ada@example.com', '1990-01-01'), (2, NULL, NULL)");
    server.sql("UPDATE recorded.people SET email = 'bob@example.com' WHERE id = 2; DELETE FROM recorded.people WHERE id = 1");
    let (code, stdout, stderr) = record(&flow, &["people.json", "--record", "1000"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let file = cases(&flow, "people.json");
    let ops: Vec<_> = file["cases"][0]["in"].as_array().expect("changes").iter().map(|change| change["op"].clone()).collect();
    assert_eq!(ops, ["insert", "insert", "update", "delete"], "{file}");
    assert_eq!(file["tables"].as_array().map(Vec::len), Some(1));
    assert!(run.is_running(), "{}", run.log());
    assert!(!run.log().contains("same server"), "{}", run.log());
    run.signal("TERM");
    assert!(run.wait().success(), "{}", run.log());

    let plugin = project("target/plugins/mask.wasm").display().to_string();
    let (code, stdout, stderr) = flow.call(&["plugin", "inspect", &plugin, "--manifest", "tidegate.toml"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("recorded.people, pipeline p\n         reads email (after, before if wanted)\n"), "{stdout}");
    assert!(stdout.contains("recorded.other, pipeline p\n         leaves it alone\n"), "{stdout}");
}

/// Files are read for the tables that they have changes of.
#[test]
fn tables_of_recorded_binlogs_are_looked_at() {
    let flow = demo();
    let plugin = project("target/plugins/mask.wasm").display().to_string();
    let (code, stdout, stderr) = flow.call(&["plugin", "inspect", &plugin, "--manifest", "tidegate.toml"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("shop.customers, pipeline p\n         reads email (after, before if wanted), phone (after"),
        "{stdout}"
    );
    assert!(stdout.contains("shop.orders, pipeline p\n         leaves it alone\n"), "{stdout}");
    assert!(!flow.folder().join("tidegate-data").exists(), "the pipeline has not begun");
}

#[test]
fn what_cannot_be_recorded_says_why() {
    let flow = demo();
    flow.write(&flow.manifest().replace("[\"shop.*\"]", "[\"none.*\"]"));
    let (code, _, stderr) = record(&flow, &["a.json", "--record", "1"]);
    assert!(code == 2 && stderr.contains("source `s` has no change of a table that the plugin takes\nhint: "), "{code}: {stderr}");
    flow.write(&flow.manifest().replace("mask.wasm", "filter.wasm").replace("config = { columns = [\"email\", \"phone\"] }", ""));
    let (code, _, stderr) = record(&flow, &["a.json", "--record", "1"]);
    assert!(code == 2 && stderr.contains("no pipeline has the plugin") && stderr.contains("\nhint: "), "{code}: {stderr}");
    let (code, _, stderr) = record(&flow, &["a.json", "--mask"]);
    assert!(code == 2 && stderr.contains("--record <N>"), "{code}: {stderr}");
    assert!(!flow.folder().join("a.json").exists());
}

#[test]
fn a_watched_plugin_is_tested_again_when_a_file_changes() {
    let flow = Flow::new("");
    let copy = |from: &str, to: &str| fs::copy(project(from), flow.folder().join(to)).expect("copy");
    copy("target/plugins/mask.wasm", "mask.wasm");
    fs::create_dir(flow.folder().join("cases")).expect("a folder");
    copy("plugins/mask/cases/customers.json", "cases/customers.json");
    let run = flow.watch("mask.wasm");
    let shows = |text: &str| run.log().contains(text);
    wait_until("the first test", || shows(" passed, 0 failed\n"));
    let case = flow.folder().join("cases/customers.json");
    let text = fs::read_to_string(&case).expect("the cases");
    fs::write(&case, text.replace("***", "+++")).expect("write");
    wait_until("the cases are seen to fail", || shows(" failed\n") && shows("FAILED  "));
    // The plugin is replaced, as a build does it.
    copy("target/plugins/router.wasm", "new.wasm");
    fs::rename(flow.folder().join("new.wasm"), flow.folder().join("mask.wasm")).expect("rename");
    wait_until("the other plugin refuses the configuration", || shows("+ error: "));
}
