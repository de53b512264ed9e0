//! The HTTP client of the service. It follows no redirects, and does not know the content of requests.

use std::sync::Arc;

use hyper::Uri;
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

/// Sends requests with bodies of type `B`, over TLS for `https`.
pub type WebClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// Parses an HTTP or HTTPS URL.
#[must_use]
pub fn address(url: &str) -> Option<Uri> {
    let address: Uri = url.parse().ok()?;
    let is_web = matches!(address.scheme_str(), Some("https" | "http"));
    (is_web && address.host().is_some_and(|host| !host.is_empty())).then_some(address)
}

/// The certificate authorities of the public web.
#[must_use]
pub fn public_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// A client that trusts these certificate authorities. It connects at the first request.
pub fn client<B>(roots: RootCertStore) -> Result<WebClient<B>, rustls::Error>
where
    B: Body + Send,
    B::Data: Send,
{
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_are_accepted() {
        for right in ["https://hooks.example/T0/B0", "http://127.0.0.1:9/x?y=z"] {
            assert!(address(right).is_some(), "{right}");
        }
        for wrong in [
            "",
            "hooks.example",
            "/x",
            "ftp://hooks.example",
            "https://",
            "file:///x",
        ] {
            assert!(address(wrong).is_none(), "{wrong}");
        }
    }
}
