//! What plugins remember, through SIGKILL and restarts: `plugins/number` counts the changes of each row, the source itself counts them too, and at
//! the end both have the same numbers.

mod languages;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tidegate_tests::flow::{Flow, copying};
use tidegate_tests::load::Random;
use tidegate_tests::project;
use tidegate_tests::servers::{self, Kind, Server};

const TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT, pad VARCHAR(60))";
const KEYS: u64 = 40;

/// Rows that come, change and go, alone and many in a transaction; `n` is what the plugin should say.
fn write(source: &Server, name: &str, random: &mut Random, steps: usize) {
    let mut sql = String::new();
    for _ in 0..steps {
        let id = random.below(KEYS);
        let xid = random.below(u64::MAX);
        let _ = match random.below(9) {
            0 => write!(sql, "DELETE FROM t WHERE id = {id};"),
            1 => write!(sql, "BEGIN; UPDATE t SET n = n + 1; UPDATE t SET n = n + 1 WHERE id < {id}; COMMIT;"),
            // Another key is another row: its number begins anew.
            2 => write!(sql, "DELETE FROM t WHERE id = {id}; UPDATE t SET id = {id}, n = 1 WHERE id = {};", (id + 1) % KEYS),
            // Only what is committed later than it is read must be kept.
            3 => write!(
                sql,
                "XA START '{xid}'; UPDATE t SET n = n + 1 WHERE id = {id}; XA END '{xid}'; XA PREPARE '{xid}'; DO SLEEP(0.05); \
                 XA COMMIT '{xid}';"
            ),
            4 => write!(sql, "BEGIN; UPDATE t SET n = n + 1 WHERE id = {id}; ROLLBACK;"),
            _ => {
                write!(sql, "INSERT INTO t VALUES ({id}, 1, REPEAT('x', {})) ON DUPLICATE KEY UPDATE n = n + 1;", random.below(60))
            }
        };
    }
    source.sql_in(name, &sql);
}

fn manifest(name: &str, source: &Server, target: &Server, keys: &str) -> String {
    with_plugin(name, &copying(name, source, target, &format!("plugins = [\"number\"]\nbatch = {{ rows = 30 }}\n{keys}")))
}

fn with_plugin(name: &str, manifest: &str) -> String {
    let path = project("target/plugins/number.wasm");
    format!(
        "{manifest}\n[plugin.number]\npath = \"{}\"\nconfig = {{ tables = [\"{name}.t\"], column = \"version\" }}\n",
        path.display()
    )
}

/// Kills at every failpoint and at random.
fn kill(flow: &Flow, source: &Server, name: &str, random: &mut Random) {
    write(source, name, random, 30);
    for failpoint in tidegate::failpoint::NAMES {
        for count in [1, 3] {
            let armed = format!("{failpoint}:{count}");
            let mut run = flow.start(&[], &[("TIDEGATE_FAILPOINT", &armed)]);
            servers::wait_until(&format!("{armed} is passed"), || {
                write(source, name, random, 10);
                !run.is_running()
            });
            assert_eq!(run.wait().code(), None, "{armed}: {}", run.log());
        }
    }
    for _ in 0..15 {
        write(source, name, random, 15);
        let mut run = flow.start(&[], &[]);
        std::thread::sleep(Duration::from_millis(50 + random.below(900)));
        run.kill();
    }
    write(source, name, random, 30);
    flow.catch_up();
}

fn user(target: &Server) -> &'static str {
    if target.kind == Kind::Postgres { "postgres" } else { "root" }
}

fn numbers_are_right(name: &str, target: &Server, keys: &str) {
    let source = servers::shared_mysql();
    source.sql(&format!("CREATE DATABASE {name}"));
    source.sql_in(name, TABLE);
    target.sql(&format!("CREATE DATABASE {name}_there"));
    let there = format!("{name}_there");
    target.sql_in(&there, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT, pad VARCHAR(60), version BIGINT)");
    // `copying` has one name for both.
    let text = manifest(name, source, target, keys);
    let flow = Flow::new(&text.replace(&target.url(user(target), name), &target.url(user(target), &there)));
    kill(&flow, source, name, &mut Random::new(name.len() as u64));
    let here = source.sql_in(name, "SELECT id, n, n FROM t ORDER BY id");
    assert!(here.lines().count() > 10, "{here}");
    assert_eq!(here, target.sql_in(&there, "SELECT id, n, version FROM t ORDER BY id"));
}

#[test]
fn exactly_once_to_mysql() {
    numbers_are_right("state_my_eo", servers::shared_mysql(), "lanes = 3\ndelivery = \"exactly-once\"");
}

#[test]
fn exactly_once_to_postgres() {
    numbers_are_right("state_pg_eo", servers::shared_postgres(), "lanes = 2\ndelivery = \"exactly-once\"");
}

#[test]
fn at_least_once_to_postgres() {
    numbers_are_right("state_pg_alo", servers::shared_postgres(), "lanes = 2");
}

#[test]
fn by_transaction_to_mariadb() {
    numbers_are_right("state_ma_tx", servers::shared_mariadb(), "ordering = \"transaction\"\ndelivery = \"exactly-once\"");
}

/// A sink without marks, and what a user sees of the state.
#[test]
fn to_a_file_and_looked_at() {
    let (name, source) = ("state_file", servers::shared_mysql());
    source.sql(&format!("CREATE DATABASE {name}"));
    source.sql_in(name, TABLE);
    let manifest = |lanes: usize| {
        let source = format!(
            "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{name}.*\"]\nstart = \"earliest\"",
            source.url("root", "")
        );
        let rest = format!(
            "[pipeline.copy]\nsource = \"here\"\nsink = \"there\"\nplugins = [\"number\"]\nlanes = {lanes}\nbatch = {{ rows = 30 }}"
        );
        with_plugin(name, &format!("{source}\n[sink.there]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n{rest}"))
    };
    let flow = Flow::new(&manifest(3));
    kill(&flow, source, name, &mut Random::new(5));
    let mut last: BTreeMap<i64, Option<(i64, i64)>> = BTreeMap::new();
    for line in std::fs::read_to_string(flow.folder().join("out.jsonl")).expect("the output").lines() {
        let change: serde_json::Value = serde_json::from_str(line).expect("a change");
        let number = |image: &str, column: &str| change[image][column].as_i64();
        match number("after", "id") {
            Some(id) => drop(last.insert(id, number("after", "n").zip(number("after", "version")))),
            None => drop(last.insert(number("before", "id").expect("a key"), None)),
        }
    }
    let mut there = String::new();
    for (id, numbers) in last {
        if let Some((n, version)) = numbers {
            let _ = writeln!(there, "{id}\t{n}\t{version}");
        }
    }
    let here = source.sql_in(name, "SELECT id, n, n FROM t ORDER BY id");
    assert_eq!(here.trim(), there.trim());

    let (code, stdout, stderr) = flow.call(&["plugin", "state", "list"]);
    assert!(code == 0 && stdout.lines().count() == 4 && stdout.contains("number"), "{stdout}{stderr}");
    // What belongs to three lanes means nothing to two.
    flow.write(&manifest(2));
    let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 2 && stderr.contains("what its plugins remember belongs to lanes = 3, ordering = \"key\""), "{code}: {stderr}");
    assert!(stderr.contains("tidegate plugin state clear --pipeline copy"), "{stderr}");
    let (code, stdout, stderr) = flow.call(&["plugin", "state", "clear", "--pipeline", "copy"]);
    assert!(code == 0 && stdout.starts_with("forgotten: "), "{stdout}{stderr}");
    flow.catch_up();
    assert_eq!(flow.call(&["plugin", "state", "list"]).1.lines().count(), 1);
}

/// Versions that keep a state, and one in between that keeps none: it is there again for the next one, after a restart too.
#[test]
fn a_version_without_a_state_forgets_none() {
    let (name, source, target) = ("state_between", servers::shared_mysql(), servers::shared_postgres());
    source.sql(&format!("CREATE DATABASE {name}"));
    source.sql_in(name, TABLE);
    target.sql(&format!("CREATE DATABASE {name}"));
    target.sql_in(name, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT, pad VARCHAR(60), version BIGINT)");
    let counting = manifest(name, source, target, "lanes = 2\ndelivery = \"exactly-once\"");
    let at = counting.find("[plugin.number]").expect("its section");
    let path = project("target/plugins/mask.wasm");
    let between =
        format!("{}[plugin.number]\npath = \"{}\"\nconfig = {{ columns = [\"pad\"] }}\n", &counting[..at], path.display());
    let flow = Flow::new(&counting);
    let rows: String =
        (0..20).map(|id| format!("INSERT INTO t VALUES ({id}, 1, ''); UPDATE t SET n = 2 WHERE id = {id};")).collect();
    source.sql_in(name, &rows);
    let mut last = 100;
    // What is counted is what came with the plugin that counts.
    let mut settle = |counts: bool| {
        if counts {
            source.sql_in(name, "UPDATE t SET n = n + 1 WHERE id < 100");
        }
        last += 1;
        source.sql_in(name, &format!("INSERT INTO t VALUES ({last}, 1, '')"));
        let arrived = format!("SELECT COUNT(*) FROM t WHERE id = {last}");
        servers::wait_until("the last row has come", || target.sql_in(name, &arrived).trim() == "1");
        let here = source.sql_in(name, "SELECT id, n, n FROM t WHERE id < 100 ORDER BY id");
        assert_eq!(here, target.sql_in(name, "SELECT id, n, version FROM t WHERE id < 100 ORDER BY id"));
    };
    let reload = |manifest: &str| {
        flow.write(manifest);
        let (code, out, err) = flow.call(&["plugin", "reload", "number"]);
        assert!(code == 0, "{code}: {out}{err}");
    };
    let mut run = flow.start(&[], &[]);
    settle(true);
    reload(&between);
    settle(false);
    reload(&counting);
    settle(true);
    reload(&between);
    settle(false);
    run.signal("TERM");
    assert!(run.wait().success(), "{}", run.log());
    let mut run = flow.start(&[], &[]);
    settle(false);
    reload(&counting);
    settle(true);
    run.kill();
    let _run = flow.start(&[], &[]);
    settle(true);
}
