//! TLS of the service's own listener: its certificate, the handshake, and how the certificate is replaced
//! while it runs. It must not know what is said over it.

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

/// The one protocol that is spoken here.
const PROTOCOL: &[u8] = b"http/1.1";

/// What goes wrong with a certificate.
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
    /// A file has no certificate in it, or something that is none.
    #[error("no certificates in PEM in {}", .0.display())]
    Certificates(PathBuf),
    /// A file has no key in it.
    #[error("no private key in PEM in {}", .0.display())]
    Key(PathBuf),
    /// The key is not that of the certificate, or of a kind that is not used.
    #[error("use the certificate with its key")]
    Pair(#[source] rustls::Error),
}

/// Where the certificate is.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The service's own, then those that vouch for it, in PEM.
    pub certificate: PathBuf,
    /// The private key of the first, in PEM.
    pub key: PathBuf,
}

/// What tells whether files have changed.
type Print = [u8; 32];

impl CertificateFiles {
    async fn load(&self) -> Result<(Print, Result<CertifiedKey, TlsError>), TlsError> {
        let certificate = read(&self.certificate).await?;
        let key = read(&self.key).await?;
        let mut print = Sha256::new();
        print.update(Sha256::digest(&certificate));
        print.update(Sha256::digest(&key));
        Ok((print.finalize().into(), self.parse(&certificate, &key)))
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

/// The certificate that is shown now.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

/// TLS of a listener.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    files: CertificateFiles,
    shown: Arc<Shown>,
    print: Print,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut told = formatter.debug_struct("Tls");
        told.field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate. TLS 1.2 and 1.3, and nothing older.
    pub async fn open(files: CertificateFiles) -> Result<Self, TlsError> {
        let (print, certificate) = files.load().await?;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certificate?))));
        let provider = Arc::new(ring::default_provider());
        let resolver = Arc::<Shown>::clone(&shown);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // Who comes back need not go through all of it again.
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Pair)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            files,
            shown,
            print,
        })
    }

    /// Looks at the files so often, and shows what is new in them from the next handshake on. What cannot be
    /// used is said once, and the certificate that there is stays.
    pub async fn keep_up(mut self, every: Duration, stop: &CancellationToken) {
        let mut unread = false;
        while stop
            .run_until_cancelled(tokio::time::sleep(every))
            .await
            .is_some()
        {
            match self.renew().await {
                Ok(()) => unread = false,
                Err(error) => {
                    if !unread {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "a new certificate is not used"
                        );
                    }
                    unread = true;
                }
            }
        }
    }

    async fn renew(&mut self) -> Result<(), TlsError> {
        let (print, certificate) = self.files.load().await?;
        if print == self.print {
            return Ok(());
        }
        // Halves of two pairs, while the files are being replaced, are no pair: they are looked at again.
        let certificate = Arc::new(certificate?);
        self.print = print;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
        tracing::info!("a new certificate is shown");
        Ok(())
    }

    /// Shakes hands, within so long.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        within: Duration,
    ) -> Option<TlsStream<TcpStream>> {
        match tokio::time::timeout(within, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no handshake");
                None
            }
            Err(_) => None,
        }
    }
}
