//! Dead letters for admins: events that the relay could not publish, and records that a consumer cannot apply. They are listed, read, replayed and discarded.

use uuid::Uuid;

use super::dead_letter_selection::Selection;
use crate::access::identity::{DeadletterReplay, Scope};
use crate::domain::{CampaignId, DeadLetterId, DeadLetterSource, EventId, Origin, Timestamp};
use crate::http::App;
use crate::http::operation::{
    Admin, AppRef, Failure, Json, JsonRequest, OpenApi, Page, Path, Problem, Query, Read, Request,
    Section, Word, documented, kind, list, page_cursor, page_limit, reads, view, vocabulary,
};
use crate::operate::dead_letters::{self, Letter, LetterAction};
use crate::parts::store::DeadLetterFilter;

documented! {
    Handling: [BODY, ADMIN] {
        404 => "There is no such dead letter (NOT_FOUND).",
        409 => "The event is not a dead letter, or not any more (NOT_DEAD).",
    }
}

vocabulary!(
    DeadLetterSource,
    "DeadLetterSource",
    "`relay`: the relay could not publish the event. `consumer:points`, `consumer:coupons`: the consumer cannot apply the \
     record."
);

view! {
    /// An event that the relay could not publish, or a record that a consumer cannot apply.
    pub struct DeadLetterView as "DeadLetter" from letter: Letter {
        /// Id of the event, its `ce_id`; of a record without one, an id made from the record.
        event_id: Uuid = letter.id.event.0,
        /// What gave it up.
        source: Word<DeadLetterSource> = letter.id.source.into(),
        /// Id of the campaign; null: the record of a consumer names none.
        #[oai(nullable)]
        campaign_id: Option<i64> = letter.campaign.map(|campaign| campaign.0),
        /// Key of the record; null in lists, and without the scope `pii:read`.
        #[oai(nullable)]
        key: Option<String> = None,
        /// `ce_type` of the record.
        event_type: String,
        /// Value of the record; null in lists, and without the scope `pii:read`.
        #[oai(nullable)]
        payload: Option<String> = None,
        /// Attempts made.
        attempts: u32,
        /// Class of the last failure.
        error_class: String,
        /// The last failure.
        error: String,
        /// When it was parked.
        parked_at: Timestamp,
        /// When its copy reached the dead letter topic; null: not yet.
        #[oai(nullable)]
        copied_at: Option<Timestamp>,
    }
}

impl DeadLetterView {
    /// With its record, which contains personal data.
    fn with_record(letter: Letter) -> Self {
        Self {
            key: Some(letter.key.clone()),
            payload: Some(letter.payload.clone()),
            ..Self::from(letter)
        }
    }
}

list! {
    /// A page of dead letters.
    DeadLetterList as "DeadLetterList": DeadLetterView, "In order of event and source."
}

view! {
    /// The result for the selected dead letters.
    struct ResultView as "DeadLettersMoved" {
        /// Selected dead letters, up to the limit.
        matched: u64,
        /// Changed dead letters; 0 in a dry run.
        changed: u64,
        /// Whether it was a dry run.
        dry_run: bool,
    }
}

type Outcome = Result<Json<ResultView>, Failure<Handling>>;

pub struct AdminDeadLettersApi;

#[OpenApi(prefix_path = "/api/admin/dead-letters", tag = "Section::DeadLetters")]
impl AdminDeadLettersApi {
    /// List dead letters, in order of event and source, without their records.
    ///
    /// The filter `key` also needs the scope `pii:read`, because a key may be the id of a user, and leaves an entry in
    /// the audit log.
    #[oai(path = "/", method = "get", operation_id = "listDeadLetters")]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each parameter of the query"
    )]
    async fn list(
        &self,
        app: AppRef<'_>,
        admin: Admin<DeadletterReplay>,
        request: &Request,
        /// Only those of the relay, or of this consumer.
        source: Query<Option<Word<DeadLetterSource>>>,
        /// Only those of this campaign.
        #[oai(name = "campaignId")]
        campaign: Query<Option<i64>>,
        /// Only those with this key.
        key: Query<Option<String>>,
        /// Only those parked at this time or later.
        from: Query<Option<Timestamp>>,
        /// Only those parked before this time.
        until: Query<Option<Timestamp>>,
        /// Dead letters on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<DeadLetterList>, Failure<Handling>> {
        let limit = page_limit(limit.0);
        let filter = DeadLetterFilter {
            source: source.0.map(|source| source.0),
            event: None,
            campaign: campaign.0.map(CampaignId),
            key: key.0,
            from: from.0,
            until: until.0,
            after: page_cursor(cursor.0.as_deref())?,
        };
        permit_key(&app, &admin, request, &filter).await?;
        let rows_max = u32::try_from(limit.fetch()).unwrap_or(u32::MAX);
        let found = dead_letters::list(&app.store, &filter, rows_max).await?;
        let page = Page::cut(found, limit, |last| last.id.to_string());
        Ok(Json(DeadLetterList::of(page, DeadLetterView::from)))
    }

    /// Get a dead letter.
    ///
    /// Its record contains personal data: it is included with the scope `pii:read`, which leaves an entry in the audit
    /// log.
    #[oai(path = "/:id", method = "get", operation_id = "getDeadLetter")]
    async fn one(
        &self,
        app: AppRef<'_>,
        admin: Admin<DeadletterReplay>,
        request: &Request,
        /// Id of the event.
        id: Path<Uuid>,
        /// The one of this source; without it the first one of the event.
        source: Query<Option<Word<DeadLetterSource>>>,
    ) -> Result<Json<DeadLetterView>, Failure<Handling>> {
        let source = source.0.map(|source| source.0);
        let letter = dead_letters::one(&app.store, EventId(id.0), source).await?;
        let letter = letter.ok_or_else(|| Problem::not_found("There is no such dead letter."))?;
        if !admin.scopes().has(Scope::PiiRead) {
            return Ok(Json(DeadLetterView::from(letter)));
        }
        let read = Read::DeadLetter(letter.id.event, letter.campaign);
        reads::record(&app, request, admin.origin(), read).await?;
        Ok(Json(DeadLetterView::with_record(letter)))
    }

    /// Replay dead letters.
    ///
    /// Those of the relay are published again. Those of a consumer are applied again by this consumer alone, once for each
    /// event, by a process that runs it; a record that is still wrong becomes a dead letter again. One request replays at most 1,000, so that a replay does not delay new events; repeat
    /// it for the rest.
    #[oai(path = "/replay", method = "post", operation_id = "replayDeadLetters")]
    async fn replay(
        &self,
        app: AppRef<'_>,
        admin: Admin<DeadletterReplay>,
        request: &Request,
        body: JsonRequest<Selection>,
    ) -> Outcome {
        permit_key(&app, &admin, request, &body.0.filter()).await?;
        let by = admin.origin();
        apply(&app, body.0, LetterAction::Replay, &by).await
    }

    /// Discard dead letters.
    ///
    /// They are never published or applied. The rows remain, in the state `discarded`.
    #[oai(
        path = "/discard",
        method = "post",
        operation_id = "discardDeadLetters"
    )]
    async fn discard(
        &self,
        app: AppRef<'_>,
        admin: Admin<DeadletterReplay>,
        request: &Request,
        body: JsonRequest<Selection>,
    ) -> Outcome {
        permit_key(&app, &admin, request, &body.0.filter()).await?;
        let by = admin.origin();
        apply(&app, body.0, LetterAction::Discard, &by).await
    }
}

/// A key may be the id of a user, and the result shows whether it has dead letters. So a selection by key needs
/// `pii:read`, and is recorded.
async fn permit_key(
    app: &App,
    admin: &Admin<DeadletterReplay>,
    request: &Request,
    filter: &DeadLetterFilter,
) -> Result<(), Problem> {
    if filter.key.is_none() {
        return Ok(());
    }
    admin.require_also(Scope::PiiRead, request)?;
    let read = Read::DeadLetters(filter.campaign);
    reads::record(app, request, admin.origin(), read).await
}

async fn apply(app: &App, selection: Selection, action: LetterAction, by: &Origin) -> Outcome {
    let filter = selection.filter();
    let found = dead_letters::list(&app.store, &filter, selection.limit).await?;
    if found.is_empty() && filter.event.is_some() {
        let problem = kind::NOT_DEAD.because("This event is not a dead letter, or not any more.");
        return Err(problem.into());
    }
    let ids: Vec<DeadLetterId> = found.iter().map(|letter| letter.id).collect();
    let changed = if selection.dry_run {
        0
    } else {
        dead_letters::carry_out(&app.store, action, &ids, Some(by)).await?
    };
    if changed > 0 {
        let action = match action {
            LetterAction::Replay => "replayed",
            LetterAction::Discard => "discarded",
        };
        tracing::info!(rows = changed, action, "dead letters changed");
    }
    Ok(Json(ResultView {
        matched: ids.len() as u64,
        changed,
        dry_run: selection.dry_run,
    }))
}
