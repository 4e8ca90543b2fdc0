//! Tables that are read while they change, through plugins: one that makes other keys, one that takes rows away, one that chooses the topic.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_tests::flow::Flow;
use tidegate_tests::load::Random;
use tidegate_tests::project;
use tidegate_tests::servers::{self, Kind, Server};

const ROWS: u64 = 4000;

/// A name, of which `kind` tells writings that the collation takes for one.
fn name(n: u64, kind: u64) -> String {
    let (upper, accent) = (kind % 2 == 1, kind % 3 == 1);
    format!("{}{}e n{n}", if upper { "L" } else { "l" }, if accent { "é" } else { "e" })
}

fn fill(source: &Server, database: &str) {
    source.sql(&format!("CREATE DATABASE {database} CHARACTER SET utf8mb4"));
    let mut sql = String::from(
        "SET NAMES utf8mb4; CREATE TABLE people (name VARCHAR(40) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT NOT NULL, \
         open INT NOT NULL, note VARCHAR(40));\n\
         CREATE TABLE pairs (id INT, name VARCHAR(40) COLLATE utf8mb4_general_ci, v INT NOT NULL, open INT NOT NULL, \
         note VARCHAR(40), PRIMARY KEY (id, name));\n",
    );
    for n in 0..ROWS {
        let _ = writeln!(
            sql,
            "INSERT INTO people VALUES ('{0}', 0, {1}, 'p{n}'); INSERT INTO pairs VALUES ({2}, '{0}', 0, {1}, 'q{n}');",
            name(n, n),
            n % 3,
            n % 5
        );
    }
    source.sql_in(database, &format!("BEGIN; {sql} COMMIT;"));
}

fn changes(random: &mut Random, transactions: u64) -> String {
    let mut sql = String::from("SET NAMES utf8mb4;\n");
    for _ in 0..transactions {
        let (any, other) = (random.below(ROWS * 2), random.below(ROWS * 2));
        let (any_name, other_name) = (name(any, random.below(6)), name(other, random.below(6)));
        let (table, open) = (["people", "pairs"][random.below(2) as usize], random.below(3));
        let _ = match random.below(6) {
            0 => writeln!(
                sql,
                "REPLACE INTO people VALUES ('{any_name}', 1, {open}, 'p{any}'); \
                 REPLACE INTO pairs VALUES ({}, '{any_name}', 1, {open}, 'q{any}');",
                any % 5
            ),
            1 => writeln!(sql, "UPDATE {table} SET v = v + 1, open = {open} WHERE name = '{any_name}';"),
            2 => writeln!(sql, "DELETE FROM {table} WHERE name = '{any_name}';"),
            // Another writing of the same key, and another key.
            3 => writeln!(sql, "UPDATE {table} SET name = '{}', v = v + 1 WHERE name = '{any_name}';", name(any, random.below(6))),
            4 => writeln!(sql, "UPDATE IGNORE {table} SET name = '{other_name}', v = v + 1 WHERE name = '{any_name}';"),
            // Two rows change places.
            _ => writeln!(
                sql,
                "BEGIN; UPDATE people SET name = 'between' WHERE name = '{any_name}'; \
                 UPDATE IGNORE people SET name = '{any_name}' WHERE name = '{other_name}'; \
                 UPDATE IGNORE people SET name = '{other_name}' WHERE name = 'between'; DELETE FROM people WHERE name = 'between'; COMMIT;"
            ),
        };
    }
    sql
}

/// Masked names are keys of the target, rows with `open = 0` are not there, and each row is where `country` says.
fn through_plugins(source: &Server, target: Option<&Server>, database: &str, pipeline: &str) {
    let sink = match target {
        None => "type = \"sqlite\"\npath = \"copy.sqlite\"".to_owned(),
        Some(server) => {
            server.sql(&format!("CREATE DATABASE {database}_copy"));
            let (kind, user) = if server.kind == Kind::Postgres { ("postgres", "postgres") } else { ("mysql", "root") };
            format!("type = \"{kind}\"\nurl = \"{}\"", server.url(user, &format!("{database}_copy")))
        }
    };
    let plugins = project("target/plugins");
    let flow = Flow::new(&format!(
        "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{database}.*\"]\n\
         snapshot = {{ chunk_rows = 150, rows_per_second = 6000 }}\n\
         [plugin.mask]\npath = \"{1}/mask.wasm\"\nconfig = {{ columns = [\"name\"], style = \"hash\", key = \"secret\" }}\n\
         [plugin.open]\npath = \"{1}/filter.wasm\"\nconfig = {{ where = [{{ column = \"open\", op = \">\", value = 0 }}] }}\n\
         [sink.there]\n{sink}\ntable = \"{{table}}\"\ncreate = true\n\
         [pipeline.copy]\nsource = \"here\"\nsink = \"there\"\nplugins = [\"mask\", \"open\"]\n{pipeline}\n",
        source.url("root", ""),
        plugins.display()
    ));
    fill(source, database);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut random = Random::new(database.len() as u64);
            while !done.load(Ordering::Relaxed) {
                source.sql_in(database, &changes(&mut random, 60));
                std::thread::sleep(Duration::from_millis(40));
            }
        });
        for millis in [300, 500, 400] {
            let mut run = flow.start(&[], &[]);
            std::thread::sleep(Duration::from_millis(millis));
            run.kill();
        }
        let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
        done.store(true, Ordering::Relaxed);
        assert_eq!(code, 0, "{stderr}");
        writer.join().expect("the writer");
    });
    flow.catch_up();
    for table in ["people", "pairs"] {
        let there = |query: &str| match target {
            Some(server) => server.sql_in(&format!("{database}_copy"), query),
            None => {
                let mut sqlite = Command::new("sqlite3");
                sqlite.args(["-batch", "-separator", "\t", "copy.sqlite", query]).current_dir(flow.folder());
                servers::run(sqlite, "")
            }
        };
        let counted = |text: String| {
            let mut rows: BTreeMap<String, usize> = BTreeMap::new();
            text.lines().for_each(|line| *rows.entry(line.to_owned()).or_default() += 1);
            rows
        };
        let query = format!("SELECT note, v, open FROM {table} WHERE open > 0");
        let (here, at_target) = (counted(source.sql_in(database, &query)), counted(there(&query)));
        let differ =
            here.iter().find(|row| !at_target.contains_key(row.0)).or(at_target.iter().find(|row| !here.contains_key(row.0)));
        assert!(here == at_target, "{table}: {} rows at the source, {} at the target: {differ:?}", here.len(), at_target.len());
        assert_eq!(there(&format!("SELECT COUNT(*) FROM {table} WHERE open = 0")).trim(), "0");
        assert_eq!(there(&format!("SELECT COUNT(*) FROM {table} WHERE LENGTH(name) <> 32")).trim(), "0");
    }
}

#[test]
fn keys_that_a_plugin_makes_under_change_into_mysql() {
    through_plugins(servers::shared_mysql(), Some(servers::shared_mysql()), "snap_plug_my", "lanes = 3");
}

#[test]
fn keys_that_a_plugin_makes_under_change_into_postgres_exactly_once() {
    let pipeline = "lanes = 3\ndelivery = \"exactly-once\"";
    through_plugins(servers::shared_mysql(), Some(servers::shared_postgres()), "snap_plug_pg", pipeline);
}

#[test]
fn keys_that_a_plugin_makes_under_change_of_mariadb_into_sqlite() {
    through_plugins(servers::shared_mariadb(), None, "snap_plug_lite", "lanes = 2");
}
