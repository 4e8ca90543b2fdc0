//! The way of somebody who writes a plugin: `tidegate plugin new`, `build`, `inspect`, `test`.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use tidegate_tests::flow::Flow;
use tidegate_tests::project;
use tidegate_tests::servers::wait_until;

#[test]
fn a_plugin_in_rust() {
    let flow = author("rust", "src/lib.rs", ("***", "+++"));
    // The manifest that it begins with leads from the demo's binlog into SQLite.
    let manifest = flow.folder().join("hide-it/tidegate.toml");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    assert!(text.contains("\"../examples/"), "{text}");
    fs::write(&manifest, text.replace("../examples", &project("examples").display().to_string())).expect("write");
    let (code, stdout, stderr) = flow.call(&["run", "hide-it/tidegate.toml", "--until", "caught-up"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(flow.folder().join("hide-it/target/shop.sqlite").is_file());
    // A mistake is told with the plugin's own file and line, not with those of the SDK.
    let source = flow.folder().join("hide-it/src/lib.rs");
    let text = fs::read_to_string(&source).expect("a source");
    let process = "fn process(&mut self, batch: &Batch) -> Result<(), String> {\n";
    assert!(text.contains(process), "{text}");
    let wrong = "for row in batch.rows() {\n row.text(\"emial\");\n }\n";
    fs::write(&source, text.replace(process, &format!("{process}{wrong}"))).expect("write");
    let line = text.lines().position(|line| line.contains("fn process")).expect("a line") + 3;
    let (code, stdout, stderr) = flow.call(&["plugin", "build", "hide-it"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (code, stdout, _) = flow.call(&["plugin", "test", "hide-it"]);
    let told = format!("panic at src/lib.rs:{line}:6, row 0 of the batch: shop.customers has no column `emial`");
    assert!(code == 4 && stdout.contains(&told), "{stdout}");
}

#[test]
fn a_plugin_in_javascript() {
    author("javascript", "plugin.js", ("***", "+++"));
}

#[test]
fn a_plugin_in_typescript() {
    author("typescript", "plugin.ts", ("***", "+++"));
}

#[test]
fn a_plugin_in_python() {
    author("python", "plugin.py", ("***", "+++"));
}

#[test]
fn a_plugin_in_go() {
    author("go", "mask.go", ("***", "+++"));
}

#[test]
fn a_plugin_in_c() {
    let flow = author("c", "hide-it.c", ("\"***\"", "\"+++\""));
    // Watched, it takes the component's place once its cases pass, and not before.
    let (source, component) = (flow.folder().join("hide-it/hide-it.c"), flow.folder().join("hide-it/hide-it.wasm"));
    let read = |path: &Path| fs::read(path).expect("read");
    let change = |from: &str, to: &str| {
        let text = fs::read_to_string(&source).expect("a source").replace(from, to);
        fs::write(&source, text).expect("write");
    };
    let before = read(&component);
    change("\"+++\"", "\"===\"");
    let run = flow.watch("hide-it");
    let shows = |text: &str| run.log().contains(text);
    wait_until("the case fails", || shows(" passed, 1 failed"));
    assert_eq!(read(&component), before);
    change("\"===\"", "\"***\"");
    wait_until("the case passes", || shows("is the one that passed"));
    assert_ne!(read(&component), before);
    drop(run);
    let (code, stdout, stderr) = flow.call(&["plugin", "test", "hide-it"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
}

/// From nothing to a plugin that passes its case; then it is changed, and the case says what differs.
fn author(language: &str, file: &str, (from, to): (&str, &str)) -> Flow {
    let flow = Flow::new("");
    let done = |arguments: &[&str]| {
        let (code, stdout, stderr) = flow.call(&[&["plugin"], arguments].concat());
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
        stdout
    };
    done(&["new", "hide-it", "--lang", language]);
    done(&["build", "hide-it"]);
    // With the unit tests that it begins with; those of Rust are `cargo test`, which compiles the SDK for this machine.
    let tested = done(if language == "rust" { &["test", "hide-it"] } else { &["test", "hide-it", "--unit"] });
    assert!(tested.contains("passed, 0 failed"), "{tested}");
    let inspected: Json = serde_json::from_str(&done(&["inspect", "hide-it", "--format", "json"])).expect("JSON");
    assert!(
        inspected["exports"].as_array().is_some_and(|all| all.contains(&"tidegate:plugin/transform@0.1.0".into())),
        "{inspected}"
    );
    assert!(inspected["imports"].as_array().is_some_and(|all| all.iter().all(|import| import["granted"] == true)), "{inspected}");
    assert_eq!(inspected["tables"][0]["plan"], "reads email (after, before if wanted)", "{inspected}");
    let sdk = format!("tidegate-{} 0.1.0", language.replace("typescript", "javascript"));
    let says = |field: &str, value: &str| json!({ "field": field, "value": value });
    assert!(inspected["producers"].as_array().is_some_and(|all| all.contains(&says("sdk", &sdk))), "{inspected}");
    let id = |inspected: &Json| inspected["build_id"].as_str().map(str::to_owned).expect("a build id");
    assert_eq!(id(&inspected).len(), 32, "{inspected}");

    let source = flow.folder().join("hide-it").join(file);
    let text = fs::read_to_string(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
    assert!(text.contains(from), "{text}");
    fs::write(&source, text.replace(from, to)).expect("write");
    done(&["build", "hide-it"]);
    let rebuilt: Json = serde_json::from_str(&done(&["inspect", "hide-it", "--format", "json"])).expect("JSON");
    assert_ne!(id(&inspected), id(&rebuilt), "other sources");
    let (code, stdout, _) = flow.call(&["plugin", "test", "hide-it"]);
    assert!(code == 4 && stdout.contains("+++"), "{stdout}");
    flow
}

#[test]
fn what_cannot_be_built_says_why() {
    let flow = Flow::new("");
    let (code, _, stderr) = flow.call(&["plugin", "build"]);
    assert!(code == 2 && stderr.contains("no plugin that could be built is in it\nhint: "), "{code}: {stderr}");
    let (code, _, stderr) = flow.call(&["plugin", "test"]);
    assert!(code == 2 && stderr.contains("there is no such file\nhint: `tidegate plugin build"), "{code}: {stderr}");
    fs::create_dir(flow.folder().join("p")).expect("a folder");
    fs::write(flow.folder().join("p/plugin.js"), "export default {").expect("write");
    let (code, _, stderr) = flow.call(&["plugin", "build", "p"]);
    assert!(code == 4 && stderr.contains("plugin.js:1") && stderr.contains("error: p cannot be built"), "{code}: {stderr}");
    let (code, _, stderr) = flow.call(&["plugin", "new", "p"]);
    assert!(code == 2 && stderr.contains("p is there already"), "{code}: {stderr}");
}
