//! `tidegate plugin test --watch`: tests again when something has changed.

use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Format, screen};
use crate::error::Error;

/// How often the files are looked at. Two looks that see the same, after others, are a change that is complete.
const INTERVAL: Duration = Duration::from_millis(200);

/// Folders that hold what tools make.
const MADE: [&str; 5] = ["target", "node_modules", "__pycache__", "build", "cases"];

/// Files, when they were written, and how long they are.
type Seen = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// What is looked at.
pub(super) struct Watched<'a> {
    /// A folder with sources. `None`: the component is built by somebody else.
    pub folder: Option<&'a Path>,
    pub component: PathBuf,
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
        } else if tested.as_ref() != Some(&inputs) {
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
        let mut seen = Seen::new();
        if let Some(folder) = self.folder {
            look(folder, true, &mut seen);
            seen.retain(|(path, ..)| *path != self.component);
        }
        seen
    }

    fn inputs(&self) -> Seen {
        let mut seen = Seen::new();
        look(&self.component, false, &mut seen);
        self.cases.iter().for_each(|path| look(path, false, &mut seen));
        seen
    }
}

/// What cannot be read is as what is not there.
fn look(path: &Path, deep: bool, seen: &mut Seen) {
    let Ok(metadata) = path.metadata() else { return };
    if metadata.is_file() {
        seen.push((path.to_owned(), metadata.modified().ok(), metadata.len()));
        return;
    }
    let Ok(entries) = std::fs::read_dir(path) else { return };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || (path.is_dir() && (!deep || path.is_symlink() || MADE.contains(&&*name))) {
            continue;
        }
        look(&path, deep, seen);
    }
}
