//! Plugins that are replaced while rows flow: one position separates the rows of two versions over all lanes, and what cannot run changes
//! nothing.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tidegate_tests::flow::{Flow, Run, copying};
use tidegate_tests::project;
use tidegate_tests::servers::{self, Kind, Server};

mod beside;
mod crash;
mod refused;
mod rollback;

/// A pause longer than this is told as a failure. The promise is 5 ms; the machine that runs tests has other things to do, too.
const PAUSE_US_MAX: u64 = 100_000;

/// The component `stamp` with another version in it.
fn stamp(version: u32) -> Vec<u8> {
    let path = project("target/plugins/stamp.wasm");
    let mut bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run `make plugins`", path.display()));
    let mark = b"tidegate-stamp-version:";
    let at: Vec<usize> = (0..bytes.len() - mark.len()).filter(|&at| bytes[at..].starts_with(mark)).collect();
    let [at] = at[..] else { panic!("the version stands {} times in {}", at.len(), path.display()) };
    bytes[at + mark.len()..at + mark.len() + 4].copy_from_slice(format!("{version:04}").as_bytes());
    bytes
}

/// A schema at MySQL and its copy, with the plugin `stamp` in between.
struct Stamped<'a> {
    name: String,
    source: &'a Server,
    target: &'a Server,
    flow: Flow,
}

impl<'a> Stamped<'a> {
    /// `keys`: more keys of the pipeline; `settings`: more of the plugin's `config`.
    fn new(name: &str, source: &'a Server, target: &'a Server, keys: &str, settings: &str) -> Stamped<'a> {
        source.sql(&format!("CREATE DATABASE {name}"));
        target.sql(&format!("CREATE DATABASE {name}_to"));
        source.sql_in(
            name,
            "CREATE TABLE log (id BIGINT PRIMARY KEY, v INT NOT NULL DEFAULT 0);
             CREATE TABLE acc (id INT PRIMARY KEY, n BIGINT NOT NULL, v INT NOT NULL DEFAULT 0, d BIGINT NOT NULL DEFAULT 0)",
        );
        let copied = "CREATE TABLE log (id BIGINT PRIMARY KEY, v INT NOT NULL);
             CREATE TABLE acc (id INT PRIMARY KEY, n BIGINT NOT NULL, v INT NOT NULL, d BIGINT NOT NULL);";
        // What is written, in its order, and how often.
        let seen = match target.kind {
            Kind::Postgres => {
                "CREATE TABLE seen (at BIGSERIAL PRIMARY KEY, what TEXT, key BIGINT, n BIGINT, v INT);
                 CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   IF TG_TABLE_NAME = 'log' THEN INSERT INTO seen (what, key, n, v) VALUES ('log', NEW.id, 0, NEW.v);
                   ELSE INSERT INTO seen (what, key, n, v) VALUES ('acc', NEW.id, NEW.n, NEW.v); END IF; RETURN NEW; END $$;
                 CREATE TRIGGER see AFTER INSERT OR UPDATE ON log FOR EACH ROW EXECUTE FUNCTION see();
                 CREATE TRIGGER see AFTER INSERT OR UPDATE ON acc FOR EACH ROW EXECUTE FUNCTION see();"
            }
            _ => {
                "CREATE TABLE seen (at BIGINT AUTO_INCREMENT PRIMARY KEY, what TEXT, `key` BIGINT, n BIGINT, v INT);
                 CREATE TRIGGER a AFTER INSERT ON log FOR EACH ROW INSERT INTO seen (what, `key`, n, v) VALUES ('log', NEW.id, 0, NEW.v);
                 CREATE TRIGGER b AFTER UPDATE ON log FOR EACH ROW INSERT INTO seen (what, `key`, n, v) VALUES ('log', NEW.id, 0, NEW.v);
                 CREATE TRIGGER c AFTER INSERT ON acc FOR EACH ROW INSERT INTO seen (what, `key`, n, v) VALUES ('acc', NEW.id, NEW.n, NEW.v);
                 CREATE TRIGGER d AFTER UPDATE ON acc FOR EACH ROW INSERT INTO seen (what, `key`, n, v) VALUES ('acc', NEW.id, NEW.n, NEW.v);"
            }
        };
        target.sql_in(&format!("{name}_to"), &format!("{copied}{seen}"));
        let manifest = copying(name, source, target, &format!("plugins = [\"stamp\"]\n{keys}"));
        let (user, database) = if target.kind == Kind::Postgres { ("postgres", name) } else { ("root", name) };
        let manifest = manifest.replace(&target.url(user, database), &target.url(user, &format!("{name}_to")));
        let plugin = format!("\n[plugin.stamp]\npath = \"stamp.wasm\"\nconfig = {{ column = \"v\"{settings} }}\n");
        let flow = Flow::new(&(manifest + &plugin));
        let stamped = Stamped { name: name.to_owned(), source, target, flow };
        stamped.replace(&stamp(1));
        stamped
    }

    fn path(&self) -> PathBuf {
        self.flow.folder().join("stamp.wasm")
    }

    /// Renamed into its place.
    fn replace(&self, bytes: &[u8]) {
        let draft = self.flow.folder().join("stamp.new");
        fs::write(&draft, bytes).expect("write a component");
        fs::rename(&draft, self.path()).expect("rename a component");
    }

    fn there(&self, sql: &str) -> String {
        self.target.sql_in(&format!("{}_to", self.name), sql)
    }

    /// Rows `from` on, in transactions of several rows.
    fn write(&self, from: u64, transactions: u64) -> u64 {
        let mut sql = String::new();
        let mut id = from;
        for transaction in 0..transactions {
            sql.push_str("BEGIN;");
            for _ in 0..=transaction % 7 {
                id += 1;
                sql.push_str(&format!(
                    "INSERT INTO log (id) VALUES ({id}); INSERT INTO acc (id, n) VALUES ({}, {id}) ON DUPLICATE KEY UPDATE n = {id};",
                    id % 50
                ));
            }
            sql.push_str("COMMIT;\n");
        }
        self.source.sql_in(&self.name, &sql);
        id
    }

    fn rows(&self) -> u64 {
        self.there("SELECT count(*) FROM log").trim().parse().expect("a number")
    }

    fn wait_for(&self, rows: u64) {
        servers::wait_until(&format!("{rows} rows are there"), || self.rows() == rows);
    }

    /// What `tidegate plugin history` says, oldest first.
    fn history(&self) -> Vec<Json> {
        let (code, out, err) = self.flow.call(&["plugin", "history", "stamp", "--format", "json"]);
        assert_eq!(code, 0, "{err}");
        let all: Json = serde_json::from_str(&out).expect("JSON");
        all["history"].as_array().expect("a list").iter().map(|one| one["entry"].clone()).collect()
    }

    fn swaps(&self) -> Vec<Json> {
        self.history().into_iter().filter(|entry| entry["outcome"] == "swapped").collect()
    }

    /// Waits until the version runs of which the component is.
    fn wait_for_swap(&self, bytes: &[u8]) {
        let digest = tidegate::plugin::versions::digest(bytes);
        servers::wait_until("the new version runs", || self.swaps().last().is_some_and(|swap| swap["sha256"] == digest.as_str()));
    }

    /// Every row came once, and no row of an older version stands behind one of a newer: over all lanes for rows in the source's order, and
    /// as they were written for each key.
    fn assert_separated(&self, rows: u64) {
        let log: Vec<(u64, u32)> = self
            .there("SELECT id, v FROM log ORDER BY id")
            .lines()
            .map(|line| {
                let (id, v) = line.split_once('\t').expect("two columns");
                (id.parse().expect("a number"), v.parse().expect("a number"))
            })
            .collect();
        assert_eq!(log.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=rows).collect::<Vec<_>>(), "a row is missing");
        let falls = log.windows(2).find(|pair| pair[0].1 > pair[1].1);
        assert!(falls.is_none(), "{}: versions fall at {falls:?}", self.name);
        let falls = "SELECT count(*) FROM (SELECT v, lag(v) OVER (PARTITION BY what, KEY_ ORDER BY at) AS before_ FROM seen) s WHERE before_ > v";
        let key = if self.target.kind == Kind::Postgres { "key" } else { "`key`" };
        assert_eq!(self.there(&falls.replace("KEY_", key)).trim(), "0", "{}: a key fell back", self.name);
        let twice = format!("SELECT count(*) FROM (SELECT 1 FROM seen WHERE what = 'log' GROUP BY {key} HAVING count(*) > 1) s");
        assert_eq!(self.there(&twice).trim(), "0", "{}: a row was written twice", self.name);
        let here = self.source.sql_in(&self.name, "SELECT id, n FROM acc ORDER BY id");
        assert_eq!(self.there("SELECT id, n FROM acc ORDER BY id"), here);
        // A transaction is of one version: its last row tells.
        let last = log.last().map_or(0, |(_, v)| *v);
        assert!(log.iter().any(|(_, v)| *v < last), "{}: no version was replaced among rows", self.name);
    }
}

/// A new version every 300 ms while rows flow.
fn under_load(name: &str, target: &Server, keys: &str) {
    let source = servers::shared_mysql();
    let stamped = Stamped::new(name, source, target, keys, "");
    let mut run = stamped.flow.start(&[], &[]);
    let is_over = AtomicBool::new(false);
    let rows = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut id = 0;
            while !is_over.load(Ordering::Relaxed) {
                id = stamped.write(id, 40);
            }
            id
        });
        servers::wait_until("rows flow", || stamped.rows() > 0);
        for version in 2..=7 {
            let bytes = stamp(version);
            stamped.replace(&bytes);
            stamped.wait_for_swap(&bytes);
            std::thread::sleep(Duration::from_millis(300));
        }
        is_over.store(true, Ordering::Relaxed);
        writing.join().expect("rows are written")
    });
    stamped.wait_for(rows);
    run.signal("TERM");
    assert!(run.wait().success(), "{}", run.log());
    stamped.assert_separated(rows);
    let swaps = stamped.swaps();
    assert_eq!(swaps.len(), 6, "{swaps:?}");
    for swap in &swaps {
        let pause = swap["pause_us"].as_u64().expect("a pause");
        assert!(pause < PAUSE_US_MAX, "{pause} µs: {swap}");
        assert!(swap["position"].as_str().is_some_and(|position| position.contains("binlog.")), "{swap}");
    }
    let pauses: Vec<u64> = swaps.iter().filter_map(|swap| swap["pause_us"].as_u64()).collect();
    println!("{name}: pauses of {pauses:?} µs");
}

#[test]
fn over_lanes_to_postgres() {
    under_load("rel_key", servers::shared_postgres(), "lanes = 3\nbatch = { rows = 50 }");
}

#[test]
fn by_table_exactly_once_to_mysql() {
    under_load("rel_table", servers::shared_mysql(), "lanes = 2\nordering = \"table\"\ndelivery = \"exactly-once\"");
}

#[test]
fn by_transaction_to_postgres() {
    under_load("rel_trans", servers::shared_postgres(), "ordering = \"transaction\"\nbatch = { rows = 20 }");
}

#[test]
fn in_one_lane_to_mysql() {
    under_load("rel_global", servers::shared_mysql(), "ordering = \"global\"");
}

/// The digest that ran last, by the history.
fn runs(stamped: &Stamped<'_>) -> String {
    let history = stamped.history();
    let last = history.iter().rfind(|entry| entry["outcome"] != "refused").expect("something ran");
    last["sha256"].as_str().expect("a digest").to_owned()
}

fn digest(bytes: &[u8]) -> String {
    tidegate::plugin::versions::digest(bytes)
}

/// A process that runs, and has the table's first row through.
fn running(stamped: &Stamped<'_>) -> (Run, u64) {
    let run = stamped.flow.start(&[], &[]);
    let id = stamped.write(0, 3);
    stamped.wait_for(id);
    (run, id)
}

/// A file that grows slowly in its place is loaded when it is whole.
#[test]
fn a_file_written_in_its_place_is_loaded_when_it_is_whole() {
    let stamped = Stamped::new("rel_slow", servers::shared_mysql(), servers::shared_postgres(), "lanes = 2", "");
    let (mut run, id) = running(&stamped);
    let bytes = stamp(2);
    // Gone for a while; then in pieces, some of which are seen.
    fs::remove_file(stamped.path()).expect("remove");
    std::thread::sleep(Duration::from_millis(600));
    for part in 1..=8 {
        fs::write(stamped.path(), &bytes[..bytes.len() * part / 8]).expect("write");
        std::thread::sleep(Duration::from_millis(100));
    }
    stamped.wait_for_swap(&bytes);
    let id = stamped.write(id, 3);
    stamped.wait_for(id);
    assert!(run.is_running());
    assert_eq!(stamped.there("SELECT min(v), max(v) FROM log").trim(), "1\t2");
}

/// Settings of the manifest are taken up; what else has changed is named.
#[test]
fn the_manifest_is_taken_up() {
    let stamped = Stamped::new("rel_manifest", servers::shared_mysql(), servers::shared_postgres(), "lanes = 2", "");
    let (mut run, id) = running(&stamped);
    // Now images before the change are read, too.
    let manifest = stamped.flow.manifest();
    let settings = "config = { column = \"v\", difference = [\"n\", \"d\"] }";
    let new = manifest.replace("config = { column = \"v\" }", settings).replace("lanes = 2", "lanes = 3");
    stamped.flow.write(&new);
    servers::wait_until("the settings run", || stamped.swaps().last().is_some_and(|swap| swap["cause"] == "manifest"));
    servers::wait_until("it is told", || run.log().contains("the manifest's `pipeline.copy` has changed"));
    stamped.source.sql_in("rel_manifest", "UPDATE acc SET n = n + 1000 WHERE id = 1");
    servers::wait_until("the difference is there", || stamped.there("SELECT d FROM acc WHERE id = 1").trim() == "1000");
    let swap = stamped.swaps().pop().expect("a swap");
    assert_eq!(swap["before"], swap["sha256"], "{swap}");
    // One that cannot be read is told, and changes nothing.
    stamped.flow.write("[plugin");
    servers::wait_until("it is told", || run.log().contains("the manifest cannot be read"));
    let (code, _, _) = stamped.flow.call(&["plugin", "reload", "stamp"]);
    assert_eq!(code, 2);
    stamped.flow.write(&new);
    // SIGHUP looks at everything.
    let bytes = stamp(3);
    stamped.replace(&bytes);
    run.signal("HUP");
    stamped.wait_for_swap(&bytes);
    let id = stamped.write(id, 3);
    stamped.wait_for(id);
    assert!(run.is_running());
    assert_eq!(stamped.swaps().len(), 2);
}
