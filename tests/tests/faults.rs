//! Servers, networks, disks, files and plugins that fail under a running pipeline: it goes on by itself or stops with a clear message,
//! nothing is lost, and neither secrets nor row values get into the log. (SIGKILL of the program itself: `crash.rs`.)

use std::time::{Duration, Instant};

use tidegate_tests::flow::{Flow, Run};
use tidegate_tests::servers::{Kind, Server, wait_until};

mod binlogs;
mod caught_up;
mod check;
mod disk;
mod failover;
mod gtid_mode;
mod hostile;
mod memory;
mod network;
mod opening;
mod over_tables;
mod plugins;
mod positions;
mod restarts;

/// In every row that the tests write.
const MARKER: &str = "Marzipan";
/// Of every account that the tests log in with.
const PASSWORD: &str = "Swordfish-7c1e";

/// A table `t` in a database of its own, and what is written into it.
struct Shop<'s> {
    server: &'s Server,
    /// The database, and the user who may read it.
    name: &'static str,
    next_id: u64,
}

impl<'s> Shop<'s> {
    fn new(server: &'s Server, name: &'static str) -> Shop<'s> {
        let all =
            if server.kind == Kind::MySql { "REPLICATION SLAVE, REPLICATION CLIENT" } else { "REPLICATION SLAVE, BINLOG MONITOR" };
        server.sql(&format!(
            "CREATE DATABASE {name}; CREATE TABLE {name}.t (id BIGINT PRIMARY KEY, n INT NOT NULL, note VARCHAR(400) NOT NULL); \
             CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT {all} ON *.* TO {name}@'%'; GRANT SELECT ON {name}.* TO {name}@'%'"
        ));
        Shop { server, name, next_id: 1 }
    }

    /// `rows` inserts, each a transaction, and now and then an update of all that came before and a delete.
    fn write(&mut self, rows: u64) {
        let mut sql = String::new();
        for id in self.next_id..self.next_id + rows {
            sql.push_str(&format!("INSERT INTO t VALUES ({id}, 0, '{MARKER} {id}');\n"));
            if id % 20 == 0 {
                sql.push_str(&format!(
                    "BEGIN; UPDATE t SET n = n + 1 WHERE id > {id} - 40; DELETE FROM t WHERE id = {id} - 7; COMMIT;\n"
                ));
            }
        }
        self.next_id += rows;
        self.server.sql_in(self.name, &sql);
    }

    /// The table as it is now.
    fn rows(&self) -> String {
        rows(self.server, self.name)
    }

    /// `[source.shop]`, through `port`.
    fn source(&self, port: u16) -> String {
        format!(
            "[source.shop]\ntype = \"mysql\"\nurl = \"mysql://{0}@127.0.0.1:{port}\"\npassword = \"{PASSWORD}\"\ntables = [\"{0}.*\"]\n\
             start = \"earliest\"\n",
            self.name
        )
    }
}

/// The table `t` of a database.
fn rows(server: &Server, database: &str) -> String {
    server.sql_in(database, "SELECT id, n, note FROM t ORDER BY id")
}

/// A database with an empty table `t` in `server`, and an account like the shop's that may write to it; every write is in the table
/// `audit`.
fn make_target(server: &Server, name: &str) {
    if server.kind == Kind::Postgres {
        server.sql(&format!("CREATE USER {name} SUPERUSER PASSWORD '{PASSWORD}'"));
        server.sql(&format!("CREATE DATABASE {name}"));
        server.sql_in(
            name,
            "CREATE TABLE t (id BIGINT PRIMARY KEY, n INT NOT NULL, note VARCHAR(400) NOT NULL); CREATE TABLE audit (id BIGINT, n INT);
             CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (NEW.id, NEW.n); RETURN NEW; END $$;
             CREATE TRIGGER audit AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION audit();",
        );
        return;
    }
    server.sql(&format!(
        "CREATE DATABASE {name}; USE {name}; CREATE TABLE t (id BIGINT PRIMARY KEY, n INT NOT NULL, note VARCHAR(400) NOT NULL); \
         CREATE TABLE audit (id BIGINT, n INT); \
         CREATE TRIGGER inserted AFTER INSERT ON t FOR EACH ROW INSERT INTO audit VALUES (NEW.id, NEW.n); \
         CREATE TRIGGER updated AFTER UPDATE ON t FOR EACH ROW INSERT INTO audit VALUES (NEW.id, NEW.n); \
         CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON {name}.* TO {name}@'%'"
    ));
}

/// `[sink.NAME]` for a database that [`make_target`] has made, through `port`.
fn sink(sink: &str, server: &Server, database: &str, port: u16) -> String {
    let kind = if server.kind == Kind::Postgres { "postgres" } else { "mysql" };
    format!(
        "[sink.{sink}]\ntype = \"{kind}\"\nurl = \"{kind}://{database}@127.0.0.1:{port}/{database}\"\npassword = \"{PASSWORD}\"\n"
    )
}

/// Waits until the target has what the source has.
fn wait_for_rows(what: &str, shop: &Shop<'_>, target: &Server, database: &str) {
    let expected = shop.rows();
    wait_until(what, || rows(target, database) == expected);
}

/// Waits for a text in the log of a run after the first `from` bytes of it; returns how long that took.
fn wait_for_log(run: &Run, from: usize, text: &str) -> Duration {
    let start = Instant::now();
    wait_until(&format!("the log has `{text}`"), || run.log().get(from..).is_some_and(|log| log.contains(text)));
    start.elapsed()
}

/// Neither passwords nor row values are in what the flow has written to standard error.
fn assert_discreet(flow: &Flow) {
    let log = std::fs::read_to_string(flow.folder().join("stderr.log")).unwrap_or_default();
    assert_text_is_discreet(&log);
}

fn assert_text_is_discreet(text: &str) {
    for line in text.lines() {
        assert!(!line.contains(PASSWORD), "a password is in the log: {line}");
        assert!(!line.contains(MARKER), "a row value is in the log: {line}");
    }
}
