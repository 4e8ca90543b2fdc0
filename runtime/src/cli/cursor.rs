//! `tidegate cursor`: where pipelines stand.

use std::path::Path;

use serde_json::json;

use super::table::table;
use super::{CursorCommand, Format, block_on, screen};
use crate::cursor::{Cursor, Store};
use crate::error::Error;
use crate::manifest::model::{Manifest, Pipeline};
use crate::manifest::nearest::nearest;
use crate::manifest::start::{Start, parse_time};
use crate::manifest::{self};
use crate::position::GtidSet;
use crate::source::Source;
use crate::source::snapshot::to_read::ToRead;

pub(super) fn run(command: &CursorCommand, format: Format) -> Result<(), Error> {
    match command {
        CursorCommand::List { manifest } => list(&open(&manifest.manifest)?, format),
        CursorCommand::Show { pipeline, manifest } => show(&open(&manifest.manifest)?, pipeline, format),
        CursorCommand::Set { pipeline, position, manifest } => set(&open(&manifest.manifest)?, pipeline, position, format),
        CursorCommand::Reset { pipeline, manifest } => reset(&open(&manifest.manifest)?, pipeline, format),
    }
}

fn open(file: &Path) -> Result<(Manifest, Store), Error> {
    let manifest = manifest::load(file)?;
    let store = Store::open(&manifest.data_dir)?;
    Ok((manifest, store))
}

/// Every pipeline of the manifest, and what else the store knows: a pipeline that was renamed or taken out.
fn list((manifest, store): &(Manifest, Store), format: Format) -> Result<(), Error> {
    let stored = store.list()?;
    let mut all: Vec<(String, Option<&Cursor>, bool)> = Vec::new();
    for pipeline in &manifest.pipelines {
        let cursor = stored.iter().find(|(name, _)| *name == pipeline.name).map(|(_, cursor)| cursor);
        all.push((pipeline.name.clone(), cursor, true));
    }
    for (name, cursor) in &stored {
        if !manifest.pipelines.iter().any(|p| p.name == *name) {
            all.push((name.clone(), Some(cursor), false));
        }
    }
    match format {
        Format::Text => {
            let mut rows = vec![["pipeline", "position", "written", ""].map(str::to_owned).to_vec()];
            for (name, cursor, in_manifest) in all {
                let left = left(&store.reads(&name)?);
                let note = [left.as_str(), if in_manifest { "" } else { "not in the manifest" }];
                let note = note.into_iter().filter(|n| !n.is_empty()).collect::<Vec<_>>().join(", ");
                let position = cursor.map_or("none yet".to_owned(), |c| c.position.to_string());
                rows.push(vec![name, position, cursor.map_or(String::new(), |c| utc(c.written)), note]);
            }
            screen::print_result(&table(&rows, 0..0))
        }
        Format::Json => {
            let json =
                |(name, cursor, known): &(String, Option<&Cursor>, bool)| Ok(as_json(name, *cursor, &store.reads(name)?, *known));
            let all = all.iter().map(json).collect::<Result<Vec<_>, Error>>()?;
            screen::print_result(&format!("{}\n", json!({ "cursors": all })))
        }
    }
}

fn show((manifest, store): &(Manifest, Store), name: &str, format: Format) -> Result<(), Error> {
    let cursor = store.get(name)?;
    if cursor.is_none() {
        find(manifest, name)?;
    }
    let reads = store.reads(name)?;
    screen::print_result(&match (format, &cursor) {
        (Format::Text, Some(c)) if !reads.is_empty() => {
            let table = |read: &ToRead| format!("  {read}: {} rows read of about {}\n", read.rows, read.estimate.max(read.rows));
            let tables: String = reads.iter().map(table).collect();
            format!("{}\nwritten {}\n{}:\n{tables}", c.position, utc(c.written), left(&reads))
        }
        (Format::Text, Some(c)) => format!("{}\nwritten {}\n", c.position, utc(c.written)),
        (Format::Text, None) => "none yet: the pipeline begins at the `start` of its source\n".to_owned(),
        (Format::Json, cursor) => {
            format!("{}\n", as_json(name, cursor.as_ref(), &reads, manifest.pipelines.iter().any(|p| p.name == name)))
        }
    })
}

/// Asks the source, so that a position that is not there is refused now and not by the next run.
fn set((manifest, store): &(Manifest, Store), name: &str, start: &Start, format: Format) -> Result<(), Error> {
    let pipeline = find(manifest, name)?;
    let config = pipeline.source.open_config(manifest)?;
    let start = crate::source::Start::from(start.clone());
    let position = block_on(async { Ok(Source::open(config).await?.resolve(&start).await?) })?;
    store.move_to(name, position)?;
    show(&(manifest.clone(), store.clone()), name, format)
}

fn reset((manifest, store): &(Manifest, Store), name: &str, format: Format) -> Result<(), Error> {
    let removed = store.remove(name)?;
    if !removed {
        find(manifest, name)?;
    }
    screen::print_result(&match format {
        Format::Text if removed => "forgotten: the pipeline begins again at the `start` of its source\n".to_owned(),
        Format::Text => "there was none\n".to_owned(),
        Format::Json => format!("{}\n", json!({ "pipeline": name, "removed": removed })),
    })
}

/// The pipeline of that name.
pub(super) fn find<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a Pipeline, Error> {
    let names = || manifest.pipelines.iter().map(|p| p.name.as_str());
    manifest.pipelines.iter().find(|p| p.name == name).map(|p| &**p).ok_or_else(|| Error::NoPipeline {
        name: name.escape_debug().to_string(),
        hint: match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}", names().collect::<Vec<_>>().join(", ")),
        },
    })
}

/// `3 tables are still to be read`; empty: none.
fn left(reads: &[ToRead]) -> String {
    match reads.len() {
        0 => String::new(),
        1 => "1 table is still to be read".to_owned(),
        n => format!("{n} tables are still to be read"),
    }
}

fn as_json(name: &str, cursor: Option<&Cursor>, reads: &[ToRead], in_manifest: bool) -> serde_json::Value {
    let table = |read: &ToRead| json!({ "schema": read.schema, "table": read.table, "where": read.filter, "rows_read": read.rows, "rows_estimated": read.estimate });
    json!({
        "pipeline": name,
        "in_manifest": in_manifest,
        "file": cursor.map(|c| c.position.file.to_string()),
        "offset": cursor.map(|c| c.position.offset),
        "gtids": cursor.and_then(|c| c.position.gtids.as_ref()).map(ToString::to_string),
        "written": cursor.map(|c| utc(c.written)),
        "tables_to_read": reads.iter().map(table).collect::<Vec<_>>(),
    })
}

/// RFC 3339: `2026-11-21T08:00:00Z`
pub(super) fn utc(seconds: u64) -> String {
    let mut text = String::new();
    let micros = i64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000);
    crate::temporal::write_datetime(&mut text, micros, 0);
    text.replace(' ', "T") + "Z"
}

/// What `tidegate cursor set` takes for a position.
pub(super) fn parse_start(text: &str) -> Result<Start, String> {
    let (file, offset) = text.rsplit_once(':').unwrap_or((text, ""));
    match text {
        "now" => Ok(Start::Now),
        "earliest" => Ok(Start::Earliest),
        "" => Err("it is empty".to_owned()),
        _ if parse_time(text).is_some() => Ok(Start::Time(parse_time(text).unwrap_or_default())),
        _ if crate::position::file_number(file).is_some() => {
            let offset = offset.parse().map_err(|_| "the offset after the file is not a number".to_owned())?;
            Ok(Start::File { file: file.to_owned(), offset })
        }
        _ => GtidSet::parse(text)
            .map(Start::Gtid)
            .map_err(|_| "expected now, earliest, FILE:OFFSET, a GTID set, or a time such as 2026-11-01T00:00:00Z".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read() {
        assert_eq!(parse_start("now"), Ok(Start::Now));
        assert_eq!(parse_start("1970-01-01T00:00:00Z"), Ok(Start::Time(0)));
        assert_eq!(parse_start("my.bin.000012:4711"), Ok(Start::File { file: "my.bin.000012".into(), offset: 4711 }));
        assert!(matches!(parse_start("0-1-100,1-2-7"), Ok(Start::Gtid(_))));
        assert!(matches!(parse_start("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"), Ok(Start::Gtid(_))));
        for text in ["", "snapshot", "binlog.000012:x", "binlog.000012"] {
            assert!(parse_start(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_shown() {
        assert_eq!(utc(1_793_491_200), "2026-11-01T00:00:00Z");
    }
}
