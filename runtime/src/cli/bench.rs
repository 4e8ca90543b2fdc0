//! `tidegate plugin bench`: what a plugin costs, by the size of batches.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::plugin::{case_files, engine};
use super::table::table;
use super::{Format, screen};
use crate::cases::{CaseFile, sample};
use crate::change::Batch;
use crate::error::Error;
use crate::plugin::{Bench, PluginConfig, Times};

/// Rows a batch.
const SIZES: [usize; 5] = [1, 8, 64, 256, 1024];
/// How long batches of one size are passed, and how many of them at least and at most.
const TIME: Duration = Duration::from_millis(300);
const BATCHES: std::ops::RangeInclusive<usize> = 10..=20_000;

/// One configuration, and batches that it gets, by [`SIZES`].
struct Input {
    name: String,
    config: Json,
    batches: Vec<Batch>,
}

/// Of one size of batches: nanoseconds a row, the median of the batches.
struct Measured {
    rows: usize,
    whole: f64,
    passing: f64,
    applying: f64,
}

impl Measured {
    fn boundary(&self) -> f64 {
        ((self.passing + self.applying) / self.whole).min(1.0)
    }

    /// What is left for the plugin, its SDK and its language.
    fn plugin(&self) -> f64 {
        (self.whole - self.passing - self.applying).max(0.0)
    }
}

/// The configuration of `settings` is for the updates of a table of ours; cases have their own.
pub(super) fn run(settings: &PluginConfig, cases: &[PathBuf], format: Format) -> Result<(), Error> {
    let inputs = if cases.is_empty() { vec![sample_input(&settings.config)] } else { case_inputs(cases)? };
    let engine = engine()?;
    // The first time it may be compiled.
    let started = Instant::now();
    engine.load(settings)?;
    let first_load = started.elapsed();
    let started = Instant::now();
    let loaded = engine.load(settings)?;
    let load = started.elapsed();
    let mut text = String::new();
    let mut all = Vec::new();
    for Input { name, config: of_input, batches } in inputs {
        let plugin_of_input = loaded.with_config(&of_input);
        let started = Instant::now();
        plugin_of_input.instantiate()?;
        let start = started.elapsed();
        let mut bench = Bench::new(&engine, &plugin_of_input, settings)?;
        let measured = batches.iter().map(|batch| measure(&mut bench, batch, &name)).collect::<Result<Vec<_>, _>>()?;
        let memory = bench.memory_bytes();
        let _ = writeln!(
            text,
            "{}, {name}: loads in {:.1} ms, starts in {:.1} ms, {:.1} MiB of memory",
            settings.path.display(),
            milliseconds(load),
            milliseconds(start),
            memory as f64 / f64::from(1 << 20)
        );
        text.push_str(&rows_of(&measured));
        let batches = measured.iter().map(|m| {
            let Measured { rows, whole, passing, applying } = m;
            let (plugin, boundary) = (m.plugin(), m.boundary());
            json!({ "rows": rows, "ns": whole, "passing_ns": passing, "plugin_ns": plugin, "applying_ns": applying, "boundary": boundary })
        });
        all.push(json!({
            "input": name, "config": of_input, "first_load_ms": milliseconds(first_load), "load_ms": milliseconds(load),
            "start_ms": milliseconds(start), "memory_bytes": memory, "batches": batches.collect::<Vec<_>>(),
        }));
    }
    text.push_str(LEGEND);
    screen::print_result(&match format {
        Format::Text => text,
        Format::Json => format!("{}\n", json!({ "file": settings.path, "inputs": all })),
    })
}

const LEGEND: &str = "\
passing: handing the columns over, to a plugin that does nothing; applying: checking and taking over the answer;
plugin: what the plugin, its SDK and its language do; boundary: the share of passing and applying
";

fn rows_of(measured: &[Measured]) -> String {
    let head = ["rows a batch", "ns a row", "passing", "plugin", "applying", "boundary"].map(str::to_owned).to_vec();
    let row = |m: &Measured| {
        let figures = [m.whole, m.passing, m.plugin(), m.applying].map(|ns| format!("{ns:.0}"));
        [&[m.rows.to_string()], &figures[..], &[format!("{:.0} %", m.boundary() * 100.0)]].concat()
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(measured.iter().map(row)).collect();
    table(&rows, 0..6)
}

fn measure(bench: &mut Bench, batch: &Batch, name: &str) -> Result<Measured, Error> {
    let started = Instant::now();
    let mut all: Vec<Times> = Vec::new();
    bench.pass(&mut batch.clone())?;
    while all.len() < *BATCHES.start() || (started.elapsed() < TIME && all.len() < *BATCHES.end()) {
        all.push(bench.pass(&mut batch.clone())?);
    }
    if all[0].rows == 0 {
        return Err(Error::Request {
            problem: format!("{name}: the plugin takes none of these rows"),
            hint: "give it case files of its tables, or another --config".to_owned(),
        });
    }
    let rows = batch.relations.iter().map(|rows| rows.len()).sum();
    let mut median = |part: fn(&Times) -> Duration| {
        let middle = all.len() / 2;
        let (_, times, _) = all.select_nth_unstable_by_key(middle, part);
        part(times).as_nanos() as f64 / rows as f64
    };
    Ok(Measured { rows, whole: median(|t| t.whole), passing: median(|t| t.passing), applying: median(|t| t.applying) })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn sample_input(config: &Json) -> Input {
    Input {
        name: "updates of a table of 6 columns".to_owned(),
        config: config.clone(),
        batches: SIZES.iter().map(|&rows| sample::updates(rows)).collect(),
    }
}

/// One for each configuration in a file, less the cases that the plugin is expected to fail.
fn case_inputs(cases: &[PathBuf]) -> Result<Vec<Input>, Error> {
    let mut inputs = Vec::new();
    for path in case_files(cases)? {
        let file = CaseFile::read(&path)?;
        let tables = file.relations(&path)?;
        let mut by_config: Vec<(&Json, Vec<Json>)> = Vec::new();
        for case in file.cases.iter().filter(|case| case.error.is_none()) {
            let config = case.config.as_ref().unwrap_or(&file.config);
            match by_config.iter_mut().find(|(other, _)| *other == config) {
                Some((_, changes)) => changes.extend(case.r#in.iter().cloned()),
                None => by_config.push((config, case.r#in.clone())),
            }
        }
        for (config, changes) in by_config {
            let batches = SIZES.iter().map(|&rows| sample::repeated(&changes, &tables, rows, &path)).collect::<Result<_, _>>()?;
            inputs.push(Input { name: format!("{}, {config}", path.display()), config: config.clone(), batches });
        }
    }
    if inputs.is_empty() {
        return Err(Error::Request {
            problem: "no case has changes that the plugin is expected to take".to_owned(),
            hint: "docs/plugins/cases.md shows a case file".to_owned(),
        });
    }
    Ok(inputs)
}
