//! Packed decimals: the storage form of DECIMAL columns, in row images and inside binary JSON, to their exact text.
//!
//! Format (MySQL `strings/decimal.cc`, `decimal2bin`): the digits before and after the point are cut into groups of nine, counted
//! from the point; a group is a big-endian number of 4 bytes, the two outer groups, if shorter, take as few bytes as they need.
//! The highest bit of the first byte is flipped, and a negative number has all its bits flipped after that.

use std::mem::MaybeUninit;

/// The most digits that a server computes with: nine groups (`DECIMAL_BUFFER_LENGTH`). A column has at most 65, a number inside JSON may
/// have all.
const PRECISION_MAX: u8 = 81;
/// Bytes of a group of 0 to 9 digits.
const GROUP_BYTES: [u8; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const POWERS: [u32; 10] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
/// Most bytes of a text: sign, point, a zero before it, 81 digits, and the 9 that a group may write past its end.
const TEXT_BYTES: usize = 96;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("decimal({precision},{scale}) is no type of MySQL's")]
    Type { precision: u8, scale: u8 },
    #[error("a decimal of {needed} bytes has {found}")]
    Short { needed: usize, found: usize },
    #[error("a group of {digits} decimal digits holds a larger number")]
    Digits { digits: u8 },
    #[error("a text is no decimal({precision},{scale})")]
    Text { precision: u8, scale: u8 },
}

/// Bytes that a value of `decimal(precision, scale)` takes. `scale` above `precision` counts as no digits before the point.
#[inline]
pub fn len(precision: u8, scale: u8) -> usize {
    let part = |digits: u8| usize::from(digits / 9) * 4 + usize::from(GROUP_BYTES[usize::from(digits % 9)]);
    part(precision.saturating_sub(scale)) + part(scale)
}

/// Appends the value as the server prints it: `0.50`, `-12.3400`, one digit at least before the point and exactly `scale` after
/// it. Reads the first [`len`] bytes. After an error `out` is as it was.
#[inline]
pub fn write_text(bytes: &[u8], precision: u8, scale: u8, out: &mut Vec<u8>) -> Result<(), DecimalError> {
    if precision == 0 || precision > PRECISION_MAX || scale > precision {
        return Err(DecimalError::Type { precision, scale });
    }
    let needed = len(precision, scale);
    let Some(bytes) = bytes.get(..needed) else {
        return Err(DecimalError::Short { needed, found: bytes.len() });
    };
    // Written in place: reading back what was just stored in pieces is slow.
    out.reserve(TEXT_BYTES);
    let begin = out.len();
    let Some(room) = out.spare_capacity_mut().first_chunk_mut() else { return Ok(()) };
    let len = text(bytes, precision, scale, room)?;
    // SAFETY: `text` has written the first `len` bytes of the spare room.
    unsafe { out.set_len(begin + len) };
    Ok(())
}

/// Appends the packed form of a text that a server printed for a `decimal(precision, scale)`; the inverse of [`write_text`].
pub fn pack(text: &[u8], precision: u8, scale: u8, out: &mut Vec<u8>) -> Result<(), DecimalError> {
    if precision == 0 || precision > PRECISION_MAX || scale > precision {
        return Err(DecimalError::Type { precision, scale });
    }
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let point = digits.iter().position(|b| *b == b'.').unwrap_or(digits.len());
    let (integer, fraction) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
    let integer = &integer[integer.iter().take_while(|b| **b == b'0').count()..];
    let (before, after) = (usize::from(precision - scale), usize::from(scale));
    let is_number = integer.iter().chain(fraction).all(u8::is_ascii_digit);
    if !is_number || integer.len() > before || fraction.len() > after {
        return Err(DecimalError::Text { precision, scale });
    }
    let begin = out.len();
    // The digit at a place: those before the point are aligned right, those after it left.
    let digit_before = |place: usize| (place + integer.len()).checked_sub(before).map_or(0, |at| u32::from(integer[at] - b'0'));
    let digit_after = |place: usize| fraction.get(place).map_or(0, |digit| u32::from(digit - b'0'));
    let mut group = |places: std::ops::Range<usize>, digit: &dyn Fn(usize) -> u32| {
        let bytes = usize::from(GROUP_BYTES[places.len()]);
        let value = places.fold(0, |value, place| value * 10 + digit(place));
        out.extend_from_slice(&value.to_be_bytes()[4 - bytes..]);
    };
    group(0..before % 9, &digit_before);
    (before % 9..before).step_by(9).for_each(|at| group(at..at + 9, &digit_before));
    (0..after / 9).for_each(|n| group(n * 9..n * 9 + 9, &digit_after));
    group(after / 9 * 9..after, &digit_after);
    let is_zero = out[begin..].iter().all(|b| *b == 0);
    out[begin] ^= 0x80;
    if is_negative && !is_zero {
        out[begin..].iter_mut().for_each(|b| *b = !*b);
    }
    Ok(())
}

/// Returns the length of the text.
#[inline(always)]
fn text(bytes: &[u8], precision: u8, scale: u8, room: &mut [MaybeUninit<u8>; TEXT_BYTES]) -> Result<usize, DecimalError> {
    let negative = bytes[0] & 0x80 == 0;
    let mut groups = Groups { bytes, mask: if negative { u32::MAX } else { 0 }, flip: 0x80 };
    let mut text = Text { bytes: room, len: 0 };
    if negative {
        text.push(b'-');
    }
    let first = text.len;
    let integer = precision - scale;
    text.significant(groups.next(integer % 9)?, first);
    for _ in 0..integer / 9 {
        text.significant(groups.next(9)?, first);
    }
    if text.len == first {
        text.push(b'0');
    }
    if scale > 0 {
        text.push(b'.');
        for _ in 0..scale / 9 {
            text.nine(groups.next(9)?);
        }
        let rest = scale % 9;
        if rest > 0 {
            // Left-aligned: nine digits of which the first `rest` stay.
            text.nine(groups.next(rest)? * POWERS[usize::from(9 - rest)]);
            text.len -= usize::from(9 - rest);
        }
    }
    Ok(text.len)
}

/// The groups of a value, most significant first.
struct Groups<'a> {
    bytes: &'a [u8],
    mask: u32,
    /// What the first byte of the value is to be XORed with; 0 once it was read.
    flip: u32,
}

impl Groups<'_> {
    #[inline(always)]
    fn next(&mut self, digits: u8) -> Result<u32, DecimalError> {
        let n = usize::from(GROUP_BYTES[usize::from(digits)]);
        let (group, rest) = self.bytes.split_at(n);
        self.bytes = rest;
        let (raw, bits) = match *group {
            [] => return Ok(0),
            [a] => (u32::from(a), 8),
            [a, b] => (u32::from(u16::from_be_bytes([a, b])), 16),
            [a, b, c] => (u32::from_be_bytes([0, a, b, c]), 24),
            _ => (u32::from_be_bytes([group[0], group[1], group[2], group[3]]), 32),
        };
        let value = (raw ^ self.flip << (bits - 8) ^ self.mask) & (u32::MAX >> (32 - bits));
        self.flip = 0;
        if value >= POWERS[usize::from(digits)] {
            return Err(DecimalError::Digits { digits });
        }
        Ok(value)
    }
}

struct Text<'a> {
    bytes: &'a mut [MaybeUninit<u8>; TEXT_BYTES],
    /// All bytes before it are written.
    len: usize,
}

impl Text<'_> {
    #[inline(always)]
    fn push(&mut self, byte: u8) {
        self.bytes[self.len].write(byte);
        self.len += 1;
    }

    /// The next group before the point: without leading zeros if none but zeros came before it (since `first`).
    #[inline(always)]
    fn significant(&mut self, value: u32, first: usize) {
        if self.len > first || value >= POWERS[8] {
            self.nine(value);
        } else if value > 0 {
            let digits = value.ilog10() as usize + 1;
            self.eight(eight(value) >> (8 * (8 - digits)));
            self.len -= 8 - digits;
        }
    }

    #[inline(always)]
    fn nine(&mut self, value: u32) {
        self.push(b'0' + (value / POWERS[8]) as u8);
        self.eight(eight(value % POWERS[8]));
    }

    #[inline(always)]
    fn eight(&mut self, digits: u64) {
        self.bytes[self.len..self.len + 8].write_copy_of_slice(&digits.to_le_bytes());
        self.len += 8;
    }
}

/// The eight digits of a number below 10^8 in ASCII, the first one in the lowest byte: halved three times, all parts at once. A
/// quotient is a product with a reciprocal that is exact for parts of that size, shifted.
#[inline(always)]
fn eight(value: u32) -> u64 {
    let fours = u64::from(value / 10_000) | u64::from(value % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens | (twos - tens * 10) << 8) + 0x3030_3030_3030_3030
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8], precision: u8, scale: u8) -> Result<String, DecimalError> {
        let mut out = Vec::new();
        write_text(bytes, precision, scale, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// Of `scripts/record-values.sh`: precision, scale, bytes of a row image in hex, and what SELECT prints.
    #[test]
    fn recorded_decimals_print_as_the_server_prints_them() {
        for line in include_str!("recorded/decimal.tsv").lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [precision, scale] = [fields[0], fields[1]].map(|n| n.parse().unwrap());
            let hex = fields[2];
            let bytes: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
            assert_eq!(len(precision, scale), bytes.len(), "{line}");
            assert_eq!(text(&bytes, precision, scale).as_deref(), Ok(fields[3]), "{line}");
            let mut packed = Vec::new();
            pack(fields[3].as_bytes(), precision, scale, &mut packed).unwrap();
            assert_eq!(packed, bytes, "{line}");
        }
    }

    #[test]
    fn the_manual_example() {
        // decimal.cc: 1234567890.1234 as decimal(14,4).
        assert_eq!(text(&[0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2], 14, 4).unwrap(), "1234567890.1234");
        assert_eq!(text(&[0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d], 14, 4).unwrap(), "-1234567890.1234");
        assert_eq!(text(&[0x80, 0x32], 3, 2).unwrap(), "0.50");
    }

    #[test]
    fn malformed_values_are_errors() {
        assert_eq!(text(&[0xff], 1, 0), Err(DecimalError::Digits { digits: 1 }));
        assert_eq!(text(&[0xff, 0xff, 0xff, 0xff], 9, 0), Err(DecimalError::Digits { digits: 9 }));
        assert_eq!(text(&[0x80], 9, 0), Err(DecimalError::Short { needed: 4, found: 1 }));
        assert_eq!(text(&[0x80], 82, 0), Err(DecimalError::Type { precision: 82, scale: 0 }));
        assert_eq!(text(&[], 0, 0), Err(DecimalError::Type { precision: 0, scale: 0 }));
        assert_eq!(text(&[0x80], 1, 2), Err(DecimalError::Type { precision: 1, scale: 2 }));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..48), precision: u8, scale: u8) {
            let mut out = b"before".to_vec();
            match write_text(&bytes, precision, scale, &mut out) {
                Ok(()) => prop_assert!(out.len() > 6 && out.len() <= 6 + 84),
                Err(_) => prop_assert_eq!(out, b"before"),
            }
        }
    }
}
