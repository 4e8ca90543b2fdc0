//! A plugin that misbehaves stops its own pipeline, with a message that names it; others of the process go on, and no row is lost.

use std::fs;

use tidegate_tests::flow::Flow;
use tidegate_tests::{project, servers};

use super::{Shop, assert_text_is_discreet};

/// What plugins/hostile can do, and a part of the message about it.
const DEEDS: [(&str, &str); 22] = [
    ("trap", "trapped on purpose"),
    ("loop", "time"),
    ("recurse", "crashed"),
    ("allocate", "memory"),
    ("error", "refused on purpose"),
    ("read-beyond", ""),
    ("drop-key", ""),
    ("add-twice", ""),
    ("unknown-kind", ""),
    ("unknown-op", ""),
    ("short-keep", ""),
    ("short-words", ""),
    ("wrong-kind", ""),
    ("wrong-buffer", ""),
    ("offsets-short", ""),
    ("offsets-down", ""),
    ("offsets-beyond", ""),
    ("not-utf8", ""),
    ("column-beyond", ""),
    ("list-beyond", ""),
    ("short-ops", ""),
    ("op-beyond", ""),
];

#[test]
fn a_hostile_plugin_stops_its_pipeline_alone() {
    let server = servers::shared_mysql();
    let mut shop = Shop::new(server, "hostile");
    // The hostile plugin wants text in the second column.
    server.sql_in(
        "hostile",
        "DROP TABLE t; CREATE TABLE t (id BIGINT PRIMARY KEY, note VARCHAR(100) NOT NULL, n INT NOT NULL DEFAULT 0)",
    );
    server
        .sql_in("hostile", &(1..=50).map(|id| format!("INSERT INTO t VALUES ({id}, 'Marzipan {id}', {id});")).collect::<String>());
    shop.next_id = 51;
    let hostile = project("target/plugins/hostile.wasm");
    assert!(hostile.exists(), "{} is missing: run `make plugins`", hostile.display());
    let mut manifest = shop.source(server.port);
    for (deed, _) in DEEDS {
        manifest.push_str(&pipeline(deed, deed, &hostile.display().to_string()));
    }
    manifest
        .push_str("[sink.good]\ntype = \"jsonl\"\npath = \"good.jsonl\"\n[pipeline.good]\nsource = \"shop\"\nsink = \"good\"\n");
    let flow = Flow::new(&manifest);
    let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
    assert_eq!(code, 4, "{stderr}");
    assert_text_is_discreet(&stderr);
    let lines = |name: &str| {
        let text = fs::read_to_string(flow.folder().join(format!("{name}.jsonl"))).unwrap_or_default();
        let mut ids: Vec<i64> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON")["after"]["id"].as_i64().expect("an id")
            })
            .collect();
        ids.sort();
        ids
    };
    let all: Vec<i64> = (1..=50).collect();
    assert_eq!(lines("good"), all, "{stderr}");
    for (deed, part) in DEEDS {
        let message = stderr.split("\nerror: ").find(|m| m.starts_with(&format!("pipeline `{deed}` stopped")));
        let message = message.unwrap_or_else(|| panic!("`{deed}` did not stop its pipeline: {stderr}"));
        assert!(message.contains(&format!("`p-{deed}`")) && message.contains(part), "{deed}: {message}");
        assert!(message.contains("hostile.t"), "{deed}: the relation is not named: {message}");
        assert_eq!(lines(deed), Vec::<i64>::new(), "{deed}");
    }

    // Harmless now, every pipeline goes on from its cursor, and has all rows.
    flow.write(&manifest.replace("do = \"", "do = \"nothing\", was = \""));
    flow.catch_up();
    for (deed, _) in DEEDS {
        assert_eq!(lines(deed), all, "{deed}");
    }
}

/// Each lane with plugins has a thread of its own, however many there are.
#[test]
fn hundreds_of_lanes_with_plugins_run_side_by_side() {
    let mut manifest = format!(
        "[source.shop]\ntype = \"binlog-files\"\npaths = [\"{}\"]\ntables = [\"shop.*\"]\n\
         [plugin.mask]\npath = \"{}\"\nconfig = {{ columns = [\"email\"] }}\n[sink.null]\ntype = \"null\"\n",
        project("examples/demo/binlog/shop.000001").display(),
        project("target/plugins/mask.wasm").display()
    );
    for name in ["a", "b", "c"] {
        manifest.push_str(&format!("[pipeline.{name}]\nsource = \"shop\"\nplugins = [\"mask\"]\nsink = \"null\"\nlanes = 256\n"));
    }
    let flow = Flow::new(&manifest);
    assert!(flow.start(&["--until", "caught-up"], &[]).wait().success());
}

fn pipeline(name: &str, deed: &str, path: &str) -> String {
    format!(
        "[plugin.p-{name}]\npath = \"{path}\"\ntime = \"300ms\"\nmemory = \"16MiB\"\nconfig = {{ do = \"{deed}\" }}\n\
         [sink.{name}]\ntype = \"jsonl\"\npath = \"{name}.jsonl\"\n\
         [pipeline.{name}]\nsource = \"shop\"\nplugins = [\"p-{name}\"]\nsink = \"{name}\"\nlanes = 1\n"
    )
}
