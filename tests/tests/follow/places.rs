//! Where and when it is followed: other servers, schemas, online schema changes, while Tidegate is down, while tables are read.

use std::fs;
use std::path::Path;
use std::process::Command;

use tidegate_tests::flow::Flow;
use tidegate_tests::project;
use tidegate_tests::servers;

use super::{Pair, Target};

#[test]
fn mariadb_to_mysql() {
    let target = Target::Server(servers::shared_mysql());
    let pair = Pair::new(servers::shared_mariadb(), target, "fol_maria_my", "", "lanes = 2");
    pair.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20)); INSERT INTO t VALUES (1, 1, 'one'), (2, 2, NULL)");
    pair.flow.catch_up();
    for statement in [
        "ALTER TABLE t ADD IF NOT EXISTS c INT DEFAULT 5, ADD d TEXT DEFAULT 'long', ADD e INET6, ADD IF NOT EXISTS a INT",
        "INSERT INTO t (id, e) VALUES (3, '::1'); ALTER TABLE t DROP IF EXISTS none, CHANGE COLUMN IF EXISTS c cc BIGINT",
        "CREATE OR REPLACE TABLE u (id UUID PRIMARY KEY, a INT); INSERT INTO u VALUES (UUID(), 1)",
        "CREATE OR REPLACE TABLE u (id INT PRIMARY KEY, b INT) AS SELECT id, a AS b FROM t",
        "SET STATEMENT lock_wait_timeout = 9 FOR ALTER TABLE u ADD c TIMESTAMP DEFAULT '2026-01-01 00:00:00'; INSERT INTO u (id) VALUES (9)",
        "RENAME TABLE IF EXISTS u TO v, none TO noone; ALTER TABLE v RENAME COLUMN b TO bb; DROP TABLE IF EXISTS none",
    ] {
        pair.sql(statement);
        pair.flow.catch_up();
        pair.assert_same(statement);
    }
}

/// Rows that replace no others: the target's go first. Other statements may have overtaken the reading.
#[test]
fn a_table_without_a_key_is_read_again() {
    let server = servers::shared_mysql();
    let pair = Pair::new(server, Target::Server(server), "fol_keyless", "without_key = \"whole-row\"", "lanes = 2");
    pair.sql("CREATE TABLE t (a INT, b VARCHAR(20)); INSERT INTO t VALUES (1, 'x'), (1, 'x'), (2, NULL)");
    pair.flow.catch_up();
    for statements in [
        "ALTER TABLE t ADD at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, ADD twice INT AS (a * 2); INSERT INTO t (a) VALUES (3), (3)",
        "ALTER TABLE t ADD c DATETIME DEFAULT NOW(); INSERT INTO t (a) VALUES (4); RENAME TABLE t TO u; INSERT INTO u (a) VALUES (5)",
        "ALTER TABLE u ADD d TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3); DELETE FROM u WHERE a = 1 LIMIT 1; RENAME TABLE u TO t;
         ALTER TABLE t ADD e INT AS (a + 1), DROP c; INSERT INTO t (a) VALUES (6); UPDATE t SET b = 'y' WHERE a = 4",
        "CREATE TABLE none (a INT); ALTER TABLE none ADD b DATETIME NOT NULL; INSERT INTO none VALUES (1, '2026-01-01'), (1, '2026-01-01')",
    ] {
        pair.sql(statements);
        pair.flow.catch_up();
        pair.assert_same(statements);
    }
}

/// Names with schemas, and a name that two statements of one session mean.
#[test]
fn tables_move_between_schemas() {
    let source = servers::shared_mysql();
    let target = servers::shared_postgres();
    for name in ["fol_one", "fol_two"] {
        source.sql(&format!("CREATE DATABASE {name}"));
    }
    target.sql("CREATE DATABASE fol_schemas");
    target.sql_in("fol_schemas", "CREATE SCHEMA fol_one; CREATE SCHEMA fol_two");
    let flow = Flow::new(&format!(
        "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"fol_one.*\", \"fol_two.*\"]\n[sink.there]\ntype = \"postgres\"\n\
         url = \"{}\"\ntable = \"{{schema}}.{{table}}\"\ncreate = true\n[pipeline.copy]\nsource = \"here\"\nsink = \"there\"\nddl = \"follow\"\n",
        source.url("root", ""),
        target.url("postgres", "fol_schemas")
    ));
    source.sql("USE fol_one; CREATE TABLE a (id INT PRIMARY KEY); INSERT INTO a VALUES (1); CREATE TABLE fol_two.a (id INT PRIMARY KEY, x INT)");
    flow.catch_up();
    source.sql("USE fol_one; INSERT INTO fol_two.a VALUES (2, 3); RENAME TABLE a TO fol_two.b, fol_two.a TO a; INSERT INTO a VALUES (4, 5)");
    flow.catch_up();
    let rows = |table: &str| target.sql_in("fol_schemas", &format!("SELECT * FROM {table} ORDER BY 1"));
    assert_eq!((rows("fol_one.a").as_str(), rows("fol_two.b").as_str()), ("2\t3\n4\t5\n", "1\n"));
    source.sql("DROP DATABASE fol_two; ALTER TABLE fol_one.a ADD y INT DEFAULT 6");
    flow.catch_up();
    assert_eq!(rows("fol_one.a"), "2\t3\t6\n4\t5\t6\n");
    assert_eq!(target.sql_in("fol_schemas", "SELECT count(*) FROM pg_tables WHERE schemaname = 'fol_two'"), "0\n");
}

/// Recorded runs of gh-ost and pt-online-schema-change: the target's table is altered as the source's is, and its helpers are never seen.
fn online(recording: &str) {
    let fixture = project("tests/fixtures/online-ddl").join(recording);
    let flow = Flow::new(
        "[source.shop]\ntype = \"binlog-files\"\npaths = [\"mybin.*\"]\ntables = [\"shop.*\"]\n[sink.copy]\ntype = \"sqlite\"\n\
         path = \"copy.sqlite\"\ncreate = true\n[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\nlanes = 2\nddl = \"follow\"\n",
    );
    unpack("zstd", &fixture.join("mybin.000001.zst"), &flow.folder().join("mybin.000001"));
    flow.catch_up();
    let sqlite = |sql: &str| {
        let mut sqlite = Command::new("sqlite3");
        sqlite.args(["-batch", "-separator", "\t", "-nullvalue", "NULL", "copy.sqlite"]).arg(sql).current_dir(flow.folder());
        servers::run(sqlite, "")
    };
    assert_eq!(
        sqlite("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'tidegate%' ORDER BY 1"),
        "orders\nother\n"
    );
    for table in ["orders", "other"] {
        let file = flow.folder().join("table.tsv");
        unpack("gzip", &fixture.join(format!("{table}.tsv.gz")), &file);
        let text = fs::read_to_string(&file).expect("a table");
        let (heading, rows) = text.split_once('\n').expect("a heading");
        let there = sqlite(&format!("SELECT {} FROM {table} ORDER BY id", heading.replace('\t', ", ")));
        // Where gh-ost makes a text of an ENUM, it writes the number of the member into rows that are changed meanwhile.
        let member = |cell: &str| match cell {
            "1" => "new".to_owned(),
            "2" => "paid".to_owned(),
            "3" => "sent".to_owned(),
            cell => cell.to_owned(),
        };
        let is_state: Vec<bool> = heading.split('\t').map(|column| column == "state").collect();
        let plain = |line: &str| -> Vec<String> {
            let cells = line.split('\t').zip(&is_state);
            // The recording has all times with six digits.
            let time = |cell: &str| match cell.split_once('.') {
                Some((head, _)) if head.contains(':') => cell.trim_end_matches('0').trim_end_matches('.').to_owned(),
                _ => cell.to_owned(),
            };
            cells.map(|(cell, is_state)| if *is_state { member(cell) } else { time(cell) }).collect()
        };
        let (there, here): (Vec<_>, Vec<_>) = (there.lines().map(plain).collect(), rows.lines().map(plain).collect());
        let differ = here.iter().zip(&there).find(|(a, b)| a != b);
        assert!(here == there, "{recording}: {table}: {} and {} rows: {differ:?}", here.len(), there.len());
    }
}

fn unpack(program: &str, from: &Path, to: &Path) {
    let output = Command::new(program).arg("-dc").arg(from).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    fs::write(to, output.stdout).expect("write a file");
}

#[test]
fn gh_ost_with_names() {
    online("gh-ost-full");
}

#[test]
fn gh_ost_without_names() {
    online("gh-ost-minimal");
}

#[test]
fn pt_online_schema_change_with_names() {
    online("pt-osc-full");
}

#[test]
fn pt_online_schema_change_without_names() {
    online("pt-osc-minimal");
}

/// Statements and rows while tables are read for the first time.
#[test]
fn tables_are_altered_while_they_are_read() {
    let target = Target::Server(servers::shared_mysql());
    let of_source = "snapshot = { chunk_rows = 100, rows_per_second = 3000 }";
    let pair = Pair::new(servers::shared_mysql(), target, "fol_snap", of_source, "lanes = 2");
    for table in ["t", "u", "v"] {
        pair.sql(&format!("CREATE TABLE {table} (id INT PRIMARY KEY, a INT, b VARCHAR(20))"));
        let rows: Vec<String> = (0..4000).map(|n| format!("({n}, {n}, 'row')")).collect();
        pair.sql(&format!("INSERT INTO {table} VALUES {}", rows.join(", ")));
    }
    let mut run = pair.flow.start(&[], &[]);
    for n in 0..12 {
        pair.sql(&format!(
            "UPDATE t SET a = a + 1 WHERE id % 7 = {n}; ALTER TABLE t ADD c{n} INT DEFAULT {n}, ADD d{n} DATETIME DEFAULT NOW(); \
             RENAME TABLE u TO s_, v TO u, s_ TO v; DELETE FROM u WHERE id % 13 = {n}; ALTER TABLE v CHANGE b b VARCHAR({})",
            30 + n
        ));
        assert!(run.is_running(), "{}", run.log());
        if n == 6 {
            pair.sql("TRUNCATE TABLE u; INSERT INTO u (id) VALUES (5)");
        }
        if n % 4 == 3 {
            run.kill();
            run = pair.flow.start(&[], &[]);
        }
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    run.kill();
    pair.flow.catch_up();
    pair.assert_same("at the end");
}

/// Two sinks in one pipeline: both have each change before any row behind it.
#[test]
fn two_sinks_are_altered() {
    let pair = Pair::new(servers::shared_mysql(), Target::Server(servers::shared_postgres()), "fol_two_sinks", "", "");
    let manifest = pair.flow.manifest().replace("sink = \"there\"\n", "")
        + "[[pipeline.copy.routes]]\ntopics = [\"*\"]\nsink = \"there\"\n[[pipeline.copy.routes]]\ntopics = [\"*.t\"]\nsink = \"lite\"\n\
         [sink.lite]\ntype = \"sqlite\"\npath = \"lite.sqlite\"\ncreate = true\n";
    pair.flow.write(&manifest);
    pair.sql("CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE u (id INT PRIMARY KEY); INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)");
    pair.flow.catch_up();
    for (n, name) in ["ddl-settled:1", "ddl-step:2", "ddl-step-done:1", "ddl-made:1", "none:1"].into_iter().enumerate() {
        pair.sql(&format!(
            "ALTER TABLE t ADD c{n} INT DEFAULT {n}; INSERT INTO t (id) VALUES ({}); ALTER TABLE u ADD c{n} INT DEFAULT 1",
            n + 2
        ));
        let _ = pair.flow.start(&["--until", "caught-up"], &[("TIDEGATE_FAILPOINT", name)]).wait();
        pair.flow.catch_up();
        pair.assert_same(name);
        let mut sqlite = Command::new("sqlite3");
        sqlite.args(["-batch", "-separator", "\t", "-nullvalue", "NULL", "lite.sqlite", "SELECT * FROM t ORDER BY id"]);
        sqlite.current_dir(pair.flow.folder());
        assert_eq!(servers::run(sqlite, ""), pair.source.sql_in(&pair.name, "SELECT * FROM t ORDER BY id"));
    }
}

/// A server that keeps names in small letters logs statements as they were written.
#[test]
fn names_in_capital_letters() {
    let source = servers::mariadb(&["--lower-case-table-names=1"]);
    let pair = Pair::new(&source, Target::Sqlite, "fol_lower", "", "");
    pair.sql("CREATE TABLE Orders (id INT PRIMARY KEY); INSERT INTO ORDERS VALUES (1)");
    pair.flow.catch_up();
    for statement in [
        "ALTER TABLE OrderS ADD a INT DEFAULT 2; INSERT INTO orders VALUES (3, 4)",
        "RENAME TABLE ORDERS TO Orders2; INSERT INTO orders2 VALUES (5, 6)",
        "TRUNCATE TABLE FOL_LOWER.ORDERS2; INSERT INTO orders2 VALUES (7, 8)",
        "CREATE TABLE Other LIKE Orders2; INSERT INTO other SELECT * FROM orders2; DROP TABLE ORDERS2",
    ] {
        pair.sql(statement);
        pair.flow.catch_up();
        pair.assert_same(statement);
    }
}

/// What a user has moved is made anew.
#[test]
fn a_pipeline_that_is_begun_again() {
    let pair = Pair::new(servers::shared_mysql(), Target::Sqlite, "fol_again", "start = \"earliest\"", "");
    pair.sql("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)");
    pair.flow.catch_up();
    for _ in 0..2 {
        pair.at_target("DROP TABLE t");
        let (code, _, stderr) = pair.flow.call(&["cursor", "reset", "copy"]);
        assert_eq!(code, 0, "{stderr}");
        pair.flow.catch_up();
        pair.assert_same("begun again");
        pair.sql("DELETE FROM t");
        pair.flow.catch_up();
        pair.assert_same("an empty table");
    }
}

/// `tidegate check` says which rights following lacks.
#[test]
fn rights_are_checked() {
    let source = servers::shared_mysql();
    let pair = Pair::new(source, Target::Server(source), "fol_rights", "", "");
    pair.sql("CREATE TABLE t (id INT PRIMARY KEY)");
    source.sql("CREATE TABLE fol_rights_copy.t (id INT PRIMARY KEY); CREATE USER fol_writer; GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `fol\\_rights\\_copy`.* TO fol_writer");
    let check = |manifest: &str| {
        pair.flow.write(manifest);
        let (_, stdout, stderr) = pair.flow.call(&["check"]);
        stdout + &stderr
    };
    let as_root = pair.flow.manifest();
    assert!(!check(&as_root).contains("follow"), "root has all rights");
    let as_writer = as_root.replace(&source.url("root", "fol_rights_copy"), &source.url("fol_writer", "fol_rights_copy"));
    let said = check(&as_writer);
    assert!(said.contains("ddl = \"follow\": the user has no right to ALTER, DROP in the database"), "{said}");

    let postgres = servers::shared_postgres();
    postgres.sql("CREATE DATABASE fol_rights; CREATE ROLE fol_writer LOGIN");
    postgres.sql_in("fol_rights", "CREATE TABLE t (id INT PRIMARY KEY); GRANT ALL ON t TO fol_writer");
    let there = format!("type = \"mysql\"\nurl = \"{}\"", source.url("root", "fol_rights_copy"));
    let user =
        |user: &str| as_root.replace(&there, &format!("type = \"postgres\"\nurl = \"{}\"", postgres.url(user, "fol_rights")));
    assert!(!check(&user("postgres")).contains("follow"));
    let said = check(&user("fol_writer"));
    assert!(said.contains("does not own table `t`") && said.contains("`tidegate_ddl`"), "{said}");
}

/// A table that loses its key while it waits to be read again has two reasons for that, and is read once.
#[test]
fn a_table_that_loses_its_key_before_it_is_read_again() {
    let of_source = "without_key = \"whole-row\"";
    let pair =
        Pair::new(servers::shared_mysql(), Target::Server(servers::shared_postgres()), "fol_loses_key", of_source, "lanes = 2");
    pair.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1), (2, 2)");
    pair.flow.catch_up();
    let statements = "ALTER TABLE t ADD a TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP; ALTER TABLE t DROP PRIMARY KEY; \
                      ALTER TABLE t ADD b TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP; ALTER TABLE t DROP v";
    pair.sql(statements);
    pair.flow.catch_up();
    pair.assert_same(statements);
    // A key of all columns, which is another thing than none.
    pair.sql("CREATE TABLE w (a INT, b INT, PRIMARY KEY (b, a)); INSERT INTO w VALUES (1, 1), (2, 2)");
    pair.sql("CREATE TABLE x (a INT PRIMARY KEY); INSERT INTO x VALUES (1), (2)");
    pair.flow.catch_up();
    let statements = "ALTER TABLE w DROP PRIMARY KEY; INSERT INTO w VALUES (1, 1), (1, 1); DELETE FROM w WHERE a = 2; \
                      ALTER TABLE x DROP PRIMARY KEY; INSERT INTO x VALUES (1), (1); DELETE FROM x WHERE a = 2";
    pair.sql(statements);
    pair.flow.catch_up();
    pair.assert_same(statements);
    // Rows that the key at the target would not let in.
    let statements = "CREATE TABLE u (id INT PRIMARY KEY, v INT); INSERT INTO u VALUES (1, 1), (2, 2); \
                      ALTER TABLE u ADD a TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP; \
                      ALTER TABLE u DROP PRIMARY KEY; UPDATE u SET id = 1; INSERT INTO u (id, v) VALUES (1, 3); \
                      CREATE TABLE y (id INT NOT NULL UNIQUE, v INT); INSERT INTO y VALUES (1, 1), (2, 2); \
                      ALTER TABLE y ADD a TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP; \
                      ALTER TABLE y MODIFY id INT; UPDATE y SET id = NULL";
    pair.sql(statements);
    pair.flow.catch_up();
    pair.assert_same(statements);
}
