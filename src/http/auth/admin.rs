//! Admins, and the scope that each of their operations needs.
//!
//! `Admin` cannot be written without saying which: an operation that forgot its scope would not
//! compile.

use std::marker::PhantomData;

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::{Shown, forbidden, policy, register_session, scheme, shown};
use crate::http::problem::{Problem, unauthenticated};
use crate::http::settings::{Auth, Policy};
use crate::identity::{Needs, Scope, Scopes};

/// Who has the admin token, as it is written down who did something.
pub(super) const ADMIN_TOKEN: &str = "admin-token";

/// Proof that somebody is asking who has the scope `S`. The admin token has all of them.
#[derive(Clone, Debug)]
pub struct Admin<S> {
    actor: String,
    scopes: Scopes,
    scope: PhantomData<S>,
}

impl<S: Needs> Admin<S> {
    /// Who is asking: `admin-token`, or the subject of their token. No subject is called like the first.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// All that they may do.
    #[must_use]
    pub const fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Lets in whoever has the scope.
    pub(super) async fn admit(
        method: &Method,
        headers: &HeaderMap,
        policy: &Policy,
    ) -> Result<Self, Problem> {
        open(policy)?;
        let (actor, scopes) = match shown(method, headers, policy).await? {
            Shown::AdminToken => (ADMIN_TOKEN.to_owned(), Scopes::ALL),
            Shown::Token(token) if token.subject == ADMIN_TOKEN => {
                return Err(forbidden("No admin may be called like the admin token."));
            }
            Shown::Token(token) if token.scopes.has(S::SCOPE) => (token.subject, token.scopes),
            Shown::Token(_) => return Err(missing(S::SCOPE)),
            Shown::User(_) => return Err(forbidden("This takes an admin.")),
            Shown::Nothing => return Err(unauthenticated(wanted(&policy.auth))),
        };
        Ok(Self {
            actor,
            scopes,
            scope: PhantomData,
        })
    }
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
        Auth::Trusted if policy.admin_digest.is_none() => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "ADMIN_CLOSED",
            "The admin API is closed",
            "No admin token is configured.",
        )),
        Auth::Trusted | Auth::Jwt(_) | Auth::Sessions(..) => Ok(()),
    }
}

/// An admin, but not for this.
fn missing(scope: Scope) -> Problem {
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
        Ok(Self::admit(request.method(), request.headers(), policy(request)?).await?)
    }
}
