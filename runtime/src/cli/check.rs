//! `tidegate check`: what would fail, before the first row.

use serde_json::json;

use super::{CheckArgs, Format};
use crate::check::{Finding, Severity};
use crate::error::{Error, Place};
use crate::manifest;

pub(super) fn run(args: &CheckArgs, format: Format) -> Result<(), Error> {
    let manifest = manifest::load(&args.manifest)?;
    for warning in &manifest.warnings {
        super::screen::print(warning);
    }
    report(&[], format)
}

/// Prints what was found. The error says how many will fail, and where the first lies.
fn report(found: &[(Place, Finding)], format: Format) -> Result<(), Error> {
    match format {
        Format::Text => print!("{}", text(found)),
        Format::Json => println!("{}", json!({ "findings": found.iter().map(|(_, finding)| finding).collect::<Vec<_>>() })),
    }
    let mut errors = found.iter().filter(|(_, f)| f.severity == Severity::Error);
    match errors.next() {
        Some((first, _)) => Err(Error::Check { errors: 1 + errors.count(), first: *first }),
        None => Ok(()),
    }
}

fn text(found: &[(Place, Finding)]) -> String {
    if found.is_empty() {
        return "nothing to complain about\n".to_owned();
    }
    let mut out = String::new();
    for (_, Finding { severity, subject, problem, hint }) in found {
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        out.push_str(&format!("{severity}: {subject}: {problem}\n"));
        if !hint.is_empty() {
            out.push_str(&format!("hint: {hint}\n"));
        }
        out.push('\n');
    }
    out
}
