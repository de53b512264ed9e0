//! The problems of accounts, log-ins and one-time codes.

use super::kind::Kind;
use super::{Problem, busy, kind, rate_limited};
use crate::access::accounts::AccountError;
use crate::runtime::telemetry::cause;

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Refused(_) => not_logged_in(
                kind::LOGIN_REFUSED,
                "The login or the password is wrong, or the account is disabled.",
            ),
            AccountError::CodeRequired => not_logged_in(
                kind::CODE_REQUIRED,
                "The password is correct; the account also needs a one-time code in `code`.",
            ),
            AccountError::CodeRefused(_) => not_logged_in(
                kind::CODE_REFUSED,
                "The one-time code is not the current one, or is already used.",
            ),
            AccountError::TotpEnabled => {
                kind::TOTP_ENABLED.because("Disable them before you enrol another app.")
            }
            AccountError::TotpNotEnabled => {
                kind::TOTP_NOT_ENABLED.because("The account has no one-time codes to disable.")
            }
            AccountError::NoEnrolment => kind::NO_ENROLMENT
                .because("No enrolment is pending: POST /api/session/totp begins one."),
            AccountError::Throttled(time, limit) => rate_limited(time, limit, throttled(limit)),
            AccountError::NotRemembered | AccountError::Stolen => not_logged_in(
                kind::NOT_REMEMBERED,
                "There is no remembered log-in: log in with the password.",
            ),
            AccountError::JustUsed => kind::JUST_USED.because(
                "Another request has just resumed this log-in: its cookies replace these.",
            ),
            AccountError::Unknown => Self::not_found("There is no such account."),
            AccountError::LoginTaken => {
                kind::LOGIN_TAKEN.because("Another account has this login name.")
            }
            AccountError::Disabled => Self::not_found(
                "This is not enabled: see accounts.sign_up and accounts.verify_url.",
            ),
            AccountError::NoPassword => Self::invalid_field("password", "is missing"),
            AccountError::NoToken => Self::invalid_field(
                "token",
                "was used, has expired, or never existed: request a new one",
            ),
            AccountError::ScopesExceeded => kind::FORBIDDEN
                .because("The account has, or would have, scopes that you do not have yourself."),
            AccountError::OwnPassword => {
                Self::invalid_field("password", "is your own: use POST /api/session/password")
            }
            AccountError::Busy => busy(),
            AccountError::Store(error) => error.into(),
            AccountError::Gate(error) => error.into(),
            error @ (AccountError::Hash(_)
            | AccountError::Thread(_)
            | AccountError::Secret
            | AccountError::Tls(_)) => {
                tracing::error!(
                    error = cause(&error),
                    "cannot verify a password or a one-time code"
                );
                Self::internal()
            }
        }
    }
}

/// The detail for a limit on log-ins.
fn throttled(limit: &str) -> &'static str {
    match limit {
        "login_name_concurrent" => "Other log-ins with this name are in progress: retry later.",
        "login_address_concurrent" => {
            "Other log-ins from this address are in progress: retry later."
        }
        "sign_up_address" => "Too many requests from this address: retry later.",
        "password_reset" => "Too many requests for this login name: retry later.",
        "login_rate" => "Too many log-ins with this name: retry later.",
        _ => "Too many log-ins failed: retry later.",
    }
}

/// 401 has to name a scheme. Cookies have none, so it is that of the admin token.
fn not_logged_in(kind: Kind, detail: &'static str) -> Problem {
    let problem = kind.because(detail);
    problem.with_challenge("Bearer realm=\"firstcome\"")
}
