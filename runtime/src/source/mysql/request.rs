//! What a replica says to a server before it is sent the binlog.
//!
//! Formats: MySQL internals, "Replication Protocol"; `sql/rpl_source.cc`; MariaDB `sql/sql_repl.cc`.

use super::connect::Connection;
use super::server::{Server, Settings};
use crate::position::GtidSet;
use crate::source::Failure;

const HEARTBEAT_NS: u64 = 1_000_000_000;

/// Tells the server what this replica can take.
pub(super) async fn prepare(
    connection: &mut Connection,
    server: &Server,
    settings: &Settings,
    slot: u32,
    gtids: Option<&GtidSet>,
) -> Result<(), Failure> {
    let uuid = server.reading_uuid(slot);
    // MySQL renamed its variables in 8.0.26 and reads either.
    let mut sql = format!(
        "SET @master_heartbeat_period = {HEARTBEAT_NS}, @source_heartbeat_period = {HEARTBEAT_NS}, \
         @master_binlog_checksum = @@GLOBAL.binlog_checksum, @source_binlog_checksum = @@GLOBAL.binlog_checksum, \
         @slave_uuid = '{uuid}', @replica_uuid = '{uuid}'"
    );
    if settings.mariadb {
        sql.push_str(", @mariadb_slave_capability = 4");
        if let Some(set) = gtids {
            let state = if set.is_empty() { String::new() } else { set.to_string() };
            sql.push_str(&format!(
                ", @slave_connect_state = '{state}', @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0"
            ));
        }
    }
    connection.query(&sql).await.map(drop)
}

/// COM_REGISTER_SLAVE: server id 4, host, user, password (length 1 each), port 2, rank 4, source id 4.
pub(super) fn register(id: u32, host: &str) -> Vec<u8> {
    let mut out = vec![0x15];
    out.extend_from_slice(&id.to_le_bytes());
    out.push(host.len() as u8);
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(&[0; 12]);
    out
}

/// COM_BINLOG_DUMP: offset 4, flags 2 (1: end where the binlog ends), server id 4, file.
pub(super) fn dump(id: u32, offset: u32, file: &str, ends: bool) -> Vec<u8> {
    let mut out = vec![0x12];
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&u16::from(ends).to_le_bytes());
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(file.as_bytes());
    out
}

/// COM_BINLOG_DUMP_GTID: flags 2 (4: by GTIDs), server id 4, file length 4, file, offset 8, set length 4, set.
pub(super) fn dump_gtid(id: u32, set: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1e, 4, 0];
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&4u64.to_le_bytes());
    out.extend_from_slice(&(set.len() as u32).to_le_bytes());
    out.extend_from_slice(set);
    out
}
