//! What is wrong with a manifest, shown with its place, the line and a hint.
//!
//! Secrets: of the line that is shown, the content of every string is left out that is not known to be harmless.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub is_warning: bool,
    /// Bytes of the text.
    pub span: Range<usize>,
    pub what: String,
    pub hint: Option<String>,
}

impl Problem {
    pub fn error(span: Range<usize>, what: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { is_warning: false, span, what: what.into(), hint: Some(hint.into()).filter(|h: &String| !h.is_empty()) }
    }

    pub fn warning(span: Range<usize>, what: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { is_warning: true, ..Problem::error(span, what, hint) }
    }
}

/// Why a manifest cannot be used. Shows all that was found, in the order of the text.
#[derive(Clone, Debug)]
pub enum ManifestError {
    /// The file is not there, or not a text that could be a manifest.
    Unreadable { file: PathBuf, problem: String, hint: &'static str },
    /// It says what cannot be.
    Wrong {
        /// The path as it was given.
        file: PathBuf,
        /// As people see them: `file:line:column: what`, the line, and a hint.
        problems: Vec<String>,
        /// Errors beyond [`SHOWN_MAX`].
        left_out: usize,
    },
}

pub const SHOWN_MAX: usize = 40;

impl std::error::Error for ManifestError {}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManifestError::Unreadable { file, problem, hint } => write!(f, "{}: {problem}\nhint: {hint}", file.display()),
            ManifestError::Wrong { file, problems, left_out } => {
                for problem in problems {
                    writeln!(f, "{problem}\n")?;
                }
                let file = file.display();
                match problems.len() + left_out {
                    1 => write!(f, "error: {file} has an error"),
                    n if *left_out > 0 => write!(f, "error: {file} has {n} errors, of which {left_out} are not shown"),
                    n => write!(f, "error: {file} has {n} errors"),
                }
            }
        }
    }
}

/// Shows problems of one text.
pub(super) struct Excerpts<'a> {
    pub file: &'a str,
    pub text: &'a str,
    /// What to leave out of lines that are shown; sorted.
    pub hidden: Vec<Range<usize>>,
}

const WIDTH_MAX: usize = 100;

impl Excerpts<'_> {
    pub fn show(&self, problem: &Problem) -> String {
        let start = floor(self.text, problem.span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |i| start + i);
        let number = self.text[..start].matches('\n').count() + 1;
        let column = self.text[line_start..start].chars().count() + 1;
        let mut out = String::new();
        let severity = if problem.is_warning { "warning: " } else { "" };
        let _ = write!(out, "{}:{number}:{column}: {severity}{}", self.file, problem.what);
        let (line, from, to) = self.line(line_start..line_end, start..problem.span.end.clamp(start, line_end));
        if !line.trim().is_empty() {
            let indent = " ".repeat(number.to_string().len());
            let _ = write!(out, "\n  {number} | {line}\n  {indent} | {}{}", " ".repeat(from), "^".repeat((to - from).max(1)));
        }
        if let Some(hint) = &problem.hint {
            let _ = write!(out, "\nhint: {hint}");
        }
        out
    }

    /// The line without what is hidden, and where `mark` begins and ends in it, in characters.
    fn line(&self, line: Range<usize>, mark: Range<usize>) -> (String, usize, usize) {
        let mut shown: Vec<char> = Vec::new();
        let (mut from, mut to) = (None, None);
        let mut hidden_before = false;
        for (i, c) in self.text[line.clone()].char_indices() {
            let at = line.start + i;
            if at >= mark.start {
                from.get_or_insert(shown.len());
            }
            if at >= mark.end {
                to.get_or_insert(shown.len());
            }
            let hidden = self.hidden.iter().any(|h| h.contains(&at));
            match c {
                '\r' => {}
                _ if hidden && hidden_before => {}
                _ if hidden => shown.push('…'),
                c if c.is_control() && c != '\t' => shown.push('\u{fffd}'),
                '\t' => shown.push(' '),
                c => shown.push(c),
            }
            hidden_before = hidden;
        }
        let from = from.unwrap_or(shown.len());
        let to = to.unwrap_or(shown.len()).max(from);
        if shown.len() <= WIDTH_MAX {
            return (shown.iter().collect(), from, to);
        }
        let cut = from.saturating_sub(WIDTH_MAX / 2);
        let end = (cut + WIDTH_MAX).min(shown.len());
        let mut text: String = shown[cut..end].iter().collect();
        let lead = if cut > 0 { "… " } else { "" };
        text.insert_str(0, lead);
        if end < shown.len() {
            text.push_str(" …");
        }
        let lead = lead.chars().count();
        (text, from - cut + lead, to.min(end).max(from) - cut + lead)
    }
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// What to hide when the text could not be parsed, and nobody knows what belongs to a string: what follows a quote or a word that
/// smells of a secret, and lines with an odd number of quotes.
pub(super) fn hidden_in_broken_text(text: &str) -> Vec<Range<usize>> {
    let mut hidden = strings(text);
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        let end = start + line.trim_end().len();
        let quotes = line.bytes().filter(|b| matches!(b, b'"' | b'\'')).count();
        if let Some(quote) = line.find(['"', '\'']) {
            let key =
                line[..quote].find('=').filter(|at| line[..*at].bytes().all(|b| b.is_ascii_alphanumeric() || b"_-. ".contains(&b)));
            hidden.push(match key {
                _ if quotes % 2 == 0 => start + quote + 1..end,
                Some(equals) => start + equals + 1..end,
                None => start..end,
            });
        }
        if let Some(at) = ["pass", "secret", "token", "key", "cred", "pwd", "://"].iter().filter_map(|w| lower.find(w)).min() {
            let rest = &lower[at..];
            let after = rest.find('=').or(rest.find([':', ' '])).map_or(lower.len(), |i| at + i + 1);
            hidden.push(start + after..end.max(start + after));
        }
        start += line.len();
    }
    hidden
}

/// The content of every string, without its quotes; one that is not closed ends with its line (`'''` and `"""`: with the text).
fn strings(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'#' => at = text[at..].find('\n').map_or(bytes.len(), |i| at + i),
            quote @ (b'"' | b'\'') => {
                let long = bytes[at..].starts_with(&[quote; 3]);
                let width = if long { 3 } else { 1 };
                let begin = at + width;
                let mut end = begin;
                while end < bytes.len() && !bytes[end..].starts_with(&[quote; 3][..width]) && (long || bytes[end] != b'\n') {
                    end += if bytes[end] == b'\\' && quote == b'"' { 2 } else { 1 };
                }
                let end = end.min(bytes.len());
                found.push(begin..end);
                at = end + width;
            }
            _ => at += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, span: Range<usize>, hidden: impl IntoIterator<Item = Range<usize>>) -> String {
        let hidden = hidden.into_iter().collect();
        Excerpts { file: "t.toml", text, hidden }.show(&Problem::error(span, "bad", "mend it"))
    }

    #[test]
    fn the_caret_stands_under_the_text() {
        assert_eq!(show("a = 1\nbäd = 2\n", 6..10, None), "t.toml:2:1: bad\n  2 | bäd = 2\n    | ^^^\nhint: mend it");
        assert_eq!(show("x = \"abc\" # é", 4..9, Some(5..8)), "t.toml:1:5: bad\n  1 | x = \"…\" # é\n    |     ^^^\nhint: mend it");
    }

    #[test]
    fn odd_places_do_not_panic() {
        let text = "é\u{0}\t\u{1b}[31m\n";
        for start in 0..text.len() + 3 {
            for end in start..text.len() + 3 {
                let shown = show(text, start..end, None);
                assert!(!shown.contains('\u{1b}') && !shown.contains('\u{0}'));
            }
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let shown = show(&text, 500..501, None);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].chars().count() < 120);
        assert_eq!(lines[1].chars().position(|c| c == 'X'), lines[2].chars().position(|c| c == '^'));
    }

    #[test]
    fn secrets_of_broken_texts_are_hidden() {
        for text in
            ["password = hunter2", "pw = \"hunter2", "a = '''\nhunter2", "url = mysql://root:hunter2@h", "x = \"\\\"hunter2\" y"]
        {
            for at in 0..text.len() {
                assert!(!show(text, at..at + 1, hidden_in_broken_text(text)).contains("hunter2"), "{text}");
            }
        }
    }
}
