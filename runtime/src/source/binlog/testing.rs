//! For tests of the decoder: a binlog file as one segment, without any of the checks of real framing.

use std::sync::Arc;

use bytes::Bytes;

use crate::source::{Boundary, Framed, Segment, TransactionBegin};

/// Bytes of the checksum that the recorded binlogs have behind each event.
const CHECKSUM_LEN: usize = 4;

pub fn segment(file: Vec<u8>) -> Segment {
    let mut events = Vec::new();
    let mut transactions = Vec::new();
    let mut start = 4;
    let mut begins_with_query = false;
    while let Some(header) = file.get(start..).and_then(|rest| rest.first_chunk::<19>()) {
        let size = u32::from_le_bytes([header[9], header[10], header[11], header[12]]) as usize;
        assert!(size >= 19 + CHECKSUM_LEN && start + size <= file.len(), "recorded files are whole");
        let body = &file[start + 19..start + size - CHECKSUM_LEN];
        let boundary = match header[4] {
            33 | 34 | 42 | 162 => {
                // MariaDB has no BEGIN behind its GTID, but a flag (FL_STANDALONE) for statements that commit by themselves.
                begins_with_query = header[4] != 162 || body[12] & 1 == 1;
                transactions.push(TransactionBegin { gtid: None, offset: start as u64, commit_time_us: 0 });
                Boundary::Begin(transactions.len() as u32 - 1)
            }
            2 if body.ends_with(b"BEGIN") => {
                begins_with_query = false;
                Boundary::Within
            }
            2 if begins_with_query || body.ends_with(b"COMMIT") || body.ends_with(b"ROLLBACK") => Boundary::End,
            16 => Boundary::End,
            _ => Boundary::Within,
        };
        let (offset, next) = (start as u64, (start + size) as u64);
        events.push(Framed { start, len: size - CHECKSUM_LEN, offset, next, boundary });
        start += size;
    }
    Segment { file: Arc::from("binlog.000001"), home: None, data: Bytes::from(file), events, transactions, learned: None, index: 0 }
}
