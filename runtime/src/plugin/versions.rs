//! What is kept of plugins in `data_dir/plugins`: their components, what ran when, and which one a user went back to.
//!
//! `<sha256>.wasm` is a component. `history/<plugin>.jsonl` has an [`Entry`] a line, oldest first; a line that is cut or not
//! understood is passed over. `settings-key`: see [`key`]. `history/<plugin>.back` is the JSON of a [`Back`]. Whoever writes holds the lock of `history/lock`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::engine::sha256;
use super::{Fault, PluginConfig, PluginError};
use crate::data_dir::{made_once, write_whole};

/// Entries of a plugin that are kept; older ones go when there are twice as many.
const ENTRIES_MAX: usize = 500;
/// Components that are kept of a plugin: the one that runs, and those before it.
const COMPONENTS_MAX: usize = 5;
/// A younger one may be about to run.
const PRUNED_AFTER: Duration = Duration::from_secs(600);
/// Far above what toolchains make: one with an interpreter and its libraries has some tens of MiB.
const COMPONENT_BYTES_MAX: u64 = 512 << 20;
/// Times that a file is read that is replaced meanwhile.
const READS_MAX: usize = 20;

/// Which component a plugin is made of, and with which settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the component, in hexadecimal digits.
    pub sha256: String,
    /// What of the manifest's section is not the file: equal where that is equal.
    pub settings: String,
    /// Of the component.
    pub bytes: u64,
}

impl Version {
    /// `key`: see [`key`].
    pub(super) fn new(config: &PluginConfig, key: &str, sha256: String, bytes: u64) -> Version {
        Version { sha256, settings: settings(config, key), bytes }
    }
}

/// What digests of settings are made with: these may hold secrets, which could be guessed by a digest that anyone can make.
/// Made by chance, and kept for its owner alone; without a folder, or where it cannot be written, for this process.
pub(super) fn key(folder: Option<&Path>) -> String {
    let made = || (0..4).map(|word| format!("{:016x}", RandomState::new().hash_one(word))).collect::<String>();
    let kept = |folder: &Path| {
        // If that fails, it cannot be kept.
        let _ = fs::create_dir_all(folder);
        made_once(&folder.join("settings-key"), 0o600, made)
    };
    folder.map_or_else(made, kept)
}

/// The first digits of a digest of all settings.
fn settings(config: &PluginConfig, key: &str) -> String {
    let PluginConfig { name: _, path: _, sha256: _, config, limits, allow, http } = config;
    let headers: Vec<Vec<(&str, &str)>> =
        http.iter().map(|host| host.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()).collect();
    let mut digest = sha256(format!("{key} {config} {limits:?} {allow:?} {http:?} {headers:?}").as_bytes());
    digest.truncate(16);
    digest
}

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A pipeline began with it.
    Started,
    /// It took the place of another one in a pipeline that runs.
    Swapped,
    /// The one before it goes on.
    Refused,
}

/// Why it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    Start,
    File,
    Manifest,
    Signal,
    Reload,
    Rollback,
}

/// One line of a plugin's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Microseconds since the epoch.
    pub time_us: u64,
    pub outcome: Outcome,
    pub cause: Cause,
    /// `None`: it came to no pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Of the component; `None`: it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// Length of the component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The component before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// All rows before it were seen by the version before, all others by this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// How long the swap held up a lane, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_us: Option<u64>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Entry {
    pub fn new(outcome: Outcome, cause: Cause, version: Option<&Version>) -> Entry {
        Entry {
            time_us: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64),
            outcome,
            cause,
            pipeline: None,
            sha256: version.map(|v| v.sha256.clone()),
            settings: version.map(|v| v.settings.clone()),
            bytes: version.map(|v| v.bytes),
            before: None,
            position: None,
            pause_us: None,
            why: None,
        }
    }

    fn ran(&self) -> Option<&String> {
        self.sha256.as_ref().filter(|_| self.outcome != Outcome::Refused)
    }
}

/// A user has gone back to an earlier component. Stands until the plugin's file is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Back {
    /// The component that runs.
    pub to: String,
    /// The file's digest at that time; if it could not be read, that of what it was before.
    pub file: String,
}

/// By which it is seen that a file was replaced or written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    changed_ns: (i64, i64),
}

impl Stamp {
    pub fn of(path: &Path) -> io::Result<Stamp> {
        fs::metadata(path).map(|metadata| Stamp::from(&metadata))
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(m: &fs::Metadata) -> Stamp {
        use std::os::unix::fs::MetadataExt;
        Stamp { device: m.dev(), inode: m.ino(), length: m.len(), changed_ns: (m.mtime(), m.mtime_nsec()) }
    }
}

/// A plugin's file as it was read, whole.
pub struct Read {
    pub bytes: Vec<u8>,
    pub stamp: Stamp,
}

/// Reads a file that may be replaced meanwhile: what is returned is one file, and not parts of two.
pub fn read(path: &Path) -> io::Result<Read> {
    let mut tries = 0;
    loop {
        let metadata = fs::metadata(path)?;
        // A pipe or a device may have no end, or never begin.
        if !metadata.is_file() {
            return Err(io::Error::other("it is a folder, a pipe or a device, and not a file"));
        }
        if metadata.len() > COMPONENT_BYTES_MAX {
            let reason = format!("it has {} bytes, and a component at most {COMPONENT_BYTES_MAX}", metadata.len());
            return Err(io::Error::other(reason));
        }
        let stamp = Stamp::from(&metadata);
        let bytes = fs::read(path)?;
        if Stamp::of(path).is_ok_and(|now| now == stamp) && bytes.len() as u64 == stamp.length {
            return Ok(Read { bytes, stamp });
        }
        tries += 1;
        if tries == READS_MAX {
            return Err(io::Error::other("it is written to all the time"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The component that is to run.
pub struct Chosen {
    pub bytes: Vec<u8>,
    /// Of the plugin's file, though another one may run. `None`: it cannot be read.
    pub stamp: Option<Stamp>,
    /// Of another component than the file's, because a user went back.
    pub is_back: bool,
    /// A rollback does not stand any more, and why.
    pub ends_back: Option<&'static str>,
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Versions {
    folder: PathBuf,
}

/// Held by whoever changes what is kept: the process that runs, or a command where none runs.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Versions {
    pub fn new(data_dir: &Path) -> Versions {
        Versions { folder: data_dir.join("plugins") }
    }

    /// `None`: a process runs.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        fs::create_dir_all(self.folder.join("history"))?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.folder.join("history/lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Which component a plugin is to run: that of its file, unless a user went back from it.
    pub fn choose(&self, config: &PluginConfig) -> Result<Chosen, PluginError> {
        let failed = |fault| PluginError { plugin: config.name.as_str().into(), relation: None, fault };
        let read = read(&config.path).map_err(|source| failed(Fault::Read { path: config.path.clone(), source }));
        let is_pinned = |back: &Back| config.sha256.as_ref().is_some_and(|pin| *pin != back.to);
        let (back, ends_back) = match (self.back(&config.name), &read) {
            (None, _) => (None, None),
            (Some(back), _) if is_pinned(&back) => (None, Some("`sha256` in the manifest names another component")),
            (Some(back), Ok(read)) if back.file != sha256(&read.bytes) => (None, Some("its file is another one")),
            // What it went back from may be gone.
            (Some(back), _) => (Some(back), None),
        };
        let Some(back) = back else {
            return read.map(|Read { bytes, stamp }| Chosen { bytes, stamp: Some(stamp), is_back: false, ends_back });
        };
        let stamp = read.ok().map(|read| read.stamp);
        match self.component(&back.to) {
            Some(bytes) => Ok(Chosen { bytes, stamp, is_back: true, ends_back }),
            None => Err(failed(Fault::NotKept { sha256: back.to })),
        }
    }

    /// Keeps a component, so that it can be gone back to.
    pub fn keep(&self, bytes: &[u8]) -> io::Result<()> {
        let digest = sha256(bytes);
        if self.component(&digest).is_some() {
            return Ok(());
        }
        write_whole(&self.file_of(&digest), bytes)
    }

    /// A kept component. `None`: it is not there, or damaged.
    pub fn component(&self, digest: &str) -> Option<Vec<u8>> {
        fs::read(self.file_of(digest)).ok().filter(|bytes| sha256(bytes) == digest)
    }

    fn file_of(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }

    fn history_of(&self, plugin: &str) -> PathBuf {
        self.folder.join(format!("history/{plugin}.jsonl"))
    }

    /// Oldest first; empty where there is none.
    pub fn history(&self, plugin: &str) -> io::Result<Vec<Entry>> {
        match fs::read_to_string(self.history_of(plugin)) {
            Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The plugins that have a history.
    pub fn plugins(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("history")).into_iter().flatten().flatten();
        let name = |file: fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(".jsonl")?.to_owned());
        let mut names: Vec<String> = entries.filter_map(name).collect();
        names.sort();
        names
    }

    /// Adds to a plugin's history. That it cannot be written is told, and keeps nothing from running.
    pub fn note(&self, plugin: &str, entry: &Entry) {
        if let Err(error) = self.try_note(plugin, entry) {
            tracing::warn!(plugin, "its history cannot be written in {}: {error}", self.folder.display());
        }
    }

    fn try_note(&self, plugin: &str, entry: &Entry) -> io::Result<()> {
        fs::create_dir_all(self.folder.join("history"))?;
        let path = self.history_of(plugin);
        let mut line = serde_json::to_string(entry)?;
        line.push('\n');
        let is_cut = fs::read(&path).is_ok_and(|text| text.last().is_some_and(|byte| *byte != b'\n'));
        if is_cut {
            // A crash has cut the last one.
            line.insert(0, '\n');
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        let entries = self.history(plugin)?;
        if entries.len() >= ENTRIES_MAX * 2 {
            let newest = entries[entries.len() - ENTRIES_MAX..].iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
            write_whole(&path, (newest.join("\n") + "\n").as_bytes())?;
        }
        self.prune()
    }

    /// Removes components that no plugin has run for long.
    fn prune(&self) -> io::Result<()> {
        let mut wanted = Vec::new();
        for plugin in self.plugins() {
            wanted.extend(self.back(&plugin).map(|back| back.to));
            wanted.extend(self.ran(&plugin)?.into_iter().take(COMPONENTS_MAX));
        }
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let path = file.path();
            let digest = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let is_old =
                || file.metadata().and_then(|m| m.modified()).is_ok_and(|m| m.elapsed().is_ok_and(|age| age > PRUNED_AFTER));
            let is_component = path.extension().is_some_and(|extension| extension == "wasm");
            if is_component && !wanted.iter().any(|wanted| wanted == digest) && is_old() {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// The components that a plugin has run, the newest first, each once.
    pub fn ran(&self, plugin: &str) -> io::Result<Vec<String>> {
        let mut digests: Vec<String> = Vec::new();
        for digest in self.history(plugin)?.iter().rev().filter_map(Entry::ran) {
            if !digests.contains(digest) {
                digests.push(digest.clone());
            }
        }
        Ok(digests)
    }

    /// Where a rollback leads: to the component that ran before the one `from` which it goes back, or to the one whose digest begins with `to`.
    fn earlier(&self, plugin: &str, to: Option<&str>, from: Option<&String>) -> Result<String, String> {
        let ran = self.ran(plugin).map_err(|error| format!("its history cannot be read: {error}"))?;
        let found: Vec<&String> = match to {
            Some(to) => ran.iter().filter(|digest| digest.starts_with(to)).collect(),
            None => ran.iter().find(|digest| Some(*digest) != from).into_iter().collect(),
        };
        match (found.as_slice(), to) {
            ([digest], _) if self.component(digest).is_some() => Ok((*digest).clone()),
            ([digest], _) => Err(format!("the component {} is not kept any more", short(digest))),
            ([], None) => Err("no other component of it has run".to_owned()),
            ([], Some(to)) => Err(format!("no component of it has run whose digest begins with {to}")),
            (_, to) => Err(format!("several components begin with {}", to.unwrap_or_default())),
        }
    }

    /// Goes back: from the next time it is loaded, a plugin is made of an earlier component. `runs`: one of it runs now; else the next run would
    /// begin with another.
    pub fn roll_back(&self, config: &PluginConfig, to: Option<&str>, runs: bool) -> Result<String, String> {
        let now = read(&config.path).ok().map(|read| sha256(&read.bytes));
        let newest = || self.ran(&config.name).ok()?.into_iter().next();
        let back = self.back(&config.name);
        let stands = back.as_ref().filter(|back| now.as_ref().is_none_or(|now| *now == back.file));
        let from = if runs { newest() } else { stands.map(|back| back.to.clone()).or_else(|| now.clone()) };
        let to = self.earlier(&config.name, to, from.as_ref())?;
        if config.sha256.as_ref().is_some_and(|pin| *pin != to) {
            return Err(format!("`sha256` in the manifest names another component than {}: change it, or take it out", short(&to)));
        }
        if now.as_ref() == Some(&to) {
            self.end_rollback(&config.name);
        } else {
            // Of one that is gone or cannot be read: what it was when it was read last.
            let file = now.or_else(|| back.map(|back| back.file)).or_else(newest).unwrap_or_default();
            let back = Back { to: to.clone(), file };
            self.set_back(&config.name, &back).map_err(|error| format!("{}: {error}", self.folder.display()))?;
        }
        Ok(to)
    }

    pub fn back(&self, plugin: &str) -> Option<Back> {
        serde_json::from_slice(&fs::read(self.back_of(plugin)).ok()?).ok()
    }

    pub fn set_back(&self, plugin: &str, back: &Back) -> io::Result<()> {
        write_whole(&self.back_of(plugin), &serde_json::to_vec(back)?)
    }

    /// True if there was one.
    pub fn end_rollback(&self, plugin: &str) -> bool {
        fs::remove_file(self.back_of(plugin)).is_ok()
    }

    fn back_of(&self, plugin: &str) -> PathBuf {
        self.folder.join(format!("history/{plugin}.back"))
    }
}

/// A digest as people see it: enough to tell it from others.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Of a component, in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    sha256(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: PathBuf, sha256: Option<String>) -> PluginConfig {
        PluginConfig {
            name: "mask".to_owned(),
            path,
            config: serde_json::json!({}),
            limits: crate::plugin::Limits::default(),
            allow: Vec::new(),
            http: Vec::new(),
            sha256,
        }
    }

    fn ran(versions: &Versions, bytes: &[u8]) -> String {
        versions.keep(bytes).unwrap();
        let version = Version { sha256: sha256(bytes), settings: String::new(), bytes: bytes.len() as u64 };
        versions.note("mask", &Entry::new(Outcome::Swapped, Cause::File, Some(&version)));
        version.sha256
    }

    #[test]
    fn a_history_is_bounded_and_survives_what_a_crash_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let versions = Versions::new(dir.path());
        let first = ran(&versions, b"one");
        let path = versions.history_of("mask");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time_us\": 12").unwrap();
        let second = ran(&versions, b"two");
        assert_eq!(versions.ran("mask").unwrap(), [second.clone(), first.clone()]);
        let refused = Entry { sha256: Some(sha256(b"three")), ..Entry::new(Outcome::Refused, Cause::File, None) };
        for _ in 0..ENTRIES_MAX * 2 {
            versions.try_note("mask", &refused).unwrap();
        }
        let entries = versions.history("mask").unwrap();
        assert!(entries.len() < ENTRIES_MAX * 2 && entries.len() >= ENTRIES_MAX, "{}", entries.len());
    }

    #[test]
    fn a_rollback_stands_until_the_file_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let versions = Versions::new(dir.path());
        let path = dir.path().join("mask.wasm");
        let plain = config(path.clone(), None);
        assert!(versions.roll_back(&plain, None, true).unwrap_err().contains("no other component"));
        let (first, _) = (ran(&versions, b"one"), ran(&versions, b"two"));
        fs::write(&path, b"two").unwrap();
        assert_eq!(versions.roll_back(&plain, None, true).unwrap(), first);
        let chosen = versions.choose(&plain).unwrap();
        assert!(chosen.is_back && chosen.bytes == b"one" && chosen.stamp.is_some());
        // A pin of another component wins, and one that is not there any more is an error.
        let pinned = versions.choose(&config(path.clone(), Some(sha256(b"two")))).unwrap();
        assert!(!pinned.is_back && pinned.bytes == b"two" && pinned.ends_back.is_some());
        // The file that was gone back from is not needed, nor one to go back from.
        fs::remove_file(&path).unwrap();
        let chosen = versions.choose(&plain).unwrap();
        assert!(chosen.is_back && chosen.bytes == b"one" && chosen.stamp.is_none());
        versions.end_rollback("mask");
        assert!(matches!(versions.choose(&plain), Err(PluginError { fault: Fault::Read { .. }, .. })));
        assert_eq!(versions.roll_back(&plain, None, true).unwrap(), first);
        assert_eq!(versions.back("mask").unwrap(), Back { to: first.clone(), file: sha256(b"two") });
        fs::write(&path, b"two").unwrap();
        assert!(versions.choose(&plain).unwrap().is_back);
        fs::write(versions.file_of(&first), b"damaged").unwrap();
        assert!(matches!(versions.choose(&plain), Err(PluginError { fault: Fault::NotKept { .. }, .. })));
        fs::write(&path, b"three").unwrap();
        let chosen = versions.choose(&plain).unwrap();
        assert!(!chosen.is_back && chosen.bytes == b"three" && chosen.ends_back.is_some());
        // Where nothing runs, what would run next is gone back from: the file, which has never run.
        fs::write(versions.file_of(&first), b"one").unwrap();
        assert_eq!(versions.roll_back(&plain, None, false).unwrap(), sha256(b"two"));
        assert_eq!(versions.roll_back(&plain, None, false).unwrap(), first);
    }

    #[test]
    fn components_that_ran_long_ago_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let versions = Versions::new(dir.path());
        let digests: Vec<String> = (0..COMPONENTS_MAX + 3).map(|n| ran(&versions, format!("{n}").as_bytes())).collect();
        let old = SystemTime::now() - PRUNED_AFTER * 2;
        for digest in &digests {
            File::options().write(true).open(versions.file_of(digest)).unwrap().set_modified(old).unwrap();
        }
        versions.set_back("mask", &Back { to: digests[0].clone(), file: String::new() }).unwrap();
        versions.prune().unwrap();
        let kept: Vec<bool> = digests.iter().map(|digest| versions.component(digest).is_some()).collect();
        assert_eq!(kept.iter().filter(|kept| **kept).count(), COMPONENTS_MAX + 1);
        assert!(kept[0] && !kept[1] && kept[COMPONENTS_MAX + 2]);
    }

    /// Whoever writes over the file while it is read: what comes is of one of the two, if not yet all of it.
    #[test]
    fn a_file_that_is_written_over_while_it_is_read_is_not_mixed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.wasm");
        let contents = [vec![1u8; 300_000], vec![2u8; 200_000]];
        fs::write(&path, &contents[0]).unwrap();
        let (mut whole, mut mixed) = (0, 0);
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for n in 0..60 {
                    fs::write(&path, &contents[n % 2]).unwrap();
                    std::thread::sleep(Duration::from_millis(15));
                }
            });
            while !writing.is_finished() {
                // It may be written to all the time.
                if let Ok(Read { bytes, .. }) = read(&path) {
                    whole += usize::from(contents.contains(&bytes));
                    mixed += usize::from(!contents.iter().any(|content| content.starts_with(&bytes)));
                }
            }
        });
        assert!(whole > 0 && mixed == 0, "{whole} whole, {mixed} mixed");
    }
}
