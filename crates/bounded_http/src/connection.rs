//! One connection: requests, responses, and how long each may take. It does not know what the requests mean.
//!
//! A connection waits for its client (for the head of the first or the next request, or for the client to read a
//! response) or for the service. Only waits for the client are limited here; time limits of the service and of
//! the body belong to the request. The phase follows from what the protocol reads and writes (`phase`), so one
//! timer is enough, and a busy connection hardly ever resets it.
//!
//! An idle connection has no protocol and no buffers: both are created when the next byte arrives. So thousands
//! of idle connections cost almost nothing, and busy ones reuse the same warm buffers.

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

use crate::host;
use crate::phase::{Phase, Progress, Snapshot};
use crate::server::Config;
use crate::stream::{ObservedStream, Readable, ResponseBody, begin};
use crate::tls::Tls;

/// The smallest buffer that the protocol works with.
const BUFFER_BYTES_MIN: usize = 8 * 1024;
/// How long a connection over the limit may take for the head of its only request.
const OVER_LIMIT_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// Request data of a connection over the limit: the endpoint should answer probes only.
#[derive(Clone, Copy, Debug)]
pub struct OverLimit;

/// Whether a connection is within the limit on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is, and stays open until the client or the service closes it.
    WithinLimit,
    /// It is not: it gets one response.
    OverLimit,
}

/// What all connections of a listener share.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    builder: http1::Builder,
    head_timeout: Duration,
    idle_timeout: Duration,
    /// Cancelled at shutdown: requests in progress finish.
    stop: CancellationToken,
    /// Cancelled when the drain timeout ends: they do not.
    abort: CancellationToken,
}

impl Protocol {
    /// A head that exceeds its limit by less than its size is read, so that the endpoint answers it. The parser
    /// refuses what is larger.
    pub(crate) fn new(config: &Config, abort: CancellationToken) -> Self {
        let head = config.header_bytes_max.saturating_mul(2);
        let mut builder = http1::Builder::new();
        builder
            .header_read_timeout(None)
            .max_header_size(head)
            .max_buf_size(head.max(BUFFER_BYTES_MIN));
        Self {
            builder,
            head_timeout: config.head_timeout,
            idle_timeout: config.idle_timeout,
            stop: config.stop.clone(),
            abort,
        }
    }

    fn timeout_of(&self, snapshot: Snapshot) -> Duration {
        match snapshot.phase {
            Phase::New | Phase::ReadingHead if !snapshot.write_blocked => self.head_timeout,
            _ => self.idle_timeout,
        }
    }

    /// Serves one connection until it ends or its client exceeds a time limit.
    pub(crate) async fn serve<E>(
        self,
        stream: TcpStream,
        remote: SocketAddr,
        endpoint: Arc<E>,
        place: Place,
    ) where
        E: Endpoint<Output = Response> + 'static,
    {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let peers = Peers {
            local,
            remote,
            scheme: Scheme::HTTP,
        };
        let protocol = self.limited_to(place);
        protocol.run(stream, peers, endpoint, place).await;
    }

    /// Serves one connection after a TLS handshake, which may take as long as a head and ends at shutdown.
    pub(crate) async fn serve_encrypted<E>(
        self,
        tls: &Tls,
        stream: TcpStream,
        remote: SocketAddr,
        endpoint: Arc<E>,
        place: Place,
    ) where
        E: Endpoint<Output = Response> + 'static,
    {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let protocol = self.limited_to(place);
        let handshake = tls.accept(stream, protocol.head_timeout);
        let Some(Some(stream)) = protocol.stop.run_until_cancelled(handshake).await else {
            return;
        };
        let peers = Peers {
            local,
            remote,
            scheme: Scheme::HTTPS,
        };
        protocol.run(stream, peers, endpoint, place).await;
    }

    fn limited_to(mut self, place: Place) -> Self {
        if place == Place::OverLimit {
            self.builder.keep_alive(false);
            self.head_timeout = self.head_timeout.min(OVER_LIMIT_HEAD_TIMEOUT);
        }
        self
    }

    pub(crate) async fn run<S, E>(self, stream: S, peers: Peers, endpoint: Arc<E>, place: Place)
    where
        S: AsyncRead + AsyncWrite + Readable + Unpin + Send + 'static,
        E: Endpoint<Output = Response> + 'static,
    {
        let progress = Arc::new(Progress::default());
        let start = |stream: ObservedStream<S>| {
            let service = service_fn(|request| {
                let request = begin(&progress, peers.request(request, place));
                let (endpoint, progress) = (Arc::clone(&endpoint), Arc::clone(&progress));
                async move {
                    let response: hyper::Response<_> = endpoint.get_response(request).await.into();
                    Ok::<_, Infallible>(response.map(|body| ResponseBody::new(body, progress)))
                }
            });
            let connection = self.builder.serve_connection(TokioIo::new(stream), service);
            Box::new(connection)
        };
        // Exactly one of the two is set. Encrypted bytes may have arrived with the handshake, so a connection
        // starts active.
        let mut active = Some(start(ObservedStream::new(stream, Arc::clone(&progress))));
        let mut idle = None;
        let mut timer = ClientTimer::new(&self, &progress);
        let mut stop = pin!(self.stop.cancelled());
        let mut abort = pin!(self.abort.cancelled());
        let mut stopping = false;
        poll_fn(|cx| {
            loop {
                if let Some(connection) = &mut active
                    && Pin::new(&mut **connection).poll(cx).is_ready()
                {
                    return Poll::Ready(());
                }
                if let Some(connection) = active.take_if(|_| progress.is_idle() && !stopping) {
                    let parts = connection.into_parts();
                    idle = Some(parts.io.into_inner().with_unread(&parts.read_buf));
                }
                if let Some(stream) = idle.take_if(|stream| stream.poll_readable(cx).is_ready()) {
                    active = Some(start(stream));
                    continue;
                }
                // Polling a token takes a lock that all connections share, so only one of the two is polled.
                let ends = if stopping { &mut abort } else { &mut stop };
                if ends.as_mut().poll(cx).is_pending() {
                    return timer.poll_elapsed(cx);
                }
                if stopping {
                    return Poll::Ready(());
                }
                stopping = true;
                if let Some(stream) = idle.take() {
                    active = Some(start(stream));
                }
                if let Some(connection) = &mut active {
                    Pin::new(&mut **connection).graceful_shutdown();
                }
            }
        })
        .await;
    }
}

/// The two addresses of a connection and its scheme.
pub(crate) struct Peers {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) scheme: Scheme,
}

impl Peers {
    fn request(&self, mut request: hyper::Request<Incoming>, place: Place) -> Request {
        let host = host::normalize(&mut request);
        let (local, remote) = (LocalAddr(self.local.into()), RemoteAddr(self.remote.into()));
        let mut request = Request::from((request, local, remote, self.scheme.clone()));
        if place == Place::OverLimit {
            request.set_data(OverLimit);
        }
        if let Err(invalid) = host {
            request.set_data(invalid);
        }
        request
    }
}

/// Limits how long a connection waits for its client.
struct ClientTimer<'a> {
    protocol: &'a Protocol,
    progress: &'a Progress,
    /// The wait that the deadline belongs to.
    seen: Snapshot,
    deadline: Instant,
    /// Fires at the deadline or earlier.
    timer: Pin<Box<Sleep>>,
}

impl<'a> ClientTimer<'a> {
    fn new(protocol: &'a Protocol, progress: &'a Progress) -> Self {
        let seen = progress.snapshot();
        let timer = Box::pin(sleep(protocol.timeout_of(seen)));
        Self {
            protocol,
            progress,
            seen,
            deadline: timer.deadline(),
            timer,
        }
    }

    /// Ready when the client exceeded its time limit. Called after each poll of the connection.
    fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.progress.snapshot();
        if now.phase == Phase::Serving && !now.write_blocked {
            return Poll::Pending;
        }
        if now != self.seen {
            self.seen = now;
            self.deadline = Instant::now() + self.protocol.timeout_of(now);
        }
        // Setting a timer takes a lock, and most waits end long before the deadline.
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

#[cfg(test)]
mod tests;
