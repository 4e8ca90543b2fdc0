//! What an error of `sqlx` or of the server means for the lane.
//!
//! The server's message is repeated only where it holds no row values; SQL states: PostgreSQL manual, appendix A.

use sqlx::postgres::PgDatabaseError;

use super::super::Failure;

pub(super) fn failure(e: &sqlx::Error) -> Failure {
    match e {
        sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>() {
            Some(e) => of_state(e.code(), e.message(), e.column().or(e.constraint())),
            None => Failure::Retry("the server's answer cannot be read".to_owned()),
        },
        sqlx::Error::Tls(e) => Failure::configuration(
            format!("TLS: {e}"),
            "give `ca` the certificates that sign the server's, or set tls = \"encrypt\" to believe whoever answers",
        ),
        sqlx::Error::Configuration(e) => Failure::configuration(format!("{e}"), "look at the sink's settings in the manifest"),
        sqlx::Error::Io(e) => Failure::Retry(format!("connection: {e}")),
        other => Failure::Retry(format!("connection: {other}")),
    }
}

/// A failure of a statement of one row is about that row.
pub(super) fn at(failure: Failure, rows: usize, at: usize) -> Failure {
    match failure {
        Failure::Row { at: None, reason } if rows == 1 => Failure::row(at, reason),
        other => other,
    }
}

/// By SQL state, then by its class. `object` is the column or constraint, if the server names one.
fn of_state(state: &str, message: &str, object: Option<&str>) -> Failure {
    let at = object.map(|o| format!(", `{o}`")).unwrap_or_default();
    let row = |what: &str| Failure::Row { at: None, reason: format!("{what}{at} (SQL state {state})") };
    let conflict = |what: &str| Failure::Conflict(format!("{what}{at} (SQL state {state})"));
    let retry = |what: &str| Failure::Retry(format!("{what} (SQL state {state})"));
    let stop = |hint: &str| Failure::configuration(format!("{message} (SQL state {state})"), hint);
    match state {
        "23505" => conflict("duplicate value in a unique key"),
        "23503" | "23001" => conflict("a foreign key is in the way"),
        "23P01" => conflict("an exclusion constraint is in the way"),
        // Two rows of one statement are one key at the target: row by row they are written one after the other.
        "21000" => conflict("two keys of the source are one key at the target"),
        "23502" => row("no value for a column that must have one"),
        "23514" => row("a CHECK constraint is violated"),
        "22001" => row("too long"),
        "22003" => row("out of range"),
        "25006" => retry("the target is read-only"),
        "26000" | "0A000" if message.contains("cached plan") => retry("the prepared statement is out of date"),
        "55P03" | "57014" => retry("lock timeout or interrupted"),
        "28000" | "28P01" => stop("check user and password of the sink"),
        "3D000" => stop("CREATE DATABASE, or check the end of `url`"),
        "42501" => stop(
            "GRANT SELECT, INSERT, UPDATE, DELETE on the target table, and USAGE on its schema; with create = true: GRANT CREATE ON SCHEMA … TO the user",
        ),
        "42P01" | "3F000" => stop("create the table, or set create = true; a schema has to be there: CREATE SCHEMA"),
        "42703" => stop("add the column to the target table, or drop it in a plugin"),
        "42P10" => stop("add a primary or unique key of the source's key columns to the target table"),
        "42804" | "42846" | "42883" => stop("the target column's type cannot take the source's: compare docs/types.md"),
        "54000" => row("too large for the target"),
        _ => match state.get(..2) {
            Some("08") => retry("connection lost"),
            Some("40") => retry("deadlock or rolled back by the server"),
            Some("53") => retry("the target is out of a resource"),
            Some("57") => retry("the target is stopping or starting"),
            Some("58") => retry("the target has a system error"),
            Some("22") => row("not a value of the column's type"),
            Some("23") => conflict("a constraint is in the way"),
            Some("P0") => row("a trigger or function refused the row"),
            Some("28" | "3D" | "3F" | "42") => stop("compare the target table with the source's"),
            _ => Failure::configuration(
                format!("the server refused the statement (SQL state {state})"),
                "look into the server's log",
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_of_their_class_and_hold_no_values() {
        for (state, expected) in [
            ("23505", "conflict"),
            ("23503", "conflict"),
            ("21000", "conflict"),
            ("23514", "row"),
            ("22P02", "row"),
            ("22001", "row"),
            ("22021", "row"),
            ("40P01", "retry"),
            ("40001", "retry"),
            ("57P01", "retry"),
            ("53300", "retry"),
            ("25006", "retry"),
            ("08006", "retry"),
            ("42P01", "configuration"),
            ("42501", "configuration"),
            ("28P01", "configuration"),
            ("XX000", "configuration"),
        ] {
            let holds_values = matches!(expected, "row" | "conflict") || state == "XX000";
            let message = if holds_values { "invalid input syntax for type integer: \"bob\"" } else { "message" };
            let (class, text) = match of_state(state, message, Some("t_u")) {
                Failure::Retry(text) => ("retry", text),
                Failure::Conflict(text) => ("conflict", text),
                Failure::Row { reason, .. } => ("row", reason),
                Failure::Configuration { reason, .. } => ("configuration", reason),
            };
            assert_eq!(class, expected, "{state}");
            assert!(!text.contains("bob"), "{text}");
        }
    }
}
