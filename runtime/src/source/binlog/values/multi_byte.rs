//! The East Asian character sets, by a table of 65 536 entries each that is built when a column first needs it.
//!
//! The mapping is `encoding_rs`' (the WHATWG one).

use std::sync::LazyLock;

use encoding_rs::{BIG5, DecoderResult, EUC_JP, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS};

use super::charset::{Charset, push};

/// A code (one byte, or two as a big-endian number) that no character has.
pub(super) const NONE: u16 = 0xffff;

/// What each code is in Unicode, and for the Japanese EUC ones what each two bytes behind 0x8f are.
struct Table {
    codes: Box<[u16]>,
    after_8f: Option<Box<[u16]>>,
}

static TABLES: [LazyLock<Table>; 9] = [
    LazyLock::new(|| Table::new(Charset::Big5)),
    LazyLock::new(|| Table::new(Charset::Cp932)),
    LazyLock::new(|| Table::new(Charset::Eucjpms)),
    LazyLock::new(|| Table::new(Charset::Euckr)),
    LazyLock::new(|| Table::new(Charset::Gb18030)),
    LazyLock::new(|| Table::new(Charset::Gb2312)),
    LazyLock::new(|| Table::new(Charset::Gbk)),
    LazyLock::new(|| Table::new(Charset::Sjis)),
    LazyLock::new(|| Table::new(Charset::Ujis)),
];

/// `charset` is one of the nine above.
fn table(charset: Charset) -> &'static Table {
    let index = match charset {
        Charset::Big5 => 0,
        Charset::Cp932 => 1,
        Charset::Eucjpms => 2,
        Charset::Euckr => 3,
        Charset::Gb18030 => 4,
        Charset::Gb2312 => 5,
        Charset::Gbk => 6,
        Charset::Sjis => 7,
        _ => 8,
    };
    &TABLES[index]
}

fn encoding(charset: Charset) -> &'static Encoding {
    match charset {
        Charset::Big5 => BIG5,
        Charset::Cp932 | Charset::Sjis => SHIFT_JIS,
        Charset::Euckr => EUC_KR,
        Charset::Gb18030 => GB18030,
        Charset::Gb2312 | Charset::Gbk => GBK,
        _ => EUC_JP,
    }
}

impl Table {
    fn new(charset: Charset) -> Table {
        let mut codes = vec![NONE; 0x1_0000].into_boxed_slice();
        for byte in 0..=0xff {
            codes[usize::from(byte)] = decode(charset, &[byte]);
        }
        for lead in 0x80..=0xffu8 {
            if codes[usize::from(lead)] == NONE {
                for trail in 0x30..=0xffu8 {
                    codes[usize::from(u16::from_be_bytes([lead, trail]))] = decode(charset, &[lead, trail]);
                }
            }
        }
        let after_8f = matches!(charset, Charset::Ujis | Charset::Eucjpms).then(|| {
            let mut codes = vec![NONE; 0x1_0000].into_boxed_slice();
            for code in 0xa1a1..=0xfefe_u16 {
                let [high, low] = code.to_be_bytes();
                codes[usize::from(code)] = decode(charset, &[0x8f, high, low]);
            }
            codes
        });
        Table { codes, after_8f }
    }
}

/// The one character of the BMP that `code` is by the WHATWG mapping.
fn decode(charset: Charset, code: &[u8]) -> u16 {
    let mut text = [0; 16];
    let mut decoder = encoding(charset).new_decoder_without_bom_handling();
    match decoder.decode_to_utf8_without_replacement(code, &mut text, true) {
        (DecoderResult::InputEmpty, _, len) => match std::str::from_utf8(&text[..len]).ok().and_then(only_char) {
            Some(char) => u16::try_from(u32::from(char)).unwrap_or(NONE),
            None => NONE,
        },
        _ => NONE,
    }
}

fn only_char(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// Appends the text as UTF-8; the error is the offset of the byte that begins no character.
pub(super) fn transcode(charset: Charset, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
    let table = table(charset);
    let mut at = 0;
    while let Some(&lead) = bytes.get(at) {
        if lead < 0x80 {
            out.push(lead);
            at += 1;
            continue;
        }
        let (code, len) = match (table.codes[usize::from(lead)], bytes.get(at + 1), &table.after_8f) {
            (NONE, Some(&middle), Some(after)) if lead == 0x8f => match bytes.get(at + 2) {
                Some(&low) => (after[usize::from(u16::from_be_bytes([middle, low]))], 3),
                None => return Err(at),
            },
            (NONE, Some(b'0'..=b'9'), _) if charset == Charset::Gb18030 => {
                let code = bytes.get(at..at + 4).ok_or(at)?;
                gb18030_four(code, out).ok_or(at)?;
                at += 4;
                continue;
            }
            (NONE, Some(&low), _) => (table.codes[usize::from(u16::from_be_bytes([lead, low]))], 2),
            (NONE, None, _) => return Err(at),
            (code, ..) => (code, 1),
        };
        push(out, char::from_u32(code.into()).filter(|_| code != NONE).ok_or(at)?);
        at += len;
    }
    Ok(())
}

/// A character of four bytes, which GB 18030 maps by arithmetic.
fn gb18030_four(code: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut text = [0; 16];
    let mut decoder = GB18030.new_decoder_without_bom_handling();
    let (DecoderResult::InputEmpty, _, len) = decoder.decode_to_utf8_without_replacement(code, &mut text, true) else {
        return None;
    };
    out.extend_from_slice(text.get(..len)?);
    Some(())
}
