//! The audit log: the actions of admins, newest first.

use serde_json::Value;

use crate::access::identity::AuditRead;
use crate::domain::{AuditAction, CampaignId, Timestamp};
use crate::http::operation::{
    Admin, AppRef, Failure, Json, OpenApi, Page, Problem, Query, Section, documented, list,
    page_cursor, page_limit, view,
};
use crate::parts::store::{AuditEntry, AuditFilter};

documented! {
    Auditing: [ADMIN, PARAMETERS] {}
}

view! {
    /// An action of an admin.
    pub struct AuditEntryView as "AuditEntry" from entry: AuditEntry {
        /// Its id: later entries have larger ones.
        id: i64,
        /// When it happened.
        at: Timestamp,
        /// The actor: `admin-token` (or `admin-token:previous`), `account:NUMBER`, `jwt:SUBJECT` or `command-line`.
        actor: String,
        /// The action: `campaign.create`, `campaign.change`, `campaign.open`, …
        action: String,
        /// The campaign that it concerns; null: none.
        #[oai(nullable)]
        campaign_id: Option<i64> = entry.campaign_id.map(|campaign| campaign.0),
        /// Id of its object, if that is not the campaign itself.
        #[oai(nullable)]
        subject: Option<String>,
        /// The changed fields before; null: there was nothing.
        #[oai(nullable)]
        before: Option<Value>,
        /// The same fields after.
        #[oai(nullable)]
        after: Option<Value>,
        /// The `x-request-id` of the request; null: it came from the command line.
        #[oai(nullable)]
        request_id: Option<String>,
        /// The address of the client: behind `http.trusted_proxies`, the one that they name.
        #[oai(nullable)]
        address: Option<String>,
    }
}

list! {
    /// A page of the audit log.
    AuditList as "AuditList": AuditEntryView, "Newest first."
}

/// The audit log.
pub struct AdminAuditApi;

#[OpenApi(tag = "Section::Operations")]
impl AdminAuditApi {
    /// List the actions of admins, newest first.
    ///
    /// Filters can be combined. An entry has the actor, the object, and the changed fields before and after.
    #[oai(path = "/api/admin/audit", method = "get", operation_id = "listAudit")]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each parameter of the query"
    )]
    async fn list(
        &self,
        app: AppRef<'_>,
        _admin: Admin<AuditRead>,
        /// Only actions on this campaign.
        #[oai(name = "campaignId")]
        campaign: Query<Option<i64>>,
        /// Only actions of this actor.
        actor: Query<Option<String>>,
        /// Only this action, such as `campaign.change`.
        action: Query<Option<String>>,
        /// Only actions at this time or later.
        from: Query<Option<Timestamp>>,
        /// Only actions before this time.
        to: Query<Option<Timestamp>>,
        /// Entries on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<AuditList>, Failure<Auditing>> {
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
        Ok(Json(AuditList::of(page, AuditEntryView::from)))
    }
}

/// An unknown action is rejected: an empty page would look like a result.
fn known(action: &str) -> Result<AuditAction, Problem> {
    let found = AuditAction::parse(action);
    found.ok_or_else(|| {
        let problem = format!("must be one of {}", AuditAction::WORDS.join(", "));
        Problem::invalid_field("action", problem)
    })
}
