//! What the server's error numbers mean for a reading: try again, or say how to mend it.

use crate::source::Failure;

/// The reading was refused because what it asks for is not there (ER_SOURCE_FATAL_ERROR_READING_BINLOG).
pub(super) const FATAL_READING: u16 = 1236;

const SAME_SERVER_ID: &str = "another replica, or another Tidegate with another data_dir, has the same server id: give the source another \
     `server_id`";

/// From an ERR packet. The server's text holds no row values and no passwords.
pub(super) fn of_server(code: u16, text: &str, server: &str) -> Failure {
    let problem = format!("{server} says: {text} (error {code})");
    let hint = match code {
        // Too many connections, shutdown, network errors, lock timeout, deadlock, too many of this user, killed.
        1040 | 1053 | 1077..=1079 | 1152..=1161 | 1184 | 1203 | 1205 | 1213 | 1226 | 1317 | 1927 | 3169 => {
            return Failure::transient(problem);
        }
        1045 | 1698 | 3159 => {
            "check user and password in the manifest, and that the account may log in from this host (and without TLS)"
        }
        1129 => "unblock this host at the server: FLUSH HOSTS",
        1130 => "create the account for this host: CREATE USER 'USER'@'HOST'",
        1820 | 1862 => "the password has expired: ALTER USER … IDENTIFIED BY …",
        3118 | 4151 => "unlock the account: ALTER USER … ACCOUNT UNLOCK",
        1142 | 1143 => "GRANT the account this right on the whole table, not on single columns of it",
        1044 | 1227 => "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO the account, and SELECT on the tables",
        1251 | 2059 => "use an account with caching_sha2_password, mysql_native_password or (MariaDB) ed25519",
        // MariaDB; MySQL says it as an error of reading.
        4052 => SAME_SERVER_ID,
        FATAL_READING => return fatal_reading(&problem, text),
        _ => "look the number up in the server's manual",
    };
    Failure::definite(problem, hint)
}

fn fatal_reading(problem: &str, text: &str) -> Failure {
    let has = |part: &str| text.contains(part);
    let purged = has("purged") || has("Could not find first log file") || has("too old");
    let hint = if purged {
        "the transactions after the cursor are not in the binlogs any more; begin again at the `start` of the source with `tidegate \
         cursor reset PIPELINE`, or, where what is missing is no loss, go on at the first that is left with `tidegate cursor set \
         PIPELINE earliest`"
    } else if has("AUTO_POSITION") || has("anonymous transaction") {
        "transactions without GTIDs follow the cursor: set gtid_mode = ON_PERMISSIVE at the server until the pipeline has read them"
    } else if has("server_uuid") || has("server_id") || has("server id") {
        SAME_SERVER_ID
    } else if has("checksum") {
        "the binlog is damaged, or the network is: check the file at the server with `mysqlbinlog --verify-binlog-checksum`"
    } else if has("max_allowed_packet") {
        "raise max_allowed_packet at the server, to 1G at most; a larger event no server sends: copy the binlogs and read them with a source \
         `binlog-files`, or go on behind it with `tidegate cursor set PIPELINE …` and read its table again with `tidegate snapshot`"
    } else if has("more GTIDs than") || has("not in the master's binlog") || has("not in the primary's binlog") {
        "the cursor is ahead of this server: it is another server, or lost transactions; compare, then `tidegate cursor set PIPELINE …`"
    } else if has("impossible position") || has("not exist") {
        "the cursor is of another server, or the binlog was reset; begin anew with `tidegate cursor reset PIPELINE`"
    } else {
        "if the cursor is of another server: `tidegate cursor reset PIPELINE`"
    };
    Failure::definite(problem, hint)
}
