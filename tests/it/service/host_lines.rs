//! The host of a request (RFC 9112, 3.2): from one header line, or from the URL.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::StatusCode;
use tempfile::TempDir;

use super::process::Service;

/// The response to a request that is written exactly like this.
fn answer(service: &Service, request: &str) -> String {
    let address = service.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_1_request_has_exactly_one_host_header() {
    let folder = TempDir::new().unwrap();
    let any_name = [("FIRSTCOME_HTTP_ALLOWED_HOSTS", "*".to_owned())];
    let service = Service::start(&folder, &any_name).await;
    for (lines, wanted) in [
        ("host: a\r\n", 200),
        ("host: a:80\r\n", 200),
        ("host: [::1]:80\r\n", 200),
        ("host:\r\n", 200),
        ("", 400),
        ("host: a\r\nhost: b\r\n", 400),
        ("host: a\r\nx: y\r\nhost: a\r\n", 400),
        ("host: a b\r\n", 400),
        ("host: a/b\r\n", 400),
        ("host: user@a\r\n", 400),
        ("host: a, b\r\n", 400),
        ("host: a:x\r\n", 400),
    ] {
        let request = format!("GET /api/time HTTP/1.1\r\n{lines}connection: close\r\n\r\n");
        let said = answer(&service, &request);
        assert_eq!(status(&said), wanted, "{lines:?}: {said}");
        if wanted == 400 {
            assert!(said.contains("\"code\":\"MALFORMED\""), "{said}");
            assert!(said.contains("x-request-id: "), "{said}");
        }
    }
    // HTTP/1.0 has no such line.
    let old = answer(&service, "GET /api/time HTTP/1.0\r\n\r\n");
    assert_eq!(status(&old), 200, "{old}");
    let probe = answer(&service, "GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert_eq!(status(&probe), StatusCode::BAD_REQUEST.as_u16(), "{probe}");
}
