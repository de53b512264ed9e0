//! Whose turn it is on a connection, told by what is read and written. It must not know what that means.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use poem::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Who is to act next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The client: it may begin.
    First,
    /// The client: the head of a request has begun to come.
    Head,
    /// The service: the head is there.
    Service,
    /// The client: it may ask again.
    Next,
}

/// What is read of a `Turn` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TurnState {
    pub(super) whose: Whose,
    pub(super) blocked: bool,
    changes: u32,
}

/// Whose turn it is on a connection. All who write to it are polled by the connection's own task.
#[derive(Debug, Default)]
pub(super) struct Turn {
    whose: AtomicU32,
    /// The client does not take what is written to it.
    blocked: AtomicBool,
    /// So that two turns of the same kind are told apart.
    changes: AtomicU32,
    /// When it was last tried to read, there was nothing.
    starved: AtomicBool,
    /// An answer is on its way out.
    unsent: AtomicBool,
    /// The body of the last request has not come to its end.
    unheard: AtomicBool,
    /// It was decided to close, and there is no way back.
    closing: AtomicBool,
}

impl Turn {
    pub(super) fn get(&self) -> TurnState {
        TurnState {
            whose: match self.whose.load(Ordering::Relaxed) {
                0 => Whose::First,
                1 => Whose::Head,
                2 => Whose::Service,
                _ => Whose::Next,
            },
            blocked: self.blocked.load(Ordering::Relaxed),
            changes: self.changes.load(Ordering::Relaxed),
        }
    }

    pub(super) fn pass(&self, whose: Whose) {
        let whose = match whose {
            Whose::First => 0,
            Whose::Head => 1,
            Whose::Service => 2,
            Whose::Next => 3,
        };
        self.whose.store(whose, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing was asked that is not answered, and nothing is there to be read or sent: whoever speaks
    /// next begins a request. Where an answer came before the end of what was asked, only the protocol
    /// knows what the next bytes belong to.
    pub(super) fn rests(&self) -> bool {
        matches!(self.get().whose, Whose::First | Whose::Next)
            && self.starved.load(Ordering::Relaxed)
            && !self.unsent.load(Ordering::Relaxed)
            && !self.unheard.load(Ordering::Relaxed)
            && !self.closing.load(Ordering::Relaxed)
    }

    /// A request is there, and its body may still be to come.
    pub(super) fn asked(self: &Arc<Self>, mut request: Request) -> Request {
        self.pass(Whose::Service);
        let body = BoxBody::from(request.take_body());
        self.unheard.store(!body.is_end_stream(), Ordering::Relaxed);
        let body = Asked {
            body,
            broken: false,
            turn: Arc::clone(self),
        };
        request.set_body(BoxBody::new(body));
        request
    }

    /// Something was read: outside of a request it is the beginning of a head.
    fn heard(&self) {
        if matches!(self.get().whose, Whose::First | Whose::Next) {
            self.pass(Whose::Head);
        }
    }

    /// Something was written, or could not be.
    fn told(&self, blocked: bool) {
        if blocked != self.blocked.swap(blocked, Ordering::Relaxed) {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What can be told to have something to read without a buffer to read it into.
pub(super) trait Readable {
    /// Ready when reading is worth a try; nothing that was read before is left in it.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Readable for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is met by who reads.
        self.poll_read_ready(cx).map(drop)
    }
}

impl Readable for TlsStream<TcpStream> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // It was read until there was nothing, so nothing is left that is decrypted.
        self.get_ref().0.poll_readable(cx)
    }
}

/// A stream that notes whose turn it is.
pub(super) struct Watched<S> {
    stream: S,
    /// What was read by a protocol that is gone.
    unread: Bytes,
    turn: Arc<Turn>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, turn: Arc<Turn>) -> Self {
        Self {
            stream,
            unread: Bytes::new(),
            turn,
        }
    }

    /// The same with what was read and not understood yet.
    pub(super) fn with_unread(mut self, unread: &Bytes) -> Self {
        debug_assert!(
            self.unread.is_empty(),
            "who rests has read all there was to read"
        );
        // Some clients end a body with a line break that is not part of it.
        let begun = unread.iter().position(|byte| !b"\r\n".contains(byte));
        // An empty part of it would keep the whole buffer.
        self.unread = begun.map_or_else(Bytes::new, |at| unread.slice(at..));
        self
    }
}

impl<S: Readable> Watched<S> {
    /// Ready when there is something to read, or the end of it.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unread.is_empty() {
            self.stream.poll_readable(cx)
        } else {
            Poll::Ready(())
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let fitting = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(fitting));
            self.turn.starved.store(false, Ordering::Relaxed);
            self.turn.heard();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.turn
            .starved
            .store(read.is_pending(), Ordering::Relaxed);
        if buffer.filled().len() > before {
            self.turn.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.turn.told(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.turn.told(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is encrypted waits in the stream itself until it is flushed.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.turn.told(flushed.is_pending());
        if flushed.is_ready() {
            self.turn.unsent.store(false, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.turn.closing.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The body of a request, which notes its end.
struct Asked {
    body: BoxBody<Bytes, io::Error>,
    /// It broke: what follows is not the end that was announced.
    broken: bool,
    turn: Arc<Turn>,
}

impl Drop for Asked {
    /// What is there already and was not wanted is heard all the same, so that connections of those who are
    /// refused rest, too.
    fn drop(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while self.turn.unheard.load(Ordering::Relaxed) {
            let frame = Pin::new(&mut *self).poll_frame(&mut context);
            if !matches!(frame, Poll::Ready(Some(Ok(_)))) {
                break;
            }
        }
    }
}

impl Body for Asked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.broken |= matches!(frame, Poll::Ready(Some(Err(_))));
        let ended = matches!(frame, Poll::Ready(None)) || self.body.is_end_stream();
        if ended && !self.broken {
            self.turn.unheard.store(false, Ordering::Relaxed);
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

/// The body of an answer; when it is through, the turn is the client's.
pub(super) struct Answer<B> {
    body: B,
    turn: Arc<Turn>,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, turn: Arc<Turn>) -> Self {
        Self { body, turn }
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.turn.unsent.store(true, Ordering::Relaxed);
        self.turn.pass(Whose::Next);
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
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
