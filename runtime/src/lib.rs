//! Tidegate keeps other systems in step with a database while it changes.
//!
//! The modules stand in the order of the flow: manifest → source → channel → lane → plugin stage → router → batcher → sink →
//! ack tracker → cursor store. ARCHITECTURE.md has the words and the invariants.

pub mod ack;
pub mod alteration;
#[cfg(test)]
mod attack;
pub mod batcher;
pub mod cases;
pub mod change;
pub mod check;
pub mod cli;
pub mod cursor;
pub mod data_dir;
pub mod dead_letter;
pub mod error;
pub mod failpoint;
pub mod kit;
pub mod lane;
pub mod manifest;
pub mod metrics;
pub mod pipeline;
pub mod plugin;
pub mod position;
pub mod prepared;
#[cfg(test)]
mod random;
pub mod request;
pub mod retry;
pub mod router;
pub mod schema;
pub mod sink;
pub mod source;
pub mod temporal;
