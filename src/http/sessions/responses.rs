//! The responses to logging in and out. No cache stores them.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::MetaHeader;
use poem_openapi::types::Type;
use serde::Serialize;

use crate::access::accounts::{Account, LoginSuccess, SessionToken, TotpState};
use crate::access::identity::Scopes;
use crate::domain::Timestamp;
use crate::http::cookies::Cookies;
use crate::http::json::{Json, header_of, json_response, no_content, responses};
use crate::http::views::view;
use crate::http::words::{Word, vocabulary};

vocabulary!(
    TotpState,
    "TotpState",
    "The state of an account's one-time codes: `required` means that it has none and that its sessions have no scopes \
     until it has.",
    Disabled = "disabled",
    Enabled = "enabled",
    Required = "required"
);

view! {
    /// The current session.
    pub struct SessionView as "Session"
    of(
        account: &Account,
        scopes: Scopes,
        totp: TotpState,
        token: &SessionToken,
        expires_at: Timestamp
    ) {
        /// Id of the account, and of the user in participations.
        user_id: i64 = account.id.0,
        /// The login name.
        login: String = account.login.to_string(),
        /// The scopes of the session.
        scopes: Vec<String> = scopes.words().into_iter().map(str::to_owned).collect(),
        /// The state of the account's one-time codes.
        totp: Word<TotpState> = totp.into(),
        /// Goes into `X-CSRF-Token` of every request that changes something.
        csrf_token: String = token.csrf(),
        /// When the session ends at the latest; it ends earlier when it is idle.
        expires_at: Timestamp = expires_at,
    }
}

/// A response that no cache stores.
pub struct Uncached<T>(pub T);

impl<T: Serialize + Send> IntoResponse for Uncached<T> {
    fn into_response(self) -> Response {
        uncached(Json(self.0).into_response(), Vec::new())
    }
}

responses!(where [T: Type] Uncached<T>: [json_response::<T>(200, "Done.", Vec::new())], T);

/// A view that the response to a log-in has.
pub trait LogInView: Serialize + Type + Send {
    /// Description of the response.
    const DESCRIPTION: &'static str;
}

impl LogInView for SessionView {
    const DESCRIPTION: &'static str = "Logged in.";
}

/// A new session: its view, and the cookies that it sets.
pub struct LoggedIn<T = SessionView> {
    view: T,
    cookies: Vec<HeaderValue>,
}

impl LoggedIn {
    /// The cookies of a new log-in.
    pub fn new(login: &LoginSuccess, cookies: Cookies, now: Timestamp) -> Self {
        let LoginSuccess {
            account,
            token,
            ends_at,
            remembered,
            scopes,
            totp,
            code: _,
        } = login;
        let session = cookies.set(cookies.session(), &token.reveal(), None);
        let remembered = remembered.as_ref().and_then(|remembered| {
            let age = (remembered.ends_at - now).to_std().unwrap_or_default();
            cookies.set(cookies.remembered(), &remembered.token.reveal(), Some(age))
        });
        Self {
            view: SessionView::of(account, *scopes, *totp, token, *ends_at),
            cookies: session.into_iter().chain(remembered).collect(),
        }
    }

    /// The same session in a larger view.
    pub fn map<T: LogInView>(self, view: impl FnOnce(SessionView) -> T) -> LoggedIn<T> {
        LoggedIn {
            view: view(self.view),
            cookies: self.cookies,
        }
    }
}

impl<T: LogInView> IntoResponse for LoggedIn<T> {
    fn into_response(self) -> Response {
        let mut response = uncached(Json(self.view).into_response(), self.cookies);
        response.set_status(StatusCode::CREATED);
        response
    }
}

responses!(
    where [T: LogInView]
    LoggedIn<T>: [json_response::<T>(201, T::DESCRIPTION, vec![set_cookie()])], T
);

/// The end of a session. Both cookies are cleared.
pub struct LoggedOut {
    cookies: Vec<HeaderValue>,
}

impl LoggedOut {
    /// Clears both cookies.
    pub fn new(cookies: Cookies) -> Self {
        let names = [cookies.session(), cookies.remembered()];
        let cleared = names.iter().filter_map(|name| cookies.clear(name));
        Self {
            cookies: cleared.collect(),
        }
    }
}

impl IntoResponse for LoggedOut {
    fn into_response(self) -> Response {
        uncached(StatusCode::NO_CONTENT.into_response(), self.cookies)
    }
}

responses!(LoggedOut: [no_content("Logged out.", vec![set_cookie()])]);

fn uncached(mut response: Response, cookies: Vec<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

fn set_cookie() -> MetaHeader {
    header_of(
        "Set-Cookie",
        "The cookies of the session and of the remembered log-in.",
    )
}
