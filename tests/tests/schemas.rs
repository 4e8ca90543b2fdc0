//! Which columns a row was written with: the reader of DDL against real servers, and pipelines through DDL of every kind.

mod many;
mod mend;
mod minimal;
mod online;
mod reader;
