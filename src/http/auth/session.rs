//! The cookie of a session, for operations about the session itself.

use poem::Request;
use poem_openapi::registry::Registry;

use super::register_session;
use crate::access::accounts::SessionToken;
use crate::http::cookies::cookie;
use crate::http::extractor::extractor;
use crate::http::problem::Problem;
use crate::http::request_context::RequestContext;
use crate::http::settings::Auth;

/// The detail for a session that is over, or never existed.
pub const LOGGED_OUT: &str = "The session is over: log in again.";

/// The token in the cookie of a session. The operation finds out whose it is.
pub struct SessionCookie(pub Option<SessionToken>);

impl SessionCookie {
    fn of(request: &Request) -> Result<Self, Problem> {
        RequestContext::check_url(request)?;
        let Auth::Sessions(_, cookies) = &RequestContext::policy(request)?.auth else {
            return Ok(Self(None));
        };
        let value = cookie(request.headers(), cookies.session())?;
        Ok(Self(value.and_then(SessionToken::parse)))
    }
}

extractor! { SessionCookie as SecurityScheme(()) {
    fn register(registry: &mut Registry) {
        register_session(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["session"]
    }
} |request| Self::of(request) }
