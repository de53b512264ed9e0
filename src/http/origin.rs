//! What a request is given at the edge, where it comes from, as the audit log and the security events keep it, and
//! where in a trace it stands.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use poem::Addr;
use poem::Request;
use poem::http::HeaderValue;

use super::problem::Problem;
use super::settings::Policy;
use crate::access::limits::{Networks, UNKNOWN_ADDRESS};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{Actor, Origin};

/// The flag of a `traceparent` that says that the trace is kept.
const SAMPLED: u8 = 1;

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

/// Whether a proxy of ours sent it: what it says of the request is believed.
pub fn is_from_proxy(request: &Request, proxies: &Networks) -> bool {
    match &request.remote_addr().0 {
        Addr::SocketAddr(peer) => proxies.include(peer.ip()),
        _ => false,
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

/// Where in a trace the request stands: in ours, or in that which it came with, if that has the form of one.
/// Whether that is traced, only a proxy of ours is believed: what follows is traced by what it says.
pub fn traceparent(request: &Request) -> Option<String> {
    let entry = Entry::of(request);
    if let Some(ours) = entry.and_then(|entry| entry.traceparent.as_ref()) {
        return Some(ours.clone());
    }
    let value = request.header("traceparent")?;
    let lengths = [2, 32, 16, 2];
    let mut parts = value.split('-');
    let formed = lengths.into_iter().all(|length| {
        parts.next().is_some_and(|part| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    });
    if !formed || parts.next().is_some() {
        return None;
    }
    if entry.is_some_and(|entry| is_from_proxy(request, &entry.policy.proxies)) {
        return Some(value.to_owned());
    }
    let (place, flags) = value.rsplit_once('-')?;
    let flags = u8::from_str_radix(flags, 16).ok()? & !SAMPLED;
    Some(format!("{place}-{flags:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_trace_context_is_passed_on() {
        let passed =
            |value: &str| traceparent(&Request::builder().header("traceparent", value).finish());
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        // Whether it is traced, nobody knows who sent this.
        let unsampled = good.replace("-01", "-00");
        assert_eq!(passed(good), Some(unsampled.clone()));
        assert_eq!(passed(&unsampled), Some(unsampled));
        for bad in [
            "",
            "00-1-2-01",
            &format!("{good}-00"),
            &good.replace('4', "x"),
        ] {
            assert_eq!(passed(bad), None, "{bad}");
        }
    }
}
