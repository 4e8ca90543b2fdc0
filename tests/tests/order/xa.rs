//! XA transactions: their rows arrive with their XA COMMIT, whatever restarts in between, and never before or without it.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use tidegate_tests::load::Random;
use tidegate_tests::servers::{self, Kind, Server};

use super::{Copy, Origin};

/// What waits for its commit locks no gaps that others want.
const READ_COMMITTED: &str = "--transaction-isolation=READ-COMMITTED";
const ROWS: &str = "SELECT id, v, note FROM t ORDER BY id;";

/// Transactions that are prepared and wait, with the first of the ten ids that each has to itself.
struct Load<'s> {
    origin: &'s Origin<'s>,
    random: Random,
    waiting: Vec<u64>,
    next: u64,
}

impl Load<'_> {
    fn rows(&mut self, first: u64) -> String {
        let mut sql = String::new();
        for id in first..first + 1 + self.random.below(9) {
            let _ = write!(sql, "INSERT INTO t VALUES ({id}, {first}, REPEAT('x', {})); ", self.random.below(300));
        }
        let _ = write!(sql, "UPDATE t SET v = v + 1 WHERE id = {first}; DELETE FROM t WHERE id = {first} + 1; ");
        sql
    }

    /// One more transaction, or the decision about an earlier one.
    fn step(&mut self) {
        let first = self.next * 10;
        let xid = |first: u64| format!("'{first}', 'branch', {}", first % 3);
        let sql = match self.random.below(10) {
            0..=2 => {
                self.next += 1;
                self.waiting.push(first);
                let id = xid(first);
                format!("XA START {id}; {} XA END {id}; XA PREPARE {id};", self.rows(first))
            }
            3 => {
                self.next += 1;
                format!("XA START 'once'; {} XA END 'once'; XA COMMIT 'once' ONE PHASE;", self.rows(first))
            }
            4 => {
                self.next += 1;
                // Of a table that nobody follows, and the same id again and again.
                format!("XA START 'x'; INSERT INTO other.t VALUES ({first}); XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x';")
            }
            5..=7 if !self.waiting.is_empty() => {
                let first = self.waiting.swap_remove(self.random.below(self.waiting.len() as u64) as usize);
                format!("XA {} {};", if self.random.below(3) == 0 { "ROLLBACK" } else { "COMMIT" }, xid(first))
            }
            _ => {
                self.next += 1;
                format!("BEGIN; {} COMMIT;", self.rows(first))
            }
        };
        self.origin.sql(&sql);
    }

    /// A restart of MySQL may lose a prepared transaction, rows and all.
    fn look(&mut self) {
        let there = self.origin.sql("XA RECOVER");
        self.waiting.retain(|first| there.contains(&format!("\t{first}branch")));
    }

    fn decide_all(&mut self) {
        self.look();
        for first in std::mem::take(&mut self.waiting) {
            self.origin.sql(&format!("XA COMMIT '{first}', 'branch', {};", first % 3));
        }
    }
}

#[test]
fn rows_of_mysql_xa_transactions_arrive_with_their_commit() {
    arrive_with_their_commit(&servers::mysql(&[READ_COMMITTED]));
}

#[test]
fn rows_of_compressed_xa_transactions_arrive_with_their_commit() {
    arrive_with_their_commit(&servers::mysql(&[READ_COMMITTED, "--binlog-transaction-compression=ON", "--gtid-mode=OFF"]));
}

#[test]
fn rows_of_mariadb_xa_transactions_arrive_with_their_commit() {
    arrive_with_their_commit(&servers::mariadb(&[READ_COMMITTED]));
}

/// Random transactions, of which those in two phases wait while others come and go, while Tidegate is killed and the server restarts.
fn arrive_with_their_commit(server: &Server) {
    let origin = Origin::new(server, "xa");
    origin.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT, note VARCHAR(300)); CREATE DATABASE other; CREATE TABLE other.t (id INT);",
    );
    let name = format!("xa_{:?}_{}", server.kind, server.port).replace(['(', ')'], "").to_lowercase();
    let copies = [
        (Copy::to_sqlite(&origin), "lanes = 2\nbatch = { rows = 7 }"),
        (Copy::to_server(&origin, servers::shared_mysql(), &name), "delivery = \"exactly-once\"\nbatch = { rows = 5 }"),
        (
            Copy::to_server(&origin, servers::shared_postgres(), &name),
            "ordering = \"transaction\"\ndelivery = \"exactly-once\"\nbatch = { rows = 5 }",
        ),
    ];
    for (copy, pipeline) in &copies {
        copy.configure_all("", "create = true", pipeline);
    }
    let same = || {
        copies.iter().for_each(|(copy, _)| {
            copy.flow.catch_up();
            copy.assert_same(&origin, ROWS);
        });
    };
    let mut load = Load { origin: &origin, random: Random::new(5), waiting: Vec::new(), next: 1 };
    origin.sql("INSERT INTO t VALUES (1, 1, 'first')");
    same();
    for round in 0..10 {
        let failpoint = ["prepared-kept", "batch-sent", "cursor-before-flush", "cursor-flushed", "batch-settled"][round % 5];
        let armed = format!("{failpoint}:{}", 1 + round / 5);
        let mut runs = copies.each_ref().map(|(copy, _)| copy.flow.start(&[], &[("TIDEGATE_FAILPOINT", &armed)]));
        for _ in 0..12 {
            load.step();
        }
        std::thread::sleep(Duration::from_millis(load.random.below(400)));
        runs.iter_mut().for_each(|run| run.kill());
        if server.kind == Kind::MySql && matches!(round, 3 | 6) {
            // MySQL 9.7.4 crashes now and then when it starts and recovers prepared transactions.
            load.decide_all();
        }
        match round {
            3 => {
                server.stop();
                server.resume();
            }
            6 => {
                server.kill();
                server.resume();
            }
            _ => {}
        }
        load.look();
        if round % 3 == 2 {
            same();
        }
    }
    load.decide_all();
    same();
    let binlogs: Vec<String> = server.rows("SHOW BINARY LOGS").into_iter().map(|row| row[0].clone()).collect();
    let logged: String = binlogs.iter().map(|file| server.sql(&format!("SHOW BINLOG EVENTS IN '{file}'"))).collect();
    for (copy, _) in &copies {
        // What a restarted server forgot stays; of what it has decided nothing does.
        for entry in fs::read_dir(copy.flow.folder().join("tidegate-data/prepared/copy")).into_iter().flatten() {
            let bytes = fs::read(entry.expect("a file").path()).expect("read what is kept");
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let xid = text.rsplit("\"xid\":\"").next().and_then(|rest| rest.split('"').next()).expect("an xid");
            let is_decided = ["COMMIT", "ROLLBACK"].iter().any(|word| logged.contains(&format!("XA {word} {xid}")));
            assert!(!is_decided, "{}: {xid} is decided and still kept", copy.name());
        }
    }
}

/// Prepared before the place where reading begins: nobody has its rows.
#[test]
fn a_commit_of_what_was_not_read_stops() {
    for start in [servers::mysql, servers::mariadb] {
        let server = start(&[]);
        server.sql("CREATE DATABASE xa; CREATE TABLE xa.t (id INT PRIMARY KEY, v INT, note TEXT)");
        server.sql_in("xa", "XA START 'one'; INSERT INTO t VALUES (1, 1, ''); XA END 'one'; XA PREPARE 'one';");
        server.sql("CREATE DATABASE here");
        let status = if server.kind == Kind::MySql { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
        let status = server.rows(status);
        let start = format!("{{ file = \"{}\", offset = {} }}", status[0][0], status[0][1]);
        let origin = Origin { server: &server, database: "xa".to_owned(), start };
        origin.sql("INSERT INTO t VALUES (9, 9, ''); XA COMMIT 'one'; INSERT INTO t VALUES (2, 2, '');");
        let copy = Copy::to_sqlite(&origin);
        copy.configure_all("", "create = true", "lanes = 1\nbatch = { rows = 1 }");
        let (code, _, stderr) = copy.flow.call(&["run", "--until", "caught-up"]);
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains("commits the XA transaction X'6f6e65',X'',1"), "{stderr}");
        let command = stderr.split('`').find(|part| part.starts_with("tidegate cursor set copy ")).expect("a command");
        let (code, _, stderr) = copy.flow.call(&command.split_whitespace().skip(1).collect::<Vec<_>>());
        assert_eq!(code, 0, "{command}: {stderr}");
        copy.flow.catch_up();
        assert_eq!(copy.sql("SELECT id FROM t ORDER BY id;"), "2\n9\n");
    }
}

/// A transaction that is larger than what is kept in memory, and a row larger than a segment.
#[test]
fn a_large_xa_transaction_is_kept_on_the_disk() {
    let server = servers::mysql(&["--max-allowed-packet=64M"]);
    let origin = Origin::new(&server, "xa");
    origin.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT, note LONGTEXT)");
    let copy = Copy::to_sqlite(&origin);
    copy.configure_all("", "create = true", "lanes = 2\nbatch = { bytes = \"1MiB\" }");
    let mut sql = String::from("XA START 'large';");
    for id in 0..200 {
        let _ = write!(
            sql,
            "INSERT INTO t VALUES ({id}, 0, REPEAT('{}', {}));",
            id % 10,
            if id % 50 == 7 { 3_000_000 } else { 60_000 }
        );
    }
    origin.sql(&format!("{sql} XA END 'large'; XA PREPARE 'large';"));
    copy.flow.catch_up();
    let folder = copy.flow.folder().join("tidegate-data/prepared/copy");
    let kept: Vec<_> = fs::read_dir(&folder).expect("what is kept").map(|entry| entry.expect("a file").path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    // Damaged, it is not taken for what it is not.
    let good = fs::read(&kept[0]).expect("read what is kept");
    let mut bad = good.clone();
    bad[5_000_000] ^= 1;
    fs::write(&kept[0], &bad).expect("damage it");
    origin.sql("XA COMMIT 'large'");
    let (code, _, stderr) = copy.flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 6 && stderr.contains("an event has another checksum"), "{code}: {stderr}");
    fs::write(&kept[0], &good[..good.len() - 1]).expect("damage it");
    let (code, _, stderr) = copy.flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 6 && stderr.contains("it does not end as it should"), "{code}: {stderr}");
    fs::write(&kept[0], &good).expect("mend it");
    copy.flow.catch_up();
    copy.assert_same(&origin, "SELECT id, v, LENGTH(note), SUBSTR(note, 1, 3) FROM t ORDER BY id;");
    assert_eq!(fs::read_dir(&folder).map_or(0, Iterator::count), 0);
}
