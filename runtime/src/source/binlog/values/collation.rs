//! Hashes by which keys choose their lane: texts that are equal under a collation hash the same.
//!
//! FROZEN: marks in targets say how far each lane has got, and which rows a lane has follows from these hashes. A change of any
//! result of [`hash`], [`hash_bytes`] or [`hash_word`] between versions loses or repeats rows after an upgrade.
//!
//! Equality must be kept; more of it only costs parallelism. So texts whose collation is not understood all hash the same.

use super::collation_ids;

/// How a collation compares, as far as the hash looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// By code point; trailing spaces may or may not count.
    Bytes,
    /// By rules that the hash does not know.
    Other,
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

/// Adds a text to a hash, so that texts which are equal under `collation` give the same.
#[inline]
pub fn hash(collation: u16, utf8: &[u8], state: u64) -> u64 {
    match collation_ids::find(collation) {
        Some((_, Family::Bytes)) => hash_bytes(without_trailing_spaces(utf8), state),
        _ => hash_word(0, state),
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

    const UTF8MB4_BIN: u16 = 46;
    const UTF8MB4_0900_AI_CI: u16 = 255;

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
    fn equal_texts_hash_the_same() {
        assert_eq!(hash(UTF8MB4_BIN, b"a", 1), hash(UTF8MB4_BIN, b"a  ", 1));
        assert_ne!(hash(UTF8MB4_BIN, b"a", 1), hash(UTF8MB4_BIN, b"A", 1));
        assert_eq!(hash(UTF8MB4_0900_AI_CI, b"a", 1), hash(UTF8MB4_0900_AI_CI, b"A", 1));
    }
}
