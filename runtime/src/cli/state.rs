//! `tidegate plugin state`: what plugins remember.

use std::path::Path;

use serde_json::json;

use super::table::table;
use super::{Format, StateCommand, screen};
use crate::cursor::Store;
use crate::error::Error;
use crate::manifest;

pub(super) fn run(command: &StateCommand, format: Format) -> Result<(), Error> {
    match command {
        StateCommand::List { manifest } => list(&manifest.manifest, format),
        StateCommand::Clear { plugin, pipeline, manifest } => {
            clear(plugin.as_deref(), pipeline.as_deref(), &manifest.manifest, format)
        }
    }
}

fn list(file: &Path, format: Format) -> Result<(), Error> {
    let manifest = manifest::load(file)?;
    let store = Store::open(&manifest.data_dir)?;
    let mut rows = vec![["pipeline", "plugin", "lane", "entries", "bytes"].map(str::to_owned).to_vec()];
    let mut all = Vec::new();
    for pipeline in &manifest.pipelines {
        for ((plugin, lane), size) in store.state_sizes(&pipeline.name)? {
            rows.push(vec![
                pipeline.name.clone(),
                plugin.to_string(),
                lane.to_string(),
                size.entries.to_string(),
                size.bytes.to_string(),
            ]);
            all.push(json!({ "pipeline": pipeline.name, "plugin": &*plugin, "lane": lane, "entries": size.entries, "bytes": size.bytes }));
        }
    }
    screen::print_result(&match format {
        Format::Text => table(&rows, 2..5),
        Format::Json => format!("{}\n", json!({ "states": all })),
    })
}

/// Without names: all of them.
fn clear(plugin: Option<&str>, pipeline: Option<&str>, file: &Path, format: Format) -> Result<(), Error> {
    let manifest = manifest::load(file)?;
    let names: Vec<&str> = manifest.pipelines.iter().map(|p| p.name.as_str()).collect();
    if let Some(name) = pipeline.filter(|name| !names.contains(name)) {
        let hint = format!("it has {}", names.join(", "));
        return Err(Error::NoPipeline { name: name.to_owned(), hint });
    }
    let store = Store::open(&manifest.data_dir)?;
    let mut entries = 0;
    for name in names.into_iter().filter(|name| pipeline.is_none_or(|chosen| chosen == *name)) {
        entries += store.clear_states(name, plugin)?;
    }
    screen::print_result(&match format {
        Format::Text => format!("forgotten: {entries} entries\n"),
        Format::Json => format!("{}\n", json!({ "entries": entries })),
    })
}
