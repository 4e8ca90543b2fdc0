//! Replicas that take over from the server that is read, and servers that are not what they were: reading goes on at the next transaction, or
//! stops before the first row.

use std::collections::BTreeMap;
use std::fs;

use tidegate_tests::flow::{Flow, Run};
use tidegate_tests::proxy::{Proxy, Way};
use tidegate_tests::servers::{self, Kind, Server, wait_until};

use super::{PASSWORD, Shop, assert_discreet, wait_for_log};

/// Two servers of a kind, of which the second may replicate from the first.
pub(super) fn pair(kind: Kind, options: &[&str]) -> [Server; 2] {
    let server = |id: &str| Server::start(kind, &[&[id, "--log-slave-updates"], options].concat());
    [server("--server-id=201"), server("--server-id=202")]
}

pub(super) fn replicate(replica: &Server, from: &Server) {
    let (port, mysql) = (from.port, replica.kind == Kind::MySql);
    replica.sql(&if mysql {
        format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'root', \
             SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 1, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA"
        )
    } else {
        format!(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'root', MASTER_CONNECT_RETRY = 1, \
             MASTER_USE_GTID = slave_pos; START SLAVE"
        )
    });
}

pub(super) fn promote(replica: &Server) {
    replica.sql(if replica.kind == Kind::MySql { "STOP REPLICA; RESET REPLICA ALL" } else { "STOP SLAVE; RESET SLAVE ALL" });
}

fn wait_for_replica(replica: &Server, shop: &Shop<'_>) {
    let expected = shop.rows();
    let exists = format!("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{}'", shop.name);
    wait_until("the replica has what the source has", || {
        replica.sql(&exists).trim() != "0" && super::rows(replica, shop.name) == expected
    });
}

/// Follows both servers into `lines.jsonl`, in order.
pub(super) fn flow(shop: &Shop<'_>, urls: &[u16]) -> Flow {
    let urls: Vec<String> = urls.iter().map(|port| format!("\"mysql://{}@127.0.0.1:{port}\"", shop.name)).collect();
    Flow::new(&format!(
        "[source.shop]\ntype = \"mysql\"\nurls = [{}]\npassword = \"{PASSWORD}\"\ntables = [\"{}.*\"]\nstart = \"earliest\"\n\
         [sink.lines]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\n\
         [pipeline.copy]\nsource = \"shop\"\nsink = \"lines\"\nordering = \"global\"\n",
        urls.join(", "),
        shop.name
    ))
}

/// Inserts alone, each a transaction.
pub(super) fn insert(shop: &mut Shop<'_>, rows: u64) {
    let ids = shop.next_id..shop.next_id + rows;
    shop.next_id += rows;
    shop.server.sql_in(shop.name, &ids.map(|id| format!("INSERT INTO t VALUES ({id}, 0, 'x');")).collect::<String>());
}

/// How often each row was written.
pub(super) fn ids(flow: &Flow) -> BTreeMap<u64, usize> {
    let mut seen = BTreeMap::new();
    for line in fs::read_to_string(flow.folder().join("lines.jsonl")).unwrap_or_default().lines() {
        // The last line may be in the making.
        let Ok(change) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        *seen.entry(change["key"]["id"].as_u64().expect("an id")).or_default() += 1;
    }
    seen
}

/// Waits until every row that was inserted has arrived, and sees that none came twice.
pub(super) fn arrives(what: &str, flow: &Flow, shop: &Shop<'_>) {
    wait_until(what, || ids(flow).contains_key(&(shop.next_id - 1)));
    let seen = ids(flow);
    let wrong: Vec<_> = (1..shop.next_id).filter(|id| seen.get(id) != Some(&1)).collect();
    assert!(wrong.is_empty(), "{what}: lost or twice: {wrong:?}");
}

pub(super) fn ends_well(run: &mut Run) {
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(0), "{}", run.log());
}

#[test]
fn reading_goes_over_to_a_promoted_replica_of_mysql() {
    goes_over(Kind::MySql, "over_mysql");
}

#[test]
fn reading_goes_over_to_a_promoted_replica_of_mariadb() {
    goes_over(Kind::MariaDb(11), "over_maria");
}

/// There and back, while it runs and while it does not.
fn goes_over(kind: Kind, name: &'static str) {
    let [a, b] = &pair(kind, &[]);
    let mut shop = Shop::new(a, name);
    replicate(b, a);
    // So that file names and offsets of the two mean different places.
    a.sql("FLUSH BINARY LOGS");
    insert(&mut shop, 20);
    let flow = flow(&shop, &[a.port, b.port]);
    let mut run = flow.start(&[], &[]);
    arrives("the first server is read", &flow, &shop);
    wait_for_replica(b, &shop);

    a.kill();
    promote(b);
    shop.server = b;
    insert(&mut shop, 20);
    arrives("the second server is read", &flow, &shop);
    let over = format!("going over from 127.0.0.1:{} to 127.0.0.1:{}", a.port, b.port);
    assert!(run.log().contains(&over), "{}", run.log());
    let (code, stdout, stderr) = flow.call(&["check"]);
    let away = format!("error: source `shop` at 127.0.0.1:{}: cannot connect", a.port);
    assert!(code == 3 && stdout.contains(&away) && stdout.matches("error: ").count() == 1, "{stdout}{stderr}");

    // The first one comes back as a replica, and takes over while nobody reads.
    a.resume();
    replicate(a, b);
    insert(&mut shop, 20);
    arrives("the second server is still read", &flow, &shop);
    wait_for_replica(a, &shop);
    ends_well(&mut run);
    b.stop();
    promote(a);
    shop.server = a;
    insert(&mut shop, 20);
    run = flow.start(&[], &[]);
    arrives("the first server is read again", &flow, &shop);
    ends_well(&mut run);
    assert_discreet(&flow);
    b.resume();
}

/// What the replica has not applied yet is waited for; what it will never have stops the pipeline.
#[test]
fn a_replica_that_lacks_what_was_read_is_waited_for_or_refused() {
    let [a, b] = &pair(Kind::MySql, &[]);
    let mut shop = Shop::new(a, "lacking");
    replicate(b, a);
    insert(&mut shop, 10);
    wait_for_replica(b, &shop);
    b.sql("STOP REPLICA SQL_THREAD");
    let flow = flow(&shop, &[a.port, b.port]);
    let mut run = flow.start(&[], &[]);
    insert(&mut shop, 10);
    arrives("the first server is read", &flow, &shop);
    let read = a.sql("SELECT @@GLOBAL.gtid_executed").trim().to_owned();
    wait_until("the replica has received everything", || b.sql("SHOW REPLICA STATUS").contains(&read));
    a.kill();
    wait_for_log(&run, 0, "which were read already; it is a replica that is catching up");
    assert!(run.is_running());
    b.sql("START REPLICA SQL_THREAD");
    wait_for_log(&run, 0, "going over from");

    // Then one without them takes over.
    shop.server = b;
    a.resume();
    wait_for_replica(a, &shop);
    replicate(a, b);
    promote(b);
    insert(&mut shop, 5);
    arrives("the second server is read", &flow, &shop);
    wait_for_replica(a, &shop);
    promote(a);
    insert(&mut shop, 5);
    arrives("what the first server lacks is read", &flow, &shop);
    b.kill();
    assert_eq!(run.wait().code(), Some(3), "{}", run.log());
    let log = run.log();
    let stopped = log.split("error: pipeline `copy` stopped").nth(1).expect("why it stopped");
    assert!(stopped.contains("replicates from nobody who has") && stopped.contains("has not the transactions"), "{stopped}");
    // The command of the hint goes on with what that server has.
    let command =
        stopped.split('`').find(|part| part.starts_with("tidegate cursor set copy ")).expect("a command").replace('\n', " ");
    let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    let (code, _, stderr) = flow.call(&arguments);
    assert_eq!(code, 0, "{command}: {stderr}");
    a.sql_in("lacking", "INSERT INTO t VALUES (1000, 0, 'x')");
    run = flow.start(&[], &[]);
    wait_until("what comes after it is read", || ids(&flow).contains_key(&1000));
    ends_well(&mut run);
    assert_discreet(&flow);
    b.resume();
}

/// A large transaction is cut off in its middle, and goes on at the other server with the row after the last one that was read.
#[test]
fn a_transaction_that_is_cut_goes_on_at_the_other_server() {
    const ROWS: u64 = 5000;
    let [a, b] = &pair(Kind::MySql, &[]);
    let target = servers::shared_postgres();
    let mut shop = Shop::new(a, "over_within");
    super::make_target(target, "over_within");
    replicate(b, a);
    let rows: Vec<String> = (1..=ROWS).map(|id| format!("({id}, 0, REPEAT('{}', 25))", super::MARKER)).collect();
    let inserts: String = rows.chunks(100).map(|rows| format!("INSERT INTO t VALUES {};", rows.join(","))).collect();
    a.sql_in("over_within", &format!("BEGIN; {inserts} COMMIT"));
    shop.next_id += ROWS;
    wait_for_replica(b, &shop);
    let proxy = Proxy::to(a.port);
    let flow = Flow::new(&format!(
        "[source.shop]\ntype = \"mysql\"\nurls = [\"mysql://over_within@127.0.0.1:{}\", \"mysql://over_within@127.0.0.1:{}\"]\n\
         password = \"{PASSWORD}\"\ntables = [\"over_within.*\"]\nstart = \"earliest\"\n{}\
         [pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\nlanes = 2\ndelivery = \"exactly-once\"\nbatch = {{ rows = 20 }}\n",
        proxy.port,
        b.port,
        super::sink("copy", target, "over_within", target.port)
    ));
    proxy.end_after(Way::Down, 600_000);
    let mut run = flow.start(&[], &[]);
    super::wait_for_rows("the transaction is written", &shop, target, "over_within");
    assert_eq!(proxy.cuts(), 1);
    assert!(run.log().contains("going over from"), "{}", run.log());
    ends_well(&mut run);
    let twice = target.sql_in("over_within", "SELECT id, n FROM audit GROUP BY id, n HAVING COUNT(*) > 1");
    assert_eq!(twice, "", "written twice");
    assert_discreet(&flow);
}
