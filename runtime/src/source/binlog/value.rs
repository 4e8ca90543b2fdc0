//! The value of one cell of a row image: to a word or to bytes, as [`crate::change::Kind`] says.
//!
//! Formats: MySQL source `sql/log_event.cc` (`log_event_print_value`), `mysys/my_time.cc` (`my_time_packed_from_binary` and its
//! siblings), `sql/field.cc` (`Field_*::pack`). A cell is the packed value without its length prefix.

use std::sync::Arc;

use crate::batcher::ColumnBuilder;
use crate::change::Address;
use crate::temporal::Fields;

use super::rows::Cell;
use super::values::charset::Charset;
use super::values::{address, decimal, json, packed};

/// How the cells of a column become values; decided once for a relation.
#[derive(Clone, Debug)]
pub enum Decode {
    I8,
    I16,
    I24,
    I32,
    I64,
    U8,
    U16,
    U24,
    U32,
    U64,
    F32,
    F64,
    /// Big-endian, 1 to 8 bytes.
    Bit,
    Year,
    Date,
    /// Of servers before 5.6: numbers like 20241231235959.
    OldTime,
    OldDateTime,
    OldTimestamp,
    /// Of 5.6 and later, with that many bytes of fraction (0 to 3).
    Time(u8),
    DateTime(u8),
    Timestamp(u8),
    /// Copied as it is: binary types, and text in UTF-8 (which is checked once a column, when its batch is finished).
    Copy,
    /// Text in another character set.
    Transcode(Charset),
    /// BINARY(N): the binlog leaves out trailing zeros.
    Pad(u32),
    /// A MariaDB COMPRESSED column, with the character set of its text if that is not UTF-8.
    Unpack(Option<Charset>),
    /// The bytes of an address, to its text; trailing zeros may be left out.
    Address(Address),
    Decimal {
        precision: u8,
        scale: u8,
    },
    Enum(Arc<[Box<str>]>),
    Set(Arc<[Box<str>]>),
    Json,
    /// Of the rows of a prepared statement, where they differ from those of the binlog: a decimal as text, a year as a number, dates and
    /// times field by field (without the fields at the end that are zero).
    SentDecimal {
        precision: u8,
        scale: u8,
    },
    SentYear,
    SentDate,
    SentTime,
    SentDateTime,
}

/// Why a cell has no value. Never holds the value.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    #[error("a value of {0} bytes does not fit the column's type")]
    Length(usize),
    #[error("a value is out of the type's range")]
    Range,
    #[error("member {index} of an ENUM or SET that has {members}")]
    Member { index: u64, members: usize },
    #[error("text is not valid in the column's character set")]
    Charset,
    #[error("malformed JSON: {0}")]
    Json(json::JsonError),
    #[error("malformed DECIMAL")]
    Decimal,
    #[error("a compressed value cannot be opened: {0}")]
    Packed(packed::PackedError),
}

/// Little-endian, up to 8 bytes.
#[inline(always)]
fn le<const N: usize>(cell: &[u8]) -> Result<u64, ValueError> {
    let bytes: &[u8; N] = cell.try_into().map_err(|_| ValueError::Length(cell.len()))?;
    let mut word = [0; 8];
    word[..N].copy_from_slice(bytes);
    Ok(u64::from_le_bytes(word))
}

/// Big-endian, any length up to 8 bytes.
#[inline(always)]
fn be(cell: &[u8]) -> Result<u64, ValueError> {
    if cell.len() > 8 {
        return Err(ValueError::Length(cell.len()));
    }
    Ok(cell.iter().fold(0, |word, b| word << 8 | u64::from(*b)))
}

/// Microseconds out of `fraction`, which was stored in `bytes` bytes (hundredths, ten-thousandths or millionths of a second).
#[inline(always)]
fn micros(fraction: u64, bytes: u8) -> u64 {
    match bytes {
        0 => 0,
        1 => fraction * 10_000,
        2 => fraction * 100,
        _ => fraction,
    }
}

/// The word of a date and time whose fields a server may hold: months and days may be zero.
#[inline]
fn datetime(f: Fields) -> Result<i64, ValueError> {
    let fits = f.year <= 9999 && f.month <= 12 && f.day <= 31 && f.hour <= 23 && f.minute <= 59 && f.second <= 59;
    if fits && f.microsecond <= 999_999 { Ok(f.datetime_word()) } else { Err(ValueError::Range) }
}

#[inline]
fn timestamp(seconds: u64, micros: u64) -> Result<i64, ValueError> {
    if micros > 999_999 {
        return Err(ValueError::Range);
    }
    if seconds == 0 && micros == 0 {
        return Ok(Fields::default().datetime_word());
    }
    Ok((seconds * 1_000_000 + micros) as i64)
}

/// The fields of a date and time as a prepared statement sends them: year 2, month, day, hour, minute, second, microseconds 4.
#[inline]
fn sent_fields(cell: &[u8]) -> Result<Fields, ValueError> {
    if !matches!(cell.len(), 0 | 4 | 7 | 11) {
        return Err(ValueError::Length(cell.len()));
    }
    let mut all = [0; 11];
    all[..cell.len()].copy_from_slice(cell);
    let [y, z, month, day, hour, minute, second, a, b, c, d] = all;
    Ok(Fields {
        year: u32::from(u16::from_le_bytes([y, z])),
        month: month.into(),
        day: day.into(),
        hour: hour.into(),
        minute: minute.into(),
        second: second.into(),
        microsecond: u32::from_le_bytes([a, b, c, d]),
    })
}

/// Is negative 1, days 4, hours, minutes, seconds, microseconds 4.
#[inline]
fn sent_time(cell: &[u8]) -> Result<i64, ValueError> {
    if !matches!(cell.len(), 0 | 8 | 12) {
        return Err(ValueError::Length(cell.len()));
    }
    let mut all = [0; 12];
    all[..cell.len()].copy_from_slice(cell);
    let [negative, a, b, c, d, hour, minute, second, rest @ ..] = all;
    let (days, micros) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes(rest));
    let hours = u64::from(days) * 24 + u64::from(hour);
    if hours > 838 || minute > 59 || second > 59 || micros > 999_999 {
        return Err(ValueError::Range);
    }
    let seconds = hours * 3600 + u64::from(minute) * 60 + u64::from(second);
    let micros = (seconds * 1_000_000 + u64::from(micros)) as i64;
    Ok(if negative == 0 { micros } else { -micros })
}

/// hhmmss as a decimal number, signed microseconds.
fn old_time(number: i64) -> Result<i64, ValueError> {
    let n = number.unsigned_abs();
    let (hour, minute, second) = (n / 10_000, n / 100 % 100, n % 100);
    if hour > 838 || minute > 59 || second > 59 {
        return Err(ValueError::Range);
    }
    let micros = ((hour * 3600 + minute * 60 + second) * 1_000_000) as i64;
    Ok(if number < 0 { -micros } else { micros })
}

/// Calls `append` for each cell that has a value.
#[inline(always)]
fn each(
    cells: impl Iterator<Item = Cell>,
    rows: &[u8],
    out: &mut ColumnBuilder,
    append: impl Fn(&[u8], &mut ColumnBuilder) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    for cell in cells {
        match cell.bytes(rows) {
            Some(bytes) => append(bytes, out)?,
            None if cell.is_absent() => out.absent(),
            None => out.null(),
        }
    }
    Ok(())
}

impl Decode {
    /// True if the values are words.
    pub fn is_word(&self) -> bool {
        !matches!(
            self,
            Decode::Copy
                | Decode::Transcode(_)
                | Decode::Pad(_)
                | Decode::Unpack(_)
                | Decode::Address(_)
                | Decode::Decimal { .. }
                | Decode::Enum(_)
                | Decode::Set(_)
                | Decode::Json
                | Decode::SentDecimal { .. }
        )
    }

    /// The word of a cell: the bits of an i64, u64 or f64. Of an ENUM or SET it is the number, which tells its values apart as well.
    #[inline(always)]
    pub fn word(&self, cell: &[u8]) -> Result<i64, ValueError> {
        Ok(match self {
            Decode::I8 => i64::from(le::<1>(cell)? as i8),
            Decode::I16 => i64::from(le::<2>(cell)? as i16),
            Decode::I24 => i64::from((le::<3>(cell)? << 8) as i32 >> 8),
            Decode::I32 => i64::from(le::<4>(cell)? as i32),
            Decode::I64 | Decode::U64 | Decode::F64 => le::<8>(cell)? as i64,
            Decode::U8 => le::<1>(cell)? as i64,
            Decode::U16 => le::<2>(cell)? as i64,
            Decode::U24 => le::<3>(cell)? as i64,
            Decode::U32 => le::<4>(cell)? as i64,
            Decode::F32 => f64::from(f32::from_bits(le::<4>(cell)? as u32)).to_bits() as i64,
            Decode::Bit => be(cell)? as i64,
            Decode::Year => match le::<1>(cell)? {
                0 => 0,
                year => 1900 + year as i64,
            },
            Decode::Date => {
                let date = le::<3>(cell)? as u32;
                let fields = Fields { year: date >> 9, month: date >> 5 & 15, day: date & 31, ..Fields::default() };
                if fields.month > 12 || fields.year > 9999 {
                    return Err(ValueError::Range);
                }
                fields.date_word()
            }
            Decode::OldTime => old_time(i64::from((le::<3>(cell)? << 8) as i32 >> 8))?,
            Decode::OldDateTime => {
                let n = le::<8>(cell)?;
                let (date, time) = (n / 1_000_000, (n % 1_000_000) as u32);
                datetime(Fields {
                    year: u32::try_from(date / 10_000).map_err(|_| ValueError::Range)?,
                    month: (date / 100 % 100) as u32,
                    day: (date % 100) as u32,
                    hour: time / 10_000,
                    minute: time / 100 % 100,
                    second: time % 100,
                    microsecond: 0,
                })?
            }
            Decode::OldTimestamp => timestamp(le::<4>(cell)?, 0)?,
            Decode::Time(fraction_bytes) => {
                // Offset binary over the whole number, fraction included: the fraction of a negative time counts down.
                let shift = u32::from(*fraction_bytes) * 8;
                let signed = be(cell)? as i64 - (0x80_0000 << shift);
                let packed = signed.unsigned_abs();
                let (hms, fraction) = (packed >> shift, micros(packed & ((1 << shift) - 1), *fraction_bytes));
                let (hour, minute, second) = (hms >> 12 & 0x3ff, hms >> 6 & 63, hms & 63);
                if hour > 838 || minute > 59 || second > 59 || fraction > 999_999 || hms > 0x3f_ffff {
                    return Err(ValueError::Range);
                }
                let micros = ((hour * 3600 + minute * 60 + second) * 1_000_000 + fraction) as i64;
                if signed < 0 { -micros } else { micros }
            }
            Decode::DateTime(fraction_bytes) => {
                let (head, fraction) = cell.split_at_checked(5).ok_or(ValueError::Length(cell.len()))?;
                let packed = be(head)?.checked_sub(0x80_0000_0000).ok_or(ValueError::Range)?;
                let (date, time) = ((packed >> 17) as u32, (packed & 0x1_ffff) as u32);
                datetime(Fields {
                    year: (date >> 5) / 13,
                    month: (date >> 5) % 13,
                    day: date & 31,
                    hour: time >> 12,
                    minute: time >> 6 & 63,
                    second: time & 63,
                    microsecond: micros(be(fraction)?, *fraction_bytes) as u32,
                })?
            }
            Decode::Timestamp(fraction_bytes) => {
                let (head, fraction) = cell.split_at_checked(4).ok_or(ValueError::Length(cell.len()))?;
                timestamp(be(head)?, micros(be(fraction)?, *fraction_bytes))?
            }
            Decode::Enum(_) | Decode::Set(_) => {
                if cell.len() > 8 {
                    return Err(ValueError::Length(cell.len()));
                }
                cell.iter().rev().fold(0, |word, b| word << 8 | u64::from(*b)) as i64
            }
            Decode::SentYear => le::<2>(cell)? as i64,
            Decode::SentDate => {
                let fields = sent_fields(cell)?;
                if fields.month > 12 || fields.year > 9999 || fields.day > 31 {
                    return Err(ValueError::Range);
                }
                fields.date_word()
            }
            Decode::SentTime => sent_time(cell)?,
            // A session in UTC sends instants in UTC.
            Decode::SentDateTime => datetime(sent_fields(cell)?)?,
            Decode::Copy
            | Decode::Transcode(_)
            | Decode::Pad(_)
            | Decode::Unpack(_)
            | Decode::Address(_)
            | Decode::Decimal { .. }
            | Decode::Json
            | Decode::SentDecimal { .. } => {
                return Err(ValueError::Length(cell.len()));
            }
        })
    }

    /// Appends the values of a column. The types that most columns have get a loop of their own.
    pub fn append_all(&self, cells: impl Iterator<Item = Cell>, rows: &[u8], out: &mut ColumnBuilder) -> Result<(), ValueError> {
        macro_rules! words {
            ($decode:expr) => {
                each(cells, rows, out, |cell, out| {
                    out.word($decode.word(cell)?);
                    Ok(())
                })
            };
        }
        match *self {
            Decode::I8 => words!(Decode::I8),
            Decode::I32 => words!(Decode::I32),
            Decode::I64 => words!(Decode::I64),
            Decode::U32 => words!(Decode::U32),
            Decode::U64 => words!(Decode::U64),
            Decode::F64 => words!(Decode::F64),
            Decode::Date => words!(Decode::Date),
            Decode::DateTime(fraction_bytes) => words!(Decode::DateTime(fraction_bytes)),
            Decode::Timestamp(fraction_bytes) => words!(Decode::Timestamp(fraction_bytes)),
            Decode::Copy => each(cells, rows, out, |cell, out| {
                out.bytes(cell);
                Ok(())
            }),
            Decode::SentDateTime => words!(Decode::SentDateTime),
            Decode::Decimal { precision, scale } => {
                each(cells, rows, out, |cell, out| Decode::Decimal { precision, scale }.append(cell, out))
            }
            _ => each(cells, rows, out, |cell, out| self.append(cell, out)),
        }
    }

    /// Appends the value of a cell that is neither NULL nor absent.
    #[inline]
    fn append(&self, cell: &[u8], out: &mut ColumnBuilder) -> Result<(), ValueError> {
        match self {
            Decode::Copy => out.bytes(cell),
            Decode::Decimal { precision, scale } => {
                decimal::write_text(cell, *precision, *scale, out.data()).map_err(|_| ValueError::Decimal)?;
                out.end_bytes();
            }
            Decode::Transcode(charset) => {
                charset.transcode(cell, out.data()).map_err(|_| ValueError::Charset)?;
                out.end_bytes();
            }
            Decode::Pad(length) => {
                let missing = (*length as usize).checked_sub(cell.len()).ok_or(ValueError::Length(cell.len()))?;
                let data = out.data();
                data.extend_from_slice(cell);
                data.resize(data.len() + missing, 0);
                out.end_bytes();
            }
            Decode::Unpack(None) => {
                packed::unpack(cell, out.data()).map_err(ValueError::Packed)?;
                out.end_bytes();
            }
            Decode::Unpack(Some(charset)) => {
                // Allocates, as opening any compressed value does.
                let mut plain = Vec::new();
                packed::unpack(cell, &mut plain).map_err(ValueError::Packed)?;
                charset.transcode(&plain, out.data()).map_err(|_| ValueError::Charset)?;
                out.end_bytes();
            }
            Decode::Address(address) => {
                address::write_text(*address, cell, out.data()).ok_or(ValueError::Length(cell.len()))?;
                out.end_bytes();
            }
            Decode::Enum(members) => {
                let index = self.word(cell)? as u64;
                // 0 is the empty string that an invalid value was stored as.
                if index > 0 {
                    let member = usize::try_from(index - 1).ok().and_then(|i| members.get(i));
                    let member = member.ok_or(ValueError::Member { index, members: members.len() })?;
                    out.data().extend_from_slice(member.as_bytes());
                }
                out.end_bytes();
            }
            Decode::Set(members) => {
                let mut bits = self.word(cell)? as u64;
                let mut is_first = true;
                while bits != 0 {
                    let bit = bits.trailing_zeros();
                    let member = members.get(bit as usize);
                    let member = member.ok_or(ValueError::Member { index: u64::from(bit) + 1, members: members.len() })?;
                    if !is_first {
                        out.data().push(b',');
                    }
                    out.data().extend_from_slice(member.as_bytes());
                    is_first = false;
                    bits &= bits - 1;
                }
                out.end_bytes();
            }
            Decode::Json => {
                // A column that was added NOT NULL reads as empty in old rows, which the server takes for the literal null.
                if cell.is_empty() {
                    out.data().extend_from_slice(b"null");
                } else {
                    json::write_text(cell, out.data()).map_err(ValueError::Json)?;
                }
                out.end_bytes();
            }
            Decode::SentDecimal { .. } => {
                let (sign, digits) = match cell {
                    [b'-', digits @ ..] => (&cell[..1], digits),
                    digits => (&[][..], digits),
                };
                // ZEROFILL columns come with zeros in front.
                let zeros = digits.windows(2).take_while(|pair| pair[0] == b'0' && pair[1].is_ascii_digit()).count();
                let data = out.data();
                data.extend_from_slice(sign);
                data.extend_from_slice(&digits[zeros..]);
                out.end_bytes();
            }
            _ => out.word(self.word(cell)?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporal;

    fn time(bytes: &[u8], fraction_bytes: u8) -> String {
        let mut text = String::new();
        temporal::write_time(&mut text, Decode::Time(fraction_bytes).word(bytes).unwrap(), fraction_bytes * 2);
        text
    }

    fn datetime_text(decode: Decode, bytes: &[u8]) -> String {
        let mut text = String::new();
        temporal::write_datetime(&mut text, decode.word(bytes).unwrap(), 0);
        text
    }

    /// Bytes from the comment on `my_time_packed_from_binary` in mysys/my_time.cc.
    #[test]
    fn negative_times_count_down() {
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0xff], 1), "-00:00:00.01");
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0x9d], 1), "-00:00:00.99");
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0x00], 1), "-00:00:01.00");
        assert_eq!(time(&[0x7f, 0xff, 0xfe, 0xf6], 1), "-00:00:01.10");
        assert_eq!(time(&[0x80, 0x00, 0x01, 0x0a], 1), "00:00:01.10");
    }

    #[test]
    fn the_formats_of_old_servers() {
        assert_eq!(datetime_text(Decode::OldDateTime, &20_241_231_235_958u64.to_le_bytes()), "2024-12-31 23:59:58");
        assert_eq!(datetime_text(Decode::OldTimestamp, &86_399u32.to_le_bytes()), "1970-01-01 23:59:59");
        assert_eq!(datetime_text(Decode::OldTimestamp, &[0; 4]), "0000-00-00 00:00:00");
        let number = (-8_385_959i32).to_le_bytes();
        assert_eq!(Decode::OldTime.word(&number[..3]).unwrap(), -3_020_399_000_000);
    }

    #[test]
    fn signs_are_extended() {
        assert_eq!(Decode::I24.word(&[0xff, 0xff, 0xff]).unwrap(), -1);
        assert_eq!(Decode::U24.word(&[0xff, 0xff, 0xff]).unwrap(), 16_777_215);
        assert_eq!(Decode::I8.word(&[0x80]).unwrap(), -128);
        assert_eq!(Decode::U64.word(&[0xff; 8]).unwrap() as u64, u64::MAX);
    }

    #[test]
    fn what_no_server_writes_is_refused() {
        assert!(Decode::Date.word(&[0xff, 0xff, 0xff]).is_err());
        assert!(Decode::DateTime(0).word(&[0; 5]).is_err());
        assert!(Decode::DateTime(3).word(&[0x99, 0, 0, 0, 0, 0xff, 0xff, 0xff]).is_err());
        assert!(Decode::Time(0).word(&[0xff; 3]).is_err());
        assert!(Decode::I32.word(&[1]).is_err());
        assert!(Decode::Copy.word(&[1]).is_err());
    }
}
