//! The input and the result of a log-in.

use std::net::IpAddr;

use secrecy::SecretString;

use super::{Account, RememberToken, SessionToken, TotpState};
use crate::access::identity::Scopes;
use crate::domain::{Timestamp, UserId};

/// The credentials of a log-in, and its address.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The login name.
    pub login: &'a str,
    /// The password.
    pub password: &'a SecretString,
    /// A one-time code, or a recovery code, if the request has one.
    pub code: Option<&'a str>,
    /// The address of the request.
    pub address: Option<IpAddr>,
}

impl<'a> Credentials<'a> {
    /// The credentials of the owner of an account.
    pub(super) fn of(
        account: &'a Account,
        password: &'a SecretString,
        code: Option<&'a str>,
        address: Option<IpAddr>,
    ) -> Self {
        let login = account.login.as_str();
        Self {
            login,
            password,
            code,
            address,
        }
    }
}

/// Whether a one-time code is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeCheck {
    /// Required if the account has one-time codes enabled.
    WhereEnabled,
    /// Not required: the user is logged in.
    Omitted,
}

/// Which code was accepted beside the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeUsed {
    /// None was needed.
    None,
    /// A one-time code.
    Totp,
    /// A recovery code, which is accepted once.
    Recovery,
}

/// Whether a log-in is remembered after its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RememberMe {
    /// It is not.
    No,
    /// It is, for the configured time.
    Yes,
}

/// A remembered log-in.
#[derive(Debug)]
pub struct Remembered {
    /// The token that resumes it.
    pub token: RememberToken,
    /// When it ends.
    pub ends_at: Timestamp,
}

/// A successful log-in.
#[derive(Debug)]
pub struct LoginSuccess {
    /// The account.
    pub account: Account,
    /// The token of the new session.
    pub token: SessionToken,
    /// When the session ends at the latest.
    pub ends_at: Timestamp,
    /// The remembered log-in, if the log-in is remembered.
    pub remembered: Option<Remembered>,
    /// Their scopes as an admin in this session.
    pub scopes: Scopes,
    /// Whether log-ins of the account need one-time codes.
    pub totp: TotpState,
    /// Which code was accepted.
    pub code: CodeUsed,
}

/// A user who is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The account.
    pub user: UserId,
    /// Their scopes as an admin.
    pub scopes: Scopes,
    /// When the session ends at the latest.
    pub ends_at: Timestamp,
}
