//! Bytes on a connection, cut into pieces of any length.

#![allow(
    clippy::unwrap_used,
    reason = "a target fails where something does not hold"
)]

use std::io;
use std::sync::Mutex;

use poem::endpoint::make_sync;
use tokio::io::ReadBuf;
use tokio::runtime::Builder;

use super::*;

pub use super::host::tests::fuzz as host;

/// A client that sends pieces, takes what it is answered, and goes.
struct Pieces {
    rest: Vec<u8>,
    piece_bytes: usize,
    /// Whether a piece is there; the next one comes a moment later.
    has_come: bool,
    answers: Arc<Mutex<Vec<u8>>>,
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
        self.has_come = !self.has_come;
        if !self.has_come {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = self
            .piece_bytes
            .min(self.rest.len())
            .min(buffer.remaining());
        let piece: Vec<u8> = self.rest.drain(..length).collect();
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
        self.answers.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// However its bytes are cut, a client gets no more answers than it has asked for, and the connection ends when
/// it is gone.
pub fn connection(bytes: &[u8]) {
    let Some((cut, sent)) = bytes.split_first() else {
        return;
    };
    let asked = versions(sent);
    for piece_bytes in [sent.len().max(1), usize::from(*cut).max(1)] {
        let answers = answers(sent, piece_bytes);
        let is_answer = answers.is_empty() || answers.starts_with(b"HTTP/1.");
        assert!(is_answer, "{}", answers.escape_ascii());
        // What cannot be read is answered as well.
        assert!(
            versions(&answers) <= asked + 1,
            "{}",
            answers.escape_ascii()
        );
    }
}

/// How often a version is named: at least as often as there are requests, or answers.
fn versions(bytes: &[u8]) -> usize {
    bytes
        .windows(7)
        .filter(|bytes| *bytes == b"HTTP/1.")
        .count()
}

fn answers(sent: &[u8], piece_bytes: usize) -> Vec<u8> {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let stream = Pieces {
        rest: sent.to_vec(),
        piece_bytes,
        has_come: false,
        answers: Arc::clone(&answers),
    };
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let ends = Ends {
        local: nowhere,
        remote: nowhere,
        scheme: Scheme::HTTP,
    };
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let spoken = runtime.block_on(async {
        let protocol = Protocol::new(&Settings::default(), CancellationToken::new());
        let endpoint = Arc::new(make_sync(|_| Response::default()));
        let speaking = protocol.speak(stream, ends, endpoint, Standing::Seated);
        tokio::time::timeout(Duration::from_secs(5), speaking).await
    });
    assert!(
        spoken.is_ok(),
        "the client is gone, and the connection goes on"
    );
    answers.lock().unwrap().clone()
}
