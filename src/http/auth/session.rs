//! Who is asking by the cookie of a session.

use poem::http::{HeaderMap, Method};
use poem::{Request, RequestBody};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::{Auth, Shown, policy, register_session};
use crate::accounts::{Accounts, SessionToken};
use crate::http::cookies::{Cookies, cookie};
use crate::http::csrf;
use crate::http::problem::{Problem, unauthenticated};
use crate::identity::Verified;

/// What is said to those whose session is over, or never was.
pub const LOGGED_OUT: &str = "Nobody is logged in by this cookie: log in again.";

/// What the request shows by its cookie. Where sessions cannot be asked, nobody is let through.
pub(super) async fn shown(
    method: &Method,
    headers: &HeaderMap,
    accounts: &Accounts,
    cookies: Cookies,
) -> Result<Shown, Problem> {
    let Some(value) = cookie(headers, cookies.session())? else {
        return Ok(Shown::Nothing);
    };
    let token = SessionToken::parse(value).ok_or_else(|| unauthenticated(LOGGED_OUT))?;
    let session = accounts.session(&token).await?;
    let session = session.ok_or_else(|| unauthenticated(LOGGED_OUT))?;
    csrf::check(method, headers, &token).inspect_err(|_| accounts.metrics().forged())?;
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
        let Auth::Sessions(_, cookies) = &policy(request)?.auth else {
            return Ok(Self(None));
        };
        let value = cookie(request.headers(), cookies.session())?;
        Ok(Self(value.and_then(SessionToken::parse)))
    }
}
