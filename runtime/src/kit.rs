//! What people who write plugins are given with the program: the SDKs of each language, a template to start from, and the scripts that
//! get and run its toolchain. It is unpacked into a cache when it is needed.

mod stamp;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use sha2::{Digest, Sha256};

pub use stamp::sources;

include!(concat!(env!("OUT_DIR"), "/kit.rs"));

/// Beside a new plugin: says where it runs.
const MANIFEST: &str = "tidegate.toml";

/// For how long a kit is kept that is not used: far longer than a build takes.
const UNUSED_MAX: Duration = Duration::from_secs(24 * 3600);

/// A language with an SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Rust,
    Javascript,
    /// Built as JavaScript is.
    Typescript,
    Python,
    Go,
    /// And C++.
    C,
}

/// How one is told from others, and built.
struct Parts {
    /// Its folder under sdk/.
    sdk: &'static str,
    /// The folder in there that a new plugin is a copy of.
    template: &'static str,
    /// How the name of a file ends that only its plugins have.
    marks: &'static [&'static str],
    script: &'static str,
    /// The template's configuration, for the manifest beside it.
    config: &'static str,
    /// Files of the SDK that a plugin's folder gets a copy of, as `sdk`: what its own tools have to find there.
    copied: &'static [&'static str],
}

const COLUMNS: &str = r#"{ columns = ["email"] }"#;
const COLUMN: &str = r#"{ column = "email" }"#;

impl Language {
    fn parts(self) -> Parts {
        match self {
            Language::Rust => Parts {
                sdk: "rust",
                template: "template/",
                marks: &["Cargo.toml"],
                script: "rust-wasm.sh",
                config: COLUMNS,
                copied: &["Cargo.toml", "src/", "wit/"],
            },
            Language::Javascript => Parts {
                sdk: "javascript",
                template: "template/",
                marks: &["plugin.js", "plugin.ts"],
                script: "js-wasm.sh",
                config: COLUMNS,
                copied: &[],
            },
            Language::Typescript => Parts { template: "template-typescript/", ..Language::Javascript.parts() },
            Language::Python => Parts {
                sdk: "python",
                template: "template/",
                marks: &["plugin.py"],
                script: "python-wasm.sh",
                config: COLUMNS,
                copied: &[],
            },
            Language::Go => {
                Parts { sdk: "go", template: "template/", marks: &["go.mod"], script: "go-wasm.sh", config: COLUMN, copied: &[] }
            }
            Language::C => Parts {
                sdk: "c",
                template: "template/",
                marks: &[".c", ".cpp"],
                script: "c-wasm.sh",
                config: COLUMN,
                copied: &["include/"],
            },
        }
    }

    /// The language of the plugin in a folder.
    pub fn of(folder: &Path) -> Option<Language> {
        let files: Vec<_> = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        let has = |mark: &&str| files.iter().any(|file| file.to_str().is_some_and(|name| name.ends_with(*mark)));
        Language::value_variants().iter().copied().find(|language| language.parts().marks.iter().any(&has))
    }
}

/// Makes a folder with a plugin to start from. `name` has letters, digits, `-` and `_`.
pub fn start(language: Language, name: &str, folder: &Path) -> io::Result<()> {
    let parts = language.parts();
    let template = format!("sdk/{}/{}", parts.sdk, parts.template);
    let sdk = format!("sdk/{}/", parts.sdk);
    for (path, content) in FILES {
        let of_all = path.strip_prefix("sdk/").filter(|path| *path == MANIFEST);
        if let Some(path) = path.strip_prefix(&template).or(of_all) {
            let content = String::from_utf8_lossy(content).replace("{{name}}", name).replace("{{config}}", parts.config);
            write(&folder.join(path.replace("{{name}}", name)), content.as_bytes())?;
        } else if let Some(path) = path.strip_prefix(&sdk).filter(|path| parts.copied.iter().any(|part| path.starts_with(part))) {
            write(&folder.join("sdk").join(path), content)?;
        }
    }
    Ok(())
}

/// Builds the plugin in a folder into the component `out`. One that comes out the same stays as it is. False: the language's tools have said why it
/// cannot be built. `cache`: where toolchains and the kit itself are kept.
pub fn build(language: Language, cache: &Path, folder: &Path, out: &Path) -> Result<bool, BuildError> {
    let draft = Draft(cache.join(format!("built-{}.wasm", std::process::id())));
    let Some(id) = run(language, cache, folder, &[OsStr::new("build"), folder.as_ref(), draft.0.as_ref()])? else {
        return Ok(false);
    };
    let parts = language.parts();
    let mut component = std::fs::read(&draft.0).map_err(unwritten(&draft.0))?;
    let build_id = stamp::build_id(folder, &id).map_err(unwritten(folder))?;
    stamp::stamp(&mut component, &format!("tidegate-{}", parts.sdk), &sdk_version(folder), &build_id);
    put(&component, out).map_err(unwritten(out))?;
    Ok(true)
}

/// Runs the unit tests in a plugin's folder, in the language's own runner. False: that has said which fail.
pub fn test(language: Language, cache: &Path, folder: &Path) -> Result<bool, BuildError> {
    Ok(run(language, cache, folder, &[OsStr::new("test"), folder.as_ref()])?.is_some())
}

/// Runs a language's script. Its kit's id; `None`: the script has failed.
fn run(language: Language, cache: &Path, folder: &Path, arguments: &[&OsStr]) -> Result<Option<String>, BuildError> {
    let (id, kit) = unpack(cache).map_err(unwritten(cache))?;
    let parts = language.parts();
    let mut command = Command::new("bash");
    command.arg(kit.join("scripts/toolchains").join(parts.script)).args(arguments);
    command.env("PREFIX", cache.join("toolchains").join(parts.sdk)).env("WASM_TOOLS", cache.join("toolchains/wasm-tools"));
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        command.env("CARGO_TARGET_DIR", folder.canonicalize().map_err(unwritten(folder))?.join("target"));
    }
    let has_done = command.stdin(Stdio::null()).status().map_err(|_| BuildError::NoBash)?.success();
    Ok(has_done.then_some(id))
}

fn unwritten(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Write { path, source }
}

/// Where a component is built that is not there to stay, under its own name. Whoever unpacks a kit removes what is left of it after a day.
pub fn draft(cache: &Path, component: &Path) -> io::Result<PathBuf> {
    let folder = cache.join(format!("built-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder.join(component.file_name().unwrap_or_default()))
}

/// Puts a component where a pipeline may be looking at it; one that is there already keeps its time.
pub fn put(component: &[u8], out: &Path) -> io::Result<()> {
    if std::fs::read(out).is_ok_and(|old| old == component) {
        return Ok(());
    }
    let part = out.with_extension("wasm.part");
    std::fs::write(&part, component)?;
    std::fs::rename(&part, out)
}

/// Why a build could not begin, or end.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("bash cannot be started, which runs the language's tools\nhint: install bash: apt-get install bash")]
    NoBash,
    #[error("{} cannot be written or read\nhint: check the path and its rights", .path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// A file that goes when it is dropped.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// That of the folder's own copy, or else of the kit, whose SDKs are as old as this program.
fn sdk_version(folder: &Path) -> String {
    let copy = std::fs::read_to_string(folder.join("sdk/Cargo.toml")).unwrap_or_default();
    let version = copy.lines().find_map(|line| Some(line.strip_prefix("version")?.split('"').nth(1)?.to_owned()));
    version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())
}

/// Unpacks the kit once; another version of it gets another folder, and one that nobody has used for long goes. Returns what tells it from others,
/// and where it is.
fn unpack(cache: &Path) -> io::Result<(String, PathBuf)> {
    let mut digest = Sha256::new();
    for (path, content) in FILES {
        digest.update(path.as_bytes());
        digest.update(content);
    }
    let id: String = digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let kit = cache.join(format!("kit-{id}"));
    if !kit.is_dir() {
        let draft = cache.join(format!("kit-{id}.{}", std::process::id()));
        for (path, content) in FILES {
            write(&draft.join(path), content)?;
        }
        // Another process may have been faster.
        if let Err(error) = std::fs::rename(&draft, &kit)
            && !kit.is_dir()
        {
            return Err(error);
        }
        let _ = std::fs::remove_dir_all(&draft);
        prune(cache)?;
    }
    // So that other versions, which may be in use beside this one, leave it alone.
    std::fs::File::open(&kit)?.set_modified(SystemTime::now())?;
    Ok((id, kit))
}

/// Removes the kits, and what is left of builds that were killed, that were last used [`UNUSED_MAX`] ago.
fn prune(cache: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(cache)? {
        let entry = entry?;
        let is_ours = ["kit-", "built-"].iter().any(|start| entry.file_name().as_encoded_bytes().starts_with(start.as_bytes()));
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_ours && age.is_some_and(|age| age > UNUSED_MAX) {
            // Somebody else may be removing it, too.
            let _ = if entry.path().is_dir() { std::fs::remove_dir_all(entry.path()) } else { std::fs::remove_file(entry.path()) };
        }
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(path))?;
    std::fs::write(path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kits_that_nobody_uses_go() {
        let cache = tempfile::tempdir().expect("a folder");
        let at = |name: &str| cache.path().join(name);
        for name in ["kit-old", "kit-young", "toolchains"] {
            write(&at(name).join("file"), b"1").expect("write");
        }
        std::fs::write(at("built-1.wasm"), b"1").expect("write");
        let old = SystemTime::now() - 2 * UNUSED_MAX;
        for name in ["kit-old", "built-1.wasm", "toolchains"] {
            std::fs::File::open(at(name)).and_then(|file| file.set_modified(old)).expect("an old one");
        }
        let (id, kit) = unpack(cache.path()).expect("a kit");
        let left = |name: &str| at(name).exists();
        assert!(!left("kit-old") && !left("built-1.wasm") && left("kit-young") && left("toolchains"));
        // One that is used is as if it were new.
        std::fs::File::open(&kit).and_then(|file| file.set_modified(old)).expect("an old one");
        assert_eq!(unpack(cache.path()).expect("a kit").0, id);
        prune(cache.path()).expect("nothing to remove");
        assert!(kit.is_dir());
    }
}
