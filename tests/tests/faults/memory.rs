//! Memory stays below the formula of ARCHITECTURE.md ("Memory"), though the target stands still and large rows wait.

use std::fs;

use tidegate_tests::flow::Flow;
use tidegate_tests::proxy::Proxy;
use tidegate_tests::servers::{self, wait_until};

use super::{Shop, make_target, sink};

const MIB: u64 = 1 << 20;
const LANES: u64 = 2;
const BATCH_BYTES: u64 = 2 * MIB;
const ROW_BYTES: u64 = MIB;
const ROWS: u64 = 120;

/// The formula.
fn bound() -> u64 {
    let idle = 40 * MIB;
    let window = 16 * MIB + 2 * ROW_BYTES;
    let own_reading = 9 * 2 * ROW_BYTES;
    // A batch is full once it has its bytes, so it may have one row more.
    let pipeline = LANES * 4 * 3 * (BATCH_BYTES + ROW_BYTES);
    idle + window + own_reading + pipeline
}

/// The most memory that a process has had so far, in bytes.
pub(super) fn most_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read the process's status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

#[test]
fn memory_is_bounded_while_the_target_stands_still() {
    let server = servers::mysql(&[]);
    let target = servers::shared_postgres();
    let shop = Shop::new(&server, "memory");
    make_target(target, "memory");
    server.sql_in("memory", "ALTER TABLE t MODIFY note LONGTEXT NOT NULL");
    target.sql_in("memory", "ALTER TABLE t ALTER note TYPE text");
    let proxy = Proxy::to(target.port);
    let flow = Flow::new(&format!(
        "{}{}[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\nlanes = {LANES}\nbatch = {{ bytes = \"2MiB\" }}\n",
        shop.source(server.port),
        sink("copy", target, "memory", proxy.port)
    ));
    let mut run = flow.start(&[], &[]);
    server.sql_in("memory", "INSERT INTO t VALUES (0, 0, 'x')");
    wait_until("the pipeline runs", || target.sql_in("memory", "SELECT COUNT(*) FROM t").trim() == "1");
    let idle = most_memory(run.pid());

    proxy.swallow(true);
    for id in 1..=ROWS {
        let insert = format!("INSERT INTO t VALUES ({id}, 0, REPEAT('m', {ROW_BYTES}));");
        server.sql_in("memory", &format!("{insert} UPDATE t SET n = 1 WHERE id = {id} AND id % 3 = 0"));
    }
    // It reads until everything is full: then its memory does not change any more.
    let mut last = 0;
    wait_until("reading stands still", || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        std::mem::replace(&mut last, most_memory(run.pid())) == last && last > idle
    });
    let waiting = most_memory(run.pid());
    proxy.swallow(false);
    wait_until("everything has arrived", || {
        target.sql_in("memory", "SELECT COUNT(*), SUM(n) FROM t").trim() == format!("{}\t{}", ROWS + 1, ROWS / 3)
    });
    let most = most_memory(run.pid());
    assert!(most < bound(), "idle {idle}, waiting {waiting}, in all {most} bytes; the formula allows {}", bound());
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(0), "{}", run.log());
}
