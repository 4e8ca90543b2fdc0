//! TLS for connections to the server, by rustls with ring, as `ssl-mode` says.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::{Address, SslMode};
use crate::source::Failure;

/// How this source uses TLS.
#[derive(Debug)]
pub(super) struct Tls {
    mode: SslMode,
    config: Arc<ClientConfig>,
}

impl Tls {
    pub(super) fn new(address: &Address) -> Result<Tls, Failure> {
        let provider = Arc::new(ring::default_provider());
        let bad = |e: &dyn std::fmt::Display| {
            Failure::definite(
                format!("the certificates of `ssl-ca` cannot be used: {e}"),
                "name a PEM file with the certificates of the authorities to trust",
            )
        };
        let mut roots = RootCertStore::empty();
        match &address.ssl_ca {
            Some(path) => {
                for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))? {
                    roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
                }
                if roots.is_empty() {
                    return Err(bad(&"there are none in the file"));
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(|e| bad(&e))?;
        let chain = match address.ssl_mode {
            SslMode::Disabled | SslMode::Preferred | SslMode::Required => None,
            SslMode::VerifyCa | SslMode::VerifyIdentity => {
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
                Some(verifier.map_err(|e| bad(&e))?)
            }
        };
        let verifier = Verifier { chain, name: address.ssl_mode == SslMode::VerifyIdentity, provider };
        let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
        Ok(Tls { mode: address.ssl_mode, config: Arc::new(config) })
    }

    /// Whether to go over to TLS; an error if the server cannot and must.
    pub(super) fn is_used(&self, offered: bool) -> Result<bool, Failure> {
        match self.mode {
            SslMode::Disabled => Ok(false),
            SslMode::Preferred => Ok(offered),
            SslMode::Required | SslMode::VerifyCa | SslMode::VerifyIdentity if offered => Ok(true),
            SslMode::Required | SslMode::VerifyCa | SslMode::VerifyIdentity => Err(Failure::definite(
                "the server does not offer TLS, and `ssl-mode` demands it",
                "switch TLS on at the server, or use ssl-mode=preferred",
            )),
        }
    }

    pub(super) async fn connect(&self, tcp: TcpStream, host: &str) -> Result<TlsStream<TcpStream>, Failure> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::definite("TLS needs a host name or an address", "write another host into `url`"))?;
        TlsConnector::from(self.config.clone()).connect(name, tcp).await.map_err(|error| {
            let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
            match inner {
                Some(tls) => Failure::definite(
                    format!("TLS fails: {tls}"),
                    "check `ssl-ca`, and that the server's certificate is made out for the host; ssl-mode=required does not check it",
                ),
                None => Failure::transient(format!("the connection is lost while TLS begins: {error}")),
            }
        })
    }
}

/// Checks what the mode demands: nothing, the chain, or the chain and the name. Signatures are always checked.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is checked last.
            Err(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }))
                if !self.name =>
            {
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
