//! HTTP requests of plugins, to the hosts that the manifest names and to no others.
//!
//! The host of a request is compared as it stands, without wildcards. Its name is resolved here, each address is checked, and the
//! connection goes to an address that was checked: nothing is resolved twice. Redirects are the guest's to follow, by another
//! request that is checked in its turn. All of a request, to the last byte of its answer, ends with the call in which it was made. What the
//! manifest puts into requests (credentials) goes out in place of what the guest wrote, and is in no error and no log entry.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Request, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::engine::Shared;
use super::error::Fault;
use super::reach::is_public;
use crate::manifest::grant::{Grant, HttpHost};
use crate::manifest::secret::Secret;

/// Most requests of one call.
const REQUESTS_MAX: u32 = 100;
/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;
/// Names of one host that are looked up at once. Nobody can end a lookup, and each has one of the process's threads.
const LOOKUPS_MAX: usize = 4;

/// What the manifest says about requests to one host, beside that they are granted.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfig {
    pub host: HttpHost,
    /// Put into every request, in place of the guest's own.
    pub headers: BTreeMap<String, Secret>,
    /// By TLS, and the certificate is verified.
    pub is_encrypted: bool,
    /// A file of the authorities to trust; `None`: the public ones.
    pub ca: Option<PathBuf>,
}

/// One host, ready to be asked.
pub(super) struct Target {
    host: HttpHost,
    headers: Arc<[(HeaderName, HeaderValue)]>,
    /// `None`: not encrypted.
    tls: Option<Arc<ClientConfig>>,
    lookups: Arc<Semaphore>,
}

/// The hosts that are granted.
pub(super) fn targets(allow: &[Grant], configs: &[HttpConfig]) -> Result<Vec<Target>, Fault> {
    let hosts = allow.iter().filter_map(|grant| match grant {
        Grant::Http(host) => Some(host),
        Grant::Clock | Grant::Random | Grant::Env(_) => None,
    });
    hosts.map(|host| Target::new(host, configs.iter().find(|config| config.host == *host))).collect()
}

impl Target {
    fn new(host: &HttpHost, config: Option<&HttpConfig>) -> Result<Target, Fault> {
        let fail = |problem: String| Fault::Http { host: host.to_string(), problem };
        let mut headers = Vec::new();
        for (name, value) in config.iter().flat_map(|config| &config.headers) {
            let header =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| fail(format!("`{}` is no header", name.escape_debug())))?;
            if wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS.contains(&header) {
                return Err(fail(format!("the header `{header}` cannot be set")));
            }
            let mut value = HeaderValue::from_str(value.expose())
                .map_err(|_| fail(format!("the value of the header `{header}` has characters that no header may have")))?;
            value.set_sensitive(true);
            headers.push((header, value));
        }
        let tls = match config {
            Some(config) if !config.is_encrypted => None,
            None if host.is_local() => None,
            _ => Some(client_config(config.and_then(|config| config.ca.as_ref())).map_err(fail)?),
        };
        Ok(Target { host: host.clone(), headers: headers.into(), tls, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) })
    }

    fn port(&self) -> u16 {
        self.host.port.unwrap_or(if self.tls.is_some() { 443 } else { 80 })
    }

    fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Where to connect to: what the name leads to, and may.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        if let Some(address) = self.host.address() {
            return Ok(vec![(address, self.port()).into()]);
        }
        let failed = Error::DnsError { rcode: None, info_code: None };
        let Ok(permit) = Arc::clone(&self.lookups).acquire_owned().await else { return Err(failed) };
        let (name, port) = (self.host.name.clone(), self.port());
        let lookup = move || -> std::io::Result<Vec<SocketAddr>> {
            // Until it ends, though the request may have ended long before.
            let _permit = permit;
            Ok((name.as_str(), port).to_socket_addrs()?.collect())
        };
        let Ok(Ok(found)) = tokio::task::spawn_blocking(lookup).await else { return Err(failed) };
        if found.is_empty() {
            return Err(Error::DestinationNotFound);
        }
        let is_local = self.host.is_local();
        let may = |address: &SocketAddr| if is_local { address.ip().is_loopback() } else { is_public(address.ip()) };
        let addresses: Vec<SocketAddr> = found.into_iter().filter(may).collect();
        if addresses.is_empty() { Err(Error::DestinationIpProhibited) } else { Ok(addresses) }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Error> {
        let mut refused = Error::DestinationUnavailable;
        for address in self.addresses().await? {
            match TcpStream::connect(address).await {
                Ok(tcp) => return self.encrypt(tcp).await,
                Err(error) => refused = Error::Connect(error),
            }
        }
        Err(refused)
    }

    async fn encrypt(&self, tcp: TcpStream) -> Result<Box<dyn Stream>, Error> {
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(self.host.name.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(Error::Tls)?;
        Ok(Box::new(stream))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

fn client_config(ca: Option<&PathBuf>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let bad = |problem: &dyn std::fmt::Display| format!("the certificates of {} cannot be used: {problem}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))? {
                roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
            }
            if roots.is_empty() {
                return Err(bad(&"there are none in it"));
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// The requests of one instance.
pub(super) struct Requests {
    shared: Arc<Shared>,
    /// Just before the call ends in which they are made.
    deadline: Instant,
    left: u32,
}

impl Requests {
    pub(super) fn new(shared: &Arc<Shared>) -> Requests {
        Requests { shared: Arc::clone(shared), deadline: Instant::now(), left: 0 }
    }

    /// A call begins.
    pub(super) fn begin(&mut self) {
        // What is left of the call is the guest's, to say what went wrong.
        self.deadline = Instant::now() + self.shared.limits.call_time_max * 9 / 10;
        self.left = REQUESTS_MAX;
    }

    /// Index of the target that the request is for.
    fn target(&self, request: &Request<WasiBody>) -> Result<usize, String> {
        let uri = request.uri();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            // It would stand in the header `host`, where a server may read another host out of it.
            return Err("a user's name stands before its host".to_owned());
        }
        let host = uri.host().unwrap_or_default();
        let host: HttpHost = host.parse().map_err(|_| "its host is none".to_owned())?;
        let is_same = |target: &Target| {
            target.host.name == host.name
                && uri.scheme() == Some(&target.scheme())
                && uri.port_u16().unwrap_or_else(|| if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 }) == target.port()
        };
        let targets = &self.shared.http;
        if let Some(at) = targets.iter().position(is_same) {
            return Ok(at);
        }
        match targets.iter().find(|target| target.host.name == host.name) {
            Some(target) => Err(format!("to that host it may go to {}://{} alone", target.scheme(), target.host)),
            None => Err("`allow` does not name that host".to_owned()),
        }
    }

    fn refuse(&self, request: &Request<WasiBody>, reason: &str) {
        if self.shared.log.admits() {
            let mut host = request.uri().authority().map_or_else(String::new, |authority| authority.as_str().to_owned());
            super::instance::tame(&mut host, 100);
            tracing::warn!(plugin = &*self.shared.name, "a request to `{}` was refused: {reason}", host.escape_debug());
        }
    }
}

type Answer = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Requests {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        let Some(left) = self.left.checked_sub(1) else {
            self.refuse(&request, &format!("a call may make {REQUESTS_MAX}"));
            return Box::new(std::future::ready(Err(Error::ConnectionLimitReached)));
        };
        self.left = left;
        let target = match self.target(&request) {
            Ok(target) => target,
            Err(reason) => {
                self.refuse(&request, &reason);
                return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
            }
        };
        for (name, value) in self.shared.http[target].headers.iter() {
            request.headers_mut().insert(name, value.clone());
        }
        let (shared, deadline) = (Arc::clone(&self.shared), self.deadline);
        Box::new(async move {
            let sent = timeout_at(deadline, send(&shared, target, request, options, deadline)).await;
            sent.unwrap_or(Err(Error::HttpResponseTimeout))
        })
    }
}

async fn send(
    shared: &Shared,
    target: usize,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
    deadline: Instant,
) -> Result<Answer, Error> {
    let target = &shared.http[target];
    let within = |time: Option<Duration>| time.and_then(|time| Instant::now().checked_add(time)).unwrap_or(deadline).min(deadline);
    let connect_by = within(options.and_then(|options| options.connect_timeout));
    let stream = timeout_at(connect_by, target.connect()).await.unwrap_or(Err(Error::ConnectionTimeout))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    // Ends with the call, however much of the answer was read; whoever waits for that is told first.
    let end = deadline + Duration::from_millis(100);
    let connection = wasmtime_wasi::runtime::spawn(async move {
        timeout_at(end, connection).await.map_err(|_| Error::HttpResponseTimeout)?.map_err(Error::from)
    });
    let (mut parts, body) = request.into_parts();
    // The server is named by `host` already.
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    let limit = shared.limits.output_bytes_max;
    let (told, unsent) = oneshot::channel();
    // What the host puts in is not the guest's to say in a trailer either.
    let own = Arc::clone(&target.headers);
    let without_own = move |mut frame: Frame<Bytes>| {
        if let Some(trailers) = frame.trailers_mut() {
            own.iter().for_each(|(name, _)| drop(trailers.remove(name)));
        }
        frame
    };
    let mut body = Bounded::new(body.map_frame(without_own).boxed_unsync(), limit, deadline, || Error::HttpRequestBodySize(None));
    body.told = Some(told);
    let first_by = within(options.and_then(|options| options.first_byte_timeout));
    let answer = timeout_at(first_by, sender.send_request(Request::from_parts(parts, body))).await;
    let answer = answer.map_err(|_| Error::HttpResponseTimeout)??;
    // A server may answer before it has read the body, of which the rest may be too long all the same.
    let ended = async {
        let Ok(mut rest) = unsent.await else { return Ok(()) };
        while let Some(frame) = rest.frame().await {
            frame?;
        }
        Ok(())
    };
    timeout_at(first_by, ended).await.unwrap_or(Err(Error::HttpResponseTimeout))?;
    let limit = shared.limits.memory_bytes_max;
    if answer.body().size_hint().lower() > limit as u64 {
        return Err(Error::HttpResponseBodySize(Some(answer.body().size_hint().lower())));
    }
    let bounded = |body: hyper::body::Incoming| {
        Bounded::new(body.map_err(Error::from).boxed_unsync(), limit, deadline, || Error::HttpResponseBodySize(None)).boxed_unsync()
    };
    Ok((answer.map(bounded), Box::new(connection)))
}

/// A body that ends with an error where it is too long, or takes too long.
struct Bounded {
    body: WasiBody,
    /// `None`: it was too long.
    left: Option<usize>,
    end: Pin<Box<Sleep>>,
    too_long: fn() -> Error,
    /// Told what is left of it when nobody wants it any more; dropped when it is at its end.
    told: Option<oneshot::Sender<Bounded>>,
}

impl Drop for Bounded {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
            let body = std::mem::replace(&mut self.body, nothing);
            let _ = told.send(Bounded {
                body,
                left: self.left,
                end: Box::pin(sleep_until(self.end.deadline())),
                too_long: self.too_long,
                told: None,
            });
        }
    }
}

impl Bounded {
    fn new(body: WasiBody, left: usize, deadline: Instant, too_long: fn() -> Error) -> Bounded {
        Bounded { body, left: Some(left), end: Box::pin(sleep_until(deadline)), too_long, told: None }
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(left) = self.left else { return Poll::Ready(Some(Err((self.too_long)()))) };
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            ready!(self.end.as_mut().poll(context));
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        let Some(Ok(frame)) = frame else {
            self.told = None;
            return Poll::Ready(frame);
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.left = left.checked_sub(length);
        Poll::Ready(Some(if self.left.is_some() { Ok(frame) } else { Err((self.too_long)()) }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
