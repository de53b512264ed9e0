//! Admins, and the scope that each of their operations needs.
//!
//! `Admin` cannot be written without saying which: an operation that forgot its scope would not
//! compile.

use std::marker::PhantomData;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::shown::{Asking, Shown};
use super::{forbidden, policy, register_session, scheme};
use crate::access::identity::{Needs, Scope, Scopes, Verified};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::Actor;
use crate::http::origin::Entry;
use crate::http::problem::{Problem, unauthenticated};
use crate::http::settings::{Auth, Policy};

/// Proof that somebody is asking who has the scopes `S`. The admin token has all there are.
#[derive(Clone, Debug)]
pub struct Admin<S> {
    actor: Actor,
    scopes: Scopes,
    scope: PhantomData<S>,
}

impl<S: Needs> Admin<S> {
    /// Who is asking.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// All that they may do.
    #[must_use]
    pub const fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Lets in whoever has the scopes.
    pub(super) async fn admit(asking: &Asking<'_>) -> Result<Self, Problem> {
        let policy = asking.policy;
        open(policy)?;
        let (actor, scopes) = match asking.shown().await? {
            Shown::AdminToken(which) => (Actor::AdminToken(which), Scopes::ALL),
            Shown::Token(token) => (actor_of(&token, &policy.auth), token.scopes),
            Shown::User(user) => {
                scope_missing(asking, &Actor::User(user), "user");
                return Err(forbidden("This takes an admin."));
            }
            Shown::Nothing => return Err(unauthenticated(wanted(&policy.auth))),
        };
        if let Some(lacking) = S::SCOPES.lacking(scopes) {
            scope_missing(asking, &actor, lacking.as_str());
            return Err(missing(lacking));
        }
        Ok(Self {
            actor,
            scopes,
            scope: PhantomData,
        })
    }
}

/// Whom a token or a session names.
fn actor_of(token: &Verified, auth: &Auth) -> Actor {
    match (auth, token.user) {
        (Auth::Sessions(..), Some(user)) => Actor::Account(user),
        _ => Actor::Subject(token.subject.clone()),
    }
}

fn scope_missing(asking: &Asking<'_>, actor: &Actor, scope: &'static str) {
    let detail = Detail {
        actor: Some(actor.to_string()),
        reason: Some(scope),
        ..asking.detail()
    };
    let security = &asking.policy.security;
    security.report(SecurityEvent::ScopeMissing, &detail);
}

/// What is wanted of whoever says nothing.
fn wanted(auth: &Auth) -> &'static str {
    match auth {
        Auth::Trusted => "This takes the admin token: Authorization: Bearer TOKEN.",
        Auth::Jwt(_) => {
            "This takes the admin token, or one with the scope for it: Authorization: Bearer TOKEN."
        }
        Auth::Sessions(..) => {
            "This takes the admin token (Authorization: Bearer TOKEN), or a session with the scope for it."
        }
    }
}

/// Nobody can be an admin where participants are trusted and no admin token is configured.
fn open(policy: &Policy) -> Result<(), Problem> {
    match policy.auth {
        Auth::Trusted if !policy.admin_tokens.is_configured() => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "ADMIN_CLOSED",
            "The admin API is closed",
            "No admin token is configured.",
        )),
        Auth::Trusted | Auth::Jwt(_) | Auth::Sessions(..) => Ok(()),
    }
}

/// An admin, but not for this.
pub(super) fn missing(scope: Scope) -> Problem {
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
    let problem = Problem::new(
        StatusCode::FORBIDDEN,
        "MISSING_SCOPE",
        "A scope is missing",
        format!("This takes the scope {scope}."),
    )
    .with_member("scope", scope.as_str());
    match HeaderValue::from_str(&challenge) {
        Ok(challenge) => problem.with_header(header::WWW_AUTHENTICATE, challenge),
        Err(_) => problem,
    }
}

/// Puts the scheme into the OpenAPI document.
pub(super) fn register(registry: &mut Registry) {
    registry.create_security_scheme(
        "admin",
        scheme(
            "http",
            "The admin token, or a JSON Web Token with the scope that the operation needs.",
            Some("bearer"),
        ),
    );
}

impl<'a, S: Needs> ApiExtractor<'a> for Admin<S> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register(registry);
        register_session(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["admin", "session"]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let admin = Self::admit(&Asking::of(request, policy(request)?)).await?;
        Entry::check_address(request)?;
        Ok(admin)
    }
}
