//! `tidegate plugin reload|rollback|history`: plugins of pipelines that run.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::table::table;
use super::{Format, screen};
use crate::error::Error;
use crate::manifest;
use crate::manifest::model::Manifest;
use crate::manifest::nearest::nearest;
use crate::pipeline::reload::asked::{Asked, Asking, Told, What};
use crate::plugin::versions::{Cause, Entry, Outcome, Versions, short};

/// How often the answer is looked for,
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// and whether there is still a process that could give it.
const ALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// After this time it is said once that a pipeline has not come to it.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn reload(plugins: &[String], file: &Path, format: Format) -> Result<(), Error> {
    let manifest = manifest::load(file)?;
    plugins.iter().try_for_each(|plugin| find(&manifest, plugin))?;
    let versions = Versions::new(&manifest.data_dir);
    let asked = Asked::Reload { plugins: plugins.to_vec() };
    if let Some(told) = ask(&manifest, &versions, &asked)? {
        return tell(&told, format);
    }
    // The next run loads the files by itself; all there is to do is to end rollbacks.
    let all = || manifest.plugins.keys().filter(|name| plugins.is_empty() || plugins.contains(name));
    let ended: Vec<&String> = all().filter(|name| versions.end_rollback(name)).collect();
    screen::print_result(&match format {
        Format::Text => {
            let lines: String = ended.iter().map(|name| format!("{name}: its rollback has ended\n")).collect();
            format!("{lines}nothing runs with this data_dir: the next run loads the files as they are then\n")
        }
        Format::Json => format!("{}\n", json!({ "running": false, "rollbacks_ended": ended })),
    })
}

pub(super) fn rollback(plugin: &str, to: Option<&str>, file: &Path, format: Format) -> Result<(), Error> {
    let manifest = manifest::load(file)?;
    find(&manifest, plugin)?;
    let versions = Versions::new(&manifest.data_dir);
    let asked = Asked::Rollback { plugin: plugin.to_owned(), to: to.map(str::to_owned) };
    if let Some(told) = ask(&manifest, &versions, &asked)? {
        return tell(&told, format);
    }
    let Some(_lock) = lock(&manifest, &versions)? else { return rollback(plugin, to, file, format) };
    let config = manifest.plugins[plugin].load_config();
    let to = versions.roll_back(&config, to, false).map_err(|why| Error::NotReloaded { problem: format!("{plugin}: {why}") })?;
    screen::print_result(&match format {
        Format::Text => format!("{plugin}: the next run begins with {}\n", short(&to)),
        Format::Json => format!("{}\n", json!({ "running": false, "plugin": plugin, "to": to })),
    })
}

fn find(manifest: &Manifest, plugin: &str) -> Result<(), Error> {
    if manifest.plugins.contains_key(plugin) {
        return Ok(());
    }
    let hint = match nearest(plugin, manifest.plugins.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "the names stand in its sections [plugin.NAME]".to_owned(),
    };
    Err(Error::Request { problem: format!("the manifest has no plugin `{plugin}`"), hint })
}

/// `None`: a process runs.
fn lock(manifest: &Manifest, versions: &Versions) -> Result<Option<crate::plugin::versions::Lock>, Error> {
    versions.lock().map_err(|source| Error::Write { path: manifest.data_dir.join("plugins"), source })
}

/// Asks the process that runs, and waits for its answer. `None`: no process runs.
fn ask(manifest: &Manifest, versions: &Versions, asked: &Asked) -> Result<Option<Vec<Told>>, Error> {
    if lock(manifest, versions)?.is_some() {
        return Ok(None);
    }
    let write = |source| Error::Write { path: manifest.data_dir.join("plugins"), source };
    let left: Asking = asked.leave(&manifest.data_dir).map_err(write)?;
    let (began, mut looked, mut patient) = (Instant::now(), Instant::now(), true);
    loop {
        if let Some(told) = left.answer() {
            return Ok(Some(told));
        }
        if looked.elapsed() >= ALIVE_INTERVAL {
            looked = Instant::now();
            if lock(manifest, versions)?.is_some() {
                // It may have answered last of all.
                return match (left.answer(), left.is_taken()) {
                    (Some(told), _) => Ok(Some(told)),
                    (None, true) => Err(Error::NotReloaded { problem: "the process ended before it had answered".to_owned() }),
                    (None, false) => Ok(None),
                };
            }
        }
        if patient && began.elapsed() >= PATIENCE {
            patient = false;
            screen::print(
                "still waiting: a plugin is being compiled, or a pipeline is inside a long transaction, or its sink is away",
            );
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Prints what became of it. The error says that something was refused.
fn tell(told: &[Told], format: Format) -> Result<(), Error> {
    screen::print_result(&match format {
        Format::Text => told.iter().map(|told| line(told) + "\n").collect(),
        Format::Json => format!("{}\n", json!({ "running": true, "plugins": told })),
    })?;
    match told.iter().filter(|told| told.what == What::Refused).count() {
        0 => Ok(()),
        1 => Err(Error::NotReloaded { problem: "one plugin goes on as it was".to_owned() }),
        more => Err(Error::NotReloaded { problem: format!("{more} plugins go on as they were") }),
    }
}

fn line(told: &Told) -> String {
    let Told { plugin, pipeline, what, before, after, position, pause_us, why } = told;
    let of = |digest: &Option<String>| short(digest.as_deref().unwrap_or("?")).to_owned();
    let at = pipeline.as_ref().map_or(String::new(), |pipeline| format!(", pipeline {pipeline}"));
    let what = match what {
        What::Swapped => {
            let position = position.as_deref().unwrap_or_default();
            let versions = if before == after {
                format!("{} with other settings", of(after))
            } else {
                format!("{} -> {}", of(before), of(after))
            };
            format!("swapped, {versions}, at {position} (pause {})", pause(pause_us.unwrap_or_default()))
        }
        What::Unchanged => format!("runs {} already", of(after)),
        What::Loaded => format!("{} is loaded; no pipeline runs it yet", of(after)),
        What::Refused => format!("refused: {}", why.as_deref().unwrap_or_default()),
        What::Superseded => "another version came before this one was taken".to_owned(),
        What::Ended => "the pipeline ended before; it begins with this version at the next start".to_owned(),
    };
    format!("{plugin}{at}: {what}")
}

fn pause(pause_us: u64) -> String {
    format!("{}.{:03} ms", pause_us / 1000, pause_us % 1000)
}

pub(super) fn history(plugin: Option<&str>, file: &Path, format: Format) -> Result<(), Error> {
    let manifest = manifest::load(file)?;
    let versions = Versions::new(&manifest.data_dir);
    let names = match plugin {
        // One that was taken out of the manifest may still have a history.
        Some(name) if versions.plugins().iter().any(|known| known == name) => vec![name.to_owned()],
        Some(name) => {
            find(&manifest, name)?;
            vec![name.to_owned()]
        }
        None => versions.plugins(),
    };
    let mut all: Vec<(String, Entry)> = Vec::new();
    for name in &names {
        let path = || manifest.data_dir.join("plugins/history");
        let entries = versions.history(name).map_err(|source| Error::Read { path: path(), source })?;
        all.extend(entries.into_iter().map(|entry| (name.clone(), entry)));
    }
    let back: Vec<(&String, String)> = names.iter().filter_map(|name| Some((name, versions.back(name)?.to))).collect();
    screen::print_result(&match format {
        Format::Text => {
            let header = ["time", "plugin", "pipeline", "what", "by", "component", "KiB", "pause", "position, or why not"];
            let mut rows = vec![header.map(str::to_owned).to_vec()];
            rows.extend(all.iter().map(|(name, entry)| row(name, entry)));
            let mut text = table(&rows, 6..8);
            for (name, to) in back {
                text.push_str(&format!("{name} was rolled back to {}, until its file is another one\n", short(&to)));
            }
            text
        }
        Format::Json => {
            let one = |(plugin, entry): &(String, Entry)| json!({ "plugin": plugin, "entry": entry });
            let back: serde_json::Map<String, serde_json::Value> =
                back.into_iter().map(|(name, to)| (name.clone(), to.into())).collect();
            format!("{}\n", json!({ "history": all.iter().map(one).collect::<Vec<_>>(), "rolled_back": back }))
        }
    })
}

fn row(plugin: &str, entry: &Entry) -> Vec<String> {
    let what = match entry.outcome {
        Outcome::Started => "started",
        Outcome::Swapped => "swapped",
        Outcome::Refused => "refused",
    };
    let by = match entry.cause {
        Cause::Start => "start",
        Cause::File => "file",
        Cause::Manifest => "manifest",
        Cause::Signal => "signal",
        Cause::Reload => "reload",
        Cause::Rollback => "rollback",
    };
    let digest = entry.sha256.as_deref().map_or("-", short).to_owned();
    let component = match (&entry.before, &entry.sha256) {
        (Some(before), Some(after)) if before == after => format!("{digest}, other settings"),
        _ => digest,
    };
    vec![
        super::cursor::utc(entry.time_us / 1_000_000),
        plugin.to_owned(),
        entry.pipeline.clone().unwrap_or("-".to_owned()),
        what.to_owned(),
        by.to_owned(),
        component,
        entry.bytes.map_or("-".to_owned(), |bytes| bytes.div_ceil(1024).to_string()),
        entry.pause_us.map_or("-".to_owned(), pause),
        // The hint stands in the log, and in JSON.
        match &entry.why {
            Some(why) => why.split("; hint: ").next().unwrap_or_default().to_owned(),
            None => entry.position.clone().unwrap_or_default(),
        },
    ]
}
