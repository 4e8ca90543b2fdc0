//! `tidegate check` for a server: what would fail, or lose changes, once reading begins.

use super::server::{LOGS_LIKE, Server, Settings};
use crate::check::{Finding, Severity};
use crate::manifest::pattern::Patterns;
use crate::schema::followed::Followed;
use crate::source::{DefiniteError, Failure, TransientError};

/// Below this, a pipeline that stands still over a weekend loses its place.
const RETENTION_SECONDS_MIN: u64 = 3 * 24 * 3600;
/// Tables whose SELECT right is tried.
const TABLES_TRIED_MAX: usize = 1000;
/// Names in one message.
const NAMES_MAX: usize = 10;

impl Server {
    /// What would fail. `tables` are those that the manifest follows.
    pub(crate) async fn check(&self, tables: &Patterns) -> Vec<Finding> {
        let mut report = Report { subject: format!("source `{}`", self.name), findings: Vec::new() };
        let mut first: Option<(usize, Settings)> = None;
        for host in 0..self.hosts.len() {
            self.read_from(host);
            if self.hosts.len() > 1 {
                report.subject = format!("source `{}` at {}", self.name, self.place_of(host));
            }
            match self.check_current(tables, &mut report).await {
                Ok(settings) => match &first {
                    Some((_, first)) => check_alike(first, &settings, &mut report),
                    None => first = Some((host, settings)),
                },
                Err(Failure::Definite(error)) => report.error(error.problem, error.hint),
                Err(Failure::Transient(error)) => {
                    report.error(error.problem, "check `url`, and that the server runs and can be reached")
                }
            }
        }
        // Whoever asks on asks one that answers.
        self.read_from(first.map_or(0, |(host, _)| host));
        report.findings
    }

    async fn check_current(&self, tables: &Patterns, report: &mut Report) -> Result<Settings, Failure> {
        let settings = self.settings().await?;
        self.check_settings(&settings, report);
        if self.hosts.len() > 1 {
            check_going_over(&settings, report);
        }
        if let Some(other) = self.other_replica(&settings).await?
            && let Failure::Definite(error) = self.taken(&other)
        {
            report.error(error.problem, error.hint);
        }
        self.check_grants(&settings, report).await?;
        self.check_signal(&settings, tables, report).await;
        self.check_tables(tables, report).await?;
        Ok(settings)
    }

    /// A table that is written to where there are no GTIDs.
    async fn check_signal(&self, settings: &Settings, tables: &Patterns, report: &mut Report) {
        let Some(signal) = &self.signal else { return };
        let table = &signal.table;
        if tables.matches(&table.schema, &table.table) {
            let hint = format!("add \"!{table}\" to `tables`");
            report.error(format!("`snapshot.signal_table` {table} is among the followed tables"), hint);
        }
        if settings.has_gtids() {
            return;
        }
        // Asks for the rights of the statement, and writes nothing.
        if let Err(Failure::Definite(DefiniteError { problem, .. }) | Failure::Transient(TransientError { problem })) =
            self.query(&format!("EXPLAIN {}", signal.sql)).await
        {
            let hint = format!(
                "CREATE TABLE {table} (id INT PRIMARY KEY, n BIGINT NOT NULL); GRANT INSERT, UPDATE, SELECT ON {table} TO \
                 '{}'@'…'",
                self.user()
            );
            report.error(format!("`snapshot.signal_table` cannot be written to: {problem}"), hint);
        }
        if !settings.orders_commits() {
            report.warning(
                "binlog_order_commits is OFF: `snapshot.signal_table` is of no use, and rows are locked for the time of one SELECT while tables \
                 are read"
                    .into(),
                "SET PERSIST binlog_order_commits = ON",
            );
        }
    }

    fn user(&self) -> &str {
        &self.hosts[self.current()].address.user
    }

    fn check_settings(&self, settings: &Settings, report: &mut Report) {
        if let Some((problem, hint)) = settings.refused(self.server_id) {
            report.error(problem, hint);
        }
        let set = settings.set();
        let image = settings.get("binlog_row_image");
        let is_full = image.is_empty() || image.eq_ignore_ascii_case("FULL");
        if !is_full {
            report.warning(
                format!(
                    "binlog_row_image is {image}: changes hold only some of the columns; a row whose key changes stops the pipeline, and \
                     with a SQL sink so does a new row without a column whose default is not known for sure"
                ),
                format!("{set} binlog_row_image = 'FULL'"),
            );
        }
        let metadata = settings.get("binlog_row_metadata");
        if metadata.is_empty() {
            report.warning(
                "the server has no binlog_row_metadata: names of columns come from its tables and from the statements that alter them".into(),
                "use MySQL 8.0 or MariaDB 10.5 and later, whose binlog has the names",
            );
        } else if !metadata.eq_ignore_ascii_case("FULL") {
            report.warning(
                format!("binlog_row_metadata is {metadata}: names of columns come from the tables and from the statements that alter them"),
                format!("{set} binlog_row_metadata = 'FULL'"),
            );
        }
        if settings.get("binlog_row_value_options").contains("PARTIAL_JSON") && !is_full {
            report.warning(
                "binlog_row_value_options is PARTIAL_JSON: changes hold parts of JSON values without the values before them".into(),
                "SET PERSIST binlog_row_value_options = ''",
            );
        }
        let seconds = match settings.get("binlog_expire_logs_seconds").parse::<u64>() {
            Ok(seconds) if seconds > 0 => Some(seconds),
            _ => settings.get("expire_logs_days").parse::<f64>().ok().filter(|d| *d > 0.0).map(|d| (d * 86_400.0) as u64),
        };
        if let Some(seconds) = seconds.filter(|s| *s < RETENTION_SECONDS_MIN) {
            let kept = if seconds < 7200 { format!("{} minutes", seconds / 60) } else { format!("{} hours", seconds / 3600) };
            report.warning(
                format!("binlogs are kept for {kept} only; a pipeline that stands still for longer loses its place"),
                format!("{set} binlog_expire_logs_seconds = 604800"),
            );
        }
        if !settings.has_gtids() {
            report.warning(
                "gtid_mode is not ON: positions are files and offsets, which mean nothing to another server after a failover"
                    .into(),
                "switch gtid_mode to ON, in the steps of the manual",
            );
            if self.signal.is_none() {
                let problem = "gtid_mode is not ON: where tables are read (`start = \"snapshot\"`, `tidegate snapshot`), each chunk takes \
                               shared locks of its rows for the time of one SELECT, and whoever writes to them waits";
                let hint = "switch gtid_mode to ON, or give the account a table to write to, `snapshot.signal_table`: nothing is locked \
                            then; or make `snapshot.chunk_rows` smaller, so that locks are held for less time";
                report.warning(problem.into(), hint);
            }
        }
    }

    async fn check_grants(&self, settings: &Settings, report: &mut Report) -> Result<(), Failure> {
        let rows = self.query("SHOW GRANTS").await?;
        let grants: Vec<String> = rows.iter().filter_map(|row| row.at(0)).map(str::to_ascii_uppercase).collect();
        let everywhere = |right: &str| grants.iter().any(|g| has_right(g, right));
        // A role's rights are not listed.
        let roles = grants.iter().any(|g| !g.contains(" ON ") && g.starts_with("GRANT "));
        let wanted: [(&str, &[&str]); 2] = [
            ("REPLICATION SLAVE", &["REPLICATION SLAVE"]),
            if settings.mariadb && settings.version_number() >= 10_005 {
                ("BINLOG MONITOR", &["BINLOG MONITOR", "REPLICATION CLIENT"])
            } else {
                ("REPLICATION CLIENT", &["REPLICATION CLIENT"])
            },
        ];
        for (name, any) in wanted {
            if any.iter().any(|right| everywhere(right)) {
                continue;
            }
            let hint = format!("GRANT {name} ON *.* TO {}", account(self.user()));
            if roles {
                report.warning(format!("the account has {name} only if one of its roles has"), hint);
            } else {
                report.error(format!("the account has not the right {name}"), hint);
            }
        }
        Ok(())
    }

    /// The followed tables that the account may see.
    pub(crate) async fn tables(&self, tables: &Patterns) -> Result<Vec<(String, String)>, Failure> {
        Ok(self.tables_and_helpers(tables).await?.0)
    }

    /// The followed tables, and those that the patterns take as well but are left out.
    async fn tables_and_helpers(&self, tables: &Patterns) -> Result<(Vec<(String, String)>, Vec<(String, String)>), Failure> {
        let sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA \
             NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema') ORDER BY TABLE_SCHEMA, TABLE_NAME";
        let rows = self.query(sql).await?;
        let all = rows.iter().filter_map(|row| Some((row.at(0)?.to_owned(), row.at(1)?.to_owned())));
        let followed = Followed::new(tables);
        let all = all.filter(|(schema, table)| tables.matches(schema, table));
        Ok(all.partition(|(schema, table)| followed.follows(schema, table)))
    }

    async fn check_tables(&self, tables: &Patterns, report: &mut Report) -> Result<(), Failure> {
        let (followed, helpers) = self.tables_and_helpers(tables).await?;
        if !helpers.is_empty() {
            let names: Vec<String> = helpers.iter().take(NAMES_MAX).map(|(schema, table)| format!("{schema}.{table}")).collect();
            let more = if helpers.len() > NAMES_MAX { ", …" } else { "" };
            report.warning(
                format!(
                    "tables are left out, as by their names gh-ost or pt-online-schema-change made them: {}{more}",
                    names.join(", ")
                ),
                "write their whole names into `tables` if they are to be followed",
            );
        }
        if followed.is_empty() {
            report.error(
                "no table that the account may see is taken by `tables`",
                "check the patterns (capital letters matter), and GRANT SELECT on the tables",
            );
        }
        for (schema, table) in tables.named_tables() {
            // Who names nothing that exists was told above.
            if !followed.is_empty() && !followed.iter().any(|(s, t)| *s == schema && *t == table) {
                report.warning(
                    format!("no table {schema}.{table} that the account may see, which `tables` names"),
                    "check the name (capital letters matter), create the table, or GRANT SELECT on it",
                );
            }
        }
        for (schema, table) in followed.iter().take(TABLES_TRIED_MAX) {
            let name = format!("{schema}.{table}");
            // Of single columns that the account may read, information_schema shows no others.
            let sql = format!("SELECT * FROM {}.{} LIMIT 0", identifier(schema), identifier(table));
            if let Err(Failure::Definite(error)) = self.query(&sql).await {
                let hint = format!("GRANT SELECT ON {}.{} TO {}", identifier(schema), identifier(table), account(self.user()));
                report.error(format!("table {name} cannot be read: {}", error.problem), hint);
            }
        }
        Ok(())
    }
}

/// Whether reading can go over to a server, and from it.
fn check_going_over(settings: &Settings, report: &mut Report) {
    if !settings.has_gtids() {
        let hint = "switch gtid_mode to ON, in the steps of the manual, or name one server with `url`";
        report.error("gtid_mode is not ON: reading cannot go over to another server of `urls`", hint);
    }
    if !settings.logs_replicated() {
        report.warning(
            "log_replica_updates is off: as a replica, the server does not log what it replicates, and cannot be read".to_owned(),
            "set log_replica_updates = ON (log_slave_updates at older servers and MariaDB), and restart the server",
        );
    }
    if settings.mariadb && !settings.is_on("gtid_strict_mode") {
        report.warning(
            "gtid_strict_mode is off: the server takes transactions out of the order of their sequence numbers, by which servers are compared"
                .to_owned(),
            "SET GLOBAL gtid_strict_mode = ON",
        );
    }
}

/// Servers of one source log alike, so that reading can go over in the middle of a transaction.
fn check_alike(first: &Settings, other: &Settings, report: &mut Report) {
    if first.mariadb != other.mariadb {
        report.error("MySQL and MariaDB servers are no replication of one source", "name servers of one kind in `urls`");
        return;
    }
    for name in LOGS_LIKE {
        let (before, now) = (first.get(name), other.get(name));
        if before != now {
            report.warning(format!("{name} is `{now}`, and `{before}` at the first server that answers"), "set it alike at both");
        }
    }
}

struct Report {
    subject: String,
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, severity: Severity, problem: String, hint: String) {
        self.findings.push(Finding { severity, subject: self.subject.clone(), problem, hint });
    }

    fn error(&mut self, problem: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Error, problem.into(), hint.into());
    }

    fn warning(&mut self, problem: String, hint: impl Into<String>) {
        self.add(Severity::Warning, problem, hint.into());
    }
}

/// Whether a line of SHOW GRANTS, in capitals, gives a right on everything.
fn has_right(grant: &str, right: &str) -> bool {
    let Some((rights, on)) = grant.strip_prefix("GRANT ").and_then(|g| g.split_once(" ON ")) else { return false };
    on.starts_with("*.*") && rights.split(',').any(|r| matches!(r.trim(), "ALL PRIVILEGES" | "ALL") || r.trim() == right)
}

fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn account(user: &str) -> String {
    format!("'{}'", user.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_found_in_grants() {
        assert!(has_right("GRANT SELECT, REPLICATION SLAVE ON *.* TO `A`@`%`", "REPLICATION SLAVE"));
        assert!(has_right("GRANT ALL PRIVILEGES ON *.* TO `A`@`%` WITH GRANT OPTION", "REPLICATION SLAVE"));
        assert!(!has_right("GRANT ALL PRIVILEGES ON `SHOP`.* TO `A`@`%`", "REPLICATION SLAVE"));
        assert!(!has_right("GRANT REPLICATION SLAVE ADMIN ON *.* TO `A`@`%`", "REPLICATION SLAVE"));
        assert!(!has_right("GRANT `ROLE`@`%` TO `A`@`%`", "REPLICATION SLAVE"));
    }
}
