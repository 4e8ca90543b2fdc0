//! The invariants of ARCHITECTURE.md that a text search can hold.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_tests::project;

/// All Rust files of runtime/src with their code: comments are left out, and so is what follows the first `#[cfg(test)]`, for
/// unit tests may use what the module itself must not.
fn code() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&project("runtime/src"), &mut found);
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

/// All code but a module's: `module.rs` and what is below `module/`.
fn outside(module: &str) -> Vec<(PathBuf, String)> {
    let folder = project("runtime/src").join(module);
    let file = folder.with_extension("rs");
    code().into_iter().filter(|(path, _)| !path.starts_with(&folder) && *path != file).collect()
}

/// A module's code: `module.rs` and what is below `module/`, whichever there is.
fn module(module: &str) -> Vec<(PathBuf, String)> {
    let folder = project("runtime/src").join(module);
    let file = folder.with_extension("rs");
    let files: Vec<_> = code().into_iter().filter(|(path, _)| path.starts_with(&folder) || *path == file).collect();
    assert!(!files.is_empty(), "there is no module {module}: the layout has changed, and this test must follow");
    files
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
    forbid(&module("source"), &["crate::sink"], "sources never see sinks");
    forbid(&module("sink"), &["crate::source"], "sinks never see sources");
}

#[test]
fn the_ack_tracker_and_the_batcher_are_pure() {
    let pure = ["tokio", "std::time", "std::fs", "std::net", "std::thread", "Instant", "SystemTime", "async fn"];
    forbid(&module("ack"), &pure, "the caller brings the clock and does the I/O");
    forbid(&module("batcher"), &pure, "the caller brings the clock and does the I/O");
}

#[test]
fn the_pipeline_never_looks_into_a_column() {
    forbid(&module("pipeline"), &["arrow"], "what is done with rows stands in the stages");
}
