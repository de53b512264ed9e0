//! Accounts for admins: made, looked at and changed. What is kept of a password is never shown.

use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use poem::web::Data;
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use crate::access::accounts::{Account, Manager, scopes_of};
use crate::access::identity::{AccountManage, PiiRead, Scope, Scopes};
use crate::domain::{Instant, UserId};
use crate::http::admin::account_requests::{ChangeAccount, CreateAccount};
use crate::http::auth::Admin;
use crate::http::json::{Checked, Written};
use crate::http::origin::origin;
use crate::http::page::{Page, page_cursor, page_limit};
use crate::http::problem::{Failure, documented};
use crate::http::reads::{self, Read};
use crate::http::{App, Section};

documented! {
    /// Problems of managing accounts.
    Managing {
        400 => "The body is not JSON (MALFORMED).",
        401 => "No or no valid token (UNAUTHENTICATED, INVALID_TOKEN).",
        403 => "The scope is missing (MISSING_SCOPE), a user is asking, the account has or would have scopes that the admin has not (FORBIDDEN), the admin API is closed (ADMIN_CLOSED), or the request is not shown to come from the session's own pages (CSRF).",
        404 => "There is no such account (NOT_FOUND).",
        409 => "Another account has this login name (LOGIN_TAKEN).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted, or the password is one's own (INVALID).",
    }
}

/// An account.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Account", rename_all = "camelCase")]
pub struct AccountView {
    /// Its number, and the user of participations.
    id: i64,
    /// What they log in as; null without the scope `pii:read`.
    #[oai(nullable)]
    login: Option<String>,
    /// What it may do as an admin.
    scopes: Vec<String>,
    /// Whether nobody may log in by it.
    disabled: bool,
    /// Whether a log-in needs a one-time code.
    totp: bool,
    /// When it was made.
    created_at: Instant,
}

impl AccountView {
    /// An account as somebody with these scopes sees it.
    fn seen_with(held: Scopes, account: &Account) -> Self {
        let scopes = scopes_of(account).words();
        let login = held.has(Scope::PiiRead).then(|| account.login.to_string());
        Self {
            id: account.id.0,
            login,
            scopes: scopes.into_iter().map(str::to_owned).collect(),
            disabled: account.disabled,
            totp: account.has_totp(),
            created_at: account.created_at,
        }
    }
}

/// A page of accounts.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "AccountList", rename_all = "camelCase")]
struct AccountList {
    /// Newest first.
    items: Vec<AccountView>,
    /// Asks for the next page; null: this is the last.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

/// An account that was made.
pub struct Made(AccountView);

impl IntoResponse for Made {
    fn into_response(self) -> Response {
        let location = format!("/api/admin/accounts/{}", self.0.id);
        let mut response = Written(self.0).into_response();
        response.set_status(StatusCode::CREATED);
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl ApiResponse for Made {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Made.",
                status: Some(201),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: Written::<AccountView>::CONTENT_TYPE,
                    schema: Written::<AccountView>::schema_ref(),
                }],
                headers: vec![MetaHeader {
                    name: "Location".to_owned(),
                    description: Some("Where the account is.".to_owned()),
                    required: false,
                    deprecated: false,
                    schema: String::schema_ref(),
                }],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        AccountView::register(registry);
    }
}

/// Accounts for admins.
pub struct AdminAccountsApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminAccountsApi {
    /// Make an account, to log in by where `auth.mode` is `sessions`.
    ///
    /// Nobody gives it scopes that they do not have themselves.
    #[oai(
        path = "/api/admin/accounts",
        method = "post",
        operation_id = "createAccount"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<AccountManage>,
        request: &Request,
        body: Checked<CreateAccount>,
    ) -> Result<Made, Failure<Managing>> {
        let manager = manager(&admin, request);
        let made = app.accounts.create(&body.0.wanted()?, &manager).await?;
        Ok(Made(AccountView::seen_with(admin.scopes(), &made)))
    }

    /// List accounts, newest first.
    ///
    /// Takes `pii:read` beside `account:manage`, and leaves an entry in the audit log.
    #[oai(
        path = "/api/admin/accounts",
        method = "get",
        operation_id = "listAccounts"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<(AccountManage, PiiRead)>,
        request: &Request,
        /// Accounts on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Written<AccountList>, Failure<Managing>> {
        let limit = page_limit(limit.0);
        let after = page_cursor(cursor.0.as_deref())?.map(UserId);
        let found = app.accounts.list(after, limit.fetch()).await?;
        let by = origin(admin.actor(), request);
        reads::record(&app, request, by, Read::Accounts).await?;
        let page = Page::cut(found, limit, |last| last.id.to_string());
        let seen = |account: &Account| AccountView::seen_with(admin.scopes(), account);
        Ok(Written(AccountList {
            items: page.items.iter().map(seen).collect(),
            next_cursor: page.next_cursor,
        }))
    }

    /// Look at an account.
    ///
    /// Takes `pii:read` beside `account:manage`, and leaves an entry in the audit log.
    #[oai(
        path = "/api/admin/accounts/:id",
        method = "get",
        operation_id = "getAccount"
    )]
    async fn account(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<(AccountManage, PiiRead)>,
        request: &Request,
        /// Number of the account.
        id: Path<i64>,
    ) -> Result<Written<AccountView>, Failure<Managing>> {
        let account = app.accounts.find(UserId(id.0)).await?;
        let by = origin(admin.actor(), request);
        reads::record(&app, request, by, Read::Account(account.id)).await?;
        Ok(Written(AccountView::seen_with(admin.scopes(), &account)))
    }

    /// Change an account's password or scopes, disable it, enable it, or reset its one-time codes.
    ///
    /// Ends its sessions and its remembered log-ins. Nobody changes an account that has scopes that they do
    /// not have themselves, and nobody the password of their own account, which `POST /api/session/password` does.
    #[oai(
        path = "/api/admin/accounts/:id",
        method = "patch",
        operation_id = "changeAccount"
    )]
    async fn change(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<AccountManage>,
        request: &Request,
        /// Number of the account.
        id: Path<i64>,
        body: Checked<ChangeAccount>,
    ) -> Result<Written<AccountView>, Failure<Managing>> {
        let manager = manager(&admin, request);
        let changed = app.accounts.change(UserId(id.0), &body.0, &manager).await?;
        Ok(Written(AccountView::seen_with(admin.scopes(), &changed)))
    }
}

fn manager(admin: &Admin<AccountManage>, request: &Request) -> Manager {
    Manager {
        by: origin(admin.actor(), request),
        scopes: admin.scopes(),
    }
}
