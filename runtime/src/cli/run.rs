//! `tidegate run`: runs pipelines, shows how they do, and stops them when told to.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::live::{self, Meter};
use super::{Format, RunArgs, Until, block_on, cursor, screen};
use crate::error::Error;
use crate::manifest;
use crate::manifest::model::{Manifest, SinkConfig};
use crate::metrics::{PipelineStatus, StatusSnapshot};
use crate::pipeline::{Options, Run};

/// How often the live lines are drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(250);
/// How often a line is logged where nobody watches.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

pub(super) fn run(args: &RunArgs, format: Format) -> Result<(), Error> {
    let manifest = manifest::load(&args.manifest)?;
    for warning in &manifest.warnings {
        screen::print(warning);
    }
    for name in &args.pipeline {
        cursor::find(&manifest, name)?;
    }
    let options = Options { pipelines: args.pipeline.clone(), until_caught_up: args.until == Some(Until::CaughtUp), into: None };
    block_on(go(&manifest, &options, format))
}

async fn go(manifest: &Manifest, options: &Options, format: Format) -> Result<(), Error> {
    let (stop, stopped) = watch::channel(false);
    let hangup = Arc::new(Notify::new());
    listen(stop, Arc::clone(&hangup))?;
    let run = Run::open(manifest, options).map_err(|source| Error::Open { source: Box::new(source) })?;
    let statuses = run.statuses();
    let started = Instant::now();
    let rows_on_stdout = writes_to_stdout(manifest, options);
    let watched = screen::is_terminal() && !(rows_on_stdout && std::io::stdout().is_terminal());
    let display = tokio::spawn(show(statuses.clone(), started, watched));
    let failures = run.run(stopped, hangup).await;
    display.abort();
    screen::draw(Vec::new());

    let ended = snapshots(&statuses);
    let took = started.elapsed().as_secs_f64();
    let summary = match format {
        Format::Text => live::summary(&ended, took),
        Format::Json => format!("{}\n", live::summary_json(&ended, took)),
    };
    let printed = match rows_on_stdout {
        true => {
            screen::print(summary.trim_end());
            Ok(())
        }
        false => screen::print_result(&summary),
    };
    let errors = failures.into_iter().map(|(name, source)| Error::Pipeline { name, source: Box::new(source) });
    let mut errors = errors.chain(printed.err());
    let first = errors.next();
    for other in errors {
        screen::print_error(&other);
    }
    first.map_or(Ok(()), Err)
}

/// The first SIGINT or SIGTERM sets `stop`, the second ends the process; SIGHUP tells `hangup`.
fn listen(stop: watch::Sender<bool>, hangup: Arc<Notify>) -> Result<(), Error> {
    let mut hung_up = signal(SignalKind::hangup()).map_err(Error::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    tokio::spawn(async move {
        let mut told = false;
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
                _ = hung_up.recv() => {
                    hangup.notify_one();
                    continue;
                }
            };
            if told {
                screen::draw(Vec::new());
                std::process::exit(code);
            }
            told = true;
            tracing::info!("stopping: what is in flight is settled first; once more stops at once");
            stop.send_replace(true);
        }
    });
    Ok(())
}

/// Draws live lines, or logs a line a pipeline now and then.
async fn show(statuses: Vec<Arc<PipelineStatus>>, started: Instant, watched: bool) {
    let mut meters: Vec<Meter> = statuses.iter().map(|_| Meter::default()).collect();
    let interval = if watched { DRAW_INTERVAL } else { LOG_INTERVAL };
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    loop {
        ticks.tick().await;
        let seconds = started.elapsed().as_secs_f64();
        let rated: Vec<(StatusSnapshot, f64)> = snapshots(&statuses)
            .into_iter()
            .zip(&mut meters)
            .map(|(status, meter)| {
                let rate = meter.rate(seconds, status.rows_settled);
                (status, rate)
            })
            .collect();
        if watched {
            screen::draw(live::lines(&rated, screen::width().saturating_sub(1)));
        } else {
            for (status, rate) in &rated {
                tracing::info!("{}", live::log_line(status, *rate));
            }
        }
    }
}

fn snapshots(statuses: &[Arc<PipelineStatus>]) -> Vec<StatusSnapshot> {
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
    statuses.iter().map(|s| s.snapshot(now_us)).collect()
}

/// True if rows go to standard output, where then nothing else may go.
fn writes_to_stdout(manifest: &Manifest, options: &Options) -> bool {
    let chosen = manifest.pipelines.iter().filter(|p| options.pipelines.is_empty() || options.pipelines.contains(&p.name));
    let mut sinks = chosen.flat_map(|p| &p.routes).map(|r| &r.sink.config);
    sinks.any(|sink| matches!(sink, SinkConfig::Jsonl(c) if c.path == Path::new("-")))
}
