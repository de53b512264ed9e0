//! What failures and refusals of accounts look like to a client.

use poem::http::{HeaderValue, StatusCode, header};

use super::Problem;
use super::failures::busy;
use crate::access::accounts::AccountError;
use crate::http::limited::wait;

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Refused(_) => refused(
                "LOGIN_REFUSED",
                "The login or the password is wrong, or the account is disabled.",
            ),
            AccountError::CodeRequired => refused(
                "CODE_REQUIRED",
                "The password is right, and the account also needs a one-time code: show it in code.",
            ),
            AccountError::CodeRefused(_) => refused(
                "CODE_REFUSED",
                "The one-time code is not the current one, or was used before.",
            ),
            AccountError::TotpEnabled => conflict(
                "TOTP_ENABLED",
                "One-time codes are enabled",
                "Disable them first, to enrol another app.",
            ),
            AccountError::TotpNotEnabled => conflict(
                "TOTP_NOT_ENABLED",
                "One-time codes are not enabled",
                "There is nothing to disable.",
            ),
            AccountError::NoEnrolment => conflict(
                "NO_ENROLMENT",
                "Nothing to confirm",
                "No secret waits for its first code: POST /api/session/totp makes one.",
            ),
            AccountError::Throttled(time, limit) => wait(time, limit, throttled(limit)),
            AccountError::NotRemembered | AccountError::Stolen => refused(
                "NOT_REMEMBERED",
                "There is no remembered log-in: log in with the password.",
            ),
            AccountError::JustUsed => conflict(
                "JUST_USED",
                "Used a moment ago",
                "Another request went on with this log-in a moment ago: its cookies are the new ones.",
            ),
            AccountError::Unknown => Self::not_found("There is no such account."),
            AccountError::Taken => conflict(
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
            AccountError::OwnPassword => Self::invalid_field(
                "password",
                "is your own, which POST /api/session/password changes",
            ),
            AccountError::Busy => busy(),
            AccountError::Store(error) => error.into(),
            AccountError::Gate(error) => error.into(),
            error @ (AccountError::Hash(_) | AccountError::Thread(_) | AccountError::Secret) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "verify a password or a one-time code"
                );
                Self::internal()
            }
        }
    }
}

fn conflict(code: &'static str, title: &'static str, detail: &'static str) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, title, detail)
}

/// What a limit on log-ins says.
fn throttled(limit: &str) -> &'static str {
    match limit {
        "login_name_concurrent" => "Other log-ins by this name are in progress: try again later.",
        "login_address_concurrent" => {
            "Other log-ins from this address are in progress: try again later."
        }
        "login_rate" => "Too many log-ins by this name: try again later.",
        _ => "Too many log-ins failed before: try again later.",
    }
}

/// A 401 has to name a scheme, and there is none for cookies: the admin token's.
fn refused(code: &'static str, detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, "Not logged in", detail).with_header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"firstcome\""),
    )
}
