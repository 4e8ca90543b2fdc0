//! Connections that are cut in the middle of an event or an answer, and connections that carry nothing any more.

use std::time::{Duration, Instant};

use tidegate_tests::flow::Flow;
use tidegate_tests::load::Random;
use tidegate_tests::proxy::{Proxy, Way};
use tidegate_tests::servers::{self, Server};

use super::{Shop, assert_discreet, make_target, sink, wait_for_log, wait_for_rows};

/// A lost connection or a hanging server is noticed within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
const ROUNDS: u64 = 25;

#[test]
fn cut_connections_to_mysql_write_nothing_twice() {
    cut_connections("cut_mysql", servers::shared_mariadb());
}

#[test]
fn cut_connections_to_postgres_write_nothing_twice() {
    cut_connections("cut_postgres", servers::shared_postgres());
}

fn cut_connections(name: &'static str, target: &Server) {
    let server = servers::shared_mysql();
    let mut shop = Shop::new(server, name);
    make_target(target, name);
    let (from, to) = (Proxy::to(server.port), Proxy::to(target.port));
    let flow = Flow::new(&format!(
        "{}{}[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\nlanes = 2\ndelivery = \"exactly-once\"\nbatch = {{ rows = 10 }}\n",
        shop.source(from.port),
        sink("copy", target, name, to.port)
    ));
    let mut run = flow.start(&[], &[]);
    let mut random = Random::new(5);
    for round in 0..ROUNDS {
        from.cut_after(Way::Down, 100 + random.below(15_000) as u32);
        // In the middle of what is written; and between the target's commit and its answer, or right before.
        match round % 3 {
            0 => to.cut_after(Way::Up, random.below(4_000) as u32),
            _ => to.cut_after(Way::Down, random.below(300) as u32),
        }
        shop.write(40);
        wait_for_rows("all rows arrive after a cut", &shop, target, name);
    }
    assert!(from.cuts() >= ROUNDS / 2 && to.cuts() >= ROUNDS / 2, "{} and {} cuts", from.cuts(), to.cuts());
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(0), "{}", run.log());
    let twice = target.sql_in(name, "SELECT id, n FROM audit GROUP BY id, n HAVING COUNT(*) > 1");
    assert_eq!(twice, "", "written twice");
    assert_discreet(&flow);
}

#[test]
fn silent_connections_are_noticed_and_a_second_signal_stops_at_once() {
    let server = servers::shared_mysql();
    let target = servers::shared_postgres();
    let mut shop = Shop::new(server, "silent");
    make_target(target, "silent");
    let (from, to) = (Proxy::to(server.port), Proxy::to(target.port));
    let flow = Flow::new(&format!(
        "{}{}[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\nlanes = 2\n",
        shop.source(from.port),
        sink("copy", target, "silent", to.port)
    ));
    let mut run = flow.start(&[], &[]);
    shop.write(20);
    wait_for_rows("the pipeline runs", &shop, target, "silent");

    let log = run.log().len();
    to.swallow(true);
    shop.write(20);
    let took = wait_for_log(&run, log, "no answer");
    assert!(took < NOTICED_WITHIN, "the sink's silence was noticed after {took:?}");
    to.swallow(false);
    wait_for_rows("the sink answers again", &shop, target, "silent");

    let log = run.log().len();
    from.swallow(true);
    let took = wait_for_log(&run, log, "no heartbeat");
    assert!(took < NOTICED_WITHIN, "the source's silence was noticed after {took:?}");
    from.swallow(false);
    shop.write(20);
    wait_for_rows("the source answers again", &shop, target, "silent");

    // What is in flight cannot be settled: the first signal waits for it, the second does not.
    let log = run.log().len();
    to.swallow(true);
    shop.write(20);
    std::thread::sleep(Duration::from_millis(500));
    run.signal("INT");
    wait_for_log(&run, log, "stopping");
    assert!(run.is_running());
    let told = Instant::now();
    run.signal("INT");
    assert_eq!(run.wait().code(), Some(130), "{}", run.log());
    assert!(told.elapsed() < Duration::from_secs(1));
    to.swallow(false);
    let mut run = flow.start(&[], &[]);
    wait_for_rows("nothing is lost", &shop, target, "silent");

    // One signal ends it as well, once the silence is noticed.
    to.swallow(true);
    shop.write(20);
    std::thread::sleep(Duration::from_millis(500));
    let told = Instant::now();
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(0), "{}", run.log());
    assert!(told.elapsed() < NOTICED_WITHIN, "{:?}", told.elapsed());
    to.swallow(false);
    flow.catch_up();
    assert_eq!(super::rows(target, "silent"), shop.rows());
    assert_discreet(&flow);
}

/// A transaction that was half written when the program was killed is cut off again while it is read a second time: what the target has is
/// still known then.
#[test]
fn a_transaction_that_is_cut_while_it_is_resumed_is_written_once() {
    const ROWS: u64 = 5000;
    let server = servers::shared_mysql();
    let target = servers::shared_postgres();
    let mut shop = Shop::new(server, "resumed");
    make_target(target, "resumed");
    let from = Proxy::to(server.port);
    let flow = Flow::new(&format!(
        "{}{}[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\nlanes = 2\ndelivery = \"exactly-once\"\nbatch = {{ rows = 20 }}\n",
        shop.source(from.port),
        sink("copy", target, "resumed", target.port)
    ));
    let rows: Vec<String> = (1..=ROWS).map(|id| format!("({id}, 0, REPEAT('{}', 25))", super::MARKER)).collect();
    let inserts: String = rows.chunks(100).map(|rows| format!("INSERT INTO t VALUES {};", rows.join(","))).collect();
    server.sql_in("resumed", &format!("BEGIN; {inserts} COMMIT"));
    shop.next_id += ROWS;

    let mut run = flow.start(&[], &[("TIDEGATE_FAILPOINT", "sink-after:100")]);
    run.wait();
    let written: u64 = target.sql_in("resumed", "SELECT COUNT(*) FROM t").trim().parse().expect("a number");
    assert!((1..ROWS).contains(&written), "{written} rows were written before the kill");
    // Among the rows that the target has.
    from.cut_after(Way::Down, 120_000);
    let mut run = flow.start(&[], &[]);
    wait_for_rows("the transaction is written", &shop, target, "resumed");
    assert_eq!(from.cuts(), 1);
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(0), "{}", run.log());
    let twice = target.sql_in("resumed", "SELECT id, n FROM audit GROUP BY id, n HAVING COUNT(*) > 1");
    assert_eq!(twice, "", "written twice");
    assert_discreet(&flow);
}

/// A transaction that the target lost is read again soon, however often that has happened before.
#[test]
fn lost_transactions_are_read_again_soon() {
    let server = servers::shared_mysql();
    let target = servers::shared_postgres();
    let mut shop = Shop::new(server, "lost");
    make_target(target, "lost");
    let to = Proxy::to(target.port);
    let flow = Flow::new(&format!(
        "{}{}[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\nordering = \"transaction\"\nbatch = {{ rows = 10 }}\n",
        shop.source(server.port),
        sink("copy", target, "lost", to.port)
    ));
    let run = flow.start(&[], &[]);
    wait_for_log(&run, 0, "reading the binlog");
    for _ in 0..9 {
        let log = run.log().len();
        to.cut_after(Way::Up, 40_000);
        let rows = shop.next_id..shop.next_id + 400;
        shop.next_id += 400;
        let rows: Vec<String> = rows.map(|id| format!("({id}, 0, REPEAT('{}', 25))", super::MARKER)).collect();
        let written = Instant::now();
        server.sql_in("lost", &format!("INSERT INTO t VALUES {}", rows.join(",")));
        wait_for_rows("the transaction arrives", &shop, target, "lost");
        assert!(run.log()[log..].contains("reading the open transaction again"), "{}", run.log());
        assert!(written.elapsed() < Duration::from_secs(3), "{:?}", written.elapsed());
    }
    assert_discreet(&flow);
}
