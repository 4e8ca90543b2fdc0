//! One transaction that is larger than the memory which Tidegate may take.

use std::fs;
use std::time::Duration;

use tidegate_tests::servers;

use super::{Copy, Origin};

/// `make nightly` sets another size.
const MIB: &str = "TIDEGATE_LARGE_TRANSACTION_MIB";
const RESIDENT_KIB_MAX: u64 = 256 * 1024;
/// A row has 4 KiB; every fourth is changed, which logs it twice more.
const ROWS_A_MIB: u64 = 1024 / 4 * 2 / 3;

/// Runs until it has caught up; the most memory that it took.
fn most_kib(copy: &Copy<'_>) -> u64 {
    let mut run = copy.flow.start(&["--until", "caught-up"], &[]);
    let mut most = 0;
    while run.is_running() {
        let status = fs::read_to_string(format!("/proc/{}/status", run.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(most);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(run.wait().code(), Some(0), "{}", run.log());
    assert!(most > 0, "nothing is known of its memory");
    most
}

/// Streamed, not collected: with ordering = "transaction" into the target transaction that stays open, else batch by batch.
#[test]
fn a_large_transaction_flows_through_little_memory() {
    let mib: u64 = std::env::var(MIB).map_or(512, |mib| mib.parse().expect(MIB));
    let rows = mib * ROWS_A_MIB;
    // The buffer pool holds the locks of a transaction, too.
    let quick = [
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-doublewrite=OFF",
        "--sync-binlog=0",
        "--innodb-redo-log-capacity=512M",
        "--innodb-buffer-pool-size=256M",
    ];
    let server = servers::mysql(&quick);
    let origin = Origin::new(&server, "large");
    origin.sql(&format!(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT, note TEXT CHARACTER SET latin1);
         SET cte_max_recursion_depth = {rows};
         BEGIN;
         INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i, 0, REPEAT(SHA2(i, 256), 64) FROM n;
         UPDATE t SET v = id WHERE id % 4 = 0;
         COMMIT;"
    ));
    let flows = |copy: Copy<'_>, pipeline: &str| {
        copy.configure_all("", "create = true", pipeline);
        let most = most_kib(&copy);
        println!("{mib} MiB into {}, {pipeline:?}: at most {most} KiB", copy.name());
        assert!(most < RESIDENT_KIB_MAX, "{} {pipeline}: {most} KiB", copy.name());
        copy.assert_same(&origin, "SELECT COUNT(*), SUM(id), SUM(v), SUM(LENGTH(note)), MIN(note), MAX(note) FROM t;");
    };
    // One after the other goes with what it wrote: only one has to fit on the disk.
    for pipeline in ["ordering = \"transaction\"\ndelivery = \"exactly-once\"", "lanes = 2"] {
        let target = servers::mysql(&[&quick[..], &["--skip-log-bin"]].concat());
        flows(Copy::to_server(&origin, &target, "large"), pipeline);
    }
    for pipeline in ["ordering = \"transaction\"", "lanes = 2"] {
        flows(Copy::to_sqlite(&origin), pipeline);
    }
}

/// One event of more than a million rows, whose columns would take many times the memory of a batch.
#[test]
fn a_row_event_of_many_rows_is_handed_out_in_parts() {
    const ROWS: u64 = 1_200_000;
    let server = servers::mysql(&["--binlog-row-event-max-size=256M", "--binlog-cache-size=64M"]);
    let origin = Origin::new(&server, "many");
    origin.sql(&format!(
        "CREATE TABLE t (id INT PRIMARY KEY, a BIGINT, b BIGINT, c INT);
         SET cte_max_recursion_depth = {ROWS};
         INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT i, i * 3, NULL, -i FROM n;"
    ));
    let largest = server
        .rows("SHOW BINLOG EVENTS")
        .iter()
        .filter(|row| row[2] == "Write_rows")
        .map(|row| row[4].parse::<u64>().expect("an offset") - row[1].parse::<u64>().expect("an offset"))
        .max();
    assert!(largest > Some(ROWS * 16), "the server has cut the event: {largest:?}");
    let copy = Copy::to_sqlite(&origin);
    copy.configure_all("", "create = true", "lanes = 2");
    let most = most_kib(&copy);
    println!("at most {most} KiB");
    assert!(most < 150 * 1024, "{most} KiB");
    copy.assert_same(&origin, "SELECT COUNT(*), SUM(id), SUM(a), SUM(b), SUM(c) FROM t;");
}
