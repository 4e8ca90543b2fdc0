//! Sink `sqlite`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::default_table;

#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// Database file, relative to the manifest's folder; made if it is missing. Example: `"shop.db"`.
    pub path: PathBuf,
    /// Target table of a change. Placeholders: `{schema}`, `{table}`, `{topic}`, `{column:NAME}`; SQLite has no schemas, so a dot is part
    /// of the name. Default: `"{table}"`. Example: `"{schema}_{table}"`.
    #[serde(default = "default_table")]
    pub table: String,
    /// Make missing target tables from the source's columns and key. Default: `false`, a missing table stops the pipeline.
    #[serde(default)]
    pub create: bool,
}
