//! `tidegate plugin test`.

use std::fs;

use serde_json::{Value as Json, json};
use tidegate_tests::flow::Flow;
use tidegate_tests::project;

fn test(flow: &Flow, arguments: &[&str]) -> (i32, String, String) {
    let plugin = |name: &str| project("target/plugins").join(format!("{name}.wasm")).display().to_string();
    let (name, rest) = arguments.split_first().expect("a plugin");
    let rest: Vec<&str> = rest.to_vec();
    let cases: &[&str] = if rest.iter().any(|argument| !argument.starts_with('-')) { &[] } else { &["cases"] };
    flow.call(&[&["plugin", "test", &plugin(name)], cases, &rest[..]].concat())
}

fn write(flow: &Flow, file: &str, content: &Json) {
    fs::create_dir_all(flow.folder().join("cases")).expect("a folder");
    fs::write(flow.folder().join("cases").join(file), content.to_string()).expect("a case file");
}

/// One case of a mask over a table with a column of each type.
fn one(name: &str, change: &Json) -> Json {
    json!({
        "config": { "columns": ["t"] },
        "tables": ["CREATE TABLE s.t (i INT PRIMARY KEY, t TEXT, u BIGINT UNSIGNED, f FLOAT, d DOUBLE, n DECIMAL(30,10), b VARBINARY(9), \
                    day DATE, at DATETIME(6), ts TIMESTAMP(3), tm TIME(1), j JSON, bits BIT(64), e ENUM('x','y'), y YEAR)"],
        "cases": [{ "name": name, "in": [change] }],
    })
}

#[test]
fn the_cases_of_the_ready_made_plugins_pass() {
    let flow = Flow::new("");
    for entry in fs::read_dir(project("plugins")).expect("plugins") {
        let folder = entry.expect("an entry").path();
        if folder.join("cases").is_dir() {
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            let (code, stdout, stderr) = test(&flow, &[&name, &folder.join("cases").display().to_string()]);
            assert_eq!(code, 0, "{stdout}{stderr}");
        }
    }
}

/// One file for the golden plugins of all languages.
#[test]
fn every_sdk_passes_the_golden_cases() {
    let flow = Flow::new("");
    let cases = project("plugins/golden/cases.json").display().to_string();
    for entry in fs::read_dir(project("plugins/golden")).expect("the golden plugins") {
        let folder = entry.expect("an entry").path();
        if folder.is_dir() {
            let plugin = format!("golden-{}", folder.file_name().expect("a name").to_string_lossy());
            let (code, stdout, stderr) = test(&flow, &[&plugin, &cases]);
            assert_eq!(code, 0, "{plugin}: {stdout}{stderr}");
        }
    }
}

/// Built with the first SDKs of v0.1, and never again.
#[test]
fn components_of_the_frozen_interface_load_and_do_the_same() {
    let flow = Flow::new("");
    let frozen = |file: &str| project("tests/fixtures/v0.1").join(file).display().to_string();
    for component in ["golden-rust.wasm", "golden-c.wasm"] {
        let (code, stdout, stderr) = flow.call(&["plugin", "test", &frozen(component), &frozen("cases.json")]);
        assert_eq!(code, 0, "{component}: {stdout}{stderr}");
        assert!(stdout.ends_with("20 passed, 0 failed\n"), "{stdout}");
    }
}

#[test]
fn values_of_every_type_come_out_as_they_went_in() {
    let flow = Flow::new("");
    let full = json!({"op": "insert", "schema": "s", "table": "t", "after": {
        "i": 1, "t": "", "u": u64::MAX, "f": 0.1, "d": 1e300, "n": "-12345678901234567890.0123456789", "b": "AP8=", "day": "0000-00-00",
        "at": "2026-11-21 10:11:12.123456", "ts": "2038-01-19 03:14:07.999Z", "tm": "-838:59:58.9", "j": {"b": [1, null, "é"]},
        "bits": u64::MAX, "e": "y", "y": 1901}});
    let partial = json!({"op": "update", "schema": "s", "table": "t", "before": {"i": 1}, "after": {"i": 1, "u": null}});
    for change in [full, partial] {
        write(&flow, "a.json", &one("as it was", &change));
        let (code, stdout, stderr) = test(&flow, &["mask", "--accept"]);
        assert_eq!((code, &*stdout), (0, "ok      cases/a.json: as it was\n1 accepted, 0 failed\n"), "{stderr}");
        let text = fs::read_to_string(flow.folder().join("cases/a.json")).expect("the file");
        let mut out = serde_json::from_str::<Json>(&text).expect("JSON")["cases"][0]["out"][0].clone();
        let mut expected = change.clone();
        if let Some(masked) = expected["after"].get_mut("t") {
            *masked = json!("***");
        }
        assert_eq!(out.take(), expected, "{text}");
        let (code, stdout, _) = test(&flow, &["mask"]);
        assert_eq!((code, &*stdout), (0, "ok      cases/a.json: as it was\n1 passed, 0 failed\n"));
    }
}

#[test]
fn what_differs_is_shown() {
    let flow = Flow::new("");
    let mut file = one("masked", &json!({"op": "insert", "schema": "s", "table": "t", "after": {"i": 1, "t": "ada"}}));
    file["cases"][0]["out"] = json!([{"op": "insert", "schema": "s", "table": "t", "after": {"i": 1.0, "t": "ada"}}]);
    write(&flow, "a.json", &file);
    let (code, stdout, stderr) = test(&flow, &["mask"]);
    assert_eq!(code, 4, "{stderr}");
    let expected = "FAILED  cases/a.json: masked\n\
                    \x20       - {\"op\":\"insert\",\"schema\":\"s\",\"table\":\"t\",\"after\":{\"i\":1.0,\"t\":\"ada\"}}\n\
                    \x20       + {\"op\":\"insert\",\"schema\":\"s\",\"table\":\"t\",\"after\":{\"i\":1,\"t\":\"a***\"}}\n\
                    0 passed, 1 failed\n";
    assert_eq!(stdout, expected);
    assert!(stderr.contains("error: 1 of 1 case failed"), "{stderr}");
}

#[test]
fn a_crash_is_an_error_of_its_case() {
    let flow = Flow::new("");
    let change = json!({"op": "insert", "schema": "s", "table": "t", "after": {"i": 1, "t": "ada"}});
    let mut file = one("a trap", &change);
    file["config"] = json!({ "do": "trap" });
    file["cases"][0]["error"] = json!("trapped on purpose");
    write(&flow, "a.json", &file);
    let (code, stdout, stderr) = test(&flow, &["hostile"]);
    assert_eq!((code, &*stdout), (0, "ok      cases/a.json: a trap\n1 passed, 0 failed\n"), "{stderr}");
}

#[test]
fn bad_case_files_say_where_and_how_to_mend_them() {
    let flow = Flow::new("");
    let row = |after: Json| json!({"op": "insert", "schema": "s", "table": "t", "after": after});
    let with_table = |table: &str| json!({ "tables": [table], "cases": [] });
    let cases = [
        (json!({ "tables": [], "cases": [], "more": 1 }), "cases/a.json: unknown field `more`"),
        (with_table("CREATE VIEW v AS SELECT 1"), "cases/a.json: tables[0]: not a CREATE TABLE statement that could be read"),
        (with_table("CREATE TABLE t (i INT)"), "cases/a.json: tables[0]: "),
        (one("c", &json!({"op": "insert", "schema": "s"})), "case \"c\", in[0]: `schema` or `table` is missing"),
        (one("c", &json!({"op": "insert", "schema": "s", "table": "x"})), "case \"c\", in[0]: no statement of `tables` makes s.x"),
        (one("c", &json!({"op": "upsert", "schema": "s", "table": "t"})), "`op` is none of insert, update, delete, snapshot"),
        (one("c", &json!({"op": "delete", "schema": "s", "table": "t"})), "`before` is missing"),
        (one("c", &row(json!({"none": 1}))), "s.t has no column `none`"),
        (one("c", &row(json!({"i": "1"}))), "column `i`: \"1\" where a whole number is expected"),
        (one("c", &row(json!({"u": -1}))), "column `u`: -1 where a whole number that is not negative is expected"),
        (one("c", &row(json!({"b": "ä"}))), "column `b`: bytes as base64: "),
        (one("c", &row(json!({"day": "2026-13-01"}))), "column `day`: \"2026-13-01\" where a date, as \"2026-11-01\", is expected"),
        (one("c", &row(json!({"at": "2026-11-01 24:00:00"}))), "column `at`: "),
        (one("c", &row(json!({"tm": "1:2"}))), "column `tm`: "),
        (json!({ "tables": [], "cases": [{ "name": "c", "in": [] }] }), "case \"c\": `in` is empty"),
    ];
    for (file, expected) in cases {
        write(&flow, "a.json", &file);
        let (code, stdout, stderr) = test(&flow, &["mask"]);
        assert_eq!((code, &*stdout), (2, ""), "{stderr}");
        assert!(stderr.contains(expected) && stderr.contains("hint: "), "{expected}: {stderr}");
    }
    let (code, _, stderr) = test(&flow, &["mask", "none.json"]);
    assert!(code == 2 && stderr.contains("none.json: cannot be read"), "{stderr}");
    let (code, _, stderr) = flow.call(&["plugin", "test", "none.wasm"]);
    assert!(code == 2 && stderr.contains("none.wasm: there is no such file"), "{code}: {stderr}");
}
