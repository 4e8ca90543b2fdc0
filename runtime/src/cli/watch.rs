//! `tidegate plugin test --watch`: tests again when something has changed.

use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Format, screen};
use crate::error::Error;
use crate::kit;

/// How often the files are looked at. Two looks that see the same, after others, are a change that is complete.
const INTERVAL: Duration = Duration::from_millis(200);

/// Files, when they were written, and how long they are.
type Seen = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// What is looked at.
pub(super) struct Watched<'a> {
    /// A folder with sources,
    pub folder: Option<&'a Path>,
    /// or a component that is built by somebody else.
    pub component: Option<PathBuf>,
    /// Files, and folders of them.
    pub cases: Vec<PathBuf>,
}

/// Runs `build` when the sources have changed, and `test` when anything has, for good. Both begin at once.
pub(super) fn watch(
    watched: &Watched<'_>,
    build: impl Fn(&Path) -> Result<(), Error>,
    test: impl Fn() -> Result<(), Error>,
    format: Format,
) -> Result<(), Error> {
    let mut sources = Seen::new();
    let mut tested = None;
    loop {
        let now = watched.sources();
        let is_new = now != sources;
        if is_new {
            clear(format);
        }
        let built = match watched.folder.filter(|_| is_new) {
            Some(folder) => build(folder),
            None => Ok(()),
        };
        sources = now;
        let inputs = watched.inputs();
        if let Err(error) = &built {
            screen::print_error(error);
        } else if is_new || tested.as_ref() != Some(&inputs) {
            if !is_new {
                clear(format);
            }
            if let Err(error) = test() {
                screen::print_error(&error);
            }
        }
        tested = Some(inputs);
        if format == Format::Text {
            screen::print("waiting for a change; Ctrl-C ends");
        }
        let all = || (watched.sources(), watched.inputs());
        let before = (sources.clone(), tested.clone().unwrap_or_default());
        let mut last = all();
        loop {
            std::thread::sleep(INTERVAL);
            let now = all();
            if now == last && now != before {
                break;
            }
            last = now;
        }
    }
}

/// Makes room on a terminal.
fn clear(format: Format) {
    if format == Format::Text && stdout().is_terminal() {
        print!("\x1b[2J\x1b[H");
    }
}

impl Watched<'_> {
    fn sources(&self) -> Seen {
        self.folder.map(kit::sources).unwrap_or_default().into_iter().filter_map(seen).collect()
    }

    fn inputs(&self) -> Seen {
        let mut found: Vec<PathBuf> = self.component.iter().cloned().collect();
        for path in &self.cases {
            match std::fs::read_dir(path) {
                Ok(entries) => found.extend(entries.filter_map(|entry| Some(entry.ok()?.path()))),
                Err(_) => found.push(path.clone()),
            }
        }
        found.sort();
        found.into_iter().filter_map(seen).collect()
    }
}

/// What cannot be read is as what is not there.
fn seen(path: PathBuf) -> Option<(PathBuf, Option<SystemTime>, u64)> {
    let metadata = path.metadata().ok().filter(|metadata| metadata.is_file())?;
    Some((path, metadata.modified().ok(), metadata.len()))
}
