//! plugins/bench (filter, mask, add a column, route) without WebAssembly: what `make bench` compares plugins with. Plugin, SDK, batches
//! and what the host does with the answer are the same; only the component and its boundary are not there.
//!
//! `cargo run --release --example plugin_native` prints a line of JSON: by view, nanoseconds a row by the size of batches.

use std::time::{Duration, Instant};

use tidegate::cases::sample;
use tidegate::plugin::native::{Linked, Native, answer, wire};
use tidegate_plugin::Guest;
use tidegate_plugin::bindings::exports::tidegate::plugin::transform::{self as guest, Guest as _};
use tidegate_plugin::bindings::tidegate::plugin::types as guest_wire;

#[path = "../../plugins/bench/src/lib.rs"]
mod bench;

use bench::Bench;

/// How long batches of one size are passed, and how many of them at most.
const TIME: Duration = Duration::from_millis(300);
const BATCHES_MAX: usize = 20_000;

fn main() {
    let views = ["columns", "rows"].map(|view| format!("\"{view}\": {{{}}}", measure(view)));
    println!("{{{}}}", views.join(", "));
}

fn measure(view: &str) -> String {
    let config = format!(r#"{{"filter": "total", "mask": "email", "route": "id", "view": "{view}"}}"#);
    let mut results = Vec::new();
    for rows in [1usize, 8, 64, 256, 1024] {
        Guest::<Bench>::configure(config.clone()).expect("a configuration of this plugin");
        let mut native = Native::new(Plugin);
        let batch = sample::updates(rows);
        let mut pass = || native.pass(&mut batch.clone()).expect("rows of this plugin");
        pass();
        let started = Instant::now();
        let mut times = Vec::new();
        while started.elapsed() < TIME && times.len() < BATCHES_MAX {
            times.push(pass());
        }
        times.sort_unstable();
        results.push(format!("\"{rows}\": {:.1}", times[times.len() / 2].as_nanos() as f64 / rows as f64));
    }
    results.join(", ")
}

/// The plugin by way of its exports.
struct Plugin;

impl Linked for Plugin {
    fn bind(&mut self, relation: wire::Relation<'_>) -> Result<Option<answer::Plan>, String> {
        let column = |c: &wire::ColumnDef<'_>| guest_wire::ColumnDef {
            name: c.name.to_owned(),
            kind: c.kind,
            nullable: c.nullable,
            source_type: c.source_type.to_owned(),
            attributes: Vec::new(),
        };
        let relation = guest_wire::Relation {
            id: relation.id,
            schema: relation.schema.to_owned(),
            table: relation.table.to_owned(),
            columns: relation.columns.iter().map(column).collect(),
            key: relation.key.to_vec(),
            attributes: Vec::new(),
        };
        Ok(Guest::<Bench>::bind(relation)?.map(plan))
    }

    fn process(&mut self, relation: u32, rows: wire::Batch<'_>) -> Result<(answer::Outcome, Duration), String> {
        // The SDK's types own their bytes, where the host's borrow them.
        let column = |c: &wire::ColumnParam<'_>| guest_wire::Column { index: c.index, image: c.image, vector: owned(&c.vector) };
        let rows = guest_wire::Batch {
            rows: rows.rows,
            ops: rows.ops.to_vec(),
            columns: rows.columns.iter().map(column).collect(),
            metadata: rows.metadata.iter().map(owned).collect(),
        };
        let started = Instant::now();
        let outcome = Guest::<Bench>::process(relation, rows)?;
        let taken = started.elapsed();
        Ok((answered(outcome), taken))
    }
}

fn owned(vector: &wire::VectorParam<'_>) -> guest_wire::Vector {
    let data = match &vector.data {
        wire::BufferParam::Words(words) => guest_wire::Buffer::Words(words.to_vec()),
        wire::BufferParam::Bits(bits) => guest_wire::Buffer::Bits(bits.to_vec()),
        wire::BufferParam::Packed(packed) => {
            guest_wire::Buffer::Packed(guest_wire::Varlen { offsets: packed.offsets.to_vec(), data: packed.data.to_vec() })
        }
        wire::BufferParam::Strings(strings) => guest_wire::Buffer::Strings(strings.iter().map(|text| (*text).to_owned()).collect()),
    };
    guest_wire::Vector { kind: vector.kind, nulls: vector.nulls.to_vec(), present: vector.present.to_vec(), data }
}

fn plan(plan: guest::Plan) -> answer::Plan {
    let want = |want| match want {
        guest::Want::No => answer::Want::No,
        guest::Want::Yes => answer::Want::Yes,
        guest::Want::IfWanted => answer::Want::IfWanted,
    };
    let read = |read: guest::Read| answer::Read { index: read.index, after: want(read.after), before: want(read.before) };
    let add =
        |add: guest::Addition| answer::Addition { name: add.name, kind: add.kind, nullable: add.nullable, attributes: Vec::new() };
    answer::Plan {
        ops: plan.ops,
        reads: plan.reads.into_iter().map(read).collect(),
        metadata: plan.metadata,
        layout: answer::TextLayout::Packed,
        drops: plan.drops,
        renames: Vec::new(),
        adds: plan.adds.into_iter().map(add).collect(),
        derives: Vec::new(),
        attributes: Vec::new(),
    }
}

/// Moves the answer; this plugin neither fails rows nor derives any.
fn answered(outcome: guest::Outcome) -> answer::Outcome {
    let assign = |assign: guest::Assign| answer::Assign {
        index: assign.index,
        image: assign.image,
        rows: assign.rows,
        values: match assign.values {
            guest::Values::Each(values) => answer::Values::Each(vector(values)),
            guest::Values::Constant(value) => answer::Values::Constant(vector(value)),
        },
    };
    answer::Outcome {
        keep: outcome.keep,
        ops: outcome.ops,
        assigns: outcome.assigns.into_iter().map(assign).collect(),
        routing: match outcome.routing {
            guest::Routing::Unchanged => answer::Routing::Unchanged,
            guest::Routing::All(topics) => answer::Routing::All(topics),
            guest::Routing::ByRow(by_row) => answer::Routing::ByRow(answer::ByRow { lists: by_row.lists, rows: by_row.rows }),
        },
        errors: Vec::new(),
        derived: Vec::new(),
        attributes: Vec::new(),
    }
}

fn vector(vector: guest_wire::Vector) -> wire::VectorResult {
    let data = match vector.data {
        guest_wire::Buffer::Words(words) => wire::BufferResult::Words(words),
        guest_wire::Buffer::Bits(bits) => wire::BufferResult::Bits(bits),
        guest_wire::Buffer::Packed(guest_wire::Varlen { offsets, data }) => {
            wire::BufferResult::Packed(wire::VarlenResult { offsets, data })
        }
        guest_wire::Buffer::Strings(strings) => wire::BufferResult::Strings(strings),
    };
    wire::VectorResult { kind: vector.kind, nulls: vector.nulls, present: vector.present, data }
}
