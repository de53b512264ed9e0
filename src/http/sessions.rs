//! Logging in, who is logged in, going on with a remembered log-in, and logging out.

mod answers;
mod own;
mod totp;

use std::sync::Arc;

use poem::Request;
use poem::http::{HeaderMap, header};
use poem::web::Data;
use poem_openapi::param::Header;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use secrecy::{ExposeSecret, SecretString};

use self::answers::{LoggedIn, LoggedOut, SessionView, Uncached};
pub use self::own::OwnAccountApi;
pub use self::totp::OwnTotpApi;
use super::auth::{LOGGED_OUT, SessionCookie, report};
use super::cookies::{Cookies, cookie};
use super::csrf;
use super::fields::{Fields, FromFields};
use super::json::{Checked, RequestBodySchema};
use super::origin::address;
use super::problem::{Failure, Problem, documented, unauthenticated};
use super::settings::Auth;
use super::{App, Section};
use crate::access::accounts::{
    AccountError, Accounts, CodeUsed, Credentials, PASSWORD_CHARACTERS, RememberToken,
    SessionToken, Stay,
};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::Actor;

/// Characters of a login name and of a password that are looked at. What is too short to be one is wrong, and
/// not told from what is wrong otherwise.
const LOGIN: std::ops::RangeInclusive<usize> = 1..=64;
/// Characters of a one-time code, and of a recovery code with separators.
const CODE: std::ops::RangeInclusive<usize> = 6..=32;
const PASSWORD: std::ops::RangeInclusive<usize> = 1..=*PASSWORD_CHARACTERS.end();

documented! {
    /// Problems of logging in.
    LoggingIn {
        400 => "The body is not JSON (MALFORMED).",
        401 => "The login or the password is wrong, or the account is disabled (LOGIN_REFUSED); the password is right, and a one-time code is missing (CODE_REQUIRED), wrong or used (CODE_REFUSED).",
        403 => "The request comes from another site (CSRF).",
        404 => "Nobody logs in here: auth.mode is another (NOT_FOUND).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
        429 => "Too many log-ins failed before, were tried, or are in progress, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
    /// Problems of going on with a remembered log-in.
    Resuming {
        401 => "There is no such log-in, or it is over, or its token was used before: then all sessions of the account end (NOT_REMEMBERED).",
        403 => "The request comes from another site (CSRF).",
        404 => "Nobody logs in here: auth.mode is another (NOT_FOUND).",
        409 => "Another request resumed it a moment ago, and has the new cookies (JUST_USED).",
        429 => "Too many log-ins failed before from this address, see Retry-After (RATE_LIMITED).",
    }
    /// Problems of asking who is logged in.
    Looking {
        401 => "Nobody is (UNAUTHENTICATED).",
        404 => "Nobody logs in here: auth.mode is another (NOT_FOUND).",
    }
    /// Problems of logging out.
    LoggingOut {
        401 => "A cookie is there twice (UNAUTHENTICATED).",
        403 => "X-CSRF-Token is not the csrfToken of the session, or the request comes from another site (CSRF).",
        404 => "Nobody logs in here: auth.mode is another (NOT_FOUND).",
    }
}

/// Logs in.
#[derive(Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct LogIn {
    /// The login name, in whatever case.
    #[oai(validator(min_length = 1, max_length = 64))]
    login: String,
    /// The password.
    #[oai(validator(min_length = 1, max_length = 128))]
    password: String,
    /// Whether the log-in is remembered when its session is over; false when left out.
    remember_me: Option<bool>,
    /// A one-time code, or a recovery code, where the account has them enabled.
    #[oai(validator(min_length = 6, max_length = 32))]
    code: Option<String>,
}

impl Example for LogIn {
    fn example() -> Self {
        Self {
            login: "ada@example.org".to_owned(),
            password: "correct horse battery staple".to_owned(),
            remember_me: Some(true),
            code: None,
        }
    }
}

impl RequestBodySchema for LogIn {
    type Read = Asked;
}

/// What somebody logs in with, read.
#[derive(Debug)]
pub struct Asked {
    login: String,
    password: SecretString,
    code: Option<SecretString>,
    stay: Stay,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields) -> Self {
        let login = fields.text("login", &LOGIN);
        let password = fields.text("password", &PASSWORD);
        let stays = fields.flag("rememberMe");
        let code = fields.text("code", &CODE);
        Self {
            login: fields.required("login", login),
            password: fields.required("password", password).into(),
            code: fields.not_null("code", code).map(SecretString::from),
            stay: match fields.not_null("rememberMe", stays) {
                Some(true) => Stay::Remembered,
                Some(false) | None => Stay::Forgotten,
            },
        }
    }
}

/// Sessions.
pub struct SessionsApi;

#[OpenApi(tag = "Section::Sessions")]
impl SessionsApi {
    /// Log in.
    ///
    /// Sets the cookie of a new session, which says from then on who is asking. What changes something also
    /// takes `csrfToken` in `X-CSRF-Token`. With `rememberMe` a second cookie goes on with the log-in when
    /// its session is over. Where the account has one-time codes enabled, `code` is needed, too.
    #[oai(path = "/api/session", method = "post", operation_id = "logIn")]
    async fn log_in(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        body: Checked<LogIn>,
    ) -> Result<LoggedIn, Failure<LoggingIn>> {
        let (accounts, cookies) = here(&app.settings.auth)?;
        let headers = request.headers();
        csrf::not_foreign(headers).inspect_err(|_| forged(accounts, request))?;
        let asked = body.0;
        let shown = Credentials {
            login: &asked.login,
            password: &asked.password,
            code: asked.code.as_ref().map(ExposeSecret::expose_secret),
            address: address(request, &app.settings.proxies),
        };
        let entered = accounts.log_in(&shown, asked.stay).await;
        let entered = entered.inspect_err(|error| failed(request, error))?;
        if entered.code == CodeUsed::Recovery {
            report(request, SecurityEvent::RecoveryCodeUsed, |_| Detail {
                actor: Some(Actor::Account(entered.account.id).to_string()),
                ..Detail::default()
            });
        }
        end_the_one_before(accounts, headers, cookies).await;
        Ok(LoggedIn::new(&entered, cookies, app.clock.now()))
    }

    /// Go on with a remembered log-in.
    ///
    /// The cookie of a remembered log-in is good once: the answer sets a new one beside that of a new
    /// session. When it is shown a second time somebody has a copy, and all sessions of the account end.
    #[oai(
        path = "/api/session/resume",
        method = "post",
        operation_id = "resumeSession"
    )]
    async fn resume(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
    ) -> Result<LoggedIn, Failure<Resuming>> {
        let (accounts, cookies) = here(&app.settings.auth)?;
        let headers = request.headers();
        csrf::not_foreign(headers).inspect_err(|_| forged(accounts, request))?;
        let shown = remembered(headers, cookies)?;
        let from = address(request, &app.settings.proxies);
        let entered = match &shown {
            Some(shown) => accounts.resume(shown, from).await,
            None => Err(AccountError::NotRemembered),
        };
        if let (Err(AccountError::Stolen), Some(shown)) = (&entered, &shown) {
            report(request, SecurityEvent::RememberedLoginReused, |_| Detail {
                subject: Some(Actor::Account(shown.account()).to_string()),
                ..Detail::default()
            });
        }
        match entered {
            Ok(entered) => {
                end_the_one_before(accounts, headers, cookies).await;
                Ok(LoggedIn::new(&entered, cookies, app.clock.now()))
            }
            Err(error) => {
                failed(request, &error);
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

    /// Who is logged in.
    #[oai(path = "/api/session", method = "get", operation_id = "getSession")]
    async fn session(
        &self,
        app: Data<&Arc<App>>,
        cookie: SessionCookie,
    ) -> Result<Uncached<SessionView>, Failure<Looking>> {
        let (accounts, _) = here(&app.settings.auth)?;
        let nobody = || unauthenticated(LOGGED_OUT);
        let token = cookie.0.ok_or_else(nobody)?;
        let session = accounts.session(&token).await?.ok_or_else(nobody)?;
        let account = match accounts.find(session.user).await {
            Err(AccountError::Unknown) => return Err(nobody().into()),
            found => found?,
        };
        let totp = accounts.totp_state(&account);
        let view = SessionView::new(&account, (session.scopes, totp), &token, session.ends_at);
        Ok(Uncached(view))
    }

    /// Log out.
    ///
    /// Ends the session, and the remembered log-in whose cookie is shown. Where nobody is logged in any more
    /// the answer is the same.
    #[oai(path = "/api/session", method = "delete", operation_id = "logOut")]
    async fn log_out(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session; needed while it is not over.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
    ) -> Result<LoggedOut, Failure<LoggingOut>> {
        let (accounts, cookies) = here(&app.settings.auth)?;
        let headers = request.headers();
        let checked = match &cookie.0 {
            Some(token) if accounts.session(token).await?.is_some() => {
                csrf::check(request.method(), headers, token)
            }
            _ => csrf::not_foreign(headers),
        };
        checked.inspect_err(|_| forged(accounts, request))?;
        let remembered = remembered(headers, cookies)?;
        accounts
            .log_out(cookie.0.as_ref(), remembered.as_ref())
            .await?;
        Ok(LoggedOut::new(cookies))
    }
}

/// Writes down that a log-in failed, or was not looked at.
fn failed(request: &Request, error: &AccountError) {
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

/// A request was refused that may come from another site.
fn forged(accounts: &Accounts, request: &Request) {
    accounts.metrics().forged();
    report(request, SecurityEvent::CsrfRefused, |_| Detail::default());
}

/// Where people log in here.
pub(super) fn here(auth: &Auth) -> Result<(&Accounts, Cookies), Problem> {
    match auth {
        Auth::Sessions(accounts, cookies) => Ok((accounts, *cookies)),
        Auth::Trusted | Auth::Jwt(_) => Err(Problem::not_found(
            "Nobody logs in here: auth.mode is not sessions.",
        )),
    }
}

fn remembered(headers: &HeaderMap, cookies: Cookies) -> Result<Option<RememberToken>, Problem> {
    let value = cookie(headers, cookies.remembered())?;
    Ok(value.and_then(RememberToken::parse))
}

/// The session whose cookie is replaced would be nobody's. If that fails it ends by itself.
async fn end_the_one_before(accounts: &Accounts, headers: &HeaderMap, cookies: Cookies) {
    let before = cookie(headers, cookies.session()).ok().flatten();
    let before = before.and_then(SessionToken::parse);
    if let Err(error) = accounts.log_out(before.as_ref(), None).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "the session before is left to end by itself"
        );
    }
}
