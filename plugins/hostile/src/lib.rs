//! Misbehaves as its config says, `{ "do": "trap", "in": "process" }`: what the tests of the host and `bench/run` need.

use serde::Deserialize;
use std::cell::Cell;
use std::hint::black_box;
use tidegate_plugin::bindings::exports::tidegate::plugin::transform::{
    Addition, Assign, ByRow, Derivation, Derived, Guest, Outcome, Plan, Read, Routing, RowError, TextLayout, Values, Want,
};
use tidegate_plugin::bindings::tidegate::plugin::types::{Batch, Buffer, Column, Relation, Varlen, Vector};
use tidegate_plugin::{log, state};

#[derive(Deserialize)]
struct Config {
    r#do: Deed,
    #[serde(default = "process")]
    r#in: Call,
    /// Only if some row's text has `!` in it.
    #[serde(default)]
    marked: bool,
}

fn process() -> Call {
    Call::Process
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Call {
    Configure,
    Bind,
    Process,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    Nothing,
    Trap,
    /// In one call of eight, by what its rows are and how many calls there were.
    TrapAtRandom,
    Loop,
    Recurse,
    Allocate,
    Error,
    RowError,
    /// What the text of a row says: `trap!`, `loop!`, `allocate!`, `error!`, `large!`, `malformed!` for the call, `row-error!` for the row.
    Marked,
    /// Numbers all rows that are not deletes, from batch to batch, in a column that it adds; what the rows say is let be.
    Count,
    /// The same, and what they say is done.
    CountMarked,
    /// 100 000 entries.
    LogFlood,
    /// A million keys, as far as they are taken; then it goes on.
    StateFlood,
    /// Sets all keys that are taken and removes them, and those that never were, again and again with other names.
    StateChurn,
    /// Sets one key to 64 KiB, 2000 times.
    StateRewrite,
    /// The same 16 MiB in 64 assignments.
    Overlap,
    /// 20 MiB, the same for every row.
    LargeConstant,
    /// 3 MiB, the same for every row, in six columns.
    ManyConstants,
    /// Sets the first row's text, and again, and again.
    ManyAssigns,
    // Plans.
    ReadBeyond,
    ReadTwice,
    MetadataTwice,
    DropKey,
    AddTwice,
    UnknownKind,
    UnknownOp,
    /// A column whose name has 700 KiB.
    LongName,
    /// The same name twice, with what moves a cursor, and a line that looks like another's.
    ForgedName,
    // Outcomes.
    ShortKeep,
    ShortWords,
    WrongKind,
    WrongBuffer,
    OffsetsShort,
    OffsetsDown,
    OffsetsBeyond,
    NotUtf8,
    SplitUtf8,
    ColumnBeyond,
    ImageBeyond,
    ListBeyond,
    ShortRoutes,
    EmptyTopic,
    ManyTopics,
    ErrorBeyond,
    ShortOps,
    OpBeyond,
    ShortNulls,
    // Derived rows.
    DeriveTwice,
    DeriveKeyBeyond,
    DeriveWithoutName,
    DerivationBeyond,
    ShortOrigins,
    OriginBeyond,
    OriginsDown,
    DerivedWithoutKey,
    DerivedNullKey,
    DerivedDeleteWithoutKey,
    DerivedColumnBeyond,
    DerivedTwice,
    DerivedBomb,
    /// The same, in small parts.
    DerivedBombs,
    /// No rows of 4096 columns, 100 000 times.
    DerivedEmpties,
}

thread_local! {
    static CONFIG: Cell<(Deed, Call)> = const { Cell::new((Deed::Nothing, Call::Process)) };
    /// Of the relation that was bound last.
    static COLUMNS: Cell<u16> = const { Cell::new(0) };
    static MARKED: Cell<bool> = const { Cell::new(false) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// What can be done in every call.
fn misbehave(call: Call) -> Result<(), String> {
    let (deed, at) = CONFIG.get();
    if at != call {
        return Ok(());
    }
    match deed {
        Deed::Trap => panic!("trapped on purpose"),
        Deed::Loop => loop {
            black_box(());
        },
        Deed::Recurse => {
            recurse(1);
            Ok(())
        }
        Deed::Allocate => {
            let mut kept: Vec<Vec<u8>> = Vec::new();
            loop {
                kept.push(black_box(vec![1; 1 << 20]));
            }
        }
        Deed::Error => Err("refused on purpose".to_owned()),
        Deed::LogFlood => {
            (0..100_000).for_each(|i| log::info(&format!("entry {i}")));
            Ok(())
        }
        Deed::StateFlood => {
            let is_taken = |i: u32| state::set(i.to_le_bytes(), vec![7; 1024]).is_ok();
            if (0..1_000_000).all(is_taken) { Err("there was no limit".to_owned()) } else { Ok(()) }
        }
        Deed::StateChurn => {
            for time in 0..20_u32 {
                let key = |at: u32| [time.to_le_bytes(), at.to_le_bytes()].concat().repeat(128);
                let taken = (0..1_000_000).take_while(|at| state::set(key(*at), [7]).is_ok()).count() as u32;
                (0..taken * 2).for_each(|at| _ = state::remove(key(at)));
            }
            Ok(())
        }
        Deed::StateRewrite => {
            (0..2000).for_each(|_| _ = state::set([1], vec![7; 64 << 10]));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + frame[(depth % 64) as usize] }
}

struct Hostile;

impl Guest for Hostile {
    fn configure(config: String) -> Result<(), String> {
        let config: Config = serde_json::from_str(&config).map_err(|e| e.to_string())?;
        CONFIG.set((config.r#do, config.r#in));
        MARKED.set(config.marked);
        tidegate_plugin::log::install_panic_hook();
        misbehave(Call::Configure)
    }

    fn bind(relation: Relation) -> Result<Option<Plan>, String> {
        misbehave(Call::Bind)?;
        let deed = CONFIG.get().0;
        let add = |kind| addition("added", kind);
        let columns = relation.columns.len() as u16;
        COLUMNS.set(columns);
        Ok(Some(Plan {
            ops: match deed {
                Deed::UnknownOp => vec![9],
                Deed::Count | Deed::CountMarked => vec![0, 1, 3],
                _ => vec![0, 1, 2, 3],
            },
            reads: {
                let read = Read { index: if deed == Deed::ReadBeyond { columns } else { 1 }, after: Want::Yes, before: Want::No };
                vec![read; if deed == Deed::ReadTwice { 2 } else { 1 }]
            },
            metadata: if deed == Deed::MetadataTwice { vec![1, 0, 1] } else { Vec::new() },
            layout: TextLayout::Packed,
            adds: match deed {
                Deed::AddTwice => vec![add(1), add(1)],
                Deed::UnknownKind => vec![add(200)],
                Deed::LongName => vec![addition(&"x".repeat(700 << 10), 1)],
                Deed::ForgedName => vec![addition(&format!("\u{1b}[2J\r\n{}", "x".repeat(100_000)), 1); 2],
                Deed::Count | Deed::CountMarked => vec![add(1)],
                Deed::ManyConstants => (0..6).map(|at| addition(&format!("added{at}"), 4)).collect(),
                _ => Vec::new(),
            },
            drops: if deed == Deed::DropKey { vec![0] } else { Vec::new() },
            renames: Vec::new(),
            derives: derivations(deed),
            attributes: Vec::new(),
        }))
    }

    /// Column 0 is int64 and the key, column 1 text.
    fn process(_: u32, batch: Batch) -> Result<Outcome, String> {
        if MARKED.get() && !texts(&batch).contains(&b'!') {
            return Ok(outcome(Deed::Nothing, batch.rows as usize));
        }
        if CONFIG.get().0 == Deed::TrapAtRandom && is_unlucky(&batch) {
            panic!("trapped on purpose");
        }
        misbehave(Call::Process)?;
        let deed = CONFIG.get().0;
        let mut outcome = outcome(deed, batch.rows as usize);
        if matches!(deed, Deed::Count | Deed::CountMarked) {
            outcome.assigns = vec![count(batch.rows)?];
        }
        if matches!(deed, Deed::Marked | Deed::CountMarked) {
            outcome.errors = marked(&batch, &mut outcome.assigns)?;
        }
        Ok(outcome)
    }
}

/// The next numbers, in the column that is added.
fn count(rows: u32) -> Result<Assign, String> {
    let last = state::get("last").map_err(|e| e.to_string())?;
    let last = last.and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_le_bytes);
    let next = last + i64::from(rows);
    state::set("last", next.to_le_bytes()).map_err(|e| e.to_string())?;
    let words = Buffer::Words((last + 1..=next).flat_map(i64::to_le_bytes).collect());
    let numbers = Vector { kind: 1, nulls: Vec::new(), present: Vec::new(), data: words };
    Ok(Assign { index: COLUMNS.get(), image: 0, rows: Vec::new(), values: Values::Each(numbers) })
}

/// Of all rows of column 1, one after the other.
fn texts(batch: &Batch) -> &[u8] {
    let of = |column: &Column| matches!(&column.vector.data, Buffer::Packed(_));
    match batch.columns.iter().find(|column| of(column)).map(|column| &column.vector.data) {
        Some(Buffer::Packed(Varlen { data, .. })) => data,
        _ => &[],
    }
}

/// FNV-1a over the rows and the number of the call.
fn is_unlucky(batch: &Batch) -> bool {
    let calls = CALLS.get() + 1;
    CALLS.set(calls);
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hashed = texts(batch).iter().chain(&calls.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, hash);
    hashed >> 61 == 0
}

/// Does what the rows say.
fn marked(batch: &Batch, assigns: &mut Vec<Assign>) -> Result<Vec<RowError>, String> {
    let mut errors = Vec::new();
    for column in &batch.columns {
        let Buffer::Packed(Varlen { offsets, data }) = &column.vector.data else { continue };
        let offset = |at: usize| u32::from_le_bytes(offsets[at * 4..at * 4 + 4].try_into().expect("four bytes")) as usize;
        for row in 0..batch.rows {
            let text = &data[offset(row as usize)..offset(row as usize + 1)];
            let deed = match text.split(|byte| *byte == b'!').next().unwrap_or_default() {
                _ if !text.contains(&b'!') => continue,
                b"trap" => Deed::Trap,
                b"loop" => Deed::Loop,
                b"allocate" => Deed::Allocate,
                b"error" => Deed::Error,
                // 4 MiB for every row, and half a character.
                b"large" | b"malformed" => {
                    let text = if text.starts_with(b"large") { vec![b'x'; 4 << 20] } else { vec![b'a', 0xff] };
                    let offsets = [0, text.len() as u32].iter().flat_map(|o| o.to_le_bytes()).collect();
                    let one = Vector {
                        kind: 4,
                        nulls: Vec::new(),
                        present: Vec::new(),
                        data: Buffer::Packed(Varlen { offsets, data: text }),
                    };
                    assigns.push(Assign { index: 1, image: 0, rows: Vec::new(), values: Values::Constant(one) });
                    continue;
                }
                _ => {
                    errors.push(RowError { row, message: "bad on purpose".to_owned() });
                    continue;
                }
            };
            let before = CONFIG.replace((deed, Call::Process));
            let done = misbehave(Call::Process);
            CONFIG.set(before);
            done?;
        }
    }
    Ok(errors)
}

fn addition(name: &str, kind: u8) -> Addition {
    Addition { name: name.to_owned(), kind, nullable: true, attributes: Vec::new() }
}

/// made.rows (id int64, key; name text), unless the deed is about it.
fn derivations(deed: Deed) -> Vec<Derivation> {
    let columns = match deed {
        Deed::DerivedBomb | Deed::DerivedBombs | Deed::DerivedEmpties => (0..4096).map(|at| addition(&at.to_string(), 1)).collect(),
        _ => vec![addition("id", 1), addition("name", 4)],
    };
    let key = match deed {
        Deed::DeriveKeyBeyond => vec![2],
        Deed::DerivedDeleteWithoutKey | Deed::DerivedBomb | Deed::DerivedBombs | Deed::DerivedEmpties => Vec::new(),
        _ => vec![0],
    };
    let table = if deed == Deed::DeriveWithoutName { "" } else { "rows" }.to_owned();
    let made = Derivation { schema: "made".to_owned(), table, columns, key, attributes: Vec::new() };
    if deed == Deed::DeriveTwice { vec![made.clone(), made] } else { vec![made] }
}

fn derived(deed: Deed, rows: usize) -> Vec<Derived> {
    let id = |rows: usize, nulls: Vec<u8>| Column {
        index: 0,
        image: 0,
        vector: Vector { kind: 1, nulls, present: Vec::new(), data: Buffer::Words(vec![0; rows * 8]) },
    };
    let made = |origins: &[u32], columns| Derived {
        derivation: 0,
        origins: origins.iter().flat_map(|o| o.to_le_bytes()).collect(),
        ops: vec![0; origins.len()],
        columns,
    };
    let all = id(2, Vec::new());
    vec![match deed {
        Deed::DerivationBeyond => Derived { derivation: 1, ..made(&[0, 1], vec![all]) },
        Deed::ShortOrigins => Derived { ops: vec![0; 3], ..made(&[0, 1], vec![id(3, Vec::new())]) },
        Deed::OriginBeyond => made(&[0, rows as u32], vec![all]),
        Deed::OriginsDown => made(&[1, 0], vec![all]),
        Deed::DerivedWithoutKey => made(&[0, 1], Vec::new()),
        Deed::DerivedNullKey => made(&[0, 1], vec![id(2, vec![0b01])]),
        Deed::DerivedDeleteWithoutKey => Derived { ops: vec![0, 2], ..made(&[0, 1], vec![all]) },
        Deed::DerivedColumnBeyond => made(&[0, 1], vec![Column { index: 2, ..all }]),
        Deed::DerivedTwice => made(&[0, 1], vec![all.clone(), all]),
        Deed::DerivedBomb => made(&vec![0; 1 << 20], Vec::new()),
        Deed::DerivedBombs => return vec![made(&[0; 1000], Vec::new()); 3],
        Deed::DerivedEmpties => return vec![made(&[], Vec::new()); 100_000],
        _ => return Vec::new(),
    }]
}

fn outcome(deed: Deed, rows: usize) -> Outcome {
    let vector = |kind, data| Vector { kind, nulls: Vec::new(), present: Vec::new(), data };
    let words = |count: usize| Buffer::Words(vec![0; count * 8]);
    let packed = |offsets: &[i32], data: &[u8]| {
        Buffer::Packed(Varlen { offsets: offsets.iter().flat_map(|o| o.to_le_bytes()).collect(), data: data.to_vec() })
    };
    let assign = |index, image, vector| Assign { index, image, rows: Vec::new(), values: Values::Each(vector) };
    let text = |offsets: &[i32], data: &[u8]| vec![assign(1, 0, vector(4, packed(offsets, data)))];
    let ends = |end: i32| [0].into_iter().chain((0..rows).map(|_| end)).collect::<Vec<i32>>();
    let mut outcome = Outcome {
        keep: Vec::new(),
        ops: Vec::new(),
        assigns: Vec::new(),
        routing: Routing::Unchanged,
        errors: Vec::new(),
        derived: derived(deed, rows),
        attributes: Vec::new(),
    };
    let by_row = |lists: Vec<Vec<String>>, bytes: usize| Routing::ByRow(ByRow { lists, rows: vec![0; bytes] });
    match deed {
        Deed::RowError => outcome.errors = vec![RowError { row: 1, message: "bad on purpose".to_owned() }],
        Deed::Overlap => {
            let data = vec![b'x'; 16 << 20].leak();
            let same = || {
                // SAFETY: none: the copies are freed more than once. The host must refuse the answer before that.
                let data = unsafe { Vec::from_raw_parts(data.as_ptr().cast_mut(), data.len(), data.len()) };
                Buffer::Packed(Varlen { offsets: ends(0).iter().flat_map(|o| o.to_le_bytes()).collect(), data })
            };
            outcome.assigns = (0..64).map(|_| assign(1, 0, vector(4, same()))).collect();
        }
        Deed::LargeConstant => {
            let text = Buffer::Packed(Varlen {
                offsets: [0, 20 << 20].iter().flat_map(|o: &u32| o.to_le_bytes()).collect(),
                data: vec![b'x'; 20 << 20],
            });
            outcome.assigns = vec![Assign { index: 1, image: 0, rows: Vec::new(), values: Values::Constant(vector(4, text)) }];
        }
        Deed::ManyConstants => {
            let text = Buffer::Packed(Varlen {
                offsets: [0, 3 << 20].iter().flat_map(|o: &u32| o.to_le_bytes()).collect(),
                data: vec![b'x'; 3 << 20],
            });
            let one =
                |at: u16| Assign { index: 2 + at, image: 0, rows: Vec::new(), values: Values::Constant(vector(4, text.clone())) };
            outcome.assigns = (0..6).map(one).collect();
        }
        Deed::ManyAssigns => {
            let mut first = vec![0; rows.div_ceil(8)];
            first[0] = 1;
            let one =
                || Assign { index: 1, image: 0, rows: first.clone(), values: Values::Constant(vector(4, packed(&[0, 1], b"x"))) };
            outcome.assigns = (0..100_000).map(|_| one()).collect();
        }
        Deed::ShortKeep => outcome.keep = vec![0xff; rows.div_ceil(8) + 1],
        Deed::ShortWords => outcome.assigns = vec![assign(0, 0, vector(1, words(rows - 1)))],
        Deed::WrongKind => outcome.assigns = vec![assign(0, 0, vector(2, words(rows)))],
        Deed::WrongBuffer => outcome.assigns = vec![assign(1, 0, vector(4, words(rows)))],
        Deed::OffsetsShort => outcome.assigns = text(&[0], b""),
        Deed::OffsetsDown => {
            let mut offsets = ends(2);
            offsets[rows] = 1;
            outcome.assigns = text(&offsets, b"ab");
        }
        Deed::OffsetsBeyond => outcome.assigns = text(&ends(3), b"ab"),
        Deed::NotUtf8 => outcome.assigns = text(&ends(2), &[b'a', 0xff]),
        Deed::SplitUtf8 => {
            let mut offsets = ends(2);
            offsets[1] = 1;
            outcome.assigns = text(&offsets, "é".as_bytes());
        }
        Deed::ColumnBeyond => outcome.assigns = vec![assign(99, 0, vector(1, words(rows)))],
        Deed::ImageBeyond => outcome.assigns = vec![assign(0, 7, vector(1, words(rows)))],
        Deed::ListBeyond => outcome.routing = by_row(Vec::new(), rows * 2),
        Deed::ShortRoutes => outcome.routing = by_row(vec![vec!["a".to_owned()]], rows),
        Deed::EmptyTopic => outcome.routing = Routing::All(vec![String::new()]),
        Deed::ManyTopics => outcome.routing = Routing::All(vec!["a".to_owned(); 101]),
        Deed::ErrorBeyond => outcome.errors = vec![RowError { row: rows as u32, message: String::new() }],
        Deed::ShortOps => outcome.ops = vec![0],
        Deed::OpBeyond => outcome.ops = vec![4; rows],
        Deed::ShortNulls => {
            let mut short = vector(1, words(rows));
            short.nulls = vec![0xff; rows.div_ceil(8) + 3];
            outcome.assigns = vec![assign(0, 0, short)];
        }
        _ => {}
    }
    outcome
}

tidegate_plugin::bindings::export!(Hostile with_types_in tidegate_plugin::bindings);
