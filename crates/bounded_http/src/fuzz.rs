//! Fuzz targets: the bytes of a connection, in pieces of any length, and the host of a request.

#![allow(
    clippy::unwrap_used,
    reason = "a target fails where something does not hold"
)]
#![allow(clippy::missing_panics_doc, reason = "a target fails by a panic")]

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use poem::Response;
use poem::endpoint::make_sync;
use poem::http::uri::Scheme;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::connection::{Peers, Place, Protocol};
use crate::server::Config;
use crate::stream::Readable;

/// A request that is not refused has one host, and a target without host.
pub fn host(bytes: &[u8]) {
    crate::host::fuzz(bytes);
}

/// A client that sends pieces, reads what it gets, and disconnects.
struct Pieces {
    unsent: Vec<u8>,
    piece_bytes: usize,
    /// Whether a piece has arrived; the next one arrives a moment later.
    has_arrived: bool,
    responses: Arc<Mutex<Vec<u8>>>,
}

impl Readable for Pieces {
    fn poll_readable(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.has_arrived = !self.has_arrived;
        if !self.has_arrived {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = self
            .piece_bytes
            .min(self.unsent.len())
            .min(buffer.remaining());
        let piece: Vec<u8> = self.unsent.drain(..length).collect();
        buffer.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.responses.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A client gets at most one response per request, and the connection ends after the client disconnects, however
/// the bytes are split.
pub fn connection(bytes: &[u8]) {
    let Some((split, sent)) = bytes.split_first() else {
        return;
    };
    let requests = versions(sent);
    for piece_bytes in [sent.len().max(1), usize::from(*split).max(1)] {
        let responses = responses(sent, piece_bytes);
        let is_valid = responses.is_empty() || responses.starts_with(b"HTTP/1.");
        assert!(is_valid, "{}", responses.escape_ascii());
        // Bytes that cannot be parsed get a response as well.
        assert!(
            versions(&responses) <= requests + 1,
            "{}",
            responses.escape_ascii()
        );
    }
}

/// Counts protocol versions: at least as many as there are requests, or responses.
fn versions(bytes: &[u8]) -> usize {
    bytes
        .windows(7)
        .filter(|bytes| *bytes == b"HTTP/1.")
        .count()
}

fn responses(sent: &[u8], piece_bytes: usize) -> Vec<u8> {
    let responses = Arc::new(Mutex::new(Vec::new()));
    let stream = Pieces {
        unsent: sent.to_vec(),
        piece_bytes,
        has_arrived: false,
        responses: Arc::clone(&responses),
    };
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let peers = Peers {
        local: address,
        remote: address,
        scheme: Scheme::HTTP,
    };
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let ended = runtime.block_on(async {
        let protocol = Protocol::new(&Config::default(), CancellationToken::new());
        let endpoint = Arc::new(make_sync(|_| Response::default()));
        let run = protocol.run(stream, peers, endpoint, Place::WithinLimit);
        tokio::time::timeout(Duration::from_secs(5), run).await
    });
    assert!(
        ended.is_ok(),
        "the client disconnected, and the connection goes on"
    );
    responses.lock().unwrap().clone()
}
