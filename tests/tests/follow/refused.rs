//! What cannot be carried over stops the pipeline in front of it, and the message leads past it.

use tidegate_tests::project;
use tidegate_tests::servers;

use super::{Pair, Target};

/// The command between backticks that begins so, as arguments.
fn command<'t>(text: &'t str, begin: &str) -> Vec<&'t str> {
    let at = text.find(begin).unwrap_or_else(|| panic!("no `{begin}` in: {text}"));
    text[at..].split('`').next().expect("a first part").split(' ').skip(1).collect()
}

/// Stops at `statement`, says `reason`; with `by_hand` run at the target, or without it, the command leads past it.
fn stops(pair: &Pair<'_>, statement: &str, reason: &str, by_hand: &str) {
    let count = |text: String| text.trim().to_owned();
    pair.sql("INSERT INTO other VALUES (NULL)");
    let before = count(pair.source.sql_in(&pair.name, "SELECT count(*) FROM other"));
    pair.sql(&format!("{statement}; INSERT INTO other VALUES (NULL)"));
    for _ in 0..2 {
        let (code, _, stderr) = pair.flow.call(&["run", "--until", "caught-up"]);
        assert_eq!(code, 3, "{statement}: {stderr}");
        assert!(stderr.contains(reason), "{statement}: no `{reason}` in: {stderr}");
        let shown: Vec<&str> = statement.split_whitespace().collect();
        assert!(stderr.contains(&shown.join(" ")), "{statement}: {stderr}");
        assert_eq!(count(pair.at_target("SELECT count(*) FROM other")), before, "{statement}: before it all, behind it nothing");
    }
    let (_, _, stderr) = pair.flow.call(&["run", "--until", "caught-up"]);
    if !by_hand.is_empty() {
        pair.at_target(by_hand);
    }
    let (code, _, said) = pair.flow.call(&command(&stderr, "tidegate cursor set"));
    assert_eq!(code, 0, "{said}");
    pair.flow.catch_up();
}

const OTHER: &str = "CREATE TABLE other (id INT AUTO_INCREMENT PRIMARY KEY)";

#[test]
fn what_would_leave_other_values_stops() {
    let pair = Pair::new(servers::shared_mysql(), Target::Server(servers::shared_postgres()), "fol_ref_pg", "", "lanes = 2");
    pair.sql(&format!("{OTHER}; CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), d DATETIME(3), j JSON)"));
    pair.sql("INSERT INTO t VALUES (1, '007', '2026-01-01 00:00:00.5', '1')");
    pair.flow.catch_up();
    let by_hand = "ALTER TABLE \"t\" ALTER COLUMN \"a\" TYPE integer USING \"a\"::integer";
    stops(&pair, "ALTER TABLE t MODIFY a INT", by_hand, by_hand);
    pair.assert_same("a type by hand");
    let by_hand = "ALTER TABLE \"t\" ALTER COLUMN \"d\" TYPE timestamp(0) USING \"d\"::timestamp(0)";
    stops(&pair, "ALTER TABLE t MODIFY d DATETIME", by_hand, by_hand);
    pair.assert_same("a fraction by hand");
    // A table that depends on ours, at the target alone.
    pair.at_target("CREATE VIEW seen AS SELECT a FROM t");
    stops(
        &pair,
        "ALTER TABLE t DROP COLUMN a",
        "the target refuses `ALTER TABLE \"t\" DROP COLUMN \"a\"`",
        "DROP VIEW seen; ALTER TABLE t DROP a",
    );
    pair.assert_same("a column by hand");
}

#[test]
fn what_is_not_understood_stops() {
    let pair = Pair::new(servers::shared_mariadb(), Target::Sqlite, "fol_ref_maria", "", "");
    pair.sql(&format!(
        "{OTHER}; CREATE TABLE t (id INT PRIMARY KEY, a INT); INSERT INTO t VALUES (1, 1), (2, 1); CREATE TABLE x LIKE t; INSERT INTO x VALUES (1, 1)"
    ));
    pair.flow.catch_up();
    stops(&pair, "ALTER TABLE t CONVERT TO CHARACTER SET DEFAULT", "it is not understood", "");
    stops(&pair, "ALTER IGNORE TABLE t ADD UNIQUE (a)", "IGNORE", "DELETE FROM t WHERE id = 2");
    pair.assert_same("IGNORE by hand");
    stops(&pair, "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a)", "SQLite cannot give", "");
    stops(&pair, "ALTER TABLE x RENAME TO mysql.fol_x", "a name that is not followed, `mysql.fol_x`", "");
}

#[test]
fn partitions_that_go_stop() {
    let pair = Pair::new(servers::shared_mysql(), Target::Sqlite, "fol_ref_part", "", "");
    pair.sql(&format!(
        "{OTHER}; CREATE TABLE t (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)"
    ));
    pair.sql("INSERT INTO other VALUES (1); INSERT INTO t VALUES (1), (11); ALTER TABLE t ADD a INT DEFAULT 4");
    pair.flow.catch_up();
    pair.assert_same("partitions");
    pair.sql("ALTER TABLE t DROP PARTITION p0");
    let (code, _, stderr) = pair.flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 3 && stderr.contains("takes rows from `fol_ref_part.t`"), "{stderr}");
}

#[test]
fn what_others_use_stops() {
    let source = servers::shared_mysql();
    source.sql("CREATE DATABASE fol_ref_b; CREATE TABLE fol_ref_b.t (id INT PRIMARY KEY)");
    let pair = Pair::new(source, Target::Sqlite, "fol_ref_a", "", "");
    pair.flow.write(&pair.flow.manifest().replace("tables = [\"fol_ref_a.*\"]", "tables = [\"fol_ref_a.*\", \"fol_ref_b.*\"]"));
    pair.sql(&format!("{OTHER}; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)"));
    pair.flow.catch_up();
    stops(&pair, "TRUNCATE TABLE t", "table `t` takes the rows of `fol_ref_b.t`, too", "DELETE FROM t WHERE id = 1");
    source.sql("DROP DATABASE fol_ref_b");
    let (code, _, stderr) = pair.flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 3 && stderr.contains("takes the rows of `fol_ref_a.t`, too"), "{stderr}");
}

#[test]
fn a_table_that_a_plugin_takes_stops() {
    let plugin = project("target/plugins/mask.wasm");
    let pair = Pair::new(servers::shared_mysql(), Target::Sqlite, "fol_ref_plug", "", "plugins = [\"mask\"]");
    let mask = format!("\n[plugin.mask]\npath = \"{}\"\nconfig = {{ columns = [\"email\"] }}\n", plugin.display());
    pair.flow.write(&(pair.flow.manifest() + &mask));
    pair.sql(&format!("{OTHER}; CREATE TABLE t (id INT PRIMARY KEY, email TEXT); INSERT INTO t VALUES (1, 'a')"));
    pair.flow.catch_up();
    stops(&pair, "ALTER TABLE t ADD b INT", "a plugin takes the rows of `fol_ref_plug.t`", "ALTER TABLE t ADD b INTEGER");
    // Others are followed.
    pair.sql("ALTER TABLE other ADD c INT DEFAULT 5");
    pair.flow.catch_up();
    assert_eq!(pair.at_target("SELECT DISTINCT c FROM other"), "5\n");
}

#[test]
fn a_table_that_was_never_known_stops() {
    let pair = Pair::new(servers::shared_mysql(), Target::Sqlite, "fol_ref_old", "start = \"earliest\"", "");
    pair.sql(&format!("{OTHER}; SET sql_log_bin = 0; CREATE TABLE t (id INT PRIMARY KEY); SET sql_log_bin = 1"));
    pair.at_target("CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY); CREATE TABLE other (id INTEGER NOT NULL PRIMARY KEY)");
    stops(&pair, "ALTER TABLE t ADD a INT", "before at the source are not known", "ALTER TABLE t ADD a INTEGER");
    pair.sql("INSERT INTO t VALUES (1, 2)");
    pair.flow.catch_up();
    assert_eq!(pair.at_target("SELECT a FROM t"), "2\n");
}
