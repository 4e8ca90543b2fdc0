//! `tidegate plugin test`, `bench` and `inspect` of a plugin that needs what a manifest grants.

use std::fs;

use serde_json::{Value as Json, json};
use tidegate_tests::flow::Flow;
use tidegate_tests::project;

const ALLOW: &str = "allow = [\"clock\", \"random\", \"env:HOME\", \"http:nowhere.example\"]\n";

/// A manifest with the plugin `outside`, whose `config` says what it does, and a case for it.
fn outside() -> (Flow, String) {
    let path = project("target/plugins/outside.wasm").display().to_string();
    let rest = "[source.s]\ntype = \"binlog-files\"\npaths = [\"none.*\"]\ntables = [\"*.*\"]\n[sink.out]\ntype = \"null\"\n\
         [pipeline.p]\nsource = \"s\"\nplugins = [\"it\"]\nsink = \"out\"\n";
    let flow = Flow::new(&format!("{rest}[plugin.it]\npath = \"{path}\"\nconfig = {{ do = \"random\" }}\n{ALLOW}"));
    let change = json!({ "op": "insert", "schema": "s", "table": "t", "after": { "i": 1, "t": "ada" } });
    let file = json!({
        "config": { "do": "env" },
        "tables": ["CREATE TABLE s.t (i INT PRIMARY KEY, t TEXT)"],
        "cases": [{ "name": "one", "in": [change], "out": [] }],
    });
    fs::write(flow.folder().join("case.json"), file.to_string()).expect("a case file");
    (flow, path)
}

fn call(flow: &Flow, command: &str, path: &str, rest: &[&str]) -> (i32, String, String) {
    flow.call(&[&["plugin", command, path], rest].concat())
}

#[test]
fn a_manifest_says_what_a_plugin_may_have_when_it_is_tried() {
    let (flow, path) = outside();
    let manifest = ["--manifest", "tidegate.toml"];
    // What it may have and what it makes of it is the same as in a pipeline: the case sees the variable.
    let (code, stdout, stderr) = call(&flow, "test", &path, &["case.json", manifest[0], manifest[1]]);
    assert!(code == 4 && stdout.contains("HOME"), "{code}: {stdout}{stderr}");
    // The configuration of the manifest: the plugin writes random bytes into the columns of the sample.
    let (code, stdout, stderr) = call(&flow, "bench", &path, &["--format", "json", manifest[0], manifest[1]]);
    assert_eq!(code, 0, "{stderr}");
    let told: Json = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(told["inputs"][0]["config"]["do"], "random", "{stdout}");

    for command in ["test", "bench"] {
        let (code, stdout, stderr) = call(&flow, command, &path, &["case.json"]);
        assert!(
            code == 4 && stderr.contains("hint: if it may have that, write at this plugin: allow = ["),
            "{command}: {stdout}{stderr}"
        );
    }
    // What it is can be looked at all the same.
    let (code, stdout, stderr) = call(&flow, "inspect", &path, &["case.json"]);
    assert!(code == 0 && stdout.contains(": only with allow = [\"clock\"]"), "{stdout}{stderr}");
    assert!(stdout.contains("limits   64MiB of memory") && stdout.contains("case.json\n         imports `wasi:"), "{stdout}");
}

#[test]
fn a_manifest_without_the_plugin_or_with_two_of_it_is_refused() {
    let (flow, path) = outside();
    let mask = project("target/plugins/mask.wasm").display().to_string();
    let (code, _, stderr) = call(&flow, "bench", &mask, &["--manifest", "tidegate.toml"]);
    assert!(code == 2 && stderr.contains("no plugin has the path") && stderr.contains("\nhint: "), "{code}: {stderr}");
    let one = flow.manifest();
    flow.write(&format!("{one}\n[plugin.other]\npath = \"{path}\"\n"));
    let (code, _, stderr) = call(&flow, "test", &path, &["case.json", "--manifest", "tidegate.toml"]);
    assert!(code == 2 && stderr.contains("`it` and `other` both have the path"), "{code}: {stderr}");
    // They may have the same.
    flow.write(&format!("{one}\n[plugin.other]\npath = \"{path}\"\nconfig = {{ do = \"clock\" }}\n{ALLOW}"));
    let (code, stdout, stderr) = call(&flow, "test", &path, &["case.json", "--manifest", "tidegate.toml"]);
    assert!(code == 4 && stdout.contains("HOME"), "{code}: {stdout}{stderr}");
}
