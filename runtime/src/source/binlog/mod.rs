//! The binlog of MySQL and MariaDB: from framed events to rows in the builders of a pipeline's lanes.
//!
//! [`decode::Decoder`] takes one event at a time. A TABLE_MAP makes or finds the plan of its relation ([`plan`]); a row event
//! is walked row by row into reused memory ([`rows`]), and the wanted cells are appended to the builders column by column
//! ([`append`], [`value`]). No allocation
//! a row; every read is checked; whatever cannot be decoded exactly is an error that says where, and never holds a row value.

mod absent;
mod append;
pub mod decode;
pub mod error;
mod event;
#[cfg(test)]
mod oracle;
mod partial;
pub mod plan;
pub mod query;
mod rows;
pub mod statement;
pub mod table_map;
#[cfg(test)]
mod testing;
pub(in crate::source) mod value;
pub mod values;
pub mod xa;
