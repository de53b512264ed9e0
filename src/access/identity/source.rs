//! Where a key set comes from when it is not in the configuration: a file, or an address that speaks
//! HTTPS. One request, bounded in size and time; no redirect is followed, nothing is kept.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, USER_AGENT};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncReadExt;
use url::{Host, Url};

use super::{Algorithm, KeyError, KeySet};
use crate::runtime::web::{self, WebClient};

/// What goes wrong when keys are fetched.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is not a place that keys are fetched from.
    #[error("must be https://HOST/…, file:///PATH, or http:// on a loopback address")]
    Place,
    /// Certificates that cannot be read.
    #[error("must be certificates in PEM")]
    Certificates,
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// The file cannot be read.
    #[error("read the file of keys")]
    File(#[source] std::io::Error),
    /// The address cannot be reached.
    #[error("reach the address of the keys")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// What came was not HTTP.
    #[error("ask for the keys")]
    Http(#[source] hyper_util::client::legacy::Error),
    /// The answer did not come whole, or is too large.
    #[error("read the keys")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another answer than the keys.
    #[error("ask for the keys: answered {0}")]
    Status(u16),
    /// Nothing came in time.
    #[error("ask for the keys: no answer in time")]
    Timeout,
    /// More than is read.
    #[error("read the keys: they are larger than auth.jwks_bytes_max")]
    TooLarge,
    /// What came is no key set.
    #[error("read the keys: what was answered {0}")]
    Keys(#[source] KeyError),
}

/// Where keys are.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Web(Url),
}

impl Place {
    /// Reads `https://…`, `file:///…`, or `http://…` on a loopback address: keys that come over a
    /// network unprotected are anybody's.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let url = Url::parse(text).map_err(|_| SourceError::Place)?;
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let plain = url.username().is_empty() && url.password().is_none();
        match url.scheme() {
            "https" if plain && url.host().is_some() => Ok(Self::Web(url)),
            "http" if plain && loopback => Ok(Self::Web(url)),
            "file" => url
                .to_file_path()
                .map(Self::File)
                .map_err(|()| SourceError::Place),
            _ => Err(SourceError::Place),
        }
    }
}

/// The certificates that an address has to be vouched for by: these, or those of the public web.
pub fn trust(pem: Option<&str>) -> Result<RootCertStore, SourceError> {
    let Some(pem) = pem else {
        return Ok(web::public_roots());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| SourceError::Certificates)?;
        roots
            .add(certificate)
            .map_err(|_| SourceError::Certificates)?;
    }
    if roots.is_empty() {
        return Err(SourceError::Certificates);
    }
    Ok(roots)
}

/// Fetches a key set.
pub struct Source {
    place: Place,
    client: WebClient<Empty<Bytes>>,
    algorithms: Vec<Algorithm>,
    bytes_max: usize,
    timeout: Duration,
}

impl Source {
    /// Fetches from `place`, within so much time and so many bytes.
    pub fn new(
        place: Place,
        roots: RootCertStore,
        algorithms: Vec<Algorithm>,
        (timeout, bytes_max): (Duration, usize),
    ) -> Result<Self, SourceError> {
        Ok(Self {
            place,
            client: web::client(roots).map_err(SourceError::Tls)?,
            algorithms,
            bytes_max,
            timeout,
        })
    }

    /// The keys as they are now.
    pub async fn fetch(&self) -> Result<KeySet, SourceError> {
        let reading = async {
            match &self.place {
                Place::File(path) => self.file(path).await,
                Place::Web(url) => self.web(url).await,
            }
        };
        let document = tokio::time::timeout(self.timeout, reading)
            .await
            .map_err(|_| SourceError::Timeout)??;
        KeySet::of_document(&document, &self.algorithms).map_err(SourceError::Keys)
    }

    async fn file(&self, path: &PathBuf) -> Result<Bytes, SourceError> {
        let file = tokio::fs::File::open(path)
            .await
            .map_err(SourceError::File)?;
        let mut document = Vec::new();
        // One more than is allowed tells that there is more.
        let bytes = self.bytes_max as u64 + 1;
        file.take(bytes)
            .read_to_end(&mut document)
            .await
            .map_err(SourceError::File)?;
        if document.len() > self.bytes_max {
            return Err(SourceError::TooLarge);
        }
        Ok(document.into())
    }

    async fn web(&self, url: &Url) -> Result<Bytes, SourceError> {
        let request = Request::get(url.as_str())
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(USER_AGENT, concat!("firstcome/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|_| SourceError::Place)?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| {
            if error.is_connect() {
                SourceError::Connect(error)
            } else {
                SourceError::Http(error)
            }
        })?;
        if answer.status() != 200 {
            return Err(SourceError::Status(answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), self.bytes_max).collect();
        Ok(body.await.map_err(too_large_or_cut)?.to_bytes())
    }
}

fn too_large_or_cut(error: Box<dyn std::error::Error + Send + Sync>) -> SourceError {
    if error.is::<http_body_util::LengthLimitError>() {
        SourceError::TooLarge
    } else {
        SourceError::Body(error)
    }
}
