//! Compressed events: MySQL's TRANSACTION_PAYLOAD, opened part by part so that memory stays bounded whatever it holds, and
//! MariaDB's compressed QUERY and row events, which become the plain events that they stand for.
//!
//! Formats: `libs/mysql/binlog/event/codecs/binary.cpp` (Transaction_payload), MariaDB `sql/log_event.cc`
//! (`binlog_buf_compress`, `row_log_event_uncompress`, `query_event_uncompress`).

use std::fmt;
use std::io::Read;

use bytes::{Buf, Bytes};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::frame::{Fault, HEADER, SEGMENT_BYTES, kind};
use super::gtid_event::{lenenc, query_text_at};

const ZSTD: u64 = 0;
const NONE: u64 = 255;
/// Decompressed at once.
pub(crate) const STEP: usize = SEGMENT_BYTES / 4;

/// A compressed transaction that is being opened.
pub(crate) struct Payload {
    /// Where the carrying event begins in its file, and where the next one does.
    pub offset: u64,
    pub next: u64,
    /// What is open of an event that is not whole yet.
    pub unframed: Vec<u8>,
    input: Bytes,
    /// `None`: the payload is not compressed.
    decoder: Option<Decoder<'static>>,
    /// The decoder may hold output that it had no room for.
    pending: bool,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("offset", &self.offset).field("left", &self.input.len()).finish_non_exhaustive()
    }
}

impl Payload {
    /// `body`: (field, length, value) until field 0, then the payload. Fields: 1 size, 2 compression type, 3 size when opened.
    /// `spare` is an earlier payload's decoder: making one costs more than opening a small transaction.
    pub(crate) fn new(body: Bytes, offset: u64, next: u64, spare: &mut Option<Decoder<'static>>) -> Result<Payload, Fault> {
        const SHORT: Fault = Fault::Malformed("a compressed transaction has no complete header");
        let (mut size, mut algorithm) = (None, NONE);
        let mut rest = &body[..];
        loop {
            let (field, tail) = lenenc(rest).ok_or(SHORT)?;
            rest = tail;
            if field == 0 {
                break;
            }
            let (len, tail) = lenenc(rest).ok_or(SHORT)?;
            let value = usize::try_from(len).ok().and_then(|n| tail.get(..n)).ok_or(SHORT)?;
            rest = &tail[value.len()..];
            match field {
                1 => size = Some(lenenc(value).ok_or(SHORT)?.0),
                2 => algorithm = lenenc(value).ok_or(SHORT)?.0,
                _ => {}
            }
        }
        if size != Some(rest.len() as u64) {
            return Err(Fault::Malformed("a compressed transaction has not the size that its header says"));
        }
        let decoder = match algorithm {
            ZSTD => {
                let ready = match spare.take() {
                    Some(mut decoder) => decoder.reinit().map(|()| decoder),
                    None => Decoder::new(),
                };
                Some(ready.map_err(|_| Fault::Malformed("no memory to open a compressed transaction"))?)
            }
            NONE => None,
            other => return Err(Fault::Compression(other)),
        };
        let input = body.slice(body.len() - rest.len()..);
        Ok(Payload { offset, next, unframed: Vec::new(), input, decoder, pending: false })
    }

    /// The decoder, for the next payload.
    pub(crate) fn into_spare(self) -> Option<Decoder<'static>> {
        self.decoder
    }

    /// Appends the next part. False: that was all.
    pub(crate) fn read(&mut self, out: &mut Vec<u8>) -> Result<bool, Fault> {
        const BROKEN: Fault = Fault::Malformed("a compressed transaction cannot be opened");
        let Some(decoder) = &mut self.decoder else {
            let part = self.input.split_to(self.input.len().min(STEP));
            out.extend_from_slice(&part);
            return Ok(!self.input.is_empty());
        };
        if self.input.is_empty() && !self.pending {
            return Ok(false);
        }
        out.reserve(STEP);
        let at = out.len();
        let mut input = InBuffer::around(&self.input);
        // Writes into the spare room, which is not filled with zeros before.
        let mut output = OutBuffer::around_pos(out, at);
        let remaining = decoder.run(&mut input, &mut output).map_err(|_| BROKEN)?;
        let read = input.pos();
        if read == 0 && out.len() == at {
            return Err(BROKEN);
        }
        self.input.advance(read);
        self.pending = remaining > 0;
        if !self.pending && !self.input.is_empty() {
            decoder.reinit().map_err(|_| BROKEN)?;
        }
        Ok(self.pending || !self.input.is_empty())
    }
}

/// Appends the plain event that a MariaDB compressed event stands for.
pub(crate) fn mariadb_event(event: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    const SHORT: Fault = Fault::Malformed("a compressed event is shorter than it says");
    let code = event[4];
    let (plain, packed_at) = match code {
        kind::MARIADB_QUERY_COMPRESSED => (kind::QUERY, query_text_at(event).ok_or(SHORT)?),
        // Version 1 (write, update, delete): 166 to 168 for 23 to 25; version 2: 169 to 171 for 30 to 32.
        166..=168 => (code - 166 + 23, rows_at(event, false, code == 167).ok_or(SHORT)?),
        _ => (code - 169 + 30, rows_at(event, true, code == 170).ok_or(SHORT)?),
    };
    let start = out.len();
    out.extend_from_slice(&event[..packed_at]);
    unpack(&event[packed_at..], out)?;
    let len = u32::try_from(out.len() - start).map_err(|_| Fault::TooLarge)?;
    out[start + 4] = plain;
    out[start + 9..start + 13].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// Where the rows of a row event begin: table 6, flags 2, (version 2: extra length 2 and extra), columns, one or two bitmaps.
fn rows_at(event: &[u8], version_2: bool, update: bool) -> Option<usize> {
    let mut at = HEADER + 8;
    if version_2 {
        at += usize::from(u16::from_le_bytes(event.get(at..at + 2)?.try_into().ok()?));
    }
    let (columns, rest) = lenenc(event.get(at..)?)?;
    let bitmaps = usize::try_from(columns.div_ceil(8)).ok()?.checked_mul(if update { 2 } else { 1 })?;
    let at = (event.len() - rest.len()).checked_add(bitmaps)?;
    (at <= event.len()).then_some(at)
}

/// One byte (0x80, algorithm in bits 4 to 6: 0 is zlib, width of the length in bits 0 to 2), the length big-endian, the data.
fn unpack(packed: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    const BROKEN: Fault = Fault::Malformed("a compressed event cannot be opened");
    let (head, rest) = packed.split_first().ok_or(BROKEN)?;
    let algorithm = (head & 0x70) >> 4;
    if algorithm != 0 {
        return Err(Fault::Compression(u64::from(algorithm)));
    }
    let width = usize::from(head & 0x07);
    if head & 0x80 == 0 || !(1..=4).contains(&width) || rest.len() < width {
        return Err(BROKEN);
    }
    let len = rest[..width].iter().fold(0, |n, b| n << 8 | usize::from(*b));
    // Grows by what is there and not by what the event claims.
    let mut reader = flate2::read::ZlibDecoder::new(&rest[width..]).take(len as u64 + 1);
    let start = out.len();
    loop {
        let at = out.len();
        out.resize(at + STEP.min(len + 1), 0);
        let n = reader.read(&mut out[at..]).map_err(|_| BROKEN)?;
        out.truncate(at + n);
        if n == 0 {
            break;
        }
    }
    if out.len() - start == len { Ok(()) } else { Err(BROKEN) }
}
