//! Where a request comes from, as the audit log keeps it.

use poem::Addr;
use poem::Request;
use poem::http::HeaderValue;

use crate::domain::Origin;

/// The id of a request, put into it by the edge.
#[derive(Clone, Debug)]
pub struct RequestId(pub HeaderValue);

/// Where in a trace what follows from a request belongs, put into it by the edge.
#[derive(Clone, Debug)]
pub struct TraceParent(pub String);

/// An admin's request. The address is that of the connection: what a header says about others before it,
/// anybody can write.
pub fn origin(actor: &str, request: &Request) -> Origin {
    let id = request.data::<RequestId>();
    let address = match &request.remote_addr().0 {
        Addr::SocketAddr(address) => Some(address.ip()),
        _ => None,
    };
    Origin {
        actor: actor.to_owned(),
        request_id: id.and_then(|id| id.0.to_str().ok()).map(str::to_owned),
        address,
    }
}
