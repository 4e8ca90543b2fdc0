//! `tidegate plugin`: what people who write plugins need, without a database.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::inspect::{described, section, tables, uses};
use super::watch::{self, Watched};
use super::{Format, MANIFEST, PluginCommand, bench, record, screen, state, versions};
use crate::cases::CaseFile;
use crate::error::Error;
use crate::kit::{self, Language};
use crate::manifest;
use crate::plugin::{Access, Chain, Engine, Inspected, Limits, PluginConfig};

pub(super) fn run(command: &PluginCommand, format: Format) -> Result<(), Error> {
    match command {
        PluginCommand::New { name, language } => new(name, *language, format),
        PluginCommand::Build { folder } => build(folder, &built(folder)?, format),
        PluginCommand::Inspect { plugin, cases, manifest } => inspect(&component(plugin)?, cases, manifest.as_deref(), format),
        PluginCommand::Bench { plugin, cases, config, manifest } => {
            let plugin = component(plugin)?;
            let cases = if config.is_some() { Vec::new() } else { or_beside(&plugin, cases) };
            let mut settings = settings(&plugin, manifest.as_deref())?;
            settings.config = config.clone().unwrap_or(settings.config);
            bench::run(&settings, &cases, format)
        }
        PluginCommand::Test { plugin, cases, watch: true, manifest, .. } => watched(plugin, cases, manifest.as_deref(), format),
        PluginCommand::Test { plugin, cases, record: Some(count), mask, manifest, .. } => {
            let plugin = component(plugin)?;
            let manifest = manifest.clone().unwrap_or_else(|| here_or_beside(&plugin));
            record(&plugin, cases, *count as usize, *mask, &manifest, format)
        }
        PluginCommand::Test { plugin, cases, accept, unit, manifest, .. } => {
            if *unit {
                unit_test(plugin)?;
            }
            test(&settings(&component(plugin)?, manifest.as_deref())?, cases, *accept, format)
        }
        PluginCommand::Reload { plugins, manifest } => versions::reload(plugins, &manifest.manifest, format),
        PluginCommand::Rollback { plugin, to, manifest } => versions::rollback(plugin, to.as_deref(), &manifest.manifest, format),
        PluginCommand::State(command) => state::run(command, format),
        PluginCommand::History { plugin, manifest } => versions::history(plugin.as_deref(), &manifest.manifest, format),
    }
}

/// Letters, digits, `-` and `_`, a letter first: what every language's tools take for a name.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    is_name.then(|| text.to_owned()).ok_or_else(|| "expected letters, digits, `-` and `_`, a letter first".to_owned())
}

pub(super) fn parse_config(text: &str) -> Result<Json, serde_json::Error> {
    serde_json::from_str(text)
}

fn new(name: &str, language: Language, format: Format) -> Result<(), Error> {
    let folder = PathBuf::from(name);
    if folder.exists() {
        return Err(Error::Exists(folder));
    }
    kit::start(language, name, &folder).map_err(|source| Error::Write { path: folder, source })?;
    screen::print_result(&match format {
        Format::Text => format!(
            "{name}/ has a plugin that masks columns, a case that it passes, and a manifest that runs it. Next:\n  tidegate plugin build {name}\n  \
             tidegate plugin test {name}\n  tidegate run {name}/tidegate.toml --until caught-up\n"
        ),
        Format::Json => format!("{}\n", json!({ "folder": name })),
    })
}

/// Where a folder's component is built.
fn built(folder: &Path) -> Result<PathBuf, Error> {
    let whole = folder.canonicalize().map_err(|source| Error::Read { path: folder.to_owned(), source })?;
    let name = whole.file_name().ok_or_else(|| Error::Request {
        problem: format!("{} has no name", folder.display()),
        hint: "name the plugin's folder".to_owned(),
    })?;
    Ok(folder.join(name).with_extension("wasm"))
}

fn component(plugin: &Path) -> Result<PathBuf, Error> {
    let file = if plugin.is_dir() { built(plugin)? } else { plugin.to_owned() };
    if file.is_file() {
        return Ok(file);
    }
    Err(Error::Request {
        problem: format!("{}: there is no such file", file.display()),
        hint: "`tidegate plugin build FOLDER` makes it".to_owned(),
    })
}

fn language(folder: &Path) -> Result<Language, Error> {
    Language::of(folder).ok_or_else(|| Error::Request {
        problem: format!("{}: no plugin that could be built is in it", folder.display()),
        hint: "`tidegate plugin new NAME` makes a folder with one".to_owned(),
    })
}

fn unit_test(folder: &Path) -> Result<(), Error> {
    if !kit::test(language(folder)?, &toolchains()?, folder)? {
        return Err(Error::UnitTests { folder: folder.to_owned() });
    }
    Ok(())
}

fn build(folder: &Path, out: &Path, format: Format) -> Result<(), Error> {
    let language = language(folder)?;
    let cache = toolchains()?;
    let started = Instant::now();
    if !kit::build(language, &cache, folder, out)? {
        return Err(Error::Build { folder: folder.to_owned() });
    }
    let inspected = engine()?.inspect(out)?;
    let seconds = started.elapsed().as_secs_f64();
    screen::print_result(&match format {
        Format::Text => format!("{} ({} KiB, {seconds:.1} s)\n", built(folder)?.display(), inspected.bytes.div_ceil(1024)),
        Format::Json => {
            format!("{}\n", json!({ "file": out, "bytes": inspected.bytes, "sha256": inspected.sha256, "seconds": seconds }))
        }
    })
}

/// As its section of the manifest says; without one it may have nothing but its rows, and has the limits that a manifest gives by default.
fn settings(plugin: &Path, manifest: Option<&Path>) -> Result<PluginConfig, Error> {
    if let Some(manifest) = manifest {
        return Ok(PluginConfig { path: plugin.to_owned(), ..section(&manifest::load(manifest)?, plugin)?.load_config() });
    }
    Ok(PluginConfig {
        name: plugin.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        path: plugin.to_owned(),
        config: Json::Object(Default::default()),
        limits: Limits::default(),
        allow: Vec::new(),
        http: Vec::new(),
        sha256: None,
    })
}

/// A plugin's engine; what it compiles is kept.
pub(super) fn engine() -> Result<Engine, Error> {
    Ok(Engine::for_authors(cache().map(|cache| cache.join("plugins")).as_deref())?)
}

/// Tests, and builds where there are sources, whenever something has changed.
fn watched(plugin: &Path, cases: &[PathBuf], manifest: Option<&Path>, format: Format) -> Result<(), Error> {
    let folder = Some(plugin).filter(|plugin| plugin.is_dir() && Language::of(plugin).is_some());
    let component = if plugin.is_dir() { built(plugin)? } else { component(plugin)? };
    let cases = or_beside(&component, cases);
    let Some(folder) = folder else {
        let watched = Watched { folder, component: Some(component.clone()), cases: cases.clone() };
        let test = || test(&settings(&component, manifest)?, &cases, false, format);
        return watch::watch(&watched, |_| Ok(()), test, format);
    };
    // A pipeline that runs may have the component: it gets what has passed its cases.
    let cache = toolchains()?;
    let draft = kit::draft(&cache, &component).map_err(|source| Error::Write { path: cache, source })?;
    let watched = Watched { folder: Some(folder), component: None, cases: cases.clone() };
    let test = || {
        test(&PluginConfig { path: draft.clone(), ..settings(&component, manifest)? }, &cases, false, format)?;
        std::fs::read(&draft)
            .and_then(|tested| kit::put(&tested, &component))
            .map_err(|source| Error::Write { path: component.clone(), source })?;
        if format == Format::Text {
            screen::print_result(&format!("{} is the one that passed\n", component.display()))?;
        }
        Ok(())
    };
    watch::watch(&watched, |folder| build(folder, &draft, format), test, format)
}

/// Takes changes into a new case file, and what the plugin makes of them.
fn record(plugin: &Path, cases: &[PathBuf], count: usize, is_masked: bool, manifest: &Path, format: Format) -> Result<(), Error> {
    let path = match cases {
        [] => beside(plugin).join("recorded.json"),
        [path] => path.clone(),
        _ => {
            return Err(Error::Request {
                problem: "--record writes one file".to_owned(),
                hint: "name one case file that is not there yet".to_owned(),
            });
        }
    };
    if path.exists() {
        return Err(Error::Exists(path));
    }
    let file = record::record(&engine()?, &manifest::load(manifest)?, plugin, count, is_masked)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.to_owned(), source })?;
    }
    std::fs::write(&path, file.text()).map_err(|source| Error::Write { path: path.clone(), source })?;
    test(&settings(plugin, Some(manifest))?, &[path], true, format)
}

fn inspect(plugin: &Path, cases: &[PathBuf], manifest: Option<&Path>, format: Format) -> Result<(), Error> {
    let engine = engine()?;
    let Inspected { bytes, sha256, imports, exports, producers, build_id } = engine.inspect(plugin)?;
    let mut found: Vec<(String, String)> = Vec::new();
    let mut limits = format!("{}, unless the manifest says otherwise", Limits::default());
    if let Some(manifest) = manifest {
        let manifest = manifest::load(manifest)?;
        for (pipeline, plugin) in uses(&manifest, plugin)? {
            limits = plugin.load_config().limits.to_string();
            found.extend(tables(&engine, &manifest, pipeline, plugin)?);
        }
    }
    let cases = if manifest.is_some() { Vec::new() } else { or_beside(plugin, cases) };
    for path in case_files(&cases)? {
        let file = CaseFile::read(&path)?;
        // One that may not have what it imports is shown all the same.
        let mut chain =
            match engine.load(&settings(plugin, None)?).and_then(|loaded| Chain::new(&[loaded.with_config(&file.config)])) {
                Ok(chain) => chain,
                Err(error) => {
                    found.push((path.display().to_string(), error.fault.to_string()));
                    continue;
                }
            };
        let mut relations: Vec<_> = file.relations(&path)?.into_iter().collect();
        relations.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, relation) in relations {
            let line = (format!("{name}, {}", file.config), described(&mut chain, &relation));
            if !found.contains(&line) {
                found.push(line);
            }
        }
    }
    screen::print_result(&match format {
        Format::Text => {
            let mut text = format!("{}: {} KiB, sha256 {sha256}\n", plugin.display(), bytes.div_ceil(1024));
            for export in &exports {
                let _ = writeln!(text, "exports  {export}");
            }
            for (import, access) in &imports {
                let remark = match access {
                    Access::Granted => String::new(),
                    Access::ByGrant(giver) => format!(": only with allow = [\"{giver}\"]"),
                    Access::Never => ": the sandbox does not have it".to_owned(),
                };
                let _ = writeln!(text, "imports  {import}{remark}");
            }
            for (field, value) in &producers {
                let _ = writeln!(text, "{field:<8} {value}");
            }
            if let Some(id) = &build_id {
                let _ = writeln!(text, "build id {id}");
            }
            let _ = writeln!(text, "limits   {limits}");
            for (table, plan) in &found {
                let _ = writeln!(text, "{table}\n         {plan}");
            }
            text
        }
        Format::Json => {
            let imports: Vec<_> = imports
                .iter()
                .map(|(name, access)| match access {
                    Access::ByGrant(giver) => json!({ "name": name, "granted": false, "allow": giver }),
                    Access::Granted | Access::Never => json!({ "name": name, "granted": *access == Access::Granted }),
                })
                .collect();
            let producers: Vec<_> = producers.iter().map(|(field, value)| json!({ "field": field, "value": value })).collect();
            let tables: Vec<_> = found.iter().map(|(table, plan)| json!({ "table": table, "plan": plan })).collect();
            let all = json!({
                "file": plugin, "bytes": bytes, "sha256": sha256, "exports": exports, "imports": imports, "producers": producers, "build_id": build_id, "limits": limits, "tables": tables,
            });
            format!("{all}\n")
        }
    })
}

fn test(settings: &PluginConfig, cases: &[PathBuf], accept: bool, format: Format) -> Result<(), Error> {
    let files = case_files(&if cases.is_empty() { vec![beside(&settings.path)] } else { cases.to_vec() })?;
    let loaded = engine()?.load(settings)?;
    let mut results = Vec::new();
    for path in &files {
        let mut file = CaseFile::read(path)?;
        let tables = file.relations(path)?;
        let of_file = file.config.clone();
        for case in &mut file.cases {
            let plugin = loaded.with_config(case.config.as_ref().unwrap_or(&of_file));
            let made = case.run(&plugin, &tables, path)?;
            if accept {
                case.accept(made);
                // It passes from now on: whoever meant rows is told.
                results.push((
                    path,
                    case.name.clone(),
                    case.error.iter().map(|error| format!("an error is expected: {error}")).collect(),
                ));
            } else {
                results.push((path, case.name.clone(), case.differences(&made)));
            }
        }
        if accept {
            std::fs::write(path, file.text()).map_err(|source| Error::Write { path: path.clone(), source })?;
        }
    }
    let fails = |differences: &Vec<String>| !accept && !differences.is_empty();
    let failed = results.iter().filter(|(_, _, differences)| fails(differences)).count();
    screen::print_result(&match format {
        Format::Text => {
            let mut text = String::new();
            for (path, name, differences) in &results {
                let verdict = if fails(differences) { "FAILED" } else { "ok    " };
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

fn toolchains() -> Result<PathBuf, Error> {
    cache().ok_or_else(|| Error::Request {
        problem: "there is no folder to keep the toolchain in".to_owned(),
        hint: "set HOME or XDG_CACHE_HOME".to_owned(),
    })
}

/// Where toolchains, the kit and compiled plugins are kept that belong to no pipeline. `None`: nowhere.
fn cache() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(caches.join("tidegate"))
}

/// The manifest of this folder; where there is none, that of the plugin's.
fn here_or_beside(plugin: &Path) -> PathBuf {
    let (here, beside) = (PathBuf::from(MANIFEST), plugin.with_file_name(MANIFEST));
    if !here.exists() && beside.exists() { beside } else { here }
}

/// The folder of cases beside a component.
fn beside(plugin: &Path) -> PathBuf {
    plugin.with_file_name("cases")
}

/// The cases that were named, or else those beside the component, if there are any.
fn or_beside(plugin: &Path, cases: &[PathBuf]) -> Vec<PathBuf> {
    let beside = beside(plugin);
    if cases.is_empty() && beside.is_dir() { vec![beside] } else { cases.to_vec() }
}

/// The files, and those of the folders, by name.
pub(super) fn case_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
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
