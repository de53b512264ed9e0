//! Enabling and disabling one-time codes of one's own account.

use std::sync::Arc;

use poem::Request;
use poem::http::StatusCode;
use poem::web::Data;
use poem::{IntoResponse, Response};
use poem_openapi::param::Header;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiResponse, Object, OpenApi};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::answers::{LoggedIn, SessionView, Uncached, documented as answer, uncached};
use super::failed;
use super::own::SignedIn;
use crate::access::accounts::Enrolment;
use crate::access::security_events::SecurityEvent;
use crate::domain::Actor;
use crate::http::auth::SessionCookie;
use crate::http::fields::{Fields, FromFields};
use crate::http::json::{Checked, RequestBodySchema, Written};
use crate::http::origin::{address, origin};
use crate::http::problem::{Failure, documented};
use crate::http::{App, Section};

documented! {
    /// Problems of beginning to enable one-time codes.
    Enrolling {
        400 => "The body is not JSON (MALFORMED).",
        401 => "Nobody is logged in (UNAUTHENTICATED), or the current password is wrong (LOGIN_REFUSED).",
        403 => "X-CSRF-Token is not the csrfToken of the session, or the request comes from another site (CSRF).",
        404 => "Nobody logs in here: auth.mode is another (NOT_FOUND).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        409 => "One-time codes are enabled already (TOTP_ENABLED).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
        429 => "Too many passwords were wrong, see Retry-After (RATE_LIMITED).",
    }
    /// Problems of enabling one-time codes.
    Confirming {
        400 => "The body is not JSON (MALFORMED).",
        401 => "Nobody is logged in (UNAUTHENTICATED), or the code is not one of the secret (CODE_REFUSED).",
        403 => "X-CSRF-Token is not the csrfToken of the session, or the request comes from another site (CSRF).",
        404 => "Nobody logs in here: auth.mode is another (NOT_FOUND).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        409 => "One-time codes are enabled already (TOTP_ENABLED), or no secret waits for its first code (NO_ENROLMENT).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
        429 => "Too many codes were wrong, see Retry-After (RATE_LIMITED).",
    }
    /// Problems of disabling one-time codes.
    Disabling {
        400 => "The body is not JSON (MALFORMED).",
        401 => "Nobody is logged in (UNAUTHENTICATED), the current password is wrong (LOGIN_REFUSED), or the code is wrong or was used (CODE_REFUSED).",
        403 => "X-CSRF-Token is not the csrfToken of the session, or the request comes from another site (CSRF).",
        404 => "Nobody logs in here: auth.mode is another (NOT_FOUND).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        409 => "One-time codes are not enabled (TOTP_NOT_ENABLED).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
        429 => "Too many passwords or codes were wrong, see Retry-After (RATE_LIMITED).",
    }
}

/// Begins to enable one-time codes.
#[derive(Object)]
#[oai(rename = "EnrolTotp", rename_all = "camelCase", example)]
pub struct EnrolRequest {
    /// The password of the account.
    #[oai(validator(min_length = 1, max_length = 128))]
    current_password: String,
}

impl Example for EnrolRequest {
    fn example() -> Self {
        Self {
            current_password: "correct horse battery staple".to_owned(),
        }
    }
}

impl RequestBodySchema for EnrolRequest {
    type Read = Password;
}

/// The same, read.
#[derive(Debug)]
pub struct Password(SecretString);

impl FromFields for Password {
    fn from_fields(fields: &mut Fields) -> Self {
        let password = fields.text("currentPassword", &super::PASSWORD);
        Self(fields.required("currentPassword", password).into())
    }
}

/// Shows that the app has the secret.
#[derive(Object)]
#[oai(rename = "ConfirmTotp", rename_all = "camelCase", example)]
pub struct ConfirmRequest {
    /// The code that the app shows.
    #[oai(validator(min_length = 6, max_length = 32))]
    code: String,
}

impl Example for ConfirmRequest {
    fn example() -> Self {
        Self {
            code: "287082".to_owned(),
        }
    }
}

impl RequestBodySchema for ConfirmRequest {
    type Read = Code;
}

/// The same, read.
#[derive(Debug)]
pub struct Code(SecretString);

impl FromFields for Code {
    fn from_fields(fields: &mut Fields) -> Self {
        let code = fields.text("code", &super::CODE);
        Self(fields.required("code", code).into())
    }
}

/// Disables one-time codes.
#[derive(Object)]
#[oai(rename = "DisableTotp", rename_all = "camelCase", example)]
pub struct DisableRequest {
    /// The password of the account.
    #[oai(validator(min_length = 1, max_length = 128))]
    current_password: String,
    /// A code that the app shows, or a recovery code.
    #[oai(validator(min_length = 6, max_length = 32))]
    code: String,
}

impl Example for DisableRequest {
    fn example() -> Self {
        Self {
            current_password: "correct horse battery staple".to_owned(),
            code: "287082".to_owned(),
        }
    }
}

impl RequestBodySchema for DisableRequest {
    type Read = Both;
}

/// The same, read.
#[derive(Debug)]
pub struct Both {
    password: Password,
    code: Code,
}

impl FromFields for Both {
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            password: Password::from_fields(fields),
            code: Code::from_fields(fields),
        }
    }
}

/// What goes into an authenticator app.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "TotpEnrolment", rename_all = "camelCase")]
pub struct EnrolmentView {
    /// The secret, in Base32. It is shown this once.
    secret: String,
    /// The same as an `otpauth://` address, for a QR code.
    uri: String,
}

impl From<Enrolment> for EnrolmentView {
    fn from(enrolment: Enrolment) -> Self {
        Self {
            secret: enrolment.secret.expose_secret().to_owned(),
            uri: enrolment.uri.expose_secret().to_owned(),
        }
    }
}

/// One-time codes that are enabled from now on.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "TotpEnabled", rename_all = "camelCase")]
pub struct EnabledView {
    /// Codes for when the app is lost, each accepted once. They are shown this once.
    recovery_codes: Vec<String>,
    /// The session to go on with: all others of the account ended.
    session: SessionView,
}

/// One-time codes are enabled, and the session is a new one.
pub struct Enabled {
    recovery_codes: Vec<String>,
    logged_in: LoggedIn,
}

impl IntoResponse for Enabled {
    fn into_response(self) -> Response {
        let (session, cookies) = self.logged_in.into_parts();
        let view = EnabledView {
            recovery_codes: self.recovery_codes,
            session,
        };
        let mut response = uncached(Written(view).into_response(), cookies);
        response.set_status(StatusCode::CREATED);
        response
    }
}

impl ApiResponse for Enabled {
    fn meta() -> MetaResponses {
        answer::<EnabledView>(201, "Enabled.", vec![super::answers::set_cookie()])
    }

    fn register(registry: &mut Registry) {
        EnabledView::register(registry);
    }
}

/// One-time codes of one's own account.
pub struct OwnTotpApi;

#[OpenApi(tag = "Section::Sessions")]
impl OwnTotpApi {
    /// Begin to enable one-time codes (TOTP, RFC 6238).
    ///
    /// Nothing changes until the first code is confirmed. Asked again, there is another secret.
    #[oai(
        path = "/api/session/totp",
        method = "post",
        operation_id = "enrolTotp"
    )]
    async fn enrol(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
        body: Checked<EnrolRequest>,
    ) -> Result<Uncached<EnrolmentView>, Failure<Enrolling>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let from = address(request, &app.settings.proxies);
        let enrolment = signed_in
            .accounts
            .enrol(signed_in.user, &body.0.0, from)
            .await;
        let enrolment = enrolment.inspect_err(|error| failed(request, error))?;
        Ok(Uncached(enrolment.into()))
    }

    /// Enable one-time codes: from now on a log-in needs one.
    ///
    /// Ends all sessions and remembered log-ins of the account; the answer sets the cookie of a new session.
    #[oai(
        path = "/api/session/totp/confirm",
        method = "post",
        operation_id = "confirmTotp"
    )]
    async fn confirm(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
        body: Checked<ConfirmRequest>,
    ) -> Result<Enabled, Failure<Confirming>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let by = origin(&Actor::Account(signed_in.user), request);
        let from = address(request, &app.settings.proxies);
        let code = body.0.0.expose_secret();
        let enabled = signed_in
            .accounts
            .confirm_enrolment(signed_in.user, code, (by, from))
            .await;
        let enabled = enabled.inspect_err(|error| failed(request, error))?;
        signed_in.note(request, SecurityEvent::TotpEnabled);
        let codes = enabled.recovery_codes.iter();
        Ok(Enabled {
            recovery_codes: codes.map(|code| code.expose_secret().to_owned()).collect(),
            logged_in: LoggedIn::new(&enabled.entered, signed_in.cookies, app.clock.now()),
        })
    }

    /// Disable one-time codes.
    ///
    /// Takes the password and a code, or a recovery code. Ends all sessions and remembered log-ins of the account;
    /// the answer sets the cookie of a new session.
    #[oai(
        path = "/api/session/totp/disable",
        method = "post",
        operation_id = "disableTotp"
    )]
    async fn disable(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
        body: Checked<DisableRequest>,
    ) -> Result<LoggedIn, Failure<Disabling>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let by = origin(&Actor::Account(signed_in.user), request);
        let from = address(request, &app.settings.proxies);
        let Both { password, code } = &body.0;
        let shown = (&password.0, code.0.expose_secret());
        let disabled = signed_in
            .accounts
            .disable_totp(signed_in.user, shown, (by, from))
            .await;
        let entered = disabled.inspect_err(|error| failed(request, error))?;
        signed_in.note(request, SecurityEvent::TotpDisabled);
        Ok(LoggedIn::new(&entered, signed_in.cookies, app.clock.now()))
    }
}
