//! What tells one data folder from others: servers know the readings of different folders by it, whatever their paths are. And how small
//! files are written into it.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// Made by chance when the folder is first used. Of a folder that is not there yet, or cannot be written, it is not kept.
pub fn identity(data_dir: &Path) -> Arc<str> {
    made_once(&data_dir.join("identity"), 0o644, || format!("{:016x}", RandomState::new().hash_one(data_dir))).into()
}

/// What a file holds, which is made if it is missing; where that fails, what was made for it.
pub fn made_once(path: &Path, mode: u32, make: impl FnOnce() -> String) -> String {
    let read = || fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if let Some(known) = read() {
        return known;
    }
    let made = make();
    // Whole or not at all: another process may be at it, too.
    let part = path.with_extension(format!("{:016x}", RandomState::new().hash_one(&made)));
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part).and_then(|mut file| {
        file.write_all(made.as_bytes())?;
        file.sync_all()
    });
    let linked = written.and_then(|()| fs::hard_link(&part, path));
    let _ = fs::remove_file(&part);
    match linked {
        Ok(()) => made,
        Err(_) => read().unwrap_or(made),
    }
}

/// Written beside and renamed, so that nobody ever sees half a file. Its folder is made where it is missing.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    });
    if written.is_err() {
        // On a full disk a part of it would take the room that others need.
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("there.json");
        write_whole(&path, b"1").unwrap();
        fs::create_dir_all(dir.path().join("folder.json/inside")).unwrap();
        write_whole(&dir.path().join("folder.json"), b"1").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_keeps_its_identity() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(identity(one.path()), identity(one.path()));
        assert_ne!(identity(one.path()), identity(other.path()));
        assert_eq!(fs::read_dir(one.path()).unwrap().count(), 1);
        let none = one.path().join("none");
        assert!(!identity(&none).is_empty() && !none.exists());
    }
}
