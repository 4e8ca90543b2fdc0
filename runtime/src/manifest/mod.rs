//! The manifest: one TOML file that describes sources, plugins, sinks and pipelines.

pub mod model;
