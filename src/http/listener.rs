//! Configures the listener (`bounded_http`): its bounds, and the problems of connections that it does not read.

use std::io;
use std::net::IpAddr;

use bounded_http::{Config, ConnectionLimit, Exceeded};
use poem::{Endpoint, Response};
use tokio::net::TcpListener;

use super::concurrency_limit::{Bounds, ConcurrencyLimit, Limited, Permit};
use super::settings::Settings;

/// The response to a connection over the total limit that is not read.
const TOTAL_LIMIT: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\n\
    retry-after: 2\r\n\
    connection: close\r\n\
    content-length: 141\r\n\
    \r\n\
    {\"type\":\"urn:firstcome:problem:busy\",\"title\":\"Temporarily unavailable\",\
    \"status\":503,\"detail\":\"There are too many connections.\",\"code\":\"BUSY\"}";

/// The response to a connection over the limit of its address.
const ADDRESS_LIMIT: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    content-type: application/problem+json\r\n\
    retry-after: 2\r\n\
    connection: close\r\n\
    content-length: 187\r\n\
    \r\n\
    {\"type\":\"urn:firstcome:problem:address-limit\",\"title\":\"Too many at once from one address\",\
    \"status\":429,\"detail\":\"The address has reached its limit of connections.\",\
    \"code\":\"ADDRESS_LIMIT\"}";

impl ConnectionLimit for ConcurrencyLimit {
    type Permit = Permit;

    fn acquire(&self, remote: IpAddr) -> Result<Permit, Exceeded> {
        Self::acquire(self, Some(remote))
    }
}

/// Serves an endpoint until the settings' `stop` is cancelled, then lets requests finish within the drain timeout.
pub async fn serve<E>(listener: TcpListener, endpoint: E, settings: &Settings) -> io::Result<()>
where
    E: Endpoint<Output = Response> + 'static,
{
    let config = Config {
        header_bytes_max: settings.http.header_bytes_max,
        head_timeout: settings.http.head_timeout,
        idle_timeout: settings.http.idle_timeout,
        drain_timeout: settings.drain_timeout,
        tls: settings.tls.clone(),
        total_limit_response: TOTAL_LIMIT,
        address_limit_response: ADDRESS_LIMIT,
        stop: settings.stop.clone(),
    };
    let bounds = Bounds {
        max: settings.http.connections_max,
        address_max: settings.http.address_connections_max,
    };
    let beside = (&settings.http.trusted_proxies, &settings.bound_metrics);
    let limit = ConcurrencyLimit::new(Limited::Connections, bounds, beside);
    bounded_http::serve(listener, endpoint, &config, limit).await
}

#[cfg(test)]
mod tests;
