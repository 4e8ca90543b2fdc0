//! What `--where` reads while rows change, and values that are longer than a chunk.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_tests::flow::Flow;
use tidegate_tests::load::Random;
use tidegate_tests::servers::{self, Kind, Server, wait_until};

use super::{ROWS, SMALL_CHUNKS, Snapshot, TABLES, Target, changes, fill};

/// Rows that a condition takes are read while they begin and cease to meet it: none is missing, and none is older than the stream.
fn read_where(source: &Server, name: &'static str) {
    let of_source = format!("start = \"now\"\n{SMALL_CHUNKS}");
    let snapshot = Snapshot::new(source, Target::Server(servers::shared_mysql()), name, &of_source, "lanes = 3");
    fill(source, name, ROWS);
    let mut run = snapshot.flow.start(&[], &[]);
    wait_until("it runs", || run.log().contains("begins at"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut random = Random::new(77);
            while !done.load(Ordering::Relaxed) {
                source.sql_in(name, &changes(&mut random, ROWS, 60));
            }
        });
        for _ in 0..2 {
            let (code, _, stderr) =
                snapshot.flow.call(&["snapshot", "--tables", &format!("{name}.*"), "--where", "v < 2 AND note LIKE '%'"]);
            assert_eq!(code, 0, "{stderr}");
        }
        wait_until("the tables are read", || run.log().contains("all tables are read"));
        done.store(true, Ordering::Relaxed);
        writer.join().expect("the writer");
    });
    run.signal("TERM");
    assert!(run.wait().success(), "{}", run.log());
    snapshot.flow.catch_up();
    let rows = |server: &Server, database: &str, table: &str, key: &str| -> BTreeMap<String, String> {
        let key = if key == "id" { "HEX(id)".to_owned() } else { format!("CONCAT_WS(' ', {key})") };
        let lines = server.sql_in(database, &format!("SELECT {key}, v, note FROM {table}"));
        lines.lines().filter_map(|line| line.split_once('\t')).map(|(key, rest)| (key.to_owned(), rest.to_owned())).collect()
    };
    for (table, _, key) in TABLES {
        let here = rows(source, name, table, key);
        let there = rows(servers::shared_mysql(), &format!("{name}_copy"), table, key);
        let missing =
            here.iter().find(|(key, row)| row.starts_with(['0', '1']) && row[1..].starts_with('\t') && !there.contains_key(*key));
        assert!(missing.is_none(), "{table}: {missing:?} is missing");
        let other = there.iter().find(|(key, row)| here.get(*key) != Some(row));
        assert!(other.is_none(), "{table}: {other:?} is not what the source has");
    }
}

#[test]
fn a_condition_under_change_of_mysql() {
    read_where(servers::shared_mysql(), "snap_where_my");
}

#[test]
fn a_condition_under_change_of_mariadb() {
    read_where(servers::shared_mariadb(), "snap_where_maria");
}

/// Values of 64 MiB, several in one row too, are read as they are.
fn long_values(source: &Server, target: Option<&Server>, name: &str) {
    source.sql(&format!(
        "CREATE DATABASE {name}; CREATE TABLE {name}.files (id INT PRIMARY KEY, data LONGBLOB, text LONGTEXT CHARACTER SET latin1)"
    ));
    source.sql_in(
        name,
        "INSERT INTO files VALUES (1, REPEAT(x'00ff27', 22369620), 'a'), (2, 'b', REPEAT('\u{e9}', 33554432)), (3, 'c', 'c');\
         INSERT INTO files VALUES (4, REPEAT('x', 67108864), REPEAT('y', 67108864)), (5, NULL, '')",
    );
    let sink = match target {
        None => "type = \"sqlite\"\npath = \"copy.sqlite\"".to_owned(),
        Some(server) => {
            server.sql(&format!("CREATE DATABASE {name}_copy"));
            let (kind, user) = if server.kind == Kind::Postgres { ("postgres", "postgres") } else { ("mysql", "root") };
            format!("type = \"{kind}\"\nurl = \"{}\"", server.url(user, &format!("{name}_copy")))
        }
    };
    let flow = Flow::new(&format!(
        "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{name}.*\"]\n[sink.there]\n{sink}\ncreate = true\ntable = \"files\"\n\
         [pipeline.copy]\nsource = \"here\"\nsink = \"there\"\n",
        source.url("root", "")
    ));
    flow.catch_up();
    let here = source.sql_in(
        name,
        "SELECT id, LENGTH(data), CHAR_LENGTH(text), SHA2(data, 256), SHA2(CONVERT(text USING utf8mb4), 256) FROM files ORDER BY id",
    );
    let there = match target {
        Some(server) if server.kind == Kind::Postgres => server.sql_in(
            &format!("{name}_copy"),
            "SELECT id, length(data), char_length(text), encode(sha256(data), 'hex'), encode(sha256(convert_to(text, 'UTF8')), 'hex') FROM files ORDER BY id",
        ),
        Some(server) => server.sql_in(
            &format!("{name}_copy"),
            "SELECT id, LENGTH(data), CHAR_LENGTH(text), SHA2(data, 256), SHA2(CONVERT(text USING utf8mb4), 256) FROM files ORDER BY id",
        ),
        None => {
            let mut sqlite = Command::new("sqlite3");
            let query = "SELECT id, length(data), length(text) FROM files ORDER BY id";
            sqlite.args(["-batch", "-separator", "\t", "-nullvalue", "NULL", "copy.sqlite", query]).current_dir(flow.folder());
            servers::run(sqlite, "")
        }
    };
    let columns = if target.is_some() { 5 } else { 3 };
    let cut = |text: &str| {
        let line = |line: &str| line.split('\t').take(columns).map(|v| v.replace("NULL", "")).collect::<Vec<_>>().join("\t");
        text.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(cut(&here), cut(&there));
    assert_eq!(here.lines().count(), 5);
}

#[test]
fn long_values_of_mysql() {
    let source = servers::mysql(&["--max-allowed-packet=128M"]);
    let target = servers::mysql(&["--max-allowed-packet=512M", "--skip-log-bin"]);
    long_values(&source, Some(&target), "snap_long_my");
    long_values(&source, None, "snap_long_lite");
}

#[test]
fn long_values_of_mariadb() {
    let source = servers::mariadb(&["--max-allowed-packet=128M"]);
    long_values(&source, Some(servers::shared_postgres()), "snap_long_maria");
}
