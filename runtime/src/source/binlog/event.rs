//! The event header, the event types of MySQL and MariaDB, and a checked reader over the bytes of an event.
//!
//! Formats: MySQL source `libs/mysql/binlog/event/binlog_event.h`; MariaDB source `sql/log_event.h`. All integers are little-endian.

/// Bytes of the common header: timestamp 4, type 1, server id 4, size 4, next position 4, flags 2.
pub const HEADER_LEN: usize = 19;

/// LOG_EVENT_IGNORABLE_F: who does not know the event may skip it.
const FLAG_IGNORABLE: u16 = 0x80;

/// The event type codes that the decoder tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Query,
    FormatDescription,
    Rotate,
    TableMap,
    /// Row events, version 1 or 2 (which has extra data).
    WriteRows {
        v2: bool,
    },
    UpdateRows {
        v2: bool,
    },
    DeleteRows {
        v2: bool,
    },
    PartialUpdateRows,
    ExecuteLoadQuery,
    /// MariaDB: may say that what follows is an XA transaction.
    MariaDbGtid,
    XaPrepare,
    Incident,
    /// A compressed carrier (MySQL's TRANSACTION_PAYLOAD, MariaDB's compressed events): framing has to unpack these.
    Compressed,
    /// Known to hold no change of a row: GTIDs, XID, ROWS_QUERY, ANNOTATE_ROWS, heartbeats, checkpoints and so on.
    NoChange,
    /// Row and load formats of servers before 5.1.
    Ancient,
    Unknown,
}

impl EventType {
    pub fn of_code(code: u8) -> EventType {
        match code {
            2 => EventType::Query,
            4 => EventType::Rotate,
            15 => EventType::FormatDescription,
            18 => EventType::ExecuteLoadQuery,
            19 => EventType::TableMap,
            23 => EventType::WriteRows { v2: false },
            24 => EventType::UpdateRows { v2: false },
            25 => EventType::DeleteRows { v2: false },
            30 => EventType::WriteRows { v2: true },
            31 => EventType::UpdateRows { v2: true },
            32 => EventType::DeleteRows { v2: true },
            26 => EventType::Incident,
            38 => EventType::XaPrepare,
            39 => EventType::PartialUpdateRows,
            40 | 165..=171 => EventType::Compressed,
            // STOP, INTVAR, APPEND_BLOCK, RAND, USER_VAR, XID, BEGIN_LOAD_QUERY: what they prepare is judged at the statement itself.
            3 | 5 | 9 | 13 | 14 | 16 | 17 => EventType::NoChange,
            // HEARTBEAT, IGNORABLE, ROWS_QUERY, GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS, TRANSACTION_CONTEXT, VIEW_CHANGE, HEARTBEAT_V2,
            // GTID_TAGGED
            27..=29 | 33..=37 | 41 | 42 => EventType::NoChange,
            // MariaDB: ANNOTATE_ROWS, BINLOG_CHECKPOINT, GTID, GTID_LIST
            162 => EventType::MariaDbGtid,
            160 | 161 | 163 => EventType::NoChange,
            // START_V3, LOAD, SLAVE, CREATE_FILE, EXEC_LOAD, DELETE_FILE, NEW_LOAD, PRE_GA row events
            1 | 6..=8 | 10..=12 | 20..=22 => EventType::Ancient,
            _ => EventType::Unknown,
        }
    }
}

/// The name of an event type, for messages.
pub fn type_name(code: u8) -> &'static str {
    match code {
        2 => "QUERY",
        3 => "STOP",
        4 => "ROTATE",
        15 => "FORMAT_DESCRIPTION",
        16 => "XID",
        18 => "EXECUTE_LOAD_QUERY",
        19 => "TABLE_MAP",
        23 => "WRITE_ROWS_V1",
        24 => "UPDATE_ROWS_V1",
        25 => "DELETE_ROWS_V1",
        26 => "INCIDENT",
        29 => "ROWS_QUERY",
        30 => "WRITE_ROWS",
        31 => "UPDATE_ROWS",
        32 => "DELETE_ROWS",
        33 => "GTID",
        34 => "ANONYMOUS_GTID",
        38 => "XA_PREPARE",
        39 => "PARTIAL_UPDATE_ROWS",
        40 => "TRANSACTION_PAYLOAD",
        42 => "GTID_TAGGED",
        160 => "ANNOTATE_ROWS",
        162 => "GTID (MariaDB)",
        164 => "START_ENCRYPTION",
        165..=171 => "compressed event (MariaDB)",
        1 | 6..=8 | 10..=12 | 20..=22 => "event of a server before 5.1",
        _ => "event",
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub code: u8,
    pub flags: u16,
}

impl Header {
    /// `None`: fewer than [`HEADER_LEN`] bytes.
    pub fn parse(event: &[u8]) -> Option<Header> {
        let header = event.first_chunk::<HEADER_LEN>()?;
        Some(Header { code: header[4], flags: u16::from_le_bytes([header[17], header[18]]) })
    }

    pub fn is_ignorable(&self) -> bool {
        self.flags & FLAG_IGNORABLE != 0
    }
}

/// The event ends before what it says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event ends too early")]
pub struct Truncated;

/// Reads from the front of a slice; never past its end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn len(&self) -> usize {
        self.rest.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.array::<1>().map(|[b]| b)
    }

    pub fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_le_bytes)
    }

    /// The 6-byte table id.
    pub fn u48(&mut self) -> Result<u64, Truncated> {
        let [a, b, c, d, e, f] = self.array::<6>()?;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// A length-encoded integer (client/server protocol, "Protocol::LengthEncodedInteger").
    pub fn lenenc(&mut self) -> Result<u64, Truncated> {
        match self.u8()? {
            n @ 0..=250 => Ok(u64::from(n)),
            252 => self.u16().map(u64::from),
            253 => self.array::<3>().map(|[a, b, c]| u64::from(u32::from_le_bytes([a, b, c, 0]))),
            254 => self.array().map(u64::from_le_bytes),
            251 | 255 => Err(Truncated),
        }
    }

    /// A length-encoded integer, then that many bytes.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Truncated> {
        let len = self.lenenc()?;
        self.bytes(usize::try_from(len).map_err(|_| Truncated)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_stops_at_the_end() {
        let mut reader = Reader::new(&[252, 1, 2, 3, b'a', b'b', b'c', 254]);
        assert_eq!(reader.lenenc(), Ok(513));
        assert_eq!(reader.lenenc_bytes(), Ok(&b"abc"[..]));
        assert_eq!(reader.lenenc(), Err(Truncated));
        assert_eq!(Reader::new(&[9, 1]).lenenc_bytes(), Err(Truncated));
        assert_eq!(Reader::new(&[251]).lenenc(), Err(Truncated));
    }

    #[test]
    fn a_header_needs_19_bytes() {
        let mut header = [0; HEADER_LEN];
        header[4] = 19;
        header[17] = 0x80;
        assert!(Header::parse(&header[1..]).is_none());
        let parsed = Header::parse(&header).unwrap();
        assert_eq!(EventType::of_code(parsed.code), EventType::TableMap);
        assert!(parsed.is_ignorable());
    }
}
