//! The service's own listener, on a running service.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authority::Authority;
use crate::service::process::{Service, command};
use crate::support::until;

fn settings(keys: &Authority) -> Vec<(&'static str, String)> {
    vec![
        ("FIRSTCOME_HTTP_TLS_CERTIFICATE", keys.named("server.pem")),
        ("FIRSTCOME_HTTP_TLS_KEY", keys.named("server-key.pem")),
        ("FIRSTCOME_HTTP_TLS_RELOAD_INTERVAL", "100ms".to_owned()),
        ("FIRSTCOME_HTTP_CONNECTIONS_MAX", "100".to_owned()),
        ("FIRSTCOME_HTTP_HEAD_TIMEOUT", "2s".to_owned()),
    ]
}

fn address(service: &Service) -> &str {
    service.base.strip_prefix("http://").unwrap()
}

/// Shakes hands as a client that trusts one authority.
async fn shake(service: &Service, authority: &Path) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address(service)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn ask(service: &Service, authority: &Path) -> String {
    let mut stream = shake(service, authority).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut said = String::new();
    for _ in 0..2 {
        // Twice over the same connection.
        let asked = b"GET /api/campaigns/1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(asked).await.unwrap();
        said.clear();
        while !said.ends_with('}') {
            let mut bytes = [0; 4_096];
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "{said}");
            said.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        let hsts = "strict-transport-security: max-age=31536000\r\n";
        assert!(said.contains(hsts), "{said}");
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_served_encrypted_and_not_in_plain_text() {
    let keys = Authority::new();
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, &settings(&keys)).await;
    let said = ask(&service, &keys.path("ca.pem")).await;
    assert!(
        said.contains("\"name\":\"First come, first served\""),
        "{said}"
    );

    let stranger = shake(&service, &keys.path("stranger.pem"))
        .await
        .unwrap_err();
    assert!(stranger.to_string().contains("UnknownIssuer"), "{stranger}");
    assert!(service.get("/livez").send().await.is_err(), "plain text");
    assert!(service.stop().await.success());
}

/// Connections without a handshake hold permits only for a while; other clients are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_tls_handshake_blocks_nobody_and_is_disconnected() {
    let keys = Authority::new();
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &settings(&keys)).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address(&service)).await.unwrap());
    }
    ask(&service, &keys.path("ca.pem")).await;
    for mut stream in silent {
        let mut bytes = [0; 16];
        let seen_off = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut bytes));
        assert!(matches!(seen_off.await.unwrap(), Ok(0) | Err(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_restart_and_a_bad_one_is_ignored() {
    let keys = Authority::new();
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &settings(&keys)).await;
    let authority = keys.path("ca.pem");
    let shown = async || {
        let stream = shake(&service, &authority).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0]
            .clone()
            .into_owned()
    };
    let first = shown().await;
    keys.issue("server", &["localhost"]);
    until("the new one is shown", async || shown().await != first).await;
    let second = shown().await;

    // The key of another certificate.
    std::fs::copy(keys.path("client-key.pem"), keys.path("server-key.pem")).unwrap();
    until("it is said", async || {
        service.log().contains("new certificate rejected")
    })
    .await;
    assert!(shown().await == second);
    keys.issue("server", &["localhost"]);
    until("it is mended", async || shown().await != second).await;
}

#[tokio::test]
async fn an_unusable_certificate_is_reported_at_start() {
    let keys = Authority::new();
    let folder = TempDir::new().unwrap();
    for (certificate, key, why) in [
        (
            "server.pem",
            "client-key.pem",
            "use the certificate with its key",
        ),
        ("server-key.pem", "server-key.pem", "no certificates in PEM"),
        ("server.pem", "ca.pem", "no private key in PEM"),
        (
            "server.pem",
            "missing.pem",
            "http.tls_key: there is no such file",
        ),
    ] {
        let settings = [
            ("FIRSTCOME_HTTP_TLS_CERTIFICATE", keys.named(certificate)),
            ("FIRSTCOME_HTTP_TLS_KEY", keys.named(key)),
        ];
        let ran = command(&folder, &settings).arg("serve").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && said.contains(why), "{why}: {said}");
    }
    let alone = [("FIRSTCOME_HTTP_TLS_KEY", keys.named("server-key.pem"))];
    let ran = command(&folder, &alone).arg("serve").output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stderr).contains("go together"));
}
