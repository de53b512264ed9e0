//! The context that the edge attaches to a request, and what follows from it: the origin that the audit log records,
//! security events, and the position in a trace.

use std::net::SocketAddr;
use std::sync::Arc;

use poem::Request;
use poem::http::HeaderValue;

use super::client_address::{client_address, is_from_proxy};
use super::policy::Policy;
use super::problem::Problem;
use super::routes::Target;
use super::settings::Auth;
use crate::access::limits::UNKNOWN_ADDRESS;
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{Actor, Origin};

/// The flag of a `traceparent` that marks the trace as sampled.
const SAMPLED: u8 = 1;

/// What the edge attaches to a request.
#[derive(Clone)]
pub struct RequestContext {
    /// The id of the request.
    pub id: HeaderValue,
    /// What the path addresses.
    pub target: Target,
    /// The parent of spans that follow from the request; none: it is not traced here.
    pub traceparent: Option<String>,
    /// What requests are checked against.
    pub policy: Arc<Policy>,
    /// The fault of the URL, for an operation that takes credentials: only an authenticated client learns it.
    pub fault: Option<Box<Problem>>,
}

impl RequestContext {
    /// The context of a request; none: the request did not pass the edge.
    pub fn of(request: &Request) -> Option<&Self> {
        request.data::<Self>()
    }

    /// Rejects a request whose URL has a fault. Authentication calls this last, so that a client without credentials
    /// learns only that.
    pub fn check_url(request: &Request) -> Result<(), Problem> {
        let fault = Self::of(request).and_then(|context| context.fault.as_deref());
        fault.map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// The policy that a request is checked against.
    pub fn policy(request: &Request) -> Result<&Arc<Policy>, Problem> {
        let context = Self::of(request).ok_or_else(Problem::internal)?;
        Ok(&context.policy)
    }
}

/// The origin of an admin's request, for the audit log.
pub fn origin(actor: &Actor, request: &Request) -> Origin {
    let context = RequestContext::of(request);
    let id = context.and_then(|context| context.id.to_str().ok());
    Origin {
        actor: actor.clone(),
        request_id: id.map(str::to_owned),
        address: context.and_then(|context| client_address(request, &context.policy.proxies)),
    }
}

/// Reports a security event about a request, with the client's address.
pub fn report(request: &Request, event: SecurityEvent, detail: impl FnOnce(&Auth) -> Detail) {
    let Some(context) = RequestContext::of(request) else {
        return;
    };
    let policy = &context.policy;
    let detail = Detail {
        address: client_address(request, &policy.proxies),
        ..detail(&policy.auth)
    };
    policy.security.report(event, &detail);
}

/// Reports a trusted proxy that names clients in a form that cannot be read. The event carries the proxy's address.
pub fn note_unknown_address(request: &Request, policy: &Policy) {
    if client_address(request, &policy.proxies) == Some(UNKNOWN_ADDRESS) {
        let proxy = request.remote_addr().as_socket_addr();
        let detail = Detail {
            address: proxy.map(SocketAddr::ip),
            ..Detail::default()
        };
        let event = SecurityEvent::AddressUnknown;
        policy.security.report(event, &detail);
    }
}

/// The parent of spans that follow from the request: our own span, or the well-formed `traceparent` of the request.
/// Its sampled flag counts only if a trusted proxy sent it.
pub fn traceparent(request: &Request) -> Option<String> {
    let context = RequestContext::of(request);
    if let Some(ours) = context.and_then(|context| context.traceparent.as_ref()) {
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
    if context.is_some_and(|context| is_from_proxy(request, &context.policy.proxies)) {
        return Some(value.to_owned());
    }
    let (parent, flags) = value.rsplit_once('-')?;
    let flags = u8::from_str_radix(flags, 16).ok()? & !SAMPLED;
    Some(format!("{parent}-{flags:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_trace_context_is_passed_on() {
        let passed =
            |value: &str| traceparent(&Request::builder().header("traceparent", value).finish());
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        // The sampled flag comes from an unknown sender.
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
