//! The invariants of ARCHITECTURE.md that a text search can hold.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_tests::project;

/// The Rust files below a folder or file of runtime/src, with their code: comments are left out, and so is what follows the first
/// `#[cfg(test)]`, for unit tests may use what the module itself must not.
fn code(path: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&project("runtime/src").join(path), &mut found);
    assert!(!found.is_empty(), "runtime/src/{path} has no Rust files: the layout has changed, and this test must follow");
    found
}

fn collect(path: &Path, found: &mut Vec<(PathBuf, String)>) {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        entries.for_each(|entry| collect(&entry.expect("read a folder").path(), found));
    } else if path.extension().is_some_and(|e| e == "rs") {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        found.push((path.to_owned(), lines.collect::<Vec<_>>().join("\n")));
    }
}

/// Asserts that no file of `files` has one of `words`.
fn forbid(files: &[(PathBuf, String)], words: &[&str], why: &str) {
    let hits: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| words.iter().filter(|w| text.contains(**w)).map(move |w| format!("{}: `{w}`", path.display())))
        .collect();
    assert!(hits.is_empty(), "{why}:\n{}", hits.join("\n"));
}

/// All code but that below `folder`.
fn outside(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = project("runtime/src").join(folder);
    code("").into_iter().filter(|(path, _)| !path.starts_with(&folder)).collect()
}

#[test]
fn only_plugin_knows_wasmtime() {
    forbid(&outside("plugin"), &["wasmtime"], "the plugin boundary must stay behind `plugin`");
}

#[test]
fn only_cursor_knows_sled() {
    forbid(&outside("cursor"), &["sled::", "sled;"], "the cursor store must stay replaceable");
}

#[test]
fn sources_and_sinks_do_not_see_each_other() {
    forbid(&code("source"), &["crate::sink"], "sources never see sinks");
    forbid(&code("sink"), &["crate::source"], "sinks never see sources");
}

#[test]
fn the_batcher_is_pure() {
    forbid(&code("batcher.rs"), PURE, "the caller brings the clock and does the I/O");
}

/// What a pure module must not name.
const PURE: &[&str] = &["tokio", "std::time", "std::fs", "std::net", "std::thread", "Instant", "SystemTime", "async fn"];
