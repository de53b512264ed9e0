//! Participating in a campaign, and reading participations.

mod accepted;
mod challenge;
mod changes;
mod idempotency;

use std::sync::Arc;
use std::time::Instant;

use poem::web::Data;
use poem::{IntoResponse, Request, Response};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use serde_json::{Value, json};
use uuid::Uuid;

use self::accepted::Accepted;
use self::challenge::ChallengeToken;
pub use self::changes::ChangesApi;
use self::idempotency::IdempotencyKey;
use super::auth::{Caller, Participant, SEE_OTHERS, USER_ID_RANGE, user_id};
use super::fields::{Fields, INTEGER_MAX, RequestObject};
use super::json::{Json, JsonRequest, read_body};
use super::page::{Page, page_cursor, page_limit};
use super::problem::{Failure, Problem, documented};
use super::rate_limits::RateCheck;
use super::reads::{self, Read, by_admin};
use super::request_context::{RequestContext, traceparent};
use super::rewards::with_rewards;
use super::views::{ParticipationList, ParticipationRecord, ParticipationView};
use super::{App, Section};
use crate::access::identity::Scopes;
use crate::domain::{
    AuditAction, AuditNote, CampaignId, Origin, Participation, ParticipationId, Refusal, UserId,
};
use crate::sale::participate::{Outcome, ParticipateError, Replayed};

/// Most units of one request; the limit of a campaign is usually far lower.
pub const QUANTITY_MAX: u32 = 1_000_000;

documented! {
    /// Problems of participating.
    Participating: [BODY] {
        401 => "The user is missing (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
        403 => "userId is not the caller, or the caller is not a user (FORBIDDEN); the user is not on the campaign's allow list (NOT_ALLOWED); or the campaign needs a challenge that is missing or not passed (CHALLENGE_REQUIRED, CHALLENGE_FAILED).",
        404 => "There is no such campaign (NOT_FOUND).",
        409 => "Rejected (ALREADY_PARTICIPATED, SOLD_OUT, NOT_OPEN_YET, ENDED, PAUSED, LIMIT_EXCEEDED), or the campaign has a price and the service takes no payments (NO_PAYMENT_PROVIDER).",
        422 => "A value is not acceptable (INVALID), or the key belongs to another request (IDEMPOTENCY_KEY_REUSED).",
        429 => "A rate is used up, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
    /// Problems of reading participations.
    Reading: [CALLER, PARAMETERS] {
        403 => "They belong to another user (FORBIDDEN), and an admin lacks the scope to read them (MISSING_SCOPE).",
        404 => "There is no such participation, or it belongs to another user (NOT_FOUND).",
    }
}

/// A request to participate in a campaign.
#[derive(Debug, PartialEq, Eq)]
pub struct ParticipationRequest {
    user: Option<UserId>,
    quantity: u32,
}

impl RequestObject for ParticipationRequest {
    const NAME: &'static str = "ParticipationRequest";
    const DESCRIPTION: &'static str = "A request to participate in a campaign.";

    fn example() -> Option<Value> {
        Some(json!({ "userId": 42, "quantity": 1 }))
    }

    fn define(fields: &mut Fields) -> Self {
        Self {
            user: fields
                .integer(
                    "userId",
                    "Id of the user; optional where Authorization names one.",
                    1..=INTEGER_MAX,
                )
                .try_map(|number| user_id(number).ok_or(USER_ID_RANGE))
                .lenient()
                .value(),
            quantity: fields
                .integer32(
                    "quantity",
                    "Units requested; 1 when left out.",
                    1..=QUANTITY_MAX,
                )
                .optional()
                .unwrap_or(1),
        }
    }
}

/// The path to the commit.
#[derive(Clone, Copy)]
enum CommitPath {
    /// The gate and the group commit; the relay publishes the event.
    Group,
    /// A transaction of its own; Kafka acknowledges the event before the response.
    Direct,
}

/// Participations.
pub struct ParticipationsApi;

#[allow(
    clippy::too_many_arguments,
    reason = "one for each part of the request that the document names"
)]
#[OpenApi(tag = "Section::Participations")]
impl ParticipationsApi {
    /// Participate.
    ///
    /// With 201 the participation is committed. Send an `Idempotency-Key` to retry safely after a lost response: the
    /// same key returns the first response again, and no rejection while an earlier request with it may still be
    /// committed.
    #[oai(
        path = "/api/campaigns/:id/participation",
        method = "post",
        operation_id = "participate"
    )]
    async fn participate(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        caller: Participant,
        /// Id of the campaign.
        id: Path<i64>,
        /// Makes the request safe to repeat.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        /// Proof of a passed challenge, if the campaign needs one.
        #[oai(name = "X-Challenge-Token")]
        challenge: ChallengeToken,
        body: JsonRequest<ParticipationRequest>,
    ) -> Result<Accepted, Failure<Participating>> {
        let headers = (key, challenge);
        run(
            &app,
            request,
            caller.0,
            id.0,
            headers,
            body.0,
            CommitPath::Group,
        )
        .await
    }

    /// Participate, synchronously to Kafka.
    ///
    /// One transaction for this request alone; the response follows when Kafka has acknowledged the event. It exists
    /// for comparison with the other path; both draw on the same stock.
    #[oai(
        path = "/api/campaigns/:id/participation-sync",
        method = "post",
        operation_id = "participateSync"
    )]
    async fn participate_sync(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        caller: Participant,
        /// Id of the campaign.
        id: Path<i64>,
        /// Makes the request safe to repeat.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        /// Proof of a passed challenge, if the campaign needs one.
        #[oai(name = "X-Challenge-Token")]
        challenge: ChallengeToken,
        body: JsonRequest<ParticipationRequest>,
    ) -> Result<Accepted, Failure<Participating>> {
        let headers = (key, challenge);
        run(
            &app,
            request,
            caller.0,
            id.0,
            headers,
            body.0,
            CommitPath::Direct,
        )
        .await
    }

    /// Get a participation.
    #[oai(
        path = "/api/participations/:id",
        method = "get",
        operation_id = "getParticipation"
    )]
    async fn participation(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        caller: Caller,
        /// Id of the participation.
        id: Path<Uuid>,
    ) -> Result<Json<ParticipationRecord>, Failure<Reading>> {
        let found = accessible(&app, &caller, SEE_OTHERS, id.0).await?;
        if let Some(by) = by_admin(&caller, found.user_id, request) {
            let id = found.id.to_string();
            let read = Read::Participation(id, found.campaign_id, found.user_id);
            reads::record(&app, request, by, read).await?;
        }
        let record = with_rewards(&app, vec![found]).await?.pop();
        Ok(Json(record.ok_or_else(Problem::internal)?))
    }

    /// List a user's participations, newest first.
    #[oai(
        path = "/api/users/:userId/participations",
        method = "get",
        operation_id = "listParticipations"
    )]
    async fn history(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        caller: Caller,
        /// Id of the user.
        #[oai(name = "userId")]
        user: Path<u64>,
        /// Participations on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<ParticipationList>, Failure<Reading>> {
        let user = caller.reading(
            user.0,
            "The participations belong to another user.",
            request,
        )?;
        let limit = page_limit(limit.0);
        let after = page_cursor(cursor.0.as_deref())?.map(ParticipationId);
        let found = app
            .reads
            .participations_of(user, after, limit.fetch())
            .await?;
        if let Some(by) = by_admin(&caller, user, request) {
            reads::record(&app, request, by, Read::History(user)).await?;
        }
        let page = Page::cut(found, limit, |last| last.id.to_string());
        let items = with_rewards(&app, page.items).await?;
        let page = Page {
            items,
            next_cursor: page.next_cursor,
        };
        Ok(Json(ParticipationList::of(page, |record| record)))
    }
}

/// A participation that the caller may access: their own, or any with the scopes. That of another user gets the same
/// response as one that does not exist, so that no id is confirmed. A request without credentials is rejected whatever
/// the id.
async fn accessible(
    app: &App,
    caller: &Caller,
    needed: Scopes,
    id: Uuid,
) -> Result<Participation, Problem> {
    let caller = caller.identified()?;
    match app.reads.participation(ParticipationId(id)).await? {
        Some(found) if caller.may(needed, found.user_id) => Ok(found),
        _ => Err(Problem::not_found("There is no such participation.")),
    }
}

/// The operation `participate` for a request that bypasses the router, whose work around an operation takes as long as
/// most of the operation itself. The router answers paths that name no campaign.
pub async fn participate_past_router(
    app: &App,
    campaign: CampaignId,
    request: Request,
) -> poem::Result<Response> {
    let (request, mut body) = request.split();
    let caller = Caller::of(&request).await?;
    RequestContext::check_url(&request)?;
    let headers = (IdempotencyKey::of(&request)?, ChallengeToken::of(&request));
    let body = read_body(&request, &mut body).await?;
    let accepted = run(
        app,
        &request,
        caller,
        campaign.0,
        headers,
        body,
        CommitPath::Group,
    )
    .await;
    Ok(accepted?.into_response())
}

async fn run(
    app: &App,
    request: &Request,
    caller: Caller,
    campaign: i64,
    (key, challenge): (IdempotencyKey, ChallengeToken),
    body: ParticipationRequest,
    path: CommitPath,
) -> Result<Accepted, Failure<Participating>> {
    let quantity = body.quantity;
    let participation = crate::sale::participate::Request {
        campaign: CampaignId(campaign),
        user: caller.participant(body.user)?,
        quantity,
        idempotency_key: key.0,
        traceparent: traceparent(request),
        since: Instant::now(),
    };
    let by = by_admin(&caller, participation.user, request);
    let rates = RateCheck::count_caller(app, request, &participation).await?;
    challenge
        .check(app, &participation)
        .map_err(|problem| problem.with_rates(rates.fields()))?;
    let rates = rates.count_campaign(&participation).await?;
    let outcome: Result<Outcome, ParticipateError> = match path {
        CommitPath::Group => app.participate.run(participation).await,
        CommitPath::Direct => app.participate.run_sync(participation).await,
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return Err(Failure::from(error).with_rates(rates)),
    };
    match outcome {
        Outcome::Accepted {
            participation,
            replayed,
        } => {
            if let (Some(by), Replayed::First) = (by, replayed) {
                note_creation(app, by, &participation).await?;
            }
            Ok(Accepted {
                view: ParticipationView::answer(&participation),
                replayed,
                rates,
            })
        }
        Outcome::Refused { refusal, remaining } => {
            let quantity_max = exceeded_max(app, campaign, quantity, &refusal).await;
            let problem = Problem::rejected(&refusal, remaining, quantity_max);
            Err(problem.with_rates(rates).into())
        }
    }
}

/// Records in the audit log that an admin participated for a user. The participation is already committed, so if the
/// entry cannot be written, the request fails: a retry returns the participation.
async fn note_creation(app: &App, by: Origin, made: &Participation) -> Result<(), Problem> {
    let after = json!({
        "userId": made.user_id,
        "quantity": made.quantity,
        "rank": made.rank,
        "status": made.status,
    });
    let note = AuditNote::about(by, AuditAction::ParticipationCreate, made.campaign_id)
        .of(&made.id)
        .to(after);
    Ok(app.store.note(&note).await?)
}

/// The campaign's limit on one request, if a rejected request exceeds it. Otherwise the limit of the user is exceeded.
async fn exceeded_max(app: &App, campaign: i64, quantity: u32, refusal: &Refusal) -> Option<u32> {
    if !matches!(refusal, Refusal::LimitExceeded) {
        return None;
    }
    let campaign = app.catalogue.get(CampaignId(campaign)).await;
    let max = campaign.ok().flatten()?.max_quantity;
    (quantity > max).then_some(max)
}

#[cfg(test)]
mod tests;
