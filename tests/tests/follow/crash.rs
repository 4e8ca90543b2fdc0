//! SIGKILL around a change of the target's tables: it is made once, whatever came before it is there, and whatever comes behind it, too.

use tidegate_tests::servers::{self, Kind};

use super::{Pair, Target};

/// Each changes places back and forth, or takes rows away, so that a change made twice or not at all shows.
fn statements(n: usize, kind: Kind) -> Vec<String> {
    let row = |table: &str, at: &str| format!("INSERT INTO {table} (id, a, b) VALUES ({}, '{at}', '{n}')", 100 + n);
    vec![
        format!(
            "UPDATE t SET a = 'before {n}'; ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a, ADD c{n} INT DEFAULT {n}, \
             ADD d{n} VARCHAR(9) DEFAULT 'd', DROP COLUMN c{}, DROP COLUMN d{}, MODIFY e {}; {}; UPDATE t SET c{n} = 7 WHERE id = 1",
            n - 1,
            n - 1,
            ["INT", "BIGINT"][n % 2],
            row("t", "behind")
        ),
        format!(
            "UPDATE u SET b = 'before {n}'; RENAME TABLE t TO s_, u TO t, s_ TO u; {}; DELETE FROM t WHERE id = 2",
            row("t", "t")
        ),
        // As they were.
        "RENAME TABLE u TO s_, t TO u, s_ TO t".to_owned(),
        format!(
            "UPDATE v SET a = 'x'; TRUNCATE TABLE v; {}; DROP TABLE w; CREATE TABLE w LIKE v; INSERT INTO w SELECT * FROM v",
            row("v", "v")
        ),
        // The statement stands within a transaction, in front of its rows.
        match kind {
            Kind::MySql => "DROP TABLE w; CREATE TABLE w (PRIMARY KEY (id)) AS SELECT * FROM u".to_owned(),
            _ => "CREATE OR REPLACE TABLE w (PRIMARY KEY (id)) AS SELECT * FROM u".to_owned(),
        },
    ]
}

fn crash(pair: &Pair<'_>) {
    let columns = "(id INT PRIMARY KEY, a VARCHAR(40), b VARCHAR(40), c0 INT, d0 INT, e INT)";
    for table in ["t", "u", "v", "w"] {
        let create = if matches!(table, "v" | "w") { "(id INT PRIMARY KEY, a VARCHAR(40), b VARCHAR(40))" } else { columns };
        pair.sql(&format!(
            "CREATE TABLE {table} {create}; INSERT INTO {table} (id, a, b) VALUES (1, 'one', '{table}'), (2, 'two', '')"
        ));
    }
    pair.flow.catch_up();
    let mut n = 0;
    for name in tidegate::failpoint::DDL_NAMES {
        // One step of a statement, or a later statement.
        for count in [1, 2, 5] {
            n += 1;
            let armed = format!("{name}:{count}");
            pair.sql(&statements(n, pair.source.kind).join("; "));
            for _ in 0..3 {
                let mut run = pair.flow.start(&["--until", "caught-up"], &[("TIDEGATE_FAILPOINT", &armed)]);
                let status = run.wait();
                assert!(status.code().is_none_or(|code| code == 0), "{armed}: {}", run.log());
            }
            pair.flow.catch_up();
            pair.assert_same(&armed);
        }
    }
}

#[test]
fn into_mysql_exactly_once() {
    let target = Target::Server(servers::shared_mysql());
    crash(&Pair::new(servers::shared_mysql(), target, "fol_crash_my", "", "lanes = 3\ndelivery = \"exactly-once\""));
}

#[test]
fn into_postgres() {
    let target = Target::Server(servers::shared_postgres());
    crash(&Pair::new(servers::shared_mysql(), target, "fol_crash_pg", "", "lanes = 2"));
}

#[test]
fn into_sqlite_by_transaction() {
    crash(&Pair::new(
        servers::shared_mysql(),
        Target::Sqlite,
        "fol_crash_lite",
        "",
        "ordering = \"transaction\"\ndelivery = \"exactly-once\"",
    ));
}

#[test]
fn mariadb_into_mysql() {
    let target = Target::Server(servers::shared_mysql());
    crash(&Pair::new(servers::shared_mariadb(), target, "fol_crash_maria", "", "lanes = 2\ndelivery = \"exactly-once\""));
}
