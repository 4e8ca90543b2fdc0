//! What an error of `mysql_async` or of the server means for the lane.
//!
//! The server's message is repeated only where it holds no row values. Numbers: MySQL 9 manual, "Server Error Message Reference";
//! MariaDB knowledge base, "MariaDB Error Code Reference".

use mysql_async::{Error, IoError};

use super::super::Failure;

/// `Column '…' cannot be null`, by which the guard of an upsert speaks.
pub(super) const BAD_NULL: u16 = 1048;

pub(super) fn is_bad_null(e: &Error) -> bool {
    matches!(e, Error::Server(server) if server.code == BAD_NULL)
}

pub(super) fn failure(e: &Error) -> Failure {
    match e {
        Error::Server(server) => of_server(server.code, &server.state, &server.message),
        Error::Io(IoError::Tls(e)) => tls(e),
        // rustls hands its errors over as I/O errors.
        Error::Io(IoError::Io(e)) if e.kind() == std::io::ErrorKind::InvalidData => tls(e),
        Error::Io(IoError::Io(e)) => Failure::Retry(format!("connection: {e}")),
        Error::Driver(e) => Failure::Retry(format!("connection: {e}")),
        Error::Other(e) => Failure::Retry(format!("connection: {e}")),
        Error::Url(_) => {
            Failure::configuration("the URL cannot be read", "mysql://USER@HOST[:PORT]/DATABASE; special characters as %XX")
        }
    }
}

fn tls(e: &dyn std::fmt::Display) -> Failure {
    Failure::configuration(
        format!("TLS: {e}"),
        "give `ca` the certificates that sign the server's, or set tls = \"encrypt\" to believe whoever answers",
    )
}

/// By error number, then by the class of the SQL state.
fn of_server(code: u16, state: &str, message: &str) -> Failure {
    let at = || quoted_name(message).map(|name| format!(", `{name}`")).unwrap_or_default();
    let row = |what: &str| Failure::Row { at: None, reason: format!("{what}{} (error {code})", at()) };
    let retry = |what: &str| Failure::Retry(format!("{what} (error {code})"));
    let stop = |hint: &str| Failure::configuration(format!("{message} (error {code})"), hint);
    match code {
        1022 | 1062 | 1169 | 1557 | 1586 | 1761 | 1762 => {
            Failure::Conflict(format!("duplicate value in a unique key{} (error {code})", at()))
        }
        1216 | 1217 | 1451 | 1452 => Failure::Conflict(format!("a foreign key is in the way (error {code})")),
        1205 => retry("lock wait timeout"),
        1213 | 1614 | 3058 | 3101 | 3572 => retry("deadlock or rolled back by the server"),
        1020 => retry("the row was changed at the same time"),
        1040 | 1203 | 1226 => retry("too many connections"),
        1053 | 1077 | 1079 | 1080 | 1152 | 1158 | 1159 | 1160 | 1161 | 1184 | 1189 | 1190 | 1927 | 3159 | 4031 => {
            retry("connection lost")
        }
        1290 | 1792 | 1836 => retry("the target is read-only"),
        1317 | 1969 | 3024 => retry("the statement was interrupted"),
        1021 | 1030 | 1037 | 1038 | 1041 | 1114 | 1206 | 1297 | 1461 | 3675 => retry("the target is out of a resource"),
        1243 | 1615 => retry("the prepared statement is gone"),
        BAD_NULL | 1263 | 1364 => row("no value for a column that must have one"),
        1406 | 1162 | 1118 | 1153 => row("too long"),
        1264 | 1690 | 1416 | 1367 => row("out of range or not a value of the column's type"),
        1265 | 1292 | 1366 | 1411 | 1441 | 1525 => row("not a value of the column's type"),
        3140 | 3141 | 3143 | 3144 | 3155 | 3156 | 3157 | 3158 => row("not JSON as the target takes it"),
        3037 | 3055 | 3516 | 3617 | 3643 | 3731 | 3732 | 4079 => row("not a geometry as the target takes it"),
        3819 | 4025 => row("a CHECK constraint is violated"),
        1526 | 1591 | 1748 => row("no partition for the row"),
        1644 => row("a trigger refused the row"),
        1045 => stop("check user and password of the sink"),
        1044 | 1046 => stop("check user and database of `url`"),
        1049 => stop("CREATE DATABASE, or check the end of `url`"),
        1142 | 1143 | 1227 | 1370 => stop("grant SELECT, INSERT, UPDATE and DELETE on the target (and CREATE with create = true)"),
        1146 => stop("create the table, or set create = true"),
        1054 => stop("add the column to the target table, or drop it in a plugin"),
        _ => match state.get(..2) {
            Some("08") => retry("connection lost"),
            Some("22") => row("not a value that the target takes"),
            Some("23") => Failure::Conflict(format!("a constraint is in the way (error {code})")),
            Some("40") => retry("rolled back by the server"),
            _ => Failure::configuration(
                format!("{} (error {code}, state {state})", without_values(message)),
                "look up the error in the server's manual",
            ),
        },
    }
}

/// The name of a column or key out of `… for column 'c' at row 1`, `… for key 't.k'`, `Column 'c' cannot be null`,
/// `Field 'c' doesn't have a default value`, `constraint 'k' is violated`. Values come before it in these messages, so the last mark counts.
pub(super) fn quoted_name(message: &str) -> Option<&str> {
    let after_mark = ["for column '", "for key '", "CONSTRAINT `", "constraint '"]
        .iter()
        .find_map(|m| message.rfind(m).map(|at| &message[at + m.len()..]));
    let rest = after_mark.or_else(|| message.strip_prefix("Column '")).or_else(|| message.strip_prefix("Field '"))?;
    rest.split(['\'', '`']).next().filter(|name| !name.is_empty() && name.len() <= 200)
}

/// The message with everything in quotes left out.
fn without_values(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut quote = None;
    for c in message.chars() {
        match quote {
            None => {
                out.push(c);
                if matches!(c, '\'' | '"') {
                    quote = Some(c);
                    out.push('…');
                }
            }
            Some(q) if c == q => {
                out.push(c);
                quote = None;
            }
            Some(_) => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: u16, state: &str, message: &str) -> (&'static str, String) {
        match of_server(code, state, message) {
            Failure::Retry(text) => ("retry", text),
            Failure::Conflict(text) => ("conflict", text),
            Failure::Row { reason, .. } => ("row", reason),
            Failure::Configuration { reason, .. } => ("configuration", reason),
        }
    }

    #[test]
    fn errors_are_of_their_class_and_hold_no_values() {
        for (code, state, message, expected) in [
            (1062, "23000", "Duplicate entry 'bob' for key 'users.email'", "conflict"),
            (
                1451,
                "23000",
                "Cannot delete or update a parent row: a foreign key constraint fails (`d`.`c`, CONSTRAINT `f` …)",
                "conflict",
            ),
            (1452, "23000", "Cannot add or update a child row: a foreign key constraint fails", "conflict"),
            (1205, "HY000", "Lock wait timeout exceeded; try restarting transaction", "retry"),
            (1213, "40001", "Deadlock found when trying to get lock; try restarting transaction", "retry"),
            (1040, "08004", "Too many connections", "retry"),
            (1290, "HY000", "The MySQL server is running with the --read-only option so it cannot execute this statement", "retry"),
            (1406, "22001", "Data too long for column 'note' at row 3", "row"),
            (1264, "22003", "Out of range value for column 'n' at row 1", "row"),
            (1366, "HY000", "Incorrect string value: 'bob' for column 'c' at row 1", "row"),
            (3819, "HY000", "Check constraint 'positive' is violated.", "row"),
            (1048, "23000", "Column 'c' cannot be null", "row"),
            (1146, "42S02", "Table 'd.t' doesn't exist", "configuration"),
            (1054, "42S22", "Unknown column 'c' in 'field list'", "configuration"),
            (1045, "28000", "Access denied for user 'u'@'h' (using password: YES)", "configuration"),
            (1142, "42000", "INSERT command denied to user 'u'@'h' for table 't'", "configuration"),
            (9999, "40000", "x", "retry"),
            (9999, "22000", "value 'bob'", "row"),
            (9999, "HY000", "what about 'bob'?", "configuration"),
        ] {
            let (class, text) = class(code, state, message);
            assert_eq!(class, expected, "{code} {message}");
            assert!(!text.contains("bob"), "{text}");
        }
    }

    #[test]
    fn names_are_found_after_the_values() {
        assert_eq!(quoted_name("Duplicate entry 'x' for key 'a' for key 't.k'"), Some("t.k"));
        assert_eq!(quoted_name("Data too long for column 'note' at row 3"), Some("note"));
        assert_eq!(quoted_name("Column 'id' cannot be null"), Some("id"));
        assert_eq!(quoted_name("Lost connection"), None);
    }
}
