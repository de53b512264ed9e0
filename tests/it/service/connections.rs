//! The memory of an idle connection.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use tempfile::TempDir;

use super::process::Service;

/// An active protocol exceeds this: one of its two buffers is larger, and the used page of a buffer is as large.
const BYTES_MAX: usize = 4 * 1024;

fn opened(service: &Service) -> TcpStream {
    let address = service.base.trim_start_matches("http://");
    TcpStream::connect(address).unwrap()
}

/// Sends a request that is rejected without reading its body.
fn ask(stream: &mut TcpStream) {
    stream
        .write_all(b"POST /api/nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}")
        .unwrap();
    let mut answer = [0; 4_096];
    let length = stream.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 404 "));
}

fn resident_bytes(service: &Service) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_uses_little_memory() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    // The first connections also pay for the shared memory.
    let mut first: Vec<_> = (0..200).map(|_| opened(&service)).collect();
    first.iter_mut().for_each(ask);
    let before = resident_bytes(&service);
    let mut more: Vec<_> = (0..400).map(|_| opened(&service)).collect();
    for _ in 0..3 {
        more.iter_mut().for_each(ask);
    }
    let grown = resident_bytes(&service).saturating_sub(before);
    let each = grown / more.len();
    assert!(each < BYTES_MAX, "{each} bytes each");
    first.iter_mut().for_each(ask);
}
