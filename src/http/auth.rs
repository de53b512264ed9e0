//! Who is asking, and what they may do.

mod admin;
mod session;

use std::sync::Arc;

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use subtle::ConstantTimeEq;

use self::admin::ADMIN_TOKEN;
pub use self::admin::Admin;
pub use self::session::{LOGGED_OUT, SessionCookie};
use super::cookies::Cookies;
use super::origin::Entry;
use super::problem::{Problem, unauthenticated};
use super::settings::{Auth, Policy, digest};
use crate::domain::UserId;
use crate::identity::{Scope, Scopes, TokenError, Verified};

/// What a request shows of who is asking.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// Nothing.
    Nothing,
    /// A user id that is believed.
    User(UserId),
    /// A token that is believed.
    Token(Verified),
    /// The admin token.
    AdminToken,
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The request does not say, and must.
    Nobody,
    /// The request does not say, and whom it names is believed.
    Unsaid,
    /// A user, and what they may do as an admin beside.
    User(UserId, Scopes),
    /// Somebody who is no user, and what they may do as an admin.
    Service(Arc<str>, Scopes),
    /// Who has the admin token.
    Admin,
}

impl Caller {
    /// The user a participation is for: the caller, or whom the body names where the caller may
    /// name somebody.
    pub fn acting(&self, named: Option<UserId>) -> Result<UserId, Problem> {
        match (self, named) {
            (Self::User(caller, _), Some(named)) if *caller != named => Err(forbidden(
                "userId names another user than the one who is asking.",
            )),
            (Self::User(user, _), _) => Ok(*user),
            (Self::Unsaid | Self::Admin, Some(user)) => Ok(user),
            (Self::Unsaid, None) => Err(unauthenticated(
                "Say who takes part: a user id in Authorization, or userId in the body.",
            )),
            (Self::Nobody, _) => Err(unauthenticated(BEARER_WANTED)),
            (Self::Service(..), _) => Err(forbidden(NO_USER)),
            (Self::Admin, None) => Err(Problem::invalid_field("userId", "is missing")),
        }
    }

    /// The caller, if the request says who that is.
    pub fn known(&self) -> Result<&Self, Problem> {
        match self {
            Self::Nobody => Err(unauthenticated(BEARER_WANTED)),
            Self::Unsaid => Err(unauthenticated(
                "Say who is asking: a user id or the admin token in Authorization.",
            )),
            known => Ok(known),
        }
    }

    /// Whether the caller may do this to what belongs to `owner`: the owner may, and whoever has the
    /// scope for it.
    #[must_use]
    pub fn may(&self, scope: Scope, owner: UserId) -> bool {
        match self {
            Self::Nobody | Self::Unsaid => false,
            Self::User(user, scopes) => *user == owner || scopes.has(scope),
            Self::Service(_, scopes) => scopes.has(scope),
            Self::Admin => true,
        }
    }

    /// The user of this number, whose things the caller asks to see; `others` is said where they may not.
    pub fn seeing(&self, number: u64, others: &'static str) -> Result<UserId, Problem> {
        let user =
            user_id(number).ok_or_else(|| Problem::invalid_field("userId", USER_ID_RANGE))?;
        if self.known()?.may(Scope::CampaignRead, user) {
            Ok(user)
        } else {
            Err(forbidden(others))
        }
    }

    /// Whom the audit log names, where this is done as an admin to what belongs to `owner`.
    #[must_use]
    pub fn admin_for(&self, owner: UserId) -> Option<String> {
        match self {
            Self::Nobody | Self::Unsaid => None,
            Self::User(user, _) => (*user != owner).then(|| user.to_string()),
            Self::Service(subject, _) => Some(subject.to_string()),
            Self::Admin => Some(ADMIN_TOKEN.to_owned()),
        }
    }

    /// The user who is asking; `others` is said to those who are none.
    pub fn user(&self, others: &'static str) -> Result<UserId, Problem> {
        match self.known()? {
            Self::User(user, _) => Ok(*user),
            _ => Err(forbidden(others)),
        }
    }

    /// Whom a request shows.
    pub async fn of(request: &Request) -> Result<Self, Problem> {
        let policy = policy(request)?;
        let shown = shown(request.method(), request.headers(), policy).await?;
        Self::shown(&shown, &policy.auth)
    }

    fn shown(shown: &Shown, auth: &Auth) -> Result<Self, Problem> {
        match (shown, auth) {
            (Shown::Nothing, Auth::Trusted) => Ok(Self::Unsaid),
            (Shown::Nothing, Auth::Jwt(_) | Auth::Sessions(..)) => Ok(Self::Nobody),
            (Shown::User(user), _) => Ok(Self::User(*user, Scopes::default())),
            (Shown::AdminToken, _) => Ok(Self::Admin),
            (Shown::Token(token), _) => match token.user {
                Some(user) => Ok(Self::User(user, token.scopes)),
                None if token.scopes.is_empty() => Err(refused(TokenError::Subject)),
                None => Ok(Self::Service(token.subject.as_str().into(), token.scopes)),
            },
        }
    }
}

const BEARER_WANTED: &str =
    "Say who is asking: Authorization: Bearer TOKEN, or the cookie of a session where one logs in.";
const NO_USER: &str = "The subject of the token is no user id, so it cannot take part.";

/// What the request shows, verified. A cookie is looked at where there is no `Authorization`.
async fn shown(method: &Method, headers: &HeaderMap, policy: &Policy) -> Result<Shown, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => {
            return match &policy.auth {
                Auth::Sessions(accounts, cookies) => {
                    // Large, and no part of requests that show neither.
                    Box::pin(session::shown(method, headers, accounts, *cookies)).await
                }
                Auth::Trusted | Auth::Jwt(_) => Ok(Shown::Nothing),
            };
        }
        (Some(value), None) => value.to_str().unwrap_or_default().trim(),
        // Which of two is meant, a gateway and this service could see differently.
        (Some(_), Some(_)) => return Err(unauthenticated("Authorization must be there once.")),
    };
    let Some(token) = bearer(value) else {
        return match policy.auth {
            Auth::Trusted => trusted(value).map(Shown::User),
            Auth::Jwt(_) | Auth::Sessions(..) => Err(unauthenticated(BEARER_WANTED)),
        };
    };
    if is_admin(token, policy) {
        return Ok(Shown::AdminToken);
    }
    match &policy.auth {
        Auth::Trusted | Auth::Sessions(..) => {
            Err(unauthenticated("The token in Authorization is not valid."))
        }
        Auth::Jwt(verifier) => {
            let said = Box::pin(verifier.verify(token)).await;
            said.map(Shown::Token).map_err(refused)
        }
    }
}

/// A token that is not believed. Why is said as far as its bearer knows it anyway, or has to know it to
/// get a better one.
fn refused(error: TokenError) -> Problem {
    let detail = match error {
        TokenError::Expired => "The token has expired.",
        TokenError::NotYetValid => "The token is not valid yet.",
        TokenError::Issuer => "The token was issued by another than this service believes.",
        TokenError::Audience => "The token is not meant for this service.",
        TokenError::Subject => "The subject of the token is no user id.",
        TokenError::Malformed
        | TokenError::Algorithm
        | TokenError::UnknownKey
        | TokenError::Signature => "The token in Authorization is not valid.",
    };
    tracing::debug!(error = &error as &dyn std::error::Error, "token refused");
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "INVALID_TOKEN",
        "The token is not accepted",
        detail,
    )
    .with_header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer error=\"invalid_token\""),
    )
}

/// The token of a `Bearer` value; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim_start())
}

fn is_admin(token: &str, policy: &Policy) -> bool {
    policy
        .admin_digest
        .is_some_and(|admin| digest(token).ct_eq(&admin).into())
}

/// A user id as the gateway in front of the service writes it.
fn trusted(value: &str) -> Result<UserId, Problem> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unauthenticated("Authorization must be a user id."));
    }
    value
        .parse()
        .ok()
        .and_then(user_id)
        .ok_or_else(|| Problem::invalid_field("userId", USER_ID_RANGE))
}

/// What user ids must be.
pub const USER_ID_RANGE: &str = "must be between 1 and 9007199254740991";

/// A user id, if the number is one.
pub fn user_id(number: u64) -> Option<UserId> {
    UserId::parse(i64::try_from(number).ok()?)
}

/// Known, but not allowed.
pub fn forbidden(detail: &'static str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "FORBIDDEN", "Not allowed", detail)
}

fn policy(request: &Request) -> Result<&Arc<Policy>, Problem> {
    let entry = Entry::of(request).ok_or_else(Problem::internal)?;
    Ok(&entry.policy)
}

/// A scheme of the OpenAPI document.
fn scheme(
    ty: &'static str,
    description: &'static str,
    scheme: Option<&'static str>,
) -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty,
        description: Some(description),
        name: scheme.is_none().then_some("Authorization"),
        key_in: scheme.is_none().then_some("header"),
        scheme,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}

/// Puts the scheme of sessions into the OpenAPI document.
pub fn register_session(registry: &mut Registry) {
    registry.create_security_scheme(
        "session",
        MetaSecurityScheme {
            name: Some(Cookies::Secure.session()),
            key_in: Some("cookie"),
            ..scheme(
                "apiKey",
                "Where participants log in (auth.mode=sessions): the cookie that POST /api/session sets, called \
                 firstcome-session where cookies also travel over plain connections. What changes something \
                 takes the csrfToken of the session in X-CSRF-Token beside it (403 CSRF).",
                None,
            )
        },
    );
}

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            "user",
            scheme(
                "apiKey",
                "Where participants are trusted: the id of the user who is asking, an integer from 1.",
                None,
            ),
        );
        registry.create_security_scheme(
            "token",
            scheme(
                "http",
                "Where participants are not trusted: a JSON Web Token whose subject is the user.",
                Some("bearer"),
            ),
        );
        admin::register(registry);
        register_session(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["user", "token", "session", "admin"]
    }

    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        Ok(Self::of(request).await?)
    }
}

#[cfg(test)]
mod tests;
