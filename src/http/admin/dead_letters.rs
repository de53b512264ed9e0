//! Dead letters for admins: events the relay has given up. Listed, looked into, replayed, discarded.

use std::sync::Arc;

use poem::Request;
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use crate::access::identity::{DeadletterReplay, Scope};
use crate::domain::{CampaignId, EventId, Instant, Origin};
use crate::http::auth::Admin;
use crate::http::fields::{Fields, FromFields, INTEGER_MAX};
use crate::http::json::{Checked, RequestBodySchema, Written};
use crate::http::origin::origin;
use crate::http::page::{Page, page_cursor, page_limit};
use crate::http::problem::{Failure, Problem, documented};
use crate::http::reads::{self, Read};
use crate::http::{App, Section};
use crate::parts::store::{DeadLetter, DeadLetterFilter};

/// Dead letters that one request moves: this many when nothing is said, and at most.
const MOVED_DEFAULT: u32 = 100;
const MOVED_MAX: u32 = 1_000;

documented! {
    /// Problems of handling dead letters.
    Handling {
        400 => "The body is not JSON (MALFORMED).",
        401 => "No or no valid token (UNAUTHENTICATED, INVALID_TOKEN).",
        403 => "The token lacks the scope (MISSING_SCOPE), a user is asking (FORBIDDEN), or the admin API is closed (ADMIN_CLOSED).",
        404 => "There is no such dead letter (NOT_FOUND).",
        409 => "The event named is no dead letter, or none any more (NOT_DEAD).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// An event the relay has given up.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "DeadLetter", rename_all = "camelCase")]
struct DeadLetterView {
    /// Id of the event, its `ce_id`.
    event_id: Uuid,
    /// Number of the campaign.
    campaign_id: i64,
    /// Key of the record; null in lists, and without the scope `pii:read`.
    #[oai(nullable)]
    key: Option<String>,
    /// `ce_type` of the record.
    event_type: String,
    /// Value of the record; null in lists, and without the scope `pii:read`.
    #[oai(nullable)]
    payload: Option<String>,
    /// Attempts made.
    attempts: u32,
    /// Class of the last failure.
    error_class: String,
    /// The last failure.
    error: String,
    /// When it was given up.
    parked_at: Instant,
    /// When its copy reached the dead letter topic; null: not yet.
    #[oai(nullable)]
    copied_at: Option<Instant>,
}

impl DeadLetterView {
    /// With its record, which says who took part.
    fn with_record(letter: DeadLetter) -> Self {
        Self {
            key: Some(letter.key.clone()),
            payload: Some(letter.payload.clone()),
            ..Self::without_record(letter)
        }
    }

    /// Without it.
    fn without_record(letter: DeadLetter) -> Self {
        Self {
            event_id: letter.event_id.0,
            campaign_id: letter.campaign_id.0,
            key: None,
            event_type: letter.event_type,
            payload: None,
            attempts: letter.attempts,
            error_class: letter.error_class,
            error: letter.error,
            parked_at: letter.parked_at,
            copied_at: letter.copied_at,
        }
    }
}

/// Dead letters, in order of event.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "DeadLetterList", rename_all = "camelCase")]
struct DeadLetterList {
    /// The dead letters of this page.
    items: Vec<DeadLetterView>,
    /// Asks for the next page; null: this is the last.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

/// Says which dead letters are meant: at least one of `eventId`, `campaignId`, `key`, `from` and `until`, or `all`.
#[derive(Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct DeadLetterSelection {
    /// This one alone.
    event_id: Option<Uuid>,
    /// Those of this campaign.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    campaign_id: Option<u64>,
    /// Those with this key.
    #[oai(validator(min_length = 1, max_length = 64))]
    key: Option<String>,
    /// Those given up at this time or later.
    from: Option<Instant>,
    /// Those given up before this time.
    until: Option<Instant>,
    /// `true`: every one. Only where nothing else says which.
    all: Option<bool>,
    /// At most so many; 100 when left out.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    limit: Option<u32>,
    /// Only says how many there are; nothing is changed.
    dry_run: Option<bool>,
}

impl Example for DeadLetterSelection {
    fn example() -> Self {
        Self {
            event_id: None,
            campaign_id: Some(1),
            key: None,
            from: None,
            until: None,
            all: None,
            limit: Some(100),
            dry_run: Some(true),
        }
    }
}

impl RequestBodySchema for DeadLetterSelection {
    type Read = Selection;
}

/// Which dead letters are meant, read.
#[derive(Debug, Default)]
pub struct Selection {
    filter: DeadLetterFilter,
    limit: u32,
    dry_run: bool,
}

impl FromFields for Selection {
    fn from_fields(fields: &mut Fields) -> Self {
        let event = fields.id("eventId");
        let campaign = fields.integer("campaignId", &(1..=INTEGER_MAX));
        let key = fields.text("key", &(1..=64));
        let from = fields.instant("from");
        let until = fields.instant("until");
        let limit = fields.integer32("limit", 1..=MOVED_MAX);
        let dry_run = fields.flag("dryRun");
        let all = fields.flag("all");
        let campaign = fields.not_null("campaignId", campaign);
        let filter = DeadLetterFilter {
            event_id: fields.not_null("eventId", event).map(EventId),
            campaign_id: campaign
                .and_then(|id| i64::try_from(id).ok())
                .map(CampaignId),
            key: fields.not_null("key", key),
            from: fields.not_null("from", from),
            until: fields.not_null("until", until),
            after: None,
        };
        let all = fields.not_null("all", all).unwrap_or(false);
        match (all, filter == DeadLetterFilter::default()) {
            (false, true) => fields.wrong_if_sound(
                "all",
                "must be true where nothing else says which dead letters are meant",
            ),
            (true, false) => fields.wrong_if_sound(
                "all",
                "must not be true where something else says which dead letters are meant",
            ),
            (true, true) | (false, false) => {}
        }
        Self {
            filter,
            limit: fields.not_null("limit", limit).unwrap_or(MOVED_DEFAULT),
            dry_run: fields.not_null("dryRun", dry_run).unwrap_or(false),
        }
    }
}

/// What became of the dead letters that were meant.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "DeadLettersMoved", rename_all = "camelCase")]
struct MovedView {
    /// How many were meant, up to the limit.
    matched: u64,
    /// How many were changed; 0 in a dry run.
    changed: u64,
    /// Whether it was a dry run.
    dry_run: bool,
}

/// What is done with dead letters.
#[derive(Clone, Copy)]
enum Move {
    Replay,
    Discard,
}

type Moved = Result<Written<MovedView>, Failure<Handling>>;

/// Dead letters for admins.
pub struct AdminDeadLettersApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminDeadLettersApi {
    /// List dead letters, in order of event, without their records.
    #[oai(
        path = "/api/admin/dead-letters",
        method = "get",
        operation_id = "listDeadLetters"
    )]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each parameter of the query"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<DeadletterReplay>,
        /// Only those of this campaign.
        #[oai(name = "campaignId")]
        campaign: Query<Option<i64>>,
        /// Only those with this key.
        key: Query<Option<String>>,
        /// Only those given up at this time or later.
        from: Query<Option<Instant>>,
        /// Only those given up before this time.
        until: Query<Option<Instant>>,
        /// Dead letters on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Written<DeadLetterList>, Failure<Handling>> {
        let limit = page_limit(limit.0);
        let after = page_cursor(cursor.0.as_deref())?.map(EventId);
        let filter = DeadLetterFilter {
            event_id: None,
            campaign_id: campaign.0.map(CampaignId),
            key: key.0,
            from: from.0,
            until: until.0,
            after,
        };
        let rows_max = u32::try_from(limit.fetch()).unwrap_or(u32::MAX);
        let found = app.store.dead_letters(&filter, rows_max).await?;
        let page = Page::cut(found, limit, |last| last.event_id.to_string());
        Ok(Written(DeadLetterList {
            items: page
                .items
                .into_iter()
                .map(DeadLetterView::without_record)
                .collect(),
            next_cursor: page.next_cursor,
        }))
    }

    /// Look into a dead letter.
    ///
    /// Its record says who took part: it is shown with the scope `pii:read`, and leaves an entry in the audit log.
    #[oai(
        path = "/api/admin/dead-letters/:id",
        method = "get",
        operation_id = "getDeadLetter"
    )]
    async fn one(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<DeadletterReplay>,
        request: &Request,
        /// Id of the event.
        id: Path<Uuid>,
    ) -> Result<Written<DeadLetterView>, Failure<Handling>> {
        let letter = app.store.dead_letter(EventId(id.0)).await?;
        let letter = letter.ok_or_else(|| Problem::not_found("There is no such dead letter."))?;
        if !admin.scopes().has(Scope::PiiRead) {
            return Ok(Written(DeadLetterView::without_record(letter)));
        }
        let by = origin(admin.actor(), request);
        let read = Read::DeadLetter(letter.event_id, letter.campaign_id);
        reads::record(&app, request, by, read).await?;
        Ok(Written(DeadLetterView::with_record(letter)))
    }

    /// Publish dead letters again.
    ///
    /// They become pending, and the relay tries them afresh. At most 1,000 in one request, so that a
    /// replay does not crowd out what is new; ask again for the rest.
    #[oai(
        path = "/api/admin/dead-letters/replay",
        method = "post",
        operation_id = "replayDeadLetters"
    )]
    async fn replay(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<DeadletterReplay>,
        request: &Request,
        body: Checked<DeadLetterSelection>,
    ) -> Moved {
        let by = origin(admin.actor(), request);
        carry_out(&app, body.0, Move::Replay, &by).await
    }

    /// Discard dead letters.
    ///
    /// They are never published. The rows stay as a record, in the state `discarded`.
    #[oai(
        path = "/api/admin/dead-letters/discard",
        method = "post",
        operation_id = "discardDeadLetters"
    )]
    async fn discard(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<DeadletterReplay>,
        request: &Request,
        body: Checked<DeadLetterSelection>,
    ) -> Moved {
        let by = origin(admin.actor(), request);
        carry_out(&app, body.0, Move::Discard, &by).await
    }
}

async fn carry_out(app: &App, selection: Selection, action: Move, by: &Origin) -> Moved {
    let found = app
        .store
        .dead_letters(&selection.filter, selection.limit)
        .await?;
    if found.is_empty() && selection.filter.event_id.is_some() {
        let problem = Problem::new(
            StatusCode::CONFLICT,
            "NOT_DEAD",
            "Not a dead letter",
            "This event is not a dead letter: it was replayed or discarded, or never was one.",
        );
        return Err(problem.into());
    }
    let ids: Vec<EventId> = found.iter().map(|letter| letter.event_id).collect();
    let (store, by) = (&app.store, Some(by));
    let changed = match (selection.dry_run, action) {
        (true, _) => 0,
        (false, Move::Replay) => store.replay_dead_letters(&ids, by).await?,
        (false, Move::Discard) => store.discard_dead_letters(&ids, by).await?,
    };
    if changed > 0 {
        let action = match action {
            Move::Replay => "replayed",
            Move::Discard => "discarded",
        };
        tracing::info!(rows = changed, action, "dead letters moved");
    }
    Ok(Written(MovedView {
        matched: ids.len() as u64,
        changed,
        dry_run: selection.dry_run,
    }))
}
