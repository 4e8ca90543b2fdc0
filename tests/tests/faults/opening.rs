//! Pipelines of which something is wrong or away at the start: each waits or stops alone.

use std::fs;

use tidegate_tests::flow::Flow;
use tidegate_tests::project;
use tidegate_tests::servers::{self, wait_until};

use super::{Shop, assert_discreet, wait_for_log};

#[test]
fn what_cannot_be_opened_holds_up_nobody_else() {
    let server = servers::mysql(&[]);
    let mut shop = Shop::new(&server, "opening");
    shop.write(30);
    server.stop();
    let flow = Flow::new(&format!(
        "{}[source.files]\ntype = \"binlog-files\"\npaths = [\"{}\"]\ntables = [\"shop.*\"]\n\
         [source.gone]\ntype = \"binlog-files\"\npaths = [\"gone.000001\"]\ntables = [\"shop.*\"]\n\
         [plugin.broken]\npath = \"broken.wasm\"\n\
         [sink.lines]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\n[sink.waited]\ntype = \"jsonl\"\npath = \"waited.jsonl\"\n\
         [sink.null]\ntype = \"null\"\n\
         [pipeline.a-gone]\nsource = \"gone\"\nsink = \"null\"\n\
         [pipeline.b-broken]\nsource = \"shop\"\nplugins = [\"broken\"]\nsink = \"null\"\n\
         [pipeline.c-waits]\nsource = \"shop\"\nsink = \"waited\"\n\
         [pipeline.d-waits]\nsource = \"shop\"\nsink = \"null\"\n\
         [pipeline.e-good]\nsource = \"files\"\nsink = \"lines\"\n",
        shop.source(server.port),
        project("examples/demo/binlog/shop.000001").display()
    ));
    fs::write(flow.folder().join("broken.wasm"), "no component").expect("write a file");
    let lines = |name: &str| fs::read_to_string(flow.folder().join(name)).unwrap_or_default().lines().count();
    let mut run = flow.start(&[], &[]);
    wait_until("the good pipeline writes", || lines("lines.jsonl") > 100);
    // The one without its plugin does not wait for the server to say so.
    wait_for_log(&run, 0, "plugin `broken`");
    wait_for_log(&run, 0, "gone.000001");
    for pipeline in ["c-waits", "d-waits"] {
        wait_for_log(&run, 0, &format!("{pipeline}: waiting: source `shop`"));
    }
    server.resume();
    wait_until("the other one goes on when its source is there", || lines("waited.jsonl") > 30);
    wait_for_log(&run, 0, "d-waits: running");
    run.signal("TERM");
    // Of the first pipeline that failed, in the order of their names.
    assert_eq!(run.wait().code(), Some(3), "{}", run.log());
    for stopped in ["pipeline `a-gone` stopped", "pipeline `b-broken` stopped"] {
        assert!(run.log().contains(&format!("error: {stopped}")), "{}", run.log());
    }
    assert_discreet(&flow);
}
