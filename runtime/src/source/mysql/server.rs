//! The server that a source follows: its settings, its positions, and statements on a session that is kept open.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::address::Address;
use super::connect::{Connection, Rows};
use super::read::quoted;
use super::tls::Tls;
use crate::manifest::units::TablePath;
use crate::position::{GtidSet, Home, MariaDbGtidSet, MySqlGtidSet, Position, file_number};
use crate::source::frame::u32_at;
use crate::source::{DefiniteError, Failure};

/// Readings that search a position are numbered from here on, those of subscribers below.
const SEARCH_SLOTS: u32 = 1 << 20;

/// Within this time a server notices that a connection is closed, because it has a heartbeat to send.
const GHOST_TIME: Duration = Duration::from_millis(2500);

/// A server, or several of one replication of which one is read.
pub(crate) struct Server {
    pub(super) name: Arc<str>,
    /// In the order in which they are tried.
    pub(super) hosts: Arc<[Host]>,
    /// Index of the host that is read.
    current: AtomicUsize,
    pub(super) server_id: u32,
    /// What tells this data folder from others.
    reader: Arc<str>,
    /// A table that may be written to.
    pub(super) signal: Option<Signal>,
    /// With the index of its host.
    session: Mutex<Option<(usize, Connection)>>,
    pub(super) searches: AtomicU32,
}

/// See `snapshot.signal_table` of the manifest.
#[derive(Clone)]
pub(super) struct Signal {
    pub table: TablePath,
    /// The statement that writes to it.
    pub sql: Arc<str>,
}

/// Where one of the servers is.
pub(super) struct Host {
    pub address: Address,
    pub tls: Tls,
}

/// The global variables that decide how a server is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub mariadb: bool,
    pub version: String,
    variables: HashMap<String, String>,
}

impl Settings {
    /// Transactions become visible in the order of the binlog (MySQL).
    pub(super) fn orders_commits(&self) -> bool {
        self.get("binlog_order_commits").eq_ignore_ascii_case("ON")
    }

    /// The value of a variable; empty if the server does not have it.
    pub(super) fn get(&self, name: &str) -> &str {
        self.variables.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Major and minor version, as `8004` for 8.4.
    pub(super) fn version_number(&self) -> u32 {
        let mut parts = self.version.split(|c: char| !c.is_ascii_digit()).map(|p| p.parse::<u32>().unwrap_or(0));
        parts.next().unwrap_or(0) * 1000 + parts.next().unwrap_or(0)
    }

    /// Every transaction has a GTID.
    pub(super) fn has_gtids(&self) -> bool {
        self.mariadb || self.get("gtid_mode").eq_ignore_ascii_case("ON")
    }

    pub(super) fn checksum(&self) -> bool {
        self.get("binlog_checksum").eq_ignore_ascii_case("CRC32")
    }

    /// What tells this server from others.
    pub(super) fn identity(&self) -> Arc<str> {
        let known = ["server_uuid", "server_uid", "server_id"].into_iter().map(|name| self.get(name));
        known.into_iter().find(|value| !value.is_empty()).unwrap_or_default().into()
    }

    /// What it replicates from elsewhere is in its binlog, too.
    pub(super) fn logs_replicated(&self) -> bool {
        self.is_on("log_replica_updates") || self.is_on("log_slave_updates")
    }

    /// Whose files the server's are.
    pub(super) fn home(&self) -> Arc<Home> {
        Arc::new(Home { server: self.identity(), began: None })
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), "ON" | "1")
    }

    /// Why it cannot be followed at all.
    pub(super) fn refused(&self, server_id: u32) -> Option<(String, String)> {
        let (least, name) = if self.mariadb { (10_002, "MariaDB 10.2") } else { (5_007, "MySQL 5.7") };
        let format = self.get("binlog_format");
        let refused = if self.version_number() < least {
            (format!("the server is version {}", self.version), format!("{name} is the least"))
        } else if !self.is_on("log_bin") {
            ("the server writes no binlog (log_bin is off)".into(), "start it with `log_bin` in its configuration".into())
        } else if !format.is_empty() && !format.eq_ignore_ascii_case("ROW") {
            (
                format!("binlog_format is {format}"),
                format!("{} binlog_format = 'ROW'; sessions that are open keep the old one", self.set()),
            )
        } else if self.get("server_id").parse() == Ok(server_id) {
            (format!("the source's server_id is the server's own, {server_id}"), "give the source another `server_id`".into())
        } else {
            return None;
        };
        Some(refused)
    }

    /// The statement that changes a setting and, where the server can, keeps it.
    pub(super) fn set(&self) -> &'static str {
        if self.mariadb || self.version_number() < 8_000 { "SET GLOBAL" } else { "SET PERSIST" }
    }
}

impl Server {
    pub(crate) fn new(
        name: Arc<str>,
        addresses: Vec<Address>,
        server_id: u32,
        reader: Arc<str>,
        signal: Option<TablePath>,
    ) -> Result<Server, Failure> {
        let host = |address: Address| Ok(Host { tls: Tls::new(&address)?, address });
        let hosts = addresses.into_iter().map(host).collect::<Result<Vec<Host>, Failure>>()?;
        let (current, searches) = (AtomicUsize::new(0), AtomicU32::new(SEARCH_SLOTS));
        let signal = signal.map(|table| {
            let name = format!("{}.{}", quoted(&table.schema), quoted(&table.table));
            let sql = format!("INSERT INTO {name} (id, n) VALUES (1, 1) ON DUPLICATE KEY UPDATE n = n + 1").into();
            Signal { table, sql }
        });
        Ok(Server { name, hosts: hosts.into(), current, server_id, reader, signal, session: Mutex::new(None), searches })
    }

    /// Connects to the first host that can be reached; `admit`: and followed.
    pub(crate) async fn connect(&self, admit: bool) -> Result<(), Failure> {
        let mut failures = Failures::default();
        for host in 0..self.hosts.len() {
            self.read_from(host);
            match self.try_current(admit).await {
                Ok(()) => return Ok(()),
                Err(failure) => failures.push(self.place_of(host), failure),
            }
        }
        self.read_from(0);
        Err(failures.into_one())
    }

    async fn try_current(&self, admit: bool) -> Result<(), Failure> {
        let settings = self.settings().await?;
        if !admit {
            return Ok(());
        }
        if let Some((problem, hint)) = settings.refused(self.server_id) {
            return Err(Failure::definite(problem, hint));
        }
        if self.other_replica(&settings).await?.is_none() {
            return Ok(());
        }
        // It may be what is left of a reading that was killed.
        tokio::time::sleep(GHOST_TIME).await;
        match self.other_replica(&settings).await? {
            Some(other) => Err(self.taken(&other)),
            None => Ok(()),
        }
    }

    /// That another replica has the server id of this source.
    pub(super) fn taken(&self, other: &str) -> Failure {
        Failure::definite(
            format!("{} has the source's server_id {}", who(other), self.server_id),
            "give the source another `server_id`",
        )
    }

    /// The index of the host that is read.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    pub(super) fn read_from(&self, host: usize) {
        self.current.store(host, Ordering::Relaxed);
    }

    /// Where a host is, for messages.
    pub(super) fn place_of(&self, host: usize) -> String {
        self.hosts[host].address.place()
    }

    /// Where all of them are.
    pub(super) fn places(&self) -> String {
        let places: Vec<String> = self.hosts.iter().map(|host| host.address.place()).collect();
        places.join(", ")
    }

    /// Runs a statement on the session that is kept; a session that has died meanwhile, or is of another host, is replaced once.
    pub(super) async fn query(&self, sql: &str) -> Result<Rows, Failure> {
        let mut session = self.session.lock().await;
        let current = self.current();
        if let Some((_, mut kept)) = session.take_if(|(host, _)| *host == current) {
            match kept.query(sql).await {
                Err(Failure::Transient(_)) => {}
                answer => {
                    *session = Some((current, kept));
                    return answer;
                }
            }
        }
        let Host { address, tls } = &self.hosts[current];
        let mut fresh = Connection::open(address, tls).await?;
        let rows = fresh.query(sql).await;
        *session = Some((current, fresh));
        rows
    }

    pub(super) async fn settings(&self) -> Result<Settings, Failure> {
        let rows = self.query(SETTINGS).await?;
        let version = self.query("SELECT VERSION()").await?;
        Ok(settings_of(&rows, &version))
    }

    /// The server id of one of several readings at a time: a server ends an older one with the same id.
    pub(super) fn reading_id(&self, slot: u32) -> u32 {
        if slot == 0 { self.server_id } else { (u32_at(&self.digest(slot), 0) | 1 << 31) & !1 }
    }

    /// The uuid under which a reading registers; the same after a restart, so that the server ends what is left of the one before.
    pub(super) fn reading_uuid(&self, slot: u32) -> String {
        let d = self.digest(slot);
        let hex: String = d[..16].iter().map(|b| format!("{b:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// The host name under which readings register: who, and on which machine.
    pub(super) fn reading_host(&self) -> String {
        let machine = rustix::system::uname();
        let machine: String = machine.nodename().to_string_lossy().chars().filter(char::is_ascii_graphic).take(40).collect();
        format!("{}@{machine}", self.reading_name())
    }

    fn reading_name(&self) -> String {
        format!("tidegate-{:08x}", u32_at(&self.digest(0), 4))
    }

    fn digest(&self, slot: u32) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.server_id.to_be_bytes());
        hash.update(slot.to_be_bytes());
        hash.update(self.reader.as_bytes());
        hash.update([0]);
        hash.update(self.name.as_bytes());
        hash.finalize().into()
    }

    /// The host of another replica that has registered with this source's server id.
    pub(super) async fn other_replica(&self, settings: &Settings) -> Result<Option<String>, Failure> {
        match self.query(replicas_query(settings)).await {
            Ok(replicas) => Ok(self.taken_by(&replicas)),
            // Without the right to ask there is no answer; reading says so itself if it is refused.
            Err(Failure::Definite(_)) => Ok(None),
            Err(transient) => Err(transient),
        }
    }

    /// The same, among the server's replicas.
    pub(super) fn taken_by(&self, replicas: &Rows) -> Option<String> {
        let (mine, name) = (self.server_id.to_string(), self.reading_name());
        let is_mine = |host: &str| host.split('@').next() == Some(&name);
        let other = replicas.iter().find(|row| row.at(0) == Some(&mine) && !row.at(1).is_some_and(is_mine));
        other.map(|row| row.at(1).unwrap_or_default().to_owned())
    }

    /// Where the server stands.
    pub(crate) async fn end(&self) -> Result<Position, Failure> {
        let settings = self.settings().await?;
        self.now(&settings).await
    }

    /// The file that the server writes to, and how long it is.
    pub(super) async fn log_end(&self) -> Result<(String, u64), Failure> {
        let rows = self.log_status(&self.settings().await?).await?;
        let (file, offset) = log_end(&rows)?;
        Ok((file.to_owned(), offset))
    }

    async fn log_status(&self, settings: &Settings) -> Result<Rows, Failure> {
        let modern = !settings.mariadb && settings.version_number() >= 8_002;
        self.query(if modern { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }).await
    }

    pub(super) async fn now(&self, settings: &Settings) -> Result<Position, Failure> {
        let rows = self.log_status(settings).await?;
        let (file, offset) = log_end(&rows)?;
        let gtids = if settings.mariadb {
            Some(self.mariadb_gtids(file, offset).await?)
        } else if settings.has_gtids() {
            Some(mysql_set(rows.first().and_then(|row| row.get("Executed_Gtid_Set")).unwrap_or_default())?)
        } else {
            None
        };
        Ok(Position { file: file.into(), offset, home: Some(settings.home()), gtids })
    }

    pub(super) async fn mariadb_gtids(&self, file: &str, offset: u64) -> Result<GtidSet, Failure> {
        let rows = self.query(&format!("SELECT BINLOG_GTID_POS({}, {offset})", literal(file))).await?;
        let text = rows.first().and_then(|row| row.at(0)).ok_or_else(|| {
            Failure::definite(
                format!("{file}:{offset} is not a place where a transaction begins"),
                "start at an offset that `mariadb-binlog` prints as `# at` before a GTID event",
            )
        })?;
        if text.is_empty() {
            return Ok(GtidSet::MariaDb(MariaDbGtidSet::default()));
        }
        parse(text)
    }

    /// The binlog files that are left: name and size, oldest first.
    pub(super) async fn files(&self) -> Result<Vec<(String, u64)>, Failure> {
        let rows = self.query("SHOW BINARY LOGS").await?;
        let file = |row: super::connect::Row<'_>| Some((row.at(0)?.to_owned(), row.at(1)?.parse().ok()?));
        let files: Vec<_> = rows.iter().filter_map(file).collect();
        if files.is_empty() { Err(Failure::definite("the server has no binlog files", "switch `log_bin` on")) } else { Ok(files) }
    }

    pub(super) async fn purged(&self) -> Result<String, Failure> {
        let rows = self.query("SELECT @@GLOBAL.gtid_purged").await?;
        Ok(rows.first().and_then(|row| row.at(0)).unwrap_or_default().to_owned())
    }

    /// A cursor's set, if it is one of this server's kind.
    pub(super) fn of_flavour(&self, set: GtidSet, settings: &Settings) -> Result<GtidSet, Failure> {
        match (&set, settings.mariadb) {
            (GtidSet::MySql(_), false) | (GtidSet::MariaDb(_), true) => Ok(set),
            (_, mariadb) if set.is_empty() => {
                Ok(if mariadb { GtidSet::MariaDb(MariaDbGtidSet::default()) } else { GtidSet::MySql(MySqlGtidSet::default()) })
            }
            (GtidSet::MySql(_), true) | (GtidSet::MariaDb(_), false) => Err(Failure::definite(
                format!("the position has GTIDs of another kind than the server, version {}", settings.version),
                "the cursor is of another server: `tidegate cursor reset PIPELINE`",
            )),
        }
    }

    /// [`anonymous_until`] of the host that is read.
    pub(super) async fn anonymous_until(&self, settings: &Settings, first: &str) -> Result<u64, Failure> {
        anonymous_until(&mut self.connection().await?, settings, first).await
    }

    /// A new connection to the host that is read.
    pub(super) async fn connection(&self) -> Result<Connection, Failure> {
        let Host { address, tls } = &self.hosts[self.current()];
        Connection::open(address, tls).await
    }
}

/// File and length, of what [`Server::log_status`] gives.
fn log_end(status: &Rows) -> Result<(&str, u64), Failure> {
    let row = status.first().ok_or_else(|| Failure::definite("the server writes no binlog", "switch `log_bin` on"))?;
    Ok((row.at(0).unwrap_or_default(), row.at(1).and_then(|offset| offset.parse().ok()).unwrap_or(4)))
}

pub(super) fn replicas_query(settings: &Settings) -> &'static str {
    if !settings.mariadb && settings.version_number() >= 8_001 { "SHOW REPLICAS" } else { "SHOW SLAVE HOSTS" }
}

/// Number of the newest binlog file from `first` on that holds transactions without GTIDs, judged by its first one: a change of gtid_mode
/// begins a new file.
pub(super) async fn anonymous_until(connection: &mut Connection, settings: &Settings, first: &str) -> Result<u64, Failure> {
    if settings.mariadb {
        return Ok(0);
    }
    let rows = connection.query("SHOW BINARY LOGS").await?;
    let files: Vec<(&str, u64)> = rows.iter().filter_map(|row| Some((row.at(0)?, file_number(row.at(0)?)?))).collect();
    for (file, number) in files.into_iter().rev().take_while(|(_, number)| Some(*number) >= file_number(first)) {
        let events = connection.query(&format!("SHOW BINLOG EVENTS IN '{}' LIMIT 4", file.replace('\'', "''"))).await?;
        if events.iter().any(|event| event.at(2).is_some_and(|kind| kind.eq_ignore_ascii_case("Anonymous_Gtid"))) {
            return Ok(number);
        }
    }
    Ok(0)
}

/// What a host name tells of a replica that is not this one.
fn who(host: &str) -> String {
    match host.split_once('@') {
        Some((name, machine)) if name.starts_with("tidegate-") => {
            format!("another Tidegate (on `{machine}`, with another data_dir)")
        }
        _ => format!("another replica, `{host}`"),
    }
}

/// Why none of the hosts can be read.
#[derive(Debug, Default)]
pub(super) struct Failures {
    all: Vec<(String, Failure)>,
    /// One of them cannot be mended by waiting for the others.
    is_final: bool,
}

impl Failures {
    pub(super) fn push(&mut self, place: String, failure: Failure) {
        self.all.push((place, failure));
    }

    pub(super) fn push_final(&mut self, place: String, error: DefiniteError) {
        self.is_final = true;
        self.all.push((place, Failure::Definite(error)));
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// All of them together: definite only if there is nothing to wait for.
    pub(super) fn into_one(mut self) -> Failure {
        if self.all.len() == 1 {
            return self.all.swap_remove(0).1;
        }
        let is_away = self.all.iter().any(|(_, failure)| matches!(failure, Failure::Transient(_)));
        let (mut problems, mut hints) = (Vec::new(), Vec::new());
        for (place, failure) in self.all {
            let (problem, hint) = match failure {
                Failure::Transient(error) => (error.problem, None),
                Failure::Definite(error) => (error.problem, Some(error.hint)),
            };
            problems.push(if problem.contains(&place) { problem } else { format!("{place}: {problem}") });
            hints.extend(hint.filter(|hint| !hints.contains(hint)));
        }
        let problem = problems.join("; ");
        if is_away && !self.is_final { Failure::transient(problem) } else { Failure::definite(problem, hints.join("; ")) }
    }
}

/// By these a server cuts the rows of a transaction into events.
pub(super) const LOGS_LIKE: [&str; 3] = ["binlog_row_event_max_size", "binlog_row_image", "binlog_row_value_options"];

/// A server, and its [`LOGS_LIKE`].
pub(super) struct LogsLike {
    server: Arc<str>,
    settings: [String; 3],
}

impl LogsLike {
    pub(super) fn of(settings: &Settings) -> LogsLike {
        LogsLike { server: settings.identity(), settings: LOGS_LIKE.map(|name| settings.get(name).to_owned()) }
    }

    /// Another server may log a transaction in other events.
    pub(super) fn is_otherwise_than(&self, other: &LogsLike) -> bool {
        self.server != other.server && self.settings != other.settings
    }
}

/// Settings that reading depends on.
pub(super) const SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin','binlog_format','binlog_row_image',\
     'binlog_row_metadata','binlog_checksum','gtid_mode','server_id','server_uuid','binlog_expire_logs_seconds','expire_logs_days',\
     'binlog_row_value_options','encrypt_binlog','server_uid','log_replica_updates','log_slave_updates',\
     'binlog_row_event_max_size','gtid_strict_mode','binlog_order_commits')";

pub(super) fn settings_of(rows: &Rows, version: &Rows) -> Settings {
    let version = version.first().and_then(|row| row.at(0)).unwrap_or_default().to_owned();
    let variables = rows.iter().filter_map(|row| Some((row.at(0)?.to_owned(), row.at(1)?.to_owned()))).collect();
    Settings { mariadb: version.contains("MariaDB"), version, variables }
}

/// A string literal that is right in every SQL mode.
pub(crate) fn literal(text: &str) -> String {
    let hex: String = text.bytes().map(|b| format!("{b:02x}")).collect();
    format!("_utf8mb4 x'{hex}'")
}

pub(super) fn mysql_set(text: &str) -> Result<GtidSet, Failure> {
    // The server breaks the line after each comma.
    if text.trim().is_empty() { Ok(GtidSet::MySql(MySqlGtidSet::default())) } else { parse(text) }
}

pub(super) fn parse(text: &str) -> Result<GtidSet, Failure> {
    GtidSet::parse(text)
        .map_err(|e| Failure::definite(format!("the server's GTID set is not understood: {e}"), "use a newer version"))
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("places", &self.places()).field("server_id", &self.server_id).finish_non_exhaustive()
    }
}
