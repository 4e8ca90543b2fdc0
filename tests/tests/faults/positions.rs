//! Places in a binlog that mean something else than they did, or that nobody has said yet: resets, backups, other servers, times; and two
//! programs that read under one number.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, Kind, Server, wait_until};

use super::failover::{arrives, ends_well, flow, ids, insert};
use super::gtid_mode::{MODES, switch};
use super::{Shop, assert_discreet, wait_for_log};

const WITHOUT_GTIDS: [&str; 2] = ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"];

/// Runs until it stops by itself, and sees that it says why.
fn is_refused(flow: &Flow, why: &str) {
    let before = ids(flow);
    let (code, _, stderr) = flow.call(&["run"]);
    assert_eq!(code, 3, "{stderr}");
    let stopped = stderr.split("error: pipeline `copy` stopped").nth(1).unwrap_or_else(|| panic!("why it stopped: {stderr}"));
    assert!(stopped.contains(why) && stopped.contains("hint: ") && stopped.contains("tidegate cursor set copy"), "{stopped}");
    assert_eq!(ids(flow), before, "a row was taken");
}

#[test]
fn without_gtids_reading_stays_at_its_server() {
    let [a, b] = ["--server-id=301", "--server-id=302"].map(|id| servers::mysql(&[&WITHOUT_GTIDS[..], &[id]].concat()));
    let mut shop = Shop::new(&a, "stays");
    Shop::new(&b, "stays");
    insert(&mut shop, 10);
    let both = flow(&shop, &[a.port, b.port]);
    let mut run = both.start(&[], &[]);
    arrives("the first server is read", &both, &shop);
    a.stop();
    wait_for_log(&run, 0, "without GTIDs nobody knows where that is in its binlog");
    a.resume();
    insert(&mut shop, 10);
    arrives("the first server is read again", &both, &shop);
    ends_well(&mut run);
    // The address leads to another server.
    let manifest = fs::read_to_string(both.folder().join("tidegate.toml")).expect("read the manifest");
    both.write(&manifest.replace(&format!(":{}\"", a.port), &format!(":{}\"", b.port)));
    is_refused(&both, "without GTIDs nobody knows where that is in its binlog");
    assert_discreet(&both);
}

#[test]
fn a_reset_of_mysql_is_noticed() {
    reset_is_noticed(&servers::mysql(&[]), "reset_gtid", "RESET BINARY LOGS AND GTIDS");
    reset_is_noticed(&servers::mysql(&WITHOUT_GTIDS), "reset_files", "RESET BINARY LOGS AND GTIDS");
}

#[test]
fn a_reset_of_mariadb_is_noticed() {
    reset_is_noticed(&servers::mariadb(&[]), "reset_maria", "RESET MASTER");
}

fn reset_is_noticed(server: &Server, name: &'static str, reset: &str) {
    let mut shop = Shop::new(server, name);
    insert(&mut shop, 5);
    server.sql("FLUSH BINARY LOGS");
    insert(&mut shop, 5);
    let flow = flow(&shop, &[server.port]);
    flow.catch_up();
    arrives("the server is read", &flow, &shop);
    // What tells the new files from the old ones of the same names, the time when they began, has seconds.
    server.sql("DO SLEEP(1.1)");
    server.sql(reset);
    insert(&mut shop, 1);
    is_refused(&flow, "the binlog was reset");
    // As many files, bytes and transactions as before, and more.
    for _ in 0..2 {
        server.sql("FLUSH BINARY LOGS");
        insert(&mut shop, 40);
    }
    is_refused(&flow, "the binlog was reset");
    goes_on_after(&flow, &shop);
    // While it is read: the server misses the next file, or goes on with heartbeats at the end of one that is gone.
    for before in ["FLUSH BINARY LOGS", "DO 0"] {
        let mut run = flow.start(&[], &[]);
        insert(&mut shop, 5);
        arrives("the server is read", &flow, &shop);
        server.sql(before);
        server.sql("DO SLEEP(1.1)");
        server.sql(reset);
        insert(&mut shop, 1);
        let (taken, status) = (ids(&flow), run.wait());
        assert_eq!((status.code(), ids(&flow)), (Some(3), taken), "{}", run.log());
        assert!(run.log().contains("the binlog was reset") && run.log().contains("tidegate cursor set copy"), "{}", run.log());
        goes_on_after(&flow, &shop);
    }
}

/// The command leads on with everything that there is.
fn goes_on_after(flow: &Flow, shop: &Shop<'_>) {
    let (code, _, stderr) = flow.call(&["cursor", "set", "copy", "earliest"]);
    assert_eq!(code, 0, "{stderr}");
    flow.catch_up();
    arrives("what came after the reset is read", flow, shop);
}

#[test]
fn an_older_backup_is_noticed() {
    for (options, name) in [(&[][..], "backup_gtid"), (&WITHOUT_GTIDS[..], "backup_files")] {
        let server = servers::mysql(options);
        let mut shop = Shop::new(&server, name);
        insert(&mut shop, 10);
        server.stop();
        let (data, backup) = (server.folder.join("data"), server.folder.join("backup"));
        copy(&data, &backup);
        server.resume();
        insert(&mut shop, 10);
        let flow = flow(&shop, &[server.port]);
        flow.catch_up();
        server.stop();
        fs::remove_dir_all(&data).expect("remove the data");
        copy(&backup, &data);
        server.resume();
        insert(&mut shop, 20);
        is_refused(&flow, "restored from a backup");
    }
}

fn copy(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(from).arg(to);
    servers::run(copy, "");
}

/// Gives the source a server id.
fn number(flow: &Flow, server_id: u32) {
    flow.write(&flow.manifest().replace("start =", &format!("server_id = {server_id}\nstart =")));
}

#[test]
fn a_number_that_another_program_reads_under_is_refused() {
    for server in [servers::shared_mysql(), servers::shared_mariadb()] {
        let mut shop = Shop::new(server, "numbered");
        if server.kind != Kind::MySql {
            // Without it nobody may ask for the replicas of a server.
            server.sql("GRANT REPLICATION MASTER ADMIN ON *.* TO numbered@'%'");
        }
        let (first, second) = (flow(&shop, &[server.port]), flow(&shop, &[server.port]));
        number(&first, 4714);
        number(&second, 4714);
        let mut run = first.start(&[], &[]);
        insert(&mut shop, 5);
        arrives("the first one reads", &first, &shop);
        let log = run.log().len();
        for command in [&["check"][..], &["run"]] {
            let (code, stdout, stderr) = second.call(command);
            let told = format!("{stdout}{stderr}");
            assert_eq!(code, 3, "{told}");
            assert!(told.contains("another Tidegate (on `") && told.contains("has the source's server_id 4714"), "{told}");
        }
        // Of its own reading it says nothing.
        let (code, stdout, stderr) = first.call(&["check"]);
        assert!(code == 0 && !stdout.contains("server_id 4714"), "{stdout}{stderr}");
        insert(&mut shop, 5);
        arrives("the first one is not disturbed", &first, &shop);
        assert!(!run.log()[log..].contains("WARN"), "{}", run.log());
        // Once it is killed, its number is free.
        run.kill();
        let mut run = second.start(&[], &[]);
        arrives("the second one reads", &second, &shop);
        ends_well(&mut run);
    }
}

/// Where the account may not ask who else reads, the server ends the older reading, which says why.
#[test]
fn a_reading_that_another_one_ends_says_so() {
    let server = servers::shared_mariadb();
    let mut shop = Shop::new(server, "ended");
    let (first, second) = (flow(&shop, &[server.port]), flow(&shop, &[server.port]));
    number(&first, 4715);
    number(&second, 4715);
    let mut run = first.start(&[], &[]);
    insert(&mut shop, 5);
    arrives("the first one reads", &first, &shop);
    let mut other = second.start(&[], &[]);
    arrives("the second one reads", &second, &shop);
    assert_eq!(run.wait().code(), Some(3), "{}", run.log());
    assert!(run.log().contains("hint: another replica, or another Tidegate with another data_dir"), "{}", run.log());
    ends_well(&mut other);
}

#[test]
fn a_start_by_time_misses_nothing() {
    for server in [servers::shared_mysql(), servers::shared_mariadb()] {
        let mut shop = Shop::new(server, "timed");
        let second = || std::thread::sleep(Duration::from_millis(1100));
        insert(&mut shop, 5);
        server.sql("FLUSH BINARY LOGS");
        insert(&mut shop, 5);
        second();
        let time = server.sql("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')").trim().to_owned();
        if server.kind != Kind::MySql {
            second();
        }
        let first = shop.next_id;
        insert(&mut shop, 5);
        server.sql("FLUSH BINARY LOGS");
        insert(&mut shop, 5);
        let flow = flow(&shop, &[server.port]);
        let manifest = fs::read_to_string(flow.folder().join("tidegate.toml")).expect("read the manifest");
        flow.write(&manifest.replace("start = \"earliest\"", &format!("start = {{ time = \"{time}\" }}")));
        flow.catch_up();
        let seen: Vec<u64> = ids(&flow).into_keys().collect();
        assert_eq!(seen, (first..shop.next_id).collect::<Vec<_>>(), "{time}");
    }
}

/// Whoever begins at the head of a file knows what came before it; where transactions without GTIDs follow, nobody goes by GTID.
#[test]
fn the_head_of_a_file_tells_the_gtids_before_it() {
    let server = servers::mysql(&[]);
    let mut shop = Shop::new(&server, "heads");
    insert(&mut shop, 5);
    let flow = flow(&shop, &[server.port]);
    let gtids_at = |place: &str| {
        let (code, stdout, stderr) = flow.call(&["cursor", "set", "copy", place, "--format", "json"]);
        assert_eq!(code, 0, "{place}: {stderr}");
        let cursor: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
        cursor["gtids"].clone()
    };
    let last = || server.rows("SHOW BINARY LOGS").pop().expect("a file").swap_remove(0);
    let executed = || server.sql("SELECT @@GLOBAL.gtid_executed").trim().to_owned();
    assert_eq!(gtids_at(&format!("{}:4", last())), "");
    server.sql("FLUSH BINARY LOGS");
    let before = executed();
    insert(&mut shop, 5);
    assert_eq!(gtids_at(&format!("{}:4", last())), before.as_str());

    // A stretch without GTIDs, of which the servers' search by GTID would see nothing.
    for mode in MODES[..3].iter().rev() {
        switch(&server, mode);
    }
    let anonymous = last();
    insert(&mut shop, 5);
    for mode in &MODES[1..] {
        switch(&server, mode);
    }
    insert(&mut shop, 5);
    assert_eq!(gtids_at("earliest"), serde_json::Value::Null);
    assert_eq!(gtids_at(&format!("{anonymous}:4")), serde_json::Value::Null);
    assert_eq!(gtids_at(&format!("{}:4", last())), before_last(&executed()).as_str());
    let (code, _, stderr) = flow.call(&["cursor", "set", "copy", "earliest"]);
    assert_eq!(code, 0, "{stderr}");
    // The server gives them out only while it may still replicate such.
    let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 3 && stderr.contains("hint: transactions without GTIDs follow the cursor"), "{stderr}");
    switch(&server, "ON_PERMISSIVE");
    flow.catch_up();
    arrives("nothing is passed over", &flow, &shop);
    switch(&server, "ON");
    insert(&mut shop, 5);
    flow.catch_up();
    arrives("it goes on", &flow, &shop);
    let (_, cursor, _) = flow.call(&["cursor", "show", "copy", "--format", "json"]);
    let cursor: serde_json::Value = serde_json::from_str(&cursor).expect("JSON");
    assert_eq!(cursor["gtids"], executed().as_str());
}

/// MySQL says what it has executed before it says how long its binlog is, and transactions are committed in between.
#[test]
fn now_is_one_place_while_transactions_are_committed() {
    const COMMITS: &str = "CREATE PROCEDURE commits() BEGIN DECLARE n INT DEFAULT 0; \
         WHILE n < 100000 AND NOT EXISTS (SELECT 1 FROM enough) DO INSERT INTO seen VALUES (NULL); SET n = n + 1; END WHILE; END";
    let server = servers::mysql(&["--sync-binlog=1"]);
    let shop = Shop::new(&server, "now");
    server.sql_in("now", "CREATE TABLE enough (id INT); CREATE TABLE seen (id INT PRIMARY KEY AUTO_INCREMENT)");
    server.sql_in("now", &format!("DELIMITER //\n{COMMITS}//"));
    let flow = flow(&shop, &[server.port]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| server.sql_in("now", "CALL commits()"));
        }
        for _ in 0..20 {
            let (code, stdout, stderr) = flow.call(&["cursor", "set", "copy", "now", "--format", "json"]);
            assert_eq!(code, 0, "{stderr}");
            let cursor: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
            let (_, last) = cursor["gtids"].as_str().and_then(|set| set.rsplit_once('-')).expect("a set");
            let next = last.parse::<u64>().expect("a number") + 1;
            let place = format!("'{}' FROM {}", cursor["file"].as_str().expect("a file"), cursor["offset"]);
            let events = server.rows(&format!("SHOW BINLOG EVENTS IN {place} LIMIT 1"));
            let first = events.first().map_or_else(|| panic!("nothing is committed"), |event| event[5].clone());
            assert!(first.ends_with(&format!(":{next}'")), "{cursor}: {first}");
        }
        server.sql_in("now", "INSERT INTO enough VALUES (1)");
    });
}

/// `uuid:1-9` without the last five.
fn before_last(executed: &str) -> String {
    let (rest, last) = executed.rsplit_once('-').expect("an interval");
    format!("{rest}-{}", last.parse::<u64>().expect("a number") - 5)
}

/// Files are in the order of their numbers, which grow by a digit.
#[test]
fn file_999999_comes_before_1000000() {
    for (options, name) in [(&[][..], "digits_gtid"), (&WITHOUT_GTIDS[..], "digits_files")] {
        let server = servers::mysql(options);
        server.sql("RESET BINARY LOGS AND GTIDS TO 999999");
        let mut shop = Shop::new(&server, name);
        insert(&mut shop, 5);
        let flow = flow(&shop, &[server.port]);
        flow.catch_up();
        arrives("the last file of six digits is read", &flow, &shop);
        insert(&mut shop, 5);
        server.sql("FLUSH BINARY LOGS");
        insert(&mut shop, 5);
        flow.catch_up();
        arrives("the first file of seven digits is read", &flow, &shop);
        for place in ["binlog.1000000:4", "binlog.999999:4"] {
            let (code, _, stderr) = flow.call(&["cursor", "set", "copy", place]);
            assert_eq!(code, 0, "{place}: {stderr}");
        }
        fs::remove_file(flow.folder().join("lines.jsonl")).expect("remove the lines");
        flow.catch_up();
        arrives("both are read again", &flow, &shop);
        insert(&mut shop, 5);
        flow.catch_up();
        arrives("it goes on", &flow, &shop);
    }
}

/// A server that answers again at once is not waited for.
#[test]
fn a_lost_connection_is_made_again_at_once() {
    let server = servers::shared_mysql();
    let mut shop = Shop::new(server, "again");
    let flow = flow(&shop, &[server.port]);
    let mut run = flow.start(&[], &[]);
    insert(&mut shop, 5);
    arrives("it is read", &flow, &shop);
    let dumps = || -> Vec<String> {
        let all = server.rows("SHOW PROCESSLIST").into_iter();
        all.filter(|row| row[1] == "again" && row[4].contains("Binlog Dump")).map(|row| row[0].clone()).collect()
    };
    wait_until("the connection is there", || dumps().len() == 1);
    server.sql(&format!("KILL {}", dumps()[0]));
    let start = Instant::now();
    insert(&mut shop, 5);
    arrives("it is read again", &flow, &shop);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    ends_well(&mut run);
}
