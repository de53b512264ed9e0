//! Taking part, and looking at what came of it.

mod accepted;
mod challenge;
mod changes;
mod idempotency;

use std::sync::Arc;
use std::time::Instant;

use poem::web::Data;
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;
use uuid::Uuid;

use self::accepted::Accepted;
use self::challenge::ChallengeToken;
pub use self::changes::ChangesApi;
use self::idempotency::IdempotencyKey;
use super::auth::{Caller, Participant, SEE_OTHERS, USER_ID_RANGE, user_id};
use super::fields::{Fields, FromFields, Said};
use super::json::{Checked, RequestBodySchema, Written, checked};
use super::limited::Counting;
use super::origin::{Entry, traceparent};
use super::page::{Page, page_cursor, page_limit};
use super::problem::{Asked, Failure, Problem, documented};
use super::reads::{self, Read, by_admin};
use super::rewards::with_rewards;
use super::views::{ParticipationList, ParticipationRecord, ParticipationView};
use super::{App, Section};
use crate::access::identity::Scopes;
use crate::domain::{
    AuditAction, AuditNote, CampaignId, Origin, Participation, ParticipationId, Refusal, UserId,
};
use crate::sale::participate::{Outcome, ParticipateError, Replayed};

/// Units that one request can name at most; a campaign's own bound is usually far lower.
pub const QUANTITY_MAX: u32 = 1_000_000;

documented! {
    /// Problems of taking part.
    TakingPart {
        400 => "The body is not JSON (MALFORMED).",
        401 => "Nobody is named (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
        403 => "userId names another user than the one who is asking, or who asks is no user (FORBIDDEN); or the campaign has a list that the user is not in (NOT_ALLOWED), or takes a challenge that was not shown, or not passed (CHALLENGE_REQUIRED, CHALLENGE_FAILED).",
        404 => "There is no such campaign (NOT_FOUND).",
        409 => "Refused (ALREADY_PARTICIPATED, SOLD_OUT, NOT_OPEN_YET, ENDED, PAUSED, LIMIT_EXCEEDED), or it has a price and no payments are taken here (NO_PAYMENT_PROVIDER).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID), or the key was used for another request (IDEMPOTENCY_KEY_REUSED).",
        429 => "A rate is used up, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
    /// Problems of looking at participations.
    Looking {
        401 => "Nobody is asking (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
        403 => "They are another user's (FORBIDDEN), and an admin lacks the scope to see that (MISSING_SCOPE).",
        404 => "There is no such participation, or it is another user's (NOT_FOUND).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// Asks to take part in a campaign.
#[derive(Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct ParticipationRequest {
    /// Who takes part; may be left out where Authorization says so.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    user_id: Option<u64>,
    /// Units asked for; 1 when left out.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    quantity: Option<u32>,
}

impl Example for ParticipationRequest {
    fn example() -> Self {
        Self {
            user_id: Some(42),
            quantity: Some(1),
        }
    }
}

impl RequestBodySchema for ParticipationRequest {
    type Read = Wish;
}

/// A request to take part, read.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    user: Option<UserId>,
    quantity: u32,
}

impl FromFields for Wish {
    fn from_fields(fields: &mut Fields) -> Self {
        let user = match fields.integer("userId", &(0..=u64::MAX)) {
            Said::This(number) => {
                let user = user_id(number);
                if user.is_none() {
                    fields.wrong("userId", USER_ID_RANGE);
                }
                user
            }
            Said::Null | Said::Nothing => None,
        };
        let quantity = fields.integer32("quantity", 1..=QUANTITY_MAX);
        Self {
            user,
            quantity: fields.not_null("quantity", quantity).unwrap_or(1),
        }
    }
}

/// How the commit is reached.
#[derive(Clone, Copy)]
enum Way {
    /// Through the gate and the group commit; published by the relay.
    Gate,
    /// One transaction, and the event acknowledged before the answer.
    Sync,
}

/// Participations.
pub struct ParticipationsApi;

#[allow(
    clippy::too_many_arguments,
    reason = "each is a part of the request that the document names"
)]
#[OpenApi(tag = "Section::Participations")]
impl ParticipationsApi {
    /// Take part.
    ///
    /// What is answered with 201 is committed. Send an `Idempotency-Key` to be able to ask again
    /// after a lost answer: the same key gives the first answer again, and no refusal while an earlier
    /// request with it may still be committed.
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
        /// Number of the campaign.
        id: Path<i64>,
        /// Makes the request safe to repeat.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        /// Shows that a challenge was passed, where the campaign takes one.
        #[oai(name = "X-Challenge-Token")]
        challenge: ChallengeToken,
        body: Checked<ParticipationRequest>,
    ) -> Result<Accepted, Failure<TakingPart>> {
        let shown = (key, challenge);
        take_part(&app, request, caller.0, id.0, shown, body.0, Way::Gate).await
    }

    /// Take part, synchronously to Kafka.
    ///
    /// One transaction for this request alone, answered when Kafka has acknowledged the event.
    /// It is here to be compared with the other; both hand out the same stock.
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
        /// Number of the campaign.
        id: Path<i64>,
        /// Makes the request safe to repeat.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        /// Shows that a challenge was passed, where the campaign takes one.
        #[oai(name = "X-Challenge-Token")]
        challenge: ChallengeToken,
        body: Checked<ParticipationRequest>,
    ) -> Result<Accepted, Failure<TakingPart>> {
        let shown = (key, challenge);
        take_part(&app, request, caller.0, id.0, shown, body.0, Way::Sync).await
    }

    /// Look at a participation of one's own.
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
    ) -> Result<Written<ParticipationRecord>, Failure<Looking>> {
        let found = own(&app, &caller, SEE_OTHERS, id.0).await?;
        if let Some(by) = by_admin(&caller, found.user_id, request) {
            let id = found.id.to_string();
            let read = Read::Participation(id, found.campaign_id, found.user_id);
            reads::record(&app, request, by, read).await?;
        }
        let record = with_rewards(&app, vec![found]).await?.pop();
        Ok(Written(record.ok_or_else(Problem::internal)?))
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
        /// Whose participations.
        #[oai(name = "userId")]
        user: Path<u64>,
        /// Participations on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Written<ParticipationList>, Failure<Looking>> {
        let user = caller.seeing(user.0, "These are another user's participations.", request)?;
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
        Ok(Written(ParticipationList {
            items: with_rewards(&app, page.items).await?,
            next_cursor: page.next_cursor,
        }))
    }
}

/// A participation that belongs to the caller, or any for an admin with the scopes. Another user's looks
/// like one that does not exist: ids are no secret to be confirmed. Asking without a name is refused,
/// whatever the id.
async fn own(
    app: &App,
    caller: &Caller,
    needed: Scopes,
    id: Uuid,
) -> Result<Participation, Problem> {
    let caller = caller.known()?;
    match app.reads.participation(ParticipationId(id)).await? {
        Some(found) if caller.may(needed, found.user_id) => Ok(found),
        _ => Err(Problem::not_found("There is no such participation.")),
    }
}

/// The operation `participate`, for a request that did not pass the router: what that and the framework do
/// around an operation takes as long as most of its work. It is documented there, and an address that names no
/// campaign is answered there.
pub async fn participate_past_router(
    app: &App,
    campaign: CampaignId,
    request: Request,
) -> poem::Result<Response> {
    let (request, mut body) = request.split();
    let caller = Caller::of(&request).await?;
    Entry::check_address(&request)?;
    let shown = (IdempotencyKey::of(&request)?, ChallengeToken::of(&request));
    let wish = checked(&request, &mut body).await?;
    let took = take_part(app, &request, caller, campaign.0, shown, wish, Way::Gate).await;
    Ok(took?.into_response())
}

async fn take_part(
    app: &App,
    request: &Request,
    caller: Caller,
    campaign: i64,
    (key, challenge): (IdempotencyKey, ChallengeToken),
    wish: Wish,
    way: Way,
) -> Result<Accepted, Failure<TakingPart>> {
    let asked = crate::sale::participate::Request {
        campaign: CampaignId(campaign),
        user: caller.acting(wish.user)?,
        quantity: wish.quantity,
        idempotency_key: key.0,
        traceparent: traceparent(request),
        since: Instant::now(),
    };
    let by = by_admin(&caller, asked.user, request);
    let counting = Counting::begin(app, request, &asked).await?;
    challenge
        .check(app, &asked)
        .map_err(|problem| problem.with_rates(counting.told()))?;
    let rates = counting.end(&asked).await?;
    let outcome: Result<Outcome, ParticipateError> = match way {
        Way::Gate => app.participate.run(asked).await,
        Way::Sync => app.participate.run_sync(asked).await,
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
            let asked = asked_too_much(app, campaign, wish.quantity, &refusal).await;
            let problem = Problem::refused(&refusal, remaining, asked);
            Err(problem.with_rates(rates).into())
        }
    }
}

/// Says in the audit log that an admin took part for a user. It was committed with others by then, so an
/// entry that cannot be written is an answer that is not given: asking again tells what became of it.
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

/// Tells apart the two meanings of "limit exceeded": too much in one request, or too much in all.
async fn asked_too_much(app: &App, campaign: i64, quantity: u32, refusal: &Refusal) -> Asked {
    if !matches!(refusal, Refusal::LimitExceeded) {
        return Asked { over_max: None };
    }
    let campaign = app.catalogue.get(CampaignId(campaign)).await;
    let max = campaign
        .ok()
        .flatten()
        .map(|campaign| campaign.max_quantity);
    Asked {
        over_max: max.filter(|max| quantity > *max),
    }
}

#[cfg(test)]
mod tests;
