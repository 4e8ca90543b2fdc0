//! From a full table to its stream: tables that are read while they change, and what the target has at the end.

mod cut;
mod keys;
mod load;
mod plugins;
mod values;

use std::fmt::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_tests::flow::Flow;
use tidegate_tests::load::Random;
use tidegate_tests::servers::{self, Kind, Server};

mod sysbench;

/// Every kind of key. `version` tells one state of a row from the next.
const TABLES: [(&str, &str, &str); 8] = [
    ("numbers", "id BIGINT PRIMARY KEY, v INT NOT NULL, note VARCHAR(60)", "id"),
    ("pairs", "a INT NOT NULL, b VARCHAR(20) NOT NULL, v INT NOT NULL, note VARCHAR(60), PRIMARY KEY (a, b)", "a, b"),
    ("names", "name VARCHAR(40) PRIMARY KEY, v INT NOT NULL, note VARCHAR(60)", "name"),
    ("bytes", "id BINARY(8) PRIMARY KEY, v INT NOT NULL, note VARCHAR(60)", "id"),
    ("amounts", "amount DECIMAL(20,5) PRIMARY KEY, v INT NOT NULL, note VARCHAR(60)", "amount"),
    ("times", "at DATETIME(6) NOT NULL, day DATE NOT NULL, v INT NOT NULL, note VARCHAR(60), PRIMARY KEY (day, at)", "day, at"),
    (
        "kinds",
        "kind ENUM('small', 'big', 'odd') NOT NULL, n DOUBLE NOT NULL, v INT NOT NULL, note VARCHAR(60), PRIMARY KEY (kind, n)",
        "kind, n",
    ),
    ("uniques", "code VARCHAR(20) CHARACTER SET latin1 NOT NULL UNIQUE, v INT NOT NULL, note VARCHAR(60)", "code"),
];

/// The values of the key `n` of a table.
fn key(table: &str, n: u64) -> String {
    match table {
        // Dense at the beginning, and a few far out.
        "numbers" if n.is_multiple_of(50) => format!("{}", n as i64 * 1_000_000_007 - 9_000_000_000),
        "numbers" => format!("{n}"),
        "pairs" => format!("{}, 'b{}'", n % 7, n / 7),
        "names" => format!("'Name-é{n:x}'"),
        "bytes" => format!("x'{:016x}'", n << 13),
        "amounts" => format!("{}.{:05}", n as i64 - 500, n % 100_000),
        "times" => format!("'2024-01-01 00:00:00.{:06}', '2024-01-{:02}'", n, 1 + n % 28),
        "kinds" => format!("'{}', {}.5", ["small", "big", "odd", "big"][n as usize % 4], n as i64 - 1000),
        "uniques" => format!("'Größe {n}'"),
        _ => panic!("{table}"),
    }
}

fn key_columns(table: &str) -> &'static str {
    match table {
        "times" => "at, day",
        _ => TABLES.iter().find(|(name, ..)| *name == table).expect("a table").2,
    }
}

/// The tables of `name`, each with `rows` rows.
fn fill(server: &Server, name: &str, rows: u64) {
    server.sql(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
    for (table, columns, _) in TABLES {
        let mut sql = format!("SET NAMES utf8mb4; CREATE TABLE {table} ({columns});\n");
        for first in (0..rows).step_by(1000) {
            let values: Vec<String> =
                (first..rows.min(first + 1000)).map(|n| format!("({}, 0, 'row {n}')", key(table, n))).collect();
            let _ = writeln!(sql, "INSERT INTO {table} VALUES {};", values.join(", "));
        }
        server.sql_in(name, &sql);
    }
}

/// Transactions of inserts, updates, deletes and changes of keys, all over the tables.
fn changes(random: &mut Random, rows: u64, transactions: u64) -> String {
    let mut sql = String::from("SET NAMES utf8mb4;\n");
    for _ in 0..transactions {
        sql.push_str("BEGIN;\n");
        for _ in 0..1 + random.below(4) {
            let table = TABLES[random.below(TABLES.len() as u64) as usize].0;
            let (columns, any, new) = (key_columns(table), key(table, random.below(rows)), key(table, random.below(rows * 2)));
            let _ = match random.below(10) {
                0..=2 => writeln!(sql, "REPLACE INTO {table} VALUES ({new}, {}, 'new');", random.below(1 << 30)),
                3..=6 => writeln!(sql, "UPDATE {table} SET v = v + 1, note = 'changed' WHERE ({columns}) = ({any});"),
                7 | 8 => writeln!(sql, "DELETE FROM {table} WHERE ({columns}) = ({any});"),
                _ => {
                    let set: Vec<String> =
                        columns.split(", ").zip(new.split(", ")).map(|(column, value)| format!("{column} = {value}")).collect();
                    writeln!(sql, "UPDATE IGNORE {table} SET {}, v = v + 1 WHERE ({columns}) = ({any});", set.join(", "))
                }
            };
        }
        sql.push_str(if random.below(20) == 0 { "ROLLBACK;\n" } else { "COMMIT;\n" });
    }
    sql
}

/// Where the tables go.
enum Target<'s> {
    Server(&'s Server),
    Sqlite,
}

struct Snapshot<'s> {
    source: &'s Server,
    target: Target<'s>,
    name: &'static str,
    flow: Flow,
}

impl<'s> Snapshot<'s> {
    fn new(source: &'s Server, target: Target<'s>, name: &'static str, of_source: &str, of_pipeline: &str) -> Snapshot<'s> {
        let sink = match &target {
            Target::Sqlite => "type = \"sqlite\"\npath = \"copy.sqlite\"".to_owned(),
            Target::Server(server) => {
                server.sql(&format!("CREATE DATABASE {name}_copy"));
                let (kind, user) = if server.kind == Kind::Postgres { ("postgres", "postgres") } else { ("mysql", "root") };
                format!("type = \"{kind}\"\nurl = \"{}\"", server.url(user, &format!("{name}_copy")))
            }
        };
        let flow = Flow::new(&format!(
            "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{name}.*\"]\n{of_source}\n[sink.there]\n{sink}\ncreate = true\n\
             [pipeline.copy]\nsource = \"here\"\nsink = \"there\"\n{of_pipeline}\n",
            source.url("root", "")
        ));
        Snapshot { source, target, name, flow }
    }

    /// Every table has the same rows at both ends, by the clients of both.
    fn assert_same(&self) {
        for (table, ..) in TABLES {
            let text = matches!(table, "names" | "pairs" | "uniques");
            let hex = |column: &str, kind: Option<Kind>| match (column, kind) {
                ("id", Some(Kind::Postgres)) if table == "bytes" => "upper(encode(id, 'hex'))".to_owned(),
                ("id", _) if table == "bytes" => "hex(id)".to_owned(),
                ("name" | "b" | "code", Some(Kind::Postgres)) if text => {
                    format!("upper(encode(convert_to({column}, 'UTF8'), 'hex'))")
                }
                ("name" | "b" | "code", None) if text => format!("hex({column})"),
                ("name" | "b" | "code", _) if text => format!("hex(CONVERT({column} USING utf8mb4))"),
                ("at", Some(Kind::Postgres)) => "to_char(at, 'YYYY-MM-DD HH24:MI:SS.US')".to_owned(),
                _ => column.to_owned(),
            };
            let query = |kind: Option<Kind>| {
                let columns: Vec<String> = key_columns(table).split(", ").map(|c| hex(c, kind)).collect();
                format!("SELECT {}, v, note FROM {table};", columns.join(", "))
            };
            let sorted = |text: String| {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            let here = sorted(self.source.sql_in(self.name, &query(Some(self.source.kind))));
            let there = sorted(match &self.target {
                Target::Server(server) => server.sql_in(&format!("{}_copy", self.name), &query(Some(server.kind))),
                Target::Sqlite => {
                    let mut sqlite = Command::new("sqlite3");
                    sqlite.args(["-batch", "-separator", "\t", "-nullvalue", "NULL", "copy.sqlite"]).arg(query(None));
                    sqlite.current_dir(self.flow.folder());
                    servers::run(sqlite, "")
                }
            });
            let differ = here.iter().zip(&there).find(|(a, b)| a != b);
            assert!(
                here == there,
                "{}: {table}: {} rows at the source, {} at the target; first difference: {differ:?}",
                self.name,
                here.len(),
                there.len()
            );
        }
    }
}

const ROWS: u64 = 6000;

/// Reads the tables while somebody changes them, and compares.
fn under_change(snapshot: &Snapshot<'_>, rows: u64) {
    fill(snapshot.source, snapshot.name, rows);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut random = Random::new(snapshot.name.len() as u64);
            while !done.load(Ordering::Relaxed) {
                snapshot.source.sql_in(snapshot.name, &changes(&mut random, rows, 60));
                // A target that cannot keep up with the changes would never get to the end.
                let in_transactions = snapshot.flow.manifest().contains("transaction");
                std::thread::sleep(Duration::from_millis(if in_transactions { 600 } else { 40 }));
            }
        });
        let (code, _, stderr) = snapshot.flow.call(&["run", "--until", "caught-up"]);
        done.store(true, Ordering::Relaxed);
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains("all tables are read"), "{stderr}");
        writer.join().expect("the writer");
    });
    snapshot.flow.catch_up();
    snapshot.assert_same();
}

const SMALL_CHUNKS: &str = "snapshot = { chunk_rows = 300 }";

#[test]
fn mysql_to_sqlite_under_change() {
    let snapshot = Snapshot::new(servers::shared_mysql(), Target::Sqlite, "snap_my_lite", SMALL_CHUNKS, "");
    under_change(&snapshot, ROWS);
}

#[test]
fn mysql_to_mysql_under_change_exactly_once() {
    let target = Target::Server(servers::shared_mysql());
    let pipeline = "lanes = 3\ndelivery = \"exactly-once\"";
    under_change(&Snapshot::new(servers::shared_mysql(), target, "snap_my_my", SMALL_CHUNKS, pipeline), ROWS);
}

#[test]
fn mysql_to_postgres_under_change() {
    let target = Target::Server(servers::shared_postgres());
    under_change(&Snapshot::new(servers::shared_mysql(), target, "snap_my_pg", SMALL_CHUNKS, "lanes = 3"), ROWS);
}

#[test]
fn mariadb_to_mysql_under_change_in_transactions() {
    let target = Target::Server(servers::shared_mysql());
    let pipeline = "ordering = \"transaction\"";
    under_change(&Snapshot::new(servers::shared_mariadb(), target, "snap_maria_my", SMALL_CHUNKS, pipeline), ROWS);
}

#[test]
fn mariadb_to_sqlite_under_change() {
    under_change(&Snapshot::new(servers::shared_mariadb(), Target::Sqlite, "snap_maria_lite", SMALL_CHUNKS, "lanes = 3"), ROWS);
}

fn without_gtids() -> Server {
    servers::mysql(&["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"])
}

const SIGNALLED: &str = "snapshot = { chunk_rows = 300, signal_table = \"tidegate.signal\" }";

fn with_signal_table() -> Server {
    let source = without_gtids();
    source.sql("CREATE DATABASE tidegate; CREATE TABLE tidegate.signal (id INT PRIMARY KEY, n BIGINT NOT NULL)");
    source
}

#[test]
fn mysql_without_gtids_under_change() {
    let source = without_gtids();
    under_change(&Snapshot::new(&source, Target::Sqlite, "snap_plain", SMALL_CHUNKS, "lanes = 3"), ROWS);
}

/// With a table that may be written to, nothing is locked: a row that somebody else holds keeps nobody from reading.
#[test]
fn mysql_without_gtids_and_with_a_signal_table_under_change() {
    let source = with_signal_table();
    let snapshot = Snapshot::new(&source, Target::Sqlite, "snap_signal", SIGNALLED, "lanes = 3");
    std::thread::scope(|scope| {
        fill(&source, snapshot.name, ROWS);
        let held = "BEGIN; UPDATE numbers SET v = v + 1 LIMIT 1; SELECT SLEEP(20); COMMIT";
        let holder = scope.spawn(|| source.sql_in(snapshot.name, held));
        // Not by INNODB_TRX, which does not change for whoever asks more often than every 100 ms.
        let sleeping = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE state = 'User sleep'";
        servers::wait_until("a row is held", || source.sql(sleeping).trim() != "0");
        snapshot.flow.catch_up();
        assert!(!holder.is_finished(), "reading waited for a lock");
    });
    let signals: u64 = source.sql("SELECT n FROM tidegate.signal").trim().parse().expect("a number");
    assert!(signals > 1, "{signals}");
    snapshot.flow.catch_up();
    snapshot.assert_same();
}

#[test]
fn mysql_with_a_signal_table_under_change() {
    let source = with_signal_table();
    under_change(&Snapshot::new(&source, Target::Sqlite, "snap_signals", SIGNALLED, "lanes = 3"), ROWS);
}

/// The target's connections are cut all the time: of each batch it is told whether it was committed.
fn connections_are_cut(snapshot: &Snapshot<'_>, target: &Server) {
    fill(snapshot.source, snapshot.name, ROWS);
    let mut random = Random::new(5);
    let mut run = snapshot.flow.start(&["--until", "caught-up"], &[]);
    while run.is_running() {
        snapshot.source.sql_in(snapshot.name, &changes(&mut random, ROWS, 10));
        target.cut_connections(&format!("{}_copy", snapshot.name));
    }
    assert!(run.wait().success(), "{}", run.log());
    assert!(run.log().contains("sink is away"), "{}", run.log());
    snapshot.flow.catch_up();
    snapshot.assert_same();
}

/// Slow enough that connections are cut in the middle.
const SLOW: &str = "snapshot = { chunk_rows = 200, rows_per_second = 8000 }";

#[test]
fn nothing_is_lost_where_connections_to_mysql_are_cut() {
    let target = servers::shared_mariadb();
    let pipeline = "lanes = 3\nbatch = { rows = 50 }";
    let snapshot = Snapshot::new(servers::shared_mysql(), Target::Server(target), "snap_cut_my", SLOW, pipeline);
    connections_are_cut(&snapshot, target);
}

#[test]
fn nothing_is_lost_where_connections_to_postgres_are_cut() {
    let target = servers::shared_postgres();
    let pipeline = "lanes = 3\nbatch = { rows = 50 }";
    let snapshot = Snapshot::new(servers::shared_mysql(), Target::Server(target), "snap_cut_pg", SLOW, pipeline);
    connections_are_cut(&snapshot, target);
}

/// SIGKILL at each place of the flow and at random moments: what was read is not read again from the beginning, and nothing is lost.
#[test]
fn a_snapshot_goes_on_after_kill_9() {
    let target = Target::Server(servers::shared_mysql());
    let source = "snapshot = { chunk_rows = 100, rows_per_second = 20000 }";
    let snapshot = Snapshot::new(servers::shared_mysql(), target, "snap_kill", source, "lanes = 2");
    fill(snapshot.source, snapshot.name, ROWS);
    let mut random = Random::new(11);
    let places = tidegate::failpoint::TABLE_NAMES.into_iter().chain([
        "sink-after",
        "batch-settled",
        "cursor-before-flush",
        "cursor-flushed",
    ]);
    for place in places {
        for count in [1, 4] {
            let mut run = snapshot.flow.start(&[], &[("TIDEGATE_FAILPOINT", &format!("{place}:{count}"))]);
            servers::wait_until("the failpoint is passed", || {
                snapshot.source.sql_in(snapshot.name, &changes(&mut random, ROWS, 10));
                !run.is_running()
            });
            assert_eq!(run.wait().code(), None, "{place}:{count}: {}", run.log());
        }
    }
    for _ in 0..20 {
        snapshot.source.sql_in(snapshot.name, &changes(&mut random, ROWS, 10));
        let mut run = snapshot.flow.start(&[], &[]);
        std::thread::sleep(Duration::from_millis(50 + random.below(400)));
        run.kill();
    }
    snapshot.flow.catch_up();
    snapshot.assert_same();
}

/// Rows that nothing tells apart are neither lost nor doubled: neither those that are there twice nor those that change meanwhile.
fn without_key(source: &Server, name: &'static str) {
    let of_source = "without_key = \"whole-row\"";
    let snapshot = Snapshot::new(
        source,
        Target::Server(servers::shared_postgres()),
        name,
        of_source,
        "lanes = 2\ndelivery = \"exactly-once\"",
    );
    source.sql(&format!(
        "CREATE DATABASE {name}; CREATE TABLE {name}.log (n INT, note VARCHAR(40)); CREATE TABLE {name}.empty (n INT)"
    ));
    source.sql(&format!("CREATE TABLE {name}.t (id INT PRIMARY KEY, n INT)"));
    let rows: Vec<String> = (0..30_000).map(|n| format!("({}, 'row {}')", n % 5000, n % 700)).collect();
    source.sql_in(name, &format!("INSERT INTO log VALUES {}; INSERT INTO t VALUES (1, 1), (2, 2)", rows.join(", ")));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut random = Random::new(3);
            while !done.load(Ordering::Relaxed) {
                let n = random.below(6000);
                source.sql_in(
                    name,
                    &format!(
                        "INSERT INTO log VALUES ({n}, 'new'), ({n}, 'new'); UPDATE log SET note = 'changed' WHERE n = {} LIMIT 1; \
                         DELETE FROM log WHERE n = {} LIMIT 1; REPLACE INTO t VALUES ({n}, 3);",
                        n / 2,
                        n / 3
                    ),
                );
            }
        });
        let (code, _, stderr) = snapshot.flow.call(&["run", "--until", "caught-up"]);
        std::thread::sleep(Duration::from_millis(300));
        done.store(true, Ordering::Relaxed);
        assert_eq!(code, 0, "{stderr}");
        writer.join().expect("the writer");
    });
    snapshot.flow.catch_up();
    for query in ["SELECT n, note, COUNT(*) FROM log GROUP BY n, note", "SELECT id, n, 1 FROM t"] {
        let sorted = |text: String| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let here = sorted(source.sql_in(name, query));
        let there = sorted(servers::shared_postgres().sql_in(&format!("{name}_copy"), query));
        assert_eq!(here, there, "{query}");
    }
}

#[test]
fn a_table_without_a_key_of_mysql() {
    without_key(servers::shared_mysql(), "snap_keyless_my");
}

#[test]
fn a_table_without_a_key_of_mariadb() {
    without_key(servers::shared_mariadb(), "snap_keyless_maria");
}

/// A reading that was cut is mended by itself where the sink can empty the table, and told where it cannot.
#[test]
fn a_table_without_a_key_whose_reading_was_cut() {
    let source = servers::shared_mysql();
    source
        .sql("CREATE DATABASE snap_cut; CREATE TABLE snap_cut.log (n INT, note VARCHAR(40)); CREATE TABLE snap_cut.other (n INT)");
    let rows: Vec<String> = (0..30_000).map(|n| format!("({}, 'row')", n % 500)).collect();
    source.sql_in("snap_cut", &format!("INSERT INTO log VALUES {}; INSERT INTO other VALUES (1)", rows.join(", ")));
    let of_source = "without_key = \"whole-row\"";
    let servers = [Some(servers::shared_mysql()), Some(servers::shared_postgres()), None];
    for server in servers {
        let target = server.map_or(Target::Sqlite, Target::Server);
        let snapshot = Snapshot::new(source, target, "snap_cut", of_source, "lanes = 2\ndelivery = \"exactly-once\"");
        for count in [3, 40] {
            let mut run = snapshot.flow.start(&[], &[("TIDEGATE_FAILPOINT", &format!("chunk-decoded:{count}"))]);
            run.wait();
            source.sql_in("snap_cut", "INSERT INTO log VALUES (1, 'later'); DELETE FROM log WHERE n = 3 LIMIT 1");
        }
        snapshot.flow.catch_up();
        let query = "SELECT n, note, COUNT(*) FROM log GROUP BY n, note ORDER BY n, note";
        let there = match server {
            Some(server) => server.sql_in("snap_cut_copy", query),
            None => {
                let mut sqlite = Command::new("sqlite3");
                sqlite.args(["-batch", "-separator", "\t", "copy.sqlite", query]).current_dir(snapshot.flow.folder());
                servers::run(sqlite, "")
            }
        };
        assert_eq!(source.sql_in("snap_cut", query), there);
    }
    let manifest = |sink: &str| {
        format!(
            "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"snap_cut.*\"]\n{of_source}\n[sink.there]\n{sink}\n\
             [pipeline.copy]\nsource = \"here\"\nsink = \"there\"\n",
            source.url("root", "")
        )
    };
    let (file, shared) =
        ("type = \"jsonl\"\npath = \"rows.jsonl\"", "type = \"sqlite\"\npath = \"x\"\ncreate = true\ntable = \"all\"");
    for sink in [file, shared] {
        let flow = Flow::new(&manifest(sink));
        flow.start(&[], &[("TIDEGATE_FAILPOINT", "chunk-decoded:3")]).wait();
        let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
        assert_ne!(code, 0, "{stderr}");
        assert!(stderr.contains("reading it was cut") && stderr.contains("tidegate snapshot --pipeline copy"), "{stderr}");
    }
}

/// `tidegate snapshot` while the pipeline runs, and for the next run.
#[test]
fn tables_are_read_again_when_asked() {
    let source = servers::shared_mysql();
    let snapshot = Snapshot::new(source, Target::Sqlite, "snap_again", "start = \"now\"", "");
    fill(source, "snap_again", 500);
    let rows = |table: &str| {
        let mut sqlite = Command::new("sqlite3");
        sqlite.args(["-batch", "copy.sqlite"]).arg(format!("SELECT COUNT(*) FROM {table}")).current_dir(snapshot.flow.folder());
        String::from_utf8_lossy(&sqlite.output().expect("sqlite3").stdout).trim().to_owned()
    };
    let mut run = snapshot.flow.start(&[], &[]);
    servers::wait_until("it runs", || run.log().contains("begins at"));
    let (code, said, stderr) = snapshot.flow.call(&["snapshot", "--tables", "snap_again.n*", "--where", "v = 0 -- all of them"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(said.contains("snap_again.names, snap_again.numbers"), "{said}");
    servers::wait_until("the tables are read", || rows("numbers") == "500" && rows("names") == "500");
    assert_eq!(rows("pairs"), "");
    run.signal("INT");
    run.wait();

    let (code, ..) = snapshot.flow.call(&["snapshot", "--tables", "snap_again.pairs", "--where", "a = 3"]);
    assert_eq!(code, 0);
    snapshot.flow.catch_up();
    assert_eq!(rows("pairs"), source.sql_in("snap_again", "SELECT COUNT(*) FROM pairs WHERE a = 3").trim());
    let (_, said, _) = snapshot.flow.call(&["cursor", "show", "copy"]);
    assert!(!said.contains("still to be read"), "{said}");

    for (arguments, message) in [
        (vec!["snapshot", "--tables", "snap_again.x*"], "no pipeline follows a table"),
        (vec!["snapshot", "--tables", "snap_again.pairs", "--where", "nonsense = 1"], "nonsense"),
        (vec!["snapshot", "--tables", "snap_again.pairs", "--pipeline", "other"], "no pipeline `other`"),
    ] {
        let (code, _, stderr) = snapshot.flow.call(&arguments);
        assert!(code != 0 && stderr.contains(message), "{arguments:?}: {code} {stderr}");
    }
}

/// Whatever the key, no reader is left with most of a table.
#[test]
fn readers_share_a_table_of_any_key() {
    let source = servers::mysql(&["--general-log=ON", "--log-output=TABLE"]);
    const KEYS: [(&str, &str, &str); 6] = [
        ("texts", "k VARCHAR(60) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY", "CONCAT('Order ', SUBSTR(SHA2(i, 256), 1, 32))"),
        ("alike", "k VARCHAR(60) CHARACTER SET latin1 PRIMARY KEY", "CONCAT(REPEAT('ä', 40), LPAD(i, 9, '0'))"),
        ("uuids", "k BINARY(16) PRIMARY KEY", "UNHEX(SUBSTR(SHA2(i, 256), 1, 32))"),
        ("amounts", "k DECIMAL(40,10) PRIMARY KEY", "POW(i, 4) / 7"),
        ("one_large", "t INT NOT NULL, k BIGINT NOT NULL, PRIMARY KEY (t, k)", "IF(i % 20 = 0, i, 7), i * 1000003"),
        ("far_out", "k BIGINT PRIMARY KEY", "IF(i % 1000 = 0, i * 100000000000000, i)"),
    ];
    let rows = 20_000;
    source.sql("CREATE DATABASE snap_share; SET GLOBAL cte_max_recursion_depth = 1000000");
    for (table, key, values) in KEYS {
        source.sql_in(
            "snap_share",
            &format!(
                "CREATE TABLE {table} ({key}, note VARCHAR(200)); INSERT INTO {table} WITH RECURSIVE n(i) AS \
                 (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT {values}, REPEAT('x', 100) FROM n; ANALYZE TABLE {table}"
            ),
        );
    }
    source.sql("SET GLOBAL general_log = OFF; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON");
    for (table, ..) in KEYS {
        let flow = Flow::new(&format!(
            "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"snap_share.{table}\"]\n\
             snapshot = {{ chunk_rows = 200, readers = 4 }}\n[sink.there]\ntype = \"jsonl\"\npath = \"rows.jsonl\"\n\
             [pipeline.copy]\nsource = \"here\"\nsink = \"there\"\n",
            source.url("root", "")
        ));
        flow.catch_up();
        let lines = std::fs::read_to_string(flow.folder().join("rows.jsonl")).expect("the rows");
        assert_eq!(lines.lines().count(), rows, "{table}: each row once");
        let counted = source.rows(&format!(
            "SELECT COUNT(*) FROM mysql.general_log WHERE command_type = 'Execute' AND argument LIKE '%FROM `snap_share`.`{table}`%' \
             GROUP BY thread_id"
        ));
        let pages: Vec<usize> = counted.iter().map(|row| row[0].parse().expect("a number")).collect();
        let (most, all) = (pages.iter().max().expect("readers"), pages.iter().sum::<usize>());
        assert!(pages.len() == 4 && most * 2 < all && all < 250, "{table}: pages by reader: {pages:?}");
    }
}

/// A table that is altered between its chunks is read again with the new columns.
#[test]
fn a_table_is_altered_while_it_is_read() {
    let source = servers::shared_mysql();
    let of_source = "snapshot = { chunk_rows = 200, rows_per_second = 4000, readers = 1 }";
    let snapshot = Snapshot::new(source, Target::Sqlite, "snap_ddl", of_source, "");
    source.sql("CREATE DATABASE snap_ddl; CREATE TABLE snap_ddl.t (id INT PRIMARY KEY, a INT, b INT)");
    let rows: Vec<String> = (0..8000).map(|n| format!("({n}, {n}, {n})")).collect();
    source.sql_in("snap_ddl", &format!("INSERT INTO t VALUES {}", rows.join(", ")));
    let mut sqlite = Command::new("sqlite3");
    sqlite.args(["-batch", "copy.sqlite", "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, c TEXT)"]);
    servers::run(
        {
            sqlite.current_dir(snapshot.flow.folder());
            sqlite
        },
        "",
    );
    let mut run = snapshot.flow.start(&["--until", "caught-up"], &[]);
    servers::wait_until("it is reading", || run.log().contains("reading tables"));
    std::thread::sleep(Duration::from_millis(700));
    source.sql_in("snap_ddl", "ALTER TABLE t ADD COLUMN c VARCHAR(20) DEFAULT 'later', DROP COLUMN a, ALGORITHM = COPY");
    let status = run.wait();
    assert_eq!(status.code(), Some(0), "{}", run.log());
    snapshot.flow.catch_up();
    let mut sqlite = Command::new("sqlite3");
    sqlite
        .args(["-batch", "-separator", "\t", "copy.sqlite", "SELECT id, b, c FROM t ORDER BY id"])
        .current_dir(snapshot.flow.folder());
    let there = servers::run(sqlite, "");
    let here = source.sql_in("snap_ddl", "SELECT id, b, c FROM t ORDER BY id");
    assert_eq!(here.lines().count(), there.lines().count());
    // Those that were read before the table was altered have no value in the new column: DDL is not copied.
    let differ = here.lines().zip(there.lines()).filter(|(here, there)| here != there).count();
    assert!((200..7900).contains(&differ), "{differ} rows were read before");
}

/// A table that gets a followed name has rows which the stream never had: they are read. One that is made under it is not.
#[test]
fn a_table_that_is_renamed_in_is_read() {
    let source = servers::shared_mysql();
    source.sql(
        "CREATE DATABASE snap_rename; CREATE DATABASE snap_elsewhere; CREATE TABLE snap_elsewhere.old (id INT PRIMARY KEY, v INT)",
    );
    source.sql("CREATE TABLE snap_rename.first (id INT PRIMARY KEY, v INT); INSERT INTO snap_rename.first VALUES (1, 1)");
    source.sql("INSERT INTO snap_elsewhere.old VALUES (1, 1), (2, 2), (3, 3)");
    let snapshot = Snapshot::new(source, Target::Sqlite, "snap_rename", "", "");
    let mut run = snapshot.flow.start(&[], &[]);
    servers::wait_until("the first table is read", || run.log().contains("all tables are read"));
    source.sql("RENAME TABLE snap_elsewhere.old TO snap_rename.new; INSERT INTO snap_rename.new VALUES (4, 4)");
    source.sql("CREATE TABLE snap_rename.made (id INT PRIMARY KEY, v INT); INSERT INTO snap_rename.made VALUES (1, 1)");
    servers::wait_until("the new table is read", || run.log().contains("table=\"snap_rename.new\" rows="));
    run.signal("INT");
    run.wait();
    snapshot.flow.catch_up();
    let mut sqlite = Command::new("sqlite3");
    sqlite.args(["-batch", "copy.sqlite", "SELECT COUNT(*) FROM new UNION ALL SELECT COUNT(*) FROM made"]);
    sqlite.current_dir(snapshot.flow.folder());
    assert_eq!(servers::run(sqlite, ""), "4\n1\n");
    assert!(!run.log().contains("table=\"snap_rename.made\" rows="), "{}", run.log());
}

#[test]
fn a_table_that_the_manifest_takes_in_later_is_read() {
    let source = servers::shared_mysql();
    source.sql("CREATE DATABASE snap_more; CREATE DATABASE snap_other; CREATE TABLE snap_other.b (id INT PRIMARY KEY, v INT)");
    source.sql("CREATE TABLE snap_more.a (id INT PRIMARY KEY, v INT); INSERT INTO snap_more.a VALUES (1, 1)");
    source.sql("INSERT INTO snap_other.b VALUES (1, 1), (2, 2)");
    let snapshot = Snapshot::new(source, Target::Sqlite, "snap_more", "", "");
    snapshot.flow.catch_up();
    source.sql("INSERT INTO snap_other.b VALUES (3, 3)");
    snapshot.flow.write(&snapshot.flow.manifest().replace("\"snap_more.*\"", "\"snap_more.*\", \"snap_other.*\""));
    let mut run = snapshot.flow.start(&[], &[]);
    servers::wait_until("the other table is read", || run.log().contains("table=\"snap_other.b\" rows=3"));
    source.sql("INSERT INTO snap_other.b VALUES (4, 4)");
    run.signal("INT");
    run.wait();
    snapshot.flow.catch_up();
    assert!(!run.log().contains("table=\"snap_more.a\" rows="), "{}", run.log());
    let mut sqlite = Command::new("sqlite3");
    sqlite.args(["-batch", "copy.sqlite", "SELECT COUNT(*) FROM a UNION ALL SELECT COUNT(*) FROM b"]);
    sqlite.current_dir(snapshot.flow.folder());
    assert_eq!(servers::run(sqlite, ""), "1\n4\n");
}

/// What a change without all columns touches while it is read cannot be told: it is never lost, the pipeline stops.
#[test]
fn changes_without_all_columns_are_not_taken_for_rows() {
    let source = servers::mysql(&["--binlog-row-image=MINIMAL"]);
    let of_source = "snapshot = { chunk_rows = 200 }";
    let snapshot = Snapshot::new(&source, Target::Sqlite, "snap_minimal", of_source, "");
    fill(&source, "snap_minimal", 3000);
    let mut run = snapshot.flow.start(&["--until", "caught-up"], &[]);
    for _ in 0..20 {
        source.sql_in("snap_minimal", "UPDATE numbers SET v = v + 1 WHERE id > 0");
    }
    let status = run.wait();
    assert!(status.success() || run.log().contains("binlog_row_image"), "{}", run.log());
    snapshot.flow.catch_up();
    snapshot.assert_same();
}
