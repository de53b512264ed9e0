//! The claims of a token whose signature is already verified.

use std::time::Duration;

use serde::Deserialize;

use super::{Scopes, TokenError, Verified};
use crate::domain::UserId;

/// Longest subject that `OpenID` Connect Core allows, in bytes.
const SUBJECT_BYTES_MAX: usize = 255;

/// The claims that are read. A repeated claim makes the token malformed.
#[derive(Deserialize)]
pub struct Claims {
    iss: Option<Issuer>,
    sub: Option<Subject>,
    /// End of its validity, in seconds since the Unix epoch. Required: a token without it would be valid for ever.
    exp: f64,
    /// Start of its validity, in seconds since the Unix epoch.
    nbf: Option<f64>,
    /// Scopes (RFC 8693, 4.2).
    scope: Option<Words>,
    /// Scopes, in the claim of some identity providers.
    scp: Option<Words>,
    /// Scopes, in the claim of others.
    permissions: Option<Words>,
}

/// RFC 7519, 4.1.1: an issuer is one text. The library that reads tokens also accepts a list that contains it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Issuer {
    Text(String),
    Other(serde::de::IgnoredAny),
}

/// A subject is text; some issuers write a user id as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Subject {
    Text(String),
    Number(u64),
}

/// Scopes: words separated by spaces, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
}

impl Words {
    fn scopes(&self) -> Scopes {
        match self {
            Self::Text(text) => Scopes::among(text.split(' ')),
            Self::List(words) => Scopes::among(words.iter().map(String::as_str)),
        }
    }
}

impl Claims {
    /// Checks that this is the issuer.
    pub fn issued_by(&self, issuer: &str) -> Result<(), TokenError> {
        match &self.iss {
            Some(Issuer::Text(named)) if named == issuer => Ok(()),
            Some(Issuer::Text(_) | Issuer::Other(_)) | None => Err(TokenError::Issuer),
        }
    }

    /// Checks that the token is valid at `now`, since the Unix epoch.
    pub fn in_time(&self, now: Duration, skew: Duration) -> Result<(), TokenError> {
        if now >= moment(self.exp)?.saturating_add(skew) {
            return Err(TokenError::Expired);
        }
        match self.nbf {
            Some(nbf) if now.saturating_add(skew) < moment(nbf)? => Err(TokenError::NotYetValid),
            _ => Ok(()),
        }
    }

    /// The subject and the scopes.
    pub fn verified(self) -> Result<Verified, TokenError> {
        let claims = [&self.scope, &self.scp, &self.permissions];
        let scopes = claims
            .into_iter()
            .flatten()
            .fold(Scopes::default(), |scopes, words| {
                scopes.and(words.scopes())
            });
        let subject = match self.sub {
            Some(Subject::Text(text)) => text,
            Some(Subject::Number(number)) => number.to_string(),
            None => return Err(TokenError::Subject),
        };
        if !(1..=SUBJECT_BYTES_MAX).contains(&subject.len())
            || subject.chars().any(char::is_control)
        {
            return Err(TokenError::Subject);
        }
        Ok(Verified {
            user: user(&subject),
            subject,
            scopes,
        })
    }
}

/// A time in a token. Negative and non-finite numbers are malformed.
fn moment(seconds: f64) -> Result<Duration, TokenError> {
    Duration::try_from_secs_f64(seconds).map_err(|_| TokenError::Malformed)
}

/// The user of a subject. Only the canonical form is accepted (no sign, no leading zeros), so that no two subjects name
/// the same user.
fn user(subject: &str) -> Option<UserId> {
    let user = UserId::parse(subject.parse().ok()?)?;
    (user.to_string() == subject).then_some(user)
}
