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

fn goes_over(kind: Kind, name: &str, when: &str) {
    let [a, b] = &pair(kind, &[]);
    replicate(b, a);
    fill(a, name);
    let written = if kind == Kind::MySql { "SELECT @@GLOBAL.gtid_executed" } else { "SELECT @@GLOBAL.gtid_binlog_pos" };
    let is_level = || a.sql(written) == b.sql(written);
    wait_until("the replica has what the source has", is_level);
    let flow = Flow::new(&format!(
        "[source.here]\ntype = \"mysql\"\nurls = [\"{}\", \"{}\"]\ntables = [\"{name}.*\"]\nwithout_key = \"whole-row\"\n\
         snapshot = {{ chunk_rows = 200, rows_per_second = 2000 }}\n\
         [sink.there]\ntype = \"sqlite\"\npath = \"copy.sqlite\"\ncreate = true\n\
         [pipeline.copy]\nsource = \"here\"\nsink = \"there\"\nlanes = 2\n",
        a.url("root", ""),
        b.url("root", "")
    ));
    let mut tidegate = flow.start(&[], &[]);
    wait_until("tables are read", || tidegate.log().contains(when));
    change(a, name);
    wait_until("the replica has what the source has", is_level);
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
        let mut sqlite = Command::new("sqlite3");
        sqlite.args(["-batch", "-separator", "\t", "copy.sqlite", &query]).current_dir(flow.folder());
        let (here, there) = (sorted(b.sql_in(name, &query)), sorted(run(sqlite, "")));
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
