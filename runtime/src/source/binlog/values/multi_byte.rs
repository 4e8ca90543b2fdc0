//! The East Asian character sets, by tables recorded from a server.
//!
//! `multi_byte.zst` holds one run of 16-bit numbers, each as the difference from the one before it, little-endian: for each of the nine
//! sets in the order of [`index`] the characters of the single bytes 0x80 to 0xff, then those of two bytes (first 0x80 to
//! 0xff, second 0x30 to 0xff); then, for ujis and eucjpms, those of 0x8f and two bytes (each 0xa0 to 0xff), and for gb18030 those of four
//! bytes (0x81 to 0x84, 0x30 to 0x39, 0x81 to 0xfe, 0x30 to 0x39). 0xffff: no character. It is unpacked when a column first needs it.

use std::sync::LazyLock;

use super::charset::{Charset, push};

const NONE: u16 = 0xffff;
const ONES: usize = 0x80;
const TWOS: usize = 0x80 * 0xd0;
const AFTER_8F: usize = 0x60 * 0x60;
const FOURS: usize = 4 * 10 * 126 * 10;
const TOTAL: usize = 9 * (ONES + TWOS) + 2 * AFTER_8F + FOURS;

static TABLES: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let packed = include_bytes!("multi_byte.zst");
    let bytes = zstd::bulk::decompress(packed, 2 * TOTAL).unwrap_or_default();
    assert_eq!(bytes.len(), 2 * TOTAL, "the tables of this build are damaged");
    let (steps, _) = bytes.as_chunks::<2>();
    let sums = steps.iter().scan(0u16, |sum, &step| {
        *sum = sum.wrapping_add(u16::from_le_bytes(step));
        Some(*sum)
    });
    sums.collect()
});

/// Where the tables of a set stand among the nine.
fn index(charset: Charset) -> usize {
    match charset {
        Charset::Big5 => 0,
        Charset::Cp932 => 1,
        Charset::Eucjpms => 2,
        Charset::Euckr => 3,
        Charset::Gb18030 => 4,
        Charset::Gb2312 => 5,
        Charset::Gbk => 6,
        Charset::Sjis => 7,
        _ => 8,
    }
}

struct Table {
    ones: &'static [u16],
    twos: &'static [u16],
    /// Of characters of three or four bytes; empty if the set has none.
    more: &'static [u16],
    charset: Charset,
}

impl Table {
    fn new(charset: Charset) -> Table {
        let index = index(charset);
        let more_before = usize::from(index > 2) * AFTER_8F + usize::from(index > 4) * FOURS;
        let more = match charset {
            Charset::Eucjpms | Charset::Ujis => AFTER_8F,
            Charset::Gb18030 => FOURS,
            _ => 0,
        };
        let all = &TABLES[index * (ONES + TWOS) + more_before..][..ONES + TWOS + more];
        let (ones, rest) = all.split_at(ONES);
        let (twos, more) = rest.split_at(TWOS);
        Table { ones, twos, more, charset }
    }

    /// The character at the start of `text`, which does not begin with ASCII, and its length in bytes.
    #[inline]
    fn char(&self, text: &[u8]) -> Option<(char, usize)> {
        let lead = usize::from(text[0]) - 0x80;
        if self.ones[lead] != NONE {
            return unit(self.ones[lead], 1);
        }
        if !self.more.is_empty() {
            match (self.charset, text) {
                (Charset::Gb18030, &[a, b @ b'0'..=b'9', c @ 0x81..=0xfe, d @ b'0'..=b'9', ..]) => return self.four([a, b, c, d]),
                (Charset::Ujis | Charset::Eucjpms, &[0x8f, b @ 0xa0..=0xff, c @ 0xa0..=0xff, ..]) => {
                    return unit(self.more[usize::from(b - 0xa0) * 0x60 + usize::from(c - 0xa0)], 3);
                }
                _ => {}
            }
        }
        let trail = usize::from(*text.get(1)?).checked_sub(0x30)?;
        unit(self.twos[lead * 0xd0 + trail], 2)
    }

    fn four(&self, [a, b, c, d]: [u8; 4]) -> Option<(char, usize)> {
        let linear = |first: u8| {
            let rows = usize::from(a - first) * 10 + usize::from(b - b'0');
            (rows * 126 + usize::from(c - 0x81)) * 10 + usize::from(d - b'0')
        };
        match a {
            0x81..=0x84 => unit(self.more[linear(0x81)], 4),
            // All of Unicode above the BMP, in its order.
            0x90..=0xe3 => Some((char::from_u32(0x1_0000 + linear(0x90) as u32)?, 4)),
            _ => None,
        }
    }
}

#[inline]
fn unit(unit: u16, len: usize) -> Option<(char, usize)> {
    if unit == NONE { None } else { Some((char::from_u32(unit.into())?, len)) }
}

/// Appends the text as UTF-8; the error is the offset of the byte that begins no character.
pub(super) fn transcode(charset: Charset, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
    let table = Table::new(charset);
    let mut at = 0;
    while let Some(&lead) = bytes.get(at) {
        if lead < 0x80 {
            out.push(lead);
            at += 1;
        } else {
            let (char, len) = table.char(&bytes[at..]).ok_or(at)?;
            push(out, char);
            at += len;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GB18030, SHIFT_JIS};

    use super::*;

    fn ours(charset: Charset, code: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        transcode(charset, code, &mut out).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    /// Codes that are one character here, and those of them that the WHATWG mapping has otherwise or not at all.
    fn counts(charset: Charset, encoding: &'static Encoding) -> (usize, usize) {
        let twos = (0x80..=0xff).flat_map(|a| (0x30..=0xffu8).map(move |b| vec![a, b]));
        let codes = (0x80..=0xff).map(|a| vec![a]).chain(twos);
        let (mut known, mut differ) = (0, 0);
        for code in codes {
            let Some(text) = ours(charset, &code).filter(|text| text.chars().count() == 1) else { continue };
            known += 1;
            differ += usize::from(encoding.decode_without_bom_handling_and_without_replacement(&code).as_deref() != Some(&text));
        }
        (known, differ)
    }

    #[test]
    fn the_tables_agree_with_whatwg_but_for_what_the_server_does_its_own_way() {
        let found = [
            counts(Charset::Big5, BIG5),
            counts(Charset::Cp932, SHIFT_JIS),
            counts(Charset::Eucjpms, EUC_JP),
            counts(Charset::Euckr, EUC_KR),
            counts(Charset::Gb18030, GB18030),
            counts(Charset::Gb2312, GB18030),
            counts(Charset::Gbk, GB18030),
            counts(Charset::Sjis, SHIFT_JIS),
            counts(Charset::Ujis, EUC_JP),
        ];
        // Another implementation agrees with nearly all; what differs (Big5's variants, the user-defined rows of EUC-JP, the signs
        // that JIS and Unicode unify in more than one way) is as the server converts it.
        let wanted = [(13717, 267), (9667, 0), (7965, 940), (17048, 0), (23940, 19), (7445, 2), (21791, 0), (6942, 7), (7882, 947)];
        assert_eq!(found, wanted);
    }

    #[test]
    fn long_codes() {
        assert_eq!(ours(Charset::Ujis, b"\x8f\xb0\xa1").as_deref(), Some("丂"));
        assert_eq!(ours(Charset::Gb18030, b"\x81\x30\x81\x30a").as_deref(), Some("\u{80}a"));
        assert_eq!(ours(Charset::Gb18030, b"\x94\x39\xda\x33").as_deref(), Some("💩"));
        assert_eq!(ours(Charset::Gb18030, b"\xe3\x32\x9a\x36"), None);
        assert_eq!(ours(Charset::Gbk, b"\x94\x39\xda\x33"), None);
    }
}
