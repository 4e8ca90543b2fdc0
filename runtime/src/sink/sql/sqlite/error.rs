//! What an error of SQLite means for the lane. SQLite's messages name tables and columns, never values. Numbers: sqlite.org/rescode.html.

use super::super::Failure;

pub(super) fn failure(e: &sqlx::Error) -> Failure {
    let sqlx::Error::Database(e) = e else { return Failure::Retry(format!("SQLite: {e}")) };
    let code = e.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(1);
    of_code(code, e.message())
}

/// A failure of a statement of one row is about that row.
pub(super) fn at(failure: Failure, rows: usize, at: usize) -> Failure {
    match failure {
        Failure::Row { at: None, reason } if rows == 1 => Failure::row(at, reason),
        other => other,
    }
}

/// By extended result code, then by its primary part.
fn of_code(code: u32, message: &str) -> Failure {
    let text = format!("{message} (SQLite error {code})");
    let stop = |hint: &str| Failure::configuration(text.clone(), hint);
    match (code, code & 0xff) {
        // FOREIGNKEY, PRIMARYKEY, UNIQUE, ROWID
        (787 | 1555 | 2067 | 2579, _) => Failure::Conflict(text),
        // TOOBIG, CONSTRAINT (CHECK, NOTNULL, DATATYPE, TRIGGER), MISMATCH
        (_, 18..=20) => Failure::Row { at: None, reason: text },
        // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, PROTOCOL, SCHEMA
        (_, 5 | 6 | 7 | 9 | 10 | 13 | 15 | 17) => Failure::Retry(text),
        // READONLY, CANTOPEN, PERM, AUTH
        (_, 8 | 14 | 3 | 23) => stop("give this user the right to read and write the file and its folder"),
        // CORRUPT, NOTADB, FORMAT
        (_, 11 | 26 | 24) => stop("the file is damaged or not an SQLite database: restore it, or name another one"),
        _ => stop("look at the table's definition: a column may be missing, or a trigger wrong"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_of_their_class() {
        for code in [787, 1555, 2067, 2579] {
            assert!(matches!(of_code(code, ""), Failure::Conflict(_)), "{code}");
        }
        for code in [275, 1299, 3091, 1811, 20, 18] {
            assert!(matches!(of_code(code, ""), Failure::Row { .. }), "{code}");
        }
        for code in [5, 517, 6, 10, 266, 13] {
            assert!(matches!(of_code(code, ""), Failure::Retry(_)), "{code}");
        }
        for code in [1, 8, 14, 11, 26] {
            assert!(matches!(of_code(code, ""), Failure::Configuration { .. }), "{code}");
        }
    }
}
