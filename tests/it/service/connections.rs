//! What an open connection costs that asks nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use tempfile::TempDir;

use super::process::Service;

/// A protocol with its buffers takes more than twice as much.
const BYTES_MAX: usize = 5 * 1024;

/// A connection over which something was asked and answered.
fn used(service: &Service) -> TcpStream {
    let address = service.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut answer = [0; 4_096];
    let length = stream.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
    stream
}

fn resident_bytes(service: &Service) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_that_asks_nothing_costs_little() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    // The first ones pay for what all of them have in common.
    let first: Vec<_> = (0..200).map(|_| used(&service)).collect();
    let before = resident_bytes(&service);
    let more: Vec<_> = (0..400).map(|_| used(&service)).collect();
    let grown = resident_bytes(&service).saturating_sub(before);
    let each = grown / more.len();
    assert!(
        each < BYTES_MAX,
        "{each} bytes each, beside {}",
        first.len()
    );
}
