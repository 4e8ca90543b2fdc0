//! `tidegate plugin bench`, and the plugins that `make bench` runs.

use std::process::Command;

use serde_json::Value as Json;
use tidegate_tests::flow::Flow;
use tidegate_tests::project;

const LANGUAGES: [&str; 5] = ["bench", "bench-javascript", "bench-python", "bench-go", "bench-c"];

fn component(name: &str) -> String {
    project("target/plugins").join(format!("{name}.wasm")).display().to_string()
}

/// What is measured against each other does the same.
#[test]
fn the_measured_plugins_agree() {
    let flow = Flow::new("");
    let cases = project("plugins/bench/cases").display().to_string();
    for plugin in LANGUAGES {
        let (code, stdout, stderr) = flow.call(&["plugin", "test", &component(plugin), &cases]);
        assert_eq!(code, 0, "{plugin}: {stdout}{stderr}");
    }
}

#[test]
fn costs_are_told_by_the_size_of_batches() {
    let flow = Flow::new("");
    let config = r#"{"filter": "total", "mask": "email", "route": "id"}"#;
    let (code, stdout, stderr) = flow.call(&["--format", "json", "plugin", "bench", &component("bench"), "--config", config]);
    assert_eq!(code, 0, "{stderr}");
    let told: Json = serde_json::from_str(&stdout).expect("JSON");
    let input = &told["inputs"][0];
    assert!(input["memory_bytes"].as_u64().is_some_and(|bytes| bytes >= 65536), "{stdout}");
    let batches = input["batches"].as_array().expect("batches");
    assert_eq!(batches.iter().map(|one| one["rows"].as_u64()).collect::<Vec<_>>(), [1, 8, 64, 256, 1024].map(Some));
    for one in batches {
        let figure = |name: &str| one[name].as_f64().expect("a number");
        assert!(figure("ns") > 0.0 && figure("passing_ns") > 0.0 && figure("applying_ns") > 0.0, "{one}");
        assert!((0.0..=1.0).contains(&figure("boundary")), "{one}");
    }
    // A call costs the same for one row as for many.
    assert!(batches[0]["ns"].as_f64() > batches[3]["ns"].as_f64(), "{stdout}");
    let cases = project("plugins/mask/cases/customers.json").display().to_string();
    let (code, stdout, stderr) = flow.call(&["plugin", "bench", &component("mask"), &cases]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("customers.json, {\"columns\"") && stdout.contains("\nrows a batch  ns a row  passing  plugin"),
        "{stdout}"
    );
}

#[test]
fn a_plugin_that_takes_nothing_has_no_costs() {
    let flow = Flow::new("");
    let config = r#"{"filter": "none", "mask": "email", "route": "id"}"#;
    let (code, _, stderr) = flow.call(&["plugin", "bench", &component("bench"), "--config", config]);
    assert!(code == 2 && stderr.contains("the plugin takes none of these rows\nhint: "), "{code}: {stderr}");
    let (code, _, stderr) = flow.call(&["plugin", "bench", &component("bench"), "--config", "{"]);
    assert!(code == 2 && stderr.contains("invalid value '{' for '--config <JSON>'"), "{code}: {stderr}");
}

/// The component that costs are compared with is the one that its source says.
#[test]
fn the_probe_is_built_of_its_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let built = folder.path().join("probe.wasm");
    let status = Command::new(project("scripts/probe.sh")).arg(&built).status().expect("start scripts/probe.sh");
    assert!(status.success());
    let checked_in = std::fs::read(project("runtime/src/plugin/bench/probe.wasm")).expect("the probe");
    assert!(std::fs::read(built).expect("the probe") == checked_in, "run scripts/probe.sh");
}
