//! Signing up, and resetting a forgotten password. Both are off unless configured.

use poem::http::StatusCode;
use poem::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};

use super::responses::Uncached;
use super::{report_csrf, report_failure, sessions_of};
use crate::access::accounts::{Accounts, SignedUp};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{Actor, LoginName, UserId};
use crate::http::json::{json_response, no_content, responses};
use crate::http::operation::{
    AppRef, Failure, JsonRequest, OpenApi, Problem, Request, Section, documented, request_object,
    view,
};
use crate::http::request_context::{origin, report};
use crate::http::{App, csrf};

documented! {
    SigningUp: [BODY] {
        403 => "The request comes from another site (CSRF).",
        404 => "Sign-up is not enabled, or the service has no sessions (NOT_FOUND).",
        409 => "Another account has this login name (LOGIN_TAKEN).",
        429 => "Too many sign-ups from this address, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
    Verifying: [BODY] {
        403 => "The request comes from another site (CSRF).",
        404 => "Sign-up is not enabled, or the service has no sessions (NOT_FOUND).",
        409 => "Another account has this login name (LOGIN_TAKEN).",
        429 => "Too many tokens from this address were wrong, or other requests for this login name or from this address are in progress, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
    Resetting: [BODY] {
        403 => "The request comes from another site (CSRF).",
        404 => "Forgotten passwords cannot be reset here, or the service has no sessions (NOT_FOUND).",
        429 => "Too many requests from this address or for this login name, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
}

request_object! {
    /// Signs up.
    #[derive(Debug)]
    pub struct SignUp as "SignUp" {
        /// The login name, for example an e-mail address; case is irrelevant.
        login: Option<LoginName> = login_name("login").required(),
        /// The password: not one of the most common ones. Needed with `accounts.sign_up=open`; with `verified` it is set with
        /// the token, and one in this request is not used.
        password: Option<SecretString> = new_password("password").optional(),
    }
    example { "login": "ada@example.org", "password": "correct horse battery staple" }
}

request_object! {
    /// Proves that the login name of a sign-up is one's own.
    #[derive(Debug)]
    pub struct Verify as "VerifySignUp" {
        /// The token that its owner was sent.
        token: SecretString = mailed_token("token").required(),
        /// The password of the new account: not one of the most common ones.
        password: SecretString = new_password("password").required(),
    }
    example {
        "token": "8b1f1dc0d1a84b0e9f3c4b7a6e5d2c108b1f1dc0d1a84b0e9f3c4b7a6e5d2c10",
        "password": "correct horse battery staple",
    }
}

request_object! {
    /// Requests a token for a new password.
    #[derive(Debug)]
    pub struct ForgotPassword as "ForgotPassword" {
        /// The login name.
        login: Option<LoginName> = login_name("login").required(),
    }
    example { "login": "ada@example.org" }
}

request_object! {
    /// Sets a new password.
    #[derive(Debug)]
    pub struct ResetPassword as "ResetPassword" {
        /// The token that the owner of the login name was sent.
        token: SecretString = mailed_token("token").required(),
        /// The new password: not one of the most common ones.
        new: SecretString = new_password("newPassword").required(),
    }
    example {
        "token": "8b1f1dc0d1a84b0e9f3c4b7a6e5d2c108b1f1dc0d1a84b0e9f3c4b7a6e5d2c10",
        "newPassword": "incorrect mule battery clip",
    }
}

view! {
    /// A sign-up.
    pub struct SignedUpView as "SignedUp" {
        /// The login name.
        login: String,
        /// Id of the account, and of the user in participations; null until the login name is verified.
        #[oai(nullable)]
        user_id: Option<i64>,
    }
}

/// 201 with an account, 202 without.
struct SigningUpResult(SignedUpView);

impl IntoResponse for SigningUpResult {
    fn into_response(self) -> Response {
        let status = match self.0.user_id {
            Some(_) => StatusCode::CREATED,
            None => StatusCode::ACCEPTED,
        };
        Uncached(self.0)
            .into_response()
            .with_status(status)
            .into_response()
    }
}

responses!(SigningUpResult: [
    json_response::<SignedUpView>(201, "There is an account now: log in.", Vec::new()),
    json_response::<SignedUpView>(
        202,
        "The owner of the login name gets a token, unless there is an account with it.",
        Vec::new()
    ),
], SignedUpView);

/// An empty response.
struct EmptyResponse(StatusCode);

impl IntoResponse for EmptyResponse {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

responses!(EmptyResponse: [no_content("Done.", Vec::new())]);

/// Signing up.
pub struct SignUpApi;

#[OpenApi(tag = "Section::Sessions")]
impl SignUpApi {
    /// Sign up.
    ///
    /// With `accounts.sign_up=open` there is an account at once. With `verified` its owner gets a token, and the response
    /// does not tell whether the login name is taken.
    #[oai(path = "/api/accounts", method = "post", operation_id = "signUp")]
    async fn sign_up(
        &self,
        app: AppRef<'_>,
        request: &Request,
        body: JsonRequest<SignUp>,
    ) -> Result<SigningUpResult, Failure<SigningUp>> {
        let accounts = own_site(&app, request)?;
        let login = body.0.login.ok_or_else(Problem::internal)?;
        let by = origin(&Actor::Nobody, request);
        let signed_up = accounts.sign_up(login.clone(), body.0.password, by).await;
        let signed_up = signed_up.inspect_err(|error| report_failure(request, error))?;
        let user_id = match signed_up {
            SignedUp::Account(account) => {
                note(request, SecurityEvent::SignedUp, account.id);
                Some(account.id.0)
            }
            SignedUp::TokenSent => None,
        };
        let login = login.to_string();
        Ok(SigningUpResult(SignedUpView { login, user_id }))
    }

    /// Verify a login name, which ends the sign-up.
    ///
    /// Creates the account with this password. Whoever has the token sets it, because somebody else may have signed up with
    /// this login name.
    #[oai(
        path = "/api/accounts/verify",
        method = "post",
        operation_id = "verifySignUp"
    )]
    async fn verify(
        &self,
        app: AppRef<'_>,
        request: &Request,
        body: JsonRequest<Verify>,
    ) -> Result<SigningUpResult, Failure<Verifying>> {
        let accounts = own_site(&app, request)?;
        let by = origin(&Actor::Nobody, request);
        let Verify { token, password } = body.0;
        let account = accounts.verify(token.expose_secret(), &password, by).await;
        let account = account.inspect_err(|error| report_failure(request, error))?;
        note(request, SecurityEvent::SignedUp, account.id);
        Ok(SigningUpResult(SignedUpView {
            login: account.login.to_string(),
            user_id: Some(account.id.0),
        }))
    }

    /// Request a token for a new password.
    ///
    /// If there is an account with this login name, its owner gets one. The response does not tell.
    #[oai(
        path = "/api/session/forgot-password",
        method = "post",
        operation_id = "forgotPassword"
    )]
    async fn forgot_password(
        &self,
        app: AppRef<'_>,
        request: &Request,
        body: JsonRequest<ForgotPassword>,
    ) -> Result<EmptyResponse, Failure<Resetting>> {
        let accounts = own_site(&app, request)?;
        let login = body.0.login.ok_or_else(Problem::internal)?;
        let address = origin(&Actor::Nobody, request).address;
        let requested = accounts.forgot_password(login, address).await;
        requested.inspect_err(|error| report_failure(request, error))?;
        Ok(EmptyResponse(StatusCode::NO_CONTENT))
    }

    /// Set a new password with a token.
    ///
    /// Ends all sessions and remembered log-ins of the account. One-time codes stay enabled.
    #[oai(
        path = "/api/session/reset-password",
        method = "post",
        operation_id = "resetPassword"
    )]
    async fn reset_password(
        &self,
        app: AppRef<'_>,
        request: &Request,
        body: JsonRequest<ResetPassword>,
    ) -> Result<EmptyResponse, Failure<Resetting>> {
        let accounts = own_site(&app, request)?;
        let ResetPassword { token, new } = body.0;
        let by = origin(&Actor::Nobody, request);
        let account = accounts
            .reset_password(token.expose_secret(), &new, by)
            .await;
        let account = account.inspect_err(|error| report_failure(request, error))?;
        note(request, SecurityEvent::PasswordChanged, account.id);
        Ok(EmptyResponse(StatusCode::NO_CONTENT))
    }
}

/// The accounts, for a request that does not come from another site.
fn own_site<'a>(app: &'a App, request: &Request) -> Result<&'a Accounts, Problem> {
    let (accounts, _) = sessions_of(&app.settings.auth)?;
    let allowed = &app.settings.http.cors_origins;
    csrf::not_foreign(request.headers(), allowed)
        .inspect_err(|_| report_csrf(accounts, request))?;
    Ok(accounts)
}

fn note(request: &Request, event: SecurityEvent, account: UserId) {
    report(request, event, |_| Detail {
        actor: Some(Actor::Account(account).to_string()),
        ..Detail::default()
    });
}
