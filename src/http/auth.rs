//! Who is asking, and what they may do.

mod admin;
mod session;
mod shown;

use std::sync::Arc;

use poem::http::StatusCode;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

pub use self::admin::Admin;
use self::admin::missing;
pub use self::session::{LOGGED_OUT, SessionCookie};
use self::shown::{Asking, Shown, refused};
use super::cookies::Cookies;
use super::origin::{Entry, address};
use super::problem::{Problem, unauthenticated};
use super::settings::{Auth, Policy};
use crate::access::identity::{CampaignRead, Needs, PiiRead, Scopes, TokenError};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{Actor, AdminToken, UserId};

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The request does not say, and whom it names is believed.
    Unsaid,
    /// A user, and what they may do as an admin beside.
    User(UserId, Scopes),
    /// Somebody who is no user, and what they may do as an admin.
    Service(Arc<str>, Scopes),
    /// Who has an admin token.
    Admin(AdminToken),
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
            (Self::Unsaid | Self::Admin(_), Some(user)) => Ok(user),
            (Self::Unsaid, None) => Err(unauthenticated(
                "Say who takes part: a user id in Authorization, or userId in the body.",
            )),
            (Self::Service(..), _) => Err(forbidden(NO_USER)),
            (Self::Admin(_), None) => Err(Problem::invalid_field("userId", "is missing")),
        }
    }

    /// The caller, if the request says who that is.
    pub fn known(&self) -> Result<&Self, Problem> {
        match self {
            Self::Unsaid => Err(unauthenticated(
                "Say who is asking: a user id or the admin token in Authorization.",
            )),
            known => Ok(known),
        }
    }

    /// Whether the caller may do this to what belongs to `owner`: the owner may, and whoever has the
    /// scopes for it.
    #[must_use]
    pub fn may(&self, needed: Scopes, owner: UserId) -> bool {
        match self {
            Self::User(user, _) if *user == owner => true,
            caller => caller.scopes().include(needed),
        }
    }

    /// What the caller may do as an admin.
    const fn scopes(&self) -> Scopes {
        match self {
            Self::Unsaid => Scopes::NONE,
            Self::User(_, scopes) | Self::Service(_, scopes) => *scopes,
            Self::Admin(_) => Scopes::ALL,
        }
    }

    /// The user of this number, whose things the caller asks to see; `others` is said where they may not.
    pub fn seeing(
        &self,
        number: u64,
        others: &'static str,
        request: &Request,
    ) -> Result<UserId, Problem> {
        let user =
            user_id(number).ok_or_else(|| Problem::invalid_field("userId", USER_ID_RANGE))?;
        if self.known()?.may(SEE_OTHERS, user) {
            return Ok(user);
        }
        report(request, SecurityEvent::AccessDenied, |auth| Detail {
            actor: self.actor(auth).map(|actor| actor.to_string()),
            subject: Some(format!("user:{user}")),
            ..Detail::default()
        });
        // An admin learns which scope would do.
        let scopes = self.scopes();
        Err(match SEE_OTHERS.lacking(scopes) {
            Some(lacking) if !scopes.is_empty() => missing(lacking),
            _ => forbidden(others),
        })
    }

    /// Whom the audit log names, where this is done as an admin to what belongs to `owner`.
    #[must_use]
    pub fn admin_for(&self, owner: UserId, auth: &Auth) -> Option<Actor> {
        match self {
            Self::User(user, _) if *user == owner => None,
            caller => caller.actor(auth),
        }
    }

    /// Who is asking, as the audit log names them; none: the request does not say.
    fn actor(&self, auth: &Auth) -> Option<Actor> {
        match self {
            Self::Unsaid => None,
            Self::User(user, _) => Some(match auth {
                Auth::Trusted => Actor::User(*user),
                Auth::Jwt(_) => Actor::Subject(user.to_string()),
                Auth::Sessions(..) => Actor::Account(*user),
            }),
            Self::Service(subject, _) => Some(Actor::Subject(subject.to_string())),
            Self::Admin(which) => Some(Actor::AdminToken(*which)),
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
        let shown = Asking::of(request, policy).shown().await?;
        Self::shown(&shown, &policy.auth)
    }

    fn shown(shown: &Shown, auth: &Auth) -> Result<Self, Problem> {
        match (shown, auth) {
            (Shown::Nothing, Auth::Trusted) => Ok(Self::Unsaid),
            // Before the body is read: nothing in it could name them.
            (Shown::Nothing, Auth::Jwt(_) | Auth::Sessions(..)) => {
                Err(unauthenticated(BEARER_WANTED))
            }
            (Shown::User(user), _) => Ok(Self::User(*user, Scopes::default())),
            (Shown::AdminToken(which), _) => Ok(Self::Admin(*which)),
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

/// What it takes to see what belongs to another user.
pub const SEE_OTHERS: Scopes = <(CampaignRead, PiiRead)>::SCOPES;

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

/// Writes a security event about a request. Where from is added here.
pub fn report(request: &Request, event: SecurityEvent, detail: impl FnOnce(&Auth) -> Detail) {
    let Some(entry) = Entry::of(request) else {
        return;
    };
    let policy = &entry.policy;
    let detail = Detail {
        address: address(request, &policy.proxies),
        ..detail(&policy.auth)
    };
    policy.security.report(event, &detail);
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
        let caller = Self::of(request).await?;
        caller.known()?;
        Entry::check_address(request)?;
        Ok(caller)
    }
}

/// Who asks to take part: a caller, or, where participants are believed, whoever the body names.
#[derive(Clone, Debug)]
pub struct Participant(pub Caller);

impl<'a> ApiExtractor<'a> for Participant {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Caller::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        Caller::security_schemes()
    }

    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let caller = Caller::of(request).await?;
        Entry::check_address(request)?;
        Ok(Self(caller))
    }
}

#[cfg(test)]
mod tests;
