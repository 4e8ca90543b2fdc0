//! What `tidegate check` reports: sources, plugins and sinks look at themselves and say what would fail before the first row.

use serde::Serialize;

/// Something that `tidegate check` found. Printed as `error: subject: problem` and `hint: hint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// Manifest item that it is about: ``sink `replica` ``.
    pub subject: String,
    pub problem: String,
    /// How to mend it: a statement to run or a line to write.
    pub hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It will fail.
    Error,
    /// It may fail, or do what the user does not expect.
    Warning,
}
