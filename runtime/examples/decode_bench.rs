//! Measures the decoder alone: binlog files, framed beforehand and held in memory, to Arrow batches, on one thread.
//!
//! usage: `cargo run --release --example decode_bench -- [--lanes N] [--rows N] FILE…`; prints rows/s, ns a row and allocations a row.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tidegate::batcher::Wanted;
use tidegate::lane::Lanes;
use tidegate::manifest::model::Ordering;
use tidegate::position::Position;
use tidegate::source::binlog::decode::{Decoder, Step};
use tidegate::source::{Event, Segment, Source, SourceConfig, SourceKind, Start};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut lanes, mut rows, mut paths) = (1, 1000, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--lanes" => lanes = args.next().ok_or("--lanes N")?.parse()?,
            "--rows" => rows = args.next().ok_or("--rows N")?.parse()?,
            _ => paths.push(arg),
        }
    }
    let segments = tokio::runtime::Runtime::new()?.block_on(framed(paths))?;
    for _ in 0..5 {
        run(&segments, lanes, rows)?;
    }
    Ok(())
}

async fn framed(paths: Vec<String>) -> Result<Vec<Arc<Segment>>, Box<dyn Error>> {
    let source = Source::open(SourceConfig { name: "bench".into(), kind: SourceKind::Files { paths } }).await?;
    let mut subscription = source.subscribe(source.resolve(&Start::Earliest).await?);
    let mut segments = Vec::new();
    loop {
        match subscription.next().await? {
            Event::Segment(segment) => segments.push(segment),
            Event::Idle | Event::Away(_) => {}
            Event::End => return Ok(segments),
        }
    }
}

fn run(segments: &[Arc<Segment>], lane_count: usize, rows_max: usize) -> Result<(), Box<dyn Error>> {
    let mut decoder = Decoder::new(
        Box::new(|schema, _| schema != "mysql"),
        Box::new(|relation| {
            let all = vec![true; relation.columns.len()];
            Ok(Some(Wanted { after: all.clone(), before: all }))
        }),
    );
    let mut lanes = Lanes::new(Ordering::Key, lane_count, rows_max, 4 << 20);
    let resume = Arc::new(Position { file: "bench".into(), offset: 4, gtids: None, home: None });
    let (mut rows, mut batches, mut bytes) = (0, 0, 0);
    let mut take = |lanes: &mut Lanes, is_full: bool| -> Result<(), Box<dyn Error>> {
        for batcher in lanes.batchers.iter_mut().filter(|b| !is_full || b.is_full()) {
            if let Some(batch) = batcher.finish(Arc::clone(&resume), true)? {
                rows += batch.rows;
                batches += 1;
            }
        }
        Ok(())
    };
    let (began, allocated) = (Instant::now(), ALLOCATIONS.load(Relaxed));
    for segment in segments {
        bytes += segment.data.len();
        for index in 0..segment.events.len() {
            loop {
                let step = decoder.event(segment, index, &mut lanes)?;
                if lanes.is_any_full() {
                    take(&mut lanes, true)?;
                }
                match step {
                    Step::NeedsTable(_) | Step::NeedsDefaults(_) => decoder.provide(None),
                    Step::Ddl(_) => decoder.pass_ddl(&[]),
                    Step::More => {}
                    Step::Done | Step::Xa(_) => break,
                }
            }
        }
    }
    take(&mut lanes, false)?;
    let (seconds, allocations) = (began.elapsed().as_secs_f64(), ALLOCATIONS.load(Relaxed) - allocated);
    println!(
        "{rows} rows in {batches} batches, {:.1} MB: {:.2}M rows/s, {:.1} ns a row, {:.4} allocations a row, {:.1} a batch",
        bytes as f64 / 1e6,
        rows as f64 / seconds / 1e6,
        seconds * 1e9 / rows as f64,
        allocations as f64 / rows as f64,
        allocations as f64 / f64::from(batches),
    );
    Ok(())
}
