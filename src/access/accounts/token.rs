//! Tokens of sessions and of remembered log-ins. A token begins with the id of its account, followed by 256 random bits.
//! Only its digest is stored.

use std::fmt;

use crate::domain::UserId;
use crate::parts::gate::Digest;

/// The token of a session, written `ACCOUNT.SECRET`.
#[derive(Clone)]
pub struct SessionToken {
    account: UserId,
    secret: String,
}

impl SessionToken {
    /// A new token.
    #[must_use]
    pub fn generate(account: UserId) -> Self {
        Self {
            account,
            secret: secret(),
        }
    }

    /// Reads a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (account, secret) = text.split_once('.')?;
        Some(Self {
            account: account_of(account)?,
            secret: checked(secret)?,
        })
    }

    /// The account, if the token is valid.
    #[must_use]
    pub const fn account(&self) -> UserId {
        self.account
    }

    /// The stored digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.secret)
    }

    /// The CSRF token, which requests that change something need in addition. It is derived from the secret, and is not
    /// stored.
    #[must_use]
    pub fn csrf(&self) -> String {
        Digest::of(&format!("firstcome.csrf.{}", self.secret)).to_string()
    }

    /// The text for the client.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.account, self.secret)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionToken")
    }
}

/// The token of a remembered log-in, written `ACCOUNT.SERIES.SECRET`.
#[derive(Clone)]
pub struct RememberToken {
    account: UserId,
    series: String,
    secret: String,
}

impl RememberToken {
    /// The first token of a new series.
    #[must_use]
    pub fn generate(account: UserId) -> Self {
        Self {
            account,
            series: secret(),
            secret: secret(),
        }
    }

    /// The token that replaces it.
    #[must_use]
    pub fn next(&self) -> Self {
        Self {
            secret: secret(),
            ..self.clone()
        }
    }

    /// Reads a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (account, rest) = text.split_once('.')?;
        let (series, secret) = rest.split_once('.')?;
        Some(Self {
            account: account_of(account)?,
            series: checked(series)?,
            secret: checked(secret)?,
        })
    }

    /// The account, if the token is valid.
    #[must_use]
    pub const fn account(&self) -> UserId {
        self.account
    }

    /// The stored digest of its series.
    #[must_use]
    pub fn series(&self) -> Digest {
        Digest::of(&self.series)
    }

    /// The stored digest of its secret.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.secret)
    }

    /// The text for the client.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}.{}.{}", self.account, self.series, self.secret)
    }
}

impl fmt::Debug for RememberToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RememberToken")
    }
}

/// A token that is sent to the owner of a login name, and used once.
#[derive(Clone)]
pub struct MailedToken(String);

impl MailedToken {
    /// A new token.
    #[must_use]
    pub fn generate() -> Self {
        Self(secret())
    }

    /// Reads a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        checked(text).map(Self)
    }

    /// The stored digest.
    #[must_use]
    pub fn digest(&self) -> String {
        Digest::of(&self.0).to_string()
    }

    /// The text for its owner.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MailedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MailedToken")
    }
}

/// 256 random bits, from a generator that the operating system seeds.
fn secret() -> String {
    let (high, low): (u128, u128) = (rand::random(), rand::random());
    format!("{high:032x}{low:032x}")
}

/// The secret, if it is well-formed: it is written like a digest.
fn checked(secret: &str) -> Option<String> {
    Digest::parse(secret).map(|_| secret.to_owned())
}

fn account_of(text: &str) -> Option<UserId> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number > 0)?;
    Some(UserId(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_given_fields_are_read() {
        let session = SessionToken::generate(UserId(7));
        let read = SessionToken::parse(&session.reveal()).unwrap();
        assert_eq!(read.reveal(), session.reveal());
        assert_eq!((read.account(), read.csrf()), (UserId(7), session.csrf()));
        let remember = RememberToken::generate(UserId(7));
        let next = remember.next();
        assert_eq!(next.series(), remember.series());
        assert_ne!(next.digest(), remember.digest());
        assert_eq!(
            RememberToken::parse(&next.reveal()).unwrap().digest(),
            next.digest()
        );
        let secret = "a".repeat(64);
        for wrong in [
            String::new(),
            ".".to_owned(),
            secret.clone(),
            format!("0.{secret}"),
            format!("-1.{secret}"),
            format!("+1.{secret}"),
            format!("1.{secret}a"),
            format!("1.{}", "A".repeat(64)),
            format!("1.{secret}."),
            format!("99999999999999999999.{secret}"),
        ] {
            assert!(SessionToken::parse(&wrong).is_none(), "{wrong}");
            assert!(RememberToken::parse(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn no_token_is_written_to_a_log() {
        let session = SessionToken::generate(UserId(7));
        let remember = RememberToken::generate(UserId(7));
        let text = format!("{session:?} {remember:?}");
        assert_eq!(text, "SessionToken RememberToken");
        assert!(!session.reveal().contains(&session.csrf()));
        assert_ne!(session.csrf(), session.digest().to_string());
    }
}
