//! Streams and bodies that record the progress of their connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use poem::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::phase::{Phase, Progress};

/// A stream that reports readability without a buffer.
pub(crate) trait Readable {
    /// Ready when a read may succeed. Bytes that were read before are not left in the stream.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Readable for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The next read returns the error, if there is one.
        self.poll_read_ready(cx).map(drop)
    }
}

impl Readable for TlsStream<TcpStream> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The stream was read until it was pending, so it holds no decrypted bytes.
        self.get_ref().0.poll_readable(cx)
    }
}

/// A stream that records reads and writes.
pub(crate) struct ObservedStream<S> {
    stream: S,
    /// Bytes that an earlier protocol instance read and did not parse.
    unread: Bytes,
    progress: Arc<Progress>,
}

impl<S> ObservedStream<S> {
    pub(crate) fn new(stream: S, progress: Arc<Progress>) -> Self {
        Self {
            stream,
            unread: Bytes::new(),
            progress,
        }
    }

    /// Puts back bytes that were read and not parsed.
    pub(crate) fn with_unread(mut self, unread: &Bytes) -> Self {
        debug_assert!(
            self.unread.is_empty(),
            "an idle connection has no unread bytes"
        );
        // Some clients end a body with a line break that is not part of it.
        let start = unread.iter().position(|byte| !b"\r\n".contains(byte));
        // An empty slice would keep the whole buffer alive.
        self.unread = start.map_or_else(Bytes::new, |at| unread.slice(at..));
        self
    }
}

impl<S: Readable> ObservedStream<S> {
    /// Ready when there are bytes to read, or the end of the stream.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unread.is_empty() {
            self.stream.poll_readable(cx)
        } else {
            Poll::Ready(())
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ObservedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(length));
            self.progress.record_read(true, false);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let has_bytes = buffer.filled().len() > before;
        self.progress.record_read(has_bytes, read.is_pending());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ObservedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.progress.record_write(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.progress.record_write(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Encrypted bytes stay in the stream until it is flushed.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.progress.record_write(flushed.is_pending());
        if flushed.is_ready() {
            self.progress.record_response_flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.record_closing();
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request body that records its end.
struct RequestBody {
    body: BoxBody<Bytes, io::Error>,
    /// The body failed: the announced end never arrives.
    failed: bool,
    progress: Arc<Progress>,
}

/// Enters the serving phase, and records the end of the request's body.
pub(crate) fn begin(progress: &Arc<Progress>, mut request: Request) -> Request {
    progress.enter(Phase::Serving);
    let body = BoxBody::from(request.take_body());
    progress.set_body_pending(!body.is_end_stream());
    request.set_body(BoxBody::new(RequestBody {
        body,
        failed: false,
        progress: Arc::clone(progress),
    }));
    request
}

impl Drop for RequestBody {
    /// Reads what has arrived of an unwanted body, so that the connection of a refused request becomes idle, too.
    fn drop(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while self.progress.body_pending() {
            let frame = Pin::new(&mut *self).poll_frame(&mut context);
            if !matches!(frame, Poll::Ready(Some(Ok(_)))) {
                break;
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.failed |= matches!(frame, Poll::Ready(Some(Err(_))));
        let is_end = matches!(frame, Poll::Ready(None)) || self.body.is_end_stream();
        if is_end && !self.failed {
            self.progress.set_body_pending(false);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body. When it ends, the connection waits for its client.
pub(crate) struct ResponseBody<B> {
    body: B,
    progress: Arc<Progress>,
}

impl<B> ResponseBody<B> {
    pub(crate) fn new(body: B, progress: Arc<Progress>) -> Self {
        Self { body, progress }
    }
}

impl<B> Drop for ResponseBody<B> {
    fn drop(&mut self) {
        self.progress.record_response_end();
    }
}

impl<B: Body + Unpin> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
