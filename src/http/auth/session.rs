//! Who is asking by the cookie of a session.

use poem::{Request, RequestBody};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::shown::{Asking, Shown};
use super::{Auth, policy, register_session};
use crate::access::accounts::{Accounts, SessionToken};
use crate::access::identity::Verified;
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::Actor;
use crate::http::cookies::{Cookies, cookie};
use crate::http::csrf;
use crate::http::origin::Entry;
use crate::http::problem::{Problem, unauthenticated};

/// What is said to those whose session is over, or never was.
pub const LOGGED_OUT: &str = "Nobody is logged in by this cookie: log in again.";

/// What the request shows by its cookie. Where sessions cannot be asked, nobody is let through.
pub(super) async fn shown(
    asking: &Asking<'_>,
    accounts: &Accounts,
    cookies: Cookies,
) -> Result<Shown, Problem> {
    let Some(value) = cookie(asking.headers, cookies.session())? else {
        return Ok(Shown::Nothing);
    };
    let token = SessionToken::parse(value).ok_or_else(|| unauthenticated(LOGGED_OUT))?;
    let session = accounts.session(&token).await?;
    let session = session.ok_or_else(|| unauthenticated(LOGGED_OUT))?;
    csrf::check(asking.method, asking.headers, &token).inspect_err(|_| {
        accounts.metrics().forged();
        let detail = Detail {
            actor: Some(Actor::Account(session.user).to_string()),
            ..asking.detail()
        };
        let security = &asking.policy.security;
        security.report(SecurityEvent::CsrfRefused, &detail);
    })?;
    Ok(Shown::Token(Verified {
        subject: session.user.to_string(),
        user: Some(session.user),
        scopes: session.scopes,
    }))
}

/// The cookie of a session, for those who ask about the session itself: whose it is they find out.
pub struct SessionCookie(pub Option<SessionToken>);

impl<'a> ApiExtractor<'a> for SessionCookie {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register_session(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["session"]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        Entry::check_address(request)?;
        let Auth::Sessions(_, cookies) = &policy(request)?.auth else {
            return Ok(Self(None));
        };
        let value = cookie(request.headers(), cookies.session())?;
        Ok(Self(value.and_then(SessionToken::parse)))
    }
}
