//! Standard output, for results; and standard error: log lines, errors, and the live lines below them.
//!
//! Live lines are erased before anything else is written and drawn again after it, under one lock.

use std::error::Error as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::error::Error;
use crate::manifest::ManifestError;

/// The live lines that stand on the terminal now.
static LIVE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Writes to standard error with the live lines out of the way. What cannot be written has nobody to read it.
fn write(text: &[u8], live: Option<Vec<String>>) {
    let mut shown = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = Vec::with_capacity(text.len() + 256);
    if !shown.is_empty() {
        // To the first live line, and erase from there to the end of the screen.
        let _ = write!(out, "\r\x1b[{}A\x1b[J", shown.len());
    }
    out.extend_from_slice(text);
    if let Some(live) = live {
        *shown = live;
    }
    for line in shown.iter() {
        let _ = writeln!(out, "{line}");
    }
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(&out);
    let _ = stderr.flush();
}

/// Draws the live lines anew; none takes them away.
pub(super) fn draw(lines: Vec<String>) {
    write(b"", Some(lines));
}

/// True if somebody watches standard error.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Columns of the terminal; 80 where it does not say.
pub(super) fn width() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => 80,
    }
}

/// Sends what is logged to standard error, as `TIDEGATE_LOG` says.
pub(super) fn start_log() {
    let wanted = std::env::var("TIDEGATE_LOG").unwrap_or_default();
    let default = "warn,tidegate=info";
    let (filter, wrong) = match wanted.as_str() {
        "" => (EnvFilter::new(default), None),
        // A bare level is about Tidegate; libraries keep to warnings.
        level @ ("error" | "warn" | "info" | "debug" | "trace") => (EnvFilter::new(format!("warn,tidegate={level}")), None),
        text => match EnvFilter::try_new(text) {
            Ok(filter) => (filter, None),
            Err(e) => (EnvFilter::new(default), Some(e)),
        },
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(is_terminal()).with_writer(Log);
    log.init();
    if let Some(e) = wrong {
        tracing::warn!("TIDEGATE_LOG is not understood, and info is taken: {e}");
    }
}

struct Log;

/// One event, written at once when it is whole.
struct Event(Vec<u8>);

impl<'a> MakeWriter<'a> for Log {
    type Writer = Event;

    fn make_writer(&'a self) -> Event {
        Event(Vec::new())
    }
}

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        write(&self.0, None);
    }
}

/// Prints a result to standard output. A reader that has gone has seen enough.
pub(super) fn print_result(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// Prints a note of several lines, and an empty one after it.
pub(super) fn print(note: &str) {
    write(format!("{note}\n\n").as_bytes(), None);
}

/// Prints an error with what it came from, each on a line of its own, and its hint last.
pub(super) fn print_error(error: &Error) {
    write(error_text(error).as_bytes(), Some(Vec::new()));
}

fn error_text(error: &Error) -> String {
    // Each of a manifest's errors has its place and hint, and their number stands last.
    if let Error::Manifest(manifest @ ManifestError::Wrong { .. }) = error {
        return format!("{manifest}\n");
    }
    let mut hints = Vec::new();
    let mut lines = Vec::new();
    let mut take = |text: String, first: bool| {
        for line in text.lines() {
            match line.strip_prefix("hint: ") {
                Some(hint) => hints.push(format!("hint: {hint}")),
                None if first && lines.is_empty() => lines.push(format!("error: {line}")),
                None => lines.push(format!("  {line}")),
            }
        }
    };
    take(error.to_string(), true);
    // Some errors tell their cause themselves.
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !told.contains(&text) {
            take(format!("because: {text}"), false);
            told = text;
        }
        source = cause.source();
    }
    lines.append(&mut hints);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_stand_below_and_the_hint_last() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Error::Write { path: "/etc/t.toml".into(), source: denied };
        assert_eq!(
            error_text(&error),
            "error: /etc/t.toml cannot be written\n  because: permission denied\nhint: give a path in a folder that is yours\n"
        );
    }
}
