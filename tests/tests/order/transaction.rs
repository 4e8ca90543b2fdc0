//! `ordering = "transaction"`: whoever looks at the target sees whole source transactions, whatever happens in between.

use std::fmt::Write;
use std::time::Duration;

use tidegate_tests::flow::{Flow, copying};
use tidegate_tests::load::Random;
use tidegate_tests::servers::{self, Kind, Server};

const ACCOUNTS: u64 = 300;
const ALL: u64 = ACCOUNTS * 100;

#[test]
fn a_reader_of_postgres_sees_whole_transactions() {
    whole_transactions("whole_pg", servers::shared_postgres(), "at-least-once");
}

#[test]
fn a_reader_of_mysql_sees_whole_transactions() {
    whole_transactions("whole_my", servers::shared_mariadb(), "exactly-once");
}

#[test]
fn what_postgres_refuses_keeps_back_nothing_before_it() {
    refused("refused_pg", servers::shared_postgres());
}

#[test]
fn what_mysql_refuses_keeps_back_nothing_before_it() {
    refused("refused_my", servers::shared_mariadb());
}

/// Many small transactions leave together: what comes before the one that the target refuses is written, once, and nothing after it.
fn refused(name: &str, target: &Server) {
    let source = servers::shared_mysql();
    source.sql(&format!("CREATE DATABASE {name}"));
    target.sql(&format!("CREATE DATABASE {name}"));
    // Without a key: a row that is written twice is there twice.
    source.sql_in(name, "CREATE TABLE log (n INT NOT NULL)");
    target.sql_in(name, "CREATE TABLE log (n INT NOT NULL, CONSTRAINT not_37 CHECK (n <> 37))");
    let inserts: String = (1..=60).map(|n| format!("INSERT INTO log VALUES ({n});\n")).collect();
    source.sql_in(name, &inserts);
    let manifest = copying(name, source, target, "ordering = \"transaction\"\ndelivery = \"exactly-once\"");
    let flow = Flow::new(&manifest.replacen("tables =", "without_key = \"whole-row\"\ntables =", 1));
    let (code, _, error) = flow.call(&["run", "--until", "caught-up"]);
    assert_ne!(code, 0, "{error}");
    assert!(error.contains("log") && error.contains("not_37"), "{error}");
    let written = |server: &Server| server.sql_in(name, "SELECT n FROM log ORDER BY n");
    let before: Vec<String> = (1..37).map(|n| n.to_string()).collect();
    assert_eq!(written(target).split_whitespace().collect::<Vec<_>>(), before);
    target.sql_in(name, "ALTER TABLE log DROP CONSTRAINT not_37");
    flow.catch_up();
    assert_eq!(written(target), written(source));
}

#[test]
fn what_a_killed_program_has_sent_to_mysql_is_written_once() {
    sent_and_killed("sent_my", servers::shared_mariadb());
}

#[test]
fn what_a_killed_program_has_sent_to_postgres_is_written_once() {
    sent_and_killed("sent_pg", servers::shared_postgres());
}

/// The target is held up while a transaction is on its way into it, so that the program that sent it is killed, and the next one has read
/// the marks, before the target gets to it.
fn sent_and_killed(name: &str, target: &Server) {
    let source = servers::shared_mysql();
    source.sql(&format!("CREATE DATABASE {name}"));
    target.sql(&format!("CREATE DATABASE {name}"));
    source.sql_in(name, "CREATE TABLE log (n INT NOT NULL)");
    target.sql_in(name, "CREATE TABLE log (n INT NOT NULL)");
    let manifest = copying(name, source, target, "delivery = \"exactly-once\"\nlanes = 1");
    let flow = Flow::new(&manifest.replacen("tables =", "without_key = \"whole-row\"\ntables =", 1));
    source.sql_in(name, "INSERT INTO log VALUES (1)");
    flow.catch_up();
    let inserts: String = (2..=60).map(|n| format!("INSERT INTO log VALUES ({n});\n")).collect();
    source.sql_in(name, &inserts);
    let (lock, sessions) = match target.kind {
        Kind::Postgres => (
            "BEGIN; LOCK TABLE log; SELECT pg_sleep(6); COMMIT".to_owned(),
            format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"),
        ),
        _ => (
            "LOCK TABLES log READ; SELECT SLEEP(6)".to_owned(),
            format!("SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{name}' AND state LIKE 'Waiting for table%'"),
        ),
    };
    let waiting = || target.sql(&sessions).trim().parse::<u32>().expect("a number");
    std::thread::scope(|scope| {
        scope.spawn(|| target.sql_in(name, &lock));
        std::thread::sleep(Duration::from_millis(500));
        let mut first = flow.start(&[], &[]);
        servers::wait_until("the first program's rows wait in the target", || waiting() == 1);
        first.kill();
        let mut second = flow.start(&[], &[]);
        servers::wait_until("the second program's rows wait, too, or all are written", || waiting() != 1);
        servers::wait_until("the target goes on", || waiting() == 0);
        second.kill();
    });
    flow.catch_up();
    let rows = |server: &Server| server.sql_in(name, "SELECT n FROM log ORDER BY n");
    assert_eq!(rows(target), rows(source));
}

/// Money moves between accounts, in transactions of 2 to 300 rows, with batches of 20 rows: at no time is any of it missing at the
/// target, though the program is killed and its connections are cut.
fn whole_transactions(name: &str, target: &Server, delivery: &str) {
    let source = servers::shared_mysql();
    let table = "CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL)";
    source.sql(&format!("CREATE DATABASE {name}"));
    target.sql(&format!("CREATE DATABASE {name}"));
    source.sql_in(name, table);
    target.sql_in(name, table);
    let rows: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, 100)")).collect();
    source.sql_in(name, &format!("INSERT INTO accounts VALUES {}", rows.join(", ")));
    let pipeline = format!("ordering = \"transaction\"\ndelivery = \"{delivery}\"\nbatch = {{ rows = 20 }}");
    let flow = Flow::new(&copying(name, source, target, &pipeline));
    let mut random = Random::new(3);
    let mut looks = 0;
    for round in 0..12 {
        source.sql_in(name, &moves(&mut random, 40));
        let mut run = flow.start(&[], &[]);
        let end = std::time::Instant::now() + Duration::from_millis(100 + random.below(500));
        while std::time::Instant::now() < end {
            looks += u32::from(look(target, name));
            if round % 3 == 1 {
                target.cut_connections(name);
            }
        }
        run.kill();
    }
    source.sql_in(name, &moves(&mut random, 200));
    let mut run = flow.start(&[], &[]);
    servers::wait_until("the target was looked at often enough", || {
        looks += u32::from(look(target, name));
        looks > 20
    });
    run.kill();
    flow.catch_up();
    let rows = |server: &Server| server.sql_in(name, "SELECT id, balance FROM accounts ORDER BY id");
    assert_eq!(rows(target), rows(source));
}

/// True if there was money to see; all of it, then.
fn look(target: &Server, name: &str) -> bool {
    let sum = target.sql_in(name, "SELECT COALESCE(SUM(balance), 0) FROM accounts");
    let sum: u64 = sum.trim().parse().expect("a sum");
    assert!(sum == 0 || sum == ALL, "{sum} of {ALL} is there: part of a transaction was seen");
    sum == ALL
}

fn moves(random: &mut Random, transactions: usize) -> String {
    let mut sql = String::new();
    for _ in 0..transactions {
        sql.push_str("BEGIN;\n");
        let pairs = if random.below(4) == 0 { ACCOUNTS / 2 } else { 1 + random.below(4) };
        for pair in 0..pairs {
            let (from, to) =
                if pairs > 4 { (pair * 2 + 1, pair * 2 + 2) } else { (1 + random.below(ACCOUNTS), 1 + random.below(ACCOUNTS)) };
            let _ = writeln!(sql, "UPDATE accounts SET balance = balance - 1 WHERE id = {from};");
            let _ = writeln!(sql, "UPDATE accounts SET balance = balance + 1 WHERE id = {to};");
        }
        sql.push_str("COMMIT;\n");
    }
    sql
}
