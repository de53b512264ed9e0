//! Authentication: the caller of a request, and what the caller may do.

mod admin;
mod authenticator;
mod caller;
mod session;

use poem_openapi::registry::{MetaSecurityScheme, Registry};

pub use self::admin::Admin;
pub use self::caller::{Caller, Participant};
pub use self::session::{LOGGED_OUT, SessionCookie};
use super::cookies::Cookies;
use crate::access::identity::{CampaignRead, Needs, PiiRead, Scopes};
use crate::domain::UserId;

const CREDENTIALS_NEEDED: &str =
    "Credentials are missing: send Authorization: Bearer TOKEN, or the cookie of a session.";

/// The scopes that reading another user's data needs.
pub const SEE_OTHERS: Scopes = <(CampaignRead, PiiRead)>::SCOPES;

pub const USER_ID_RANGE: &str = "must be between 1 and 9007199254740991";

/// The user id of a number in range.
pub fn user_id(number: u64) -> Option<UserId> {
    UserId::parse(i64::try_from(number).ok()?)
}

/// A scheme of the OpenAPI document: a value of the header Authorization.
fn api_key(description: &'static str) -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "apiKey",
        description: Some(description),
        name: Some("Authorization"),
        key_in: Some("header"),
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}

/// A scheme of the OpenAPI document: a bearer token.
fn bearer(description: &'static str) -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "http",
        name: None,
        key_in: None,
        scheme: Some("bearer"),
        ..api_key(description)
    }
}

/// Registers the scheme of sessions in the OpenAPI document.
pub fn register_session(registry: &mut Registry) {
    registry.create_security_scheme(
        "session",
        MetaSecurityScheme {
            name: Some(Cookies::Secure.session()),
            key_in: Some("cookie"),
            ..api_key(
                "With auth.mode=sessions: the cookie that POST /api/session sets. Its name is firstcome-session where \
                 cookies are also sent over plain connections. A request that changes something also needs the \
                 csrfToken of the session in X-CSRF-Token (403 CSRF).",
            )
        },
    );
}

#[cfg(test)]
mod tests;
