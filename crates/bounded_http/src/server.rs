//! Accepts connections up to a limit, and drains them at shutdown.
//!
//! No connection waits in the system's queue: beyond the limit, each gets one response and is closed. Up to
//! `OVER_LIMIT_MAX` of these at a time are read, so that probes work under any number of connections; the rest are
//! answered unread.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::Either;
use poem::{Endpoint, Response};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Place, Protocol};
use crate::tls::Tls;

/// The length of the system's accept queue, if the system allows it. Thousands of clients may connect between two
/// accepts; a client that finds the queue full retries after a second.
const BACKLOG: u32 = 4_096;
/// The system's send buffer per connection. By default it grows to megabytes for a client that does not read.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;
/// Connections over the limit that are read at the same time.
const OVER_LIMIT_MAX: usize = 64;
/// The pause after the system ran out of resources for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const UNAVAILABLE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const TOO_MANY_REQUESTS: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The bounds of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of a request head that reach the endpoint without doubt. Up to twice as many may; more are answered 431.
    pub header_bytes_max: usize,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// How long a connection may be idle, or its client may not read a response.
    pub idle_timeout: Duration,
    /// How long requests may take to finish at shutdown.
    pub drain_timeout: Duration,
    /// The certificate; none for plain HTTP.
    pub tls: Option<Tls>,
    /// The whole response to a connection over the total limit that is not read.
    pub total_limit_response: &'static [u8],
    /// The whole response to a connection over the limit of its address.
    pub address_limit_response: &'static [u8],
    /// Begins the shutdown when cancelled.
    pub stop: CancellationToken,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header_bytes_max: 16 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(15),
            tls: None,
            total_limit_response: UNAVAILABLE,
            address_limit_response: TOO_MANY_REQUESTS,
            stop: CancellationToken::new(),
        }
    }
}

/// Limits how many connections are open.
pub trait ConnectionLimit: Send {
    /// Held as long as the connection is open.
    type Permit: Send + 'static;

    /// Acquires a permit for a connection from this address.
    fn acquire(&self, remote: IpAddr) -> Result<Self::Permit, Exceeded>;
}

/// The limit that a connection exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// The total.
    Total,
    /// The number for one address.
    Address,
}

/// Limits the total number of connections.
#[derive(Clone, Debug)]
pub struct TotalLimit(Arc<Semaphore>);

impl TotalLimit {
    /// Allows `max` connections.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Semaphore::new(max)))
    }
}

impl ConnectionLimit for TotalLimit {
    type Permit = OwnedSemaphorePermit;

    fn acquire(&self, _remote: IpAddr) -> Result<Self::Permit, Exceeded> {
        let permit = Arc::clone(&self.0).try_acquire_owned();
        permit.map_err(|_| Exceeded::Total)
    }
}

/// Binds a listener.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of an earlier process may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves an endpoint until `config.stop` is cancelled, then lets requests finish within the drain timeout.
pub async fn serve<E, L>(
    listener: TcpListener,
    endpoint: E,
    config: &Config,
    limit: L,
) -> io::Result<()>
where
    E: Endpoint<Output = Response> + 'static,
    L: ConnectionLimit,
{
    let endpoint = Arc::new(endpoint);
    let abort = CancellationToken::new();
    let protocol = Protocol::new(config, abort.clone());
    let over_limit = Arc::new(Semaphore::new(OVER_LIMIT_MAX));
    // Connections are tasks of this future, which ends after they do.
    let connections = TaskTracker::new();
    while let Some(accepted) = config.stop.run_until_cancelled(listener.accept()).await {
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        let (permit, place) = match acquire(&limit, &over_limit, remote) {
            Ok(acquired) => acquired,
            Err(exceeded) => {
                // A TLS client would not understand the response.
                if config.tls.is_none() {
                    refuse(&stream, config.response_to(exceeded));
                }
                continue;
            }
        };
        // Responses are small: waiting for more bytes only delays them.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let (protocol, endpoint) = (protocol.clone(), Arc::clone(&endpoint));
        let tls = config.tls.clone();
        connections.spawn(async move {
            match tls {
                None => protocol.serve(stream, remote, endpoint, place).await,
                // Boxed: the handshake is large, and most listeners have none.
                Some(tls) => {
                    let served = protocol.serve_encrypted(&tls, stream, remote, endpoint, place);
                    Box::pin(served).await;
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(config.drain_timeout, connections.wait())
        .await
        .is_err()
    {
        abort.cancel();
        connections.wait().await;
    }
    Ok(())
}

impl Config {
    fn response_to(&self, exceeded: Exceeded) -> &'static [u8] {
        match exceeded {
            Exceeded::Total => self.total_limit_response,
            Exceeded::Address => self.address_limit_response,
        }
    }
}

/// A permit within the limit, or one of the connections over the limit that are read.
type Acquired<P> = (Either<P, OwnedSemaphorePermit>, Place);

fn acquire<L: ConnectionLimit>(
    limit: &L,
    over_limit: &Arc<Semaphore>,
    remote: SocketAddr,
) -> Result<Acquired<L::Permit>, Exceeded> {
    match limit.acquire(remote.ip()) {
        Ok(permit) => Ok((Either::Left(permit), Place::WithinLimit)),
        // One address could otherwise take all places over the limit as well.
        Err(Exceeded::Address) => Err(Exceeded::Address),
        Err(Exceeded::Total) => match Arc::clone(over_limit).try_acquire_owned() {
            Ok(permit) => Ok((Either::Right(permit), Place::OverLimit)),
            Err(_) => Err(Exceeded::Total),
        },
    }
}

/// A connection may fail before it is accepted. Without file handles or memory, the next accept fails as well, so
/// it is delayed.
async fn pause_after(error: &io::Error) {
    let is_of_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    );
    if !is_of_connection {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "accept a connection"
        );
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Writes a response and closes. The client may miss it: if it does not fit into the empty send buffer, or if the
/// client is still sending.
fn refuse(stream: &TcpStream, response: &[u8]) {
    let mut unread = [0_u8; 4_096];
    // Closing with unread bytes resets the connection, and the response is lost.
    drop(stream.try_read(&mut unread));
    drop(stream.try_write(&with_date(response)));
}

/// A response with the time, after its first line.
#[expect(
    clippy::disallowed_methods,
    reason = "the header has the system's time, and nothing is decided by it"
)]
fn with_date(response: &[u8]) -> Vec<u8> {
    let first_line = response.iter().position(|byte| *byte == b'\n');
    let (first_line, rest) = response.split_at(first_line.map_or(0, |end| end + 1));
    let date = format!("date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
    [first_line, date.as_bytes(), rest].concat()
}

#[cfg(test)]
mod tests;
