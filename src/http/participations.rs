//! Participating in a campaign, and reading participations.

mod accepted;
mod challenge;
mod changes;
mod idempotency;
mod participate;

use std::sync::Arc;

use poem::web::Data;
use poem::{IntoResponse, Response};
use uuid::Uuid;

pub use self::accepted::Accepted;
pub use self::challenge::ChallengeToken;
pub use self::changes::ChangesApi;
pub use self::idempotency::IdempotencyKey;
use self::participate::{Call, Participating};
pub use self::participate::{ParticipationRequest, QUANTITY_MAX};
use super::App;
use super::auth::{Participant, SEE_OTHERS};
use super::json::read_body;
use super::rewards::with_rewards;
use super::views::{ParticipationList, ParticipationRecord, ParticipationView};
use crate::access::identity::Scopes;
use crate::domain::{CampaignId, Participation, ParticipationId};
use crate::http::operation::{
    AppRef, Caller, Failure, Json, JsonRequest, OpenApi, Page, Path, Problem, Query, Read, Request,
    Section, by_admin, documented, page_cursor, page_limit, reads,
};
use crate::sale::participate::CommitMode;

documented! {
    Reading: [CALLER, PARAMETERS] {
        403 => "They belong to another user (FORBIDDEN), and an admin lacks the scope to read them (MISSING_SCOPE).",
        404 => "There is no such participation, or it belongs to another user (NOT_FOUND).",
    }
}

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
    /// committed. A key is remembered for at least 7 days, unless the service is configured otherwise.
    #[oai(
        path = "/api/campaigns/:id/participation",
        method = "post",
        operation_id = "participate"
    )]
    async fn participate(
        &self,
        app: AppRef<'_>,
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
    ) -> Result<Accepted<ParticipationView>, Failure<Participating>> {
        let call = Call {
            app: &app,
            request,
            caller: caller.0,
            campaign: CampaignId(id.0),
        };
        call.participate(key, challenge, body.0, CommitMode::Grouped)
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
        app: AppRef<'_>,
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
    ) -> Result<Accepted<ParticipationView>, Failure<Participating>> {
        let call = Call {
            app: &app,
            request,
            caller: caller.0,
            campaign: CampaignId(id.0),
        };
        call.participate(key, challenge, body.0, CommitMode::Alone)
            .await
    }

    /// Get a participation.
    ///
    /// With its reward and when that was granted. An admin who reads it leaves an entry in the audit log.
    #[oai(
        path = "/api/participations/:id",
        method = "get",
        operation_id = "getParticipation"
    )]
    async fn participation(
        &self,
        app: AppRef<'_>,
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
    ///
    /// In all campaigns and states, with their rewards.
    #[oai(
        path = "/api/users/:userId/participations",
        method = "get",
        operation_id = "listParticipations"
    )]
    async fn history(
        &self,
        app: AppRef<'_>,
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

/// Calls the operation `participate` without the router, whose work around an operation takes as long as most of the
/// operation itself. The parts of the request are read in the order in which the operation lists them.
pub async fn participate_without_router(
    app: &Arc<App>,
    campaign: CampaignId,
    request: Request,
) -> poem::Result<Response> {
    let (request, mut body) = request.split();
    let caller = Participant::of(&request).await?;
    let key = IdempotencyKey::of(&request)?;
    let challenge = ChallengeToken::of(&request);
    let content = JsonRequest(read_body(&request, &mut body).await?);
    let accepted = ParticipationsApi.participate(
        Data(app),
        &request,
        caller,
        Path(campaign.0),
        key,
        challenge,
        content,
    );
    Ok(accepted.await?.into_response())
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
    let (caller, id) = (caller.identified()?, ParticipationId(id));
    let mut found = app.reads.participation(id).await?;
    if found.is_none() {
        // A database that is the primary no more may not have it.
        found = app.reads.participations(&[id]).await?.pop();
    }
    match found {
        Some(found) if caller.may(needed, found.user_id) => Ok(found),
        _ => Err(Problem::not_found("There is no such participation.")),
    }
}

#[cfg(test)]
mod tests;
