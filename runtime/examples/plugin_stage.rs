//! Measures the plugin stage alone: updates of 6 columns through plugins/bench (filter, mask, add a column, route).
//!
//! `make plugins && cargo run --release --example plugin_stage target/plugins/bench.wasm`

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Array, Int64Array, StringArray};
use tidegate::change::{Batch, Column, ColumnDef, KeyOrigin, Op, Relation, RowId, Rows, SourceType, Transaction};
use tidegate::plugin::{Chain, Engine, PluginConfig};
use tidegate::position::Position;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: plugin_stage PLUGIN.wasm")?;
    let engine = Engine::new(None)?;
    for view in ["columns", "rows"] {
        let config = serde_json::json!({"filter": "total", "mask": "email", "route": "id", "view": view});
        let plugin = engine.load(&PluginConfig {
            name: "bench".to_owned(),
            path: path.clone().into(),
            config,
            memory_bytes_max: 64 << 20,
            call_time_max: Duration::from_secs(10),
            sha256: None,
        })?;
        let mut chain = Chain::new(&[plugin])?;
        for rows in [1usize, 8, 64, 256, 1000] {
            let batch = batch(rows);
            let rounds = 200_000 / rows;
            let mut best = Duration::MAX;
            for _ in 0..5 {
                let mut batches: Vec<Batch> = (0..rounds).map(|_| batch.clone()).collect();
                let started = Instant::now();
                for batch in &mut batches {
                    chain.process(batch)?;
                }
                best = best.min(started.elapsed());
            }
            println!("{view:8} {rows:5} rows a batch: {:7.1} ns/row", best.as_nanos() as f64 / (rounds * rows) as f64);
        }
    }
    Ok(())
}

fn batch(rows: usize) -> Batch {
    let text = |nullable| ColumnDef { nullable, name: "".into(), source_type: SourceType::VarChar { length: 55, collation: 255 } };
    let names = ["id", "email", "status", "country", "name", "total"];
    let column = |(i, name): (usize, &&str)| match i {
        0 | 5 => ColumnDef { name: (*name).into(), source_type: SourceType::Int { bits: 64, unsigned: false }, nullable: false },
        _ => ColumnDef { name: (*name).into(), ..text(false) },
    };
    let relation = Arc::new(Relation {
        id: Relation::next_id(),
        schema: "shop".into(),
        table: "customers".into(),
        columns: names.iter().enumerate().map(column).collect(),
        key: vec![0],
        key_origin: KeyOrigin::Primary,
    });
    fn some(values: impl Array + 'static) -> Option<Column> {
        Some(Column { values: Arc::new(values), present: None })
    }
    let numbers = || some(Int64Array::from_iter_values(0..rows as i64));
    let texts = |text: &dyn Fn(usize) -> String| some(StringArray::from_iter_values((0..rows).map(text)));
    let image = vec![
        numbers(),
        texts(&|i| format!("customer{i}@example.com")),
        texts(&|i| if i % 10 == 3 { "deleted".to_owned() } else { "active".to_owned() }),
        texts(&|i| ["de", "fr", "gb", "us", "jp"][i % 5].to_owned()),
        texts(&|i| format!("Customer Number {i}")),
        numbers(),
    ];
    let ids: Vec<RowId> = (0..rows as u64).map(|place| RowId { transaction: 1, place }).collect();
    let (first, last) = (ids[0], ids[rows - 1]);
    let rows_of = Rows { relation, ops: vec![Op::Update; rows], ids, after: image, before: vec![None; 6], topics: None };
    let transaction = Transaction { number: 1, gtid: None, file: "binlog.000001".into(), offset: 4, commit_time_us: 0 };
    Batch {
        relations: vec![rows_of],
        transactions: vec![transaction],
        rows,
        bytes: 0,
        first,
        last,
        resume: Arc::new(Position { file: "binlog.000001".into(), offset: 4, gtids: None, home: None }),
        is_read: false,
        ends: Vec::new(),
        ends_transaction: true,
    }
}
