//! Logging in and out, the current session, and resuming a remembered log-in.

mod log_in;
mod own;
mod responses;
mod sign_up;
mod totp;

use poem::http::{HeaderMap, header};
use poem_openapi::param::Header;
use secrecy::ExposeSecret;

pub use self::log_in::LogIn;
pub use self::own::OwnAccountApi;
use self::responses::{LoggedIn, LoggedOut, SessionView, Uncached};
pub use self::sign_up::SignUpApi;
pub use self::totp::OwnTotpApi;
use super::auth::{LOGGED_OUT, SessionCookie};
use super::client_address::client_address;
use super::cookies::{Cookies, cookie};
use super::csrf;
use super::request_context::report;
use super::settings::Auth;
use crate::access::accounts::{
    AccountError, Accounts, CodeUsed, Credentials, RememberMe, RememberToken, SessionToken,
};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::Actor;
use crate::http::operation::{
    AppRef, Failure, JsonRequest, OpenApi, Problem, Request, Section, documented,
};
use crate::runtime::telemetry::cause;

documented! {
    LoggingIn: [BODY, SESSIONS] {
        401 => "The login or the password is wrong, or the account is disabled (LOGIN_REFUSED); the password is correct, and a one-time code is missing (CODE_REQUIRED), wrong or used (CODE_REFUSED).",
        403 => "The request comes from another site (CSRF).",
        429 => "Too many log-ins failed, were tried, or are in progress, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
    Resuming: [SESSIONS] {
        401 => "There is no such log-in, it is over, or its token was used before, which ends all sessions of the account (NOT_REMEMBERED).",
        403 => "The request comes from another site (CSRF).",
        409 => "Another request has just resumed it, and has the new cookies (JUST_USED).",
        429 => "Too many log-ins from this address failed, see Retry-After (RATE_LIMITED).",
    }
    Reading: [SESSIONS] {
        401 => "Not logged in (UNAUTHENTICATED).",
    }
    LoggingOut: [OWN_SESSION] {
        401 => "A cookie is sent twice (UNAUTHENTICATED).",
    }
}

pub struct SessionsApi;

#[OpenApi(tag = "Section::Sessions")]
impl SessionsApi {
    /// Log in.
    ///
    /// Sets the cookie of a new session, which authenticates further requests. A request that changes something also
    /// needs `csrfToken` in `X-CSRF-Token`. With `rememberMe` a second cookie resumes the log-in when its session is
    /// over. If the account has one-time codes enabled, `code` is needed as well.
    #[oai(path = "/api/session", method = "post", operation_id = "logIn")]
    async fn log_in(
        &self,
        app: AppRef<'_>,
        request: &Request,
        body: JsonRequest<LogIn>,
    ) -> Result<LoggedIn, Failure<LoggingIn>> {
        let (accounts, cookies) = sessions_of(&app.settings.auth)?;
        let headers = request.headers();
        let allowed = &app.settings.http.cors_origins;
        csrf::not_foreign(headers, allowed).inspect_err(|_| report_csrf(accounts, request))?;
        let body = body.0;
        let stay = if body.is_remembered {
            RememberMe::Yes
        } else {
            RememberMe::No
        };
        let credentials = Credentials {
            login: &body.login,
            password: &body.password,
            code: body.code.as_ref().map(ExposeSecret::expose_secret),
            address: client_address(request, &app.settings.http.trusted_proxies),
        };
        let entered = accounts.log_in(&credentials, stay).await;
        let entered = entered.inspect_err(|error| report_failure(request, error))?;
        if entered.code == CodeUsed::Recovery {
            report(request, SecurityEvent::RecoveryCodeUsed, |_| Detail {
                actor: Some(Actor::Account(entered.account.id).to_string()),
                ..Detail::default()
            });
        }
        end_previous_session(accounts, headers, cookies).await;
        Ok(LoggedIn::new(&entered, cookies, app.clock.now()))
    }

    /// Resume a remembered log-in.
    ///
    /// The cookie of a remembered log-in is valid once: the response sets a new one and that of a new session. If it
    /// is sent a second time, somebody has a copy, and all sessions of the account end.
    #[oai(
        path = "/api/session/resume",
        method = "post",
        operation_id = "resumeSession"
    )]
    async fn resume(
        &self,
        app: AppRef<'_>,
        request: &Request,
    ) -> Result<LoggedIn, Failure<Resuming>> {
        let (accounts, cookies) = sessions_of(&app.settings.auth)?;
        let headers = request.headers();
        let allowed = &app.settings.http.cors_origins;
        csrf::not_foreign(headers, allowed).inspect_err(|_| report_csrf(accounts, request))?;
        let token = remembered(headers, cookies)?;
        let from = client_address(request, &app.settings.http.trusted_proxies);
        let entered = match &token {
            Some(token) => accounts.resume(token, from).await,
            None => Err(AccountError::NotRemembered),
        };
        if let (Err(AccountError::Stolen), Some(token)) = (&entered, &token) {
            report(request, SecurityEvent::RememberedLoginReused, |_| Detail {
                subject: Some(Actor::Account(token.account()).to_string()),
                ..Detail::default()
            });
        }
        match entered {
            Ok(entered) => {
                end_previous_session(accounts, headers, cookies).await;
                Ok(LoggedIn::new(&entered, cookies, app.clock.now()))
            }
            Err(error) => {
                report_failure(request, &error);
                let is_over = matches!(error, AccountError::NotRemembered | AccountError::Stolen);
                let problem = Problem::from(error);
                Err(match cookies.clear(cookies.remembered()) {
                    Some(cleared) if is_over => problem.with_header(header::SET_COOKIE, cleared),
                    _ => problem,
                }
                .into())
            }
        }
    }

    /// Get the current session.
    ///
    /// Returns the `csrfToken` that requests with this session need in `X-CSRF-Token`.
    #[oai(path = "/api/session", method = "get", operation_id = "getSession")]
    async fn session(
        &self,
        app: AppRef<'_>,
        cookie: SessionCookie,
    ) -> Result<Uncached<SessionView>, Failure<Reading>> {
        let (accounts, _) = sessions_of(&app.settings.auth)?;
        let nobody = || Problem::unauthenticated(LOGGED_OUT);
        let token = cookie.0.ok_or_else(nobody)?;
        let session = accounts.session(&token).await?.ok_or_else(nobody)?;
        let account = match accounts.find(session.user).await {
            Err(AccountError::Unknown) => return Err(nobody().into()),
            found => found?,
        };
        let totp = accounts.totp_state(&account);
        let view = SessionView::of(&account, session.scopes, totp, &token, session.ends_at);
        Ok(Uncached(view))
    }

    /// Log out.
    ///
    /// Ends the session, and the remembered log-in of the cookie. If nobody is logged in any more, the response is the
    /// same.
    #[oai(path = "/api/session", method = "delete", operation_id = "logOut")]
    async fn log_out(
        &self,
        app: AppRef<'_>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session; needed until it is over.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
    ) -> Result<LoggedOut, Failure<LoggingOut>> {
        let (accounts, cookies) = sessions_of(&app.settings.auth)?;
        let headers = request.headers();
        let allowed = &app.settings.http.cors_origins;
        let checked = match &cookie.0 {
            Some(token) if accounts.session(token).await?.is_some() => {
                csrf::check(request.method(), headers, token, allowed)
            }
            _ => csrf::not_foreign(headers, allowed),
        };
        checked.inspect_err(|_| report_csrf(accounts, request))?;
        let remembered = remembered(headers, cookies)?;
        accounts
            .log_out(cookie.0.as_ref(), remembered.as_ref())
            .await?;
        Ok(LoggedOut::new(cookies))
    }
}

/// Reports a log-in that failed or was throttled.
fn report_failure(request: &Request, error: &AccountError) {
    match error {
        AccountError::Refused(account) => report(request, SecurityEvent::LoginFailed, |_| Detail {
            subject: account.map(|account| Actor::Account(account).to_string()),
            ..Detail::default()
        }),
        AccountError::CodeRefused(account) => {
            report(request, SecurityEvent::LoginFailed, |_| Detail {
                reason: Some("code"),
                subject: Some(Actor::Account(*account).to_string()),
                ..Detail::default()
            });
        }
        AccountError::Throttled(_, limit) => {
            report(request, SecurityEvent::LoginThrottled, |_| Detail {
                reason: Some(limit),
                ..Detail::default()
            });
        }
        _ => {}
    }
}

/// Reports a request that may come from another site.
fn report_csrf(accounts: &Accounts, request: &Request) {
    accounts.metrics().forged();
    report(request, SecurityEvent::CsrfRefused, |_| Detail::default());
}

/// The accounts and cookies of `auth.mode=sessions`.
pub(super) fn sessions_of(auth: &Auth) -> Result<(&Accounts, Cookies), Problem> {
    match auth {
        Auth::Sessions(accounts, cookies) => Ok((accounts, *cookies)),
        Auth::Trusted | Auth::Jwt(_) => Err(Problem::not_found(
            "The service has no sessions: auth.mode is not sessions.",
        )),
    }
}

fn remembered(headers: &HeaderMap, cookies: Cookies) -> Result<Option<RememberToken>, Problem> {
    let value = cookie(headers, cookies.remembered())?;
    Ok(value.and_then(RememberToken::parse))
}

/// Ends the session whose cookie is replaced. If that fails, the session expires.
async fn end_previous_session(accounts: &Accounts, headers: &HeaderMap, cookies: Cookies) {
    let before = cookie(headers, cookies.session()).ok().flatten();
    let before = before.and_then(SessionToken::parse);
    if let Err(error) = accounts.log_out(before.as_ref(), None).await {
        tracing::debug!(
            error = cause(&error),
            "the previous session is left to expire"
        );
    }
}
