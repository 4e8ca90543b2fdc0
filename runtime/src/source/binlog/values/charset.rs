//! The source's character sets: which one a collation belongs to, and its text as UTF-8.
//!
//! Conversion is the server's own (`CONVERT(… USING utf8mb4)`), not the web's or iconv's: tables are recorded from a server. A byte
//! that no character has is an error, never a replacement character.

use super::{collation_ids, multi_byte, single_byte};

/// A character set of MySQL 9.7 or MariaDB 11.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Charset {
    Armscii8,
    Ascii,
    Big5,
    Binary,
    Cp1250,
    Cp1251,
    Cp1256,
    Cp1257,
    Cp850,
    Cp852,
    Cp866,
    Cp932,
    Dec8,
    Eucjpms,
    Euckr,
    Gb18030,
    Gb2312,
    Gbk,
    Geostd8,
    Greek,
    Hebrew,
    Hp8,
    Keybcs2,
    Koi8r,
    Koi8u,
    Latin1,
    Latin2,
    Latin5,
    Latin7,
    Macce,
    Macroman,
    Sjis,
    Swe7,
    Tis620,
    Ucs2,
    Ujis,
    Utf16,
    Utf16le,
    Utf32,
    Utf8mb3,
    Utf8mb4,
}

/// The text has bytes that are no character of its character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of the text begins no character of {}", charset.name())]
pub struct CharsetError {
    pub charset: Charset,
    /// Where the malformed character begins, in bytes.
    pub at: usize,
}

impl Charset {
    /// The character set of a collation (information_schema.COLLATIONS.ID). MariaDB's NO PAD collations are `id + 1024`, its
    /// uca1400 ones begin at 2048. `None`: no server has this id.
    pub fn of_collation(id: u16) -> Option<Charset> {
        collation_ids::find(id).map(|(charset, _)| charset)
    }

    /// Text is UTF-8 (or ASCII) as it is, once it is checked.
    #[inline]
    pub fn is_utf8(self) -> bool {
        matches!(self, Charset::Utf8mb4 | Charset::Utf8mb3 | Charset::Ascii)
    }

    #[inline]
    pub fn is_binary(self) -> bool {
        self == Charset::Binary
    }

    /// The most bytes that a character takes (`Maxlen` of SHOW CHARACTER SET): a `char(n)` is `n` times as many bytes in TABLE_MAP.
    pub fn bytes_per_char(self) -> u8 {
        match self {
            Charset::Utf8mb4 | Charset::Utf16 | Charset::Utf16le | Charset::Utf32 | Charset::Gb18030 => 4,
            Charset::Utf8mb3 | Charset::Ujis | Charset::Eucjpms => 3,
            Charset::Big5 | Charset::Cp932 | Charset::Euckr | Charset::Gb2312 | Charset::Gbk | Charset::Sjis | Charset::Ucs2 => 2,
            _ => 1,
        }
    }

    /// As `CHARACTER SET` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Charset::Armscii8 => "armscii8",
            Charset::Ascii => "ascii",
            Charset::Big5 => "big5",
            Charset::Binary => "binary",
            Charset::Cp1250 => "cp1250",
            Charset::Cp1251 => "cp1251",
            Charset::Cp1256 => "cp1256",
            Charset::Cp1257 => "cp1257",
            Charset::Cp850 => "cp850",
            Charset::Cp852 => "cp852",
            Charset::Cp866 => "cp866",
            Charset::Cp932 => "cp932",
            Charset::Dec8 => "dec8",
            Charset::Eucjpms => "eucjpms",
            Charset::Euckr => "euckr",
            Charset::Gb18030 => "gb18030",
            Charset::Gb2312 => "gb2312",
            Charset::Gbk => "gbk",
            Charset::Geostd8 => "geostd8",
            Charset::Greek => "greek",
            Charset::Hebrew => "hebrew",
            Charset::Hp8 => "hp8",
            Charset::Keybcs2 => "keybcs2",
            Charset::Koi8r => "koi8r",
            Charset::Koi8u => "koi8u",
            Charset::Latin1 => "latin1",
            Charset::Latin2 => "latin2",
            Charset::Latin5 => "latin5",
            Charset::Latin7 => "latin7",
            Charset::Macce => "macce",
            Charset::Macroman => "macroman",
            Charset::Sjis => "sjis",
            Charset::Swe7 => "swe7",
            Charset::Tis620 => "tis620",
            Charset::Ucs2 => "ucs2",
            Charset::Ujis => "ujis",
            Charset::Utf16 => "utf16",
            Charset::Utf16le => "utf16le",
            Charset::Utf32 => "utf32",
            Charset::Utf8mb3 => "utf8mb3",
            Charset::Utf8mb4 => "utf8mb4",
        }
    }

    /// Appends the text as UTF-8. Bytes of utf8mb3, utf8mb4 and ascii columns (and of binary ones, which have no text) go through as
    /// they are: whether they are UTF-8 is checked a column at a time when the batch is made. After an error `out` holds what came before it.
    pub fn transcode(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CharsetError> {
        let done = match self {
            Charset::Utf8mb4 | Charset::Utf8mb3 | Charset::Ascii | Charset::Binary => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Charset::Ucs2 => units::<2>(bytes, out, |unit| char::from_u32(u16::from_be_bytes(*unit).into())),
            Charset::Utf32 => units::<4>(bytes, out, |unit| char::from_u32(u32::from_be_bytes(*unit))),
            Charset::Utf16 => utf16(bytes, out, u16::from_be_bytes),
            Charset::Utf16le => utf16(bytes, out, u16::from_le_bytes),
            multi => match single_byte::table(*multi) {
                Some(table) => single(bytes, out, table),
                None => multi_byte::transcode(*multi, bytes, out),
            },
        };
        done.map_err(|at| CharsetError { charset: *self, at })
    }
}

/// `table` covers the last `table.len()` bytes; those before them are ASCII. Errors are byte offsets, here and below.
fn single(bytes: &[u8], out: &mut Vec<u8>, table: &[u16]) -> Result<(), usize> {
    let plain = 256 - table.len();
    for (at, &byte) in bytes.iter().enumerate() {
        match usize::from(byte).checked_sub(plain) {
            None => out.push(byte),
            Some(index) => match table[index] {
                0 if byte != 0 => return Err(at),
                char => push(out, char::from_u32(char.into()).ok_or(at)?),
            },
        }
    }
    Ok(())
}

fn units<const N: usize>(bytes: &[u8], out: &mut Vec<u8>, char: impl Fn(&[u8; N]) -> Option<char>) -> Result<(), usize> {
    let (units, rest) = bytes.as_chunks::<N>();
    for (i, unit) in units.iter().enumerate() {
        push(out, char(unit).ok_or(i * N)?);
    }
    if rest.is_empty() { Ok(()) } else { Err(bytes.len() - rest.len()) }
}

fn utf16(bytes: &[u8], out: &mut Vec<u8>, unit: impl Fn([u8; 2]) -> u16) -> Result<(), usize> {
    let (units, rest) = bytes.as_chunks::<2>();
    let mut at = 0;
    for char in char::decode_utf16(units.iter().map(|&bytes| unit(bytes))) {
        let char = char.map_err(|_| at)?;
        push(out, char);
        at += 2 * char.len_utf16();
    }
    if rest.is_empty() { Ok(()) } else { Err(at) }
}

#[inline]
pub(super) fn push(out: &mut Vec<u8>, char: char) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(charset: Charset, bytes: &[u8]) -> Result<String, usize> {
        let mut out = Vec::new();
        charset.transcode(bytes, &mut out).map_err(|e| e.at)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn collations_have_their_character_set() {
        for (id, name) in [(8, "latin1"), (33, "utf8mb3"), (63, "binary"), (255, "utf8mb4"), (250, "gb18030"), (1032, "latin1")] {
            assert_eq!(Charset::of_collation(id).map(Charset::name), Some(name), "{id}");
        }
        assert_eq!(Charset::of_collation(2304), Some(Charset::Utf8mb4));
        for id in [0, 100, 1500, 4096, u16::MAX] {
            assert_eq!(Charset::of_collation(id), None, "{id}");
        }
    }

    #[test]
    fn latin1_is_cp1252_with_controls_in_its_holes() {
        assert_eq!(text(Charset::Latin1, b"a\x80\x81\xe9\0").unwrap(), "a€\u{81}é\0");
    }

    #[test]
    fn unicode_encodings() {
        assert_eq!(text(Charset::Ucs2, b"\0a\x20\xac").unwrap(), "a€");
        assert_eq!(text(Charset::Ucs2, b"\0a\xd8\0"), Err(2));
        assert_eq!(text(Charset::Utf16, b"\xd8\x3d\xde\0\0a").unwrap(), "😀a");
        assert_eq!(text(Charset::Utf16le, b"\x3d\xd8\0\xdea\0").unwrap(), "😀a");
        assert_eq!(text(Charset::Utf16, b"\0a\xd8\x3d"), Err(2));
        assert_eq!(text(Charset::Utf16, b"\0a\0"), Err(2));
        assert_eq!(text(Charset::Utf32, b"\0\x01\xf6\0").unwrap(), "😀");
        assert_eq!(text(Charset::Utf32, b"\0\x11\0\0"), Err(0));
    }

    #[test]
    fn what_no_character_has_is_an_error() {
        assert_eq!(text(Charset::Cp1250, b"ab\x81"), Err(2));
        assert_eq!(text(Charset::Gbk, b"a\x81"), Err(1));
        assert_eq!(text(Charset::Sjis, b"a\xa0"), Err(1));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_all_text_is_utf8(id in 1u16..2400, bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let Some(charset) = Charset::of_collation(id) else { return Ok(()) };
            let mut out = Vec::new();
            if charset.transcode(&bytes, &mut out).is_ok() && !charset.is_utf8() && !charset.is_binary() {
                prop_assert!(String::from_utf8(out).is_ok());
            }
        }
    }
}
