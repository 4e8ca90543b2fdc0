//! Swaps beside what else goes on: other pipelines of the plugin, tables that are read, statements that are followed, rows that flow.

use super::*;

/// A second pipeline with the same plugin, into SQLite.
const SECOND: &str = "\n[sink.lite]\ntype = \"sqlite\"\npath = \"lite.sqlite\"\ncreate = true\n\
     [pipeline.lite]\nsource = \"here\"\nplugins = [\"stamp\"]\nsink = \"lite\"\nlanes = 1\n";

#[test]
fn all_pipelines_of_a_plugin_take_it_or_none_does() {
    let stamped = Stamped::new("rel_both", servers::shared_mysql(), servers::shared_postgres(), "lanes = 2", "");
    stamped.flow.write(&(stamped.flow.manifest() + SECOND));
    let (mut run, id) = running(&stamped);
    let bytes = stamp(2);
    stamped.replace(&bytes);
    let swapped = |stamped: &Stamped<'_>| {
        let mut names: Vec<String> =
            stamped.swaps().iter().map(|s| s["pipeline"].as_str().unwrap_or_default().to_owned()).collect();
        names.sort();
        names
    };
    servers::wait_until("both take it", || swapped(&stamped) == ["copy", "lite"]);
    servers::wait_until("both have their tables", || {
        let mut sqlite = std::process::Command::new("sqlite3");
        let tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('log', 'acc')";
        sqlite.args(["-batch", "-cmd", ".timeout 5000", "lite.sqlite", tables]).current_dir(stamped.flow.folder());
        servers::run(sqlite, "").trim() == "2"
    });
    // One target has the column, the other one does not.
    for table in ["log", "acc"] {
        stamped.there(&format!("ALTER TABLE {table} ADD COLUMN extra BIGINT"));
    }
    let manifest = stamped.flow.manifest();
    stamped.flow.write(&manifest.replace("config = { column = \"v\" }", "config = { column = \"v\", add = \"extra\" }"));
    let (code, out, err) = stamped.flow.call(&["plugin", "reload"]);
    assert!(code == 4 && out.contains("pipeline `lite`: sink `lite` would not take what comes out"), "{code}: {out}{err}");
    let rows = stamped.write(id, 3);
    stamped.wait_for(rows);
    assert_eq!(stamped.there("SELECT count(*) FROM log WHERE extra IS NOT NULL").trim(), "0");
    assert_eq!(swapped(&stamped), ["copy", "lite"]);
    assert!(run.is_running());
}

/// One whose sink is away comes to the new version late, or never: the others run it, and their history says so.
#[test]
fn a_pipeline_that_waits_holds_up_no_other() {
    let stamped = Stamped::new("rel_waits", servers::shared_mysql(), servers::shared_postgres(), "lanes = 2", "");
    let away = "\n[sink.away]\ntype = \"postgres\"\nurl = \"postgres://postgres@127.0.0.1:1/away\"\n\
         [pipeline.away]\nsource = \"here\"\nplugins = [\"stamp\"]\nsink = \"away\"\n";
    stamped.flow.write(&(stamped.flow.manifest() + away));
    let (mut run, mut id) = running(&stamped);
    let versions = [stamp(1), stamp(2), stamp(3)];
    for version in &versions[1..] {
        stamped.replace(version);
        stamped.wait_for_swap(version);
    }
    let back = std::thread::scope(|scope| {
        // It waits for both pipelines.
        let command = scope.spawn(|| stamped.flow.call(&["plugin", "rollback", "stamp"]));
        stamped.wait_for_swap(&versions[1]);
        id = stamped.write(id, 3);
        stamped.wait_for(id);
        run.signal("TERM");
        assert!(run.wait().success());
        command.join().expect("the command")
    });
    assert_eq!(stamped.there(&format!("SELECT v FROM log WHERE id = {id}")).trim(), "2", "{back:?}");
}

#[test]
fn rows_that_flow_are_tried_first() {
    let stamped = Stamped::new("rel_tried", servers::shared_mysql(), servers::shared_postgres(), "lanes = 2", "");
    let (mut run, mut id) = running(&stamped);
    let manifest = stamped.flow.manifest();
    stamped.flow.write(&manifest.replace("config = { column = \"v\" }", "config = { column = \"v\", below = 1 }"));
    servers::wait_until("it is refused", || {
        id = stamped.write(id, 20);
        stamped.history().last().is_some_and(|entry| entry["outcome"] == "refused")
    });
    let last = stamped.history().pop().expect("an entry");
    let why = last["why"].as_str().unwrap_or_default();
    assert!(why.contains("tried with rows that came just now") && why.contains("not below"), "{why}");
    stamped.wait_for(id);
    assert!(run.is_running());
}

#[test]
fn tables_are_read_meanwhile() {
    let name = "rel_read";
    let stamped = Stamped::new(name, servers::shared_mysql(), servers::shared_postgres(), "lanes = 2", "");
    let mut rows = stamped.write(0, 3000);
    let snapshot = "start = \"snapshot\"\nsnapshot = { chunk_rows = 200, rows_per_second = 4000 }";
    stamped.flow.write(&stamped.flow.manifest().replace("start = \"earliest\"", snapshot));
    let mut run = stamped.flow.start(&[], &[]);
    servers::wait_until("reading has begun", || stamped.rows() > 0);
    for version in 2..=4 {
        let bytes = stamp(version);
        stamped.replace(&bytes);
        stamped.wait_for_swap(&bytes);
        rows = stamped.write(rows, 5);
    }
    stamped.wait_for(rows);
    run.signal("TERM");
    assert!(run.wait().success(), "{}", run.log());
    assert_eq!(stamped.there("SELECT min(v), max(v) FROM log").trim(), "1\t4");
    assert_eq!(stamped.there("SELECT count(*) FROM log WHERE v < 1").trim(), "0");
    let here = stamped.source.sql_in(name, "SELECT id, n FROM acc ORDER BY id");
    assert_eq!(stamped.there("SELECT id, n FROM acc ORDER BY id"), here);
}

/// A table that a plugin takes is not altered; once another version leaves it alone, it is.
#[test]
fn statements_are_followed_by_what_runs() {
    let name = "rel_ddl";
    let stamped = Stamped::new(name, servers::shared_mysql(), servers::shared_postgres(), "lanes = 2\nddl = \"follow\"", "");
    // Its tables are there already.
    let manifest = stamped.flow.manifest().replace("start = \"earliest\"", "start = \"now\"");
    stamped.flow.write(&manifest);
    let mut run = stamped.flow.start(&[], &[]);
    servers::wait_until("it has begun", || run.log().contains("begins at"));
    let mut id = stamped.write(0, 3);
    stamped.wait_for(id);
    stamped.flow.write(&manifest.replace("config = { column = \"v\" }", "config = { column = \"none\" }"));
    servers::wait_until("it is taken up", || !stamped.swaps().is_empty());
    stamped.source.sql_in(name, "ALTER TABLE log ADD COLUMN x INT NOT NULL DEFAULT 7");
    id = stamped.write(id, 3);
    stamped.wait_for(id);
    assert_eq!(stamped.there(&format!("SELECT v, x FROM log WHERE id = {id}")).trim(), "0\t7");
    // The round that began behind the statement has what ran before it.
    stamped.flow.write(&manifest);
    servers::wait_until("it is taken back", || stamped.swaps().len() == 2);
    id = stamped.write(id, 3);
    stamped.wait_for(id);
    assert_eq!(stamped.there(&format!("SELECT v, x FROM log WHERE id = {id}")).trim(), "1\t7");
    assert!(run.is_running(), "{}", run.log());
}

/// Two plugins change at once, and one of them cannot run: the other one does.
#[test]
fn one_that_cannot_run_keeps_no_other_from_it() {
    let stamped = Stamped::new("rel_two", servers::shared_mysql(), servers::shared_postgres(), "lanes = 2", "");
    let manifest = stamped.flow.manifest().replace("plugins = [\"stamp\"]", "plugins = [\"stamp\", \"mask\"]");
    let path = project("target/plugins/mask.wasm");
    let mask = format!("\n[plugin.mask]\npath = \"{}\"\nconfig = {{ columns = [\"email\"] }}\n", path.display());
    stamped.flow.write(&(manifest + &mask));
    let (mut run, mut id) = running(&stamped);
    let bytes = stamp(2);
    stamped.replace(&bytes);
    // `n` is no text: it is refused when it is bound.
    stamped.flow.write(&stamped.flow.manifest().replace("[\"email\"]", "[\"n\"]"));
    let (code, out, err) = stamped.flow.call(&["plugin", "reload"]);
    assert!(code == 4 && out.contains("column `n` is") && out.contains("mask: refused"), "{code}: {out}{err}");
    stamped.wait_for_swap(&bytes);
    id = stamped.write(id, 3);
    stamped.wait_for(id);
    assert_eq!(stamped.there(&format!("SELECT v FROM log WHERE id = {id}")).trim(), "2");
    assert!(run.is_running());
}
