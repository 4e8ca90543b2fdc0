//! The demo's recording, through the real program: masked into SQLite as `make demo` shows it, and unmasked into a MySQL of its own,
//! where every value must be what the recorded server's SELECT showed.

use std::fs;
use std::process::Command;

use tidegate_tests::{program, project, servers};

/// The tables of the recording and their primary keys, by which `expected/*.tsv` are sorted.
const TABLES: [(&str, &str); 5] =
    [("all_types", "id"), ("customers", "id"), ("order_lines", "order_id, line"), ("orders", "id"), ("products", "sku")];

#[test]
fn the_demo_masks_what_it_says() {
    let mut demo = Command::new(project("examples/demo/run.sh"));
    demo.env("TIDEGATE", program::tidegate().get_program());
    let shown = servers::run(demo, "");
    let (before, after) = shown.split_once("as the plugin leaves them").unwrap_or_else(|| panic!("{shown}"));
    assert!(before.contains("ada@example.com") && before.contains("+44 20 7946 0001"), "{shown}");
    assert!(after.contains("Ada Lovelace") && !after.contains("+44 20 7946 0001"), "{shown}");
}

#[test]
fn every_value_of_the_recording_arrives_in_mysql() {
    let target = servers::shared_mysql();
    target.sql("CREATE DATABASE demo CHARACTER SET utf8mb4");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = format!(
        "[source.shop]\ntype = \"binlog-files\"\npaths = [\"{}\"]\ntables = [\"shop.*\"]\n\
         [sink.copy]\ntype = \"mysql\"\nurl = \"{}\"\ncreate = true\n\
         [pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\n",
        project("examples/demo/binlog/shop.*").display(),
        target.url("root", "demo")
    );
    let path = folder.path().join("tidegate.toml");
    fs::write(&path, manifest).expect("write the manifest");
    let mut run = program::tidegate();
    run.args(["run", "--until", "caught-up"]).arg(&path);
    servers::run(run, "");

    for (table, key) in TABLES {
        let expected = fs::read_to_string(project(&format!("examples/demo/expected/{table}.tsv"))).expect("read the expected rows");
        let (columns, rows) = expected.split_once('\n').expect("a line of column names");
        // FLOAT as the DOUBLE that it is, as in the recording: the client rounds it otherwise.
        let columns = columns.replace('\t', ", ").replace("f32", "f32 + 0e0");
        // JSON goes as text, in which a server reads a DECIMAL as a DOUBLE.
        let rows = rows.replace("12345678901234567890.123456789,", "1.2345678901234567e19,");
        let found = target.sql_in("demo", &format!("SET time_zone = '+00:00'; SELECT {columns} FROM {table} ORDER BY {key}"));
        let count = (rows.lines().count(), found.lines().count());
        assert_eq!(count.0, count.1, "rows of {table}: recorded, arrived");
        for (recorded, arrived) in rows.lines().zip(found.lines()) {
            assert_eq!(recorded.split('\t').collect::<Vec<_>>(), arrived.split('\t').collect::<Vec<_>>(), "{table}");
        }
    }
}

/// Its binlog names no columns: they come from the statements in it.
#[test]
fn a_recording_of_mysql_5_6_arrives_in_mysql() {
    let recording = project("tests/fixtures/mysql-5.6");
    let target = servers::shared_mysql();
    target.sql("CREATE DATABASE old CHARACTER SET utf8mb4");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = format!(
        "[source.old]\ntype = \"binlog-files\"\npaths = [\"{}\"]\ntables = [\"old.*\"]\n\
         [sink.copy]\ntype = \"mysql\"\nurl = \"{}\"\ncreate = true\n\
         [pipeline.copy]\nsource = \"old\"\nsink = \"copy\"\nddl = \"follow\"\n",
        recording.join("binlog.*").display(),
        target.url("root", "old")
    );
    let path = folder.path().join("tidegate.toml");
    fs::write(&path, manifest).expect("write the manifest");
    let mut run = program::tidegate();
    run.args(["run", "--until", "caught-up"]).arg(&path);
    servers::run(run, "");
    let read = |name: &str| fs::read_to_string(recording.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(target.sql(&read("select.sql")), read("rows.tsv"));
}
