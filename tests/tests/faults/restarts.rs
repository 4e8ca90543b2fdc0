//! Servers that stop, are killed, hang or stay away, under pipelines that share a source; and the stop of the program itself.

use std::fs;
use std::time::{Duration, Instant};

use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, wait_until};

use super::{Shop, assert_discreet, make_target, sink, wait_for_log, wait_for_rows};

/// How long the sink stays away.
const AWAY: Duration = Duration::from_secs(30);

/// A pipeline whose source is away does not say that it has caught up.
#[test]
fn a_source_that_is_away_is_told() {
    let server = servers::mysql(&[]);
    let mut shop = Shop::new(&server, "away");
    let flow = Flow::new(&format!(
        "{}[sink.copy]\ntype = \"sqlite\"\npath = \"copy.sqlite\"\ncreate = true\n[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\n",
        shop.source(server.port)
    ));
    let mut run = flow.start(&[], &[]);
    shop.write(20);
    wait_for_log(&run, 0, "copy: running, 0 rows/s, lag 0.0 s");
    let log = run.log().len();
    server.stop();
    let waiting = format!("copy: waiting: source `shop` at 127.0.0.1:{}, 0 rows/s, lag ", server.port);
    wait_for_log(&run, log, &waiting);
    let text = run.log();
    let lag = text[log..].split(&waiting).nth(1).expect("what was waited for");
    assert!(!lag.starts_with("0.0 s"), "{lag}");
    server.resume();
    let log = run.log().len();
    shop.write(20);
    wait_for_log(&run, log, "copy: running, ");
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(0), "{}", run.log());
    assert_discreet(&flow);
}

#[test]
fn pipelines_go_on_after_restarts_and_outages() {
    let server = servers::mysql(&[]);
    let target = servers::postgres(&[]);
    let mut shop = Shop::new(&server, "restarts");
    make_target(&target, "restarts");
    let flow = Flow::new(&format!(
        "{}{}[sink.lines]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\n[sink.null]\ntype = \"null\"\n\
         [pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\nlanes = 2\n\
         [pipeline.lines]\nsource = \"shop\"\nsink = \"lines\"\nordering = \"global\"\n\
         [pipeline.null]\nsource = \"shop\"\nsink = \"null\"\n",
        shop.source(server.port),
        sink("copy", &target, "restarts", target.port)
    ));
    let last_line_is = |id: u64| {
        let text = fs::read_to_string(flow.folder().join("lines.jsonl")).unwrap_or_default();
        text.lines().rev().take(60).any(|line| line.contains(&format!("\"id\":{id},")))
    };
    let dumps =
        || server.sql("SHOW PROCESSLIST").lines().filter(|l| l.contains("\trestarts\t") && l.contains("Binlog Dump")).count();
    let mut run = flow.start(&[], &[]);
    shop.write(100);
    wait_for_rows("all pipelines run", &shop, &target, "restarts");
    wait_until("three pipelines share one connection", || dumps() == 1);

    // The source restarts, in order and not.
    for orderly in [true, false] {
        shop.write(100);
        if orderly {
            server.stop();
        } else {
            server.kill();
        }
        server.resume();
        shop.write(100);
        wait_for_rows("the source is back", &shop, &target, "restarts");
    }
    // It hangs.
    let log = run.log().len();
    server.signal("STOP");
    let noticed = wait_for_log(&run, log, "no heartbeat");
    server.signal("CONT");
    assert!(noticed < Duration::from_secs(10), "{noticed:?}");
    shop.write(20);
    wait_for_rows("the source goes on", &shop, &target, "restarts");

    // The sink stays away; the other pipelines do not wait for it.
    target.stop();
    let start = Instant::now();
    while start.elapsed() < AWAY {
        shop.write(200);
        let written = Instant::now();
        wait_until("the other pipeline has it", || last_line_is(shop.next_id - 1));
        assert!(written.elapsed() < Duration::from_secs(5), "{:?}", written.elapsed());
        std::thread::sleep(Duration::from_secs(2));
    }
    assert!(run.is_running(), "{}", run.log());
    assert!(run.log().contains(&format!("copy: waiting: sink `copy` at 127.0.0.1:{}", target.port)), "{}", run.log());
    target.resume();
    wait_for_rows("the sink is back", &shop, &target, "restarts");
    shop.write(100);
    target.kill();
    target.resume();
    shop.write(100);
    wait_for_rows("the sink is back again", &shop, &target, "restarts");
    wait_until("one connection is enough again", || dumps() == 1);

    // Told to stop under load, it settles what is in flight and ends well; the next run goes on there.
    for signal in ["INT", "TERM"] {
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| shop.write(500));
            std::thread::sleep(Duration::from_millis(200));
            let told = Instant::now();
            run.signal(signal);
            assert_eq!(run.wait().code(), Some(0), "{}", run.log());
            assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
            writing.join().expect("write the load");
        });
        run = flow.start(&[], &[]);
        wait_for_rows("it goes on", &shop, &target, "restarts");
    }
    // Told to stop at rest, it leaves the cursor where the source stands.
    wait_until("the last row is out", || last_line_is(shop.next_id - 1));
    run.signal("INT");
    assert_eq!(run.wait().code(), Some(0), "{}", run.log());
    let executed = server.sql("SELECT @@GLOBAL.gtid_executed").replace("\\n", "");
    for pipeline in ["copy", "lines", "null"] {
        let (_, cursor, _) = flow.call(&["cursor", "show", pipeline]);
        assert!(cursor.contains(executed.trim()), "{pipeline}: {cursor}, the source: {executed}");
    }
    assert_discreet(&flow);
}
