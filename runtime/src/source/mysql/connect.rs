//! A connection to MySQL or MariaDB: TCP, TLS, packets and text queries. The login is in `login`.
//!
//! One implementation for session SQL and for the dump, so that both use the same TLS and log in the same way. Nothing waits
//! longer than its timeout. Formats: MySQL internals, "Client/Server Protocol".

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::address::Address;
use super::login;
use super::tls::Tls;
use crate::source::Failure;
use crate::source::gtid_event::lenenc;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For an answer to a statement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A packet of this length is followed by its continuation.
pub(super) const PACKET_MAX: usize = 0xff_ffff;
/// The largest answer to a statement of ours; no catalog needs more.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a server may have set for everybody, and what statements of ours would be cut, refused or held open by. MySQL and MariaDB each take the
/// comment that is for them.
const SESSION: &str = "SET NAMES utf8mb4, SESSION autocommit = 1, SESSION completion_type = 0, SESSION sql_big_selects = 1, \
     SESSION sql_select_limit = 18446744073709551615 /*!50708 , SESSION max_execution_time = 0 */ /*M!100101 , SESSION max_statement_time = 0 */";

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Only while TLS begins.
    Closed,
}

/// What the server said first.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    pub capabilities: u32,
    pub nonce: Vec<u8>,
    pub plugin: String,
}

pub(super) struct Connection {
    pub stream: Stream,
    pub buffer: BytesMut,
    pub sequence: u8,
    pub greeting: Greeting,
    server: String,
}

/// The answer to a statement.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    columns: Vec<String>,
    /// The values one after the other, and where each ends; an answer may have very many.
    text: String,
    cells: Vec<Option<u32>>,
}

/// One row of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    rows: &'a Rows,
    /// Index of its first cell.
    first: usize,
}

impl Rows {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.cells.len()).step_by(self.columns.len().max(1)).map(|first| Row { rows: self, first })
    }

    pub(crate) fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }

    /// One row; what it lacks is NULL.
    fn push<'v>(&mut self, mut values: impl Iterator<Item = Option<Cow<'v, str>>>) {
        for _ in 0..self.columns.len() {
            let value = values.next().flatten();
            self.text.push_str(value.as_deref().unwrap_or_default());
            // An answer has at most as many bytes as fit.
            self.cells.push(value.map(|_| self.text.len() as u32));
        }
    }
}

impl<'a> Row<'a> {
    pub(crate) fn at(self, index: usize) -> Option<&'a str> {
        let at = self.first + index;
        let end = self.rows.cells.get(at).copied().flatten().filter(|_| index < self.rows.columns.len())?;
        let begin = self.rows.cells[..at].iter().rev().find_map(|end| *end).unwrap_or_default();
        self.rows.text.get(begin as usize..end as usize)
    }

    /// By the column's name, in any case; `None` as well for NULL.
    pub(crate) fn get(self, name: &str) -> Option<&'a str> {
        self.at(self.rows.columns.iter().position(|c| c.eq_ignore_ascii_case(name))?)
    }
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(address: &Address, tls: &Tls) -> Result<Connection, Failure> {
        let server = address.place();
        let away = |e: &dyn std::fmt::Display| Failure::transient(format!("cannot connect to {server}: {e}"));
        let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect((address.host.as_str(), address.port)))
            .await
            .map_err(|_| away(&"no answer within 10 s"))?
            .map_err(|e| away(&e))?;
        tcp.set_nodelay(true).map_err(|e| away(&e))?;
        let mut connection = Connection {
            stream: Stream::Plain(tcp),
            buffer: BytesMut::new(),
            sequence: 0,
            greeting: Greeting::default(),
            server: server.clone(),
        };
        timeout(CONNECT_TIMEOUT, login::login(&mut connection, address, tls))
            .await
            .map_err(|_| Failure::transient(format!("no answer from {server} within 10 s while logging in")))??;
        connection.query(SESSION).await?;
        Ok(connection)
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    pub(super) fn lost(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::transient(format!("the connection to {} is lost: {error}", self.server))
    }

    pub(super) fn malformed(&self) -> Failure {
        self.lost(&"the server sent something that is not understood")
    }

    /// Goes over to TLS.
    pub(super) async fn encrypt(&mut self, tls: &Tls, host: &str) -> Result<(), Failure> {
        let Stream::Plain(tcp) = std::mem::replace(&mut self.stream, Stream::Closed) else {
            return Err(self.malformed());
        };
        self.stream = Stream::Tls(Box::new(tls.connect(tcp, host).await?));
        Ok(())
    }

    /// Reads a whole packet, as many parts as it may have.
    pub(super) async fn packet(&mut self) -> Result<Bytes, Failure> {
        let mut whole = BytesMut::new();
        loop {
            while self.buffer.len() < 4 {
                self.fill().await?;
            }
            let len = usize::from(self.buffer[0]) | usize::from(self.buffer[1]) << 8 | usize::from(self.buffer[2]) << 16;
            if self.buffer[3] != self.sequence {
                return Err(self.lost(&"packets arrive out of order"));
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.buffer.advance(4);
            if whole.len() + len > ANSWER_BYTES_MAX {
                return Err(self.lost(&"an answer has more than 64 MiB"));
            }
            while self.buffer.len() < len {
                self.fill().await?;
            }
            let part = self.buffer.split_to(len);
            if len < PACKET_MAX && whole.is_empty() {
                return Ok(part.freeze());
            }
            whole.extend_from_slice(&part);
            if len < PACKET_MAX {
                return Ok(whole.freeze());
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        self.buffer.reserve(4096);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(self.lost(&"closed by the server")),
            Ok(_) => Ok(()),
            Err(e) => Err(self.lost(&e)),
        }
    }

    /// Writes a packet of less than 16 MiB.
    pub(super) async fn send(&mut self, payload: &[u8]) -> Result<(), Failure> {
        if payload.len() >= PACKET_MAX {
            return Err(Failure::definite(
                "the GTID set to go on after has more than 16 MiB",
                "begin anew with a snapshot: `tidegate cursor reset PIPELINE`",
            ));
        }
        let len = (payload.len() as u32).to_le_bytes();
        let mut packet = Vec::with_capacity(4 + payload.len());
        packet.extend_from_slice(&[len[0], len[1], len[2], self.sequence]);
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        let written = async {
            self.stream.write_all(&packet).await?;
            self.stream.flush().await
        };
        written.await.map_err(|e| self.lost(&e))
    }

    /// Sends a command, which begins a new exchange.
    pub(super) async fn command(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.sequence = 0;
        self.send(payload).await
    }

    /// Runs a statement. The answer's text is taken as UTF-8.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Rows, Failure> {
        let answer = timeout(ANSWER_TIMEOUT, self.query_untimed(sql)).await;
        answer.unwrap_or_else(|_| Err(self.lost(&"no answer within 60 s")))
    }

    async fn query_untimed(&mut self, sql: &str) -> Result<Rows, Failure> {
        const COM_QUERY: u8 = 3;
        let mut payload = vec![COM_QUERY];
        payload.extend_from_slice(sql.as_bytes());
        self.command(&payload).await?;
        let head = self.packet().await?;
        let columns = match head.first() {
            Some(0) => return Ok(Rows::default()),
            Some(0xff) => return Err(self.server_error(&head)),
            Some(1..=0xfa | 0xfc..=0xfe) => lenenc(&head).ok_or_else(|| self.malformed())?.0,
            _ => return Err(self.malformed()),
        };
        let mut rows = Rows::default();
        for _ in 0..columns {
            let definition = self.packet().await?;
            // catalog, schema, table, original table, name
            let name = strings(&definition).nth(4).flatten().ok_or_else(|| self.malformed())?;
            rows.columns.push(name.into_owned());
        }
        let mut bytes = 0;
        self.packet().await?;
        loop {
            let packet = self.packet().await?;
            match packet.first() {
                Some(0xff) => return Err(self.server_error(&packet)),
                Some(0xfe) if packet.len() < 9 => return Ok(rows),
                _ => {}
            }
            bytes += packet.len();
            if bytes > ANSWER_BYTES_MAX {
                return Err(self.lost(&"an answer has more than 64 MiB"));
            }
            rows.push(strings(&packet));
        }
    }

    /// What an ERR packet means.
    pub(super) fn server_error(&self, packet: &[u8]) -> Failure {
        let code = packet.get(1..3).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
        let text = packet.get(3..).unwrap_or_default();
        let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
        super::errors::of_server(code, &String::from_utf8_lossy(text), &self.server)
    }
}

/// Length-encoded strings; 0xfb is NULL.
fn strings(mut rest: &[u8]) -> impl Iterator<Item = Option<Cow<'_, str>>> {
    std::iter::from_fn(move || {
        if rest.first()? == &0xfb {
            rest = &rest[1..];
            return Some(None);
        }
        let (len, tail) = lenenc(rest)?;
        let value = tail.get(..usize::try_from(len).ok()?)?;
        rest = &tail[value.len()..];
        Some(Some(String::from_utf8_lossy(value)))
    })
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, data),
            Stream::Tls(s) => Pin::new(s).poll_write(cx, data),
            Stream::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s).poll_flush(cx),
            Stream::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Closed => Poll::Ready(Ok(())),
        }
    }
}
