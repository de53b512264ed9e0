//! The audit log for admins: who did what, newest first.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_json::Value;

use crate::access::identity::AuditRead;
use crate::domain::{AuditAction, CampaignId, Instant};
use crate::http::auth::Admin;
use crate::http::json::Written;
use crate::http::page::{Page, page_cursor, page_limit};
use crate::http::problem::{Failure, Problem, documented};
use crate::http::{App, Section};
use crate::parts::store::{AuditEntry, AuditFilter};

documented! {
    /// Problems of reading the audit log.
    Auditing {
        401 => "No or no valid admin token (UNAUTHENTICATED).",
        403 => "The token lacks the scope (MISSING_SCOPE), a user is asking (FORBIDDEN), or the admin API is closed (ADMIN_CLOSED).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// What an admin did.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "AuditEntry", rename_all = "camelCase")]
struct AuditEntryView {
    /// Its number: later entries have larger ones.
    id: i64,
    /// When it was done.
    at: Instant,
    /// Who did it: `admin-token` (or `admin-token:previous`), `account:NUMBER`, `jwt:SUBJECT` or `command-line`.
    actor: String,
    /// What: `campaign.create`, `campaign.change`, `campaign.open`, …
    action: String,
    /// To which campaign, or to something of it; null: to none.
    #[oai(nullable)]
    campaign_id: Option<i64>,
    /// Id of what it was done to, where that is not the campaign itself.
    #[oai(nullable)]
    subject: Option<String>,
    /// The fields that changed, as they were; null: there was nothing.
    #[oai(nullable)]
    before: Option<Value>,
    /// The same fields as they became.
    #[oai(nullable)]
    after: Option<Value>,
    /// The `x-request-id` of the request; null: it was done on the command line.
    #[oai(nullable)]
    request_id: Option<String>,
    /// The address it came from: behind `http.trusted_proxies`, the one they name.
    #[oai(nullable)]
    address: Option<String>,
}

impl From<AuditEntry> for AuditEntryView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at,
            actor: entry.actor,
            action: entry.action,
            campaign_id: entry.campaign_id.map(|campaign| campaign.0),
            subject: entry.subject,
            before: entry.before,
            after: entry.after,
            request_id: entry.request_id,
            address: entry.address,
        }
    }
}

/// A page of the audit log.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "AuditList", rename_all = "camelCase")]
struct AuditList {
    /// Newest first.
    items: Vec<AuditEntryView>,
    /// Asks for the next page; null: this is the last.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

/// The audit log.
pub struct AdminAuditApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminAuditApi {
    /// Look at what admins did, newest first.
    #[oai(path = "/api/admin/audit", method = "get", operation_id = "listAudit")]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each parameter of the query"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<AuditRead>,
        /// Only what was done to this campaign, or to something of it.
        #[oai(name = "campaignId")]
        campaign: Query<Option<i64>>,
        /// Only what this one did.
        actor: Query<Option<String>>,
        /// Only this, such as `campaign.change`.
        action: Query<Option<String>>,
        /// Only what was done at this time or later.
        from: Query<Option<Instant>>,
        /// Only what was done before this time.
        to: Query<Option<Instant>>,
        /// Entries on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Written<AuditList>, Failure<Auditing>> {
        let limit = page_limit(limit.0);
        let filter = AuditFilter {
            campaign_id: campaign.0.map(CampaignId),
            actor: actor.0,
            action: action.0.as_deref().map(known).transpose()?,
            from: from.0,
            to: to.0,
            after: page_cursor(cursor.0.as_deref())?,
        };
        let rows_max = u32::try_from(limit.fetch()).unwrap_or(u32::MAX);
        let found = app.store.audit_entries(&filter, rows_max).await?;
        let page = Page::cut(found, limit, |last| last.id.to_string());
        Ok(Written(AuditList {
            items: page.items.into_iter().map(AuditEntryView::from).collect(),
            next_cursor: page.next_cursor,
        }))
    }
}

/// A misspelt action would find nothing, which looks like an answer.
fn known(action: &str) -> Result<AuditAction, Problem> {
    let found = AuditAction::parse(action);
    found.ok_or_else(|| {
        let problem = format!("must be one of {}", AuditAction::WORDS.join(", "));
        Problem::invalid_field("action", problem)
    })
}
