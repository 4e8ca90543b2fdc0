//! What can be wrong with the bytes of a binlog, and how to mend it.

use std::sync::Arc;

use super::EVENT_BYTES_MAX;

/// Bytes that are no binlog, or one that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{offset}: {fault}")]
pub struct FrameError {
    pub file: Arc<str>,
    /// Where the event begins in the file.
    pub offset: u64,
    pub fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the checksum of the event is wrong: {found:#010x} is stored, {computed:#010x} computed")]
    Checksum { found: u32, computed: u32 },
    #[error("checksum algorithm {0} is unknown")]
    ChecksumAlgorithm(u8),
    #[error("the event is cut off")]
    Truncated,
    #[error("{0}")]
    Malformed(&'static str),
    #[error("compression algorithm {0} is unknown")]
    Compression(u64),
    #[error("an event has more than {EVENT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the file is encrypted")]
    Encrypted,
    #[error("the file began at another time than the one of this name that was read before")]
    OtherFile,
    #[error("the transaction that was being read when the connection was lost is not there any more")]
    Vanished,
    #[error("a transaction begins before the one at {0} has ended")]
    Unended(u64),
}

impl FrameError {
    /// How to mend it. Where the transaction ends that has the fault, framing does not know.
    pub(crate) fn hint(&self) -> String {
        let FrameError { file, offset, fault } = self;
        let after = format!(
            "`tidegate cursor set PIPELINE {file}:OFFSET`, with an OFFSET that `mysqlbinlog {file}` prints as `# at` before a later GTID event"
        );
        match fault {
            Fault::Checksum { .. } | Fault::Malformed(_) => format!(
                "check the file with `mysqlbinlog --verify-binlog-checksum {file}`; if it is damaged, go on after the transaction with {after}; \
                 and copy what is missing"
            ),
            Fault::Truncated => "copy the file again once the server has closed it (FLUSH BINARY LOGS)".to_owned(),
            Fault::ChecksumAlgorithm(_) | Fault::Compression(_) => {
                "the server is newer than this version of Tidegate; use a newer one, or NONE, CRC32 and ZSTD on the server"
                    .to_owned()
            }
            Fault::TooLarge => format!("write smaller transactions or rows, and go on after the transaction with {after}"),
            Fault::Encrypted => ENCRYPTED_HINT.to_owned(),
            Fault::OtherFile => {
                "the binlog was reset, or the server was restored from a backup; compare the data, then go on with \
                 `tidegate cursor set PIPELINE earliest`, or another place"
                    .to_owned()
            }
            Fault::Vanished => format!(
                "the server lost it in a crash, or is another server; compare the data, then go on with \
                 `tidegate cursor set PIPELINE {file}:{offset}`"
            ),
            Fault::Unended(_) => format!(
                "the server crashed while it wrote; compare the data, then go on with `tidegate cursor set PIPELINE {file}:{offset}`"
            ),
        }
    }
}

pub(crate) const ENCRYPTED_HINT: &str = "read the binlog from the server, which decrypts it: source type \"mysql\"";
