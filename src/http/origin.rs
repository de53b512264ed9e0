//! What a request is given at the edge, and where it comes from, as the audit log and the security events keep it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use poem::Addr;
use poem::Request;
use poem::http::HeaderValue;

use super::problem::Problem;
use super::settings::Policy;
use crate::domain::{Actor, Origin};
use crate::limits::{Networks, UNKNOWN_ADDRESS};
use crate::security::{Detail, SecurityEvent};

/// What the edge puts into a request for those who work on it.
#[derive(Clone)]
pub struct Entry {
    /// The id of the request.
    pub id: HeaderValue,
    /// Where in a trace what follows from it belongs; none: it is not traced here.
    pub traceparent: Option<String>,
    /// What it is checked against.
    pub policy: Arc<Policy>,
    /// What is wrong with its address, for an operation that takes credentials: those who have some learn it.
    pub fault: Option<Box<Problem>>,
}

impl Entry {
    /// What a request was given; none: it did not come by the edge.
    pub fn of(request: &Request) -> Option<&Self> {
        request.data::<Self>()
    }

    /// Refuses a request whose address is wrong. Whoever says who is asking calls this afterwards, so that
    /// those who may not ask are told that first.
    pub fn check_address(request: &Request) -> Result<(), Problem> {
        let fault = Self::of(request).and_then(|entry| entry.fault.as_deref());
        fault.map_or(Ok(()), |fault| Err(fault.clone()))
    }
}

/// An admin's request.
pub fn origin(actor: &Actor, request: &Request) -> Origin {
    let entry = Entry::of(request);
    Origin {
        actor: actor.clone(),
        request_id: entry
            .and_then(|entry| entry.id.to_str().ok())
            .map(str::to_owned),
        address: entry.and_then(|entry| address(request, &entry.policy.proxies)),
    }
}

/// Where a request comes from: the address of the connection, or, if that is a proxy of ours, the one that
/// the proxy names; `UNKNOWN_ADDRESS` where it names none that can be read.
pub fn address(request: &Request, proxies: &Networks) -> Option<IpAddr> {
    let Addr::SocketAddr(peer) = &request.remote_addr().0 else {
        return None;
    };
    let forwarded = request.headers().get_all("x-forwarded-for").iter();
    Some(proxies.origin(peer.ip(), forwarded.map(HeaderValue::as_bytes)))
}

/// Tells those who run the service that a proxy of theirs, which is named, names clients in a way that cannot be
/// read.
pub fn note_unknown_address(request: &Request, policy: &Policy) {
    if address(request, &policy.proxies) == Some(UNKNOWN_ADDRESS) {
        let proxy = request.remote_addr().as_socket_addr();
        let detail = Detail {
            address: proxy.map(SocketAddr::ip),
            ..Detail::default()
        };
        let event = SecurityEvent::AddressUnknown;
        policy.security.report(event, &detail);
    }
}
