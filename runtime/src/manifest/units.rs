//! Sizes and durations as people write them: `"4MiB"`, `"250ms"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes: a whole number and `B`, `KiB`, `MiB`, `GiB` (or `kB`, `MB`, `GB` of 1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A length of time: a whole number and `us`, `ms`, `s`, `m`, `h`, `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

const SIZES: [(&str, u64); 7] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000), ("B", 1)];

/// In microseconds.
const TIMES: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1)];

/// The SHA-256 of a file: 64 hexadecimal digits, in small letters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sha256(pub String);

/// A table of a server: `schema.table`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePath {
    pub schema: String,
    pub table: String,
}

/// Why a text is none of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct UnitError {
    pub problem: &'static str,
    pub hint: String,
}

fn parse(text: &str, units: &[(&str, u64)], what: &str) -> Result<u64, UnitError> {
    let names: Vec<&str> = units.iter().rev().map(|(name, _)| *name).collect();
    let fail =
        |problem| UnitError { problem, hint: format!("write a whole number and a unit: {what}; units are {}", names.join(", ")) };
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if digits == 0 {
        return Err(fail("it does not begin with a whole number"));
    }
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Err(fail("it has no unit"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(match units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some((name, _)) => UnitError { problem: "the unit is not known", hint: format!("write \"{number}{name}\"") },
            None => fail("the unit is not known"),
        });
    };
    let value = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)).ok_or_else(|| fail("it is too large"))?;
    if value == 0 {
        return Err(fail("it must be more than zero"));
    }
    Ok(value)
}

fn show(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (unit, factor) = units.iter().find(|(_, factor)| value.is_multiple_of(*factor)).copied().unwrap_or(("", 1));
    write!(f, "{}{unit}", value / factor)
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<ByteSize, UnitError> {
        parse(text, &SIZES, "\"4MiB\"").map(ByteSize)
    }
}

impl FromStr for TimeSpan {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<TimeSpan, UnitError> {
        parse(text, &TIMES, "\"250ms\"").map(|us| TimeSpan(Duration::from_micros(us)))
    }
}

impl FromStr for Sha256 {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Sha256, UnitError> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Sha256(text.to_ascii_lowercase()));
        }
        let hint = "`tidegate plugin inspect PLUGIN.wasm` prints it, as `sha256sum` does".to_owned();
        Err(UnitError { problem: "it does not have 64 hexadecimal digits", hint })
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TablePath {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<TablePath, UnitError> {
        match text.split('.').collect::<Vec<_>>()[..] {
            [schema, table] if !schema.is_empty() && !table.is_empty() => {
                Ok(TablePath { schema: schema.to_owned(), table: table.to_owned() })
            }
            _ => Err(UnitError { problem: "it is not of the form schema.table", hint: "write \"tidegate.signal\"".to_owned() }),
        }
    }
}

impl fmt::Display for TablePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, &SIZES, f)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0.as_micros() as u64, &TIMES, f)
    }
}

macro_rules! as_text {
    ($type:ty, $name:literal, $format:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "x-form": $format })
            }
        }
    };
}

as_text!(ByteSize, "ByteSize", "size");
as_text!(TimeSpan, "TimeSpan", "duration");
as_text!(Sha256, "Sha256", "sha256");
as_text!(TablePath, "TablePath", "path of a table");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_printed() {
        for (text, bytes) in [("4MiB", 4 << 20), ("1B", 1), ("10kB", 10_000), ("3 GiB", 3 << 30)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
        assert_eq!(ByteSize(4 << 20).to_string(), "4MiB");
        assert_eq!("250ms".parse(), Ok(TimeSpan(Duration::from_millis(250))));
        assert_eq!("90s".parse::<TimeSpan>().unwrap().to_string(), "90s");
        assert_eq!("120s".parse::<TimeSpan>().unwrap().to_string(), "2m");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let problem = |text: &str| text.parse::<ByteSize>().unwrap_err();
        assert_eq!(problem("4").problem, "it has no unit");
        assert_eq!(problem("4mib").hint, "write \"4MiB\"");
        assert_eq!(problem("-4MiB").problem, "it does not begin with a whole number");
        assert_eq!(problem("99999999999999GiB").problem, "it is too large");
        assert_eq!(problem("0B").problem, "it must be more than zero");
        assert_eq!("1.5s".parse::<TimeSpan>().unwrap_err().problem, "the unit is not known");
    }
}
