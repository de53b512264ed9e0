//! Asks others over the web: one client for whatever the service itself sends. It trusts the authorities
//! that browsers do, follows no redirection, and knows nothing of what it carries.

use hyper::Uri;
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Sends requests with such bodies, over TLS where the address asks for it.
pub type WebClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// An address of the web, if it is one.
#[must_use]
pub fn address(url: &str) -> Option<Uri> {
    let address: Uri = url.parse().ok()?;
    let is_web = matches!(address.scheme_str(), Some("https" | "http"));
    (is_web && address.host().is_some_and(|host| !host.is_empty())).then_some(address)
}

/// A client; it connects when it is used.
pub fn client<B>() -> Result<WebClient<B>, rustls::Error>
where
    B: Body + Send,
    B::Data: Send,
{
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_are_taken() {
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
