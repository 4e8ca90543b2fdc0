//! Sink `postgres`.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::default_table;

#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Server, user and database: `postgres://USER@HOST[:PORT]/DATABASE`; the port is 5432 unless said otherwise.
    /// Example: `"postgres://tidegate@127.0.0.1/shop"`.
    pub url: String,
    /// The user's password; default: the one in `url`, or none. Example: `"${env:REPLICA_PASSWORD}"`.
    pub password: Option<String>,
    /// Target table of a change. Placeholders: `{schema}`, `{table}`, `{topic}`, `{column:NAME}`; a dot separates schema and table.
    /// Default: `"{table}"`, in the database of `url`. Example: `"{schema}.{table}"`.
    #[serde(default = "default_table")]
    pub table: String,
    /// Make missing target tables from the source's columns and key. Default: `false`, a missing table stops the pipeline.
    #[serde(default)]
    pub create: bool,
}

/// Without what may be secret.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig").field("table", &self.table).field("create", &self.create).finish_non_exhaustive()
    }
}
