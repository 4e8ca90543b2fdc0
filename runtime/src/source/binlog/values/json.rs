//! MySQL's binary JSON to text, exactly as the server's SELECT prints it.
//!
//! Format (MySQL `sql-common/json_binary.h`): a type byte, then the value. Objects and arrays hold their element count, their size
//! in bytes, and entries that point into them; numbers are little-endian, offsets count from the start of the container.
//!
//! The input is not trusted: entries may overlap or point into each other. A document that the server wrote uses each of its bytes
//! at most once, so whatever is printed is paid for out of a budget of as many bytes as the document has: time and output stay
//! within a small multiple of the input.

use super::decimal::{self, DecimalError};

/// What MySQL allows (`JSON_DOCUMENT_MAX_DEPTH`).
pub(super) const DEPTH_MAX: usize = 100;

pub(super) const SMALL_OBJECT: u8 = 0x00;
pub(super) const LARGE_OBJECT: u8 = 0x01;
pub(super) const SMALL_ARRAY: u8 = 0x02;
pub(super) const LARGE_ARRAY: u8 = 0x03;
pub(super) const LITERAL: u8 = 0x04;
pub(super) const INT16: u8 = 0x05;
pub(super) const UINT16: u8 = 0x06;
pub(super) const INT32: u8 = 0x07;
pub(super) const UINT32: u8 = 0x08;
const INT64: u8 = 0x09;
const UINT64: u8 = 0x0a;
const DOUBLE: u8 = 0x0b;
const STRING: u8 = 0x0c;
const OPAQUE: u8 = 0x0f;

// Column types inside an opaque value (`enum_field_types`).
const TYPE_TIMESTAMP: u8 = 7;
const TYPE_DATE: u8 = 10;
const TYPE_TIME: u8 = 11;
const TYPE_DATETIME: u8 = 12;
const TYPE_NEWDECIMAL: u8 = 246;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("JSON value is cut short or points outside of itself")]
    Truncated,
    #[error("JSON value of unknown type {0:#04x}")]
    Type(u8),
    #[error("unknown JSON literal {0}")]
    Literal(u16),
    #[error("JSON is nested deeper than {DEPTH_MAX} levels")]
    Depth,
    #[error("parts of a JSON value overlap")]
    Overlap,
    #[error("JSON holds a number that is not finite")]
    NotFinite,
    #[error("decimal inside JSON: {0}")]
    Decimal(#[from] DecimalError),
}

/// Appends the text of a JSON column's value. No bytes at all are `null`, as MySQL reads them. After an error `out` holds part
/// of the text.
pub fn write_text(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let Some((&kind, body)) = bytes.split_first() else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    Printer { out, budget: bytes.len() }.value(kind, body, 1)
}

struct Printer<'a> {
    out: &'a mut Vec<u8>,
    budget: usize,
}

impl Printer<'_> {
    /// `body` begins at the value and may go on behind it.
    fn value(&mut self, kind: u8, body: &[u8], depth: usize) -> Result<(), JsonError> {
        let mut number = itoa::Buffer::new();
        let text = match kind {
            SMALL_OBJECT => return self.container::<2>(body, true, depth),
            LARGE_OBJECT => return self.container::<4>(body, true, depth),
            SMALL_ARRAY => return self.container::<2>(body, false, depth),
            LARGE_ARRAY => return self.container::<4>(body, false, depth),
            LITERAL => match *body.first().ok_or(JsonError::Truncated)? {
                0 => "null",
                1 => "true",
                2 => "false",
                other => return Err(JsonError::Literal(u16::from(other))),
            },
            INT16 => number.format(i16::from_le_bytes(array(body)?)),
            UINT16 => number.format(u16::from_le_bytes(array(body)?)),
            INT32 => number.format(i32::from_le_bytes(array(body)?)),
            UINT32 => number.format(u32::from_le_bytes(array(body)?)),
            INT64 => number.format(i64::from_le_bytes(array(body)?)),
            UINT64 => number.format(u64::from_le_bytes(array(body)?)),
            DOUBLE => return write_double(f64::from_le_bytes(array(body)?), self.out),
            STRING => {
                let text = with_length(body)?;
                self.pay(text.len())?;
                write_string(text, self.out);
                return Ok(());
            }
            OPAQUE => return self.opaque(body),
            other => return Err(JsonError::Type(other)),
        };
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// An object or array whose counts and offsets are `N` bytes wide.
    fn container<const N: usize>(&mut self, body: &[u8], is_object: bool, depth: usize) -> Result<(), JsonError> {
        if depth > DEPTH_MAX {
            return Err(JsonError::Depth);
        }
        let count = number::<N>(body, 0)?;
        let size = number::<N>(body, N)?;
        let body = body.get(..size).ok_or(JsonError::Truncated)?;
        let key_entry = if is_object { N + 2 } else { 0 };
        let value_entry = 1 + N;
        let header = count.checked_mul(key_entry + value_entry).and_then(|n| n.checked_add(2 * N)).ok_or(JsonError::Truncated)?;
        if header > size {
            return Err(JsonError::Truncated);
        }
        self.pay(header)?;
        let keys = 2 * N;
        let values = keys + count * key_entry;
        self.out.push(if is_object { b'{' } else { b'[' });
        for i in 0..count {
            if i > 0 {
                self.out.extend_from_slice(b", ");
            }
            if is_object {
                let entry = keys + i * key_entry;
                let (start, len) = (number::<N>(body, entry)?, number::<2>(body, entry + N)?);
                let key = body.get(start..).and_then(|rest| rest.get(..len)).ok_or(JsonError::Truncated)?;
                self.pay(len)?;
                write_string(key, self.out);
                self.out.extend_from_slice(b": ");
            }
            let entry = values + i * value_entry;
            let kind = body[entry];
            let inlined = match kind {
                LITERAL | INT16 | UINT16 => true,
                INT32 | UINT32 => N == 4,
                _ => false,
            };
            let start = if inlined { entry + 1 } else { number::<N>(body, entry + 1)? };
            self.value(kind, body.get(start..).ok_or(JsonError::Truncated)?, depth + 1)?;
        }
        self.out.push(if is_object { b'}' } else { b']' });
        Ok(())
    }

    /// A value of a column type that JSON does not have.
    fn opaque(&mut self, body: &[u8]) -> Result<(), JsonError> {
        let (&column_type, rest) = body.split_first().ok_or(JsonError::Truncated)?;
        let data = with_length(rest)?;
        self.pay(data.len())?;
        match column_type {
            TYPE_NEWDECIMAL => {
                let [precision, scale] = array(data)?;
                return Ok(decimal::write_text(&data[2..], precision, scale, self.out)?);
            }
            TYPE_DATE | TYPE_TIME | TYPE_DATETIME | TYPE_TIMESTAMP => {
                let packed = i64::from_le_bytes(array(data)?);
                self.out.push(b'"');
                write_temporal(column_type, packed, self.out);
            }
            other => {
                self.out.extend_from_slice(b"\"base64:type");
                self.out.extend_from_slice(itoa::Buffer::new().format(other).as_bytes());
                self.out.push(b':');
                write_base64(data, self.out);
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    fn pay(&mut self, bytes: usize) -> Result<(), JsonError> {
        self.budget = self.budget.checked_sub(bytes).ok_or(JsonError::Overlap)?;
        Ok(())
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], JsonError> {
    bytes.first_chunk().copied().ok_or(JsonError::Truncated)
}

/// The unsigned number of `N` (at most 4) bytes at `at`.
pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).ok_or(JsonError::Truncated)?;
    Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
}

/// The bytes behind a length of 1 to 5 bytes, seven bits each, lowest first.
fn with_length(bytes: &[u8]) -> Result<&[u8], JsonError> {
    let mut len = 0u64;
    for (i, &byte) in bytes.iter().take(5).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let len = usize::try_from(len).map_err(|_| JsonError::Truncated)?;
            return bytes[i + 1..].get(..len).ok_or(JsonError::Truncated);
        }
    }
    Err(JsonError::Truncated)
}

/// Bytes of the value that `body` begins with.
pub(super) fn value_len(kind: u8, body: &[u8]) -> Result<usize, JsonError> {
    let through = |value: &[u8]| value.as_ptr_range().end as usize - body.as_ptr() as usize;
    Ok(match kind {
        SMALL_OBJECT | SMALL_ARRAY => number::<2>(body, 2)?,
        LARGE_OBJECT | LARGE_ARRAY => number::<4>(body, 4)?,
        LITERAL => 1,
        INT16 | UINT16 => 2,
        INT32 | UINT32 => 4,
        INT64 | UINT64 | DOUBLE => 8,
        STRING => through(with_length(body)?),
        OPAQUE => through(with_length(body.get(1..).ok_or(JsonError::Truncated)?)?),
        other => return Err(JsonError::Type(other)),
    })
}

/// Appends a quoted string, escaped as MySQL's `double_quote` does.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (i, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[plain..i]);
        plain = i + 1;
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            0x09 => b't',
            0x0a => b'n',
            0x0c => b'f',
            0x0d => b'r',
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(b'0' + (byte >> 4));
                out.push(b"0123456789abcdef"[usize::from(byte & 15)]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(&text[plain..]);
    out.push(b'"');
}

/// Appends the shortest digits that give the same double, as MySQL's `my_gcvt` and JSON printer lay them out: without an exponent
/// from 1e-15 to below 1e15 (and with a digit after 16), else as `1.5e20`; whole numbers without one get `.0`.
fn write_double(value: f64, out: &mut Vec<u8>) -> Result<(), JsonError> {
    if !value.is_finite() {
        return Err(JsonError::NotFinite);
    }
    if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0.0" } else { b"0.0" });
        return Ok(());
    }
    if value < 0.0 {
        out.push(b'-');
    }
    // Digits without point and the power of ten of the point that would stand before them, out of ryu's "1.25e-7" or "0.5".
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value.abs()).as_bytes();
    let (mantissa, exponent) = match text.iter().position(|&b| b == b'e') {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok().and_then(|e| e.parse().ok()).unwrap_or(0)),
        None => (text, 0i32),
    };
    let mut digits = [0u8; 32];
    let (mut len, mut point, mut seen) = (0, exponent, false);
    for &byte in mantissa {
        if byte == b'.' {
            seen = true;
        } else if byte == b'0' && len == 0 {
            point -= i32::from(seen);
        } else {
            point += i32::from(!seen);
            digits[len] = byte;
            len += 1;
        }
    }
    while digits[len - 1] == b'0' {
        len -= 1;
    }
    let digits = &digits[..len];
    let is_plain = (-14..=15).contains(&point) || point == 16 && len == 17;
    if !is_plain {
        out.push(digits[0]);
        if len > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        out.extend_from_slice(itoa::Buffer::new().format(point - 1).as_bytes());
    } else if point <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + point.unsigned_abs() as usize, b'0');
        out.extend_from_slice(digits);
    } else {
        let whole = point as usize;
        if len <= whole {
            out.extend_from_slice(digits);
            out.resize(out.len() + (whole - len), b'0');
            out.extend_from_slice(b".0");
        } else {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }
    Ok(())
}

/// Appends a packed date, time or datetime (`TIME_to_longlong_packed`, MySQL `mysys/my_time.cc`), times with six digits of fraction.
fn write_temporal(column_type: u8, packed: i64, out: &mut Vec<u8>) {
    let value = packed.unsigned_abs();
    let (fields, micros) = (value >> 24, (value & 0xff_ffff) as u32);
    let (second, minute) = ((fields & 63) as u32, (fields >> 6 & 63) as u32);
    if column_type == TYPE_TIME {
        if packed < 0 {
            out.push(b'-');
        }
        write_padded((fields >> 12 & 1023) as u32, 2, out);
    } else {
        let (day, year_month) = ((fields >> 17 & 31) as u32, (fields >> 22) as u32);
        write_padded(year_month / 13, 4, out);
        out.push(b'-');
        write_padded(year_month % 13, 2, out);
        out.push(b'-');
        write_padded(day, 2, out);
        if column_type == TYPE_DATE {
            return;
        }
        out.push(b' ');
        write_padded((fields >> 12 & 31) as u32, 2, out);
    }
    out.push(b':');
    write_padded(minute, 2, out);
    out.push(b':');
    write_padded(second, 2, out);
    out.push(b'.');
    write_padded(micros, 6, out);
}

fn write_padded(number: u32, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    out.resize(out.len() + width.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits);
}

/// Appends standard base64 with padding, and a line feed between lines of 76 characters, as MySQL's `base64_encode` does.
fn write_base64(data: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (i, chunk) in data.chunks(3).enumerate() {
        if i > 0 && i % 19 == 0 {
            out.extend_from_slice(b"\\n");
        }
        let bits = (0..3).fold(0u32, |n, at| n << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            out.push(if at <= chunk.len() { DIGITS[(bits >> (18 - 6 * at) & 63) as usize] } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> Result<String, JsonError> {
        let mut out = Vec::new();
        write_text(bytes, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// Of `scripts/record-values.sh`: bytes of row images in hex, and what SELECT prints.
    #[test]
    fn recorded_documents_print_as_the_server_prints_them() {
        let lines = zstd::stream::decode_all(&include_bytes!("recorded/json.tsv.zst")[..]).unwrap();
        let lines = String::from_utf8(lines).unwrap();
        assert!(lines.lines().count() > 350);
        for (number, line) in lines.lines().enumerate() {
            let (hex, wanted) = line.split_once('\t').unwrap();
            let bytes: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
            let found = text(&bytes).unwrap();
            assert!(found == wanted, "line {}: {:.200} is not {wanted:.200}", number + 1, found);
        }
    }

    #[test]
    fn small_documents() {
        assert_eq!(text(&[]).unwrap(), "null");
        assert_eq!(text(&[LITERAL, 1]).unwrap(), "true");
        // {"a": [1, "é\n"]}
        let array = [2, 0, 14, 0, INT16, 1, 0, STRING, 10, 0, 3, 0xc3, 0xa9, b'\n'];
        let mut object = vec![SMALL_OBJECT, 1, 0, 26, 0, 11, 0, 1, 0, SMALL_ARRAY, 12, 0, b'a'];
        object.extend_from_slice(&array);
        assert_eq!(text(&object).unwrap(), r#"{"a": [1, "é\n"]}"#);
    }

    #[test]
    fn hostile_offsets_are_errors() {
        // An array of one element that is the array itself.
        assert_eq!(text(&[SMALL_ARRAY, 1, 0, 7, 0, SMALL_ARRAY, 0, 0]), Err(JsonError::Overlap));
        assert_eq!(text(&[SMALL_ARRAY, 255, 255, 7, 0]), Err(JsonError::Truncated));
        assert_eq!(text(&[STRING, 0x80, 0x80, 0x80, 0x80, 0x80, 1]), Err(JsonError::Truncated));
        assert_eq!(text(&[DOUBLE, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f]), Err(JsonError::NotFinite));
    }

    #[test]
    fn depth_is_limited() {
        let nested = |levels: usize| {
            let mut bytes = Vec::new();
            for level in (0..levels).rev() {
                let last = level == 0;
                let size = 4 + 7 * (level as u16 + 1) - if last { 3 } else { 0 };
                bytes.extend_from_slice(&u16::from(!last).to_le_bytes());
                bytes.extend_from_slice(&size.to_le_bytes());
                if !last {
                    bytes.extend_from_slice(&[SMALL_ARRAY, 7, 0]);
                }
            }
            bytes.insert(0, SMALL_ARRAY);
            bytes.extend_from_slice(&[0; 8]);
            text(&bytes)
        };
        assert_eq!(nested(100).unwrap(), "[".repeat(100) + &"]".repeat(100));
        assert_eq!(nested(101), Err(JsonError::Depth));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_grow(kind in 0u8..16, bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..16], 0..200)) {
            let mut document = vec![kind];
            document.extend_from_slice(&bytes);
            let mut out = Vec::new();
            let _ = write_text(&document, &mut out);
            prop_assert!(out.len() <= 64 + 32 * document.len());
        }
    }
}
