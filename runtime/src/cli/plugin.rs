//! `tidegate plugin`: what people who write plugins need, without a database.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Format, PluginCommand, screen};
use crate::cases::CaseFile;
use crate::error::Error;
use crate::manifest::model;
use crate::plugin::{Engine, PluginConfig};

pub(super) fn run(command: &PluginCommand, format: Format) -> Result<(), Error> {
    match command {
        PluginCommand::Test { plugin, cases, accept } => test(plugin, cases, *accept, format),
    }
}

fn test(plugin: &Path, cases: &[PathBuf], accept: bool, format: Format) -> Result<(), Error> {
    let files = case_files(cases)?;
    let engine = Engine::new(cache().as_deref())?;
    let name = plugin.file_stem().unwrap_or_default().to_string_lossy();
    let mut results = Vec::new();
    for path in &files {
        let mut file = CaseFile::read(path)?;
        let tables = file.relations(path)?;
        let config = file.config.clone();
        for case in &mut file.cases {
            let config = PluginConfig {
                name: name.to_string(),
                path: plugin.to_owned(),
                config: case.config.clone().unwrap_or_else(|| config.clone()),
                memory_bytes_max: model::plugin_memory().0 as usize,
                call_time_max: model::plugin_time().0,
            };
            let made = case.run(&engine.load(&config)?, &tables, path)?;
            if accept {
                case.accept(made);
                results.push((path, case.name.clone(), Vec::new()));
            } else {
                results.push((path, case.name.clone(), case.differences(&made)));
            }
        }
        if accept {
            std::fs::write(path, file.text()).map_err(|source| Error::Write { path: path.clone(), source })?;
        }
    }
    let failed = results.iter().filter(|(_, _, differences)| !differences.is_empty()).count();
    screen::print_result(&match format {
        Format::Text => {
            let mut text = String::new();
            for (path, name, differences) in &results {
                let verdict = if differences.is_empty() { "ok    " } else { "FAILED" };
                let _ = writeln!(text, "{verdict}  {}: {name}", path.display());
                for line in differences {
                    let _ = writeln!(text, "        {line}");
                }
            }
            let verdict = if accept { "accepted" } else { "passed" };
            let _ = writeln!(text, "{} {verdict}, {failed} failed", results.len() - failed);
            text
        }
        Format::Json => {
            let one = |(path, name, differences): &(&PathBuf, String, Vec<String>)| json!({ "file": path, "case": name, "differences": differences });
            format!("{}\n", json!({ "cases": results.iter().map(one).collect::<Vec<_>>(), "failed": failed }))
        }
    })?;
    if failed > 0 { Err(Error::CasesFailed { failed, cases: results.len() }) } else { Ok(()) }
}

/// Where compiled plugins are kept that no pipeline runs. `None`: nowhere.
fn cache() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(caches.join("tidegate/plugins"))
}

/// The files, and those of the folders, by name.
fn case_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |source| Error::Read { path: path.clone(), source };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file.extension().is_some_and(|extension| extension == "json") {
                found.push(file);
            }
        }
        found.sort();
        if found.is_empty() {
            return Err(Error::Request {
                problem: format!("{}: no case file (*.json) is in it", path.display()),
                hint: "docs/plugins/cases.md shows one".to_owned(),
            });
        }
        files.append(&mut found);
    }
    Ok(files)
}
