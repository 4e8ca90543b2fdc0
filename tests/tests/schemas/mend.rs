//! Where columns cannot be known the pipeline stops, and what its message says leads on.

use std::fs;

use serde_json::Value;
use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, Server};

use super::minimal::manifest;

fn server() -> Server {
    let server = servers::mysql(&["--binlog-row-metadata=MINIMAL"]);
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, x INT)");
    server
}

fn values(flow: &Flow) -> Vec<Value> {
    let text = fs::read_to_string(flow.folder().join("lines.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["after"].clone()).collect()
}

/// The command between backticks that begins so, as arguments.
fn command<'t>(text: &'t str, begin: &str) -> Vec<&'t str> {
    let at = text.find(begin).unwrap_or_else(|| panic!("no `{begin}` in: {text}"));
    let command = text[at..].split('`').next().expect("a first part");
    command.split(' ').skip(1).map(|word| word.trim_matches('\'')).collect()
}

/// An ALTER that no binlog has: the server's table tells, or a user has to.
#[test]
fn what_is_not_in_the_binlog_is_asked_for_or_set_by_hand() {
    let server = server();
    let flow = Flow::new(&manifest(server.port, "now"));
    flow.catch_up();
    server.sql("SET sql_log_bin = 0; ALTER TABLE shop.t ADD y INT; SET sql_log_bin = 1; INSERT INTO shop.t VALUES (1, 2, 3)");
    flow.catch_up();
    assert_eq!(values(&flow), [serde_json::json!({"id": 1, "x": 2, "y": 3})]);
    // The server's table is another by now.
    server.sql(
        "SET sql_log_bin = 0; ALTER TABLE shop.t DROP y; SET sql_log_bin = 1; INSERT INTO shop.t VALUES (2, 3); \
         SET sql_log_bin = 0; ALTER TABLE shop.t ADD z TEXT, ADD zz TEXT; SET sql_log_bin = 1",
    );
    let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("2 columns were logged, but the table has 3 now") && stderr.contains("shop.t"), "{stderr}");
    fs::write(flow.folder().join("FILE"), "CREATE TABLE t (id INT PRIMARY KEY, x INT)").expect("write a file");
    let (code, stdout, stderr) = flow.call(&command(&stderr, "tidegate schema set"));
    assert_eq!((code, stdout.contains("id int, x int")), (0, true), "{stdout}{stderr}");
    flow.catch_up();
    assert_eq!(values(&flow)[1], serde_json::json!({"id": 2, "x": 3}));
    // From here on it is the server's.
    server.sql("INSERT INTO shop.t VALUES (3, 4, 'a', 'b')");
    let (code, stdout, stderr) = flow.call(&["schema", "refresh", "copy", "shop.t", "--format", "json"]);
    assert_eq!(code, 0, "{stderr}");
    let shown: Value = serde_json::from_str(&stdout).expect("JSON");
    let newest = shown["versions"].as_array().expect("versions").last().expect("a version").clone();
    assert_eq!((newest["by"].as_str(), newest["columns"].as_array().map(Vec::len)), (Some("server"), Some(4)), "{stdout}");
    flow.catch_up();
    assert_eq!(values(&flow)[2], serde_json::json!({"id": 3, "x": 4, "z": "a", "zz": "b"}));
    let (code, _, stderr) = flow.call(&["schema", "show", "copi"]);
    assert!(code == 2 && stderr.contains("did you mean `copy`"), "{stderr}");
}

/// `ddl = "stop"`: everything before the statement is settled, nothing after it, and the command leads past it with the columns known.
#[test]
fn a_pipeline_that_stops_at_ddl_goes_on_after_it() {
    let server = server();
    let flow = Flow::new(&(manifest(server.port, "now") + "ddl = \"stop\"\n"));
    flow.catch_up();
    server.sql(
        "INSERT INTO shop.t VALUES (1, 2); ALTER TABLE shop.t CHANGE x y INT; INSERT INTO shop.t VALUES (2, 3); \
         ALTER TABLE shop.t ADD z INT FIRST; INSERT INTO shop.t VALUES (9, 3, 4)",
    );
    for (n, statement) in [(1, "`ALTER TABLE shop.t CHANGE x y INT`"), (2, "`ALTER TABLE shop.t ADD z INT FIRST`")] {
        let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
        assert!(code == 3 && stderr.contains(statement) && stderr.contains("shop.t"), "{stderr}");
        assert_eq!(values(&flow).len(), n);
        let (code, _, stderr) = flow.call(&command(&stderr, "tidegate cursor set"));
        assert_eq!(code, 0, "{stderr}");
    }
    flow.catch_up();
    let expected = [r#"{"id":1,"x":2}"#, r#"{"id":2,"y":3}"#, r#"{"z":9,"id":3,"y":4}"#];
    assert_eq!(values(&flow), expected.map(|text| serde_json::from_str::<Value>(text).expect("JSON")));
}
