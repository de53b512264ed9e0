//! Participations of a campaign, and the events of one, for admins.

use uuid::Uuid;

use crate::access::identity::{CampaignRead, PiiRead};
use crate::domain::{CampaignId, ParticipationId, Status, Timestamp, UserId};
use crate::http::App;
use crate::http::operation::{
    Admin, AppRef, Failure, INTEGER_MAX, Json, OpenApi, Page, Path, Problem, Query, Read, Request,
    Section, Word, documented, list, page_cursor, page_limit, reads, view, vocabulary,
};
use crate::http::views::ParticipationView;
use crate::parts::store::{
    EventState, ParkedState, ParticipationEvent, ParticipationEvents, RankPage, Ranked, RankedRow,
};

documented! {
    Reading: [ADMIN, PARAMETERS] {
        404 => "There is no such campaign or participation (NOT_FOUND).",
    }
}

view! {
    /// A participation, and when its reward was granted.
    pub struct AdminParticipationView as "AdminParticipation" from row: RankedRow {
        /// The participation.
        #[serde(flatten)]
        #[oai(flatten)]
        participation: ParticipationView = ParticipationView::record(&row.participation),
        /// When the reward was granted; null: none, or not yet.
        #[oai(nullable)]
        rewarded_at: Option<Timestamp>,
    }
}

list! {
    /// A page of the participations of a campaign.
    AdminParticipationList as "AdminParticipationList": AdminParticipationView,
    "In order of rank. With a status a page may have few items, or none, and still a next page."
}

/// How far an event has come, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PublicationState {
    Pending,
    Parked,
    Published,
}

vocabulary!(
    PublicationState,
    "PublicationState",
    "`pending`: to be published in the order of its stream. `parked`: published apart from its stream, or not at all. \
     `published`: acknowledged by the broker.",
    Pending = "pending",
    Parked = "parked",
    Published = "published"
);

vocabulary!(
    ParkedState,
    "ParkedState",
    "Why an event is parked: `retry`, `waiting` (its topic or partition takes no records), `blocked` (behind an earlier \
     event of its key), `dead` (a dead letter), `discarded` (by an admin). `held` and `acknowledged` events count as \
     pending and published."
);

view! {
    /// An event of a participation.
    struct ParticipationEventView as "ParticipationEvent" from event: ParticipationEvent {
        /// Its number in the stream of the campaign.
        sequence: u64,
        /// Its id, the `ce_id` of the record.
        event_id: Uuid = event.id.0,
        /// `ce_type` of the record.
        #[serde(rename = "type")]
        #[oai(rename = "type")]
        event_type: String,
        /// When it was written.
        time: Timestamp = event.created_at,
        /// How far it has come.
        state: Word<PublicationState> = state(event.state).into(),
        /// Why it is parked; null: it is not.
        #[oai(nullable)]
        parked: Option<Word<ParkedState>> = parked(event.state),
        /// The topic it was last published to; null: not kept.
        #[oai(nullable)]
        topic: Option<String> = event.published.as_ref().map(|at| at.topic.clone()),
        /// The partition of the record; null: not kept.
        #[oai(nullable)]
        partition: Option<i32> = event.published.as_ref().map(|at| at.partition),
        /// The offset of the record; null: not kept.
        #[oai(nullable)]
        offset: Option<i64> = event.published.as_ref().map(|at| at.offset),
        /// When the broker acknowledged the record; null: not kept.
        #[oai(nullable)]
        published_at: Option<Timestamp> = event.published.as_ref().map(|at| at.published_at),
    }
}

const fn state(state: EventState) -> PublicationState {
    match state {
        EventState::Pending => PublicationState::Pending,
        EventState::Parked(_) => PublicationState::Parked,
        EventState::Published => PublicationState::Published,
    }
}

fn parked(state: EventState) -> Option<Word<ParkedState>> {
    match state {
        EventState::Parked(state) => Some(state.into()),
        EventState::Pending | EventState::Published => None,
    }
}

view! {
    /// The events of a participation.
    struct ParticipationEventsView as "ParticipationEvents"
    of(found: ParticipationEvents, id: ParticipationId, keeps_offsets: bool) {
        /// Id of the participation.
        participation_id: Uuid = id.0,
        /// Id of the campaign.
        campaign_id: i64 = found.campaign.0,
        /// Whether offsets are kept (`relay.keep_offsets`). If not, `topic`, `partition`, `offset` and `publishedAt` of
        /// new events stay null.
        offsets_kept: bool = keeps_offsets,
        /// Number of events that retention has deleted.
        purged_events: u32 = purged(&found),
        /// The events, in order.
        items: Vec<ParticipationEventView> = found
            .events
            .into_iter()
            .map(ParticipationEventView::from)
            .collect(),
    }
}

fn purged(found: &ParticipationEvents) -> u32 {
    let present = u32::try_from(found.events.len()).unwrap_or(u32::MAX);
    found.changes.saturating_sub(present)
}

/// Participations for admins.
pub struct AdminParticipationsApi;

#[OpenApi(prefix_path = "/api/admin", tag = "Section::AdminParticipations")]
impl AdminParticipationsApi {
    /// List the participations of a campaign, in order of rank.
    ///
    /// The list contains personal data, and leaves an entry in the audit log. `participations.csv` has all of them in
    /// one file.
    #[oai(
        path = "/campaigns/:id/participations",
        method = "get",
        operation_id = "listCampaignParticipations"
    )]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each parameter of the query"
    )]
    async fn list(
        &self,
        app: AppRef<'_>,
        admin: Admin<(CampaignRead, PiiRead)>,
        request: &Request,
        /// Id of the campaign.
        id: Path<i64>,
        /// Only participations with this status.
        status: Query<Option<Word<Status>>>,
        /// Only participations of this user.
        #[oai(name = "userId")]
        user: Query<Option<u64>>,
        /// Participations on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<AdminParticipationList>, Failure<Reading>> {
        let campaign = CampaignId(id.0);
        let user = user.0.map(user_id).transpose()?;
        let limit = page_limit(limit.0);
        let after = page_cursor(cursor.0.as_deref())?.unwrap_or(0);
        if app.store.campaign(campaign).await?.is_none() {
            return Err(Problem::not_found("There is no such campaign.").into());
        }
        let page = RankPage {
            campaign,
            status: status.0.map(|status| status.0),
            after,
            last: app.store.last_rank(campaign).await?,
            rows_max: u32::try_from(limit.items()).unwrap_or(u32::MAX),
        };
        let found = page_of(&app, user, &page).await?;
        let read = Read::Participations(campaign);
        reads::record(&app, request, admin.origin(), read).await?;
        let next_cursor = (found.upto < page.last).then(|| found.upto.to_string());
        let page = Page {
            items: found.rows,
            next_cursor,
        };
        Ok(Json(AdminParticipationList::of(
            page,
            AdminParticipationView::from,
        )))
    }

    /// List the events of a participation, and how far each has come.
    ///
    /// From the outbox to the topic: whether an event is pending, parked or published, and where.
    #[oai(
        path = "/participations/:id/events",
        method = "get",
        operation_id = "listParticipationEvents"
    )]
    async fn events(
        &self,
        app: AppRef<'_>,
        _admin: Admin<CampaignRead>,
        /// Id of the participation.
        id: Path<Uuid>,
    ) -> Result<Json<ParticipationEventsView>, Failure<Reading>> {
        let id = ParticipationId(id.0);
        let found = app.store.events_of(id).await?;
        let found = found.ok_or_else(|| Problem::not_found("There is no such participation."))?;
        let keeps_offsets = app.settings.keeps_offsets;
        Ok(Json(ParticipationEventsView::of(found, id, keeps_offsets)))
    }
}

async fn page_of(app: &App, user: Option<UserId>, page: &RankPage) -> Result<Ranked, Problem> {
    if page.after >= page.last {
        return Ok(Ranked {
            rows: Vec::new(),
            upto: page.last,
        });
    }
    Ok(match user {
        Some(user) => app.store.participations_of_user_by_rank(user, page).await?,
        None => app.store.participations_by_rank(page).await?,
    })
}

fn user_id(number: u64) -> Result<UserId, Problem> {
    let user = i64::try_from(number).ok().and_then(UserId::parse);
    user.ok_or_else(|| {
        Problem::invalid_field("userId", format!("must be between 1 and {INTEGER_MAX}"))
    })
}
