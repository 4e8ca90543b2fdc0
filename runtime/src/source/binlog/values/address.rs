//! Values of MariaDB's UUID, INET6 and INET4 columns: from their bytes to the text that SELECT shows.

use std::io::Write;

use crate::change::Address;

/// Appends the text. `None`: more bytes than the type has; bytes that are missing at the end are zeros.
pub fn write_text(address: Address, cell: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut bytes = [0; 16];
    let all = bytes.get_mut(..usize::from(address.bytes()))?;
    all.get_mut(..cell.len())?.copy_from_slice(cell);
    match address {
        Address::Uuid => {
            for (i, byte) in bytes.iter().enumerate() {
                if matches!(i, 4 | 6 | 8 | 10) {
                    out.push(b'-');
                }
                let _ = write!(out, "{byte:02x}");
            }
        }
        Address::Inet4 => write_inet4([bytes[0], bytes[1], bytes[2], bytes[3]], out),
        Address::Inet6 => write_inet6(bytes, out),
    }
    Some(())
}

fn write_inet4([a, b, c, d]: [u8; 4], out: &mut Vec<u8>) {
    let _ = write!(out, "{a}.{b}.{c}.{d}");
}

/// As MariaDB's `Inet6::to_string` does, which differs from RFC 5952: a single zero is left out, too, and `::1.2.3.4` is written so.
fn write_inet6(bytes: [u8; 16], out: &mut Vec<u8>) {
    let words: [u16; 8] = std::array::from_fn(|i| u16::from_be_bytes([bytes[2 * i], bytes[2 * i + 1]]));
    // The first of the longest runs of zeros.
    let (mut gap, mut gap_len) = (8, 0);
    let mut at = 0;
    while at < 8 {
        let run = words[at..].iter().take_while(|word| **word == 0).count();
        if run > gap_len {
            (gap, gap_len) = (at, run);
        }
        at += run.max(1);
    }
    let mut i = 0;
    while i < 8 {
        if i == gap {
            out.extend_from_slice(if i == 0 { b"::" } else { b":" });
            i += gap_len;
        } else if i == 6 && gap == 0 && (gap_len == 6 || gap_len == 5 && words[5] == 0xffff) {
            return write_inet4([bytes[12], bytes[13], bytes[14], bytes[15]], out);
        } else {
            let _ = write!(out, "{:x}", words[i]);
            if i < 7 {
                out.push(b':');
            }
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(address: Address, cell: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        write_text(address, cell, &mut out)?;
        String::from_utf8(out).ok()
    }

    /// Texts by MariaDB 11.8.
    #[test]
    fn addresses_are_written_as_the_server_does() {
        for (address, expected) in [
            ("::", "::"),
            ("::1", "::1"),
            ("::1.2.3.4", "::1.2.3.4"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8::", "2001:db8::"),
            ("fe80::1:0:0:1", "fe80::1:0:0:1"),
            ("1:0:2:3:4:5:6:7", "1::2:3:4:5:6:7"),
            ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7::"),
        ] {
            let bytes = address.parse::<std::net::Ipv6Addr>().unwrap().octets();
            assert_eq!(text(Address::Inet6, &bytes).unwrap(), expected);
        }
        assert_eq!(text(Address::Inet4, &[192, 0]).unwrap(), "192.0.0.0");
        let uuid = [0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42];
        assert_eq!(text(Address::Uuid, &uuid).unwrap(), "123e4567-e89b-12d3-a456-420000000000");
        assert_eq!(text(Address::Inet4, &[0; 5]), None);
        assert_eq!(text(Address::Uuid, &[0; 17]), None);
    }
}
