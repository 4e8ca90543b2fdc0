//! Keys of every kind, and servers with unusual settings: each row is read, and read once.

use std::collections::BTreeSet;

use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, Kind, Server};

/// A table's columns, and its rows.
type Keyed = (&'static str, Vec<String>);

fn of(values: &[&str]) -> Vec<String> {
    values.iter().map(|v| (*v).to_owned()).collect()
}

fn numbered(count: u64, value: impl Fn(u64) -> String) -> Vec<String> {
    (0..count).map(value).collect()
}

fn tables(kind: Kind) -> Vec<Keyed> {
    const WORDS: [&str; 17] = [
        "''",
        "'%'",
        "'\\''",
        "'\\\\'",
        "'a'",
        "'aa\\n'",
        "'B'",
        "'e1'",
        "'é2'",
        "'z '",
        "'zz'",
        "'ß'",
        "'sst'",
        "'😀'",
        "'😀😀'",
        "'漢'",
        "'漢字'",
    ];
    const LARGE: [&str; 8] = [
        "0",
        "1",
        "9223372036854775807",
        "9223372036854775808",
        "9223372036854775809",
        "13835058055282163712",
        "5",
        "18446744073709551615",
    ];
    let members: Vec<String> = (0..64).map(|n| format!("'m{n}'")).collect();
    let set: &'static str = Box::leak(format!("k SET({}) PRIMARY KEY", members.join(", ")).into_boxed_str());
    let day = |n: u64| format!("'2024-10-27 00:{n:02}:00'");
    let mut tables = vec![
        (
            "k FLOAT PRIMARY KEY",
            [numbered(40, |n| format!("{}", (n as f64 - 20.0) / 10.0)), of(&["1e-40", "3.4e38", "16777217"])].concat(),
        ),
        (
            "k DOUBLE PRIMARY KEY",
            [numbered(40, |n| format!("1e0 / {}", n + 1)), of(&["-0e0", "5e-324", "1.7976931348623157e308"])].concat(),
        ),
        ("a FLOAT, b DOUBLE, PRIMARY KEY (a, b)", numbered(40, |n| format!("{}, 1e0 / {}", (n / 8) as f64 / 10.0, n + 1))),
        ("k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY", of(&WORDS[..13])),
        ("k VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY", [of(&WORDS), of(&["'A'", "'a\\t'", "'a\\0'"])].concat()),
        ("k CHAR(20) COLLATE utf8mb4_bin PRIMARY KEY", of(&WORDS)),
        (
            "k VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci PRIMARY KEY",
            of(&["'Ä1'", "'ae2'", "'a'", "'af'", "'ß'", "'st'", "'o'", "'oez'"]),
        ),
        ("k VARCHAR(20) CHARACTER SET gbk PRIMARY KEY", of(&["'漢'", "'字'", "'a'", "'漢字'", "'\\\\'", "'z'"])),
        ("k VARCHAR(20) CHARACTER SET utf16 PRIMARY KEY", of(&["'漢'", "'😀'", "'a'", "'漢字'", "'é'", "'z'"])),
        (
            "k VARBINARY(20) PRIMARY KEY",
            of(&["''", "x'00'", "x'0000'", "x'61'", "x'6100'", "x'20'", "x'2020'", "x'5c27'", "x'ff'"]),
        ),
        ("k ENUM('z', 'a', '10', '2') PRIMARY KEY", of(&["'z'", "'a'", "'10'", "'2'"])),
        (set, of(&LARGE)),
        ("k BIT(64) PRIMARY KEY", of(&LARGE)),
        ("k BIGINT UNSIGNED PRIMARY KEY", of(&LARGE)),
        ("k BIGINT PRIMARY KEY", of(&["-9223372036854775808", "-9223372036854775807", "-1", "0", "1", "9223372036854775807"])),
        (
            "y YEAR, n INT, PRIMARY KEY (y, n)",
            numbered(30, |n| format!("{}, {n}", ["'0000'", "1901", "2000", "2069", "2155"][n as usize % 5])),
        ),
        (
            "k TIMESTAMP PRIMARY KEY",
            [numbered(30, day), of(&["'0000-00-00'", "'1970-01-01 00:00:01'", "'2024-10-27 01:30:00'"])].concat(),
        ),
        (
            "k DATETIME(3) PRIMARY KEY",
            of(&["'0000-00-00'", "'2024-00-00'", "'2024-01-00 00:00:00.5'", "'0001-01-01'", "'9999-12-31 23:59:59.999'"]),
        ),
        (
            "k TIME(6) PRIMARY KEY",
            of(&["'-838:59:59'", "'-01:00:00.999999'", "'-00:00:00.000001'", "'00:00:00'", "'100:00:00'", "'838:59:59'"]),
        ),
        ("k DECIMAL(65,30) PRIMARY KEY", numbered(40, |n| format!("{}.{:030}", n as i64 - 20, n * 7))),
        ("a INT, b VARCHAR(9), PRIMARY KEY (a DESC, b)", numbered(40, |n| format!("{}, 'x{}'", n / 6, n % 6))),
        ("a INT UNIQUE, b INT NOT NULL UNIQUE", numbered(40, |n| format!("NULLIF({n} % 2 * {n}, 0), {n}"))),
    ];
    tables.extend(match kind {
        Kind::MySql => vec![
            ("k VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY", of(&WORDS)),
            ("k VARCHAR(20) COLLATE utf8mb4_0900_bin PRIMARY KEY", [of(&WORDS), of(&["'a '", "'A'"])].concat()),
            ("a INT NOT NULL, b INT NOT NULL, UNIQUE ((a + b)), UNIQUE (b)", numbered(30, |n| format!("{n}, {n}"))),
            // The server makes a key that nobody sees.
            ("k INT", numbered(30, |n| format!("{}", n % 5))),
        ],
        _ => vec![
            ("k VARCHAR(20) COLLATE utf8mb4_nopad_bin PRIMARY KEY", [of(&WORDS), of(&["'a '", "'A'"])].concat()),
            (
                "k UUID PRIMARY KEY",
                numbered(30, |n| format!("'{:08x}-1234-1{:03x}-8{:03x}-000000000001'", n * 77777, n % 7, n % 5)),
            ),
            ("k INET6 PRIMARY KEY", numbered(30, |n| format!("'{}::{n:x}'", if n % 2 == 0 { "ffff" } else { "" }))),
        ],
    });
    tables
}

fn every_key_is_read(server: &Server, name: &str, unusual: &[&str]) {
    let tables = tables(server.kind);
    server.sql(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
    let hidden = if server.kind == Kind::MySql { "SET sql_generate_invisible_primary_key = ON;" } else { "" };
    for (number, (columns, rows)) in tables.iter().enumerate() {
        let rows: Vec<String> = rows.iter().map(|row| format!("({row}, 0)")).collect();
        let rows = rows.join(", ");
        server.sql_in(
            name,
            &format!(
                "SET NAMES utf8mb4; SET sql_mode = '', time_zone = '+00:00'; {hidden} CREATE TABLE t{number} ({columns}, v INT); \
                 INSERT INTO t{number} VALUES {rows}"
            ),
        );
    }
    unusual.iter().for_each(|setting| drop(server.sql(&format!("SET GLOBAL {setting}"))));
    let flow = Flow::new(&format!(
        "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{name}.*\"]\nsnapshot = {{ chunk_rows = 3, readers = 3 }}\n\
         [sink.there]\ntype = \"jsonl\"\npath = \"rows.jsonl\"\n[pipeline.copy]\nsource = \"here\"\nsink = \"there\"\n",
        server.url("root", "")
    ));
    flow.catch_up();
    let lines = std::fs::read_to_string(flow.folder().join("rows.jsonl")).expect("the rows");
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (number, (columns, rows)) in tables.iter().enumerate() {
        let of_table = lines.iter().filter(|line| line["table"] == format!("t{number}"));
        let keys: Vec<String> = of_table.map(|line| line["key"].to_string()).collect();
        let distinct: BTreeSet<&String> = keys.iter().collect();
        assert_eq!((keys.len(), distinct.len()), (rows.len(), rows.len()), "{columns}");
    }
}

#[test]
fn every_key_of_mysql_is_read() {
    every_key_is_read(servers::shared_mysql(), "snap_keys", &[]);
}

#[test]
fn every_key_of_mariadb_is_read() {
    every_key_is_read(servers::shared_mariadb(), "snap_keys", &[]);
}

/// What an administrator has set for everybody neither cuts nor ends nor changes what is read.
#[test]
fn every_key_is_read_whatever_mysql_is_set_to() {
    let unusual = [
        "sql_mode = 'ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES'",
        "time_zone = '+05:30'",
        "transaction_isolation = 'SERIALIZABLE'",
        "character_set_server = gbk",
        "collation_connection = gbk_bin",
        "wait_timeout = 1",
        "net_write_timeout = 1",
        "completion_type = 2",
        "sql_big_selects = OFF",
        "max_join_size = 1",
        "max_execution_time = 1",
        "super_read_only = ON",
        "autocommit = OFF",
        "sql_select_limit = 2",
    ];
    every_key_is_read(&servers::mysql(&[]), "snap_keys", &unusual);
}

#[test]
fn every_key_is_read_whatever_mariadb_is_set_to() {
    let unusual = [
        "sql_mode = 'ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES,ORACLE'",
        "time_zone = '+05:30'",
        "transaction_isolation = 'SERIALIZABLE'",
        "character_set_server = latin1",
        "wait_timeout = 1",
        "net_write_timeout = 1",
        "idle_transaction_timeout = 1",
        "completion_type = 2",
        "sql_big_selects = OFF",
        "max_join_size = 1",
        "max_statement_time = 0.001",
        "read_only = ON",
        "autocommit = OFF",
        "sql_select_limit = 2",
    ];
    every_key_is_read(&servers::mariadb(&["--skip-character-set-client-handshake"]), "snap_keys", &unusual);
}
