//! Reads a key set that is not in the configuration: from a file, or from an HTTPS address. The size and the time are
//! bounded, and redirects are not followed.

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

/// Why keys cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The URL is not acceptable.
    #[error("must be https://HOST/…, file:///PATH, or http:// on a loopback address")]
    Location,
    /// The certificates cannot be read.
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
    /// The response is not HTTP.
    #[error("request the keys")]
    Http(#[source] hyper_util::client::legacy::Error),
    /// The response is incomplete.
    #[error("read the keys")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The status of the response is not 200.
    #[error("request the keys: the response is {0}")]
    Status(u16),
    /// There is no response in time.
    #[error("request the keys: no response in time")]
    Timeout,
    /// The key set is too large.
    #[error("read the keys: they are larger than auth.jwks_bytes_max")]
    TooLarge,
    /// The response is not a usable key set.
    #[error("read the keys: the response {0}")]
    Keys(#[source] KeyError),
}

/// The location of a key set.
#[derive(Clone, Debug)]
pub enum KeyLocation {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Web(Url),
}

impl KeyLocation {
    /// Parses `https://…`, `file:///…`, or `http://…` on a loopback address. Over plain HTTP, anybody on the network could
    /// replace the keys.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let url = Url::parse(text).map_err(|_| SourceError::Location)?;
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
                .map_err(|()| SourceError::Location),
            _ => Err(SourceError::Location),
        }
    }
}

/// The trusted certificate authorities: these, or those of the public web.
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
    location: KeyLocation,
    client: WebClient<Empty<Bytes>>,
    algorithms: Vec<Algorithm>,
    bytes_max: usize,
    timeout: Duration,
}

impl Source {
    /// Fetches from `location`, within the timeout and the size.
    pub fn new(
        location: KeyLocation,
        roots: RootCertStore,
        algorithms: Vec<Algorithm>,
        (timeout, bytes_max): (Duration, usize),
    ) -> Result<Self, SourceError> {
        Ok(Self {
            location,
            client: web::client(roots).map_err(SourceError::Tls)?,
            algorithms,
            bytes_max,
            timeout,
        })
    }

    /// Fetches the current keys.
    pub async fn fetch(&self) -> Result<KeySet, SourceError> {
        let reading = async {
            match &self.location {
                KeyLocation::File(path) => self.file(path).await,
                KeyLocation::Web(url) => self.web(url).await,
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
        // One byte more than allowed shows that the file is too large.
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
            .map_err(|_| SourceError::Location)?;
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
