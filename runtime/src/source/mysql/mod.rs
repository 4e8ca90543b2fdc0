//! The `mysql` source: follows a live MySQL or MariaDB server as a replica would.

mod address;
mod catalog;
mod check;
mod connect;
mod dump;
mod errors;
mod fit;
mod login;
mod read;
mod request;
mod search;
mod server;
mod tls;

use std::path::Path;

use sha2::{Digest, Sha256};

pub use address::{Address, AddressError, SslMode};
pub(crate) use dump::Dump;
pub(crate) use read::{ReadSession, SentRows, View, Wire, quoted};
pub(crate) use server::{Server, literal};

/// The server id under which a source registers unless the manifest says another: from the data folder and the source's name, in
/// the upper half of the range, where hand-numbered servers seldom are.
pub fn default_server_id(data_dir: &Path, source: &str) -> u32 {
    let mut hash = Sha256::new();
    hash.update(data_dir.as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(source);
    let hash = hash.finalize();
    // Not u32::MAX, which some servers refuse.
    (u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) | 1 << 31) & !1
}
