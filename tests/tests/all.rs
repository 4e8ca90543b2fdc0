//! All integration tests, in one binary: one link, and servers that tests share are started once.

mod crash;
mod dead_letters;
mod demo;
mod faults;
mod follow;
mod layout;
mod manifests;
mod order;
mod output;
mod plugin;
mod real_servers;
mod reload;
mod schemas;
mod sinks;
mod snapshot;
mod soak;
mod source;
mod state;
mod types;
