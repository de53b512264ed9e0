//! The problems of accounts, log-ins and one-time codes.

use poem::http::StatusCode;

use super::{Problem, busy, rate_limited};
use crate::access::accounts::AccountError;
use crate::runtime::telemetry::cause;

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Refused(_) => not_logged_in(
                "LOGIN_REFUSED",
                "The login or the password is wrong, or the account is disabled.",
            ),
            AccountError::CodeRequired => not_logged_in(
                "CODE_REQUIRED",
                "The password is correct; the account also needs a one-time code in `code`.",
            ),
            AccountError::CodeRefused(_) => not_logged_in(
                "CODE_REFUSED",
                "The one-time code is not the current one, or is already used.",
            ),
            AccountError::TotpEnabled => Self::conflict(
                "TOTP_ENABLED",
                "One-time codes are enabled",
                "Disable them before you enrol another app.",
            ),
            AccountError::TotpNotEnabled => Self::conflict(
                "TOTP_NOT_ENABLED",
                "One-time codes are not enabled",
                "The account has no one-time codes to disable.",
            ),
            AccountError::NoEnrolment => Self::conflict(
                "NO_ENROLMENT",
                "Nothing to confirm",
                "No enrolment is pending: POST /api/session/totp begins one.",
            ),
            AccountError::Throttled(time, limit) => rate_limited(time, limit, throttled(limit)),
            AccountError::NotRemembered | AccountError::Stolen => not_logged_in(
                "NOT_REMEMBERED",
                "There is no remembered log-in: log in with the password.",
            ),
            AccountError::JustUsed => Self::conflict(
                "JUST_USED",
                "Used a moment ago",
                "Another request has just resumed this log-in: its cookies replace these.",
            ),
            AccountError::Unknown => Self::not_found("There is no such account."),
            AccountError::Taken => Self::conflict(
                "LOGIN_TAKEN",
                "Login name taken",
                "Another account has this login name.",
            ),
            AccountError::Beyond => Self::new(
                StatusCode::FORBIDDEN,
                "FORBIDDEN",
                "Not allowed",
                "The account has, or would have, scopes that you do not have yourself.",
            ),
            AccountError::OwnPassword => {
                Self::invalid_field("password", "is your own: use POST /api/session/password")
            }
            AccountError::Busy => busy(),
            AccountError::Store(error) => error.into(),
            AccountError::Gate(error) => error.into(),
            error @ (AccountError::Hash(_) | AccountError::Thread(_) | AccountError::Secret) => {
                tracing::error!(
                    error = cause(&error),
                    "verify a password or a one-time code"
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
        "login_rate" => "Too many log-ins with this name: retry later.",
        _ => "Too many log-ins failed: retry later.",
    }
}

/// 401 has to name a scheme. Cookies have none, so it is that of the admin token.
fn not_logged_in(code: &'static str, detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, "Not logged in", detail)
        .with_challenge("Bearer realm=\"firstcome\"")
}
