//! Plugins that change while data flows: sees that a file or the manifest is another one, makes the new version ready beside the old one,
//! and hands it to every pipeline that runs it, which takes it between two transactions ([`super::seat`]).
//!
//! All pipelines that run a plugin take its new version, or none does: what can be found wrong is found before the first of them is
//! told. What fails keeps the old one, is told, and stands in the plugin's history.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::open::{self, Loaded, Shared};
use super::seat::{Answer, Prepared, Seat};
use crate::manifest::{self, model::Manifest};
use crate::plugin::versions::{self, Back, Cause, Entry, Outcome, Stamp, Version, short};
use crate::plugin::{Plugin, PluginConfig, PluginError};

pub mod asked;

use asked::{Asked, Told, What};

/// How often files are looked at. One that was changed is read when it has stood still for as long.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long rows are waited for to try new plugins with; where none come, they are not tried.
const SAMPLE_TIME_MAX: Duration = Duration::from_millis(200);
/// Times that new plugins are made ready for a pipeline that begins anew meanwhile.
const PREPARED_MAX: usize = 5;

pub struct Reloader {
    shared: Arc<Shared>,
    /// As it was read last.
    manifest: Manifest,
    manifest_file: Watch,
    /// By plugin.
    files: HashMap<String, Watch>,
}

/// A file that is looked at.
struct Watch {
    /// As it was when it was read.
    read: Option<Stamp>,
    /// As it was at the last look.
    seen: Option<Stamp>,
}

impl Watch {
    /// `None`: it could not be read.
    fn of(read: Option<Stamp>) -> Watch {
        Watch { seen: read.clone(), read }
    }

    /// True, once, if it is another file than the one that was read, and was so at the last look. One that is away is none.
    fn has_changed(&mut self, now: Option<Stamp>) -> bool {
        let stands_still = self.seen == now;
        self.seen = now;
        let is_new = self.seen.is_some() && self.seen != self.read;
        if stands_still && is_new {
            self.read.clone_from(&self.seen);
        }
        stands_still && is_new
    }
}

/// A version that is to run.
struct New {
    loaded: Loaded,
    cause: Cause,
}

/// What becomes of a reload: known at once, or when the pipelines have come to it.
#[derive(Default)]
struct Results {
    told: Vec<Told>,
    pending: Vec<(Pending, oneshot::Receiver<Answer>)>,
}

struct Pending {
    plugin: String,
    pipeline: String,
    cause: Cause,
    version: Version,
    before: String,
}

impl Results {
    fn is_refused(&self) -> bool {
        self.told.iter().any(|told| told.what == What::Refused)
    }
}

impl Reloader {
    /// Watches for as long as the process runs. `None`: there are no plugins.
    pub fn start(shared: Arc<Shared>, hangup: Arc<Notify>) -> Option<JoinHandle<()>> {
        if shared.manifest.plugins.is_empty() {
            return None;
        }
        let manifest = shared.manifest.clone();
        let manifest_file = Watch::of(Stamp::of(&manifest.file).ok());
        let reloader = Reloader { shared, manifest, manifest_file, files: HashMap::new() };
        Some(tokio::spawn(reloader.run(hangup)))
    }

    async fn run(mut self, hangup: Arc<Notify>) {
        // What was asked of an earlier process is done by the start.
        asked::take(&self.shared.manifest.data_dir);
        // Commands see by it that a process runs. One of them may hold it for a moment.
        let lock = loop {
            match self.shared.versions.lock() {
                Ok(Some(lock)) => break Some(lock),
                Ok(None) => tokio::time::sleep(LOOK_INTERVAL).await,
                Err(error) => {
                    tracing::warn!("{}: {error}: plugins have no history", self.shared.manifest.data_dir.display());
                    break None;
                }
            }
        };
        loop {
            let told = tokio::select! {
                () = hangup.notified() => true,
                () = tokio::time::sleep(LOOK_INTERVAL) => false,
            };
            self.look(told).await;
            // Held for as long as this runs.
            let _ = &lock;
        }
    }

    /// Sees what is new, and loads it. `told`: whatever can be seen.
    async fn look(&mut self, told: bool) {
        let requests = asked::take(&self.shared.manifest.data_dir);
        let is_new = self.manifest_file.has_changed(Stamp::of(&self.manifest.file).ok());
        let mut unread = None;
        if told || is_new || !requests.is_empty() {
            if let Ok(stamp) = Stamp::of(&self.manifest.file) {
                self.manifest_file = Watch::of(Some(stamp));
            }
            match manifest::load(&self.manifest.file) {
                Ok(manifest) => self.take_manifest(manifest),
                Err(error) => {
                    tracing::warn!("the manifest cannot be read, and what it said before stands: {error}");
                    unread = Some(error.to_string());
                }
            }
        }
        let mut causes = BTreeMap::new();
        let known: Vec<(String, PluginConfig, Option<Stamp>)> = {
            let loaded = self.shared.plugins.lock().await;
            loaded.iter().map(|(name, l)| (name.clone(), l.config.clone(), l.stamp.clone())).collect()
        };
        for (name, config, stamp) in known {
            let wanted = self.config(&name).unwrap_or_else(|| config.clone());
            let watch = self.files.entry(name.clone()).or_insert_with(|| Watch::of(stamp));
            let is_replaced = watch.has_changed(Stamp::of(&wanted.path).ok());
            let cause = match () {
                () if told => Cause::Signal,
                () if is_new && unread.is_none() && wanted != config => Cause::Manifest,
                () if is_replaced => Cause::File,
                () => continue,
            };
            causes.insert(name, cause);
        }
        if !causes.is_empty() {
            let results = self.reload(causes).await;
            tokio::spawn(finish(Arc::clone(&self.shared), results, None));
        }
        for request in requests {
            let results = match (&unread, &request.asked) {
                (Some(error), _) => Results { told: vec![refused("*", error)], pending: Vec::new() },
                (None, Asked::Reload { plugins }) => self.asked_to_reload(plugins).await,
                (None, Asked::Rollback { plugin, to }) => self.roll_back(plugin, to.as_deref()).await,
            };
            tokio::spawn(finish(Arc::clone(&self.shared), results, Some(request)));
        }
    }

    /// The manifest's section of a plugin.
    fn config(&self, plugin: &str) -> Option<PluginConfig> {
        self.manifest.plugins.get(plugin).map(|plugin| plugin.load_config())
    }

    /// Names what takes no effect before the next start.
    fn take_manifest(&mut self, new: Manifest) {
        let (before, after) = (&self.manifest.sections, &new.sections);
        let mut differing: Vec<&String> =
            after.iter().filter(|(name, hash)| before.get(*name) != Some(hash)).map(|(n, _)| n).collect();
        differing.extend(before.keys().filter(|name| !after.contains_key(*name)));
        let stays = |name: &&&String| match name.strip_prefix("plugin.") {
            // One that is new is named where a pipeline names it.
            Some(plugin) => before.contains_key(**name) && !new.plugins.contains_key(plugin),
            None => true,
        };
        for name in differing.iter().filter(stays) {
            tracing::warn!("the manifest's `{name}` has changed, which takes effect at the next start");
        }
        self.manifest = new;
    }

    async fn asked_to_reload(&mut self, plugins: &[String]) -> Results {
        let known: Vec<String> = self.shared.plugins.lock().await.keys().cloned().collect();
        let mut results = Results::default();
        for name in plugins.iter().filter(|name| !known.contains(name)) {
            results.told.push(refused(name, "no pipeline that runs has it; a new one comes with the next start"));
        }
        let names: Vec<String> = known.into_iter().filter(|name| plugins.is_empty() || plugins.contains(name)).collect();
        // A rollback ends here, unless what the file has now is refused.
        let versions = &self.shared.versions;
        let backs: Vec<(String, Back)> = names.iter().filter_map(|name| Some((name.clone(), versions.back(name)?))).collect();
        for (name, _) in &backs {
            versions.end_rollback(name);
        }
        let done = self.reload(names.iter().map(|name| (name.clone(), Cause::Reload)).collect()).await;
        for (name, back) in &backs {
            if done.told.iter().any(|told| told.plugin == *name && told.what == What::Refused) {
                self.set_back(name, Some(back));
            }
        }
        results.told.extend(done.told);
        results.pending = done.pending;
        results
    }

    async fn roll_back(&mut self, plugin: &str, to: Option<&str>) -> Results {
        match self.prepare_rollback(plugin, to).await {
            Ok(before) => {
                let results = self.reload(BTreeMap::from([(plugin.to_owned(), Cause::Rollback)])).await;
                if results.is_refused() {
                    self.set_back(plugin, before.as_ref());
                }
                results
            }
            Err(why) => Results { told: vec![refused(plugin, &why)], pending: Vec::new() },
        }
    }

    /// From now on the earlier component is what the plugin is made of. Returns what was so before.
    async fn prepare_rollback(&self, plugin: &str, to: Option<&str>) -> Result<Option<Back>, String> {
        let loaded = self.shared.plugins.lock().await.get(plugin).map(|loaded| loaded.config.clone());
        let config = loaded.ok_or("no pipeline that runs has it")?;
        let config = self.config(plugin).unwrap_or(config);
        let before = self.shared.versions.back(plugin);
        let (versions, to) = (self.shared.versions.clone(), to.map(str::to_owned));
        beside(move || versions.roll_back(&config, to.as_deref(), true)).await?;
        Ok(before)
    }

    fn set_back(&self, plugin: &str, back: Option<&Back>) {
        let versions = &self.shared.versions;
        match back {
            Some(back) => {
                if let Err(error) = versions.set_back(plugin, back) {
                    tracing::warn!(plugin, "that it was rolled back cannot be written: {error}");
                }
            }
            None => {
                versions.end_rollback(plugin);
            }
        }
    }

    /// Loads these plugins again; those that come out as they were are left alone.
    async fn reload(&mut self, causes: BTreeMap<String, Cause>) -> Results {
        let mut results = Results::default();
        let mut new: Vec<(String, New)> = Vec::new();
        for (name, cause) in causes {
            let before = self.shared.plugins.lock().await.get(&name).map(|l| (l.config.clone(), l.plugin.version().clone()));
            let Some((old_config, old)) = before else { continue };
            let config = self.config(&name).unwrap_or(old_config);
            let (engine, versions, wanted) = (self.shared.engine.clone(), self.shared.versions.clone(), config.clone());
            // Also of one that is refused: it is not tried again by itself.
            if let Ok(stamp) = Stamp::of(&config.path) {
                self.files.insert(name.clone(), Watch::of(Some(stamp)));
            }
            let load = move || -> Result<Loaded, PluginError> {
                let loaded = open::load(&engine, &versions, wanted)?;
                // Whether it likes its configuration.
                loaded.plugin.instantiate()?;
                Ok(loaded)
            };
            match beside(load).await {
                Ok(loaded) => {
                    self.files.insert(name.clone(), Watch::of(loaded.stamp.clone()));
                    let version = loaded.plugin.version().clone();
                    let is_same = |plugin: &Plugin| **plugin.name() != *name || *plugin.version() == version;
                    let runs = self.shared.seats().iter().all(|seat| seat.intended().iter().all(is_same));
                    if runs && version == old {
                        results.told.push(Told {
                            what: What::Unchanged,
                            after: Some(version.sha256),
                            why: None,
                            ..refused(&name, "")
                        });
                        self.shared.plugins.lock().await.insert(name, loaded);
                    } else {
                        new.push((name, New { loaded, cause }));
                    }
                }
                Err(error) => results.told.push(self.refuse(&name, &config, cause, &error).await),
            }
        }
        // They may need each other; but one that cannot run does not keep others from it.
        let mut sets = VecDeque::from([new]);
        while let Some(set) = sets.pop_front() {
            let Err((set, error)) = self.take_up(set, &mut results).await else { continue };
            if set.len() > 1 {
                sets.extend(set.into_iter().map(|one| vec![one]));
                continue;
            }
            for (name, new) in set {
                results.told.push(self.refuse(&name, &new.loaded.config, new.cause, &error).await);
            }
        }
        results
    }

    /// Hands new plugins to all pipelines that run them, or, if one of these cannot take them, to none.
    async fn take_up(&self, new: Vec<(String, New)>, results: &mut Results) -> Result<(), (Vec<(String, New)>, String)> {
        let plugins: HashMap<String, Plugin> = new.iter().map(|(name, new)| (name.clone(), new.loaded.plugin.clone())).collect();
        let mut seats = self.shared.seats();
        seats.retain(|seat| seat.plugins().iter().any(|plugin| plugins.contains_key(&**plugin.name())));
        let mut ready = Vec::new();
        for seat in &seats {
            match prepare(seat, &plugins).await {
                Ok(prepared) => ready.push((seat, prepared)),
                Err(error) => return Err((new, error)),
            }
        }
        for (seat, prepared) in ready {
            self.propose(seat, prepared, &plugins, &new, results).await;
        }
        let mut loaded = self.shared.plugins.lock().await;
        for (name, new) in new {
            if !results.pending.iter().any(|(pending, _)| pending.plugin == name) {
                let after = Some(new.loaded.plugin.version().sha256.clone());
                results.told.push(Told { what: What::Loaded, after, why: None, ..refused(&name, "") });
            }
            loaded.insert(name, new.loaded);
        }
        Ok(())
    }

    /// Hands new plugins to a pipeline.
    async fn propose(
        &self,
        seat: &Arc<Seat>,
        mut prepared: Prepared,
        plugins: &HashMap<String, Plugin>,
        new: &[(String, New)],
        results: &mut Results,
    ) {
        let before = seat.intended();
        let mut answers = Vec::new();
        for (name, new) in new {
            let Some(before) = before.iter().find(|plugin| **plugin.name() == **name) else { continue };
            let pending = Pending {
                plugin: name.clone(),
                pipeline: seat.pipeline.name.clone(),
                cause: new.cause,
                version: new.loaded.plugin.version().clone(),
                before: before.version().sha256.clone(),
            };
            let (answer, answered) = oneshot::channel();
            answers.push(answer);
            results.pending.push((pending, answered));
        }
        for _ in 0..PREPARED_MAX {
            if prepared.swap.changes_columns {
                for (_, sink) in &seat.sinks {
                    sink.forget_tables().await;
                }
            }
            match seat.propose(prepared.swap, answers) {
                Ok(()) => return,
                Err(again) => answers = again,
            }
            match prepare(seat, plugins).await {
                Ok(again) => prepared = again,
                Err(error) => {
                    answers.into_iter().for_each(|answer| drop(answer.send(Answer::Refused(error.clone()))));
                    return;
                }
            }
        }
    }

    /// The old one goes on.
    async fn refuse(&self, name: &str, config: &PluginConfig, cause: Cause, error: &str) -> Told {
        let file = config.path.display().to_string();
        let error = error.replace('\n', "; ");
        let why = if error.contains(&file) { error } else { format!("{file}: {error}") };
        tracing::warn!(plugin = name, "not reloaded, the version that runs goes on: {why}");
        let (versions, path, told) = (self.shared.versions.clone(), config.path.clone(), refused(name, &why));
        let note = move || -> Result<(), String> {
            let sha256 = versions::read(&path).ok().map(|read| versions::digest(&read.bytes));
            versions.note(&told.plugin, &Entry { sha256, why: told.why, ..Entry::new(Outcome::Refused, cause, None) });
            Ok(())
        };
        let _ = beside(note).await;
        refused(name, &why)
    }
}

/// Makes plugins ready for a pipeline, and asks its sinks.
async fn prepare(seat: &Arc<Seat>, plugins: &HashMap<String, Plugin>) -> Result<Prepared, String> {
    let sample = seat.sample.next(SAMPLE_TIME_MAX).await;
    let (of_thread, plugins) = (Arc::clone(seat), plugins.clone());
    let prepared = beside(move || of_thread.prepare(&plugins, sample)).await?;
    prepared.outputs.check(seat).await?;
    Ok(prepared)
}

/// Does what takes long beside everything else; a process that ends does not wait for it.
async fn beside<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    let (done, end) = oneshot::channel();
    let run = move || drop(done.send(work()));
    std::thread::Builder::new().name("plugin-loader".into()).spawn(run).map_err(|error| error.to_string())?;
    match end.await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("it could not be loaded: a defect of Tidegate".to_owned()),
    }
}

fn refused(plugin: &str, why: &str) -> Told {
    Told {
        plugin: plugin.to_owned(),
        pipeline: None,
        what: What::Refused,
        before: None,
        after: None,
        position: None,
        pause_us: None,
        why: Some(why.to_owned()),
    }
}

/// Waits for one pipeline.
async fn take_down(shared: Arc<Shared>, pending: Pending, answer: oneshot::Receiver<Answer>) -> Told {
    let Pending { plugin, pipeline, cause, version, before } = pending;
    let mut one = Told {
        pipeline: Some(pipeline.clone()),
        before: Some(before.clone()),
        after: Some(version.sha256.clone()),
        why: None,
        ..refused(&plugin, "")
    };
    let entry =
        Entry { pipeline: Some(pipeline.clone()), before: Some(before), ..Entry::new(Outcome::Swapped, cause, Some(&version)) };
    let entry = match answer.await {
        Ok(Answer::Swapped { position, pause }) => {
            tracing::info!(
                plugin,
                pipeline,
                pause_us = pause.as_micros() as u64,
                "{} runs from {position} on",
                short(&version.sha256)
            );
            one.what = What::Swapped;
            (one.position, one.pause_us) = (Some(position.clone()), Some(pause.as_micros() as u64));
            Some(Entry { position: one.position.clone(), pause_us: one.pause_us, ..entry })
        }
        Ok(Answer::Refused(why)) => {
            let why = why.replace('\n', "; ");
            tracing::warn!(plugin, pipeline, "not reloaded, the version that runs goes on: {why}");
            one.why = Some(why.clone());
            Some(Entry { outcome: Outcome::Refused, why: Some(why), ..entry })
        }
        Ok(Answer::Superseded) => {
            one.what = What::Superseded;
            None
        }
        Err(_) => {
            one.what = What::Ended;
            None
        }
    };
    if let Some(entry) = entry {
        let (versions, plugin) = (shared.versions.clone(), plugin.clone());
        let _ = tokio::task::spawn_blocking(move || versions.note(&plugin, &entry)).await;
    }
    one
}

/// Waits for the pipelines, takes down what became of it, and tells who has asked.
async fn finish(shared: Arc<Shared>, results: Results, request: Option<asked::Request>) {
    let Results { mut told, pending } = results;
    // Each by itself: one whose sink is away comes to it late, or never.
    let ends: Vec<_> =
        pending.into_iter().map(|(pending, answer)| tokio::spawn(take_down(Arc::clone(&shared), pending, answer))).collect();
    for end in ends {
        told.extend(end.await);
    }
    for one in told.iter().filter(|one| one.what == What::Unchanged && request.is_none()) {
        tracing::info!(plugin = one.plugin, "runs as it is in the manifest and its file");
    }
    if let Some(request) = request {
        request.answer(&told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_it_stands_still() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.wasm");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let look = |watch: &mut Watch| watch.has_changed(Stamp::of(&path).ok());
        write("a");
        let mut watch = Watch::of(Stamp::of(&path).ok());
        assert!(!look(&mut watch) && !look(&mut watch));
        write("ab");
        assert!(!look(&mut watch));
        write("abc");
        assert!(!look(&mut watch) && look(&mut watch) && !look(&mut watch));
        // Away for a while, and there again as it was; replaced by another one of the same length.
        let other = dir.path().join("q.wasm");
        std::fs::rename(&path, &other).unwrap();
        assert!(!look(&mut watch) && !look(&mut watch));
        std::fs::rename(&other, &path).unwrap();
        assert!(!look(&mut watch) && !look(&mut watch));
        std::fs::write(&other, "xyz").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(!look(&mut watch) && look(&mut watch));
    }
}
