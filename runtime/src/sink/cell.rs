//! One value at a time out of Arrow columns, for the sinks that write rows.
//!
//! A [`View`] is made once a column and batch; reading a [`Cell`] from it is a match and a bounds check.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date64Type, DurationMicrosecondType, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use arrow_array::{Array, BinaryArray, BooleanArray, StringArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use crate::change::{Column, Kind, SourceType};
use crate::temporal;

/// A value. The temporal ones are the words of [`temporal`]: milliseconds for `Date`, else microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Boolean(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Decimal(&'a str),
    Json(&'a str),
    Date(i64),
    Time(i64),
    DateTime(i64),
    Timestamp(i64),
}

impl Cell<'_> {
    /// Appends the value as text, as MySQL writes it: decimals and JSON as they are, `fsp` digits of fraction; bytes are not text
    /// (returns false, as for NULL).
    pub fn write_text(&self, out: &mut String, fsp: u8) -> bool {
        match *self {
            Cell::Null | Cell::Bytes(_) => return false,
            Cell::Boolean(b) => out.push(if b { '1' } else { '0' }),
            Cell::Int(n) => out.push_str(itoa::Buffer::new().format(n)),
            Cell::UInt(n) => out.push_str(itoa::Buffer::new().format(n)),
            Cell::Float(n) if n.is_finite() => out.push_str(ryu::Buffer::new().format_finite(n)),
            Cell::Float(n) => {
                let _ = write!(out, "{n}");
            }
            Cell::Text(s) | Cell::Decimal(s) | Cell::Json(s) => out.push_str(s),
            Cell::Date(word) => temporal::write_date(out, word),
            Cell::Time(word) => temporal::write_time(out, word, fsp),
            Cell::DateTime(word) | Cell::Timestamp(word) => temporal::write_datetime(out, word, fsp),
        }
        true
    }

    /// Appends a form in which equal values, and only those, are equal. For the cells of one column.
    pub fn write_key(&self, out: &mut Vec<u8>) {
        match *self {
            Cell::Null => out.push(0),
            Cell::Boolean(b) => out.extend_from_slice(&[1, u8::from(b)]),
            Cell::Int(n) | Cell::Date(n) | Cell::Time(n) | Cell::DateTime(n) | Cell::Timestamp(n) => {
                out.push(1);
                out.extend_from_slice(&n.to_le_bytes());
            }
            Cell::UInt(n) => {
                out.push(2);
                out.extend_from_slice(&n.to_le_bytes());
            }
            Cell::Float(n) => {
                out.push(3);
                out.extend_from_slice(&(if n == 0.0 { 0.0 } else { n }).to_bits().to_le_bytes());
            }
            Cell::Text(s) | Cell::Decimal(s) | Cell::Json(s) => write_key_bytes(out, s.as_bytes()),
            Cell::Bytes(b) => write_key_bytes(out, b),
        }
    }
}

fn write_key_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(4);
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[derive(Clone, Copy, Debug)]
enum Values<'a> {
    Words(&'a [i64], fn(i64) -> Cell<'static>),
    UInt(&'a [u64]),
    Float(&'a [f64]),
    Text(&'a StringArray),
    Decimal(&'a StringArray),
    Json(&'a StringArray),
    Bytes(&'a BinaryArray),
    Boolean(&'a BooleanArray),
}

/// A column, ready to be read.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    values: Values<'a>,
    nulls: Option<&'a NullBuffer>,
    present: Option<&'a BooleanBuffer>,
}

impl<'a> View<'a> {
    /// `None`: the array is not of the type that `kind` has.
    pub fn new(column: &'a Column, kind: Kind) -> Option<View<'a>> {
        let array = &column.values;
        let values = match kind {
            Kind::Int64 => Values::Words(array.as_primitive_opt::<Int64Type>()?.values(), Cell::Int),
            Kind::Date => Values::Words(array.as_primitive_opt::<Date64Type>()?.values(), Cell::Date),
            Kind::Time => Values::Words(array.as_primitive_opt::<DurationMicrosecondType>()?.values(), Cell::Time),
            Kind::DateTime => Values::Words(array.as_primitive_opt::<TimestampMicrosecondType>()?.values(), Cell::DateTime),
            Kind::Timestamp => Values::Words(array.as_primitive_opt::<TimestampMicrosecondType>()?.values(), Cell::Timestamp),
            Kind::UInt64 => Values::UInt(array.as_primitive_opt::<UInt64Type>()?.values()),
            Kind::Float64 => Values::Float(array.as_primitive_opt::<Float64Type>()?.values()),
            Kind::Text => Values::Text(array.as_string_opt()?),
            Kind::Decimal => Values::Decimal(array.as_string_opt()?),
            Kind::Json => Values::Json(array.as_string_opt()?),
            Kind::Bytes => Values::Bytes(array.as_binary_opt()?),
            Kind::Boolean => Values::Boolean(array.as_boolean_opt()?),
        };
        Some(View { values, nulls: array.nulls(), present: column.present.as_ref() })
    }

    /// The value of a row; an absent one reads as NULL.
    #[inline]
    pub fn cell(&self, row: usize) -> Cell<'a> {
        if self.nulls.is_some_and(|n| n.is_null(row)) {
            return Cell::Null;
        }
        match self.values {
            Values::Words(words, cell) => cell(words[row]),
            Values::UInt(words) => Cell::UInt(words[row]),
            Values::Float(words) => Cell::Float(words[row]),
            Values::Text(array) => Cell::Text(array.value(row)),
            Values::Decimal(array) => Cell::Decimal(array.value(row)),
            Values::Json(array) => Cell::Json(array.value(row)),
            Values::Bytes(array) => Cell::Bytes(array.value(row)),
            Values::Boolean(array) => Cell::Boolean(array.value(row)),
        }
    }

    /// False: the row image does not have this column.
    #[inline]
    pub fn is_present(&self, row: usize) -> bool {
        self.present.is_none_or(|p| p.value(row))
    }

    /// True if some row may lack the column.
    pub fn has_absent(&self) -> bool {
        self.present.is_some()
    }
}

/// Digits of fraction of a second that a column has, 0 to 6.
pub fn fsp(source_type: &SourceType) -> u8 {
    match source_type {
        SourceType::Time { fsp } | SourceType::DateTime { fsp } | SourceType::Timestamp { fsp } => *fsp,
        SourceType::Plugin(Kind::Time | Kind::DateTime | Kind::Timestamp) => 6,
        _ => 0,
    }
}
