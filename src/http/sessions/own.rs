//! What somebody who is logged in does with their account: change the password, look at sessions, end them.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Header, Path};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};
use secrecy::SecretString;
use serde::Serialize;

use super::answers::{LoggedIn, Uncached};
use super::{failed, forged, here, remembered};
use crate::access::accounts::{
    Accounts, COMMON, PASSWORD_CHARACTERS, PasswordChange, RememberToken, SessionToken, is_common,
};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{Actor, Instant, UserId};
use crate::http::auth::{LOGGED_OUT, SessionCookie, report};
use crate::http::cookies::Cookies;
use crate::http::fields::{Fields, FromFields, Said};
use crate::http::json::{Checked, RequestBodySchema};
use crate::http::origin::{address, origin};
use crate::http::problem::{Failure, Problem, documented, unauthenticated};
use crate::http::{App, Section, csrf};
use crate::parts::gate::{Digest, Listed, Login};

documented! {
    /// Problems of looking at one's sessions.
    Looking {
        401 => "Nobody is logged in (UNAUTHENTICATED).",
        404 => "Nobody logs in here: auth.mode is another (NOT_FOUND).",
    }
    /// Problems of ending sessions.
    Ending {
        401 => "Nobody is logged in (UNAUTHENTICATED).",
        403 => "X-CSRF-Token is not the csrfToken of the session, or the request comes from another site (CSRF).",
        404 => "There is no such session of this account, or nobody logs in here (NOT_FOUND).",
    }
    /// Problems of changing one's password.
    ChangingPassword {
        400 => "The body is not JSON (MALFORMED).",
        401 => "Nobody is logged in (UNAUTHENTICATED), or the current password is wrong (LOGIN_REFUSED).",
        403 => "X-CSRF-Token is not the csrfToken of the session, or the request comes from another site (CSRF).",
        404 => "Nobody logs in here: auth.mode is another (NOT_FOUND).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
        429 => "Too many passwords were wrong, were tried, or are being checked, see Retry-After (RATE_LIMITED).",
    }
}

/// Changes one's password.
#[derive(Object)]
#[oai(rename = "ChangePassword", rename_all = "camelCase", example)]
pub struct ChangePasswordRequest {
    /// The password there is.
    #[oai(validator(min_length = 1, max_length = 128))]
    current_password: String,
    /// The one that takes its place; none of the most common ones.
    #[oai(validator(min_length = 12, max_length = 128))]
    new_password: String,
}

impl Example for ChangePasswordRequest {
    fn example() -> Self {
        Self {
            current_password: "correct horse battery staple".to_owned(),
            new_password: "incorrect mule battery clip".to_owned(),
        }
    }
}

impl RequestBodySchema for ChangePasswordRequest {
    type Read = PasswordChange;
}

impl FromFields for PasswordChange {
    fn from_fields(fields: &mut Fields) -> Self {
        let current = fields.text("currentPassword", &super::PASSWORD);
        let new = fields.text("newPassword", &PASSWORD_CHARACTERS);
        if let Said::This(password) = &new
            && is_common(password)
        {
            fields.wrong("newPassword", COMMON);
        }
        Self {
            current: fields.required("currentPassword", current).into(),
            new: SecretString::from(fields.required("newPassword", new)),
        }
    }
}

/// What somebody can be logged in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
enum OwnSessionKind {
    /// A session.
    Session,
    /// A remembered log-in, which opens sessions.
    Remembered,
}

/// Something that somebody is logged in by.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "OwnSession", rename_all = "camelCase")]
struct OwnSession {
    /// Names it, and opens nothing.
    id: String,
    /// What it is.
    kind: OwnSessionKind,
    /// Whether it is the one that asks.
    current: bool,
    /// When it began; null of a remembered log-in.
    #[oai(nullable)]
    created_at: Option<Instant>,
    /// When it was used last, roughly.
    last_used_at: Instant,
    /// When it is over at the latest.
    expires_at: Instant,
    /// Where its owner logged in from; null of a remembered log-in.
    #[oai(nullable)]
    address: Option<String>,
}

/// What somebody is logged in by.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "OwnSessionList", rename_all = "camelCase")]
pub struct OwnSessionList {
    /// The one used last comes first.
    items: Vec<OwnSession>,
    /// There are no more pages.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

/// Somebody who is logged in, and whose request is their own.
pub(super) struct SignedIn<'a> {
    pub accounts: &'a Accounts,
    pub cookies: Cookies,
    token: SessionToken,
    remembered: Option<RememberToken>,
    pub user: UserId,
}

impl<'a> SignedIn<'a> {
    pub async fn by(
        app: &'a App,
        request: &Request,
        cookie: SessionCookie,
    ) -> Result<Self, Problem> {
        let (accounts, cookies) = here(&app.settings.auth)?;
        let nobody = || unauthenticated(LOGGED_OUT);
        let token = cookie.0.ok_or_else(nobody)?;
        let session = accounts.session(&token).await?.ok_or_else(nobody)?;
        csrf::check(request.method(), request.headers(), &token)
            .inspect_err(|_| forged(accounts, request))?;
        Ok(Self {
            accounts,
            cookies,
            remembered: remembered(request.headers(), cookies)?,
            token,
            user: session.user,
        })
    }

    pub fn note(&self, request: &Request, event: SecurityEvent) {
        report(request, event, |_| Detail {
            actor: Some(Actor::Account(self.user).to_string()),
            ..Detail::default()
        });
    }

    fn view(&self, listed: Listed) -> OwnSession {
        let (kind, current) = match listed.login {
            Login::Session(digest) => (OwnSessionKind::Session, digest == self.token.digest()),
            Login::Series(digest) => {
                let own = self.remembered.as_ref().map(RememberToken::series);
                (OwnSessionKind::Remembered, own == Some(digest))
            }
        };
        OwnSession {
            id: listed.login.digest().to_string(),
            kind,
            current,
            created_at: listed.opened_at,
            last_used_at: listed.used_at,
            expires_at: listed.ends_at,
            address: listed.address,
        }
    }
}

/// One's own account.
pub struct OwnAccountApi;

#[OpenApi(tag = "Section::Sessions")]
impl OwnAccountApi {
    /// Change one's password.
    ///
    /// Takes the current one, and no one-time code: the session was opened with one. Ends all sessions and remembered log-ins of the account; the answer sets the
    /// cookie of a new session.
    #[oai(
        path = "/api/session/password",
        method = "post",
        operation_id = "changePassword"
    )]
    async fn change_password(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
        body: Checked<ChangePasswordRequest>,
    ) -> Result<LoggedIn, Failure<ChangingPassword>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let by = origin(&Actor::Account(signed_in.user), request);
        let from = address(request, &app.settings.proxies);
        let changed = signed_in
            .accounts
            .change_password(signed_in.user, &body.0, (by, from))
            .await;
        let entered = changed.inspect_err(|error| failed(request, error))?;
        signed_in.note(request, SecurityEvent::PasswordChanged);
        Ok(LoggedIn::new(&entered, signed_in.cookies, app.clock.now()))
    }

    /// List what one is logged in by: sessions, and remembered log-ins.
    #[oai(path = "/api/sessions", method = "get", operation_id = "listSessions")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        cookie: SessionCookie,
    ) -> Result<Uncached<OwnSessionList>, Failure<Looking>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let mut listed = signed_in.accounts.logins(signed_in.user).await?;
        listed.sort_by_key(|listed| std::cmp::Reverse(listed.used_at));
        let items = listed.into_iter();
        Ok(Uncached(OwnSessionList {
            items: items.map(|listed| signed_in.view(listed)).collect(),
            next_cursor: None,
        }))
    }

    /// End all sessions and remembered log-ins but those whose cookies are shown.
    #[oai(
        path = "/api/sessions",
        method = "delete",
        operation_id = "endOtherSessions"
    )]
    async fn end_others(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
    ) -> Result<Uncached<Ended>, Failure<Ending>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let remembered = signed_in.remembered.as_ref();
        let ended = signed_in
            .accounts
            .end_other_logins(&signed_in.token, remembered)
            .await?;
        signed_in.note(request, SecurityEvent::SessionsEnded);
        Ok(Uncached(Ended { ended }))
    }

    /// End one session, or one remembered log-in.
    #[oai(
        path = "/api/sessions/:id",
        method = "delete",
        operation_id = "endSession"
    )]
    async fn end(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        cookie: SessionCookie,
        /// Its `id` in the list.
        id: Path<String>,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
    ) -> Result<Uncached<Ended>, Failure<Ending>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let unknown = || Problem::not_found("The account has no such session.");
        let id = Digest::parse(&id.0).ok_or_else(unknown)?;
        if !signed_in.accounts.end_login(signed_in.user, id).await? {
            return Err(unknown().into());
        }
        signed_in.note(request, SecurityEvent::SessionsEnded);
        Ok(Uncached(Ended { ended: 1 }))
    }
}

/// How many sessions and remembered log-ins ended.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "EndedSessions")]
pub struct Ended {
    /// How many.
    ended: u64,
}
