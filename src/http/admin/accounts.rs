//! Accounts for admins. The hash of a password is never shown.

use crate::access::accounts::{Account, Change, Manager, scopes_of};
use crate::access::identity::{AccountManage, PiiRead, Scope, Scopes};
use crate::domain::{Timestamp, UserId};
use crate::http::admin::account_requests::AccountDraft;
use crate::http::operation::{
    Admin, AppRef, Created, Failure, Json, JsonRequest, OpenApi, Page, Path, Query, Read, Request,
    Resource, Section, documented, list, page_cursor, page_limit, reads, view,
};

documented! {
    Managing: [BODY, ADMIN] {
        403 => "The credentials lack the scope (MISSING_SCOPE), they are a user's, or the account has or would have scopes that the admin lacks (FORBIDDEN); the admin API is closed (ADMIN_CLOSED); or a session request lacks its CSRF token (CSRF).",
        404 => "There is no such account (NOT_FOUND).",
        409 => "Another account has this login name (LOGIN_TAKEN).",
        422 => "A value is not acceptable, or the password is one's own (INVALID).",
    }
}

view! {
    /// An account.
    pub struct AccountView as "Account"
    of(account: &Account, viewer: Scopes) {
        /// Its id, also that of the user in participations.
        id: i64 = account.id.0,
        /// The login name; null without the scope `pii:read`.
        #[oai(nullable)]
        login: Option<String> = viewer
            .has(Scope::PiiRead)
            .then(|| account.login.to_string()),
        /// Its scopes as an admin.
        scopes: Vec<String> = words(scopes_of(account)),
        /// Whether it cannot be used to log in.
        disabled: bool,
        /// Whether a log-in needs a one-time code.
        totp: bool = account.has_totp(),
        /// When it was created.
        created_at: Timestamp,
    }
}

list! {
    /// A page of accounts.
    AccountList as "AccountList": AccountView, "Newest first."
}

impl Resource for AccountView {
    const LOCATION: &'static str = "Path of the account.";

    fn path(&self) -> String {
        format!("/api/admin/accounts/{}", self.id)
    }
}

pub struct AdminAccountsApi;

#[OpenApi(prefix_path = "/api/admin/accounts", tag = "Section::AdminAccounts")]
impl AdminAccountsApi {
    /// Create an account for log-ins with `auth.mode=sessions`.
    ///
    /// An admin can only give it scopes of their own.
    #[oai(path = "/", method = "post", operation_id = "createAccount")]
    async fn create(
        &self,
        app: AppRef<'_>,
        admin: Admin<AccountManage>,
        body: JsonRequest<AccountDraft>,
    ) -> Result<Created<AccountView>, Failure<Managing>> {
        let manager = manager(&admin);
        let created = app.accounts.create(&body.0.account()?, &manager).await?;
        Ok(Created(AccountView::of(&created, admin.scopes())))
    }

    /// List accounts, newest first.
    ///
    /// Needs `pii:read` and `account:manage`, and leaves an entry in the audit log.
    #[oai(path = "/", method = "get", operation_id = "listAccounts")]
    async fn list(
        &self,
        app: AppRef<'_>,
        admin: Admin<(AccountManage, PiiRead)>,
        request: &Request,
        /// Accounts on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<AccountList>, Failure<Managing>> {
        let limit = page_limit(limit.0);
        let after = page_cursor(cursor.0.as_deref())?.map(UserId);
        let found = app.accounts.list(after, limit.fetch()).await?;
        reads::record(&app, request, admin.origin(), Read::Accounts).await?;
        let page = Page::cut(found, limit, |last| last.id.to_string());
        let view = |account| AccountView::of(&account, admin.scopes());
        Ok(Json(AccountList::of(page, view)))
    }

    /// Get an account.
    ///
    /// Needs `pii:read` and `account:manage`, and leaves an entry in the audit log.
    #[oai(path = "/:id", method = "get", operation_id = "getAccount")]
    async fn account(
        &self,
        app: AppRef<'_>,
        admin: Admin<(AccountManage, PiiRead)>,
        request: &Request,
        /// Id of the account.
        id: Path<i64>,
    ) -> Result<Json<AccountView>, Failure<Managing>> {
        let account = app.accounts.find(UserId(id.0)).await?;
        reads::record(&app, request, admin.origin(), Read::Account(account.id)).await?;
        Ok(Json(AccountView::of(&account, admin.scopes())))
    }

    /// Change an account's password or scopes, disable it, enable it, or reset its one-time codes.
    ///
    /// Ends its sessions and its remembered log-ins. An admin cannot change an account with scopes that the admin lacks,
    /// nor the password of their own account: use `POST /api/session/password`.
    #[oai(path = "/:id", method = "patch", operation_id = "changeAccount")]
    async fn change(
        &self,
        app: AppRef<'_>,
        admin: Admin<AccountManage>,
        /// Id of the account.
        id: Path<i64>,
        body: JsonRequest<Change>,
    ) -> Result<Json<AccountView>, Failure<Managing>> {
        let manager = manager(&admin);
        let changed = app.accounts.change(UserId(id.0), &body.0, &manager).await?;
        Ok(Json(AccountView::of(&changed, admin.scopes())))
    }
}

fn words(scopes: Scopes) -> Vec<String> {
    scopes.words().into_iter().map(str::to_owned).collect()
}

fn manager(admin: &Admin<AccountManage>) -> Manager {
    Manager {
        by: admin.origin(),
        scopes: admin.scopes(),
    }
}
