//! A source whose connections are cut while its tables are read.

use tidegate_tests::flow::Flow;
use tidegate_tests::proxy::{Proxy, Way};
use tidegate_tests::servers::{self, Server, wait_until};

const ROWS: usize = 40_000;

/// A table without a key, in front of which there is a proxy; and its pipeline into `sink`.
fn flow(server: &Server, proxy: &Proxy, name: &str, sink: &str) -> Flow {
    server.sql(&format!("CREATE DATABASE {name}; CREATE TABLE {name}.log (n INT, note VARCHAR(100))"));
    let rows: Vec<String> = (0..ROWS).map(|n| format!("({}, REPEAT('x', 90))", n % 500)).collect();
    server.sql_in(name, &format!("INSERT INTO log VALUES {}", rows.join(", ")));
    Flow::new(&format!(
        "[source.here]\ntype = \"mysql\"\nurl = \"mysql://root@127.0.0.1:{}\"\ntables = [\"{name}.*\"]\nwithout_key = \"whole-row\"\n\
         [sink.there]\n{sink}\n[pipeline.copy]\nsource = \"here\"\nsink = \"there\"\n",
        proxy.port
    ))
}

/// Begun again by itself, as often as it is cut, where the target can be emptied.
fn a_cut_reading_is_begun_again(server: &Server, name: &str) {
    let target = servers::shared_postgres();
    target.sql(&format!("CREATE DATABASE {name}"));
    let proxy = Proxy::to(server.port);
    let flow =
        flow(server, &proxy, name, &format!("type = \"postgres\"\nurl = \"{}\"\ncreate = true", target.url("postgres", name)));
    proxy.cut_after(Way::Down, 1_500_000);
    let mut run = flow.start(&["--until", "caught-up"], &[]);
    for cuts in 1..3 {
        wait_until("the connection is cut", || proxy.cuts() == cuts);
        server.sql_in(name, "INSERT INTO log VALUES (1, 'later'); DELETE FROM log WHERE n = 3 LIMIT 1");
        if cuts == 1 {
            proxy.cut_after(Way::Down, 2_500_000);
        }
    }
    assert!(run.wait().success(), "{}", run.log());
    assert_eq!(run.log().matches("reading is cut").count(), 2, "{}", run.log());
    flow.catch_up();
    let query = "SELECT n, note, COUNT(*) FROM log GROUP BY n, note ORDER BY n, note";
    assert_eq!(server.sql_in(name, query), target.sql_in(name, query));
}

#[test]
fn a_table_without_a_key_of_mysql_is_begun_again() {
    a_cut_reading_is_begun_again(servers::shared_mysql(), "snap_cut_whole_my");
}

#[test]
fn a_table_without_a_key_of_mariadb_is_begun_again() {
    a_cut_reading_is_begun_again(servers::shared_mariadb(), "snap_cut_whole_maria");
}

/// Where the target has no tables, the pipeline stops and says what to do.
#[test]
fn a_reading_that_cannot_be_begun_again_stops() {
    let server = servers::shared_mysql();
    let proxy = Proxy::to(server.port);
    let flow = flow(server, &proxy, "snap_cut_lines", "type = \"jsonl\"\npath = \"rows.jsonl\"");
    proxy.cut_after(Way::Down, 1_500_000);
    let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
    assert_eq!(proxy.cuts(), 1);
    assert_ne!(code, 0, "{stderr}");
    assert!(stderr.contains("reading it was cut") && stderr.contains("tidegate snapshot --pipeline copy"), "{stderr}");
}
