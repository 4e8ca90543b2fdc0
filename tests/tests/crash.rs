//! SIGKILL at every failpoint and at random moments under load. Nothing is lost, and exactly-once writes nothing twice.

use std::time::Duration;

use tidegate_tests::flow::{Flow, copying};
use tidegate_tests::load::{Load, MYSQL_TABLES, Random};
use tidegate_tests::servers::{self, Kind, Server};

const RANDOM_KILLS: usize = 100;

#[test]
fn mysql_to_postgres_at_least_once() {
    crash("crash_pg_alo", servers::shared_postgres(), "at-least-once");
}

#[test]
fn mysql_to_postgres_exactly_once() {
    crash("crash_pg_eo", servers::shared_postgres(), "exactly-once");
}

#[test]
fn mysql_to_mariadb_at_least_once() {
    crash("crash_my_alo", servers::shared_mariadb(), "at-least-once");
}

#[test]
fn mysql_to_mysql_exactly_once() {
    let target = servers::mysql(&["--server-id=9"]);
    crash("crash_my_eo", &target, "exactly-once");
}

/// Runs the load through a pipeline that is killed again and again, then compares every row.
fn crash(name: &str, target: &Server, delivery: &str) {
    let source = servers::shared_mysql();
    source.sql(&format!("CREATE DATABASE {name}"));
    source.sql_in(name, MYSQL_TABLES);
    make_target(target, name);
    let manifest = manifest(name, source, target, delivery, 2);
    let flow = Flow::new(&manifest);
    let mut load = Load::new(name.len() as u64);
    let mut random = Random::new(7);

    load.write(source, name, 50);
    for failpoint in tidegate::failpoint::NAMES {
        for count in [1, 3] {
            let armed = format!("{failpoint}:{count}");
            let mut run = flow.start(&[], &[("TIDEGATE_FAILPOINT", &armed)]);
            servers::wait_until(&format!("{armed} is passed"), || {
                load.write(source, name, 10);
                !run.is_running()
            });
            let status = run.wait();
            assert_eq!(status.code(), None, "{armed}: not killed but ended with {status}\n{}", run.log());
        }
    }
    for round in 0..RANDOM_KILLS {
        load.write(source, name, 15);
        let mut run = flow.start(&[], &[]);
        std::thread::sleep(Duration::from_millis(5 + random.below(250)));
        run.kill();
        if round == RANDOM_KILLS / 2 {
            // Another number of lanes takes over what the old ones left.
            flow.write(&self::manifest(name, source, target, delivery, 3));
        }
    }
    load.write(source, name, 50);
    flow.catch_up();

    for (table, columns, order) in [
        ("accounts", "id, handle, balance, at, version", "id"),
        ("holdings", "account, item, amount, note, version", "account, item"),
        ("tags", "name, HEX(data), flags + 0, version", "name"),
    ] {
        let postgres_columns = columns.replace("HEX(data)", "upper(encode(data, 'hex'))");
        let columns_there = if target.kind == Kind::Postgres { &postgres_columns } else { columns };
        let here = source.sql_in(name, &format!("SELECT {columns} FROM {table} ORDER BY {order}"));
        let there = target.sql_in(name, &format!("SELECT {columns_there} FROM {table} ORDER BY {}", collated(target, order)));
        assert_same(table, &here, &there);
    }
    if delivery == "exactly-once" {
        let twice = target.sql_in(name, "SELECT what, version, COUNT(*) FROM audit GROUP BY what, version HAVING COUNT(*) > 1");
        assert_eq!(twice, "", "written twice");
    }
}

/// MySQL's default collation ignores case and Postgres's may not: order by bytes on both sides.
fn collated(target: &Server, order: &str) -> String {
    match (target.kind, order) {
        (Kind::Postgres, "name") => "lower(name) COLLATE \"C\"".to_owned(),
        _ => order.to_owned(),
    }
}

fn assert_same(table: &str, here: &str, there: &str) {
    let normal = |text: &str| text.lines().map(normal_line).collect::<Vec<_>>();
    let (here, there) = (normal(here), normal(there));
    let differ = here.iter().zip(&there).find(|(a, b)| a != b);
    assert!(
        here == there,
        "{table}: {} rows at the source, {} at the target; first difference: {differ:?}",
        here.len(),
        there.len()
    );
}

/// Postgres leaves trailing zeros of a fraction of a second out.
fn normal_line(line: &str) -> String {
    let field = |field: &str| match field.split_once('.') {
        Some((head, fraction)) if head.len() == 19 && head.contains(':') => {
            format!("{head}.{fraction:0<6}")
        }
        None if field.len() == 19 && field.as_bytes()[10] == b' ' && field.contains(':') => format!("{field}.000000"),
        _ => field.to_owned(),
    };
    line.split('\t').map(field).collect::<Vec<_>>().join("\t")
}

/// The target's tables, and a trigger a table that writes down every change.
fn make_target(target: &Server, name: &str) {
    target.sql(&format!("CREATE DATABASE {name}"));
    let keys = [("accounts", "NEW.id"), ("holdings", "NEW.account, '/', NEW.item"), ("tags", "NEW.name")];
    if target.kind == Kind::Postgres {
        let mut sql = String::from(
            "CREATE TABLE accounts (id BIGINT PRIMARY KEY, handle VARCHAR(40), balance NUMERIC(20,4), at TIMESTAMP(6), version BIGINT);
             CREATE TABLE holdings (account BIGINT, item INT, amount BIGINT, note TEXT, version BIGINT, PRIMARY KEY (account, item));
             CREATE TABLE tags (name VARCHAR(60) PRIMARY KEY, data BYTEA, flags BIGINT, version BIGINT);
             CREATE TABLE audit (what TEXT, version BIGINT);\n",
        );
        for (table, key) in keys {
            sql.push_str(&format!(
                "CREATE FUNCTION audit_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 INSERT INTO audit VALUES (concat('{table} ', {key}), NEW.version); RETURN NEW; END $$;
                 CREATE TRIGGER audit AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION audit_{table}();\n"
            ));
        }
        target.sql_in(name, &sql);
        return;
    }
    let mut sql = format!("{MYSQL_TABLES}\nCREATE TABLE audit (what VARCHAR(90), version BIGINT);\n");
    for (table, key) in keys {
        for event in ["INSERT", "UPDATE"] {
            sql.push_str(&format!(
                "CREATE TRIGGER {table}_{event} AFTER {event} ON {table} FOR EACH ROW \
                 INSERT INTO audit VALUES (CONCAT('{table} ', {key}), NEW.version);\n"
            ));
        }
    }
    target.sql_in(name, &sql);
}

fn manifest(name: &str, source: &Server, target: &Server, delivery: &str, lanes: usize) -> String {
    copying(name, source, target, &format!("lanes = {lanes}\ndelivery = \"{delivery}\"\nbatch = {{ rows = 50 }}"))
}
