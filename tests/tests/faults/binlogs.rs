//! Binlog files that are damaged, and binlogs that are gone.

use std::fs;

use tidegate_tests::flow::Flow;
use tidegate_tests::{project, servers};

use super::{Shop, assert_text_is_discreet};

const HEADER: usize = 19;
const FORMAT_DESCRIPTION: u8 = 15;
const XID: u8 = 16;
const GTID: u8 = 33;
const WRITE_ROWS: u8 = 30;
const UPDATE_ROWS: u8 = 31;

/// The recording of the demo: its bytes, and where its events begin.
fn recording() -> (Vec<u8>, Vec<usize>) {
    let bytes = fs::read(project("examples/demo/binlog/shop.000001")).expect("read the recording");
    let mut events = Vec::new();
    let mut at = 4;
    while at < bytes.len() {
        events.push(at);
        at += length(&bytes, at);
    }
    (bytes, events)
}

fn length(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at + 9..at + 13].try_into().expect("four bytes")) as usize
}

/// CRC-32 of zlib, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Makes the checksum of the event at `at` right again.
fn seal(bytes: &mut [u8], at: usize) {
    let end = at + length(bytes, at);
    let sum = crc(&bytes[at..end - 4]);
    bytes[end - 4..end].copy_from_slice(&sum.to_le_bytes());
}

/// A pipeline from a binlog file of these bytes into JSON lines.
fn flow(bytes: &[u8]) -> Flow {
    let flow = Flow::new(
        "[source.shop]\ntype = \"binlog-files\"\npaths = [\"shop.000001\"]\ntables = [\"shop.*\"]\n\
         [sink.lines]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\n\
         [pipeline.copy]\nsource = \"shop\"\nsink = \"lines\"\nlanes = 2\n",
    );
    fs::write(flow.folder().join("shop.000001"), bytes).expect("write the binlog");
    flow
}

/// The changes that arrived, sorted: lanes write in any order.
fn lines(flow: &Flow) -> Vec<String> {
    let text = fs::read_to_string(flow.folder().join("lines.jsonl")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_damaged_binlog_stops_at_the_damage_and_settles_what_is_before() {
    let (good, events) = recording();
    assert_eq!(good[events[0] + 4], FORMAT_DESCRIPTION);
    let updates: Vec<usize> = events.iter().copied().filter(|at| good[at + 4] == UPDATE_ROWS).collect();
    let whole = {
        let flow = flow(&good);
        flow.catch_up();
        lines(&flow)
    };
    // The last transaction boundary before an event: files that end there are whole.
    let xid = |at: usize| {
        let end = events.iter().copied().rfind(|e| *e < at && good[e + 4] == 16).expect("a transaction before");
        end + length(&good, end)
    };

    for (what, at, reason, damage) in [
        (
            "truncated",
            updates[1],
            "cut off",
            (|bytes: &mut Vec<u8>, at| bytes.truncate(at + HEADER + 9)) as fn(&mut Vec<u8>, usize),
        ),
        ("flipped bit", updates[2], "checksum", |bytes, at| bytes[at + HEADER + 12] ^= 0x04),
        ("flipped bit, late", updates[updates.len() - 1], "checksum", |bytes, at| bytes[at + HEADER + 12] ^= 0x40),
        ("unknown event", updates[3], "not known", |bytes, at| {
            bytes[at + 4] = 199;
            seal(bytes, at);
        }),
        ("columns that the table has not", updates[4], "", |bytes, at| {
            bytes[at + HEADER + 10] = 0xfa;
            seal(bytes, at);
        }),
        ("event of no length", updates[5], "shorter than its header", |bytes, at| bytes[at + 9..at + 13].fill(0)),
    ] {
        let mut bytes = good.clone();
        damage(&mut bytes, at);
        let damaged = flow(&bytes);
        let (code, _, stderr) = damaged.call(&["run", "--until", "caught-up"]);
        assert_eq!(code, 3, "{what}: {stderr}");
        let place = format!("shop.000001:{at}");
        assert!(stderr.contains(&place) && stderr.contains("hint:") && stderr.contains(reason), "{what} at {place}: {stderr}");
        assert_text_is_discreet(&stderr);

        // What arrived is what a file has that ends before the transaction with the damage, and maybe the beginning of that one.
        let before = flow(&good[..xid(at)]);
        before.catch_up();
        let (expected, arrived) = (lines(&before), lines(&damaged));
        assert!(expected.iter().all(|line| arrived.binary_search(line).is_ok()), "{what}: rows before the damage are missing");
        let until_damage = flow(&good[..at]);
        until_damage.call(&["run", "--until", "caught-up"]);
        assert!(arrived.iter().all(|line| whole.binary_search(line).is_ok()), "{what}: rows that are not in the binlog");
        assert_eq!(arrived.len(), lines(&until_damage).len(), "{what}: rows after the damage");

        // Mended, it goes on from its cursor, which is a transaction boundary right before the damage.
        let (_, cursor, _) = damaged.call(&["cursor", "show", "copy", "--format", "json"]);
        let cursor: serde_json::Value = serde_json::from_str(&cursor).expect("JSON");
        let offset = cursor["offset"].as_u64().expect("an offset") as usize;
        assert!((xid(at)..=at).contains(&offset), "{what}: the cursor is {offset}, the boundary {}, the damage {at}", xid(at));
        fs::write(damaged.folder().join("shop.000001"), &good).expect("write the binlog");
        damaged.catch_up();
        let mut all = lines(&damaged);
        all.dedup();
        let mut distinct = whole.clone();
        distinct.dedup();
        assert_eq!(all, distinct, "{what}: after the file was mended");
    }
}

/// The server says that it could not log something.
#[test]
fn an_incident_stops_behind_what_came_before_it() {
    let (mut bytes, _) = recording();
    let whole = flow(&bytes);
    whole.catch_up();
    let at = bytes.len();
    // Kind 26; incident 1 (lost events) 2, length of the message 1, the message.
    let body = [&[1, 0, 4][..], b"lost"].concat();
    let size = (HEADER + body.len() + 4) as u32;
    bytes.extend(
        [&[0; 4][..], &[26], &1u32.to_le_bytes(), &size.to_le_bytes(), &(at as u32 + size).to_le_bytes(), &[0; 2]].concat(),
    );
    bytes.extend([&body[..], &[0; 4]].concat());
    seal(&mut bytes, at);
    let damaged = flow(&bytes);
    let (code, _, stderr) = damaged.call(&["run", "--until", "caught-up"]);
    assert!(code == 3 && stderr.contains(&format!("shop.000001:{at}: INCIDENT")), "{code}: {stderr}");
    assert!(stderr.contains("changes may be missing") && stderr.contains("tidegate cursor set copy"), "{stderr}");
    assert_eq!(lines(&damaged), lines(&whole));
}

/// Columns are checked as a whole, when their batch is full or leaves early: however it leaves, its rows do not count as settled.
#[test]
fn text_that_is_none_stops_the_pipeline_in_front_of_it() {
    let (good, events) = recording();
    let is_email = |part: &[u8]| part[3] == b'@' && part.iter().enumerate().all(|(i, b)| i == 3 || b.is_ascii_lowercase());
    let mut found = 0;
    for at in events.iter().copied().filter(|at| matches!(good[at + 4], WRITE_ROWS | UPDATE_ROWS)) {
        let end = at + length(&good, at);
        let Some(email) = good[at..end - 4].windows(7).position(is_email) else { continue };
        found += 1;
        // A file that ends with the transaction: then its rows leave because nothing more is there.
        let xid = events.iter().copied().find(|e| *e > at && good[e + 4] == XID).expect("an end of the transaction");
        let good = &good[..xid + length(&good, xid)];
        let mut bytes = good.to_vec();
        bytes[at + email + 3] = 0xff;
        seal(&mut bytes, at);
        let damaged = flow(&bytes);
        for run in 0..2 {
            let (code, _, stderr) = damaged.call(&["run"]);
            let begin = events.iter().rfind(|e| **e < at && good[**e + 4] == GTID).expect("a beginning of the transaction");
            let place = format!("shop.000001:{begin} (");
            let is_told = stderr.contains("`email`: not valid UTF-8") && stderr.contains(&place);
            assert!(code == 3 && is_told, "run {run}, event at {at}, {code}: {stderr}");
            assert!(!stderr.contains('@'), "{stderr}");
        }
        fs::write(damaged.folder().join("shop.000001"), good).expect("write the binlog");
        damaged.catch_up();
        let whole = flow(good);
        whole.catch_up();
        let (mut arrived, mut expected) = (lines(&damaged), lines(&whole));
        arrived.dedup();
        expected.dedup();
        assert_eq!(arrived, expected, "event at {at}: after the file was mended");
    }
    assert!(found > 4, "{found}");
}

#[test]
fn purged_binlogs_stop_the_pipeline_and_the_hint_leads_on() {
    let server = servers::mysql(&[]);
    let mut shop = Shop::new(&server, "purged");
    let manifest = format!(
        "{}[sink.copy]\ntype = \"sqlite\"\npath = \"copy.sqlite\"\ncreate = true\n[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\n",
        shop.source(server.port)
    );
    let flow = Flow::new(&manifest);
    shop.write(30);
    flow.catch_up();
    shop.write(30);
    server.sql("FLUSH BINARY LOGS");
    shop.write(1);
    server.sql("FLUSH BINARY LOGS");
    let last = server.rows("SHOW BINARY LOGS").pop().expect("a binlog").swap_remove(0);
    server.sql(&format!("PURGE BINARY LOGS TO '{last}'"));

    let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("purged") && stderr.contains(&last), "{stderr}");
    assert_text_is_discreet(&stderr);

    // Every command that the hint gives in backticks works as it stands.
    let hint = stderr.split("hint:").nth(1).expect("a hint").to_owned();
    let commands: Vec<&str> = hint.split('`').filter(|part| part.starts_with("tidegate cursor")).collect();
    assert_eq!(commands.len(), 2, "{hint}");
    for command in commands {
        let arguments: Vec<&str> = command.split_whitespace().skip(1).map(|word| word.trim_matches('\'')).collect();
        let (code, _, stderr) = flow.call(&arguments);
        assert_eq!(code, 0, "{command}: {stderr}");
        shop.write(10);
        flow.catch_up();
    }
}

/// What cannot be followed stops the pipeline, and the command of the hint leads past it and no further.
#[test]
fn the_hint_about_a_statement_leads_past_it() {
    let without_gtids = servers::mysql(&["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]);
    for server in [servers::shared_mysql(), servers::shared_mariadb(), &without_gtids] {
        let mut shop = Shop::new(server, "hints");
        let flow = Flow::new(&format!(
            "{}[sink.lines]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\n[pipeline.copy]\nsource = \"shop\"\nsink = \"lines\"\n",
            shop.source(server.port)
        ));
        shop.write(10);
        server.sql_in("hints", "TRUNCATE t");
        shop.write(10);
        let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
        assert!(code == 3 && stderr.contains("hints.t"), "{stderr}");
        assert_eq!(lines(&flow).len(), 10);
        let hint = stderr.split("hint:").nth(1).expect("a hint").to_owned();
        let command =
            hint.split('`').find(|part| part.starts_with("tidegate cursor set copy ")).unwrap_or_else(|| panic!("{hint}"));
        let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
        let (code, _, stderr) = flow.call(&arguments);
        assert_eq!(code, 0, "{command}: {stderr}");
        flow.catch_up();
        assert!(lines(&flow).iter().any(|line| line.contains("\"id\":11,")), "{:?}", lines(&flow));
        let inserts = lines(&flow).iter().filter(|line| line.contains("\"insert\"")).count();
        assert_eq!(inserts, 20, "{:?}", lines(&flow));
    }
}
