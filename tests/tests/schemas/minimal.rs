//! Without the names of columns in the binlog (`binlog_row_metadata` MINIMAL, NO_LOG): each row has the columns that it was written with,
//! through DDL of every kind, or the pipeline stops and says how to go on.

use std::fs;

use serde_json::Value;
use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, Server, wait_until};

/// A server whose binlog has no names, and a flow of its schema `shop` into lines.
struct Minimal {
    server: Server,
    flow: Flow,
}

const EACH: [fn() -> Server; 2] =
    [|| servers::mysql(&["--binlog-row-metadata=MINIMAL"]), || servers::mariadb(&["--binlog-row-metadata=NO_LOG"])];

impl Minimal {
    fn new(server: Server, setup: &str, start: &str) -> Minimal {
        server.sql(&format!("CREATE DATABASE shop; USE shop; {setup}"));
        let flow = Flow::new(&manifest(server.port, start));
        Minimal { server, flow }
    }

    fn sql(&self, statements: &str) {
        self.server.sql_in("shop", statements);
    }

    /// The rows that arrived: table, operation, values.
    fn rows(&self) -> Vec<(String, String, Value)> {
        let text = fs::read_to_string(self.flow.folder().join("lines.jsonl")).unwrap_or_default();
        let row = |line: &str| {
            let change: Value = serde_json::from_str(line).expect("JSON");
            let image = if change["after"].is_null() { &change["before"] } else { &change["after"] };
            (change["table"].as_str().expect("a table").to_owned(), change["op"].as_str().expect("an op").to_owned(), image.clone())
        };
        text.lines().map(row).collect()
    }

    fn values(&self) -> Vec<Value> {
        self.rows().into_iter().map(|(_, _, values)| values).collect()
    }
}

pub fn manifest(port: u16, start: &str) -> String {
    format!(
        "[source.shop]\ntype = \"mysql\"\nurl = \"mysql://root@127.0.0.1:{port}\"\ntables = [\"shop.*\"]\nstart = \"{start}\"\n\
         without_key = \"whole-row\"\n[sink.lines]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\n[pipeline.copy]\nsource = \"shop\"\n\
         sink = \"lines\"\nordering = \"global\"\n"
    )
}

/// Rows before, between and behind statements that change the meaning of the same bytes.
const STORY: &str = "
    SET NAMES utf8mb4;
    INSERT INTO t VALUES (1, 10, 'a');
    ALTER TABLE t RENAME COLUMN x TO y;
    INSERT INTO t VALUES (2, 20, 'b');
    ALTER TABLE t ADD z INT NOT NULL DEFAULT 7 FIRST;
    INSERT INTO t VALUES (1, 3, 30, 'c');
    ALTER TABLE t MODIFY z INT NOT NULL AFTER id, CHANGE y x INT UNSIGNED;
    INSERT INTO t VALUES (4, 2, 4000000000, 'd');
    CREATE TABLE u LIKE t;
    ALTER TABLE u DROP COLUMN z, ADD name2 VARCHAR(9) CHARACTER SET latin1;
    RENAME TABLE t TO old_t, u TO t;
    INSERT INTO t VALUES (5, 50, 'e', 'é');
    INSERT INTO old_t VALUES (6, 60, 600, 'f');
    DROP TABLE t;
    CREATE TABLE t (a VARCHAR(5) CHARACTER SET utf8mb4 PRIMARY KEY, e ENUM('p', 'q'), s SET('v', 'w'), u BIGINT UNSIGNED);
    INSERT INTO t VALUES ('7', 'q', 'v,w', 18446744073709551615);
    ALTER TABLE t MODIFY e ENUM('r', 'p', 'q');
    INSERT INTO t VALUES ('8', 'q', 'w', 1);
    SET NAMES latin1;
    CREATE TABLE `ä` (id INT PRIMARY KEY, `ö` ENUM('ü', 'x') CHARACTER SET utf8mb4);
    SET NAMES utf8mb4;
    INSERT INTO `Ã¤` VALUES (1, 1);
    SET @phases = 2 /*M!100800 , SESSION binlog_alter_two_phase = ON */;
    ALTER TABLE `Ã¤` ADD n INT FIRST;
    INSERT INTO `Ã¤` VALUES (5, 2, 2);
    CREATE TABLE made AS SELECT a, e AS f FROM t;
    ALTER TABLE made CONVERT TO CHARACTER SET latin1;
    INSERT INTO made VALUES ('ü', 'r');
    ALTER TABLE made ADD UNIQUE KEY k (a), MODIFY a VARCHAR(5) NOT NULL;
    DELETE FROM made WHERE f = 'q' ORDER BY a LIMIT 1;
";

fn expected() -> Vec<Value> {
    [
        r#"{"id":1,"x":10,"name":"a"}"#,
        r#"{"id":2,"y":20,"name":"b"}"#,
        r#"{"z":1,"id":3,"y":30,"name":"c"}"#,
        r#"{"id":4,"z":2,"x":4000000000,"name":"d"}"#,
        r#"{"id":5,"x":50,"name":"e","name2":"é"}"#,
        r#"{"id":6,"z":60,"x":600,"name":"f"}"#,
        r#"{"a":"7","e":"q","s":"v,w","u":18446744073709551615}"#,
        r#"{"a":"8","e":"q","s":"w","u":1}"#,
        r#"{"id":1,"Ã¶":"Ã¼"}"#,
        r#"{"n":5,"id":2,"Ã¶":"x"}"#,
        r#"{"a":"7","f":"q"}"#,
        r#"{"a":"8","f":"q"}"#,
        r#"{"a":"ü","f":"r"}"#,
    ]
    .map(|text| serde_json::from_str(text).expect("JSON"))
    .to_vec()
}

const SETUP: &str = "CREATE TABLE t (id INT PRIMARY KEY, x INT, name VARCHAR(20))";

/// All of it happened while nothing followed: only the history knows what the rows were written with.
#[test]
fn ddl_while_tidegate_is_down() {
    for start in EACH {
        let story = Minimal::new(start(), SETUP, "now");
        story.flow.catch_up();
        story.sql(STORY);
        story.flow.catch_up();
        let rows = story.values();
        assert_eq!(rows[..13], expected()[..]);
        assert_eq!(story.rows()[13].1, "delete", "{rows:?}");
    }
}

/// From the first CREATE TABLE on, though the server's tables are others by now.
#[test]
fn the_whole_binlog_is_read_with_the_columns_of_its_time() {
    for start in EACH {
        let story = Minimal::new(start(), SETUP, "earliest");
        story.sql(STORY);
        story.flow.catch_up();
        assert_eq!(story.values()[..13], expected()[..]);
    }
}

/// Killed at each place, it goes on with the right columns.
#[test]
fn kills_around_ddl() {
    let story = Minimal::new(EACH[0](), SETUP, "now");
    story.flow.catch_up();
    story.sql(STORY);
    for place in
        ["segment-read:1", "row-decoded:9", "row-decoded:40", "batch-settled:1", "cursor-before-flush:1", "cursor-flushed:1"]
    {
        let mut run = story.flow.start(&[], &[("TIDEGATE_FAILPOINT", place)]);
        wait_until("the run is killed, or reads everything", || !run.is_running() || run.log().contains("caught up"));
        run.kill();
    }
    story.flow.catch_up();
    // At least once: each run may have written the rows again, in their order.
    let (rows, expected) = (story.values(), expected());
    assert!(rows.iter().all(|row| expected.contains(row) || row["f"] == "q"), "{rows:#?}");
    assert_eq!(rows[rows.len() - 14..rows.len() - 1], expected[..]);
}
