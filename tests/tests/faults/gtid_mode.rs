//! A MySQL whose `gtid_mode` is switched under a pipeline, there and back: nothing is lost, nothing comes twice.

use std::collections::BTreeMap;
use std::fs;

use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, Server, wait_until};

use super::{Shop, assert_discreet};

/// Each step is allowed to its neighbours alone.
pub(super) const MODES: [&str; 4] = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];

#[test]
fn gtid_mode_is_switched_while_a_pipeline_follows() {
    let server = servers::mysql(&[]);
    let mut shop = Shop::new(&server, "switched");
    // Transactions with GTIDs that the pipeline never sees.
    shop.write(10);
    let first = shop.next_id;
    for mode in MODES.iter().rev() {
        switch(&server, mode);
    }
    let flow = Flow::new(&format!(
        "{}[sink.lines]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\n[pipeline.copy]\nsource = \"shop\"\nsink = \"lines\"\nordering = \"global\"\n",
        shop.source(server.port).replace("\"earliest\"", "\"now\"")
    ));
    let mut run = flow.start(&[], &[]);
    super::wait_for_log(&run, 0, "reading the binlog");
    follow(&flow, &mut shop);
    for mode in &MODES[1..] {
        insert(&mut shop, 7);
        switch(&server, mode);
        follow(&flow, &mut shop);
    }
    // What it has seen of GTIDs is not all there is, and it knows.
    let stop = |run: &mut tidegate_tests::flow::Run| {
        run.signal("TERM");
        assert_eq!(run.wait().code(), Some(0), "{}", run.log());
        let (_, cursor, _) = flow.call(&["cursor", "show", "copy", "--format", "json"]);
        serde_json::from_str::<serde_json::Value>(&cursor).expect("JSON")["gtids"].clone()
    };
    assert_eq!(stop(&mut run), serde_json::Value::Null);
    insert(&mut shop, 7);
    run = flow.start(&[], &[]);
    follow(&flow, &mut shop);
    // A new file says which transactions came before it.
    server.sql("FLUSH BINARY LOGS");
    follow(&flow, &mut shop);
    let executed = server.sql("SELECT @@GLOBAL.gtid_executed").replace("\\n", "");
    assert_eq!(stop(&mut run), serde_json::Value::from(executed.trim()));
    insert(&mut shop, 7);
    run = flow.start(&[], &[]);
    follow(&flow, &mut shop);
    // And back.
    for mode in MODES[..3].iter().rev() {
        insert(&mut shop, 7);
        switch(&server, mode);
        follow(&flow, &mut shop);
    }
    assert_eq!(stop(&mut run), serde_json::Value::Null);
    insert(&mut shop, 7);
    flow.catch_up();
    let seen = ids(&flow);
    let wrong: Vec<_> = (1..shop.next_id).filter(|id| seen.get(id).copied().unwrap_or(0) != usize::from(*id >= first)).collect();
    assert!(wrong.is_empty(), "lost, too much or twice: {wrong:?}");
    assert_discreet(&flow);
}

pub(super) fn switch(server: &Server, mode: &str) {
    server.sql(&format!("SET GLOBAL gtid_mode = {mode}"));
}

fn follow(flow: &Flow, shop: &mut Shop<'_>) {
    insert(shop, 7);
    wait_until("what was written arrives", || last(flow) == shop.next_id - 1);
}

/// Inserts alone, each a transaction.
fn insert(shop: &mut Shop<'_>, rows: u64) {
    let ids = shop.next_id..shop.next_id + rows;
    shop.next_id += rows;
    shop.server.sql_in(shop.name, &ids.map(|id| format!("INSERT INTO t VALUES ({id}, 0, 'x');")).collect::<String>());
}

/// How often each row was written.
fn ids(flow: &Flow) -> BTreeMap<u64, usize> {
    let mut seen = BTreeMap::new();
    for line in fs::read_to_string(flow.folder().join("lines.jsonl")).unwrap_or_default().lines() {
        // The last line may be in the making.
        let Ok(change) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        *seen.entry(change["key"]["id"].as_u64().expect("an id")).or_default() += 1;
    }
    seen
}

fn last(flow: &Flow) -> u64 {
    ids(flow).last_key_value().map_or(0, |(id, _)| *id)
}
