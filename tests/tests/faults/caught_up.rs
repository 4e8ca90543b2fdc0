//! `tidegate run --until caught-up` on servers whose last binlog files hold no transactions.

use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, Server};

use super::Shop;

/// With time to spare; a server says that it has nothing more after a second of silence.
const AT_ONCE: Duration = Duration::from_millis(900);

#[test]
fn empty_binlog_files_are_the_end_with_gtids() {
    ends_at_once(&servers::mysql(&[]));
}

#[test]
fn empty_binlog_files_are_the_end_without_gtids() {
    ends_at_once(&servers::mysql(&["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]));
}

#[test]
fn empty_binlog_files_are_the_end_in_mariadb() {
    ends_at_once(&servers::mariadb(&[]));
}

fn ends_at_once(server: &Server) {
    let mut shop = Shop::new(server, "caught_up");
    let flow = Flow::new(&format!(
        "{}[sink.copy]\ntype = \"sqlite\"\npath = \"copy.sqlite\"\ncreate = true\n[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\n",
        shop.source(server.port)
    ));
    for (rows, flushes) in [(40, 0), (0, 3), (40, 2), (1, 1), (0, 0)] {
        shop.write(rows);
        server.sql(&"FLUSH BINARY LOGS;".repeat(flushes));
        let start = Instant::now();
        flow.catch_up();
        let took = start.elapsed();
        let mut sqlite = Command::new("sqlite3");
        sqlite.args(["-separator", "\t", "copy.sqlite", "SELECT id, n, note FROM t ORDER BY id"]).current_dir(flow.folder());
        assert_eq!(servers::run(sqlite, ""), shop.rows(), "it ended too early");
        assert!(took < AT_ONCE, "{took:?} for {rows} rows and {flushes} empty files");
    }
}
