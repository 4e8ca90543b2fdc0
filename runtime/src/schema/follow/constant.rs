//! The value that a DEFAULT gives to the rows that are there, in the form in which rows bring it.

use crate::alteration::Constant;
use crate::change::SourceType;

/// Of a literal as the statement writes it; `None`: the server converts it in a way that is left to the server.
pub fn of(text: &str, source_type: &SourceType) -> Option<Constant> {
    let number = |n: &dyn ToString| Some(Constant::Number(n.to_string()));
    match source_type {
        SourceType::Int { bits, unsigned: false } => text
            .parse::<i64>()
            .ok()
            .filter(|n| *bits == 64 || (-(1i64 << (bits - 1))..1i64 << (bits - 1)).contains(n))
            .and_then(|n| number(&n)),
        SourceType::Int { bits, unsigned: true } => {
            text.parse::<u64>().ok().filter(|n| *bits == 64 || *n < 1u64 << bits).and_then(|n| number(&n))
        }
        SourceType::Year => {
            text.parse::<u16>().ok().filter(|n| text.len() == 4 && (1901..=2155).contains(n)).and_then(|n| number(&n))
        }
        // As rows bring it: widened.
        SourceType::Float => {
            text.parse::<f32>().ok().filter(|n| n.is_finite()).map(|n| Constant::Number(format!("{:e}", f64::from(n))))
        }
        SourceType::Double => text.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| Constant::Number(format!("{n:e}"))),
        SourceType::Decimal { precision, scale, unsigned } => decimal(text, *precision, *scale, *unsigned).map(Constant::Text),
        SourceType::Char { length, .. } => {
            let text = text.trim_end_matches(' ');
            fits(text, *length).then(|| Constant::Text(text.to_owned()))
        }
        SourceType::VarChar { length, .. } => fits(text, *length).then(|| Constant::Text(text.to_owned())),
        SourceType::Text { .. } => Some(Constant::Text(text.to_owned())),
        SourceType::VarBinary { length } if text.is_ascii() && text.len() <= *length as usize => {
            Some(Constant::Bytes(text.as_bytes().to_vec()))
        }
        SourceType::Enum { members, .. } => members.iter().any(|m| **m == *text).then(|| Constant::Text(text.to_owned())),
        SourceType::Set { members, .. } => {
            let mut places = text.split(',').map(|member| members.iter().position(|m| **m == *member));
            let in_order = text.is_empty() || {
                let places: Option<Vec<usize>> = places.by_ref().collect();
                places.is_some_and(|places| places.windows(2).all(|pair| pair[0] < pair[1]))
            };
            in_order.then(|| Constant::Text(text.to_owned()))
        }
        SourceType::Date => is_date(text).then(|| Constant::Text(text.to_owned())),
        SourceType::DateTime { fsp } => {
            let (date, time) = text.split_once(' ')?;
            let time = time_of_day(time, *fsp)?;
            is_date(date).then(|| Constant::Text(format!("{date} {time}")))
        }
        SourceType::Time { fsp } => {
            let (sign, rest) = match text.strip_prefix('-') {
                Some(rest) => ("-", rest),
                None => ("", text),
            };
            let time = time_of_day(rest, *fsp)?;
            let is_zero = time.bytes().all(|b| matches!(b, b'0' | b':' | b'.'));
            Some(Constant::Text(format!("{}{time}", if is_zero { "" } else { sign })))
        }
        // A TIMESTAMP's literal is in the session's time zone; the others depend on character sets and on how the literal is written.
        SourceType::Timestamp { .. }
        | SourceType::Bit { .. }
        | SourceType::Binary { .. }
        | SourceType::VarBinary { .. }
        | SourceType::Blob { .. }
        | SourceType::Json
        | SourceType::Geometry
        | SourceType::Vector { .. }
        | SourceType::Address(_)
        | SourceType::Plugin(_) => None,
    }
}

fn fits(text: &str, length: u32) -> bool {
    text.chars().count() <= length as usize
}

/// With all digits of its scale. `None`: it has more of them, or is written in another way.
fn decimal(text: &str, precision: u8, scale: u8, unsigned: bool) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(_) if unsigned => return None,
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || fraction.len() > usize::from(scale) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > usize::from(precision - scale) {
        return None;
    }
    let is_zero = whole.is_empty() && fraction.bytes().all(|b| b == b'0');
    let sign = if is_zero { "" } else { sign };
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match scale {
        0 => format!("{sign}{whole}"),
        scale => format!("{sign}{whole}.{fraction:0<width$}", width = usize::from(scale)),
    })
}

/// `YYYY-MM-DD` of a day that all calendars have, so no zero date.
fn is_date(text: &str) -> bool {
    let part = |from: usize, to: usize| text.get(from..to).filter(|p| p.bytes().all(|b| b.is_ascii_digit()))?.parse::<u16>().ok();
    let bytes = text.as_bytes();
    match (part(0, 4), part(5, 7), part(8, 10)) {
        (Some(year), Some(1..=12), Some(1..=28)) => year > 0 && bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-',
        (Some(year), Some(month), Some(day)) if bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-' => {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 if is_leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                1..=12 => 31,
                _ => 0,
            };
            year > 0 && (1..=last).contains(&day)
        }
        _ => false,
    }
}

/// `HH:MM:SS` with all digits of its fraction.
fn time_of_day(text: &str, fsp: u8) -> Option<String> {
    let (time, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = time.split(':').collect();
    let is_part = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let below = |part: &str, limit: u8| part.parse::<u8>().is_ok_and(|n| n < limit);
    let is_time =
        parts.len() == 3 && parts.iter().all(is_part) && below(parts[0], 24) && below(parts[1], 60) && below(parts[2], 60);
    if !is_time || fraction.len() > usize::from(fsp) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(match fsp {
        0 => time.to_owned(),
        fsp => format!("{time}.{fraction:0<width$}", width = usize::from(fsp)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_become_what_rows_bring() {
        let text = |literal: &str, source_type: SourceType| match of(literal, &source_type) {
            Some(Constant::Text(text) | Constant::Number(text)) => text,
            other => format!("{other:?}"),
        };
        let decimal = SourceType::Decimal { precision: 6, scale: 2, unsigned: false };
        assert_eq!(text("1.5", decimal.clone()), "1.50");
        assert_eq!(text("-0.0", decimal.clone()), "0.00");
        assert_eq!(text("007", decimal.clone()), "7.00");
        for odd in ["1.555", "1e3", "12345", ".5", ""] {
            assert_eq!(text(odd, decimal.clone()), "None", "{odd}");
        }
        assert_eq!(text("1.1", SourceType::Float), "1.100000023841858e0");
        assert_eq!(text("-129", SourceType::Int { bits: 8, unsigned: false }), "None");
        assert_eq!(text("-128", SourceType::Int { bits: 8, unsigned: false }), "-128");
        assert_eq!(text("18446744073709551615", SourceType::Int { bits: 64, unsigned: true }), "18446744073709551615");
        assert_eq!(text("2026-02-28 10:11:12.5", SourceType::DateTime { fsp: 3 }), "2026-02-28 10:11:12.500");
        assert_eq!(text("2026-02-30", SourceType::Date), "None");
        assert_eq!(text("2024-02-29", SourceType::Date), "2024-02-29");
        assert_eq!(text("0000-00-00", SourceType::Date), "None");
        assert_eq!(text("-12:34:56", SourceType::Time { fsp: 1 }), "-12:34:56.0");
        assert_eq!(text("a ", SourceType::Char { length: 2, collation: 45 }), "a");
        let members = ["b".into(), "a".into()].into();
        let set = SourceType::Set { members, collation: 45 };
        assert_eq!((text("b,a", set.clone()), text("a,b", set.clone()), text("", set)), ("b,a".into(), "None".into(), "".into()));
    }
}
