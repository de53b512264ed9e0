//! Admins, and the scopes that each of their operations needs.
//!
//! `Admin` cannot be written without its scopes: an operation without them does not compile.

use std::marker::PhantomData;

use poem::Request;
use poem::http::{HeaderValue, header};
use poem_openapi::registry::Registry;

use super::authenticator::{Authenticator, Credentials};
use super::{bearer, register_session};
use crate::access::identity::{Needs, Scope, Scopes, Verified};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{Actor, Origin};
use crate::http::extractor::extractor;
use crate::http::policy::Policy;
use crate::http::problem::{Problem, kind};
use crate::http::request_context::{RequestContext, origin};
use crate::http::settings::Auth;

/// Proof that the caller has the scopes `S`. The admin token has all of them.
#[derive(Clone, Debug)]
pub struct Admin<S> {
    origin: Origin,
    scopes: Scopes,
    scope: PhantomData<S>,
}

impl<S: Needs> Admin<S> {
    /// The caller, for the audit log.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.origin.actor
    }

    /// The origin of the request, for the audit log.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin.clone()
    }

    /// All scopes of the caller.
    #[must_use]
    pub const fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Requires a scope that only some requests of the operation need.
    pub fn require_also(&self, scope: Scope, request: &Request) -> Result<(), Problem> {
        if self.scopes.has(scope) {
            return Ok(());
        }
        let authenticator = Authenticator::of(request, RequestContext::policy(request)?);
        report_missing_scope(&authenticator, &self.origin.actor, scope.as_str());
        Err(missing_scope(scope))
    }

    async fn of(request: &Request) -> Result<Self, Problem> {
        let policy = RequestContext::policy(request)?;
        let admin = Self::require(&Authenticator::of(request, policy)).await?;
        RequestContext::check_url(request)?;
        Ok(Self {
            origin: origin(admin.actor(), request),
            ..admin
        })
    }

    /// Requires the scopes.
    pub(super) async fn require(request: &Authenticator<'_>) -> Result<Self, Problem> {
        let policy = request.policy;
        require_open(policy)?;
        let (actor, scopes) = match request.credentials().await? {
            Credentials::AdminToken(which) => (Actor::AdminToken(which), Scopes::ALL),
            Credentials::Verified(token) => (actor_of(&token, &policy.auth), token.scopes),
            Credentials::User(user) => {
                report_missing_scope(request, &Actor::User(user), "user");
                return Err(Problem::forbidden("The operation is for admins."));
            }
            Credentials::Missing => return Err(Problem::unauthenticated(needed(&policy.auth))),
        };
        if let Some(lacking) = S::SCOPES.lacking(scopes) {
            report_missing_scope(request, &actor, lacking.as_str());
            return Err(missing_scope(lacking));
        }
        let origin = Origin {
            actor,
            request_id: None,
            address: request.address,
        };
        Ok(Self {
            origin,
            scopes,
            scope: PhantomData,
        })
    }
}

/// The actor that a token or a session names.
fn actor_of(token: &Verified, auth: &Auth) -> Actor {
    match (auth, token.user) {
        (Auth::Sessions(..), Some(user)) => Actor::Account(user),
        _ => Actor::Subject(token.subject.clone()),
    }
}

fn report_missing_scope(request: &Authenticator<'_>, actor: &Actor, scope: &'static str) {
    let detail = Detail {
        actor: Some(actor.to_string()),
        reason: Some(scope),
        ..request.detail()
    };
    let security = &request.policy.security;
    security.report(SecurityEvent::ScopeMissing, &detail);
}

/// The detail for a request without credentials.
fn needed(auth: &Auth) -> &'static str {
    match auth {
        Auth::Trusted => "The operation needs the admin token: Authorization: Bearer TOKEN.",
        Auth::Jwt(_) => {
            "The operation needs the admin token or one with its scope: Authorization: Bearer TOKEN."
        }
        Auth::Sessions(..) => {
            "The operation needs the admin token (Authorization: Bearer TOKEN) or a session with its scope."
        }
    }
}

/// Where callers are trusted, only a configured admin token opens the admin API.
fn require_open(policy: &Policy) -> Result<(), Problem> {
    match policy.auth {
        Auth::Trusted if !policy.admin_tokens.is_configured() => {
            Err(kind::ADMIN_CLOSED.because("No admin token is configured."))
        }
        Auth::Trusted | Auth::Jwt(_) | Auth::Sessions(..) => Ok(()),
    }
}

/// 403: an admin without the scope of the operation.
pub(super) fn missing_scope(scope: Scope) -> Problem {
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
    let problem = kind::MISSING_SCOPE
        .because(format!("The operation needs the scope {scope}."))
        .with_member("scope", scope.as_str());
    match HeaderValue::from_str(&challenge) {
        Ok(challenge) => problem.with_header(header::WWW_AUTHENTICATE, challenge),
        Err(_) => problem,
    }
}

/// Registers the scheme in the OpenAPI document.
pub(super) fn register(registry: &mut Registry) {
    registry.create_security_scheme(
        "admin",
        bearer("The admin token, or a JSON Web Token with the scope that the operation needs."),
    );
}

extractor! { where S: Needs; Admin<S> as SecurityScheme(()) {
    fn register(registry: &mut Registry) {
        register(registry);
        register_session(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["admin", "session"]
    }
} |request| Self::of(request).await }
