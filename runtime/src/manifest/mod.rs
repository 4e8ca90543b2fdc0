//! The manifest: one TOML file that describes sources, plugins, sinks and pipelines.

pub mod model;
pub mod pattern;
pub mod secret;
pub mod start;
pub mod template;
pub mod units;
