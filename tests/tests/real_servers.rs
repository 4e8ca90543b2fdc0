//! The servers that other tests stand on do what those tests take for granted.

use tidegate_tests::servers::{self, Kind, Server};

#[test]
fn mysql_logs_rows_with_metadata_and_speaks_tls() {
    let server = servers::shared_mysql();
    let settings =
        server.rows("SELECT @@binlog_format, @@binlog_row_image, @@binlog_row_metadata, @@gtid_mode, left(@@version, 4)");
    assert_eq!(settings, [["ROW", "FULL", "FULL", "ON", "9.7."]]);
    let certificate_end = &server.rows("SHOW STATUS LIKE 'Ssl_server_not_after'")[0][1];
    assert!(certificate_end.ends_with("GMT"), "no certificate: {certificate_end:?}");
    assert!(server.ca_file().exists());
    assert!(!server.binlogs().is_empty());
}

#[test]
fn instances_of_one_install_run_side_by_side_and_survive_a_kill() {
    let first = servers::mariadb(&["--server-id=7"]);
    let second = Server::start(Kind::MariaDb(11), &["--server-id=8"]);
    assert_ne!(first.port, second.port);
    first.sql(
        "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b VARCHAR(9)); INSERT INTO d.t VALUES (1, 'x\ty'), (2, NULL)",
    );
    first.kill();
    first.resume();
    assert_eq!(first.sql_in("d", "SELECT a, b, @@server_id FROM t ORDER BY a"), "1\tx\\ty\t7\n2\tNULL\t7\n");
    assert_eq!(second.sql("SELECT @@server_id"), "8\n");
    assert!(first.url("root", "d").ends_with("/d"));
}

#[test]
fn postgres_answers() {
    let server = servers::shared_postgres();
    server.sql("CREATE DATABASE answers");
    assert_eq!(server.sql_in("answers", "SELECT current_database(), NULL, 1"), "answers\tNULL\t1\n");
}
