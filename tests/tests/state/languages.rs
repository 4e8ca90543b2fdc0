//! The plugin `number` in every language that has an SDK. They keep the same bytes, so one takes over from the other.

use std::fs;
use std::time::Duration;

use serde_json::Value as Json;
use tidegate_tests::flow::{Flow, copying};
use tidegate_tests::load::Random;
use tidegate_tests::project;
use tidegate_tests::servers::{self, Server};

use super::{TABLE, user, write};

const LANGUAGES: [&str; 4] = ["javascript", "python", "go", "c"];

/// Each is put in the place of the one before while rows flow, and is killed; every row is counted once, whoever saw it.
#[test]
fn every_language_goes_on_where_another_stopped() {
    let (name, source, target) = ("state_languages", servers::shared_mysql(), servers::shared_postgres());
    let there = format!("{name}_there");
    source.sql(&format!("CREATE DATABASE {name}"));
    source.sql_in(name, TABLE);
    target.sql(&format!("CREATE DATABASE {there}"));
    target.sql_in(&there, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT, pad VARCHAR(60), version BIGINT)");
    let manifest = copying(name, source, target, "plugins = [\"number\"]\nbatch = { rows = 30 }\nlanes = 2");
    let manifest = manifest.replace(&target.url(user(target), name), &target.url(user(target), &there));
    let plugin =
        format!("\n[plugin.number]\npath = \"number.wasm\"\nconfig = {{ tables = [\"{name}.t\"], column = \"version\" }}\n");
    let flow = Flow::new(&(manifest + &plugin));
    put(&flow, "number");
    let mut random = Random::new(7);
    for language in LANGUAGES {
        let mut run = flow.start(&[], &[]);
        change(source, name, &mut random);
        put(&flow, &format!("number-{language}"));
        let (code, stdout, stderr) = flow.call(&["plugin", "reload", "number"]);
        assert_eq!(code, 0, "{language}: {stdout}{stderr}\n{}", run.log());
        change(source, name, &mut random);
        std::thread::sleep(Duration::from_millis(random.below(300)));
        run.kill();
        change(source, name, &mut random);
        let mut run = flow.start(&[], &[]);
        std::thread::sleep(Duration::from_millis(random.below(1500)));
        run.kill();
    }
    flow.catch_up();
    let here = source.sql_in(name, "SELECT id, n, n FROM t ORDER BY id");
    assert!(here.lines().count() > 10, "{here}");
    assert_eq!(here, target.sql_in(&there, "SELECT id, n, version FROM t ORDER BY id"));
    let (_, history, _) = flow.call(&["plugin", "history", "number"]);
    assert!(history.lines().count() > LANGUAGES.len(), "{history}");
}

fn change(source: &Server, name: &str, random: &mut Random) {
    for _ in 0..5 {
        write(source, name, random, 20);
    }
}

/// Renamed into its place.
fn put(flow: &Flow, component: &str) {
    let from = project("target/plugins").join(format!("{component}.wasm"));
    let draft = flow.folder().join("number.new");
    fs::copy(&from, &draft).unwrap_or_else(|e| panic!("{}: {e}: run `make plugins golden`", from.display()));
    fs::rename(&draft, flow.folder().join("number.wasm")).expect("rename a component");
}

#[test]
fn every_language_passes_the_cases() {
    let flow = Flow::new("");
    let cases = project("plugins/number/cases").display().to_string();
    for language in LANGUAGES {
        let plugin = project("target/plugins").join(format!("number-{language}.wasm")).display().to_string();
        let (code, stdout, stderr) = flow.call(&["plugin", "test", &plugin, &cases]);
        assert_eq!(code, 0, "{language}: {stdout}{stderr}");
    }
}

/// A component imports `state` if its plugin uses it, and else has `host` alone.
#[test]
fn who_does_not_remember_does_not_import_it() {
    let flow = Flow::new("");
    for language in LANGUAGES {
        let imports = |plugin: &str| {
            let path = project("target/plugins").join(format!("{plugin}-{language}.wasm"));
            let (code, stdout, stderr) = flow.call(&["plugin", "inspect", &path.display().to_string(), "--format", "json"]);
            assert_eq!(code, 0, "{stderr}");
            let inspected: Json = serde_json::from_str(&stdout).expect("JSON");
            let all = inspected["imports"].as_array().expect("imports");
            let mut names: Vec<_> = all.iter().map(|import| import["name"].as_str().expect("a name").to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(imports("golden"), ["tidegate:plugin/host@0.1.0"], "{language}");
        assert_eq!(imports("number"), ["tidegate:plugin/host@0.1.0", "tidegate:plugin/state@0.1.0"], "{language}");
    }
}
