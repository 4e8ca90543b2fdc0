//! SQL sinks.

pub mod mysql;
pub mod postgres;
pub mod sqlite;

/// The default of the key `table`.
fn default_table() -> String {
    "{table}".to_owned()
}
