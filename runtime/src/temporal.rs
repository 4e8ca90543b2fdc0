//! Dates and times as 8-byte words, exactly, with MySQL's zero and impossible dates.
//!
//! A real date is milliseconds ([`crate::change::Kind::Date`]) or microseconds (`DateTime`, `Timestamp`) since 1970-01-01. MySQL
//! also stores dates that no calendar has (`0000-00-00`, `2024-00-00`, `2024-02-31`): those are `i64::MIN` plus their fields, packed
//! as year · 13 + month (17 bits), day (5), hour (5), minute (6), second (6), microsecond (20). That is always below [`INVALID_MAX`],
//! which no real value reaches.

use std::fmt::Write;

/// Words below this are packed impossible dates; all others are real.
pub const INVALID_MAX: i64 = i64::MIN + (1 << 60);

/// The fields of a date and time, as MySQL has them: any of them may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Fields {
    pub year: u32,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub microsecond: u32,
}

impl Fields {
    fn is_real(&self) -> bool {
        self.month >= 1 && self.month <= 12 && self.day >= 1 && self.day <= days_in_month(self.year, self.month)
    }

    fn packed(&self) -> i64 {
        let date = u64::from(self.year * 13 + self.month) << 5 | u64::from(self.day);
        let time = u64::from(self.hour) << 12 | u64::from(self.minute) << 6 | u64::from(self.second);
        i64::MIN + ((date << 17 | time) << 20 | u64::from(self.microsecond)) as i64
    }

    fn unpacked(word: i64) -> Fields {
        let bits = word.wrapping_sub(i64::MIN) as u64;
        let (date, time) = (bits >> 37, bits >> 20 & 0x1_ffff);
        let year_month = (date >> 5) as u32;
        Fields {
            year: year_month / 13,
            month: year_month % 13,
            day: (date & 31) as u32,
            hour: (time >> 12) as u32,
            minute: (time >> 6 & 63) as u32,
            second: (time & 63) as u32,
            microsecond: (bits & 0xf_ffff) as u32,
        }
    }

    /// The word of a `Date`: milliseconds.
    #[inline]
    pub fn date_word(&self) -> i64 {
        if self.is_real() { days_from_civil(self.year, self.month, self.day) * 86_400_000 } else { self.packed() }
    }

    /// The word of a `DateTime` or `Timestamp`: microseconds.
    #[inline]
    pub fn datetime_word(&self) -> i64 {
        if !self.is_real() {
            return self.packed();
        }
        let seconds = i64::from(self.hour * 3600 + self.minute * 60 + self.second);
        (days_from_civil(self.year, self.month, self.day) * 86_400 + seconds) * 1_000_000 + i64::from(self.microsecond)
    }

    /// Back from [`Fields::date_word`].
    pub fn of_date(word: i64) -> Fields {
        if word < INVALID_MAX {
            return Fields::unpacked(word);
        }
        let (year, month, day) = civil_from_days(word.div_euclid(86_400_000));
        Fields { year, month, day, ..Fields::default() }
    }

    /// Back from [`Fields::datetime_word`].
    pub fn of_datetime(word: i64) -> Fields {
        if word < INVALID_MAX {
            return Fields::unpacked(word);
        }
        let (year, month, day) = civil_from_days(word.div_euclid(86_400_000_000));
        let micros = word.rem_euclid(86_400_000_000);
        let seconds = (micros / 1_000_000) as u32;
        Fields {
            year,
            month,
            day,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            microsecond: (micros % 1_000_000) as u32,
        }
    }
}

/// True for a date that no calendar has (a zero date among them).
pub fn is_invalid(word: i64) -> bool {
    word < INVALID_MAX
}

/// Appends `YYYY-MM-DD`.
pub fn write_date(out: &mut String, word: i64) {
    let f = Fields::of_date(word);
    let _ = write!(out, "{:04}-{:02}-{:02}", f.year, f.month, f.day);
}

/// Appends `YYYY-MM-DD hh:mm:ss` and `fsp` digits of fraction (0 to 6).
pub fn write_datetime(out: &mut String, word: i64, fsp: u8) {
    let f = Fields::of_datetime(word);
    let _ = write!(out, "{:04}-{:02}-{:02} {:02}:{:02}:{:02}", f.year, f.month, f.day, f.hour, f.minute, f.second);
    write_fraction(out, f.microsecond, fsp);
}

/// Appends `[-]hhh:mm:ss` and `fsp` digits of fraction; `word` is signed microseconds.
pub fn write_time(out: &mut String, word: i64, fsp: u8) {
    if word < 0 {
        out.push('-');
    }
    let micros = word.unsigned_abs();
    let seconds = micros / 1_000_000;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    write_fraction(out, (micros % 1_000_000) as u32, fsp);
}

fn write_fraction(out: &mut String, microsecond: u32, fsp: u8) {
    let fsp = fsp.min(6);
    if fsp > 0 {
        let _ = write!(out, ".{:0width$}", microsecond / 10u32.pow(6 - u32::from(fsp)), width = usize::from(fsp));
    }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    let y = i64::from(year) - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let mp = (i64::from(month) + 9) % 12;
    let doy = (153 * mp + 2) / 5 + i64::from(day) - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

fn civil_from_days(days: i64) -> (u32, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    ((yoe + era * 400 + i64::from(month <= 2)) as u32, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_field_combination_comes_back(
            year in 0u32..10_000, month in 0u32..13, day in 0u32..32, hour in 0u32..24, minute in 0u32..60, second in 0u32..60,
            microsecond in 0u32..1_000_000,
        ) {
            let f = Fields { year, month, day, hour, minute, second, microsecond };
            prop_assert_eq!(Fields::of_datetime(f.datetime_word()), f);
            let date = Fields { year, month, day, ..Fields::default() };
            prop_assert_eq!(Fields::of_date(date.date_word()), date);
        }
    }

    #[test]
    fn the_text_is_mysqls() {
        let mut s = String::new();
        write_datetime(&mut s, Fields::default().datetime_word(), 3);
        write_time(&mut s, -3_020_399_000_000, 0);
        write_date(&mut s, 0);
        assert_eq!(s, "0000-00-00 00:00:00.000-838:59:591970-01-01");
    }
}
