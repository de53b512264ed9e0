//! Streams that behave as local sockets hardly ever do.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use poem::endpoint::make_sync;
use tokio::io::ReadBuf;

use super::*;
use crate::host::InvalidHost;

/// Sends one request, and needs two calls to shut down, as TLS does.
struct SlowToClose {
    request: &'static [u8],
    shutdowns: Arc<AtomicU32>,
}

impl Readable for SlowToClose {
    fn poll_readable(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl AsyncRead for SlowToClose {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.request.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(std::mem::take(&mut self.request));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SlowToClose {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shutdowns.fetch_add(1, Ordering::Relaxed) > 0 {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn peers() -> Peers {
    Peers {
        local: "127.0.0.1:1".parse().unwrap(),
        remote: "127.0.0.1:2".parse().unwrap(),
        scheme: Scheme::HTTPS,
    }
}

#[tokio::test(start_paused = true)]
async fn a_closing_connection_is_not_idle() {
    let shutdowns = Arc::new(AtomicU32::new(0));
    let stream = SlowToClose {
        request: b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        shutdowns: Arc::clone(&shutdowns),
    };
    let began = Instant::now();
    let endpoint = Arc::new(make_sync(|_| Response::default()));
    Protocol::new(&Config::default(), CancellationToken::new())
        .run(stream, peers(), endpoint, Place::WithinLimit)
        .await;
    assert_eq!(shutdowns.load(Ordering::Relaxed), 2);
    assert!(began.elapsed() < Config::default().head_timeout);
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_sees_one_host_and_a_path() {
    for (request, expected) in [
        (
            &b"GET http://evil.example/x?y=z HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"[..],
            Some("evil.example/x?y=z"),
        ),
        (
            b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            Some("a/x"),
        ),
        (b"GET /x HTTP/1.1\r\nconnection: close\r\n\r\n", None),
        (
            b"GET /x HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            None,
        ),
    ] {
        let received = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&received);
        let endpoint = make_sync(move |request: Request| {
            let is_valid = request.data::<InvalidHost>().is_none();
            let host = request.header("host").unwrap_or_default();
            let whole = format!("{host}{}", request.uri());
            *seen.lock().unwrap() = Some(is_valid.then_some(whole));
            Response::default()
        });
        let stream = SlowToClose {
            request,
            shutdowns: Arc::default(),
        };
        Protocol::new(&Config::default(), CancellationToken::new())
            .run(stream, peers(), Arc::new(endpoint), Place::WithinLimit)
            .await;
        let received = received.lock().unwrap().take().unwrap();
        assert_eq!(received.as_deref(), expected, "{}", request.escape_ascii());
    }
}
