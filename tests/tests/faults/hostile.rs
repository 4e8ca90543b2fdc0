//! Hostile plugins in some pipelines of a process, and an honest pipeline beside them, on one source: it goes on while they misbehave, loses
//! nothing, and what they take is bounded. Nothing of theirs is lost either.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use tidegate_tests::flow::Flow;
use tidegate_tests::{project, servers, servers::wait_until};

use super::memory::most_memory;
use super::{MARKER, Shop, assert_discreet};

const MIB: u64 = 1 << 20;
/// Limits of each plugin here.
const MEMORY_MIB: u64 = 32;
const OUTPUT_MIB: u64 = 16;
const STATE_MIB: u64 = 1;
const LOG_RATE: u64 = 20;

/// What plugins/hostile does at a row with a mark, and what the letter of such a row says, if one is written.
const DEEDS: [(&str, Option<&str>); 12] = [
    ("trap", Some("trapped on purpose")),
    ("trap-at-random", Some("trapped on purpose")),
    ("loop", Some("took longer than")),
    ("recurse", Some("crashed")),
    ("allocate", Some("memory")),
    ("offsets-beyond", Some("offsets up to 3")),
    ("overlap", Some("it holds more than")),
    ("derived-bomb", Some("of `output` are left")),
    ("log-flood", None),
    ("state-flood", None),
    ("state-churn", None),
    ("state-rewrite", None),
];

fn plugin(name: &str, config: &str, time: &str) -> String {
    let path = project("target/plugins/hostile.wasm");
    assert!(path.exists(), "{} is missing: run `make plugins`", path.display());
    format!(
        "[plugin.{name}]\npath = \"{}\"\nconfig = {{ {config} }}\ntime = \"{time}\"\nlog_rate = {LOG_RATE}\n\
         memory = \"{MEMORY_MIB}MiB\"\noutput = \"{OUTPUT_MIB}MiB\"\nstate = \"{STATE_MIB}MiB\"\n",
        path.display()
    )
}

/// A pipeline into NAME.jsonl.
fn pipeline(name: &str, keys: &str) -> String {
    format!(
        "[sink.{name}]\ntype = \"jsonl\"\npath = \"{name}.jsonl\"\n[pipeline.{name}]\nsource = \"shop\"\nsink = \"{name}\"\n{keys}\n"
    )
}

/// The table as the hostile plugin wants it: text in its second column.
fn shop(name: &'static str) -> Shop<'static> {
    let shop = Shop::new(servers::shared_mysql(), name);
    shop.server.sql_in(name, "DROP TABLE t; CREATE TABLE t (id BIGINT PRIMARY KEY, note VARCHAR(100) NOT NULL)");
    shop
}

/// Rows in transactions of their own; one of thirty has a mark.
fn write(shop: &Shop<'_>, ids: std::ops::Range<u64>) {
    let mark = |id: u64| if id % 30 == 3 { "!" } else { "" };
    let sql: String = ids.map(|id| format!("INSERT INTO t VALUES ({id}, '{MARKER} {id}{}');", mark(id))).collect();
    shop.server.sql_in(shop.name, &sql);
}

fn ids(flow: &Flow, name: &str) -> Vec<u64> {
    let text = fs::read_to_string(flow.folder().join(format!("{name}.jsonl"))).unwrap_or_default();
    // The last line may be half written.
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let id = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON")["after"]["id"].as_u64().expect("an id")
    };
    lines.map(id).collect()
}

/// Twice as many pipelines as there are cores, and more, have a plugin that computes for ten minutes: in `configure`, in `bind` or in both
/// lanes. The honest one goes on all the same. What imports what it must not is refused at once.
#[test]
fn guests_that_compute_hold_up_nobody() {
    let shop = shop("computing");
    let flow = Flow::new("");
    let mut manifest = shop.source(shop.server.port) + &pipeline("good", "");
    for call in ["configure", "bind", "process"] {
        for twin in ["a", "b", "c", "d"] {
            let name = format!("{call}-{twin}");
            manifest += &plugin(&name, &format!("do = \"loop\", in = \"{call}\""), "10m");
            manifest += &pipeline(&name, &format!("plugins = [\"{name}\"]\nlanes = 2"));
        }
    }
    let outside = fs::read(project("target/plugins/outside.wasm")).expect("plugins/outside: run `make plugins`");
    // The same length, and nobody's.
    let invented = replaced(&outside, b"wasi:random/random@0.2", b"evil:secret/access@0.2");
    for (name, component) in [("wasi", &outside), ("invented", &invented)] {
        fs::write(flow.folder().join(format!("{name}.wasm")), component).expect("write a component");
        manifest += &format!("[plugin.{name}]\npath = \"{name}.wasm\"\n{}", pipeline(name, &format!("plugins = [\"{name}\"]")));
    }
    flow.write(&manifest);
    let mut run = flow.start(&[], &[]);
    for wave in 0..5 {
        write(&shop, wave * 50..(wave + 1) * 50);
        wait_until("the honest pipeline has all rows", || ids(&flow, "good").len() as u64 == (wave + 1) * 50);
    }
    for (name, import) in [("wasi", "wasi:random/random@0.2"), ("invented", "evil:secret/access@0.2")] {
        let refused = |line: &str| line.contains(&format!("plugin `{name}`: imports `")) && line.contains(import);
        wait_until(&format!("`{name}` is refused"), || run.log().lines().any(refused));
    }
    let log = run.log();
    // Guests of batches have made their threads give way, and no other thread has.
    wait_until("the computing lanes give way", || given_way(run.pid()).len() == 4 * 2);
    assert!(given_way(run.pid()).iter().all(|name| name == "lane"));
    // All the others still compute.
    assert_eq!(log.matches("stopped: ").count(), 2, "{log}");
    assert_eq!(BTreeSet::from_iter(ids(&flow, "good")), BTreeSet::from_iter(0..250));
    assert!(run.is_running());
    assert_discreet(&flow);
}

/// Names of the threads that have given way.
fn given_way(pid: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of the process");
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    // proc_pid_stat(5): the name in parentheses, and `nice` as the 17th field behind it.
    let lowest = |stat: String| {
        let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
        (fields.split_whitespace().nth(16) == Some("15")).then(|| name.to_owned())
    };
    stats.filter_map(lowest).collect()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn what_hostile_plugins_take_is_bounded_and_nothing_is_lost() {
    let shop = shop("bounded");
    let mut manifest = shop.source(shop.server.port) + &pipeline("good", "");
    for (deed, _) in DEEDS {
        let time = if deed == "loop" { "100ms" } else { "20s" };
        manifest += &plugin(deed, &format!("do = \"{deed}\", marked = true"), time);
        let keys = "lanes = 1\nbatch = { rows = 64 }\non_row_error = \"dead-letter\"";
        manifest += &pipeline(deed, &format!("plugins = [\"{deed}\"]\n{keys}"));
    }
    let flow = Flow::new(&manifest);
    let began = Instant::now();
    let mut run = flow.start(&[], &[]);
    wait_until("the pipelines run", || run.log().matches("begins at").count() == DEEDS.len() + 1);
    let idle = most_memory(run.pid());
    let mut written = 0;
    for _ in 0..3 {
        write(&shop, written..written + 100);
        written += 100;
        wait_until("the honest pipeline has all rows", || ids(&flow, "good").len() as u64 == written);
    }
    // The last rows have no marks: where one of them is, all before it are settled. By chance, one may be a letter.
    for id in 10_000..10_005 {
        shop.server.sql_in(shop.name, &format!("INSERT INTO t VALUES ({id}, '{MARKER} {id}')"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let all: BTreeSet<u64> = (0..written).chain(10_000..10_005).collect();
    for (deed, _) in DEEDS {
        wait_until(&format!("`{deed}` has settled all rows"), || {
            assert!(run.is_running(), "{}", run.log());
            ids(&flow, deed).last().is_some_and(|id| *id >= 10_000)
        });
    }
    let most = most_memory(run.pid());
    let seconds = began.elapsed().as_secs();

    // An instance has its memory, what it answers, and its state as it is, as it was, and on the way to the store.
    let bound = idle + DEEDS.len() as u64 * (MEMORY_MIB + 2 * OUTPUT_MIB + 6 * STATE_MIB) * MIB;
    assert!(most < bound, "idle {idle}, most {most} bytes, bound {bound}");
    let entries = run.log().matches("entry ").count() as u64;
    assert!(entries <= LOG_RATE * (seconds + 2), "{entries} entries in {seconds} s");
    assert!(run.log().contains("log entries were left out"), "{}", run.log());
    run.signal("TERM");
    assert!(run.wait().success(), "{}", run.log());
    assert!(!run.log().contains("stopped: "), "{}", run.log());
    assert_discreet(&flow);

    let (code, listed, stderr) = flow.call(&["--format", "json", "dead-letter", "list"]);
    assert_eq!(code, 0, "{stderr}");
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let mut failing = Vec::new();
    for (deed, message) in DEEDS {
        let of = |letter: &&serde_json::Value| letter["pipeline"] == deed;
        let letters: Vec<&serde_json::Value> = listed["dead_letters"].as_array().expect("a list").iter().filter(of).collect();
        let arrived = BTreeSet::from_iter(ids(&flow, deed));
        assert_eq!(arrived.len() + letters.len(), all.len(), "{deed}: some are lost, or are there twice");
        let says = |letter: &&serde_json::Value| {
            message.is_some_and(|text| letter["why"]["plugin"]["message"].as_str().is_some_and(|m| m.contains(text)))
        };
        // By chance, no row that traps may be found again when it is tried alone.
        assert!(message.is_none() == letters.is_empty() || deed == "trap-at-random", "{deed}: {letters:#?}");
        assert!(letters.iter().all(says), "{deed}: {letters:#?}");
        failing.extend((!letters.is_empty()).then_some(deed));
    }

    // Harmless now, they have all that was set aside.
    flow.write(&manifest.replace("do = \"", "do = \"nothing\", was = \""));
    let mut run = flow.start(&[], &[]);
    wait_until("the pipelines run again", || run.log().matches("begins at").count() == 2 * (DEEDS.len() + 1));
    for deed in failing {
        let retried = || flow.call(&["dead-letter", "retry", "--all", "--pipeline", deed]).0 == 0;
        wait_until(&format!("the letters of `{deed}` are delivered"), retried);
    }
    run.signal("TERM");
    assert!(run.wait().success(), "{}", run.log());
    let honest: BTreeSet<u64> =
        shop.server.sql_in(shop.name, "SELECT id FROM t").lines().map(|id| id.parse().expect("an id")).collect();
    assert_eq!(honest, all);
    for deed in DEEDS.iter().map(|(deed, _)| *deed).chain(["good"]) {
        assert_eq!(BTreeSet::from_iter(ids(&flow, deed)), all, "{deed}");
    }
}
