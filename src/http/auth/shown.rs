//! What a request shows of who is asking, verified.

use std::net::IpAddr;
use std::time::Duration;

use poem::Request;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{BEARER_WANTED, session, user_id};
use crate::access::identity::{TokenError, Verified, Verifier};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{AdminToken, UserId};
use crate::http::auth::USER_ID_RANGE;
use crate::http::limited;
use crate::http::origin::address;
use crate::http::problem::{Problem, unauthenticated};
use crate::http::settings::{Auth, Guess, Policy};

/// What a request shows of who is asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing.
    Nothing,
    /// A user id that is believed.
    User(UserId),
    /// A token, or a session, that is believed.
    Token(Verified),
    /// An admin token.
    AdminToken(AdminToken),
}

/// The parts of a request that say who is asking, and what they are checked against.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    pub policy: &'a Policy,
}

impl<'a> Asking<'a> {
    pub fn of(request: &'a Request, policy: &'a Policy) -> Self {
        Self {
            method: request.method(),
            headers: request.headers(),
            address: address(request, &policy.proxies),
            policy,
        }
    }

    /// What is known of who is asking, for a security event.
    pub fn detail(&self) -> Detail {
        Detail {
            address: self.address,
            ..Detail::default()
        }
    }

    /// Writes that something was refused, and for which reason.
    pub fn refuse(&self, event: SecurityEvent, reason: &'static str) {
        let detail = Detail {
            reason: Some(reason),
            ..self.detail()
        };
        self.policy.security.report(event, &detail);
    }

    /// What the request shows, verified. A cookie is looked at where there is no `Authorization`.
    pub async fn shown(&self) -> Result<Shown, Problem> {
        let mut values = self.headers.get_all(header::AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => {
                return match &self.policy.auth {
                    Auth::Sessions(accounts, cookies) => {
                        // Large, and no part of requests that show neither.
                        Box::pin(session::shown(self, accounts, *cookies)).await
                    }
                    Auth::Trusted | Auth::Jwt(_) => Ok(Shown::Nothing),
                };
            }
            (Some(value), None) => value.to_str().unwrap_or_default().trim(),
            // Which of two is meant, a gateway and this service could see differently.
            (Some(_), Some(_)) => return Err(unauthenticated("Send Authorization only once.")),
        };
        match (bearer(value), &self.policy.auth) {
            (Some(token), Auth::Jwt(verifier)) if is_jwt(token) => {
                Box::pin(self.verified(verifier, token)).await
            }
            (Some(token), _) => self.admin(token).await,
            (None, Auth::Trusted) => trusted(value).map(Shown::User),
            (None, Auth::Jwt(_) | Auth::Sessions(..)) => Err(unauthenticated(BEARER_WANTED)),
        }
    }

    /// A token that is none of an issuer: an admin token, or a guess.
    async fn admin(&self, token: &str) -> Result<Shown, Problem> {
        match (
            self.policy.admin_tokens.look_at(token, self.address),
            &self.policy.auth,
        ) {
            (Guess::Right(which), _) => Ok(Shown::AdminToken(which)),
            (Guess::Wait(wait), _) => Err(self.throttled(wait)),
            (Guess::Wrong, Auth::Jwt(verifier)) => Box::pin(self.verified(verifier, token)).await,
            (Guess::Wrong, Auth::Trusted | Auth::Sessions(..)) => {
                self.refuse(SecurityEvent::AdminTokenRefused, "unknown");
                Err(unauthenticated("The token in Authorization is not valid."))
            }
        }
    }

    fn throttled(&self, wait: Duration) -> Problem {
        self.refuse(SecurityEvent::AdminTokenThrottled, "too_many_failures");
        limited::wait(
            wait,
            "admin_token",
            "Too many wrong tokens came from this address.",
        )
    }

    async fn verified(&self, verifier: &Verifier, token: &str) -> Result<Shown, Problem> {
        let outcome = verifier.verify(token).await.inspect_err(|error| {
            let event = match error {
                // It has not the form of one: somebody guesses the admin token.
                TokenError::Malformed if !is_jwt(token) => SecurityEvent::AdminTokenRefused,
                _ => SecurityEvent::TokenRefused,
            };
            self.refuse(event, error.word());
        });
        outcome.map(Shown::Token).map_err(refused)
    }
}

/// Whether a token has the form of one of an issuer: three parts with dots between them. No admin token
/// has where such tokens are accepted.
fn is_jwt(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// A token that is not believed. Why is said as far as its bearer knows it anyway, or has to know it to
/// get a better one.
pub(super) fn refused(error: TokenError) -> Problem {
    let detail = match error {
        TokenError::Expired => "The token has expired.",
        TokenError::NotYetValid => "The token is not valid yet.",
        TokenError::Issuer => "The token's issuer is not accepted.",
        TokenError::Audience => "The token is not meant for this service.",
        TokenError::Type => "The token is of a type that is not accepted here.",
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
