//! What a token claims, beside issuer and audience. It reads; whether the signature holds was found out
//! before.

use std::time::Duration;

use serde::Deserialize;

use super::{Scopes, TokenError, Verified};
use crate::domain::UserId;

/// Longest subject: what `OpenID` Connect Core allows.
const SUBJECT_BYTES_MAX: usize = 255;

/// The claims that are looked at. A claim that is there twice is a mistake, and so is no token.
#[derive(Deserialize)]
pub struct Claims {
    iss: Option<Issuer>,
    sub: Option<Subject>,
    /// Seconds since the Unix epoch, from which on it is not to be believed. A token without it would
    /// be believed for ever.
    exp: f64,
    /// Seconds since the Unix epoch, before which it is not to be believed.
    nbf: Option<f64>,
    /// RFC 8693, 4.2.
    scope: Option<Words>,
    /// The same, as some identity providers name it.
    scp: Option<Words>,
    /// The same, as others do.
    permissions: Option<Words>,
}

/// RFC 7519, 4.1.1: an issuer is one text. The library that reads tokens also accepts a list that contains it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Issuer {
    Text(String),
    Other(serde::de::IgnoredAny),
}

/// A subject is text; a user id is sometimes written as the number it is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Subject {
    Text(String),
    Number(u64),
}

/// Words with spaces between them, or a list.
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
    /// Whether this issuer, and nobody else, is named.
    pub fn issued_by(&self, issuer: &str) -> Result<(), TokenError> {
        match &self.iss {
            Some(Issuer::Text(named)) if named == issuer => Ok(()),
            Some(Issuer::Text(_) | Issuer::Other(_)) | None => Err(TokenError::Issuer),
        }
    }

    /// Whether the token is to be believed at `now`, since the Unix epoch.
    pub fn in_time(&self, now: Duration, skew: Duration) -> Result<(), TokenError> {
        if now >= moment(self.exp)?.saturating_add(skew) {
            return Err(TokenError::Expired);
        }
        match self.nbf {
            Some(nbf) if now.saturating_add(skew) < moment(nbf)? => Err(TokenError::NotYetValid),
            _ => Ok(()),
        }
    }

    /// Who the token is about, and what they may do.
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

/// A time of a token; none before the Unix epoch, and none that is no number.
fn moment(seconds: f64) -> Result<Duration, TokenError> {
    Duration::try_from_secs_f64(seconds).map_err(|_| TokenError::Malformed)
}

/// The user a subject names. One user has one way to be written, so that no two subjects are the same
/// user: no sign, no zeros in front.
fn user(subject: &str) -> Option<UserId> {
    let user = UserId::parse(subject.parse().ok()?)?;
    (user.to_string() == subject).then_some(user)
}
