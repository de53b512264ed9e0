//! Accepts connections, as many as there are seats, and sees them off when the service stops.
//!
//! Nobody is left in the system's queue: who comes when all seats are taken gets one answer and has to
//! leave. A few of those are read for that, so that a probe is answered however many connections there
//! are; the rest is answered without being read.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use poem::{Endpoint, Response};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Protocol, Standing};
use super::per_address::{Bounds, Full, PerAddress, Place, Thing};
use super::settings::Settings;

/// Connections that the system keeps until they are accepted, if it lets a listener have so many. When a
/// campaign begins, thousands may come between two looks; who finds no place waits a second and tries again.
const BACKLOG: u32 = 4_096;
/// What the system keeps for a client that does not take its answer; left alone it would keep megabytes.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;
/// Connections beyond the bound that are read, at once.
const UNSEATED_MAX: usize = 64;
/// How long nothing is accepted after the system had no means left for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// What a connection is told that is not read.
const NO_SEAT: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\n\
    retry-after: 2\r\n\
    connection: close\r\n\
    content-length: 146\r\n\
    \r\n\
    {\"type\":\"urn:firstcome:problem:busy\",\"title\":\"Not available for the moment\",\
    \"status\":503,\"detail\":\"There are too many connections.\",\"code\":\"BUSY\"}";

/// What a connection is told whose address has as many as one may have.
const ADDRESS_LIMIT: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    content-type: application/problem+json\r\n\
    retry-after: 2\r\n\
    connection: close\r\n\
    content-length: 187\r\n\
    \r\n\
    {\"type\":\"urn:firstcome:problem:address-limit\",\"title\":\"Too many at once from one address\",\
    \"status\":429,\"detail\":\"The address has reached its limit of connections.\",\
    \"code\":\"ADDRESS_LIMIT\"}";

/// Takes an address to serve on.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of a process that was here before may not be over yet.
    socket.set_reuseaddr(true)?;
    // Inherited by connections.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves an endpoint on a listener until the settings' `stop` is cancelled, then lets requests finish
/// within the drain time-out.
pub async fn serve<E>(listener: TcpListener, endpoint: E, settings: &Settings) -> io::Result<()>
where
    E: Endpoint<Output = Response> + 'static,
{
    let endpoint = Arc::new(endpoint);
    let cut = CancellationToken::new();
    let protocol = Protocol::new(settings, cut.clone());
    let bounds = Bounds {
        max: settings.connections_max,
        address_max: settings.address_connections_max,
    };
    let beside = (&settings.proxies, &settings.bound_metrics);
    let places = PerAddress::new(Thing::Connections, bounds, beside);
    let unseated = Arc::new(Semaphore::new(UNSEATED_MAX));
    // Connections are tasks of this one, which ends only when they have.
    let connections = TaskTracker::new();
    while let Some(accepted) = settings.stop.run_until_cancelled(listener.accept()).await {
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                rest_after(&error).await;
                continue;
            }
        };
        let (place, standing) = match admit(&places, &unseated, remote) {
            Ok(admitted) => admitted,
            Err(answer) => {
                // Who expects a handshake would not understand.
                if settings.tls.is_none() {
                    turn_away(&stream, answer);
                }
                continue;
            }
        };
        // Answers are small, and waiting for more to send with them only makes them late.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let (protocol, endpoint) = (protocol.clone(), Arc::clone(&endpoint));
        let tls = settings.tls.clone();
        connections.spawn(async move {
            match tls {
                None => protocol.serve(stream, remote, endpoint, standing).await,
                // On the heap: a handshake is large, and most listeners have none.
                Some(tls) => {
                    let served = protocol.serve_encrypted(&tls, stream, remote, endpoint, standing);
                    Box::pin(served).await;
                }
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(settings.drain_timeout, connections.wait())
        .await
        .is_err()
    {
        cut.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// A place among all connections, or among those beyond the bound.
type Admitted = (Either<Place, OwnedSemaphorePermit>, Standing);

/// Takes a place for a connection, or says what it is told instead.
fn admit(
    places: &PerAddress,
    unseated: &Arc<Semaphore>,
    remote: SocketAddr,
) -> Result<Admitted, &'static [u8]> {
    match places.take(Some(remote.ip())) {
        Ok(place) => Ok((Either::Left(place), Standing::Seated)),
        // It could have all the places beyond the bound as well.
        Err(Full::Address) => Err(ADDRESS_LIMIT),
        Err(Full::All) => match Arc::clone(unseated).try_acquire_owned() {
            Ok(place) => Ok((Either::Right(place), Standing::Unseated)),
            Err(_) => Err(NO_SEAT),
        },
    }
}

/// A connection that broke before it was accepted is none; but without files or memory, the next attempt
/// fails as well.
async fn rest_after(error: &io::Error) {
    let gone = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    );
    if !gone {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "accept a connection"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// Says no and closes. What does not fit into an empty buffer at once, or is lost because the client was
/// still sending, is not said.
fn turn_away(stream: &TcpStream, answer: &[u8]) {
    let mut unread = [0_u8; 4_096];
    // Reading first: closing over what was not read would take the answer back.
    drop(stream.try_read(&mut unread));
    drop(stream.try_write(answer));
}

#[cfg(test)]
mod tests;
