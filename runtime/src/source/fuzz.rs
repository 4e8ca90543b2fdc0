//! Mutated binlogs, from the bytes of a file to columns: framing, decompression and decoding. Whatever the bytes are, the outcome is rows or
//! an error that says where; never a panic, a hang, or memory without end.
//!
//! The corpus is what real servers recorded (`tests/fixtures`, `fixtures`), one transaction an input, without checksums, so that what is
//! changed gets past them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::binlog::decode::{Decoder, Step};
use super::frame::{Framer, HEADER, Offsets, Resume, kind, u32_at};
use super::{Boundary, Segment};
use crate::attack::attack;
use crate::batcher::Wanted;
use crate::lane::Lanes;
use crate::manifest::model::Ordering;
use crate::position::Position;
use crate::random::Random;

/// Larger transactions are left out of the corpus: they only take time.
const TRANSACTION_BYTES_MAX: usize = 32 << 10;

/// A transaction as a file holds it: the events of its file's head, then its own.
struct Input {
    head: Vec<Vec<u8>>,
    events: Vec<Vec<u8>>,
}

/// Cuts a file into inputs.
fn inputs(file: &[u8]) -> Vec<Input> {
    let (mut head, mut inputs, mut at): (Vec<Vec<u8>>, Vec<Input>, usize) = (Vec::new(), Vec::new(), 4);
    let mut is_checked = false;
    while at + HEADER <= file.len() {
        let len = u32_at(file, at + 9) as usize;
        let mut event = file[at..at + len].to_vec();
        at += len;
        if event[4] == kind::FORMAT_DESCRIPTION {
            let algorithm = event.len() - 5;
            is_checked = event[algorithm] == 1;
            event[algorithm] = 0;
        } else if is_checked {
            event.truncate(len - 4);
            let len = event.len() as u32;
            event[9..13].copy_from_slice(&len.to_le_bytes());
        }
        match event[4] {
            kind::GTID | kind::ANONYMOUS_GTID | kind::GTID_TAGGED | kind::MARIADB_GTID => {
                inputs.push(Input { head: head.clone(), events: vec![event] });
            }
            kind::ROTATE => {}
            _ => match inputs.last_mut() {
                Some(input) => input.events.push(event),
                None => head.push(event),
            },
        }
    }
    inputs.retain(|input| input.events.iter().map(Vec::len).sum::<usize>() <= TRANSACTION_BYTES_MAX);
    inputs
}

fn corpus() -> Vec<Input> {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = runtime.join("../tests/fixtures");
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in [
        fixtures.clone(),
        fixtures.join("decoder/mysql97"),
        fixtures.join("decoder/mariadb10"),
        runtime.join("src/source/fixtures"),
    ] {
        files.extend(std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.sort();
    let files = files.iter().map(|path| if path.is_file() { std::fs::read(path).unwrap() } else { Vec::new() });
    files.filter(|file| file.starts_with(b"\xfebin")).flat_map(|file| inputs(&file)).collect()
}

const ODD: [u8; 9] = [0, 1, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xfe, 0xff];
const ODD_WORDS: [u32; 6] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0x00ff_ffff, 0xffff_ffff];

/// Changes bytes behind the header of an event; its length stays true, so that what is wrong is found where it is.
fn mutate(event: &mut Vec<u8>, random: &mut Random, other: &[u8]) {
    for _ in 0..=random.below(3) {
        let from = if random.below(8) == 0 { 0 } else { HEADER.min(event.len() - 1) };
        let at = from + random.below(event.len() - from);
        match random.below(9) {
            0 | 1 => event[at] ^= 1 << random.below(8),
            2 => event[at] = ODD[random.below(ODD.len())],
            3 => event[at] = random.below(256) as u8,
            4 => {
                let word = ODD_WORDS[random.below(ODD_WORDS.len())].to_le_bytes();
                let end = (at + 4).min(event.len());
                event[at..end].copy_from_slice(&word[..end - at]);
            }
            5 => event.truncate(at.max(HEADER)),
            6 => {
                let end = (at + 1 + random.below(8)).min(event.len());
                event.drain(at..end);
            }
            7 => {
                let copy = event[at..(at + 1 + random.below(16)).min(event.len())].to_vec();
                event.splice(at..at, copy);
            }
            _ => {
                let begin = random.below(other.len());
                let end = (begin + 1 + random.below(32)).min(other.len());
                event.splice(at..at, other[begin..end].iter().copied());
            }
        }
        if event.len() < HEADER {
            event.resize(HEADER, 0);
        }
    }
    if random.below(16) > 0 {
        set_len(event);
    }
}

fn set_len(event: &mut [u8]) {
    let len = event.len() as u32;
    event[9..13].copy_from_slice(&len.to_le_bytes());
}

/// The events of a compressed transaction.
fn opened(event: &[u8]) -> Vec<Vec<u8>> {
    let resume = Resume::at(Position { file: "f.000001".into(), offset: 4, gtids: None, home: None });
    let mut framer = Framer::new(resume, Offsets::Counted, false);
    framer.payload(Bytes::copy_from_slice(event)).unwrap();
    while framer.inflate().unwrap() {}
    let mut entries = Vec::new();
    framer.take(&Bytes::new(), &mut entries);
    let cut = |segment: &Segment| -> Vec<Vec<u8>> {
        segment.events.iter().map(|e| segment.data[e.start..e.start + e.len].to_vec()).collect()
    };
    entries.iter().flat_map(|entry| cut(&entry.segment)).collect()
}

/// A TRANSACTION_PAYLOAD event of these events.
fn packed(header: &[u8], events: &[Vec<u8>]) -> Vec<u8> {
    let payload = zstd::bulk::compress(&events.concat(), 1).unwrap();
    let mut event = header[..HEADER].to_vec();
    // Size of the payload (8 bytes), no algorithm but zstd, end of the fields.
    event.extend([1, 9, 0xfe]);
    event.extend((payload.len() as u64).to_le_bytes());
    event.extend([2, 1, 0, 0]);
    event.extend(payload);
    set_len(&mut event);
    event
}

fn mutated(corpus: &[Input], random: &mut Random) -> Vec<u8> {
    let input = &corpus[random.below(corpus.len())];
    let other = &corpus[random.below(corpus.len())];
    let other = &other.events[random.below(other.events.len())];
    let mut events: Vec<Vec<u8>> = input.head.iter().chain(&input.events).cloned().collect();
    let at = random.below(events.len());
    match random.below(12) {
        0 => drop(events.remove(at)),
        1 => events.insert(at, other.clone()),
        2 => {
            let again = events[at].clone();
            events.push(again);
        }
        _ if events[at][4] == kind::TRANSACTION_PAYLOAD && random.below(4) > 0 => {
            let mut inner = opened(&events[at]);
            let inside = random.below(inner.len());
            mutate(&mut inner[inside], random, other);
            events[at] = packed(&events[at], &inner);
        }
        _ => mutate(&mut events[at], random, other),
    }
    events.concat()
}

/// Reads the bytes of a file after its magic to the end, or to the first error. Returns how many rows came out.
fn read(data: Vec<u8>) -> Result<u32, String> {
    let resume = Resume::at(Position { file: "f.000001".into(), offset: 4, gtids: None, home: None });
    let mut framer = Framer::new(resume, Offsets::Counted, false);
    framer.learn_gtids();
    let wants = |relation: &crate::change::Relation| {
        let all = vec![true; relation.columns.len()];
        Ok(Some(Wanted { after: all.clone(), before: all }))
    };
    let mut decoder = Decoder::new(Box::new(|_, _| true), Box::new(wants));
    let mut lanes = Lanes::new(Ordering::Key, 2, 1_000, 1 << 20);
    let data = Bytes::from(data);
    let (mut at, mut rows, mut entries) = (0, 0, Vec::new());
    let mut failed = None;
    while failed.is_none() && at + HEADER <= data.len() {
        let len = u32_at(&data, at + 9) as usize;
        let framed = if data[at + 4] == kind::TRANSACTION_PAYLOAD && at + len <= data.len() {
            framer.payload(data.slice(at..at + len)).and_then(|()| {
                while framer.inflate()? {
                    framer.take(&data, &mut entries);
                }
                Ok(())
            })
        } else {
            framer.event(&data, at, len).map(drop)
        };
        failed = framed.err().map(|e| e.to_string());
        at += len.max(HEADER);
        framer.take(&data, &mut entries);
        for entry in entries.drain(..) {
            rows += decode(&mut decoder, &mut lanes, &entry.segment)?;
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(rows),
    }
}

fn decode(decoder: &mut Decoder, lanes: &mut Lanes, segment: &Segment) -> Result<u32, String> {
    let resume = Arc::new(Position { file: Arc::clone(&segment.file), offset: 4, gtids: None, home: None });
    let mut rows = 0;
    for (index, event) in segment.events.iter().enumerate() {
        loop {
            let step = decoder.event(segment, index, lanes).map_err(|e| e.to_string())?;
            let ends = event.boundary == Boundary::End;
            for batcher in &mut lanes.batchers {
                if (ends || batcher.is_full())
                    && let Some(batch) = batcher.finish(Arc::clone(&resume), ends).map_err(|e| e.to_string())?
                {
                    rows += batch.rows as u32;
                }
            }
            match step {
                Step::NeedsTable(_) | Step::NeedsDefaults(_) => decoder.provide(None),
                Step::Ddl(_) => decoder.pass_ddl(&[]),
                Step::More => {}
                Step::Done | Step::Xa(_) => break,
            }
        }
    }
    Ok(rows)
}

/// No server writes such: none of them is passed over, whatever comes behind.
#[test]
fn compressed_transactions_that_are_none_stop() {
    let corpus = corpus();
    let payload = |input: &Input| input.events.iter().position(|event| event[4] == kind::TRANSACTION_PAYLOAD);
    let (input, at) = corpus.iter().find_map(|input| payload(input).map(|at| (input, at))).expect("a compressed transaction");
    let event = &input.events[at];
    let inner = opened(event);
    let body = |bytes: &[u8]| {
        let mut whole = packed(event, &[]);
        let size = zstd::bulk::compress(&[], 1).unwrap().len();
        whole.truncate(whole.len() - size);
        whole.extend_from_slice(bytes);
        let at = HEADER + 3;
        whole[at..at + 8].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        set_len(&mut whole);
        whole
    };
    let good = zstd::bulk::compress(&inner.concat(), 1).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0x55;
    let short = &inner[..inner.len() - 1];
    for (what, bad, reason) in [
        ("nested", packed(event, &[vec![event.clone()], inner.clone()].concat()), "inside of a compressed transaction"),
        ("without its end", packed(event, short), "has no end"),
        ("empty", packed(event, &[]), ""),
        ("no bytes", body(&[]), ""),
        ("garbage", body(&[0x5a; 300]), "cannot be opened"),
        ("cut off", body(&good[..good.len() - 9]), "cannot be opened"),
        ("damaged", body(&flipped), ""),
        ("an event cut off", packed(event, &[inner.concat()[..inner.concat().len() - 5].to_vec()]), "cut off"),
    ] {
        let mut events = input.events.clone();
        events[at] = bad;
        let error = read(input.head.iter().chain(&events).chain(&input.events).flatten().copied().collect()).expect_err(what);
        assert!(error.starts_with("f.000001:") && error.contains(reason), "{what}: {error}");
    }
    assert!(read(input.head.iter().chain(&input.events).flatten().copied().collect()).is_ok());
}

#[test]
fn no_file_panics_hangs_or_takes_memory_without_end() {
    let corpus = corpus();
    assert!(corpus.len() > 100, "{}", corpus.len());
    let whole: u32 =
        corpus.iter().map(|input| read(input.head.iter().chain(&input.events).flatten().copied().collect()).unwrap_or(0)).sum();
    assert!(whole > 500, "{whole} rows in the corpus");
    let (mut stopped, mut rows) = (0, 0);
    attack(
        |random| mutated(&corpus, random),
        |data| match read(data) {
            Ok(found) => rows += u64::from(found),
            Err(message) => {
                assert!(message.starts_with("f.000001:") || message.contains("f.000001"), "no place in: {message}");
                stopped += 1;
            }
        },
    );
    println!("{stopped} inputs stopped; {rows} rows");
}
