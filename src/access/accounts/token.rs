//! What a client is given to show again. Each begins with the number of its account, which says where to look;
//! the rest is random, 256 bits, and only its digest is kept anywhere.

use std::fmt;

use crate::domain::UserId;
use crate::parts::gate::Digest;

/// Hexadecimal digits of 256 bits.
const SECRET_DIGITS: usize = 64;

/// Says of which session one is. Written `ACCOUNT.SECRET`.
#[derive(Clone)]
pub struct SessionToken {
    account: UserId,
    secret: String,
}

impl SessionToken {
    /// A new one.
    #[must_use]
    pub fn generate(account: UserId) -> Self {
        Self {
            account,
            secret: secret(),
        }
    }

    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (account, secret) = text.split_once('.')?;
        Some(Self {
            account: account_of(account)?,
            secret: checked(secret)?,
        })
    }

    /// Whose it is, if it is anybody's.
    #[must_use]
    pub const fn account(&self) -> UserId {
        self.account
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.secret)
    }

    /// What requests that change something show beside it: who sees the one cannot make the other, and it is
    /// kept nowhere.
    #[must_use]
    pub fn csrf(&self) -> String {
        Digest::of(&format!("firstcome.csrf.{}", self.secret)).to_string()
    }

    /// As the client is given it.
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

/// Goes on with a log-in that is remembered. Written `ACCOUNT.SERIES.SECRET`.
#[derive(Clone)]
pub struct RememberToken {
    account: UserId,
    series: String,
    secret: String,
}

impl RememberToken {
    /// The first of a new series.
    #[must_use]
    pub fn generate(account: UserId) -> Self {
        Self {
            account,
            series: secret(),
            secret: secret(),
        }
    }

    /// The one that takes its place.
    #[must_use]
    pub fn next(&self) -> Self {
        Self {
            secret: secret(),
            ..self.clone()
        }
    }

    /// Reads one.
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

    /// Whose it is, if it is anybody's.
    #[must_use]
    pub const fn account(&self) -> UserId {
        self.account
    }

    /// What is kept of its series.
    #[must_use]
    pub fn series(&self) -> Digest {
        Digest::of(&self.series)
    }

    /// What is kept of itself.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.secret)
    }

    /// As the client is given it.
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

/// 256 bits of the generator that the operating system seeds.
fn secret() -> String {
    let (high, low): (u128, u128) = (rand::random(), rand::random());
    format!("{high:032x}{low:032x}")
}

fn checked(secret: &str) -> Option<String> {
    let is_one = secret.len() == SECRET_DIGITS
        && secret
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_one.then(|| secret.to_owned())
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
        let said = format!("{session:?} {remember:?}");
        assert_eq!(said, "SessionToken RememberToken");
        assert!(!session.reveal().contains(&session.csrf()));
        assert_ne!(session.csrf(), session.digest().to_string());
    }
}
