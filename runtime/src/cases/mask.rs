//! Hides the values of recorded changes: others of the same type and length stand in their place, equal ones for equal ones.
//!
//! Letters stay letters, digits digits, and all else as it is, so that `ada@example.com` still looks like an address; dates stay dates. Names of
//! columns and of JSON members, members of ENUM and SET, booleans, years and NULL stay. The values come out of a key that is made for one
//! file and kept nowhere: who has the file alone cannot try values out.

use std::hash::{BuildHasher, Hasher, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value as Json};

use crate::change::{Relation, SourceType};

/// The key of one file.
#[derive(Default)]
pub struct Mask(RandomState);

/// Numbers that a value leads to, the same ones each time.
struct Draw<'a> {
    mask: &'a Mask,
    of: u64,
    drawn: u64,
}

impl Draw<'_> {
    fn below(&mut self, end: u64) -> u64 {
        let mut hasher = self.mask.0.build_hasher();
        hasher.write_u64(self.of);
        hasher.write_u64(self.drawn);
        self.drawn += 1;
        hasher.finish() % end
    }
}

impl Mask {
    fn draw(&self, value: &str) -> Draw<'_> {
        let mut hasher = self.0.build_hasher();
        hasher.write(value.as_bytes());
        Draw { mask: self, of: hasher.finish(), drawn: 0 }
    }

    /// Hides all values of a change, keys too.
    pub fn change(&self, relation: &Relation, change: &mut Json) {
        for image in ["before", "after"] {
            let Some(Json::Object(values)) = change.get_mut(image) else { continue };
            for (name, value) in values {
                if let Some(column) = relation.column(name) {
                    self.value(&relation.columns[column].source_type, value);
                }
            }
        }
    }

    fn value(&self, source_type: &SourceType, value: &mut Json) {
        use SourceType as T;
        match source_type {
            T::Enum { .. } | T::Set { .. } | T::Year => {}
            T::Json => self.json(value),
            T::Int { bits, unsigned } => {
                let max = u64::MAX >> (64 - u32::from(*bits)) >> u32::from(!unsigned);
                self.integer(max, value);
            }
            T::Bit { bits } => self.integer(u64::MAX >> (64 - u32::from((*bits).clamp(1, 64))), value),
            T::Date | T::DateTime { .. } | T::Timestamp { .. } => self.text(value, date),
            T::Time { .. } => self.text(value, time),
            T::Binary { .. } | T::VarBinary { .. } | T::Blob { .. } | T::Geometry | T::Vector { .. } => self.text(value, bytes),
            T::Address(_) => self.text(value, address),
            _ if value.is_number() => self.number(value),
            _ => self.text(value, |text, draw| Some(like(text, draw))),
        }
    }

    fn text(&self, value: &mut Json, hidden: impl Fn(&str, &mut Draw<'_>) -> Option<String>) {
        if let Json::String(text) = value
            && let Some(hidden) = hidden(text, &mut self.draw(text))
        {
            *text = hidden;
        }
    }

    /// Of as many digits, and not beyond what the column can hold.
    fn integer(&self, max: u64, value: &mut Json) {
        let Json::Number(number) = value else { return };
        let Ok(old) = number.to_string().parse::<i128>() else { return };
        let digits = old.unsigned_abs().to_string().len() as u32;
        let first = if digits == 1 { 0 } else { 10_u128.pow(digits - 1) };
        let last = (10_u128.pow(digits) - 1).min(u128::from(max));
        // 0 stays, for it often means something.
        if old == 0 || first >= last {
            return;
        }
        let first = first.max(1);
        let span = u64::try_from(last - first + 1).unwrap_or(u64::MAX);
        let hidden = (first + u128::from(self.draw(&number.to_string()).below(span))) as i128;
        let hidden = if old < 0 { -hidden } else { hidden };
        let hidden = u64::try_from(hidden).map(Number::from).or_else(|_| i64::try_from(hidden).map(Number::from));
        if let Ok(hidden) = hidden {
            *number = hidden;
        }
    }

    /// A FLOAT or DOUBLE: of as many digits.
    fn number(&self, value: &mut Json) {
        let text = value.to_string();
        let (digits, exponent) = text.split_at(text.find(['e', 'E']).unwrap_or(text.len()));
        let hidden = format!("{}{exponent}", like(digits, &mut self.draw(&text)));
        if let Some(number) = hidden.parse::<f64>().ok().and_then(Number::from_f64) {
            *value = Json::Number(number);
        }
    }

    fn json(&self, value: &mut Json) {
        match value {
            Json::Null | Json::Bool(_) => {}
            Json::Number(number) if number.is_f64() => self.number(value),
            Json::Number(_) => self.integer(i64::MAX as u64, value),
            Json::String(_) => self.text(value, |text, draw| Some(like(text, draw))),
            Json::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Json::Object(members) => Map::values_mut(members).for_each(|member| self.json(member)),
        }
    }
}

/// Letters for letters, digits for digits, the rest as it is. A letter that takes several bytes becomes one of as many.
fn like(text: &str, draw: &mut Draw<'_>) -> String {
    let mut hidden = String::with_capacity(text.len());
    for char in text.chars() {
        let from =
            |first: char, count: u64, draw: &mut Draw<'_>| char::from_u32(first as u32 + draw.below(count) as u32).unwrap_or(first);
        hidden.push(match char {
            '0'..='9' => from('0', 10, draw),
            'a'..='z' => from('a', 26, draw),
            'A'..='Z' => from('A', 26, draw),
            _ if !char.is_alphabetic() => char,
            // Greek, CJK and historic letters without gaps.
            _ => match char.len_utf8() {
                2 => from('α', 17, draw),
                3 => from('一', 1000, draw),
                _ => from('𐎀', 30, draw),
            },
        });
    }
    hidden
}

/// `2026-11-01`, with a time behind it or not: month, day and time are others. `None`: it is no date.
fn date(text: &str, draw: &mut Draw<'_>) -> Option<String> {
    let (year, rest) = text.split_at_checked(4)?;
    let rest = rest.strip_prefix('-')?;
    // One that no calendar has is told apart by plugins.
    if year == "0000" || rest.starts_with("00") || rest.get(3..5)? == "00" {
        return None;
    }
    let mut hidden = format!("{year}-{:02}-{:02}", 1 + draw.below(12), 1 + draw.below(28));
    if let Some(rest) = rest.get(5..).filter(|rest| !rest.is_empty()) {
        let (separator, rest) = rest.split_at_checked(1)?;
        hidden.push_str(separator);
        hidden.push_str(&time(rest, draw)?);
    }
    Some(hidden)
}

/// `10:11:12.123`, with a sign in front or a zone behind it or not.
fn time(text: &str, draw: &mut Draw<'_>) -> Option<String> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let (sign, rest) = text.split_at(start);
    let (hours, rest) = rest.split_once(':')?;
    let seconds = rest.split_once(':')?.1;
    let fraction = like(seconds.get(2..)?, draw);
    // A TIMESTAMP ends in Z.
    let fraction = if seconds.ends_with('Z') { format!("{}Z", &fraction[..fraction.len() - 1]) } else { fraction };
    let hours = format!("{:0width$}", draw.below(24), width = hours.len());
    Some(format!("{sign}{hours}:{:02}:{:02}{fraction}", draw.below(60), draw.below(60)))
}

fn bytes(text: &str, draw: &mut Draw<'_>) -> Option<String> {
    let old = STANDARD.decode(text).ok()?;
    Some(STANDARD.encode(old.iter().map(|_| draw.below(256) as u8).collect::<Vec<_>>()))
}

/// A UUID or an IP address.
fn address(text: &str, draw: &mut Draw<'_>) -> Option<String> {
    if text.contains('.') && !text.contains(':') {
        return Some(text.split('.').map(|_| draw.below(256).to_string()).collect::<Vec<_>>().join("."));
    }
    let digit =
        |char: char| if char.is_ascii_hexdigit() { char::from_digit(1 + draw.below(15) as u32, 16).unwrap_or(char) } else { char };
    Some(text.split_once('.').map_or(text, |(start, _)| start).chars().map(digit).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::kept;

    #[test]
    fn values_keep_their_type_and_length() {
        let relation = kept::of_statement(
            "CREATE TABLE s.t (i TINYINT, u BIGINT UNSIGNED, t TEXT, d DECIMAL(9,2), f DOUBLE, day DATE, at DATETIME(3), ts TIMESTAMP, tm TIME(1), \
             b VARBINARY(9), j JSON, e ENUM('x','y'), bits BIT(3), y YEAR)",
        )
        .expect("a table");
        let old = json!({"i": -128, "u": u64::MAX, "t": "Ada-Zoë 日本 99", "d": "-12.50", "f": 0.25, "day": "2024-02-29", "at": "2024-02-29 10:11:12.123",
            "ts": "2024-02-29 10:11:12Z", "tm": "-101:11:12.5", "b": "AP8A/w==", "j": {"name": ["Ada", 7, true, null]}, "e": "x", "bits": 7, "y": 1999});
        let mask = Mask::default();
        let hide = |image: &Json| {
            let mut change = json!({ "before": image, "after": image });
            mask.change(&relation, &mut change);
            assert_eq!(change["before"], change["after"], "equal values stay equal");
            change["after"].take()
        };
        for _ in 0..200 {
            let new = hide(&old);
            assert_ne!(new["t"], old["t"]);
            for name in ["t", "d", "day", "at", "ts", "tm", "b"] {
                let (old, new) = (old[name].as_str().expect("text"), new[name].as_str().expect("text"));
                assert_eq!(old.len(), new.len(), "{name}: {old} {new}");
            }
            assert!(new["i"].as_i64().is_some_and(|i| (-128..=-100).contains(&i)), "{new}");
            assert!(new["u"].as_u64().is_some_and(|u| u >= 10_000_000_000_000_000_000), "{new}");
            assert!(new["bits"].as_u64().is_some_and(|bits| (1..=7).contains(&bits)), "{new}");
            assert!(new["ts"].as_str().is_some_and(|ts| ts.ends_with('Z') && ts.starts_with("2024-")), "{new}");
            assert_eq!(
                (&new["e"], &new["y"], &new["j"]["name"][2], &new["j"]["name"][3]),
                (&old["e"], &old["y"], &json!(true), &json!(null))
            );
            assert_eq!(new["j"]["name"][0].as_str().map(str::len), Some(3));
        }
        assert_eq!(hide(&json!({"t": null, "day": "0000-00-00", "i": 0})), json!({"t": null, "day": "0000-00-00", "i": 0}));
    }
}
