//! Servers that go away while tables are read from them: reading goes on at the replica that is promoted, though nothing is written there.

use std::process::Command;
use std::time::Duration;

use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{Kind, Server, run, wait_until};

use super::failover::{pair, promote, replicate};

const ROWS: u64 = 8000;
const TABLES: [(&str, &str); 3] = [("log", "n, note"), ("t", "id, v"), ("u", "name, v")];

fn fill(server: &Server, name: &str) {
    server.sql(&format!(
        "CREATE DATABASE {name}; CREATE TABLE {name}.t (id INT PRIMARY KEY, v INT); \
         CREATE TABLE {name}.u (name VARCHAR(30) PRIMARY KEY, v INT); CREATE TABLE {name}.log (n INT, note VARCHAR(200))"
    ));
    let rows = |row: fn(u64) -> String| (0..ROWS).map(row).collect::<Vec<_>>().join(", ");
    server.sql_in(name, &format!("INSERT INTO t VALUES {}", rows(|n| format!("({n}, 0)"))));
    server.sql_in(name, &format!("INSERT INTO u VALUES {}", rows(|n| format!("('n{n}', 0)"))));
    server.sql_in(name, &format!("INSERT INTO log VALUES {}", rows(|n| format!("({}, REPEAT('x', 150))", n % 500))));
}

fn change(server: &Server, name: &str) {
    let changes = (0..100).map(|n| {
        let (any, other) = (n * 7919 % ROWS, n * 104_729 % ROWS);
        format!(
            "REPLACE INTO t VALUES ({any}, {n}); DELETE FROM t WHERE id = {other}; UPDATE u SET v = v + 1 WHERE name = 'n{any}'; \
             UPDATE IGNORE u SET name = 'm{n}' WHERE name = 'n{other}'; INSERT INTO log VALUES ({}, 'new'); \
             DELETE FROM log WHERE n = {} LIMIT 1;",
            n % 500,
            n % 400
        )
    });
    server.sql_in(name, &changes.collect::<String>());
}

fn is_level(a: &Server, b: &Server) -> bool {
    let written = if a.kind == Kind::MySql { "SELECT @@GLOBAL.gtid_executed" } else { "SELECT @@GLOBAL.gtid_binlog_pos" };
    a.sql(written) == b.sql(written)
}

fn flow(a: &Server, b: &Server, name: &str) -> Flow {
    Flow::new(&format!(
        "[source.here]\ntype = \"mysql\"\nurls = [\"{}\", \"{}\"]\ntables = [\"{name}.*\"]\nwithout_key = \"whole-row\"\n\
         snapshot = {{ chunk_rows = 200, rows_per_second = 2000 }}\n\
         [sink.there]\ntype = \"sqlite\"\npath = \"copy.sqlite\"\ncreate = true\n\
         [pipeline.copy]\nsource = \"here\"\nsink = \"there\"\nlanes = 2\n",
        a.url("root", ""),
        b.url("root", "")
    ))
}

fn at_target(flow: &Flow, query: &str) -> String {
    let mut sqlite = Command::new("sqlite3");
    sqlite.args(["-batch", "-separator", "\t", "copy.sqlite", query]).current_dir(flow.folder());
    run(sqlite, "")
}

fn goes_over(kind: Kind, name: &str, when: &str) {
    let [a, b] = &pair(kind, &[]);
    replicate(b, a);
    fill(a, name);
    wait_until("the replica has what the source has", || is_level(a, b));
    let flow = flow(a, b, name);
    let mut tidegate = flow.start(&[], &[]);
    wait_until("tables are read", || tidegate.log().contains(when));
    change(a, name);
    wait_until("the replica has what the source has", || is_level(a, b));
    // What was changed is read and settled, and the tables are not.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!tidegate.log().contains("all tables are read"), "{}", tidegate.log());
    a.kill();
    promote(b);
    wait_until("all tables are read", || tidegate.log().contains("all tables are read"));
    change(b, name);
    tidegate.signal("TERM");
    assert_eq!(tidegate.wait().code(), Some(0), "{}", tidegate.log());
    assert!(tidegate.log().contains("going over from"), "{}", tidegate.log());
    flow.catch_up();
    for (table, columns) in TABLES {
        let query = format!("SELECT {columns} FROM {table}");
        let sorted = |text: String| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let (here, there) = (sorted(b.sql_in(name, &query)), sorted(at_target(&flow, &query)));
        assert!(here == there, "{table}: {} rows at the source, {} at the target", here.len(), there.len());
    }
    a.resume();
}

#[test]
fn tables_of_mysql_are_read_on_at_a_promoted_replica() {
    goes_over(Kind::MySql, "over_tables", " reading tables");
}

#[test]
fn tables_of_mariadb_are_read_on_at_a_promoted_replica() {
    goes_over(Kind::MariaDb(11), "over_tables", " reading tables");
}

#[test]
fn a_table_without_a_key_of_mysql_is_read_anew_at_a_promoted_replica() {
    goes_over(Kind::MySql, "over_whole", "reading a table without a key");
}

#[test]
fn a_table_without_a_key_of_mariadb_is_read_anew_at_a_promoted_replica() {
    goes_over(Kind::MariaDb(11), "over_whole", "reading a table without a key");
}

/// The replica that is promoted lacks changes that were read: reading stops before it takes a row from there, be it of a table or of the stream.
fn lacks_what_was_read(kind: Kind, name: &str) {
    let [a, b] = &pair(kind, &[]);
    replicate(b, a);
    fill(a, name);
    wait_until("the replica has what the source has", || is_level(a, b));
    b.sql(if kind == Kind::MySql { "STOP REPLICA" } else { "STOP SLAVE" });
    let flow = flow(a, b, name);
    let mut tidegate = flow.start(&[], &[]);
    wait_until("tables are read", || tidegate.log().contains(" reading tables"));
    change(a, name);
    a.sql_in(name, "REPLACE INTO t VALUES (1000000, 1)");
    wait_until("the changes have arrived", || at_target(&flow, "SELECT v FROM t WHERE id = 1000000").trim() == "1");
    assert!(!tidegate.log().contains("all tables are read"), "{}", tidegate.log());
    promote(b);
    // More transactions than are lost, so that numbers alone tell nothing.
    for _ in 0..3 {
        change(b, name);
    }
    b.sql_in(name, "UPDATE t SET v = 777777; UPDATE u SET v = 777777");
    a.kill();
    assert_eq!(tidegate.wait().code(), Some(3), "{}", tidegate.log());
    let log = tidegate.log();
    assert!(log.contains("has not the transactions") && log.contains("tidegate cursor set copy"), "{log}");
    for table in ["t", "u"] {
        assert_eq!(at_target(&flow, &format!("SELECT COUNT(*) FROM {table} WHERE v = 777777")).trim(), "0", "{table}: {log}");
    }
    a.resume();
}

#[test]
fn tables_of_mysql_are_not_read_at_a_replica_that_lacks_changes() {
    lacks_what_was_read(Kind::MySql, "over_lacking");
}

#[test]
fn tables_of_mariadb_are_not_read_at_a_replica_that_lacks_changes() {
    lacks_what_was_read(Kind::MariaDb(11), "over_lacking");
}
