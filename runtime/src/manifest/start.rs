//! Where a source begins when a pipeline has no cursor yet.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::position::GtidSet;
use crate::temporal::days_from_civil;

/// A place in a binlog, as a manifest or `tidegate cursor set` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The tables as they are, then what is committed from now on.
    Snapshot,
    /// Only what is committed from now on.
    Now,
    /// From the first event that is still there.
    Earliest,
    /// After these transactions.
    Gtid(GtidSet),
    /// At this byte offset of this file; an event must begin there.
    File { file: String, offset: u64 },
    /// At the first transaction committed at or after this time; microseconds since 1970-01-01 UTC.
    Time(i64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    gtid: Option<String>,
    file: Option<String>,
    offset: Option<u64>,
    time: Option<String>,
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Start, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Start;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"snapshot\", \"now\", \"earliest\", { gtid }, { file, offset } or { time }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Start, E> {
                match text {
                    "snapshot" => Ok(Start::Snapshot),
                    "now" => Ok(Start::Now),
                    "earliest" => Ok(Start::Earliest),
                    _ => Err(E::invalid_value(de::Unexpected::Other("another text"), &self)),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Start, A::Error> {
                match Table::deserialize(de::value::MapAccessDeserializer::new(map))? {
                    Table { gtid: Some(gtid), file: None, offset: None, time: None } => {
                        GtidSet::parse(&gtid).map(Start::Gtid).map_err(de::Error::custom)
                    }
                    Table { gtid: None, file: Some(file), offset: Some(offset), time: None } => Ok(Start::File { file, offset }),
                    Table { gtid: None, file: None, offset: None, time: Some(time) } => {
                        parse_time(&time).map(Start::Time).ok_or_else(|| de::Error::custom("not a time"))
                    }
                    _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// `2026-11-01T00:00:00[.123456]Z` or with an offset (RFC 3339), in microseconds since the epoch.
pub fn parse_time(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let mark = |at: usize, allowed: &[u8]| text.as_bytes().get(at).filter(|b| allowed.contains(b));
    mark(4, b"-")?;
    mark(7, b"-")?;
    mark(10, b"Tt ")?;
    mark(13, b":")?;
    mark(16, b":")?;
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let last = *days.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if !(1..=last).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut micros = 0;
    if mark(at, b".").is_some() {
        let digits = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=6).contains(&digits) {
            return None;
        }
        micros = number(at + 1..at + 1 + digits)? * 10i64.pow(6 - digits as u32);
        at += 1 + digits;
    }
    let offset_minutes = match text.get(at..)? {
        "Z" | "z" => 0,
        zone if zone.len() == 6 => {
            let sign = match mark(at, b"+-")? {
                b'-' => -1,
                _ => 1,
            };
            mark(at + 3, b":")?;
            let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
            (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))?
        }
        _ => return None,
    };
    let minutes = (days_from_civil(year as u32, month as u32, day as u32) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1_000_000 + micros)
}

impl JsonSchema for Start {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Start".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "oneOf": [
                { "const": "snapshot", "type": "string", "description": "The tables are read as they are, while their changes are followed." },
                { "const": "now", "type": "string", "description": "Only what is committed from now on." },
                { "const": "earliest", "type": "string", "description": "From the first event that the server still has." },
                {
                    "type": "object", "additionalProperties": false, "required": ["gtid"],
                    "description": "After these transactions.",
                    "properties": { "gtid": {
                        "type": "string", "x-form": "gtid",
                        "description": "A GTID set as the server writes it: MySQL's `uuid:1-5`, MariaDB's `0-1-100`."
                    } }
                },
                {
                    "type": "object", "additionalProperties": false, "required": ["file", "offset"],
                    "description": "At a place in a binlog file.",
                    "properties": {
                        "file": { "type": "string", "minLength": 1, "examples": ["binlog.000012"], "description": "Name of the binlog file, without folder." },
                        "offset": { "type": "integer", "minimum": 4, "examples": [4], "description": "Byte at which an event begins; the first is 4." }
                    }
                },
                {
                    "type": "object", "additionalProperties": false, "required": ["time"],
                    "description": "At the first transaction that was committed at or after a time.",
                    "properties": { "time": {
                        "type": "string", "x-form": "time", "description": "RFC 3339: `2026-11-01T00:00:00Z`."
                    } }
                }
            ]
        })
    }
}

/// As [`Start`], for binlog files: they have no tables to read.
pub fn of_files(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = Start::json_schema(generator);
    if let Some(choices) = schema.get_mut("oneOf").and_then(|choices| choices.as_array_mut()) {
        choices.retain(|choice| choice["const"] != "snapshot");
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(parse_time("1970-01-01T00:00:01Z"), Some(1_000_000));
        assert_eq!(parse_time("2000-03-01T12:34:56.5+02:00"), Some(951_906_896_500_000));
        assert_eq!(parse_time("2026-11-01T00:00:00Z"), Some(1_793_491_200_000_000));
        for text in
            ["", "2026-11-01", "2026-02-29T00:00:00Z", "2026-11-01T24:00:00Z", "2026-11-01T00:00:00", "+026-11-01T00:00:00Z"]
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn all_forms_are_read() {
        let read = |json: serde_json::Value| serde_json::from_value::<Start>(json);
        assert_eq!(read("now".into()).unwrap(), Start::Now);
        assert_eq!(
            read(serde_json::json!({"file": "binlog.000012", "offset": 4})).unwrap(),
            Start::File { file: "binlog.000012".into(), offset: 4 }
        );
        assert!(matches!(read(serde_json::json!({"gtid": "0-1-100"})).unwrap(), Start::Gtid(_)));
        assert_eq!(read(serde_json::json!({"time": "1970-01-01T00:00:00Z"})).unwrap(), Start::Time(0));
        assert_eq!(read("snapshot".into()).unwrap(), Start::Snapshot);
        for json in [serde_json::json!("later"), serde_json::json!({"file": "x"}), serde_json::json!({"gtid": "", "time": ""})] {
            assert!(read(json).is_err());
        }
    }
}
