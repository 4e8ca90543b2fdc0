//! Files that are no plugins, and are not meant to be.

use std::fs::{self, File};
use std::process::Command;

use tidegate::plugin::Find;

use super::*;

#[test]
fn files_that_never_end_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    let made = Command::new("mkfifo").arg(at("pipe.wasm")).status().expect("mkfifo");
    assert!(made.success());
    std::os::unix::fs::symlink("/dev/zero", at("zero.wasm")).expect("a link");
    fs::create_dir(at("folder.wasm")).expect("a folder");
    File::create(at("huge.wasm")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    fs::write(at("empty.wasm"), b"").expect("a file");
    fs::write(at("text.wasm"), b"text").expect("a file");
    let whole = fs::read(project("target/plugins/mask.wasm")).expect("a component");
    fs::write(at("cut.wasm"), &whole[..whole.len() / 2]).expect("a file");
    for (name, reason) in [
        ("pipe", "not a file"),
        ("zero", "not a file"),
        ("folder", "not a file"),
        ("huge", "1099511627776 bytes"),
        ("empty", "is not a plugin: it is empty"),
        ("text", "is not a plugin: it is no WebAssembly at all"),
        ("cut", "is not a plugin: it is cut off"),
    ] {
        let path = at(&format!("{name}.wasm"));
        let error = ENGINE.load(&PluginConfig { path: path.clone(), ..config("mask", json!({})) }).expect_err(name).to_string();
        assert!(error.contains(reason) && error.contains(&path.display().to_string()), "{error}");
        let error = ENGINE.inspect(&path).expect_err(name).to_string();
        assert!(error.contains(reason), "{error}");
    }
}

/// 32 rows, each of which computes until it is stopped: looking for all of them would take half a minute.
#[test]
fn nobody_waits_for_rows_to_be_told_apart_once_the_pipeline_is_to_stop() {
    let mut hostile = config("hostile", json!({ "do": "loop" }));
    hostile.limits.call_time_max = Duration::from_millis(500);
    let mut chain = Chain::new(&[ENGINE.load(&hostile).unwrap_or_else(|e| panic!("{e}"))]).expect("an instance");
    let mut batch = batch(&customers(), &[Op::Insert; 32], &["x@x"; 32]);
    let began = Instant::now();
    let error = chain.process_dividing(&mut batch, Find::All, &|| true).expect_err("not told apart");
    assert!(matches!(error.fault, Fault::Deadline { .. }), "{error}");
    let took = began.elapsed();
    assert!((2..15).contains(&took.as_secs()), "{took:?}");
}

/// What `bind` answers is of no rows: nothing is divided to find one, and what the host keeps of it for all tables is bounded.
#[test]
fn plans_have_room_in_output() {
    let chain = |deed: &str, output_bytes_max: usize| {
        let config = config("hostile", json!({ "do": deed }));
        let config = PluginConfig { limits: Limits { output_bytes_max, ..config.limits }, ..config };
        Chain::new(&[ENGINE.load(&config).unwrap_or_else(|e| panic!("{e}"))]).unwrap_or_else(|e| panic!("{e}"))
    };
    let error = chain("long-name", 512 << 10).bind(&customers()).expect_err("too long");
    assert!(matches!(error.fault, Fault::Output { call: "bind", limit: 524_288 }) && !error.is_of_rows(), "{error}");
    assert!(
        error.to_string().contains("passed more than 524288 bytes at once to the host in bind\nhint: raise `output`"),
        "{error}"
    );
    let mut chain = chain("long-name", 1 << 20);
    for _ in 0..20 {
        chain.bind(&customers()).unwrap_or_else(|e| panic!("{e}"));
        let names = chain.outputs().flat_map(|relation| &relation.columns).map(|column| column.name.len());
        assert!(names.sum::<usize>() < 1 << 20, "earlier tables are forgotten");
    }
}

#[test]
fn names_of_a_plan_are_tamed() {
    let plugin = load("hostile", json!({ "do": "forged-name" }));
    let error = Chain::new(&[plugin]).and_then(|mut chain| chain.bind(&customers())).expect_err("twice").to_string();
    assert!(error.contains("two columns with the name `") && error.len() < 2000 && !error.contains(['\u{1b}', '\r']), "{error}");
}
