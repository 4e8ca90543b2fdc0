//! QUERY events: a statement's text, and what its session meant by it.
//!
//! Format: MySQL source `libs/mysql/binlog/event/statement_events.h`, class `Query_event`: thread 4, seconds 4, length of the schema 1,
//! error 2, length of the status variables 2, status variables (code 1, value), schema, 0, text.

use std::borrow::Cow;

use super::event::{Reader, Truncated};
use super::values::charset::Charset;

/// EXECUTE_LOAD_QUERY has a file id 4, two positions 4 and a duplicate rule 1 before its status variables.
pub const LOAD_QUERY_EXTRA: usize = 13;

#[derive(Debug)]
pub struct Query<'a> {
    /// The default schema; may be empty.
    pub schema: Cow<'a, str>,
    pub text: Cow<'a, str>,
    /// With which it ended at the source; 0: it succeeded.
    pub error: u16,
    pub sql_mode: u64,
    /// collation_server of the session; 0: not told.
    pub server_collation: u16,
    /// Default collations of character sets that the session has chosen: by the collation that they replace.
    pub collations: Vec<(u16, u16)>,
    /// False: an ALTER TABLE that only begins here, or is taken back (MariaDB, `binlog_alter_two_phase`).
    pub takes_effect: bool,
}

/// Parses a body (after the header). `extra`: bytes more before the status variables.
pub fn parse(body: &[u8], extra: usize) -> Result<Query<'_>, Truncated> {
    let mut reader = Reader::new(body);
    reader.bytes(8)?;
    let schema_len = usize::from(reader.u8()?);
    let error = reader.u16()?;
    let variables_len = usize::from(reader.u16()?);
    reader.bytes(extra)?;
    let variables = reader.bytes(variables_len)?;
    let schema = String::from_utf8_lossy(reader.bytes(schema_len)?);
    reader.u8()?;
    let text = reader.bytes(reader.len())?;
    let mut query =
        Query { schema, text: Cow::default(), error, sql_mode: 0, server_collation: 0, collations: Vec::new(), takes_effect: true };
    let mut client = 0;
    // Variables of later servers come behind those that are known; what they say is not needed.
    let _ = query.variables(Reader::new(variables), &mut client);
    query.text = utf8(text, client);
    Ok(query)
}

impl Query<'_> {
    /// `client`: the collation of the text.
    fn variables(&mut self, mut reader: Reader<'_>, client: &mut u16) -> Result<(), Truncated> {
        let lenenc_text = |reader: &mut Reader<'_>| {
            let len = reader.u8()?;
            reader.bytes(usize::from(len)).map(|_| ())
        };
        while !reader.is_empty() {
            match reader.u8()? {
                // Q_FLAGS2, Q_AUTO_INCREMENT, Q_MASTER_DATA_WRITTEN
                0 | 3 | 10 => drop(reader.bytes(4)?),
                // Q_SQL_MODE
                1 => {
                    let (low, high) = (reader.u32()?, reader.u32()?);
                    self.sql_mode = u64::from(low) | u64::from(high) << 32;
                }
                // Q_CATALOG, with a 0 behind it
                2 => {
                    lenenc_text(&mut reader)?;
                    reader.u8()?;
                }
                // Q_CHARSET: client, connection, server
                4 => {
                    *client = reader.u16()?;
                    reader.u16()?;
                    self.server_collation = reader.u16()?;
                }
                // Q_TIME_ZONE, Q_CATALOG_NZ
                5 | 6 => lenenc_text(&mut reader)?,
                // Q_LC_TIME_NAMES, Q_CHARSET_DATABASE
                7 | 8 => drop(reader.u16()?),
                // Q_TABLE_MAP_FOR_UPDATE, Q_COMMIT_TS, Q_COMMIT_TS2, Q_DDL_LOGGED_WITH_XID, MariaDB's Q_XID
                9 | 14 | 15 | 17 | 129 => drop(reader.bytes(8)?),
                // Q_INVOKER: user, host
                11 => {
                    lenenc_text(&mut reader)?;
                    lenenc_text(&mut reader)?;
                }
                // Q_UPDATED_DB_NAMES: how many (254: too many to say), each with a 0 behind it
                12 => {
                    let count = reader.u8()?;
                    for _ in 0..if count == 254 { 0 } else { count } {
                        while reader.u8()? != 0 {}
                    }
                }
                // Q_MICROSECONDS, MariaDB's Q_HRNOW
                13 | 128 => drop(reader.bytes(3)?),
                // MariaDB's Q_GTID_FLAGS3: which end of a long ALTER it is; the second one names the first
                130 => {
                    let flags = reader.u8()?;
                    if flags & (COMMIT_ALTER | ROLLBACK_ALTER) != 0 {
                        reader.bytes(8)?;
                    }
                    self.takes_effect = flags & (START_ALTER | ROLLBACK_ALTER) == 0;
                }
                // MariaDB's Q_CHARACTER_SET_COLLATIONS: how many, each a default and what replaces it
                131 => {
                    for _ in 0..reader.u8()? {
                        let pair = (reader.u16()?, reader.u16()?);
                        self.collations.push(pair);
                    }
                }
                // Q_EXPLICIT_DEFAULTS_FOR_TIMESTAMP, Q_SQL_REQUIRE_PRIMARY_KEY, Q_DEFAULT_TABLE_ENCRYPTION
                16 | 19 | 20 => drop(reader.u8()?),
                // Q_DEFAULT_COLLATION_FOR_UTF8MB4
                18 => {
                    let id = reader.u16()?;
                    self.collations.push((UTF8MB4, id));
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Flags of MariaDB's Q_GTID_FLAGS3 (`sql/log_event.h`, `FL_…_ALTER_E1`).
const START_ALTER: u8 = 2;
const COMMIT_ALTER: u8 = 4;
const ROLLBACK_ALTER: u8 = 8;

/// utf8mb4_general_ci.
const UTF8MB4: u16 = 45;

/// Bytes that are no characters become replacement characters.
fn utf8(text: &[u8], client: u16) -> Cow<'_, str> {
    match Charset::of_collation(client) {
        Some(charset) if !charset.is_utf8() && charset != Charset::Binary && !text.is_ascii() => {
            let mut out = Vec::with_capacity(text.len() * 2);
            match charset.transcode(text, &mut out) {
                Ok(()) => String::from_utf8_lossy(&out).into_owned().into(),
                Err(_) => String::from_utf8_lossy(text),
            }
        }
        _ => String::from_utf8_lossy(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_text() {
        let variables = [
            0, 1, 2, 3, 4, 1, 4, 0, 0, 0, 0, 0, 0, 0, 6, 3, b's', b't', b'd', 4, 8, 0, 8, 0, 255, 0, 12, 1, b'd', 0, 18, 46, 0, 99,
        ];
        let mut body = vec![0; 8];
        body.extend([1, 0, 0, variables.len() as u8, 0]);
        body.extend(variables);
        body.extend([b'd', 0, b'a', 0xe9]);
        let query = parse(&body, 0).unwrap();
        assert_eq!((&*query.schema, &*query.text, query.sql_mode, query.server_collation), ("d", "aé", 4, 255));
        assert_eq!(query.collations, [(45, 46)]);
        for len in 0..body.len() {
            let _ = parse(&body[..len], 0);
        }
    }

    /// As MariaDB 11.8 writes them: what it has beside MySQL's stands in front of the character set of the text.
    #[test]
    fn variables_of_mariadb() {
        for (flags, takes_effect) in
            [(&[2][..], false), (&[4, 9, 0, 0, 0, 0, 0, 0, 0], true), (&[8, 9, 0, 0, 0, 0, 0, 0, 0], false)]
        {
            let mut variables = vec![6, 3, b's', b't', b'd', 131, 2, 33, 0, 0, 8, 45, 0, 0, 9, 129, 1, 0, 0, 0, 0, 0, 0, 0, 130];
            variables.extend(flags);
            variables.extend([4, 8, 0, 8, 0, 0, 9]);
            let mut body = vec![0; 8];
            body.extend([1, 0, 0, variables.len() as u8, 0]);
            body.extend(variables);
            body.extend([b'd', 0, b'a', 0xe4]);
            let query = parse(&body, 0).unwrap();
            assert_eq!((&*query.text, query.server_collation, query.takes_effect), ("aä", 2304, takes_effect));
            assert_eq!(query.collations, [(33, 2048), (45, 2304)]);
        }
    }
}
