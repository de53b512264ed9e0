//! Verifies the credentials of a request: a user id of a trusted gateway, a token, or the cookie of a session.

use std::net::IpAddr;
use std::time::Duration;

use poem::Request;
use poem::http::{HeaderMap, Method, header};

use super::session::LOGGED_OUT;
use super::{CREDENTIALS_NEEDED, USER_ID_RANGE, user_id};
use crate::access::accounts::{Accounts, SessionToken};
use crate::access::identity::{TokenError, Verified, Verifier};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{Actor, AdminToken, UserId};
use crate::http::admin_tokens::TokenCheck;
use crate::http::client_address::client_address;
use crate::http::cookies::{Cookies, cookie};
use crate::http::csrf;
use crate::http::policy::Policy;
use crate::http::problem::{Problem, kind, rate_limited};
use crate::http::settings::Auth;
use crate::runtime::telemetry::cause;

/// The verified credentials of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// The request has none.
    Missing,
    /// The user id of a trusted gateway.
    User(UserId),
    /// A verified token, or a session.
    Verified(Verified),
    AdminToken(AdminToken),
}

/// Verifies the credentials of one request.
#[derive(Clone, Copy)]
pub(super) struct Authenticator<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// The address of the client.
    pub address: Option<IpAddr>,
    pub policy: &'a Policy,
}

impl<'a> Authenticator<'a> {
    pub fn of(request: &'a Request, policy: &'a Policy) -> Self {
        Self {
            method: request.method(),
            headers: request.headers(),
            address: client_address(request, &policy.proxies),
            policy,
        }
    }

    /// The client's address, for a security event.
    pub fn detail(&self) -> Detail {
        Detail {
            address: self.address,
            ..Detail::default()
        }
    }

    pub fn report_rejection(&self, event: SecurityEvent, reason: &'static str) {
        let detail = Detail {
            reason: Some(reason),
            ..self.detail()
        };
        self.policy.security.report(event, &detail);
    }

    /// The credentials of the request. A cookie counts only without `Authorization`.
    pub async fn credentials(&self) -> Result<Credentials, Problem> {
        let mut values = self.headers.get_all(header::AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => {
                return match &self.policy.auth {
                    Auth::Sessions(accounts, cookies) => {
                        // Boxed: it is large, and other requests do not need it.
                        Box::pin(self.session(accounts, *cookies)).await
                    }
                    Auth::Trusted | Auth::Jwt(_) => Ok(Credentials::Missing),
                };
            }
            (Some(value), None) => value.to_str().unwrap_or_default().trim(),
            // A gateway and this service could differ in which of two headers counts.
            (Some(_), Some(_)) => {
                return Err(Problem::unauthenticated("Send Authorization only once."));
            }
        };
        match (bearer(value), &self.policy.auth) {
            (Some(token), Auth::Jwt(verifier)) if is_jwt(token) => {
                Box::pin(self.verified(verifier, token)).await
            }
            (Some(token), _) => self.admin(token).await,
            (None, Auth::Trusted) => trusted(value).map(Credentials::User),
            (None, Auth::Jwt(_) | Auth::Sessions(..)) => {
                Err(Problem::unauthenticated(CREDENTIALS_NEEDED))
            }
        }
    }

    /// A token that no issuer has made: an admin token, or a wrong one.
    async fn admin(&self, token: &str) -> Result<Credentials, Problem> {
        match (
            self.policy.admin_tokens.check(token, self.address),
            &self.policy.auth,
        ) {
            (TokenCheck::Accepted(which), _) => Ok(Credentials::AdminToken(which)),
            (TokenCheck::Throttled(wait), _) => Err(self.throttled(wait)),
            (TokenCheck::Unknown, Auth::Jwt(verifier)) => {
                Box::pin(self.verified(verifier, token)).await
            }
            (TokenCheck::Unknown, Auth::Trusted | Auth::Sessions(..)) => {
                self.report_rejection(SecurityEvent::AdminTokenRefused, "unknown");
                Err(Problem::unauthenticated(
                    "The token in Authorization is not valid.",
                ))
            }
        }
    }

    fn throttled(&self, wait: Duration) -> Problem {
        self.report_rejection(SecurityEvent::AdminTokenThrottled, "too_many_failures");
        rate_limited(
            wait,
            "admin_token",
            "Too many wrong tokens came from this address.",
        )
    }

    /// The session of the cookie. If the sessions are unavailable, the request is rejected.
    async fn session(&self, accounts: &Accounts, cookies: Cookies) -> Result<Credentials, Problem> {
        let Some(value) = cookie(self.headers, cookies.session())? else {
            return Ok(Credentials::Missing);
        };
        let token =
            SessionToken::parse(value).ok_or_else(|| Problem::unauthenticated(LOGGED_OUT))?;
        let session = accounts.session(&token).await?;
        let session = session.ok_or_else(|| Problem::unauthenticated(LOGGED_OUT))?;
        let allowed = self.policy.cors.origins();
        csrf::check(self.method, self.headers, &token, allowed).inspect_err(|_| {
            accounts.metrics().forged();
            let detail = Detail {
                actor: Some(Actor::Account(session.user).to_string()),
                ..self.detail()
            };
            let security = &self.policy.security;
            security.report(SecurityEvent::CsrfRefused, &detail);
        })?;
        Ok(Credentials::Verified(Verified {
            subject: session.user.to_string(),
            user: Some(session.user),
            scopes: session.scopes,
        }))
    }

    async fn verified(&self, verifier: &Verifier, token: &str) -> Result<Credentials, Problem> {
        let outcome = verifier.verify(token).await.inspect_err(|error| {
            let event = match error {
                // It does not have the form of one: an attempt to guess the admin token.
                TokenError::Malformed if !is_jwt(token) => SecurityEvent::AdminTokenRefused,
                _ => SecurityEvent::TokenRefused,
            };
            self.report_rejection(event, error.as_str());
        });
        outcome.map(Credentials::Verified).map_err(invalid_token)
    }
}

/// Whether a token has the form of a JSON Web Token: three parts with dots between them. Where such tokens are
/// accepted, no admin token has this form.
fn is_jwt(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// 401 for a token that is not accepted. The reason is given only if its bearer knows it anyway, or needs it to get a
/// valid one.
pub(super) fn invalid_token(error: TokenError) -> Problem {
    let detail = match error {
        TokenError::Expired => "The token has expired.",
        TokenError::NotYetValid => "The token is not valid yet.",
        TokenError::Issuer => "The token's issuer is not accepted.",
        TokenError::Audience => "The audience of the token is not this service.",
        TokenError::Type => "The token is of a type that is not accepted here.",
        TokenError::Subject => "The subject of the token is not a user id.",
        TokenError::Malformed
        | TokenError::Algorithm
        | TokenError::UnknownKey
        | TokenError::Signature => "The token in Authorization is not valid.",
    };
    tracing::debug!(error = cause(&error), "token rejected");
    kind::INVALID_TOKEN
        .because(detail)
        .with_challenge("Bearer error=\"invalid_token\"")
}

/// The token of a `Bearer` value; the case of the scheme is irrelevant (RFC 9110, 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim_start())
}

/// The user id that a trusted gateway writes.
fn trusted(value: &str) -> Result<UserId, Problem> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::unauthenticated("Authorization must be a user id."));
    }
    value
        .parse()
        .ok()
        .and_then(user_id)
        .ok_or_else(|| Problem::invalid_field("userId", USER_ID_RANGE))
}
