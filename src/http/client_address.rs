//! The address of a request's client. Only trusted proxies can name an address other than that of the connection.

use std::net::IpAddr;

use poem::http::HeaderValue;
use poem::{Addr, Request};

use crate::access::limits::Networks;

/// Whether a trusted proxy sent the request.
pub fn is_from_proxy(request: &Request, proxies: &Networks) -> bool {
    match &request.remote_addr().0 {
        Addr::SocketAddr(peer) => proxies.include(peer.ip()),
        _ => false,
    }
}

/// The address of the connection or, if that is a trusted proxy, the one that the proxy names; `UNKNOWN_ADDRESS` if it
/// names none that can be read.
pub fn client_address(request: &Request, proxies: &Networks) -> Option<IpAddr> {
    let Addr::SocketAddr(peer) = &request.remote_addr().0 else {
        return None;
    };
    let forwarded = request.headers().get_all("x-forwarded-for").iter();
    Some(proxies.origin(peer.ip(), forwarded.map(HeaderValue::as_bytes)))
}
