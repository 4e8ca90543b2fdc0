//! Events of every kind, from real servers: what they leave at the source is what arrives, or the pipeline stops and says how to go on.

use std::fs;

use tidegate_tests::servers::{self, Kind};

use super::{Copy, Origin};

const TABLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT, note VARCHAR(200))";
const ROWS: &str = "SELECT id, v, note FROM t ORDER BY id;";

/// Runs until it has caught up; where it stops on the way, goes on with the command of its hint. What it stopped at.
fn stops(copy: &Copy<'_>) -> Vec<String> {
    let mut stops = Vec::new();
    loop {
        let (code, _, stderr) = copy.flow.call(&["run", "--until", "caught-up"]);
        if code == 0 {
            return stops;
        }
        assert!(code == 3 && stops.len() < 100, "{code}: {stderr}");
        let command = stderr.split('`').find(|part| part.starts_with("tidegate cursor set copy ")).expect("a command").to_owned();
        stops.push(stderr);
        let (code, _, stderr) = copy.flow.call(&command.split_whitespace().skip(1).collect::<Vec<_>>());
        assert_eq!(code, 0, "{command}: {stderr}");
    }
}

/// A change that is logged as a statement is never passed over.
#[test]
fn changes_by_statement_stop() {
    let mysql = servers::mysql(&[
        "--gtid-mode=OFF",
        "--enforce-gtid-consistency=OFF",
        "--secure-file-priv=",
        "--log-bin-trust-function-creators=ON",
    ]);
    let mariadb = servers::mariadb(&["--log-bin-trust-function-creators=ON"]);
    for server in [&mysql, &mariadb] {
        let origin = Origin::new(server, "stated");
        let file = server.folder.join("rows.txt");
        fs::write(&file, "50\t1\tx\n").expect("write a file to load");
        origin.sql(&format!(
            "CREATE DATABASE other; CREATE TABLE other.u (id INT PRIMARY KEY, v INT); INSERT INTO other.u VALUES (1, 1), (2, 2); {TABLE};
             DELIMITER //
             CREATE FUNCTION g() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t VALUES (60, 6, 'f'); RETURN 1; END//
             CREATE PROCEDURE p() BEGIN INSERT INTO t VALUES (70, 7, 'p'); END//
             DELIMITER ;"
        ));
        let copy = Copy::to_sqlite(&origin);
        copy.configure_all("", "create = true", "lanes = 1").flow.catch_up();
        let statements = [
            "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 4, 'd')",
            "INSERT INTO t SELECT id + 10, v, 'selected' FROM other.u",
            "REPLACE INTO stated.t VALUES (1, 9, 'replaced')",
            "/*!50000 INSERT */ /*!50000 INTO t */ VALUES (20, 2, 'version comment')",
            "/* INSERT INTO x */ UPDATE t SET v = v + 1 WHERE id = 2",
            "UPDATE other.u JOIN t ON t.id = u.id SET t.v = 5, u.v = 5",
            "DELETE t FROM t JOIN other.u ON t.id = u.id WHERE t.id = 1",
            "DELETE FROM u, t USING other.u AS u JOIN t WHERE t.id = 3 AND u.id = 77",
            "WITH c AS (SELECT 4 AS id) DELETE t FROM t JOIN c ON c.id = t.id",
            &format!("LOAD DATA INFILE '{}' INTO TABLE t", file.display()),
            "CALL p()",
            "SELECT g()",
            "DO g() + 1 - 1",
        ];
        for statement in statements {
            if server.kind != Kind::MySql && statement.starts_with("WITH") {
                continue;
            }
            if statement.starts_with("DO") {
                origin.sql("DELETE FROM t WHERE id = 60");
            }
            origin.sql(&format!("SET binlog_format = 'STATEMENT'; {statement}"));
            let stops = stops(&copy);
            assert_eq!(stops.len(), 1, "{:?}: {statement}", server.kind);
            let told = if statement.contains("g()") { "calls a stored function" } else { "changes `stated." };
            assert!(stops[0].contains(told), "{:?}: {statement}: {}", server.kind, stops[0]);
        }
    }
}

/// Savepoints, engines without transactions, checksums that come and go, new files and restarts of the server.
#[test]
fn what_is_taken_back_does_not_arrive_and_the_rest_does() {
    let mysql = servers::mysql(&["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]);
    for server in [&mysql, &servers::mariadb(&[])] {
        let origin = Origin::new(server, "taken_back");
        origin.sql(&format!("{TABLE}; CREATE TABLE m (id INT PRIMARY KEY, v INT) ENGINE = MyISAM"));
        let copies = [
            Copy::to_sqlite(&origin),
            Copy::to_server(&origin, servers::shared_postgres(), &format!("taken_back_{}", server.port)),
        ];
        copies[0].configure_all("", "create = true", "lanes = 2\nbatch = { rows = 3 }");
        copies[1].configure_all(
            "",
            "create = true",
            "ordering = \"transaction\"\ndelivery = \"exactly-once\"\nbatch = { rows = 2 }",
        );
        let mut runs = copies.each_ref().map(|copy| copy.flow.start(&[], &[]));
        // MariaDB logs the rows that such a transaction takes back, and then that it does.
        let mixed = |id: u64| {
            format!(
                "BEGIN; INSERT INTO m VALUES ({id} + 4, 1); INSERT INTO t VALUES ({id} + 4, 1, 'e'); SAVEPOINT two;
                 UPDATE m SET v = v + 1; DELETE FROM t WHERE id = {id}; ROLLBACK TO two; COMMIT;"
            )
        };
        for round in 0..6 {
            let id = round * 100;
            let mixed_here = if server.kind == Kind::MySql { mixed(id) } else { String::new() };
            origin.sql(&format!(
                "BEGIN; INSERT INTO t VALUES ({id}, 1, 'a'); SAVEPOINT one; INSERT INTO t VALUES ({id} + 1, 1, 'b'); UPDATE t SET v = 7;
                 ROLLBACK TO one; INSERT INTO t VALUES ({id} + 2, 1, 'c'); RELEASE SAVEPOINT one; COMMIT;
                 BEGIN; INSERT INTO t VALUES ({id} + 3, 1, 'd'); INSERT INTO m VALUES ({id} + 3, 1); ROLLBACK;
                 {mixed_here}
                 SET autocommit = 0; INSERT INTO m VALUES ({id} + 5, 1), ({id} + 6, 1); INSERT INTO t VALUES ({id} + 5, 1, 'f'); ROLLBACK;
                 INSERT INTO t VALUES ({id} + 7, 2, 'g'); COMMIT; SET autocommit = 1; DELETE FROM m WHERE id = {id} + 6;"
            ));
            // Half of a statement on a table without transactions stays.
            origin.sql(&format!("INSERT IGNORE INTO m VALUES ({id} + 8, 1), ({id} + 3, 1), ({id} + 9, 1)"));
            match round {
                0 | 3 => drop(origin.sql(&format!("SET GLOBAL binlog_checksum = '{}'", if round == 0 { "NONE" } else { "CRC32" }))),
                1 => drop(origin.sql("FLUSH BINARY LOGS; FLUSH BINARY LOGS")),
                2 => {
                    server.stop();
                    server.resume();
                }
                4 => {
                    server.kill();
                    server.resume();
                    runs.iter_mut().for_each(|run| run.kill());
                    runs = copies.each_ref().map(|copy| copy.flow.start(&[], &[]));
                }
                _ => {}
            }
        }
        runs.iter_mut().for_each(|run| run.kill());
        for copy in &copies {
            copy.flow.catch_up();
            copy.assert_same(&origin, ROWS);
            copy.assert_same(&origin, "SELECT id, v FROM m ORDER BY id;");
        }
        if server.kind != Kind::MySql {
            origin.sql(&mixed(1000));
            for copy in &copies {
                let (code, _, stderr) = copy.flow.call(&["run", "--until", "caught-up"]);
                assert!(code == 3 && stderr.contains("rolls back rows that are in the binlog"), "{code}: {stderr}");
            }
        }
    }
}

/// GTIDs with tags, and of several domains, and in all of these a restart goes on where it was.
#[test]
fn gtids_of_every_form_are_followed() {
    for server in [&servers::mysql(&[]), &servers::mariadb(&["--gtid-strict-mode=OFF"])] {
        let origin = Origin::new(server, "gtids");
        origin.sql(TABLE);
        let copy = Copy::to_server(&origin, servers::shared_postgres(), &format!("gtids_{}", server.port));
        copy.configure_all("", "create = true", "delivery = \"exactly-once\"\nbatch = { rows = 2 }");
        let mut run = copy.flow.start(&[], &[]);
        for round in 0..12 {
            let one = match (server.kind, round % 4) {
                (Kind::MySql, 0) => "SET gtid_next = 'AUTOMATIC'",
                (Kind::MySql, 1) => "SET gtid_next = 'AUTOMATIC:blue'",
                (Kind::MySql, 2) => "SET gtid_next = 'AUTOMATIC:a_rather_long_tag_of_32_letters_'",
                (Kind::MySql, _) => "SET gtid_next = '7b1c2d3e-0000-1111-2222-33334444555@'",
                (_, domain) => [
                    "SET gtid_domain_id = 0",
                    "SET gtid_domain_id = 7",
                    "SET gtid_domain_id = 4294967295",
                    "SET gtid_domain_id = 7",
                ][domain],
            };
            let one = one.replace('@', &format!("5:{}", round + 1));
            // A GTID that is given is for one transaction.
            let many = !one.contains("7b1c");
            origin.sql(&format!("{one}; BEGIN; INSERT INTO t VALUES ({round}, 0, 'x'); UPDATE t SET v = v + 1; COMMIT"));
            if many {
                origin.sql(&format!("{one}; UPDATE t SET note = CONCAT(note, '{round}'); DELETE FROM t WHERE id = {round} - 9;"));
            }
            if round % 3 == 1 {
                run.kill();
                run = copy.flow.start(&[], &[]);
            }
        }
        run.kill();
        copy.flow.catch_up();
        copy.assert_same(&origin, ROWS);
    }
}

/// A server decrypts what it sends. Of its files only it can read the content.
#[test]
fn encrypted_binlogs_are_read_from_the_server() {
    let keys = tempfile::tempdir().expect("a folder for keys");
    fs::write(keys.path().join("keys.txt"), "1;a7addd9adea9978fda19f21e6be987880e68ac92632ca052e5bb42b1a506939a\n")
        .expect("write keys");
    let file = format!("--file-key-management-filename={}", keys.path().join("keys.txt").display());
    let mariadb = servers::mariadb(&["--plugin-load-add=file_key_management", &file, "--encrypt-binlog=ON"]);
    let mysql = servers::mysql(&[]);
    // The keyring is configured in the instance's own data folder.
    mysql.stop();
    let data = mysql.folder.join("data");
    fs::write(data.join("mysqld.my"), r#"{ "components": "file://component_keyring_file" }"#).expect("write the manifest");
    let keyring = format!(r#"{{ "path": "{}", "read_only": false }}"#, mysql.folder.join("keyring").display());
    fs::write(data.join("component_keyring_file.cnf"), keyring).expect("write the keyring's configuration");
    mysql.resume();
    mysql.sql("SET GLOBAL binlog_encryption = ON");
    for server in [&mysql, &mariadb] {
        let origin = Origin::new(server, "encrypted");
        origin.sql(&format!("{TABLE}; INSERT INTO t VALUES (1, 1, 'Marzipan'), (2, 2, 'b')"));
        let copy = Copy::to_sqlite(&origin);
        copy.configure_all("", "create = true", "lanes = 2").flow.catch_up();
        origin.sql("FLUSH BINARY LOGS; UPDATE t SET v = 3; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (4, 4, NULL)");
        copy.flow.catch_up();
        copy.assert_same(&origin, ROWS);

        let binlog = server.binlogs().pop().expect("a binlog");
        assert!(!fs::read(&binlog).expect("read the binlog").windows(8).any(|part| part == b"Marzipan"));
        let flow = tidegate_tests::flow::Flow::new(&format!(
            "[source.here]\ntype = \"binlog-files\"\npaths = [\"{}\"]\ntables = [\"encrypted.*\"]\n[sink.there]\ntype = \"null\"\n\
             [pipeline.copy]\nsource = \"here\"\nsink = \"there\"\n",
            binlog.display()
        ));
        let (code, _, stderr) = flow.call(&["run"]);
        assert!(code == 3 && stderr.contains("is encrypted") && stderr.contains("type \"mysql\""), "{code}: {stderr}");
    }
}

/// One row of 40 MB: its event takes several packets.
#[test]
fn a_row_of_forty_megabytes_arrives() {
    const PACKET: &str = "--max-allowed-packet=256M";
    let target = servers::mysql(&[PACKET, "--innodb-redo-log-capacity=1G"]);
    for server in
        [&servers::mysql(&[PACKET, "--innodb-redo-log-capacity=1G"]), &servers::mariadb(&[PACKET, "--innodb-log-file-size=512M"])]
    {
        let origin = Origin::new(server, "large");
        origin.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT, note LONGTEXT)");
        origin.sql("INSERT INTO t VALUES (1, 1, REPEAT('0123456789', 4000000)), (2, 2, 'b'); UPDATE t SET v = v + 1; DELETE FROM t WHERE id = 2");
        let copies = [Copy::to_sqlite(&origin), Copy::to_server(&origin, &target, &format!("large_{}", server.port))];
        for copy in &copies {
            copy.configure_all("", "create = true", "lanes = 2").flow.catch_up();
            copy.assert_same(&origin, "SELECT id, v, LENGTH(note), SUBSTR(note, 39999990, 20) FROM t ORDER BY id;");
        }
    }
}
