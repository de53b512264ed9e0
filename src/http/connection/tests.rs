//! What a stream does that a socket on this machine hardly ever does.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use poem::endpoint::make_sync;
use tokio::io::ReadBuf;

use super::*;

/// Asks once, and takes its time to be closed, as one does that has to say so first.
struct SlowToClose {
    question: &'static [u8],
    closings: Arc<AtomicU32>,
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
        if self.question.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(std::mem::take(&mut self.question));
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
        if self.closings.fetch_add(1, Ordering::Relaxed) > 0 {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn ends() -> Ends {
    Ends {
        local: "127.0.0.1:1".parse().unwrap(),
        remote: "127.0.0.1:2".parse().unwrap(),
        scheme: Scheme::HTTPS,
    }
}

#[tokio::test(start_paused = true)]
async fn who_closes_does_not_rest_before_it_is_done() {
    let settings = Settings::default();
    let closings = Arc::new(AtomicU32::new(0));
    let stream = SlowToClose {
        question: b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        closings: Arc::clone(&closings),
    };
    let began = Instant::now();
    let endpoint = Arc::new(make_sync(|_| Response::default()));
    Protocol::new(&settings, CancellationToken::new())
        .speak(stream, ends(), endpoint, Standing::Seated)
        .await;
    assert_eq!(closings.load(Ordering::Relaxed), 2);
    assert!(began.elapsed() < settings.head_timeout);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_has_one_host_and_a_path() {
    for (question, wanted) in [
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
        let asked = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&asked);
        let endpoint = make_sync(move |request| {
            let is_clear = request.data::<UnclearHost>().is_none();
            let host = request.header("host").unwrap_or_default();
            let whole = format!("{host}{}", request.uri());
            *seen.lock().unwrap() = Some(is_clear.then_some(whole));
            Response::default()
        });
        let stream = SlowToClose {
            question,
            closings: Arc::default(),
        };
        Protocol::new(&Settings::default(), CancellationToken::new())
            .speak(stream, ends(), Arc::new(endpoint), Standing::Seated)
            .await;
        let asked = asked.lock().unwrap().take().unwrap();
        assert_eq!(asked.as_deref(), wanted, "{}", question.escape_ascii());
    }
}
