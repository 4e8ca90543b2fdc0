//! Values of MariaDB's COMPRESSED columns, each compressed alone.
//!
//! Format: MariaDB source `sql/field.cc` (`Field_longstr::compress`) and `sql/field_comp.cc`: nothing for the empty value, else a byte
//! with the method in its high four bits. 0: the value follows. 8 (zlib): the length follows, big-endian, in as many bytes as the low
//! three bits say, then the compressed value, without zlib's own header and checksum if bit 3 is set.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, ZlibDecoder};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    #[error("method {0} is not known")]
    Method(u8),
    #[error("it is malformed")]
    Malformed,
}

/// Appends the plain value.
pub fn unpack(cell: &[u8], out: &mut Vec<u8>) -> Result<(), PackedError> {
    const WITHOUT_HEADER: u8 = 0x08;
    let Some((&head, rest)) = cell.split_first() else { return Ok(()) };
    match head >> 4 {
        0 => out.extend_from_slice(rest),
        8 => {
            let (length, packed) = rest.split_at_checked(usize::from(head & 0x07)).ok_or(PackedError::Malformed)?;
            let length = length.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
            let start = out.len();
            // Grows by what is there and not by what the value claims.
            let read = match head & WITHOUT_HEADER {
                0 => ZlibDecoder::new(packed).take(length.saturating_add(1)).read_to_end(out),
                _ => DeflateDecoder::new(packed).take(length.saturating_add(1)).read_to_end(out),
            };
            if read.is_err() || (out.len() - start) as u64 != length {
                return Err(PackedError::Malformed);
            }
        }
        method => return Err(PackedError::Method(method)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(cell: &[u8]) -> Result<Vec<u8>, PackedError> {
        let mut out = b"before".to_vec();
        unpack(cell, &mut out)?;
        Ok(out.split_off(6))
    }

    /// `zlib.compress(b"a" * 100)` of Python, and the same without header and checksum.
    #[test]
    fn all_forms_are_opened() {
        let zlib = [0x78, 0x9c, 0x4b, 0x4c, 0xa4, 0x3d, 0x00, 0x00, 0x7a, 0x47, 0x25, 0xe5];
        let with = |head: &[u8], body: &[u8]| unpacked(&[head, body].concat());
        assert_eq!(unpacked(b""), Ok(vec![]));
        assert_eq!(unpacked(b"\0"), Ok(vec![]));
        assert_eq!(unpacked(b"\0plain"), Ok(b"plain".to_vec()));
        assert_eq!(with(&[0x81, 100], &zlib), Ok(vec![b'a'; 100]));
        assert_eq!(with(&[0x82, 0, 100], &zlib), Ok(vec![b'a'; 100]));
        assert_eq!(with(&[0x89, 100], &zlib[2..zlib.len() - 4]), Ok(vec![b'a'; 100]));
        assert_eq!(with(&[0x81, 99], &zlib), Err(PackedError::Malformed));
        assert_eq!(with(&[0x81, 101], &zlib), Err(PackedError::Malformed));
        assert_eq!(with(&[0x87, 100], &zlib[..3]), Err(PackedError::Malformed));
        assert_eq!(unpacked(&[0x10, 0]), Err(PackedError::Method(1)));
    }
}
