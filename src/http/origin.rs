//! What a request is given at the edge, and where it comes from, as the audit log keeps it.

use std::sync::Arc;

use poem::Addr;
use poem::Request;
use poem::http::HeaderValue;

use super::settings::Policy;
use crate::domain::Origin;

/// What the edge puts into a request for those who work on it.
#[derive(Clone)]
pub struct Entry {
    /// The id of the request.
    pub id: HeaderValue,
    /// Where in a trace what follows from it belongs; none: it is not traced here.
    pub traceparent: Option<String>,
    /// What it is checked against.
    pub policy: Arc<Policy>,
}

impl Entry {
    /// What a request was given; none: it did not come by the edge.
    pub fn of(request: &Request) -> Option<&Self> {
        request.data::<Self>()
    }
}

/// An admin's request. The address is that of the connection: what a header says about others before it,
/// anybody can write.
pub fn origin(actor: &str, request: &Request) -> Origin {
    let address = match &request.remote_addr().0 {
        Addr::SocketAddr(address) => Some(address.ip()),
        _ => None,
    };
    Origin {
        actor: actor.to_owned(),
        request_id: Entry::of(request)
            .and_then(|entry| entry.id.to_str().ok())
            .map(str::to_owned),
        address,
    }
}
