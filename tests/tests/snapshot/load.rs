//! What a source may be burdened with: reading rests while others keep it busy, and goes no faster than it may.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, Server, wait_until};

/// Eight connections that are busy for a minute.
struct Busy<'s>(&'s Server, Vec<Child>);

impl<'s> Busy<'s> {
    fn begin(server: &'s Server) -> Busy<'s> {
        let program = server.program(if server.kind == servers::Kind::MySql { "mysql" } else { "mariadb" });
        let sleep = || {
            let mut client = Command::new(&program);
            client.args(["--no-defaults", "--protocol=TCP", "-h", "127.0.0.1", "-uroot", "-e", "SELECT SLEEP(60)"]);
            client.arg(format!("--port={}", server.port)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            client.spawn().expect("start a client")
        };
        let busy = Busy(server, (0..8).map(|_| sleep()).collect());
        let running = || server.sql("SHOW GLOBAL STATUS LIKE 'Threads_running'").split_whitespace().nth(1).map(str::to_owned);
        wait_until("the server is busy", || running().is_some_and(|n| n.parse::<u64>().expect("a number") > 8));
        busy
    }

    fn end(mut self) {
        let sleeping = "SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(60)'";
        for row in self.0.rows(sleeping) {
            self.0.sql_past_errors("mysql", &format!("KILL {}", row[0]));
        }
        self.1.iter_mut().for_each(|client| drop(client.wait()));
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.1.iter_mut().for_each(|client| drop(client.kill()));
    }
}

fn rests_while_busy(server: &Server, name: &str) {
    server.sql(&format!(
        "CREATE DATABASE {name}; CREATE TABLE {name}.t (id INT PRIMARY KEY, n INT); CREATE TABLE {name}.log (n INT)"
    ));
    let rows: Vec<String> = (0..4000).map(|n| format!("({n}, {n})")).collect();
    server.sql_in(name, &format!("INSERT INTO t VALUES {}; INSERT INTO log SELECT n FROM t WHERE n < 50", rows.join(", ")));
    let flow = Flow::new(&format!(
        "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{name}.*\"]\nwithout_key = \"whole-row\"\n\
         snapshot = {{ chunk_rows = 100, rows_per_second = 1000, threads_running_max = 6 }}\n\
         [sink.there]\ntype = \"jsonl\"\npath = \"rows.jsonl\"\n[pipeline.copy]\nsource = \"here\"\nsink = \"there\"\nlanes = 1\n",
        server.url("root", "")
    ));
    let lines = || std::fs::read_to_string(flow.folder().join("rows.jsonl")).unwrap_or_default();
    let has = |table: &str| lines().lines().filter(|line| line.contains(&format!("\"{table}\""))).count();

    // Busy from the beginning: the table without a key rests, and the stream does not stand still meanwhile.
    let busy = Busy::begin(server);
    let begun = Instant::now();
    let mut run = flow.start(&["--until", "caught-up"], &[("TIDEGATE_LOG", "info")]);
    wait_until("reading rests", || run.log().contains("reading tables rests"));
    server.sql_in(name, "INSERT INTO t VALUES (100000, 0)");
    wait_until("the stream goes on", || has("t") > 0);
    assert_eq!(has("log"), 0);
    busy.end();
    wait_until("it goes on", || run.log().contains("reading tables goes on"));
    wait_until("the table with a key is being read", || has("t") > 500);

    // Busy in the middle.
    let busy = Busy::begin(server);
    let rests = || run.log().matches("reading tables rests").count();
    wait_until("reading rests again", || rests() == 2);
    let read = has("t");
    std::thread::sleep(Duration::from_secs(2));
    let read_resting = has("t") - read;
    assert!(read_resting <= 400, "{read_resting} rows were read while reading rested");
    assert!(run.is_running() && read < 4000, "{}", run.log());
    busy.end();
    assert!(run.wait().success(), "{}", run.log());
    // What the stream had before its table was begun is read once more.
    assert_eq!((has("log"), has("t")), (50, 4002));
    assert!(begun.elapsed() > Duration::from_secs(4), "4000 rows at 1000 a second in {:?}", begun.elapsed());
}

#[test]
fn reading_rests_while_mysql_is_busy() {
    rests_while_busy(&servers::mysql(&[]), "snap_busy");
}

#[test]
fn reading_rests_while_mariadb_is_busy() {
    rests_while_busy(&servers::mariadb(&[]), "snap_busy");
}
