//! Changes that a plugin or a sink cannot take are set aside, with what comes later for their keys; the rest goes on; and once they are
//! retried, the target has what the source has.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value as Json;
use tidegate_tests::flow::{Flow, copying};
use tidegate_tests::load::Random;
use tidegate_tests::project;
use tidegate_tests::servers::{self, Kind, Server, wait_until};

mod state;

const TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, note VARCHAR(100) NOT NULL, n BIGINT NOT NULL)";
/// In every row value.
const MARKER: &str = "Marzipan";

struct Shop {
    name: &'static str,
    source: &'static Server,
    target: &'static Server,
    flow: Flow,
    delivery: &'static str,
}

impl Shop {
    fn new(name: &'static str, target: &'static Server, delivery: &'static str) -> Shop {
        let source = servers::shared_mysql();
        source.sql(&format!("CREATE DATABASE {name}_s"));
        source.sql_in(&format!("{name}_s"), TABLE);
        target.sql(&format!("CREATE DATABASE {name}_t"));
        target.sql_in(&format!("{name}_t"), TABLE);
        let shop = Shop { name, source, target, flow: Flow::new(""), delivery };
        shop.plugin("marked", "");
        shop
    }

    /// What the plugin does; `more` keys of the pipeline.
    fn plugin(&self, deed: &str, more: &str) {
        let hostile = project("target/plugins/hostile.wasm");
        assert!(hostile.exists(), "{} is missing: run `make plugins`", hostile.display());
        let pipeline = format!(
            "plugins = [\"hostile\"]\nlanes = 2\ndelivery = \"{}\"\nbatch = {{ rows = 64 }}\non_row_error = \"dead-letter\"\n{more}\n\
             [plugin.hostile]\npath = \"{}\"\ntime = \"100ms\"\nmemory = \"16MiB\"\noutput = \"1MiB\"\nconfig = {{ do = \"{deed}\" }}\n",
            self.delivery,
            hostile.display()
        );
        let manifest = copying("NAME", self.source, self.target, &pipeline);
        let (target, source) = (format!("/{}_t\"", self.name), format!("{}_s.*", self.name));
        self.flow.write(&manifest.replace("/NAME\"", &target).replace("NAME.*", &source));
    }

    fn sql(&self, statements: &str) {
        self.source.sql_in(&format!("{}_s", self.name), statements);
    }

    /// Source and target have the same rows, but for these.
    fn assert_same(&self, but: &BTreeSet<u64>) {
        let but: Vec<String> = but.iter().map(ToString::to_string).chain(["-1".to_owned()]).collect();
        let query = format!("SELECT id, note, n FROM t WHERE id NOT IN ({}) ORDER BY id", but.join(","));
        let here = self.source.sql_in(&format!("{}_s", self.name), &query);
        let there = self.target.sql_in(&format!("{}_t", self.name), &query);
        let differ = here.lines().zip(there.lines()).find(|(a, b)| a != b);
        assert!(here == there, "{} rows here, {} there, first difference {differ:?}", here.lines().count(), there.lines().count());
    }

    fn there(&self, query: &str) -> String {
        self.target.sql_in(&format!("{}_t", self.name), query).trim().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Json {
        let (code, out, err) = self.flow.call(&[&["--format", "json", "dead-letter"], arguments].concat());
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        serde_json::from_str(&out).expect("JSON")
    }

    fn letters(&self) -> Vec<Json> {
        self.command(&["list"])["dead_letters"].as_array().expect("a list").clone()
    }

    fn whys(&self) -> Vec<String> {
        let why = |letter: &Json| letter["why"].as_object().and_then(|why| why.keys().next().cloned()).expect("a reason");
        self.letters().iter().map(why).collect()
    }
}

#[test]
fn a_poisoned_row_is_set_aside_alone_and_what_comes_later_waits() {
    let shop = Shop::new("dead_one", servers::shared_postgres(), "at-least-once");
    let rows: String = (1..=300).map(|id| format!("({id}, '{MARKER} {id}', 0),")).collect();
    shop.sql(&format!("INSERT INTO t VALUES {}", rows.trim_end_matches(',')));
    let deeds = ["trap", "loop", "allocate", "error", "row-error", "large", "malformed"];
    let poisoned: BTreeSet<u64> = (0..7).map(|n| 40 * n + 7).collect();
    for (id, deed) in poisoned.iter().zip(deeds) {
        shop.sql(&format!(
            "BEGIN; UPDATE t SET n = 1; UPDATE t SET note = '{deed}! {MARKER}' WHERE id = {id}; UPDATE t SET n = 2; COMMIT"
        ));
    }
    shop.sql("UPDATE t SET n = n + 1, note = CONCAT(note, '.') WHERE id < 150; DELETE FROM t WHERE id = 87");
    let mut run = shop.flow.start(&["--until", "caught-up"], &[]);
    assert!(run.wait().success(), "{}", run.log());
    shop.assert_same(&poisoned);
    // As it was in front of its first bad change.
    assert_eq!(shop.there("SELECT COUNT(*) FROM t WHERE n = 1 AND id IN (7, 47, 87, 127, 167, 207, 247)"), "7");
    let letters = shop.letters();
    let dead: Vec<&Json> = letters.iter().filter(|letter| letter["why"]["plugin"]["name"] == "hostile").collect();
    // Or more: the next change in the same batch has the text as well.
    assert!(dead.len() >= 7, "{letters:#?}");
    let whys: Vec<&str> = dead.iter().filter_map(|letter| letter["why"]["plugin"]["message"].as_str()).collect();
    for part in ["trapped on purpose", "100 ms", "16777216 bytes", "refused on purpose", "bad on purpose", "1048576 bytes", "UTF-8"]
    {
        assert!(whys.iter().any(|why| why.contains(part)), "{part}: {whys:#?}");
    }
    assert!(dead.iter().all(|letter| letter["why"]["plugin"]["sha256"].as_str().is_some_and(|sha256| sha256.len() == 64)));
    assert!(letters.len() > 30 && letters.iter().all(|letter| letter["gtid"].is_string()), "{}", letters.len());

    // Values are shown by `show`, and are nowhere else.
    let id = dead[0]["id"].to_string();
    let (code, shown, _) = shop.flow.call(&["dead-letter", "show", &id]);
    assert!(
        code == 0 && shown.contains(MARKER) && shown.contains("\"before\"") && shown.contains("dead_one_s.t (key id)"),
        "{shown}"
    );
    let (_, listed, _) = shop.flow.call(&["dead-letter", "list"]);
    assert!(listed.contains("plugin `hostile`: crashed") && listed.contains("behind ") && !listed.contains(MARKER), "{listed}");
    assert!(!run.log().contains(MARKER), "{}", run.log());
    let (_, checked, _) = shop.flow.call(&["check", "--offline"]);
    assert!(checked.contains("changes could not be delivered, and"), "{checked}");

    // Nothing is mended: all fail again, and stay. Changes go on waiting meanwhile.
    let mut run = shop.flow.start(&[], &[]);
    shop.sql("UPDATE t SET n = n + 1; INSERT INTO t VALUES (1000, 'last', 0)");
    wait_until("the last row has come", || shop.there("SELECT COUNT(*) FROM t WHERE id = 1000") == "1");
    let before = shop.letters().len();
    let (code, out, err) = shop.flow.call(&["dead-letter", "retry", "--all"]);
    assert!(code == 4 && out.starts_with("0 delivered") && err.contains("7 dead letters failed again"), "{out}{err}");
    assert_eq!(shop.letters().len(), before);
    // The change that is dropped is of the row's text, which later ones bring as well.
    let dropped = shop.command(&["drop", &id]);
    assert_eq!(dropped["dropped"], 1, "{dropped}");

    // The plugin is mended while it runs.
    shop.plugin("nothing", "");
    wait_until("the plugin that runs takes all", || shop.flow.call(&["dead-letter", "retry", "--all"]).0 == 0);
    assert_eq!(shop.letters(), Vec::<Json>::new());
    shop.sql("UPDATE t SET n = n + 1; INSERT INTO t VALUES (1001, 'the very last', 0)");
    wait_until("the very last row has come", || shop.there("SELECT COUNT(*) FROM t WHERE id = 1001") == "1");
    run.signal("TERM");
    assert!(run.wait().success(), "{}", run.log());
    shop.flow.catch_up();
    shop.assert_same(&BTreeSet::new());
}

/// A row that the target refuses, and a plugin that never succeeds.
#[test]
fn sinks_refuse_rows_and_hopeless_plugins_stop() {
    let shop = Shop::new("dead_sink", servers::shared_postgres(), "at-least-once");
    shop.target.sql_in("dead_sink_t", "ALTER TABLE t ADD CHECK (n <> 13); ALTER TABLE t ADD UNIQUE (note)");
    let rows: String = (1..=200).map(|id| format!("({id}, '{id}', {}),", id % 20)).collect();
    shop.sql(&format!("INSERT INTO t VALUES {}", rows.trim_end_matches(',')));
    shop.sql("UPDATE t SET n = 5, note = CONCAT('a', note) WHERE id % 20 = 13 AND id < 60; INSERT INTO t VALUES (900, '73', 1)");
    shop.flow.catch_up();
    let refused: BTreeSet<u64> = (13..=200).step_by(20).collect();
    shop.assert_same(&refused);
    let whys = shop.whys();
    let count = |why: &str| whys.iter().filter(|w| *w == why).count();
    assert_eq!((count("sink"), count("behind")), (10, 3), "{whys:?}");
    shop.target.sql_in("dead_sink_t", "ALTER TABLE t DROP CONSTRAINT t_n_check");
    shop.command(&["retry", "--all"]);
    shop.flow.catch_up();
    // 73 has the text that 900 has now.
    let left = shop.letters();
    assert_eq!(left.len(), 1, "{left:#?}");
    shop.assert_same(&BTreeSet::from([73]));
    shop.sql("UPDATE t SET note = 'other' WHERE id = 73");
    shop.flow.catch_up();
    assert_eq!(shop.command(&["drop", &left[0]["id"].to_string()])["dropped"], 1);
    shop.flow.catch_up();
    assert_eq!(shop.letters(), Vec::<Json>::new());
    shop.assert_same(&BTreeSet::new());

    shop.plugin("trap", "");
    shop.sql("UPDATE t SET n = n + 1");
    let (code, _, stderr) = shop.flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 0 || code == 4, "{stderr}");
    for n in 0..12 {
        shop.sql(&format!("INSERT INTO t SELECT id + 1000 * {n} + 2000, CONCAT(note, 'n{n}'), n FROM t WHERE id < 1000"));
    }
    let (code, _, stderr) = shop.flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 4 && stderr.contains("no other came through"), "{stderr}");
    shop.plugin("marked", "dead_letters_max = 10");
    shop.sql("INSERT INTO t VALUES (100000, 'trap!', 1)");
    let (code, _, stderr) = shop.flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 6 && stderr.contains("more than 10 dead letters"), "{stderr}");
    shop.plugin("nothing", "");
    shop.command(&["retry", "--all"]);
    shop.flow.catch_up();
    assert_eq!(shop.letters(), Vec::<Json>::new());
    shop.assert_same(&BTreeSet::new());
}

/// Rows that are read from their table are set aside like changes; a row that is read again stands once. Mended at the source, they come by
/// dropping what is bad. With `ddl = "follow"` a table that is emptied takes its letters along, and one that is renamed does not.
#[test]
fn rows_that_are_read_and_tables_that_are_altered() {
    let shop = Shop::new("dead_read", servers::shared_postgres(), "at-least-once");
    shop.flow.write(&shop.flow.manifest().replace("start = \"earliest\"", "start = \"snapshot\""));
    let text = |id: u64| if id % 200 == 3 { ["trap", "row-error", "error"][id as usize / 200] } else { "good" };
    let rows: String = (1..=500).map(|id| format!("({id}, '{}! {id}', 0),", text(id)).replace("good!", "good")).collect();
    shop.sql(&format!("INSERT INTO t VALUES {}", rows.trim_end_matches(',')));
    shop.flow.catch_up();
    let poisoned = BTreeSet::from([3, 203, 403]);
    shop.assert_same(&poisoned);
    let bad: Vec<String> = shop.letters().iter().map(|letter| letter["id"].to_string()).collect();
    assert_eq!((bad.len(), shop.letters()[0]["op"].as_str()), (3, Some("snapshot")));
    shop.sql("UPDATE t SET note = 'mended', n = n + 1");
    // Else what is read is older than what the stream has.
    shop.flow.catch_up();
    for _ in 0..2 {
        let (code, _, stderr) = shop.flow.call(&["snapshot", "--tables", "*.*"]);
        assert_eq!(code, 0, "{stderr}");
        shop.flow.catch_up();
        assert_eq!(shop.letters().len(), 9, "bad, mended and read again: {:#?}", shop.letters());
    }
    shop.assert_same(&poisoned);
    assert_eq!(shop.command(&[&["drop"], &bad.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat())["dropped"], 3);
    shop.flow.catch_up();
    assert_eq!(shop.letters(), Vec::<Json>::new());
    shop.assert_same(&BTreeSet::new());

    // Statements are followed where no plugin takes the rows.
    shop.plugin("nothing", "ddl = \"follow\"");
    shop.flow.write(&shop.flow.manifest().replace("plugins = [\"hostile\"]\n", ""));
    shop.target.sql_in("dead_read_t", "ALTER TABLE t ADD CHECK (n <> 13)");
    shop.sql("UPDATE t SET n = 13 WHERE id < 6");
    shop.flow.catch_up();
    assert_eq!(shop.letters().len(), 5);
    shop.sql("TRUNCATE t; INSERT INTO t VALUES (3, 'new', 1), (7, 'new', 13)");
    shop.flow.catch_up();
    assert_eq!(shop.letters().len(), 1, "{:#?}", shop.letters());
    shop.assert_same(&BTreeSet::from([7]));
    shop.sql("RENAME TABLE t TO u");
    let (code, _, stderr) = shop.flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 3 && stderr.contains("1 dead letters of its rows wait"), "{code} {stderr}");
    shop.target.sql_in("dead_read_t", "ALTER TABLE t DROP CONSTRAINT t_n_check");
    shop.command(&["retry", "--all"]);
    shop.flow.catch_up();
    assert_eq!(shop.there("SELECT COUNT(*) FROM u"), "2");
}

#[test]
fn killed_under_load_into_postgres() {
    killed_under_load("dead_pg", servers::shared_postgres(), "at-least-once");
}

#[test]
fn killed_under_load_into_mysql_exactly_once() {
    killed_under_load("dead_my", servers::shared_mysql(), "exactly-once");
}

/// Random changes, of which some are poisoned, while the process is killed again and again, at the failpoints of letters too; then the
/// plugin is mended, and letters are retried under load and under kills.
fn killed_under_load(name: &'static str, target: &'static Server, delivery: &'static str) {
    let shop = Shop::new(name, target, delivery);
    assert!(matches!(target.kind, Kind::Postgres | Kind::MySql));
    let mut random = Random::new(11);
    let mut poisoned = BTreeSet::new();
    let mut version = 0;
    let deeds = ["trap", "allocate", "error", "row-error", "row-error", "trap"];
    let mut write = |random: &mut Random, poisoned: &mut BTreeSet<u64>, transactions: u64, poisons: bool| {
        let mut sql = String::new();
        for _ in 0..transactions {
            sql.push_str("BEGIN;");
            for _ in 0..=random.below(6) {
                version += 1;
                let id = random.below(400) + 1;
                let note = if poisons && random.below(25) == 0 {
                    poisoned.insert(id);
                    format!("{}! {version}", deeds[random.below(6) as usize])
                } else {
                    format!("{MARKER} {version}")
                };
                sql.push_str(&match random.below(10) {
                    0 => format!("DELETE FROM t WHERE id = {id};"),
                    // The key changes: what waits for the old one waits, the new one goes.
                    1 => {
                        let new = id + 1000 * (1 + random.below(50));
                        format!("DELETE FROM t WHERE id = {new}; UPDATE t SET id = {new}, n = {version} WHERE id = {id};")
                    }
                    2..=4 => format!("UPDATE t SET n = {version} WHERE id = {id};"),
                    _ => format!(
                        "INSERT INTO t VALUES ({id}, '{note}', {version}) ON DUPLICATE KEY UPDATE note = '{note}', n = {version};"
                    ),
                });
            }
            sql.push_str("COMMIT;\n");
        }
        shop.sql(&sql);
    };
    write(&mut random, &mut poisoned, 100, true);
    let kill_at = |failpoint: &str, write: &mut dyn FnMut()| {
        let mut run = shop.flow.start(&[], &[("TIDEGATE_FAILPOINT", failpoint)]);
        wait_until(&format!("{failpoint} is passed"), || {
            write();
            !run.is_running()
        });
        let status = run.wait();
        assert_eq!(status.code(), None, "{failpoint}: not killed but ended with {status}\n{}", run.log());
    };
    for failpoint in
        ["letters-kept:1", "letters-kept:4", "sink-before:3", "sink-after:2", "batch-settled:5", "cursor-before-flush:1"]
    {
        kill_at(failpoint, &mut || write(&mut random, &mut poisoned, 10, true));
    }
    for _ in 0..25 {
        write(&mut random, &mut poisoned, 15, true);
        let mut run = shop.flow.start(&[], &[]);
        std::thread::sleep(Duration::from_millis(20 + random.below(250)));
        run.kill();
    }
    shop.flow.catch_up();
    // A row that moved with a poisoned text is set aside under its new key.
    let moved = shop.source.sql_in(&format!("{name}_s"), "SELECT id FROM t WHERE note LIKE '%!%'");
    poisoned.extend(moved.lines().map(|id| id.trim().parse::<u64>().expect("an id")));
    let held: BTreeSet<u64> = shop.letters().iter().map(|letter| key_of(&shop, letter)).collect();
    let unexpected: Vec<&u64> = held.iter().filter(|id| **id <= 400 && !poisoned.contains(id)).collect();
    assert!(unexpected.is_empty(), "keys that no poison touched are set aside: {unexpected:?}");
    assert!(held.len() > 10, "{} keys are set aside", held.len());
    shop.assert_same(&held);
    let places: Vec<(String, u64)> =
        shop.letters().iter().map(|letter| (letter["gtid"].to_string(), letter["row"].as_u64().expect("a row"))).collect();
    assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len(), "a letter is there twice");

    shop.plugin("nothing", "");
    for failpoint in ["letter-delivered:1", "letter-removed:1"] {
        shop.command(&["retry", "--all"]);
        kill_at(failpoint, &mut || write(&mut random, &mut poisoned, 5, false));
    }
    let run = shop.flow.start(&[], &[]);
    for _ in 0..5 {
        write(&mut random, &mut poisoned, 20, false);
        shop.command(&["list"]);
    }
    wait_until("all letters are delivered", || shop.letters().is_empty());
    drop(run);
    write(&mut random, &mut poisoned, 20, false);
    shop.flow.catch_up();
    assert_eq!(shop.letters(), Vec::<Json>::new());
    shop.assert_same(&BTreeSet::new());
    let log = fs::read_to_string(shop.flow.folder().join("stderr.log")).unwrap_or_default();
    assert!(!log.contains(MARKER), "a row value is in the log");
}

fn key_of(shop: &Shop, letter: &Json) -> u64 {
    let shown = shop.command(&["show", &letter["id"].to_string()]);
    let image = if letter["op"] == "delete" { "before" } else { "after" };
    shown["change"][image]["id"].as_u64().unwrap_or_else(|| panic!("{shown}"))
}
