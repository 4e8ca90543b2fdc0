//! Values of columns as the sink `jsonl` writes them, read back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use crate::batcher::ColumnBuilder;
use crate::change::{Kind, SourceType};
use crate::temporal::Fields;

/// Appends a value. The error says what would have been right.
pub(super) fn append(builder: &mut ColumnBuilder, source_type: &SourceType, json: &Json) -> Result<(), String> {
    let kind = source_type.kind();
    let wrong = |expected: &str| format!("{json} where {expected} is expected");
    let text = |expected: &str| json.as_str().ok_or_else(|| wrong(expected));
    match (kind, json) {
        (_, Json::Null) => builder.null(),
        (Kind::Boolean, _) => builder.word(i64::from(json.as_bool().ok_or_else(|| wrong("true or false"))?)),
        (Kind::Int64, _) => builder.word(json.as_i64().ok_or_else(|| wrong("a whole number"))?),
        (Kind::UInt64, _) => builder.word(json.as_u64().ok_or_else(|| wrong("a whole number that is not negative"))?.cast_signed()),
        (Kind::Float64, _) => {
            let number = json.as_f64().ok_or_else(|| wrong("a number"))?;
            let number = if matches!(source_type, SourceType::Float) { f64::from(number as f32) } else { number };
            builder.word(number.to_bits().cast_signed());
        }
        (Kind::Text, _) => builder.bytes(text("a text")?.as_bytes()),
        (Kind::Decimal, Json::Number(number)) => builder.bytes(number.to_string().as_bytes()),
        (Kind::Decimal, _) => builder.bytes(text("a decimal, as text")?.as_bytes()),
        (Kind::Json, _) => builder.bytes(json.to_string().as_bytes()),
        (Kind::Bytes, _) => {
            let bytes = STANDARD.decode(text("bytes as base64")?).map_err(|e| format!("bytes as base64: {e}"))?;
            builder.bytes(&bytes);
        }
        (Kind::Date, _) => {
            let text = text("a date")?;
            builder.word(date(text).ok_or_else(|| wrong("a date, as \"2026-11-01\","))?.date_word());
        }
        (Kind::DateTime | Kind::Timestamp, _) => {
            let text = text("a date and time")?;
            let fields = datetime(text.strip_suffix('Z').unwrap_or(text));
            builder.word(fields.ok_or_else(|| wrong("a date and time, as \"2026-11-01 10:11:12.5\","))?.datetime_word());
        }
        (Kind::Time, _) => {
            let text = text("a time")?;
            let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
            let micros = time(rest).map(|(hour, minute, second, micros)| ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros);
            builder.word(sign * micros.ok_or_else(|| wrong("a time, as \"-838:59:59.000000\","))?);
        }
    }
    Ok(())
}

fn date(text: &str) -> Option<Fields> {
    let mut parts = text.split('-').map(str::parse);
    let mut next = || parts.next()?.ok();
    let fields = Fields { year: next()?, month: next()?, day: next()?, ..Fields::default() };
    (parts.next().is_none() && fields.year <= 9999 && fields.month <= 12 && fields.day <= 31).then_some(fields)
}

fn datetime(text: &str) -> Option<Fields> {
    let (day, clock) = text.split_once([' ', 'T'])?;
    let (hour, minute, second, microsecond) = time(clock)?;
    let small = |n: i64| u32::try_from(n).ok();
    let fields = Fields {
        hour: small(hour)?,
        minute: small(minute)?,
        second: small(second)?,
        microsecond: small(microsecond)?,
        ..date(day)?
    };
    (fields.hour < 24).then_some(fields)
}

/// Hours, minutes, seconds, microseconds.
fn time(text: &str) -> Option<(i64, i64, i64, i64)> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':').map(str::parse::<i64>);
    let mut next = || parts.next()?.ok().filter(|n| *n >= 0);
    let (hour, minute, second) = (next()?, next()?, next()?);
    let is_fraction = fraction.len() <= 6 && fraction.bytes().all(|b| b.is_ascii_digit());
    let micros = format!("{fraction:0<6}").parse().ok()?;
    (parts.next().is_none() && hour <= 838 && minute < 60 && second < 60 && is_fraction).then_some((hour, minute, second, micros))
}
