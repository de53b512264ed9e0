//! One-time codes of one's own account.

use poem_openapi::param::Header;
use secrecy::{ExposeSecret, SecretString};

use super::own::SignedIn;
use super::report_failure;
use super::responses::{LogInView, LoggedIn, SessionView, Uncached};
use crate::access::accounts::Enrolment;
use crate::access::security_events::SecurityEvent;
use crate::http::auth::SessionCookie;
use crate::http::operation::{
    AppRef, Failure, JsonRequest, OpenApi, Request, Section, documented, request_object, view,
};

documented! {
    Enrolling: [BODY, OWN_SESSION] {
        401 => "Not logged in (UNAUTHENTICATED), or the current password is wrong (LOGIN_REFUSED).",
        409 => "One-time codes are already enabled (TOTP_ENABLED).",
        429 => "Too many passwords were wrong, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
    Confirming: [BODY, OWN_SESSION] {
        401 => "Not logged in (UNAUTHENTICATED), or the code does not belong to the secret (CODE_REFUSED).",
        409 => "One-time codes are already enabled (TOTP_ENABLED), or no enrolment is pending (NO_ENROLMENT).",
        429 => "Too many codes were wrong, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
    Disabling: [BODY, OWN_SESSION] {
        401 => "Not logged in (UNAUTHENTICATED), the current password is wrong (LOGIN_REFUSED), or the code is wrong or used (CODE_REFUSED).",
        409 => "One-time codes are not enabled (TOTP_NOT_ENABLED).",
        429 => "Too many passwords or codes were wrong, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
}

request_object! {
    /// Begins the enrolment of one-time codes.
    #[derive(Debug)]
    pub struct Enrol as "EnrolTotp" {
        /// The password of the account.
        password: SecretString = password("currentPassword").required(),
    }
    example { "currentPassword": "correct horse battery staple" }
}

request_object! {
    /// Proves that the app has the secret.
    #[derive(Debug)]
    pub struct Confirm as "ConfirmTotp" {
        /// The code that the app shows.
        code: SecretString = code("code").required(),
    }
    example { "code": "287082" }
}

request_object! {
    /// Disables one-time codes.
    #[derive(Debug)]
    pub struct Disable as "DisableTotp" {
        /// The password of the account.
        password: SecretString = password("currentPassword").required(),
        /// A code that the app shows, or a recovery code.
        code: SecretString = code("code").required(),
    }
    example { "currentPassword": "correct horse battery staple", "code": "287082" }
}

view! {
    /// The secret for an authenticator app.
    pub struct EnrolmentView as "TotpEnrolment" from enrolment: Enrolment {
        /// The secret, in Base32. It is shown only here.
        secret: String = enrolment.secret.expose_secret().to_owned(),
        /// The same as an `otpauth://` URI, for a QR code.
        uri: String = enrolment.uri.expose_secret().to_owned(),
    }
}

view! {
    /// One-time codes are enabled.
    pub struct EnabledView as "TotpEnabled" {
        /// Codes for the loss of the app, each valid once. They are shown only here.
        recovery_codes: Vec<String>,
        /// The new session: all others of the account have ended.
        session: SessionView,
    }
}

impl LogInView for EnabledView {
    const DESCRIPTION: &'static str = "Enabled.";
}

/// One-time codes of one's own account.
pub struct OwnTotpApi;

#[OpenApi(prefix_path = "/api/session/totp", tag = "Section::Sessions")]
impl OwnTotpApi {
    /// Begin the enrolment of one-time codes (TOTP, RFC 6238).
    ///
    /// Nothing changes until the first code is confirmed. A second request makes another secret.
    #[oai(path = "/", method = "post", operation_id = "enrolTotp")]
    async fn enrol(
        &self,
        app: AppRef<'_>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
        body: JsonRequest<Enrol>,
    ) -> Result<Uncached<EnrolmentView>, Failure<Enrolling>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let from = signed_in.origin(request).address;
        let enrolment = signed_in
            .accounts
            .enrol(signed_in.user, &body.0.password, from)
            .await;
        let enrolment = enrolment.inspect_err(|error| report_failure(request, error))?;
        Ok(Uncached(enrolment.into()))
    }

    /// Enable one-time codes: from now on a log-in needs one.
    ///
    /// Ends all sessions and remembered log-ins of the account; the response sets the cookie of a new session.
    #[oai(path = "/confirm", method = "post", operation_id = "confirmTotp")]
    async fn confirm(
        &self,
        app: AppRef<'_>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
        body: JsonRequest<Confirm>,
    ) -> Result<LoggedIn<EnabledView>, Failure<Confirming>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let code = body.0.code.expose_secret();
        let enabled = signed_in
            .accounts
            .confirm_enrolment(signed_in.user, code, signed_in.origin(request))
            .await;
        let enabled = enabled.inspect_err(|error| report_failure(request, error))?;
        signed_in.note(request, SecurityEvent::TotpEnabled);
        let codes = enabled.recovery_codes.iter();
        let recovery_codes = codes.map(|code| code.expose_secret().to_owned()).collect();
        let logged_in = LoggedIn::new(&enabled.entered, signed_in.cookies, app.clock.now());
        Ok(logged_in.map(|session| EnabledView {
            recovery_codes,
            session,
        }))
    }

    /// Disable one-time codes.
    ///
    /// Needs the password and a code, or a recovery code. Ends all sessions and remembered log-ins of the account; the
    /// response sets the cookie of a new session.
    #[oai(path = "/disable", method = "post", operation_id = "disableTotp")]
    async fn disable(
        &self,
        app: AppRef<'_>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
        body: JsonRequest<Disable>,
    ) -> Result<LoggedIn, Failure<Disabling>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let Disable { password, code } = &body.0;
        let disabled = signed_in
            .accounts
            .disable_totp(
                signed_in.user,
                (password, code.expose_secret()),
                signed_in.origin(request),
            )
            .await;
        let entered = disabled.inspect_err(|error| report_failure(request, error))?;
        signed_in.note(request, SecurityEvent::TotpDisabled);
        Ok(LoggedIn::new(&entered, signed_in.cookies, app.clock.now()))
    }
}
