//! Reads a source to where it stands now, and says what that cost: the reader alone, without decoding.
//!
//! `cargo run --release --example drain -- mysql://root@127.0.0.1:3306 [SUBSCRIPTIONS]`, or paths of binlog files.

use std::error::Error;
use std::time::Instant;

use tidegate::source::mysql::Address;
use tidegate::source::{Boundary, Event, Source, SourceConfig, SourceKind, Start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (kind, subscriptions) = match arguments.first() {
        Some(url) if url.contains("://") => {
            let subscriptions = arguments.get(1).map_or(Ok(1), |n| n.parse())?;
            (
                SourceKind::MySql {
                    addresses: vec![Address::parse(url, None)?],
                    server_id: 4_000_000_000,
                    reader: "drain".into(),
                    signal: None,
                },
                subscriptions,
            )
        }
        _ => (SourceKind::Files { paths: arguments }, 1),
    };
    let source = Source::open(SourceConfig { name: "drain".into(), kind }).await?;
    let (from, end) = (source.resolve(&Start::Earliest).await?, source.end().await?);
    let begun = Instant::now();
    let readings = (0..subscriptions).map(|_| {
        let (mut subscription, end) = (source.subscribe(from.clone()), end.clone());
        tokio::spawn(async move {
            let (mut bytes, mut events, mut transactions) = (0, 0u64, 0u64);
            loop {
                match subscription.next().await? {
                    Event::Segment(segment) => {
                        bytes += segment.data.len();
                        events += segment.events.len() as u64;
                        transactions += segment.events.iter().filter(|e| matches!(e.boundary, Boundary::Begin(_))).count() as u64;
                        if segment.file == end.file && segment.events.last().is_some_and(|e| e.next >= end.offset) {
                            break;
                        }
                    }
                    Event::Idle | Event::Away(_) => {}
                    Event::End => break,
                }
            }
            Ok::<_, tidegate::source::SourceError>((bytes, events, transactions))
        })
    });
    for reading in readings.collect::<Vec<_>>() {
        let (bytes, events, transactions) = reading.await??;
        let seconds = begun.elapsed().as_secs_f64();
        println!("{bytes} bytes, {events} events, {transactions} transactions in {seconds:.3} s");
    }
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let ticks: Vec<u64> = stat.split_whitespace().skip(13).take(2).filter_map(|t| t.parse().ok()).collect();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    println!("CPU ticks (10 ms): user and system {ticks:?}; {peak}");
    Ok(())
}
