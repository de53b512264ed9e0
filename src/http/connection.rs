//! One connection: requests in, answers out, and how long it may wait for what. It must not know what is
//! asked or answered.
//!
//! Three things can keep a connection waiting: its client, for the head of the first or the next request
//! or for taking an answer, and the service. Only the client is watched here; the service's time, and
//! the body's, belong to the request. Whose turn it is shows in what the protocol reads and writes
//! (`Turn`), so that one timer is enough for all of it, and a busy connection hardly ever touches it.
//!
//! Between two requests a connection rests: the protocol and its buffers are given back, and made anew when
//! the client is heard of again. So thousands that are open and ask nothing cost next to nothing, and those
//! that ask use the same warm buffers in turn.

mod host;
mod turn;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

pub use self::host::UnclearHost;
use self::turn::{Answer, Readable, Turn, TurnState, Watched, Whose};
use super::settings::Settings;
use super::tls::Tls;

/// The smallest buffer the protocol works with.
const BUFFER_BYTES_MIN: usize = 8 * 1024;
/// How long a connection without a seat may take for the head of its only request.
const UNSEATED_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// Put into the requests of a connection beyond the bound: it may ask for probes, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Unseated;

/// Whether a connection is within the bound on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is, and stays until it or the service leaves.
    Seated,
    /// It is not: one request is answered.
    Unseated,
}

/// What all connections of a listener have in common.
#[derive(Clone, Debug)]
pub struct Protocol {
    builder: http1::Builder,
    head_timeout: Duration,
    idle_timeout: Duration,
    /// Told to stop: what is being answered is finished.
    stop: CancellationToken,
    /// Told that time is up: it is not.
    cut: CancellationToken,
}

impl Protocol {
    /// Takes the bounds from the settings. A head somewhat over its bound is still read, so that it can
    /// be answered in our words; the parser cuts off what is larger than twice that.
    pub fn new(settings: &Settings, cut: CancellationToken) -> Self {
        let head = settings.header_bytes_max.saturating_mul(2);
        let mut builder = http1::Builder::new();
        builder
            .header_read_timeout(None)
            .max_header_size(head)
            .max_buf_size(head.max(BUFFER_BYTES_MIN));
        Self {
            builder,
            head_timeout: settings.head_timeout,
            idle_timeout: settings.idle_timeout,
            stop: settings.stop.clone(),
            cut,
        }
    }

    fn patience_with(&self, state: TurnState) -> Duration {
        match state.whose {
            Whose::First | Whose::Head if !state.blocked => self.head_timeout,
            _ => self.idle_timeout,
        }
    }

    /// Serves one connection to its end, or until its client has kept it waiting for too long.
    pub async fn serve<E>(
        self,
        stream: TcpStream,
        remote: SocketAddr,
        endpoint: Arc<E>,
        standing: Standing,
    ) where
        E: Endpoint<Output = Response> + 'static,
    {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let ends = Ends {
            local,
            remote,
            scheme: Scheme::HTTP,
        };
        self.seated_as(standing)
            .speak(stream, ends, endpoint, standing)
            .await;
    }

    /// The same, after a handshake. That may take as long as a head, and ends when the service stops.
    pub async fn serve_encrypted<E>(
        self,
        tls: &Tls,
        stream: TcpStream,
        remote: SocketAddr,
        endpoint: Arc<E>,
        standing: Standing,
    ) where
        E: Endpoint<Output = Response> + 'static,
    {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let protocol = self.seated_as(standing);
        let shaking = tls.accept(stream, protocol.head_timeout);
        let Some(Some(stream)) = protocol.stop.run_until_cancelled(shaking).await else {
            return;
        };
        let ends = Ends {
            local,
            remote,
            scheme: Scheme::HTTPS,
        };
        protocol.speak(stream, ends, endpoint, standing).await;
    }

    fn seated_as(mut self, standing: Standing) -> Self {
        if standing == Standing::Unseated {
            self.builder.keep_alive(false);
            self.head_timeout = self.head_timeout.min(UNSEATED_HEAD_TIMEOUT);
        }
        self
    }

    async fn speak<S, E>(self, stream: S, ends: Ends, endpoint: Arc<E>, standing: Standing)
    where
        S: AsyncRead + AsyncWrite + Readable + Unpin + Send + 'static,
        E: Endpoint<Output = Response> + 'static,
    {
        let turn = Arc::new(Turn::default());
        let speak_over = |stream: Watched<S>| {
            let service = service_fn(|request| {
                let request = turn.asked(ends.request(request, standing));
                let (endpoint, turn) = (Arc::clone(&endpoint), Arc::clone(&turn));
                async move {
                    let response: hyper::Response<_> = endpoint.get_response(request).await.into();
                    Ok::<_, Infallible>(response.map(|body| Answer::new(body, turn)))
                }
            });
            let connection = self.builder.serve_connection(TokioIo::new(stream), service);
            Box::new(connection)
        };
        // One of the two is there. What was encrypted may have come with the handshake, so it begins by
        // looking.
        let mut speaking = Some(speak_over(Watched::new(stream, Arc::clone(&turn))));
        let mut resting = None;
        let mut patience = Patience::new(&self, &turn);
        let mut stop = pin!(self.stop.cancelled());
        let mut cut = pin!(self.cut.cancelled());
        let mut told = false;
        poll_fn(|cx| {
            loop {
                if let Some(connection) = &mut speaking
                    && Pin::new(&mut **connection).poll(cx).is_ready()
                {
                    return Poll::Ready(());
                }
                if let Some(connection) = speaking.take_if(|_| turn.rests() && !told) {
                    let parts = connection.into_parts();
                    resting = Some(parts.io.into_inner().with_unread(&parts.read_buf));
                }
                if let Some(stream) = resting.take_if(|stream| stream.poll_readable(cx).is_ready())
                {
                    speaking = Some(speak_over(stream));
                    continue;
                }
                // Looking whether to stop costs a lock that all connections have in common, so only one
                // of the two is looked at.
                let ends = if told { &mut cut } else { &mut stop };
                if ends.as_mut().poll(cx).is_pending() {
                    return patience.poll_over(cx);
                }
                if told {
                    return Poll::Ready(());
                }
                told = true;
                if let Some(stream) = resting.take() {
                    speaking = Some(speak_over(stream));
                }
                if let Some(connection) = &mut speaking {
                    Pin::new(&mut **connection).graceful_shutdown();
                }
            }
        })
        .await;
    }
}

/// Between whom a connection is, and what it is called.
struct Ends {
    local: SocketAddr,
    remote: SocketAddr,
    scheme: Scheme,
}

impl Ends {
    fn request(&self, mut request: hyper::Request<Incoming>, standing: Standing) -> Request {
        let host = host::settle(&mut request);
        let (local, remote) = (LocalAddr(self.local.into()), RemoteAddr(self.remote.into()));
        let mut request = Request::from((request, local, remote, self.scheme.clone()));
        if standing == Standing::Unseated {
            request.set_data(Unseated);
        }
        if let Err(unclear) = host {
            request.set_data(unclear);
        }
        request
    }
}

/// How long a client may still keep its connection waiting.
struct Patience<'a> {
    protocol: &'a Protocol,
    turn: &'a Turn,
    /// Since when it waits for what.
    seen: TurnState,
    deadline: Instant,
    /// Goes off at the deadline or before.
    timer: Pin<Box<Sleep>>,
}

impl<'a> Patience<'a> {
    fn new(protocol: &'a Protocol, turn: &'a Turn) -> Self {
        let seen = turn.get();
        let timer = Box::pin(sleep(protocol.patience_with(seen)));
        Self {
            protocol,
            turn,
            seen,
            deadline: timer.deadline(),
            timer,
        }
    }

    /// Ready when it is over. Called after each time the connection was polled.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.turn.get();
        if now.whose == Whose::Service && !now.blocked {
            return Poll::Pending;
        }
        if now != self.seen {
            self.seen = now;
            self.deadline = Instant::now() + self.protocol.patience_with(now);
        }
        // Setting a timer costs a lock, and most turns are over long before it goes off.
        if self.deadline < self.timer.deadline() {
            self.timer.as_mut().reset(self.deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.timer.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.deadline);
        }
        Poll::Pending
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

#[cfg(test)]
mod tests;
