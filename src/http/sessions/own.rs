//! One's own account: the password, and the sessions.

use poem_openapi::Enum;
use poem_openapi::param::Header;
use secrecy::SecretString;
use serde::Serialize;

use super::responses::{LoggedIn, LoggedOut, Uncached};
use super::{remembered, report_csrf, report_failure, sessions_of};
use crate::access::accounts::{Accounts, PasswordChange, RememberToken, SessionToken};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{Actor, Origin, Timestamp, UserId};
use crate::http::auth::{LOGGED_OUT, SessionCookie};
use crate::http::cookies::Cookies;
use crate::http::operation::{
    AppRef, Failure, JsonRequest, OpenApi, Page, Path, Problem, Request, Section, documented, list,
    request_object, view,
};
use crate::http::request_context::{origin, report};
use crate::http::{App, csrf};
use crate::parts::gate::{Digest, Listed, Login};

documented! {
    Reading: [SESSIONS] {
        401 => "Not logged in (UNAUTHENTICATED).",
    }
    Ending: [OWN_SESSION] {
        404 => "The account has no such session, or the service has no sessions (NOT_FOUND).",
    }
    ChangingPassword: [BODY, OWN_SESSION] {
        401 => "Not logged in (UNAUTHENTICATED), or the current password is wrong (LOGIN_REFUSED).",
        429 => "Too many passwords were wrong, were tried, or are in verification, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
}

request_object! {
    /// Changes one's password.
    for PasswordChange as "ChangePassword" {
        /// The current password.
        current = password("currentPassword").required(),
        /// The new password: not one of the most common ones.
        new = new_password("newPassword").required(),
    }
    example {
        "currentPassword": "correct horse battery staple",
        "newPassword": "incorrect mule battery clip",
    }
}

request_object! {
    /// Deletes one's account.
    #[derive(Debug)]
    pub struct DeleteAccount as "DeleteAccount" {
        /// The current password.
        current: SecretString = password("currentPassword").required(),
    }
    example { "currentPassword": "correct horse battery staple" }
}

/// The kind of a log-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
pub enum OwnSessionKind {
    /// A session.
    Session,
    /// A remembered log-in, which opens sessions.
    Remembered,
}

view! {
    /// A log-in of the account.
    pub struct OwnSession as "OwnSession" {
        /// Identifies it, and is no credential.
        id: String,
        /// Its kind.
        kind: OwnSessionKind,
        /// Whether it is the one of this request.
        current: bool,
        /// When it began; null for a remembered log-in.
        #[oai(nullable)]
        created_at: Option<Timestamp>,
        /// When it was last used, approximately.
        last_used_at: Timestamp,
        /// When it ends at the latest.
        expires_at: Timestamp,
        /// The address of the log-in; null for a remembered one.
        #[oai(nullable)]
        address: Option<String>,
    }
}

list! {
    /// The log-ins of the account; there is one page.
    OwnSessionList as "OwnSessionList": OwnSession, "Most recently used first."
}

/// A request with a session, checked against CSRF.
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
        let (accounts, cookies) = sessions_of(&app.settings.auth)?;
        let nobody = || Problem::unauthenticated(LOGGED_OUT);
        let token = cookie.0.ok_or_else(nobody)?;
        let session = accounts.session(&token).await?.ok_or_else(nobody)?;
        let allowed = &app.settings.http.cors_origins;
        csrf::check(request.method(), request.headers(), &token, allowed)
            .inspect_err(|_| report_csrf(accounts, request))?;
        Ok(Self {
            accounts,
            cookies,
            remembered: remembered(request.headers(), cookies)?,
            token,
            user: session.user,
        })
    }

    pub fn origin(&self, request: &Request) -> Origin {
        origin(&Actor::Account(self.user), request)
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
    /// Needs the current one, and no one-time code, because the log-in needed one. Ends all sessions and remembered
    /// log-ins of the account; the response sets the cookie of a new session.
    #[oai(
        path = "/api/session/password",
        method = "post",
        operation_id = "changePassword"
    )]
    async fn change_password(
        &self,
        app: AppRef<'_>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
        body: JsonRequest<PasswordChange>,
    ) -> Result<LoggedIn, Failure<ChangingPassword>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let changed = signed_in
            .accounts
            .change_password(signed_in.user, &body.0, signed_in.origin(request))
            .await;
        let entered = changed.inspect_err(|error| report_failure(request, error))?;
        signed_in.note(request, SecurityEvent::PasswordChanged);
        Ok(LoggedIn::new(&entered, signed_in.cookies, app.clock.now()))
    }

    /// Delete one's account.
    ///
    /// Needs the current password. Ends all sessions and remembered log-ins, and clears the cookies. Participations and
    /// rewards stay, under the number of the account, which no other account gets.
    #[oai(
        path = "/api/session/delete-account",
        method = "post",
        operation_id = "deleteAccount"
    )]
    async fn delete_account(
        &self,
        app: AppRef<'_>,
        request: &Request,
        cookie: SessionCookie,
        /// The `csrfToken` of the session.
        #[oai(name = "X-CSRF-Token")]
        _token: Header<Option<String>>,
        body: JsonRequest<DeleteAccount>,
    ) -> Result<LoggedOut, Failure<ChangingPassword>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let by = signed_in.origin(request);
        let deleted = signed_in
            .accounts
            .delete_own(signed_in.user, &body.0.current, by)
            .await;
        deleted.inspect_err(|error| report_failure(request, error))?;
        signed_in.note(request, SecurityEvent::AccountDeleted);
        Ok(LoggedOut::new(signed_in.cookies))
    }

    /// List one's sessions and remembered log-ins.
    ///
    /// The most recently used comes first, and the one of this request is marked.
    #[oai(path = "/api/sessions", method = "get", operation_id = "listSessions")]
    async fn list(
        &self,
        app: AppRef<'_>,
        request: &Request,
        cookie: SessionCookie,
    ) -> Result<Uncached<OwnSessionList>, Failure<Reading>> {
        let signed_in = SignedIn::by(&app, request, cookie).await?;
        let mut listed = signed_in.accounts.logins(signed_in.user).await?;
        listed.sort_by_key(|listed| std::cmp::Reverse(listed.used_at));
        let page = Page {
            items: listed,
            next_cursor: None,
        };
        Ok(Uncached(OwnSessionList::of(page, |listed| {
            signed_in.view(listed)
        })))
    }

    /// End all sessions and remembered log-ins except those of this request.
    ///
    /// The response has the number of those that ended.
    #[oai(
        path = "/api/sessions",
        method = "delete",
        operation_id = "endOtherSessions"
    )]
    async fn end_others(
        &self,
        app: AppRef<'_>,
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
    ///
    /// Its requests get 401 from then on.
    #[oai(
        path = "/api/sessions/:id",
        method = "delete",
        operation_id = "endSession"
    )]
    async fn end(
        &self,
        app: AppRef<'_>,
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

view! {
    /// How many sessions and remembered log-ins ended.
    pub struct Ended as "EndedSessions" {
        /// How many.
        ended: u64,
    }
}
