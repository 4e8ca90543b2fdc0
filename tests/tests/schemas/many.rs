//! Very many tables: what is kept of them is small, in memory and on the disk, and does not grow.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use tidegate_tests::flow::Flow;
use tidegate_tests::servers;

use super::minimal::manifest;

const TABLES: u64 = 3000;
/// On the disk: 64 MB for 10,000 tables.
const HISTORY_BYTES_MAX: u64 = 6400 * TABLES;
/// Most that a process has more than one that follows a single table.
const MEMORY_BYTES_MAX: u64 = 6400 * TABLES;

#[test]
fn very_many_tables_take_little_memory_and_disk() {
    let server = servers::mariadb(&["--binlog-row-metadata=NO_LOG"]);
    let mut sql = String::from("SET SESSION sql_log_bin = 0; CREATE DATABASE shop; USE shop;");
    for n in 0..TABLES {
        let _ = write!(
            sql,
            "CREATE TABLE orders_of_customer_{n:05} (id BIGINT PRIMARY KEY, customer INT NOT NULL, quantity INT NOT NULL DEFAULT 1, \
             status TINYINT NOT NULL, code VARCHAR(20) NOT NULL, name VARCHAR(60) NOT NULL, email VARCHAR(80), \
             amount DECIMAL(12,2) NOT NULL, created DATETIME(6) NOT NULL, changed TIMESTAMP NULL, note VARCHAR(200)) ENGINE = MEMORY;"
        );
    }
    server.sql(&sql);
    let all = manifest(server.port, "now");
    let one = Flow::new(&all.replace("shop.*", "shop.orders_of_customer_00000"));
    let idle = most_memory(&one);
    let flow = Flow::new(&all);
    let mut history = 0;
    for start in 0..4 {
        let memory = most_memory(&flow);
        assert!(memory < idle + MEMORY_BYTES_MAX, "start {start}: {memory} bytes of memory, {idle} with one table");
        history = fs::read_dir(flow.folder().join("tidegate-data/cursors")).expect("the store").map(size).sum();
        assert!(history < HISTORY_BYTES_MAX, "start {start}: {history} bytes on the disk");
        let table = format!("orders_of_customer_{:05}", start * 7);
        let alter = format!("ALTER TABLE {table} ADD late INT DEFAULT 3");
        server.sql_in("shop", &format!("{alter}; SET sql_mode = ''; INSERT INTO {table} (id, customer) VALUES (1, 2)"));
    }
    flow.catch_up();
    assert!(history > 0);
    let lines = fs::read_to_string(flow.folder().join("lines.jsonl")).expect("the rows");
    assert_eq!(lines.matches("\"late\":3").count(), 4, "{lines}");
}

/// The most memory that a run to the end of the binlog has, in bytes.
fn most_memory(flow: &Flow) -> u64 {
    let mut run = flow.start(&["--until", "caught-up"], &[]);
    let mut most = 0;
    while run.is_running() {
        let status = fs::read_to_string(format!("/proc/{}/status", run.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        most = kib.map_or(most, |kib| kib * 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(run.wait().success(), "{}", run.log());
    most
}

fn size(entry: std::io::Result<fs::DirEntry>) -> u64 {
    let entry = entry.expect("an entry");
    let about = entry.metadata().expect("what it is");
    match about.is_dir() {
        true => fs::read_dir(entry.path()).expect("a folder").map(size).sum(),
        false => about.len(),
    }
}
