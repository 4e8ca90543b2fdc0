//! Events that carry transaction ids, sets of them, and positions; and the text of QUERY events.
//!
//! Formats: `libs/mysql/binlog/event/control_events.h` (Gtid_event, Heartbeat_event_v2), `sql/rpl_gtid_set.cc`
//! (`Gtid_set::encode`), `libs/mysql/serialization` (GTID_TAGGED_LOG_EVENT); MariaDB `sql/log_event.h` (Gtid_log_event).

use std::sync::Arc;

use super::frame::{HEADER, kind, u32_at};
use crate::position::{Gtid, GtidSet, MariaDbGtidSet, MySqlGtidSet};

/// What a GTID event says about the transaction that it begins.
pub(crate) struct TransactionHead {
    /// `None`: anonymous.
    pub gtid: Option<Gtid>,
    /// Microseconds since the epoch at which this server committed; MySQL 8.0.1 and later.
    pub commit_time_us: Option<i64>,
    /// Only a commit ends it: no statement does by itself. MySQL says so by a BEGIN that follows.
    pub explicit: bool,
}

/// Reads a GTID event of any kind, header and all.
pub(crate) fn parse(code: u8, event: &[u8]) -> Result<TransactionHead, &'static str> {
    let body = &event[HEADER..];
    match code {
        kind::MARIADB_GTID => mariadb(body, u32_at(event, 5)),
        kind::GTID_TAGGED => tagged(body),
        _ => untagged(code, body),
    }
    .ok_or("a GTID event is shorter than it says")
}

/// flags 1, uuid 16, number 8, timestamp type 1, last committed 8, sequence 8, immediate commit time 7 (its top bit: the original follows).
fn untagged(code: u8, body: &[u8]) -> Option<TransactionHead> {
    let source: [u8; 16] = body.get(1..17)?.try_into().ok()?;
    let number = u64_at(body, 17)?;
    let commit_time_us = match (body.get(25), body.get(42..49)) {
        (Some(2), Some(t)) => {
            let mut wide = [0; 8];
            wide[..7].copy_from_slice(t);
            Some((u64::from_le_bytes(wide) & !(1 << 55)) as i64)
        }
        _ => None,
    };
    let gtid = (code == kind::GTID).then_some(Gtid::MySql { source, tag: None, number });
    Some(TransactionHead { gtid, commit_time_us: commit_time_us.filter(|t| *t > 0), explicit: false })
}

/// A message of MySQL's serialization library: version, size, last field that must be known, then (field id, value) pairs.
fn tagged(body: &[u8]) -> Option<TransactionHead> {
    let mut at = Varints(body);
    let (_version, _size, _last) = (at.unsigned()?, at.unsigned()?, at.unsigned()?);
    let (mut source, mut number, mut tag, mut commit_time_us) = (None, None, None, None);
    // Fields come in the order of their ids; what follows the commit time (6) is not needed.
    while commit_time_us.is_none() && !at.0.is_empty() {
        match at.unsigned()? {
            0 => drop(at.unsigned()?),
            1 => {
                let mut uuid = [0; 16];
                for byte in &mut uuid {
                    *byte = u8::try_from(at.unsigned()?).ok()?;
                }
                source = Some(uuid);
            }
            2 => number = Some(u64::try_from(at.signed()?).ok()?),
            3 => tag = Some(at.text()?),
            4 | 5 => drop(at.signed()?),
            6 => commit_time_us = Some(i64::try_from(at.unsigned()?).ok()?),
            _ => return None,
        }
    }
    let tag = tag.filter(|t| !t.is_empty()).map(Arc::from);
    let gtid = Gtid::MySql { source: source?, tag, number: number? };
    Some(TransactionHead { gtid: Some(gtid), commit_time_us, explicit: false })
}

/// sequence 8, domain 4, flags 1 (1: standalone, a statement that is a transaction by itself).
fn mariadb(body: &[u8], server: u32) -> Option<TransactionHead> {
    const STANDALONE: u8 = 1;
    let sequence = u64_at(body, 0)?;
    let domain = u32::from_le_bytes(body.get(8..12)?.try_into().ok()?);
    let explicit = body.get(12)? & STANDALONE == 0;
    Some(TransactionHead { gtid: Some(Gtid::MariaDb { domain, server, sequence }), commit_time_us: None, explicit })
}

/// The transactions before a file: the body of a PREVIOUS_GTIDS or a MariaDB GTID_LIST event.
pub(crate) fn executed(code: u8, body: &[u8]) -> Result<GtidSet, &'static str> {
    if code == kind::MARIADB_GTID_LIST { gtid_list(body).map(GtidSet::MariaDb) } else { decode_set(body).map(GtidSet::MySql) }
        .ok_or("the list of transactions before the file is shorter than it says")
}

/// count 4 (28 bits), then domain 4, server 4, sequence 8 each; the last of a domain counts.
fn gtid_list(body: &[u8]) -> Option<MariaDbGtidSet> {
    let count = u32::from_le_bytes(body.get(..4)?.try_into().ok()?) & 0x0fff_ffff;
    let mut set = MariaDbGtidSet::default();
    let mut entries = body[4..].chunks_exact(16);
    for _ in 0..count {
        let entry = entries.next()?;
        set.0.insert(u32_at(entry, 0), (u32_at(entry, 4), u64_at(entry, 8)?));
    }
    Some(set)
}

/// uuids 8, then each: uuid 16, intervals 8, and each: first 8, after the last 8. With tags the count is framed by two bytes of
/// 1, and a tag follows each uuid.
fn decode_set(body: &[u8]) -> Option<MySqlGtidSet> {
    let head: [u8; 8] = body.get(..8)?.try_into().ok()?;
    let tagged = head[7] == 1;
    let count = if tagged { (u64::from_le_bytes(head) << 8) >> 16 } else { u64::from_le_bytes(head) };
    let mut rest = &body[8..];
    let mut set = MySqlGtidSet::default();
    for _ in 0..count {
        let source: [u8; 16] = rest.get(..16)?.try_into().ok()?;
        rest = &rest[16..];
        let mut tag = None;
        if tagged {
            let mut at = Varints(rest);
            tag = Some(at.text()?).filter(|t| !t.is_empty()).map(Arc::from);
            rest = at.0;
        }
        let intervals = u64_at(rest, 0)?;
        rest = &rest[8..];
        for _ in 0..intervals {
            let (low, high) = (u64_at(rest, 0)?, u64_at(rest, 8)?);
            if low == 0 || high <= low {
                return None;
            }
            set.insert(source, tag.clone(), low, high - 1);
            rest = &rest[16..];
        }
    }
    Some(set)
}

/// The same set as COM_BINLOG_DUMP_GTID sends it; the tagged form only if there are tags, which servers before 8.3 do not know.
pub(crate) fn encode_set(set: &MySqlGtidSet) -> Vec<u8> {
    let tagged = set.0.keys().any(|(_, tag)| tag.is_some());
    let count = set.0.len() as u64;
    let head = if tagged { count << 8 | 1 << 56 | 1 } else { count };
    let mut out = head.to_le_bytes().to_vec();
    for ((source, tag), intervals) in &set.0 {
        out.extend_from_slice(source);
        if tagged {
            let tag = tag.as_deref().unwrap_or_default();
            // At most 32 characters: one byte of a variable-length integer.
            out.push((tag.len() as u8) << 1);
            out.extend_from_slice(tag.as_bytes());
        }
        out.extend_from_slice(&(intervals.len() as u64).to_le_bytes());
        for (low, high) in intervals {
            out.extend_from_slice(&low.to_le_bytes());
            out.extend_from_slice(&(high + 1).to_le_bytes());
        }
    }
    out
}

/// File and 64-bit position of a HEARTBEAT_V2 body: (field 1 byte, length, value) until field 0.
pub(crate) fn heartbeat_v2(body: &[u8]) -> Option<(&str, u64)> {
    let (mut file, mut position) = (None, None);
    let mut rest = body;
    while let Some((field, tail)) = rest.split_first() {
        if *field == 0 {
            break;
        }
        let (len, tail) = lenenc(tail)?;
        let value = tail.get(..usize::try_from(len).ok()?)?;
        rest = &tail[value.len()..];
        match field {
            1 => file = std::str::from_utf8(value).ok(),
            2 => position = lenenc(value).map(|(n, _)| n),
            _ => {}
        }
    }
    Some((file?, position?))
}

/// The statement of a QUERY event, header and all: thread 4, seconds 4, schema length 1, error 2, status length 2, status, schema, 0, text.
pub(crate) fn query_text(event: &[u8]) -> Option<&[u8]> {
    event.get(query_text_at(event)?..)
}

/// Where the statement of a QUERY event begins.
pub(crate) fn query_text_at(event: &[u8]) -> Option<usize> {
    let body = event.get(HEADER..)?;
    let schema = usize::from(*body.get(8)?);
    let status = usize::from(u16::from_le_bytes([*body.get(11)?, *body.get(12)?]));
    let at = HEADER + 13 + status + schema + 1;
    (at <= event.len()).then_some(at)
}

/// A length-encoded integer (MySQL protocol), and what follows it.
pub(crate) fn lenenc(data: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = data.split_first()?;
    let width = match first {
        0..=250 => return Some((u64::from(*first), rest)),
        252 => 2,
        253 => 3,
        254 => 8,
        _ => return None,
    };
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(rest.get(..width)?);
    Some((u64::from_le_bytes(wide), &rest[width..]))
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?))
}

/// Integers of MySQL's serialization library: as many more bytes follow as the first has ones at its low end.
struct Varints<'a>(&'a [u8]);

impl<'a> Varints<'a> {
    fn unsigned(&mut self) -> Option<u64> {
        let ones = self.0.first()?.trailing_ones() as usize;
        let bytes = self.0.get(..=ones)?;
        self.0 = &self.0[ones + 1..];
        let mut wide = [0; 8];
        if ones >= 7 {
            // The first byte is all marks (and the lowest seven bits of it are when 7 follow).
            wide[..ones].copy_from_slice(&bytes[1..]);
            return Some(u64::from_le_bytes(wide));
        }
        wide[..bytes.len()].copy_from_slice(bytes);
        Some(u64::from_le_bytes(wide) >> (ones + 1))
    }

    fn signed(&mut self) -> Option<i64> {
        let raw = self.unsigned()?;
        let magnitude = (raw >> 1) as i64;
        Some(if raw & 1 == 1 { !magnitude } else { magnitude })
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.unsigned()?).ok()?;
        let text = self.0.get(..len)?;
        self.0 = &self.0[len..];
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|d| (d[0] << 4 | d[1]) as u8).collect()
    }

    /// Cut from a binlog of MySQL 9.7.4.
    #[test]
    fn a_tagged_gtid_is_read() {
        let body = "0274 0000 0202 9a19 0251 0296 9503 1102 22c5 03c5 0211 0204 f103 0000 0002 0404 0608 626c 7565 0800 0a04 0c7f e642 9e17 c560 0610 f502";
        let head = parse(kind::GTID_TAGGED, &[vec![0; HEADER], hex(body)].concat()).unwrap();
        assert_eq!(head.gtid.unwrap().to_string(), "4d86944b-e584-11f1-b184-02fc00000001:blue:1");
        assert_eq!(head.commit_time_us.unwrap() / 1_000_000, 1_795_249_481);
    }

    /// Cut from a binlog of MySQL 9.7.4 that holds tagged and untagged transactions.
    #[test]
    fn a_tagged_set_is_read_and_written() {
        let body = hex(
            "0102 0000 0000 0001 4d86 944b e584 11f1 b184 02fc 0000 0001 0001 0000 0000 0000 0001 0000 0000 0000 0002 0000 0000 0000 \
             004d 8694 4be5 8411 f1b1 8402 fc00 0000 0108 626c 7565 0100 0000 0000 0000 0100 0000 0000 0000 0400 0000 0000 0000",
        );
        let set = decode_set(&body).unwrap();
        let text = "4d86944b-e584-11f1-b184-02fc00000001:1,4d86944b-e584-11f1-b184-02fc00000001:blue:1-3";
        assert_eq!(GtidSet::MySql(set.clone()).to_string(), text);
        assert_eq!(encode_set(&set), body);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let body = hex("0274 0000 0202 9a19 0251 0296 9503 1102");
        for len in 0..body.len() {
            assert!(tagged(&body[..len]).is_none());
            assert!(mariadb(&body[..len.min(12)], 1).is_none());
            assert!(untagged(kind::GTID, &body[..len]).is_none());
        }
        assert!(decode_set(&[255; 64]).is_none());
        assert!(gtid_list(&[255; 64]).is_none());
        assert_eq!(query_text(&[255; 40]), None);
    }
}
