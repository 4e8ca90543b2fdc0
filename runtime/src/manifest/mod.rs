//! The manifest: one TOML file that describes sources, plugins, sinks and pipelines.
//!
//! A manifest is read in steps, each of which finds all that is wrong: TOML with places ([`tree`]), `${…}` ([`interpolate`]), keys
//! and values against the schema ([`validate`]), what they mean together ([`meaning`]); then serde makes the [`model`] of it
//! ([`load`]). The schema comes from the structs, so there is one list of keys.

mod file;
pub mod grant;
mod interpolate;
mod load;
mod meaning;
pub mod model;
pub(crate) mod nearest;
pub mod pattern;
mod problem;
#[cfg(test)]
mod reference;
pub mod schema;
pub mod secret;
mod server_url;
pub mod start;
pub mod template;
mod tree;
pub mod units;
mod validate;

pub use load::{load, parse};
pub use problem::ManifestError;
