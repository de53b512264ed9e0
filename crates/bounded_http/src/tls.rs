//! TLS of a listener: its certificate, the handshake, and how the certificate is replaced at run time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// The only protocol offered by ALPN.
const PROTOCOL: &[u8] = b"http/1.1";

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file contains no certificate, or something else.
    #[error("no certificates in PEM in {}", .0.display())]
    Certificates(PathBuf),
    /// A file contains no private key.
    #[error("no private key in PEM in {}", .0.display())]
    Key(PathBuf),
    /// The key does not belong to the certificate, or its kind is not supported.
    #[error("use the certificate with its key")]
    Pair(#[source] rustls::Error),
}

/// The paths of a certificate and its key.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key of the first certificate, in PEM.
    pub key: PathBuf,
}

/// Changes when the files do.
type Digests = [u8; 32];

impl CertificateFiles {
    async fn load(&self) -> Result<(Digests, Result<CertifiedKey, TlsError>), TlsError> {
        let certificate = read(&self.certificate).await?;
        let key = read(&self.key).await?;
        let mut digests = Sha256::new();
        digests.update(Sha256::digest(&certificate));
        digests.update(Sha256::digest(&key));
        Ok((digests.finalize().into(), self.parse(&certificate, &key)))
    }

    fn parse(&self, certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
        let none = || TlsError::Certificates(self.certificate.clone());
        let chain = CertificateDer::pem_slice_iter(certificate);
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|_| none())?;
        if chain.is_empty() {
            return Err(none());
        }
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|_| TlsError::Key(self.key.clone()))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Pair)
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = tokio::fs::read(path).await;
    read.map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The current certificate.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

/// TLS of a listener.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    files: CertificateFiles,
    current: Arc<Current>,
    digests: Digests,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate. Offers TLS 1.2 and 1.3 only.
    pub async fn open(files: CertificateFiles) -> Result<Self, TlsError> {
        let (digests, certificate) = files.load().await?;
        let current = Arc::new(Current(RwLock::new(Arc::new(certificate?))));
        let provider = Arc::new(ring::default_provider());
        let resolver = Arc::<Current>::clone(&current);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // Returning clients resume their session.
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Pair)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            files,
            current,
            digests,
        })
    }

    /// Reads the files once per `interval` and uses a new certificate from the next handshake on. An unusable one
    /// is logged once, and the current one stays.
    pub async fn reload(mut self, interval: Duration, stop: &CancellationToken) {
        let mut has_failed = false;
        while stop
            .run_until_cancelled(tokio::time::sleep(interval))
            .await
            .is_some()
        {
            match self.reload_once().await {
                Ok(()) => has_failed = false,
                Err(error) => {
                    if !has_failed {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "new certificate rejected"
                        );
                    }
                    has_failed = true;
                }
            }
        }
    }

    async fn reload_once(&mut self) -> Result<(), TlsError> {
        let (digests, certificate) = self.files.load().await?;
        if digests == self.digests {
            return Ok(());
        }
        // While the files are being replaced, certificate and key may not match: the next read tries again.
        let certificate = Arc::new(certificate?);
        self.digests = digests;
        *self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = certificate;
        tracing::info!("certificate reloaded");
        Ok(())
    }

    /// Performs the handshake within a time limit.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        within: Duration,
    ) -> Option<TlsStream<TcpStream>> {
        match tokio::time::timeout(within, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "handshake failed");
                None
            }
            Err(_) => None,
        }
    }
}
