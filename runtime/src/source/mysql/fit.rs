//! Whether a server can go on where a reading stands; asked before a row of it is taken.
//!
//! A reading that goes on by GTID may do so at another server of the replication, which has executed all that was read: it may be a replica
//! that is catching up, or one that took over too early, or a server whose data is older than before. File and offset mean something to one
//! server alone, and to that only until its binlog is reset.

use std::collections::BTreeMap;

use super::connect::Connection;
use super::server::{Settings, mysql_set, parse};
use crate::position::{Gtid, GtidSet, MariaDbGtidSet, Position, file_number};
use crate::source::{DefiniteError, Failure};

/// Why a server cannot go on.
pub(super) enum Unfit {
    Failed(Failure),
    /// It has not executed what was read, and may or may not do so yet.
    Behind(Behind),
}

/// What a server lacks.
pub(super) struct Behind {
    missing: GtidSet,
    /// What was read, as far as the server has it.
    common: GtidSet,
    /// It replicates from a server, or may.
    pub is_catching_up: bool,
}

impl From<Failure> for Unfit {
    fn from(failure: Failure) -> Unfit {
        Unfit::Failed(failure)
    }
}

impl Behind {
    pub(super) fn wait(&self, place: &str) -> Failure {
        let why = if self.is_catching_up { "it is a replica that is catching up" } else { "it may still commit them" };
        Failure::transient(format!("{place} has not the transactions {} yet, which were read already; {why}", self.missing))
    }

    /// Once it is clear that they will not come.
    pub(super) fn lost(&self, place: &str) -> DefiniteError {
        let go_on = if self.common.is_empty() { "earliest".to_owned() } else { self.common.to_string() };
        DefiniteError {
            problem: format!(
                "{place} has not the transactions {}, which were read already, and replicates from nobody who has: it took over without \
                 them, was restored from a backup, or its GTIDs were reset",
                self.missing
            ),
            hint: format!(
                "if they are lost for good, compare the target with the server, then go on with what the server has: `tidegate cursor \
                 set PIPELINE {go_on}`"
            ),
        }
    }
}

/// `gtids`: what was read, if reading goes on by them. `open`: the transaction of which a part was read.
pub(super) async fn check(
    connection: &mut Connection,
    settings: &Settings,
    place: &str,
    position: &Position,
    gtids: Option<&GtidSet>,
    open: Option<&Gtid>,
) -> Result<(), Unfit> {
    let identity = settings.identity();
    let home = position.home.as_ref().map(|home| &home.server);
    let Some(gtids) = gtids else {
        if let Some(home) = home.filter(|home| **home != identity) {
            return Err(Failure::definite(
                format!(
                    "{position} is a place in the binlog of the server {home}, and {place} is the server {identity}: without GTIDs nobody knows \
                     where that is in its binlog"
                ),
                "let the source lead to that server again; or compare the target, and go on elsewhere: `tidegate cursor set PIPELINE …`. \
                 With GTIDs (gtid_mode = ON) reading goes over by itself",
            )
            .into());
        }
        return reset(connection, place, position).await;
    };
    let is_replica = match replica_status(connection, settings).await {
        Ok(channels) => !channels.is_empty(),
        // Without the right to ask nobody knows.
        Err(Failure::Definite(_)) => false,
        Err(transient) => return Err(transient.into()),
    };
    if is_replica && !settings.logs_replicated() {
        return Err(Failure::definite(
            format!("{place} is a replica that does not log what it replicates (log_replica_updates is off)"),
            "set log_replica_updates = ON (log_slave_updates at older servers and MariaDB) and restart the server, or read another one",
        )
        .into());
    }
    if home.is_some_and(|home| *home == identity) {
        reset(connection, place, position).await?;
    }
    let mut read = gtids.clone();
    if let Some(open) = open {
        read.add(open);
    }
    let executed = executed(connection, settings).await?;
    let missing = read.without(&executed);
    if missing.is_empty() {
        return parted(connection, settings, &read).await;
    }
    let common = match (&executed, &missing) {
        (GtidSet::MariaDb(executed), GtidSet::MariaDb(missing)) => {
            let GtidSet::MariaDb(mut common) = read else { return Ok(()) };
            common.0.retain(|domain, last| {
                let have = missing.0.contains_key(domain).then(|| executed.0.get(domain).copied());
                have.is_none_or(|have| have.map(|have| *last = have).is_some())
            });
            GtidSet::MariaDb(common)
        }
        _ => gtids.without(&missing),
    };
    let is_catching_up = may_replicate(connection, settings).await?;
    Err(Unfit::Behind(Behind { missing, common, is_catching_up }))
}

/// MariaDB's numbers alone tell nothing of a server that took over without the last transactions, and has as many of its own since: its binlog
/// has to have what was read from each server.
async fn parted(connection: &mut Connection, settings: &Settings, read: &GtidSet) -> Result<(), Unfit> {
    let GtidSet::MariaDb(read) = read else { return Ok(()) };
    let rows = connection.query("SELECT @@GLOBAL.gtid_binlog_state, @@GLOBAL.gtid_slave_pos").await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let all = |at: usize| row.at(at).unwrap_or_default().split(',').map(str::trim).filter(|gtid| !gtid.is_empty());
    // The last of each server; what was replicated last counts where it is not logged.
    let mut last: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for gtid in all(0).chain(all(1)) {
        let GtidSet::MariaDb(one) = parse(gtid)? else { continue };
        for (domain, (server, sequence)) in one.0 {
            let last = last.entry((domain, server)).or_default();
            *last = sequence.max(*last);
        }
    }
    let (mut missing, mut common) = (MariaDbGtidSet::default(), read.clone());
    for (&domain, &(server, sequence)) in &read.0 {
        let have = last.get(&(domain, server)).copied();
        if have.is_some_and(|have| have >= sequence) {
            continue;
        }
        missing.0.insert(domain, (server, sequence));
        match have {
            Some(have) => common.0.insert(domain, (server, have)),
            None => common.0.remove(&domain),
        };
    }
    if missing.0.is_empty() {
        return Ok(());
    }
    let is_catching_up = may_replicate(connection, settings).await?;
    Err(Unfit::Behind(Behind { missing: GtidSet::MariaDb(missing), common: GtidSet::MariaDb(common), is_catching_up }))
}

/// Refuses a binlog that ends before the place in it.
async fn reset(connection: &mut Connection, place: &str, position: &Position) -> Result<(), Unfit> {
    let rows = connection.query("SHOW BINARY LOGS").await?;
    let files: Vec<(&str, u64)> = rows.iter().filter_map(|row| Some((row.at(0)?, row.at(1)?.parse().ok()?))).collect();
    let Some((last, size)) = files.last() else { return Ok(()) };
    let end = match files.iter().find(|(name, _)| *name == &*position.file) {
        Some((file, size)) if *size < position.offset => format!("{file} of {place} ends at {size}"),
        None if file_number(last) < file_number(&position.file) => format!("the binlog of {place} ends at {last}:{size}"),
        _ => return Ok(()),
    };
    Err(Failure::definite(
        format!("{end}, before {position}: the binlog was reset, or the server was restored from a backup"),
        "compare the target with the server, then go on with what the server has: `tidegate cursor set PIPELINE earliest`",
    )
    .into())
}

async fn executed(connection: &mut Connection, settings: &Settings) -> Result<GtidSet, Failure> {
    let sql = if settings.mariadb { "SELECT @@GLOBAL.gtid_binlog_pos" } else { "SELECT @@GLOBAL.gtid_executed" };
    let rows = connection.query(sql).await?;
    let text = rows.first().and_then(|row| row.at(0)).unwrap_or_default();
    match (settings.mariadb, text.is_empty()) {
        (true, true) => Ok(GtidSet::MariaDb(MariaDbGtidSet::default())),
        (true, false) => parse(text),
        (false, _) => mysql_set(text),
    }
}

/// Whether a server may still get what it lacks from another one.
async fn may_replicate(connection: &mut Connection, settings: &Settings) -> Result<bool, Failure> {
    match replica_status(connection, settings).await {
        Ok(channels) => Ok(channels.iter().any(|channel| channel.receives || channel.applies)),
        // Without the right to ask: a server that takes no writes is a replica, most probably.
        Err(Failure::Definite(_)) => {
            let rows = connection.query("SELECT @@GLOBAL.read_only").await?;
            Ok(rows.first().and_then(|row| row.at(0)).is_some_and(|value| !matches!(value, "0" | "OFF")))
        }
        Err(transient) => Err(transient),
    }
}

/// One server from which this one replicates.
struct Channel {
    receives: bool,
    applies: bool,
}

async fn replica_status(connection: &mut Connection, settings: &Settings) -> Result<Vec<Channel>, Failure> {
    let sql = if settings.mariadb { "SHOW ALL SLAVES STATUS" } else { "SHOW REPLICA STATUS" };
    let rows = match connection.query(sql).await {
        // MySQL before 8.0.22.
        Err(Failure::Definite(_)) if !settings.mariadb => connection.query("SHOW SLAVE STATUS").await?,
        answer => answer?,
    };
    let runs = |value: Option<&str>| value.is_some_and(|value| !value.eq_ignore_ascii_case("No"));
    let channel = |row: super::connect::Row<'_>| Channel {
        receives: runs(row.get("Replica_IO_Running").or(row.get("Slave_IO_Running"))),
        applies: runs(row.get("Replica_SQL_Running").or(row.get("Slave_SQL_Running"))),
    };
    Ok(rows.iter().map(channel).collect())
}
