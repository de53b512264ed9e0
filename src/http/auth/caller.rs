//! The caller of a request of the public API.

use std::sync::Arc;

use poem::Request;
use poem_openapi::registry::Registry;

use super::admin::missing_scope;
use super::authenticator::{Authenticator, Credentials, invalid_token};
use super::{
    CREDENTIALS_NEEDED, SEE_OTHERS, USER_ID_RANGE, api_key, bearer, register_session, user_id,
};
use crate::access::identity::{Scopes, TokenError};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{Actor, AdminToken, UserId};
use crate::http::extractor::extractor;
use crate::http::problem::Problem;
use crate::http::request_context::{RequestContext, report};
use crate::http::settings::Auth;

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The request has no credentials, and the user that it names is trusted.
    Anonymous,
    /// A user, and their scopes as an admin.
    User(UserId, Scopes),
    /// The subject of a token that is not a user, and its scopes.
    Service(Arc<str>, Scopes),
    /// The holder of an admin token.
    Admin(AdminToken),
}

impl Caller {
    /// The user of a participation: the caller or, if the caller may name one, the user that the body names.
    pub fn participant(&self, named: Option<UserId>) -> Result<UserId, Problem> {
        match (self, named) {
            (Self::User(caller, _), Some(named)) if *caller != named => {
                Err(Problem::forbidden("userId is not the caller."))
            }
            (Self::User(user, _), _) => Ok(*user),
            (Self::Anonymous | Self::Admin(_), Some(user)) => Ok(user),
            (Self::Anonymous, None) => Err(Problem::unauthenticated(
                "The user is missing: send a user id in Authorization, or userId in the body.",
            )),
            (Self::Service(..), _) => Err(Problem::forbidden(
                "The subject of the token is not a user id, so it cannot participate.",
            )),
            (Self::Admin(_), None) => Err(Problem::invalid_field("userId", "is missing")),
        }
    }

    /// The caller, unless the request has no credentials.
    pub fn identified(&self) -> Result<&Self, Problem> {
        match self {
            Self::Anonymous => Err(Problem::unauthenticated(
                "Credentials are missing: send a user id or the admin token in Authorization.",
            )),
            identified => Ok(identified),
        }
    }

    /// Whether the caller may access what belongs to `owner`: the owner may, and every caller with the scopes.
    #[must_use]
    pub fn may(&self, needed: Scopes, owner: UserId) -> bool {
        match self {
            Self::User(user, _) if *user == owner => true,
            caller => caller.scopes().include(needed),
        }
    }

    /// The caller's scopes as an admin.
    const fn scopes(&self) -> Scopes {
        match self {
            Self::Anonymous => Scopes::NONE,
            Self::User(_, scopes) | Self::Service(_, scopes) => *scopes,
            Self::Admin(_) => Scopes::ALL,
        }
    }

    /// The user of this number, whose data the caller may read; otherwise 403 with the detail `others`.
    pub fn reading(
        &self,
        number: u64,
        others: &'static str,
        request: &Request,
    ) -> Result<UserId, Problem> {
        let user =
            user_id(number).ok_or_else(|| Problem::invalid_field("userId", USER_ID_RANGE))?;
        if self.identified()?.may(SEE_OTHERS, user) {
            return Ok(user);
        }
        report(request, SecurityEvent::AccessDenied, |auth| Detail {
            actor: self.actor(auth).map(|actor| actor.to_string()),
            subject: Some(format!("user:{user}")),
            ..Detail::default()
        });
        // An admin learns which scope is missing.
        let scopes = self.scopes();
        Err(match SEE_OTHERS.lacking(scopes) {
            Some(lacking) if !scopes.is_empty() => missing_scope(lacking),
            _ => Problem::forbidden(others),
        })
    }

    /// The actor for the audit log, if the caller accesses what belongs to another user.
    #[must_use]
    pub fn admin_for(&self, owner: UserId, auth: &Auth) -> Option<Actor> {
        match self {
            Self::User(user, _) if *user == owner => None,
            caller => caller.actor(auth),
        }
    }

    /// The caller as the audit log names it; none: the request has no credentials.
    fn actor(&self, auth: &Auth) -> Option<Actor> {
        match self {
            Self::Anonymous => None,
            Self::User(user, _) => Some(match auth {
                Auth::Trusted => Actor::User(*user),
                Auth::Jwt(_) => Actor::Subject(user.to_string()),
                Auth::Sessions(..) => Actor::Account(*user),
            }),
            Self::Service(subject, _) => Some(Actor::Subject(subject.to_string())),
            Self::Admin(which) => Some(Actor::AdminToken(*which)),
        }
    }

    /// The user who calls; any other caller gets 403 with the detail `others`.
    pub fn user(&self, others: &'static str) -> Result<UserId, Problem> {
        match self.identified()? {
            Self::User(user, _) => Ok(*user),
            _ => Err(Problem::forbidden(others)),
        }
    }

    /// The caller of a request, which must have credentials.
    async fn of(request: &Request) -> Result<Self, Problem> {
        let caller = Self::or_anonymous(request).await?;
        caller.identified()?;
        RequestContext::check_url(request)?;
        Ok(caller)
    }

    async fn or_anonymous(request: &Request) -> Result<Self, Problem> {
        let policy = RequestContext::policy(request)?;
        let credentials = Authenticator::of(request, policy).credentials().await?;
        Self::with(credentials, &policy.auth)
    }

    pub(super) fn with(credentials: Credentials, auth: &Auth) -> Result<Self, Problem> {
        match (credentials, auth) {
            (Credentials::Missing, Auth::Trusted) => Ok(Self::Anonymous),
            // Rejected before the body is read: nothing in it could name the caller.
            (Credentials::Missing, Auth::Jwt(_) | Auth::Sessions(..)) => {
                Err(Problem::unauthenticated(CREDENTIALS_NEEDED))
            }
            (Credentials::User(user), _) => Ok(Self::User(user, Scopes::default())),
            (Credentials::AdminToken(which), _) => Ok(Self::Admin(which)),
            (Credentials::Verified(token), _) => match token.user {
                Some(user) => Ok(Self::User(user, token.scopes)),
                None if token.scopes.is_empty() => Err(invalid_token(TokenError::Subject)),
                None => Ok(Self::Service(token.subject.as_str().into(), token.scopes)),
            },
        }
    }
}

extractor! { Caller as SecurityScheme(()) {
    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            "user",
            api_key("With auth.mode=trusted: the id of the user, an integer from 1."),
        );
        registry.create_security_scheme(
            "token",
            bearer("With auth.mode=jwt: a JSON Web Token whose subject is the user."),
        );
        super::admin::register(registry);
        register_session(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["user", "token", "session", "admin"]
    }

    fn has_security_fallback() -> bool {
        true
    }
} |request| Self::of(request).await }

/// The caller of a participation. Where callers are trusted, the body may name the user.
#[derive(Clone, Debug)]
pub struct Participant(pub Caller);

impl Participant {
    /// The caller of a request, who may be anonymous.
    pub async fn of(request: &Request) -> Result<Self, Problem> {
        let caller = Caller::or_anonymous(request).await?;
        RequestContext::check_url(request)?;
        Ok(Self(caller))
    }
}

extractor! { Participant as SecurityScheme(()) {
    fn register(registry: &mut Registry) {
        Caller::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        Caller::security_schemes()
    }

    fn has_security_fallback() -> bool {
        true
    }
} |request| Self::of(request).await }
