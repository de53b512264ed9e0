//! Why a request about an account failed.

use std::time::Duration;

use crate::domain::UserId;
use crate::parts::gate::GateError;
use crate::parts::store::StoreError;

/// Why a request about an account failed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no such account, the password is wrong, or the account is disabled; the client does not learn which.
    #[error("log in: refused")]
    Refused(Option<UserId>),
    /// The password is correct, and a one-time code is missing.
    #[error("log in: a one-time code is required")]
    CodeRequired,
    /// The password is correct, and the one-time code is wrong or already used.
    #[error("log in: the one-time code is refused")]
    CodeRefused(UserId),
    /// One-time codes are enabled.
    #[error("enrol: one-time codes are enabled")]
    TotpEnabled,
    /// One-time codes are not enabled.
    #[error("disable one-time codes: they are not enabled")]
    TotpNotEnabled,
    /// No secret waits for its first code.
    #[error("enable one-time codes: no secret waits for its first code")]
    NoEnrolment,
    /// Too many log-ins failed or are in progress: the client may retry after this time. The word names the limit.
    #[error("log in: {1} is used up")]
    Throttled(Duration, &'static str),
    /// The remembered log-in is over, or never existed.
    #[error("resume a remembered log-in: there is none")]
    NotRemembered,
    /// Another window of the browser has just used its token.
    #[error("resume a remembered log-in: its token was used a moment ago")]
    JustUsed,
    /// Its token was copied: all sessions of the account were ended.
    #[error("resume a remembered log-in: its token was used before")]
    Stolen,
    /// There is no such account.
    #[error("there is no such account")]
    Unknown,
    /// Another account has the login name.
    #[error("the login name is taken")]
    LoginTaken,
    /// Sign-up, or new passwords for those who forgot theirs, are not enabled.
    #[error("it is not enabled")]
    Disabled,
    /// There is no password, and this sign-up needs one.
    #[error("sign up: the password is missing")]
    NoPassword,
    /// The token was used, has expired, or never existed.
    #[error("use a token: there is none")]
    NoToken,
    /// The account has, or would have, scopes that the admin lacks.
    #[error("the account has scopes that the admin lacks")]
    ScopesExceeded,
    /// It is the admin's own account: changing its password needs the current password.
    #[error("change the account's password: it is the admin's own")]
    OwnPassword,
    /// Too many requests are in progress: the client may retry.
    #[error("too many requests are in progress")]
    Busy,
    /// The store failed.
    #[error("use the store")]
    Store(#[from] StoreError),
    /// The store of sessions failed.
    #[error("use the sessions")]
    Gate(#[from] GateError),
    /// The hash function failed, or the stored value is not a hash.
    #[error("hash a password")]
    Hash(#[source] argon2::password_hash::Error),
    /// The stored value is not a secret of one-time codes.
    #[error("read the secret of one-time codes")]
    Secret,
    /// TLS for `accounts.verify_url` cannot be set up.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// A hashing thread died.
    #[error("hash a password: the thread ended")]
    Thread(#[source] tokio::task::JoinError),
}
