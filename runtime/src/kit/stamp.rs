//! What a built component says of itself, in custom sections at its end, which no runtime looks at: its SDK (`producers`, field `sdk`) and its build id
//! (`build_id`), both as the tool conventions of WebAssembly have them.
//!
//! The build id is a digest of the plugin's sources and the kit: equal for the same sources, also where a language's tools make another file each time.

use std::io;
use std::path::{Path, PathBuf};

use super::MANIFEST;
use sha2::{Digest, Sha256};
use wasm_encoder::{ComponentSection, CustomSection, ProducersField, ProducersSection};

/// Folders that hold what tools make, and what tests.
const MADE: [&str; 5] = ["target", "node_modules", "__pycache__", "build", "cases"];

/// Bytes of a build id.
const ID_BYTES: usize = 16;

/// The files of which the plugin in a folder is made, in their order. What cannot be read is as what is not there.
pub fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    look(folder, &mut found);
    found
}

fn look(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if !path.is_dir() {
            found.extend((!name.ends_with(".wasm") && name != MANIFEST).then_some(path));
        } else if !path.is_symlink() && !MADE.contains(&&*name) {
            look(&path, found);
        }
    }
}

/// `kit`: what tells this kit from others.
pub(super) fn build_id(folder: &Path, kit: &str) -> io::Result<[u8; ID_BYTES]> {
    let mut digest = Sha256::new_with_prefix(kit);
    for path in sources(folder) {
        let content = std::fs::read(&path)?;
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        digest.update((name.len() as u64).to_le_bytes());
        digest.update(name);
        digest.update((content.len() as u64).to_le_bytes());
        digest.update(content);
    }
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&digest.finalize()[..ID_BYTES]);
    Ok(id)
}

pub(super) fn stamp(component: &mut Vec<u8>, sdk: &str, version: &str, build_id: &[u8; ID_BYTES]) {
    let mut producers = ProducersSection::new();
    producers.field("sdk", ProducersField::new().value(sdk, version));
    producers.append_to_component(component);
    // A vector of bytes: its length, in one byte of LEB128, and they.
    let data = [&[ID_BYTES as u8][..], build_id].concat();
    CustomSection { name: "build_id".into(), data: data.into() }.append_to_component(component);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_that_of_the_sources() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("write");
        };
        let id = |kit: &str| build_id(folder.path(), kit).expect("an id");
        write("src/lib.rs", "one");
        let first = id("a");
        // What tools make, what is tested with, and what is hidden.
        for name in ["target/x", "mask.wasm", "cases/a.json", ".git/HEAD", "tidegate.toml"] {
            write(name, "other");
        }
        assert_eq!(first, id("a"));
        assert_ne!(first, id("b"));
        write("src/lib.rs", "two");
        assert_ne!(first, id("a"));
    }
}
