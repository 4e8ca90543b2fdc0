//! The decoder against servers: recorded binlogs (`scripts/record-types.sh`), and what the server itself answered to SELECT.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date64Type, DurationMicrosecondType, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};

use super::decode::{Decoder, Step};
use super::error::{DecodeError, Problem, Refusal};
use super::testing;
use crate::batcher::Wanted;
use crate::change::{Batch, Column, KeyOrigin, Kind, Op, Relation, Rows, SourceType};
use crate::lane::Lanes;
use crate::manifest::model::Ordering;
use crate::position::Position;
use crate::random::Random;
use crate::source::{Boundary, ColumnInfo, Framed, Segment, TableInfo};
use crate::temporal;

fn fixture(server: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/decoder").join(server)
}

fn recorded(server: &str) -> Segment {
    testing::segment(fs::read(fixture(server).join("binlog.000001")).unwrap())
}

fn all(relation: &Relation) -> Result<Option<Wanted>, Refusal> {
    let all = vec![true; relation.columns.len()];
    Ok(Some(Wanted { after: all.clone(), before: all }))
}

fn decoder() -> Decoder {
    Decoder::new(Box::new(|schema, table| schema == "kinds" && table != "skipped"), Box::new(all))
}

fn lanes(count: usize) -> Lanes {
    Lanes::new(Ordering::Key, count, 1_000_000, usize::MAX)
}

/// Decodes events, answering what the decoder asks for with `info`.
fn decode(
    decoder: &mut Decoder,
    segment: &Segment,
    events: impl IntoIterator<Item = usize>,
    lanes: &mut Lanes,
    info: impl Fn(&str) -> Option<TableInfo>,
) -> Result<(), DecodeError> {
    for index in events {
        loop {
            match decoder.event(segment, index, lanes)? {
                Step::Done | Step::Xa(_) => break,
                Step::NeedsTable(map) | Step::NeedsDefaults(map) => decoder.provide(info(&map.table)),
                Step::Ddl(_) => decoder.pass_ddl(&[]),
                Step::More => {}
            }
        }
    }
    Ok(())
}

fn finish(lanes: &mut Lanes) -> Vec<Batch> {
    let resume = Arc::new(Position { file: "binlog.000001".into(), offset: 4, gtids: None, home: None });
    lanes.batchers.iter_mut().filter_map(|b| b.finish(Arc::clone(&resume), true).unwrap()).collect()
}

fn decode_all(server: &str) -> Batch {
    let (segment, mut lanes) = (recorded(server), lanes(1));
    decode(&mut decoder(), &segment, 0..segment.events.len(), &mut lanes, |_| None).unwrap();
    finish(&mut lanes).remove(0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

/// A value in the form of the .tsv files.
fn cell(source_type: &SourceType, column: &Column, row: usize) -> String {
    assert!(column.is_present(row), "full row images");
    let values = &column.values;
    if values.is_null(row) {
        return "-".into();
    }
    let mut text = String::new();
    match (source_type.kind(), source_type) {
        (_, SourceType::Year) => text = format!("{:04}", values.as_primitive::<Int64Type>().value(row)),
        (Kind::Int64, _) => text = values.as_primitive::<Int64Type>().value(row).to_string(),
        (Kind::UInt64, _) => text = values.as_primitive::<UInt64Type>().value(row).to_string(),
        (Kind::Float64, _) => text = format!("{:?}", values.as_primitive::<Float64Type>().value(row)),
        (Kind::Text | Kind::Decimal | Kind::Json, _) => text = values.as_string::<i32>().value(row).to_owned(),
        (Kind::Bytes, _) => return hex(values.as_binary::<i32>().value(row)),
        (Kind::Date, _) => temporal::write_date(&mut text, values.as_primitive::<Date64Type>().value(row)),
        (Kind::Time, SourceType::Time { fsp }) => {
            temporal::write_time(&mut text, values.as_primitive::<DurationMicrosecondType>().value(row), *fsp);
        }
        (_, SourceType::DateTime { fsp } | SourceType::Timestamp { fsp }) => {
            temporal::write_datetime(&mut text, values.as_primitive::<TimestampMicrosecondType>().value(row), *fsp);
        }
        (kind, other) => panic!("{kind:?} of {other:?}"),
    }
    hex(text.as_bytes())
}

fn image(rows: &Rows, image: &[Option<Column>], row: usize) -> Vec<String> {
    let columns = rows.relation.columns.iter().zip(image);
    columns.map(|(def, column)| cell(&def.source_type, column.as_ref().expect("all columns are wanted"), row)).collect()
}

/// What the changes leave in a table: lines like those of its .tsv, sorted.
fn final_state(rows: &Rows) -> Vec<String> {
    let key_of = |values: &[String]| match rows.relation.key_origin {
        KeyOrigin::WholeRow => values.join("\t"),
        KeyOrigin::Primary | KeyOrigin::Unique => {
            rows.relation.key.iter().map(|&c| values[usize::from(c)].as_str()).collect::<Vec<_>>().join("\t")
        }
    };
    let mut state: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (row, op) in rows.ops.iter().enumerate() {
        if matches!(op, Op::Update | Op::Delete) {
            let before = image(rows, &rows.before, row);
            let had = state.get_mut(&key_of(&before)).expect("what is changed was there");
            assert_eq!(had.pop(), Some(before.join("\t")), "the before image is what was there");
        }
        if *op != Op::Delete {
            let after = image(rows, &rows.after, row);
            state.entry(key_of(&after)).or_default().push(after.join("\t"));
        }
    }
    let mut lines: Vec<String> = state.into_values().flatten().collect();
    lines.sort();
    lines
}

/// Floats are compared as numbers: the servers' shortest text is not Rust's.
fn normal(relation: &Relation, line: &str) -> String {
    let cell = |(cell, def): (&str, &crate::change::ColumnDef)| {
        if def.kind() != Kind::Float64 || cell == "-" {
            return cell.to_owned();
        }
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let text: Vec<u8> = cell.as_bytes().chunks(2).map(digits).collect();
        let number: f64 = std::str::from_utf8(&text).unwrap().parse().unwrap();
        hex(format!("{number:?}").as_bytes())
    };
    line.split('\t').zip(&relation.columns).map(cell).collect::<Vec<_>>().join("\t")
}

fn rows_of<'a>(batch: &'a Batch, table: &str) -> &'a Rows {
    batch.relations.iter().find(|r| &*r.relation.table == table).unwrap()
}

fn values_are_the_servers(server: &str) {
    let batch = decode_all(server);
    let mut tables = 0;
    for entry in fs::read_dir(fixture(server)).unwrap().map(|e| e.unwrap().path()) {
        if entry.extension().is_none_or(|e| e != "tsv") {
            continue;
        }
        let rows = rows_of(&batch, entry.file_stem().unwrap().to_str().unwrap());
        let text = fs::read_to_string(&entry).unwrap();
        let mut expected: Vec<String> = text.lines().map(|line| normal(&rows.relation, line)).collect();
        expected.sort();
        let decoded = final_state(rows);
        assert_eq!(decoded.len(), expected.len(), "{}", rows.relation);
        for (decoded, expected) in decoded.iter().zip(&expected) {
            for (i, (d, e)) in decoded.split('\t').zip(expected.split('\t')).enumerate() {
                assert_eq!(d, e, "{}, column {}, row {}", rows.relation, rows.relation.columns[i].name, &expected[..4]);
            }
        }
        tables += 1;
    }
    assert_eq!(tables, batch.relations.len());
}

#[test]
fn mysql_values_are_the_servers() {
    values_are_the_servers("mysql97");
}

#[test]
fn mariadb_values_are_the_servers() {
    values_are_the_servers("mariadb10");
}

/// As SHOW CREATE TABLE writes them.
#[test]
fn types_are_those_of_the_ddl() {
    for server in ["mysql97", "mariadb10"] {
        let batch = decode_all(server);
        let types = |table: &str| -> Vec<String> {
            rows_of(&batch, table).relation.columns.iter().map(|c| c.source_type.to_string()).collect()
        };
        assert_eq!(
            types("numbers").join(" "),
            "int year tinyint tinyint unsigned smallint smallint unsigned mediumint mediumint unsigned int int unsigned bigint \
             bigint unsigned float double decimal(65,30) decimal(10,2) unsigned decimal(5,0) bit(1) bit(12) bit(64)"
        );
        assert_eq!(
            types("texts").join(" "),
            "int char(10) varchar(300) varchar(20) varchar(20) char(5) text tinytext text mediumtext longtext varchar(5) char(4) \
             varchar(20) char(255)"
        );
        assert_eq!(
            types("bytes").join(" "),
            "int binary(8) varbinary(300) tinyblob blob mediumblob longblob geometry geometry binary(255)"
        );
        assert_eq!(types("members")[1], "enum('a','it''s','x,y','ü')");
        assert_eq!(types("members")[3], "enum('grün','rot')");
        assert_eq!(
            types("times").join(" ").replace("timestamp", "s"),
            "int date time time(1) time(2) time(3) time(6) datetime \
             datetime(1) datetime(2) datetime(4) datetime(5) datetime(6) s s(3) s(6)"
        );
    }
}

#[test]
fn a_key_change_is_a_delete_and_an_insert() {
    for server in ["mysql97", "mariadb10"] {
        let batch = decode_all(server);
        let rows = rows_of(&batch, "keyed");
        assert_eq!(rows.relation.key, [1, 0], "in key order");
        let moved = &rows.ops[3..7];
        assert_eq!(moved, [Op::Delete, Op::Insert, Op::Update, Op::Delete]);
        assert_eq!((rows.ids[3].place & 1, rows.ids[4].place), (0, rows.ids[3].place | 1));
        // Row events of tables that are not followed count as well.
        assert_eq!(rows.ids[7..].iter().map(|id| id.place).collect::<Vec<_>>(), [0, 2 << 32, 2 << 32 | 2]);
        assert!(rows.ids.is_sorted() && rows.ids.windows(2).all(|w| w[0] < w[1]));
    }
}

#[test]
fn equal_keys_share_a_lane_and_keyless_rows_one() {
    let (segment, mut lanes) = (recorded("mysql97"), lanes(7));
    decode(&mut decoder(), &segment, 0..segment.events.len(), &mut lanes, |_| None).unwrap();
    let mut lane_of: HashMap<String, usize> = HashMap::new();
    let mut used = std::collections::HashSet::new();
    for (lane, batch) in finish(&mut lanes).iter().enumerate() {
        for rows in &batch.relations {
            for row in 0..rows.len() {
                let values = image(rows, rows.key_image(row), row);
                let key: Vec<&String> = rows.relation.key.iter().map(|&c| &values[usize::from(c)]).collect();
                assert_eq!(*lane_of.entry(format!("{} {key:?}", rows.relation)).or_insert(lane), lane);
                used.insert(lane);
            }
        }
    }
    assert!(used.len() > 3);
}

/// Both servers log the first unique key of NOT NULL columns as if it were the primary one; only a table with neither is asked for, and
/// one with what may be a UUID.
#[test]
fn keyless_tables_are_asked_for() {
    for server in ["mysql97", "mariadb10"] {
        let (segment, mut lanes, mut decoder) = (recorded(server), lanes(1), decoder());
        let mut asked = Vec::new();
        for index in 0..segment.events.len() {
            let step = decoder.event(&segment, index, &mut lanes).unwrap();
            if let Step::Ddl(_) = step {
                decoder.pass_ddl(&[]);
                assert_eq!(decoder.event(&segment, index, &mut lanes).unwrap(), Step::Done);
            }
            if let Step::NeedsTable(map) = step {
                let column = |name: &str| ColumnInfo {
                    name: name.into(),
                    column_type: "int".into(),
                    collation: None,
                    nullable: false,
                    virtual_generated: false,
                    invisible: false,
                    default: None,
                };
                let info = TableInfo {
                    columns: ["a", "b"].map(column).into(),
                    primary_key: vec![],
                    unique_key: vec![1, 0],
                    hashes_max: 0,
                };
                decoder.provide(Some(info));
                asked.push(map.table.to_string());
                assert_eq!(decoder.event(&segment, index, &mut lanes).unwrap(), Step::Done);
            }
        }
        assert_eq!(asked, if server == "mysql97" { &["keyless"][..] } else { &["keyless", "newer"] });
        let batch = finish(&mut lanes).remove(0);
        assert_eq!(rows_of(&batch, "uniq").relation.key, [2, 1]);
        let keyless = &rows_of(&batch, "keyless").relation;
        assert_eq!((keyless.key_origin, &keyless.key[..]), (KeyOrigin::Unique, &[1, 0][..]));
    }
}

/// The connection is lost before any event of a transaction and reading begins it again: the rows are the same, each once.
#[test]
fn a_transaction_that_begins_again_gives_each_row_once() {
    let ids = |batch: &Batch| {
        let mut ids: Vec<_> = batch.relations.iter().flat_map(|r| r.ids.iter().zip(&r.ops)).map(|(id, op)| (*id, *op)).collect();
        ids.sort_by_key(|(id, _)| *id);
        ids
    };
    let whole = ids(&decode_all("mysql97"));
    let mut segment = recorded("mysql97");
    let mut begin = 0;
    for cut in 0..segment.events.len() {
        match segment.events[cut].boundary {
            Boundary::Begin(_) => {
                begin = cut;
                continue;
            }
            _ if !(begin..cut).all(|i| segment.events[i].boundary != Boundary::End) || begin == 0 => continue,
            _ => {}
        }
        let (mut decoder, mut lanes) = (decoder(), lanes(1));
        decode(&mut decoder, &segment, 0..cut, &mut lanes, |_| None).unwrap();
        let Boundary::Begin(transaction) = segment.events[begin].boundary else { unreachable!() };
        segment.events[begin].boundary = Boundary::BeginAgain(transaction);
        decode(&mut decoder, &segment, begin..segment.events.len(), &mut lanes, |_| None).unwrap();
        segment.events[begin].boundary = Boundary::Begin(transaction);
        assert_eq!(ids(&finish(&mut lanes)[0]), whole, "cut before event {cut}");
        assert_eq!(decoder.completed().map(|c| c.1), segment.events.iter().rfind(|e| e.boundary == Boundary::End).map(|e| e.next));
    }
}

/// Batches that are full leave within an event: none has more rows than it may, and the rows are the same.
#[test]
fn an_event_is_appended_in_parts() {
    let rows = |batches: &[Batch]| {
        let of = |r: &Rows| (0..r.len()).map(|row| (r.ids[row], r.ops[row], image(r, r.key_image(row), row))).collect::<Vec<_>>();
        let mut rows: Vec<_> = batches.iter().flat_map(|batch| &batch.relations).flat_map(of).collect();
        rows.sort_by_key(|(id, ..)| *id);
        rows
    };
    let resume = Arc::new(Position { file: "binlog.000001".into(), offset: 4, gtids: None, home: None });
    for server in ["mysql97", "mariadb10"] {
        let (segment, whole) = (recorded(server), rows(&[decode_all(server)]));
        for rows_max in [1, 2, 3, 5] {
            let (mut decoder, mut lanes) = (decoder(), Lanes::new(Ordering::Key, 1, rows_max, usize::MAX));
            let (mut batches, mut parts) = (Vec::new(), 0);
            for index in 0..segment.events.len() {
                loop {
                    let step = decoder.event(&segment, index, &mut lanes).unwrap();
                    if lanes.is_any_full() || step == Step::Done {
                        batches.extend(lanes.batchers[0].finish(Arc::clone(&resume), true).unwrap());
                    }
                    match step {
                        Step::NeedsTable(_) | Step::NeedsDefaults(_) => decoder.provide(None),
                        Step::Ddl(_) => decoder.pass_ddl(&[]),
                        Step::More => parts += 1,
                        Step::Done | Step::Xa(_) => break,
                    }
                }
            }
            // An update that changes its key is two rows.
            assert!(batches.iter().all(|batch| batch.rows <= rows_max.max(2)) && parts > 0, "{rows_max}: {parts}");
            assert_eq!(rows(&batches), whole, "{rows_max}");
        }
    }
}

#[test]
fn what_cannot_be_decoded_stops() {
    let event_of = |segment: &Segment, code: u8| segment.events.iter().position(|e| segment.data[e.start + 4] == code).unwrap();
    let problem = |code: u8, mend: &dyn Fn(&mut Vec<u8>)| {
        let mut segment = recorded("mysql97");
        let index = event_of(&segment, code);
        let framed = &mut segment.events[index];
        let mut data = segment.data.to_vec();
        let mut event = data[framed.start..framed.start + framed.len].to_vec();
        mend(&mut event);
        (framed.start, framed.len) = (data.len(), event.len());
        data.extend(event);
        segment.data = data.into();
        let error = decode(&mut decoder(), &segment, 0..segment.events.len(), &mut lanes(1), |_| None).unwrap_err();
        assert_eq!(error.offset, segment.events[index].offset);
        let text = error.to_string();
        assert!(text.starts_with("binlog.000001:") && text.lines().count() <= 2, "{text}");
        error.problem
    };
    assert!(matches!(problem(30, &|e| e.truncate(e.len() - 1)), Problem::Rows(_)));
    assert!(matches!(problem(30, &|e| e.push(0)), Problem::Rows(_)));
    assert!(matches!(problem(30, &|e| e[19] ^= 1), Problem::UnknownTable(_)));
    assert!(matches!(problem(30, &|e| e[4] = 200), Problem::UnknownEvent { code: 200 }));
    assert!(matches!(problem(30, &|e| e[4] = 39), Problem::Rows(_) | Problem::Truncated(_)));
    assert!(matches!(problem(30, &|e| e[4] = 26), Problem::Incident));
    assert!(matches!(problem(30, &|e| e[4] = 40), Problem::Compressed));
    assert!(matches!(problem(30, &|e| e[4] = 20), Problem::Ancient));
    // The first row of `numbers` is numbered mid-row: a statement instead of rows.
    let statement = |text: &'static str| {
        move |event: &mut Vec<u8>| {
            event[4] = 2;
            event.truncate(19);
            event.extend([0; 8]);
            event.extend([5, 0, 0, 0, 0]);
            event.extend(b"kinds\0");
            event.extend(text.as_bytes());
        }
    };
    let by = |text| problem(30, &statement(text));
    assert!(matches!(by("insert into numbers values (1)"), Problem::StatementChange { table } if table == "kinds.numbers"));
}

/// No half of a row that changes its key, and no row before it: the event is in the lanes as a whole or not at all.
#[test]
fn an_event_that_cannot_be_decoded_leaves_nothing_in_any_lane() {
    for server in ["mysql97", "mariadb10"] {
        let segment = recorded(server);
        let is_update = |framed: &Framed| matches!(segment.data[framed.start + 4], 24 | 31);
        let mut stopped = 0;
        for (target, framed) in segment.events.iter().enumerate().filter(|(_, framed)| is_update(framed)) {
            let begin = segment.events[..target].iter().rposition(|e| matches!(e.boundary, Boundary::Begin(_))).unwrap();
            let rows_in = |lanes: &mut Lanes| finish(lanes).iter().map(|batch| batch.rows).sum::<usize>();
            let (mut whole, mut decoder_before) = (lanes(7), decoder());
            decode(&mut decoder_before, &segment, begin..target, &mut whole, |_| None).unwrap();
            let before = rows_in(&mut whole);
            for at in 19..framed.len {
                let mut event = segment.data[framed.start..framed.start + framed.len].to_vec();
                event[at] ^= 0xff;
                let changed = Segment {
                    file: Arc::clone(&segment.file),
                    home: None,
                    events: vec![Framed { start: 0, ..*framed }],
                    data: event.into(),
                    transactions: segment.transactions.clone(),
                    learned: None,
                    index: 0,
                };
                let (mut lanes, mut decoder) = (lanes(7), decoder());
                decode(&mut decoder, &segment, begin..target, &mut lanes, |_| None).unwrap();
                if decode(&mut decoder, &changed, [0], &mut lanes, |_| None).is_err() {
                    stopped += 1;
                    assert_eq!(rows_in(&mut lanes), before, "{server}, byte {at} of the event at {}", framed.offset);
                }
            }
        }
        assert!(stopped > 50, "{server}: {stopped}");
    }
}

/// Whatever bytes arrive: an error or rows, never a panic, a hang, or memory without end.
#[test]
fn no_bytes_panic() {
    const ROUNDS: usize = 10_000;
    let mut random = Random::new(1);
    let mut below = |bound: usize| random.below(bound);
    let mut stopped = 0;
    for server in ["mysql97", "mariadb10"] {
        let segment = recorded(server);
        let whole = segment.data.clone();
        let transactions: Vec<(usize, usize)> = (0..segment.events.len())
            .filter(|&i| matches!(segment.events[i].boundary, Boundary::Begin(_)))
            .map(|i| (i, i + segment.events[i..].iter().position(|e| e.boundary == Boundary::End).unwrap() + 1))
            .filter(|(begin, end)| (*begin..*end).any(|i| whole[segment.events[i].start + 4] == 19))
            .collect();
        for _ in 0..ROUNDS {
            let (begin, end) = transactions[below(transactions.len())];
            let target = begin + below(end - begin);
            let framed = segment.events[target];
            // One event is changed; those before and after it are whole.
            let mut event = whole[framed.start..framed.start + framed.len].to_vec();
            for _ in 0..=below(3) {
                let at = below(event.len());
                match below(4) {
                    0 => event[at] ^= 1 << below(8),
                    1 => event[at] = [0, 1, 0x7f, 0x80, 0xfb, 0xfe, 0xff][below(7)],
                    2 => event.truncate(at.max(1)),
                    _ => event[at] = below(256) as u8,
                }
            }
            let (mut decoder, mut lanes) = (decoder(), Lanes::new(Ordering::Key, 2, usize::MAX, usize::MAX));
            let changed = Segment {
                file: Arc::clone(&segment.file),
                home: None,
                events: vec![Framed { start: 0, len: event.len(), ..framed }],
                data: event.into(),
                transactions: segment.transactions.clone(),
                learned: None,
                index: 0,
            };
            let mut is_stopped = false;
            for index in begin..end {
                let (from, index) = if index == target { (&changed, 0) } else { (&segment, index) };
                if decode(&mut decoder, from, [index], &mut lanes, |_| None).is_err() {
                    is_stopped = true;
                    break;
                }
            }
            stopped += usize::from(is_stopped);
            if !is_stopped {
                for batcher in &mut lanes.batchers {
                    let resume = Arc::new(Position { file: "f".into(), offset: 4, gtids: None, home: None });
                    if let Ok(Some(batch)) = batcher.finish(resume, true) {
                        let bytes: usize = batch
                            .relations
                            .iter()
                            .flat_map(|r| r.after.iter().chain(&r.before))
                            .flatten()
                            .map(|c| c.values.get_buffer_memory_size())
                            .sum();
                        assert!(bytes < 16 << 20, "{bytes} bytes of values from an event of {} bytes", framed.len);
                    }
                }
            }
        }
    }
    assert!(stopped > ROUNDS / 10, "{stopped}");
}
