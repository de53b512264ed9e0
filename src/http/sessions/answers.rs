//! What those are answered who log in or out. None of it is for a cache to keep.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Enum, Object};
use serde::Serialize;

use crate::access::accounts::{Account, Entered, SessionToken, TotpState};
use crate::access::identity::Scopes;
use crate::domain::Instant;
use crate::http::cookies::Cookies;
use crate::http::json::Written;

/// How an account is with one-time codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "TotpState", rename_all = "snake_case")]
enum TotpWord {
    /// A log-in needs none.
    Disabled,
    /// A log-in needs one.
    Enabled,
    /// The account has none, and its sessions have no scopes until it has.
    Required,
}

impl From<TotpState> for TotpWord {
    fn from(state: TotpState) -> Self {
        match state {
            TotpState::Disabled => Self::Disabled,
            TotpState::Enabled => Self::Enabled,
            TotpState::Required => Self::Required,
        }
    }
}

/// Somebody who is logged in.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Session", rename_all = "camelCase")]
pub struct SessionView {
    /// Who: the number of the account, and the user of participations.
    user_id: i64,
    /// What they log in as.
    login: String,
    /// What they may do as an admin in this session.
    scopes: Vec<String>,
    /// How the account is with one-time codes.
    totp: TotpWord,
    /// What requests that change something show in `X-CSRF-Token`.
    csrf_token: String,
    /// When the session is over at the latest; when nobody asks by it, earlier.
    expires_at: Instant,
}

impl SessionView {
    /// Tells of a session.
    pub fn new(
        account: &Account,
        (scopes, totp): (Scopes, TotpState),
        token: &SessionToken,
        expires_at: Instant,
    ) -> Self {
        Self {
            user_id: account.id.0,
            login: account.login.to_string(),
            scopes: scopes.words().into_iter().map(str::to_owned).collect(),
            totp: totp.into(),
            csrf_token: token.csrf(),
            expires_at,
        }
    }
}

/// What somebody is told of their account. It is theirs alone.
pub struct Uncached<T>(pub T);

impl<T: Serialize + Send> IntoResponse for Uncached<T>
where
    Written<T>: IntoResponse,
{
    fn into_response(self) -> Response {
        uncached(Written(self.0).into_response(), Vec::new())
    }
}

impl<T: Type> ApiResponse for Uncached<T>
where
    Written<T>: Payload,
{
    fn meta() -> MetaResponses {
        documented::<T>(200, "As it is.", Vec::new())
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// A session there is from now on.
pub struct LoggedIn {
    view: SessionView,
    cookies: Vec<HeaderValue>,
}

impl LoggedIn {
    /// Sets the cookies of somebody who has just logged in.
    pub fn new(entered: &Entered, cookies: Cookies, now: Instant) -> Self {
        let Entered {
            account,
            token,
            ends_at,
            remembered,
            scopes,
            totp,
            code: _,
        } = entered;
        let session = cookies.set(cookies.session(), &token.reveal(), None);
        let remembered = remembered.as_ref().and_then(|remembered| {
            let age = (remembered.ends_at - now).to_std().unwrap_or_default();
            cookies.set(cookies.remembered(), &remembered.token.reveal(), Some(age))
        });
        Self {
            view: SessionView::new(account, (*scopes, *totp), token, *ends_at),
            cookies: session.into_iter().chain(remembered).collect(),
        }
    }

    /// For an answer that has more in it: what there is to tell, and the cookies.
    pub fn into_parts(self) -> (SessionView, Vec<HeaderValue>) {
        (self.view, self.cookies)
    }
}

impl IntoResponse for LoggedIn {
    fn into_response(self) -> Response {
        let mut response = uncached(Written(self.view).into_response(), self.cookies);
        response.set_status(StatusCode::CREATED);
        response
    }
}

impl ApiResponse for LoggedIn {
    fn meta() -> MetaResponses {
        documented::<SessionView>(201, "Logged in.", vec![set_cookie()])
    }

    fn register(registry: &mut Registry) {
        SessionView::register(registry);
    }
}

/// Nobody is logged in any more.
pub struct LoggedOut {
    cookies: Vec<HeaderValue>,
}

impl LoggedOut {
    /// Takes both cookies away.
    pub fn new(cookies: Cookies) -> Self {
        let names = [cookies.session(), cookies.remembered()];
        Self {
            cookies: names
                .iter()
                .filter_map(|name| cookies.clear(name))
                .collect(),
        }
    }
}

impl IntoResponse for LoggedOut {
    fn into_response(self) -> Response {
        uncached(StatusCode::NO_CONTENT.into_response(), self.cookies)
    }
}

impl ApiResponse for LoggedOut {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Nobody is logged in any more.",
                status: Some(204),
                status_range: None,
                content: Vec::new(),
                headers: vec![set_cookie()],
            }],
        }
    }

    fn register(_registry: &mut Registry) {}
}

pub fn uncached(mut response: Response, cookies: Vec<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

pub fn documented<T: Type>(
    status: u16,
    description: &'static str,
    headers: Vec<MetaHeader>,
) -> MetaResponses
where
    Written<T>: Payload,
{
    MetaResponses {
        responses: vec![MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: Written::<T>::CONTENT_TYPE,
                schema: Written::<T>::schema_ref(),
            }],
            headers,
        }],
    }
}

pub fn set_cookie() -> MetaHeader {
    MetaHeader {
        name: "Set-Cookie".to_owned(),
        description: Some("The cookies of the session and of the remembered log-in.".to_owned()),
        required: false,
        deprecated: false,
        schema: String::schema_ref(),
    }
}
