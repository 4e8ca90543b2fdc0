//! Hashes by which keys choose their lane: texts that are equal under a collation hash the same.
//!
//! FROZEN: marks in targets say how far each lane has got, and which rows a lane has follows from these hashes. A change of any
//! result of [`hash`], [`hash_bytes`] or [`hash_word`] between versions loses or repeats rows after an upgrade.
//!
//! Equality must be kept; more of it only costs parallelism. So texts whose collation is not understood all hash the same.

use std::sync::LazyLock;

use super::collation_folds::{FOLDS, VARIANTS};
use super::collation_ids;

/// How a collation compares, as far as the hash looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// By code point; trailing spaces may or may not count.
    Bytes,
    /// Equal texts have equal ASCII letters and digits, once every character is replaced by those it stands for under this variant
    /// of [`FOLDS`] (index into [`VARIANTS`]): `É` by `e`, `ß` by `ss`, a comma or a Chinese character by nothing.
    Letters(u8),
    /// By rules that the hash does not know.
    Other,
}

/// What some collations change in [`FOLDS`].
pub(super) struct Variant {
    /// Characters above U+FFFF stand for nothing.
    pub(super) bmp_only: bool,
    /// `changes` has ASCII characters.
    pub(super) changes_ascii: bool,
    /// By character, growing.
    pub(super) changes: &'static [(u32, &'static str)],
}

/// Odd, and random enough: the fraction of the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Adds a word to a hash. All bits of the result depend on all bits of both (the finalizer of SplitMix64), so that
/// `hash % lanes` spreads consecutive ids evenly.
#[inline]
pub fn hash_word(word: i64, state: u64) -> u64 {
    let mut z = (state ^ word as u64).wrapping_add(GOLDEN);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Adds bytes and their number to a hash.
#[inline]
pub fn hash_bytes(bytes: &[u8], state: u64) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = state;
    for word in words {
        hash = hash_word(i64::from_le_bytes(*word), hash);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    hash_word(i64::from_le_bytes(last) ^ (bytes.len() as i64) << 56, hash)
}

/// Adds a text to a hash, so that texts which are equal under `collation` give the same. Bytes that are no UTF-8 count as nothing
/// or as they are.
#[inline]
pub fn hash(collation: u16, utf8: &[u8], state: u64) -> u64 {
    match collation_ids::find(collation) {
        Some((_, Family::Bytes)) => hash_bytes(without_trailing_spaces(utf8), state),
        Some((_, Family::Letters(variant))) => hash_letters(&VARIANTS[usize::from(variant)], utf8, state),
        Some((_, Family::Other)) | None => hash_word(0, state),
    }
}

/// The letter or digit that an ASCII character stands for, 0 if none.
static ASCII: [u8; 128] = {
    let mut table = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// By character up to the last one of [`FOLDS`]: 0 or one more than its index there.
static FOLD_BY_CHAR: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let max = FOLDS.iter().flat_map(|(_, chars)| chars.iter()).max().copied().unwrap_or(0);
    let mut by_char = vec![0; max as usize + 1];
    for (number, (_, chars)) in (1..).zip(FOLDS) {
        for &char in *chars {
            by_char[char as usize] = number;
        }
    }
    by_char
});

/// [`hash_bytes`] of the letters that `utf8` stands for, without a copy of them.
fn hash_letters(variant: &Variant, utf8: &[u8], state: u64) -> u64 {
    let mut letters = Letters { hash: state, word: 0, len: 0 };
    let plain = if variant.changes_ascii { 0 } else { utf8.iter().position(|b| !b.is_ascii()).unwrap_or(utf8.len()) };
    let (ascii, rest) = utf8.split_at(plain);
    for &byte in ascii {
        letters.push(ASCII[usize::from(byte & 0x7f)]);
    }
    for chunk in rest.utf8_chunks() {
        for char in chunk.valid().chars() {
            variant.push(char, &mut letters);
        }
    }
    letters.finish()
}

impl Variant {
    fn push(&self, char: char, letters: &mut Letters) {
        let code = u32::from(char);
        let fold = match self.changes.binary_search_by_key(&code, |change| change.0) {
            Ok(at) => self.changes[at].1,
            Err(_) if code < 0x80 => return letters.push(ASCII[code as usize]),
            Err(_) if self.bmp_only && code > 0xffff => return,
            Err(_) => match FOLD_BY_CHAR.get(code as usize) {
                None | Some(0) => return,
                Some(&number) => FOLDS[usize::from(number) - 1].0,
            },
        };
        for byte in fold.bytes() {
            letters.push(byte);
        }
    }
}

struct Letters {
    hash: u64,
    /// Those since the last eight, the first lowest.
    word: u64,
    len: usize,
}

impl Letters {
    /// 0 is no letter.
    #[inline(always)]
    fn push(&mut self, letter: u8) {
        if letter == 0 {
            return;
        }
        self.word |= u64::from(letter) << (8 * (self.len % 8));
        self.len += 1;
        if self.len.is_multiple_of(8) {
            self.hash = hash_word(self.word as i64, self.hash);
            self.word = 0;
        }
    }

    #[inline(always)]
    fn finish(self) -> u64 {
        hash_word(self.word as i64 ^ (self.len as i64) << 56, self.hash)
    }
}

/// PAD SPACE collations do not see them.
#[inline]
fn without_trailing_spaces(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UTF8MB4_BIN: u16 = 46;
    const UTF8MB4_0900_AI_CI: u16 = 255;
    const UTF8MB4_UNICODE_CI: u16 = 224;
    const UTF8MB4_UNICODE_520_CI: u16 = 246;
    const UTF8MB4_GENERAL_CI: u16 = 45;
    const UTF8MB4_LITHUANIAN_CI: u16 = 236;
    const LATIN1_SWEDISH_CI: u16 = 8;
    const MARIADB_UTF8MB4_UCA1400_AI_CI: u16 = 2304;
    const FROZEN: [u64; 3] = [0x88fc_a019_5de6_7e12, 0xe220_a839_7b1d_cdaf, 0x7e77_e16b_b3df_506c];

    #[test]
    fn consecutive_ids_spread_evenly() {
        for lanes in 2..=16u64 {
            let mut counts = vec![0i64; lanes as usize];
            for id in 0..16_000 {
                counts[(hash_word(id, 0) % lanes) as usize] += 1;
            }
            let even = 16_000 / lanes as i64;
            assert!(counts.iter().all(|c| (c - even).abs() < even / 5), "{lanes}: {counts:?}");
        }
    }

    #[test]
    fn bytes_of_any_length_differ() {
        let text = [0u8; 40];
        let hashes: std::collections::HashSet<u64> = (0..=40).map(|len| hash_bytes(&text[..len], 0)).collect();
        assert_eq!(hashes.len(), 41);
    }

    #[test]
    fn the_results_are_frozen() {
        assert_eq!(hash_word(0, 0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(hash_word(-1, 7), FROZEN[0]);
        assert_eq!(hash_bytes(b"", 0), FROZEN[1]);
        assert_eq!(hash_bytes(b"12345678abc", 7), FROZEN[2]);
        assert_eq!(hash(UTF8MB4_0900_AI_CI, "Straße 12-ß".as_bytes(), 7), hash_bytes(b"strasse12ss", 7));
    }

    #[test]
    fn equal_texts_hash_the_same() {
        let same = |collation: u16, a: &str, b: &str| hash(collation, a.as_bytes(), 1) == hash(collation, b.as_bytes(), 1);
        assert!(same(UTF8MB4_BIN, "a", "a  "));
        assert!(!same(UTF8MB4_BIN, "a", "A"));
        for collation in [UTF8MB4_0900_AI_CI, UTF8MB4_UNICODE_CI, UTF8MB4_UNICODE_520_CI, MARIADB_UTF8MB4_UCA1400_AI_CI] {
            assert!(same(collation, "Groß-é ", "GROSS-E\u{1}\u{301}"), "{collation}");
            assert!(same(collation, "ａｂｃ１２", "abc12"), "{collation}");
            assert!(!same(collation, "abc", "abd"), "{collation}");
        }
        assert!(same(UTF8MB4_GENERAL_CI, "ß", "S"));
        assert!(same(LATIN1_SWEDISH_CI, "Müller", "myller"));
        assert!(!same(LATIN1_SWEDISH_CI, "Muller", "myller"));
        assert!(same(UTF8MB4_LITHUANIAN_CI, "i", "y"));
        assert!(same(0, "a", "b"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_case_and_trailing_spaces_never_count(id in 1u16..2400, bytes: Vec<u8>, text in "[ -~]{0,20}") {
            hash(id, &bytes, 0);
            let Some((_, family)) = collation_ids::find(id) else { return Ok(()) };
            let of = |text: &str| hash(id, text.as_bytes(), 5);
            prop_assert_eq!(of(&text), of(&format!("{text}  ")));
            if family != Family::Bytes {
                prop_assert_eq!(of(&text), of(&text.to_ascii_uppercase()));
            }
        }
    }
}
