//! The server that a source follows: its settings, its positions, and statements on a session that is kept open.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::address::Address;
use super::connect::{Connection, Rows};
use super::dump::Dump;
use super::tls::Tls;
use crate::position::{GtidSet, MariaDbGtidSet, MySqlGtidSet, Position};
use crate::source::feed::{Produced, Stop};
use crate::source::frame::{Resume, u32_at};
use crate::source::{Failure, Start};

/// Readings that search a position are numbered from here on, those of subscribers below.
const SEARCH_SLOTS: u32 = 1 << 20;

pub(crate) struct Server {
    pub(super) name: Arc<str>,
    pub(super) address: Address,
    pub(super) server_id: u32,
    pub(super) tls: Tls,
    session: Mutex<Option<Connection>>,
    searches: AtomicU32,
}

/// The global variables that decide how a server is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub mariadb: bool,
    pub version: String,
    variables: HashMap<String, String>,
}

impl Settings {
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
    pub(super) fn identity(&self) -> &str {
        let uuid = self.get("server_uuid");
        if uuid.is_empty() { self.get("server_id") } else { uuid }
    }

    fn is_on(&self, name: &str) -> bool {
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
    /// Connects, though it may be a server that cannot be followed.
    pub(crate) async fn connect(name: Arc<str>, address: Address, server_id: u32) -> Result<Server, Failure> {
        let tls = Tls::new(&address)?;
        let server = Server { name, address, server_id, tls, session: Mutex::new(None), searches: AtomicU32::new(SEARCH_SLOTS) };
        server.settings().await?;
        Ok(server)
    }

    /// Refuses a server that cannot be followed.
    pub(crate) async fn admit(self) -> Result<Server, Failure> {
        let settings = self.settings().await?;
        if let Some((problem, hint)) = settings.refused(self.server_id) {
            return Err(Failure::definite(problem, hint));
        }
        if let Some(other) = self.taken_by(&settings).await? {
            return Err(Failure::definite(
                format!("another replica, `{other}`, has the source's server_id {}", self.server_id),
                "give the source another `server_id`",
            ));
        }
        Ok(self)
    }

    /// Runs a statement on the session that is kept; a session that has died meanwhile is replaced once.
    pub(super) async fn query(&self, sql: &str) -> Result<Rows, Failure> {
        let mut session = self.session.lock().await;
        if let Some(mut kept) = session.take() {
            match kept.query(sql).await {
                Ok(rows) => {
                    *session = Some(kept);
                    return Ok(rows);
                }
                Err(Failure::Definite(error)) => {
                    *session = Some(kept);
                    return Err(Failure::Definite(error));
                }
                Err(Failure::Transient(_)) => {}
            }
        }
        let mut fresh = Connection::open(&self.address, &self.tls).await?;
        let rows = fresh.query(sql).await;
        *session = Some(fresh);
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

    /// The host name under which readings register.
    pub(super) fn reading_host(&self) -> String {
        format!("tidegate-{:08x}", u32_at(&self.digest(0), 4))
    }

    fn digest(&self, slot: u32) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.server_id.to_be_bytes());
        hash.update(slot.to_be_bytes());
        hash.update(self.name.as_bytes());
        hash.finalize().into()
    }

    /// The host of another replica that has registered with this source's server id.
    pub(super) async fn taken_by(&self, settings: &Settings) -> Result<Option<String>, Failure> {
        let sql = if !settings.mariadb && settings.version_number() >= 8_001 { "SHOW REPLICAS" } else { "SHOW SLAVE HOSTS" };
        let rows = match self.query(sql).await {
            Ok(rows) => rows,
            // Without the right to ask there is no answer; reading says so itself if it is refused.
            Err(Failure::Definite(_)) => return Ok(None),
            Err(transient) => return Err(transient),
        };
        let mine = self.server_id.to_string();
        let other = rows.iter().find(|row| row.at(0) == Some(&mine) && row.at(1) != Some(&self.reading_host()));
        Ok(other.map(|row| row.at(1).unwrap_or_default().to_owned()))
    }

    /// Where the server stands.
    pub(crate) async fn end(&self) -> Result<Position, Failure> {
        let settings = self.settings().await?;
        self.now(&settings).await
    }

    async fn now(&self, settings: &Settings) -> Result<Position, Failure> {
        let modern = !settings.mariadb && settings.version_number() >= 8_002;
        let rows = self.query(if modern { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }).await?;
        let row = rows.first().ok_or_else(|| Failure::definite("the server writes no binlog", "switch `log_bin` on"))?;
        let (file, offset) = (row.at(0).unwrap_or_default(), row.at(1).and_then(|o| o.parse().ok()).unwrap_or(4));
        let gtids = if settings.mariadb {
            Some(self.mariadb_gtids(file, offset).await?)
        } else if settings.has_gtids() {
            Some(mysql_set(row.get("Executed_Gtid_Set").unwrap_or_default())?)
        } else {
            None
        };
        Ok(Position { file: file.into(), offset, gtids })
    }

    async fn mariadb_gtids(&self, file: &str, offset: u64) -> Result<GtidSet, Failure> {
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

    /// Where a first start begins.
    pub(crate) async fn resolve(self: &Arc<Self>, start: &Start) -> Result<Position, Failure> {
        let settings = self.settings().await?;
        match start {
            Start::Now => self.now(&settings).await,
            Start::Position(position) => Ok(position.clone()),
            Start::Earliest => {
                let (file, _) = self.files().await?.swap_remove(0);
                let gtids = if settings.mariadb {
                    Some(self.mariadb_gtids(&file, 4).await?)
                } else if settings.has_gtids() {
                    Some(mysql_set(&self.purged().await?)?)
                } else {
                    None
                };
                Ok(Position { file: file.into(), offset: 4, gtids })
            }
            Start::Gtid(set) => {
                if !settings.has_gtids() {
                    return Err(Failure::definite("the server has no GTIDs (gtid_mode is not ON)", "start with a file and offset"));
                }
                let (file, _) = self.files().await?.swap_remove(0);
                Ok(Position { file: file.into(), offset: 4, gtids: Some(self.of_flavour(set.clone(), &settings)?) })
            }
            Start::File { file, offset } => {
                let files = self.files().await?;
                if !files.iter().any(|(name, size)| name == file && offset <= size) {
                    let (first, last) = (&files[0], &files[files.len() - 1]);
                    return Err(Failure::definite(
                        format!("the server has no {file}:{offset}; it has {} to {}:{}", first.0, last.0, last.1),
                        "start within what it has",
                    ));
                }
                if settings.mariadb {
                    let gtids = self.mariadb_gtids(file, (*offset).max(4)).await?;
                    return Ok(Position { file: file.as_str().into(), offset: (*offset).max(4), gtids: Some(gtids) });
                }
                self.search(file, Stop::Offset(*offset)).await
            }
            Start::Time(time_us) => {
                let files = self.files().await?;
                // The last file that began before; by halves, as there may be thousands.
                let (mut low, mut high) = (0, files.len());
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    if self.began_at(&files[middle].0).await? <= time_us.div_euclid(1_000_000) {
                        low = middle
                    } else {
                        high = middle
                    }
                }
                self.search(&files[low].0, Stop::Time(*time_us)).await
            }
        }
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

    async fn search(self: &Arc<Self>, file: &str, stop: Stop<'_>) -> Result<Position, Failure> {
        let mut dump = self.search_from(file);
        loop {
            match dump.next().await? {
                Produced::Entries(entries) => {
                    for entry in &entries {
                        if let Some(position) = stop.find(entry)? {
                            return Ok(without_empty_set(position));
                        }
                    }
                }
                Produced::Idle | Produced::Away(_) => {}
                Produced::End => {
                    stop.at_end(dump.position())?;
                    return Ok(without_empty_set(dump.position().clone()));
                }
            }
        }
    }

    /// Seconds since the epoch.
    async fn began_at(self: &Arc<Self>, file: &str) -> Result<i64, Failure> {
        let mut dump = self.search_from(file);
        loop {
            match dump.next().await? {
                Produced::Entries(entries) => {
                    if let Some((entry, event)) = entries.first().and_then(|e| Some((e, e.segment.events.first()?))) {
                        return Ok(i64::from(u32_at(&entry.segment.data, event.start)));
                    }
                }
                Produced::Idle | Produced::Away(_) => {}
                Produced::End => return Ok(i64::MAX),
            }
        }
    }

    fn search_from(self: &Arc<Self>, file: &str) -> Dump {
        let slot = self.searches.fetch_add(1, Ordering::Relaxed);
        Dump::new(self.clone(), Resume::at(Position { file: file.into(), offset: 4, gtids: None }), slot).until_end()
    }
}

/// Settings that reading depends on.
pub(super) const SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin','binlog_format','binlog_row_image',\
     'binlog_row_metadata','binlog_checksum','gtid_mode','server_id','server_uuid','binlog_expire_logs_seconds','expire_logs_days',\
     'binlog_row_value_options','encrypt_binlog')";

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

/// Where no GTID was seen, transactions may be older than GTIDs: file and offset tell more.
fn without_empty_set(position: Position) -> Position {
    Position { gtids: position.gtids.filter(|set| !set.is_empty()), ..position }
}

fn mysql_set(text: &str) -> Result<GtidSet, Failure> {
    // The server breaks the line after each comma.
    if text.trim().is_empty() { Ok(GtidSet::MySql(MySqlGtidSet::default())) } else { parse(text) }
}

fn parse(text: &str) -> Result<GtidSet, Failure> {
    GtidSet::parse(text)
        .map_err(|e| Failure::definite(format!("the server's GTID set is not understood: {e}"), "use a newer version"))
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).field("server_id", &self.server_id).finish_non_exhaustive()
    }
}
