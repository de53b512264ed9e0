//! Reviews: one for each confirmed participation.

use uuid::Uuid;

use super::campaigns::public;
use super::views::{ReviewList, ReviewView};
use crate::domain::{ParticipationId, Status};
use crate::http::operation::{
    AppRef, Caller, Created, Failure, Json, JsonRequest, OpenApi, Page, Path, Problem, Query,
    Section, documented, kind, page_cursor, page_limit, request_object,
};
use crate::http::problem::busy;
use crate::parts::store::ReviewOutcome;

/// Most characters of a review.
const TEXT_CHARACTERS_MAX: usize = 2_000;

documented! {
    Reviewing: [BODY, CALLER] {
        403 => "Only users review (FORBIDDEN); or a session request lacks its CSRF token (CSRF).",
        404 => "There is no such participation, or it belongs to another user (NOT_FOUND).",
        409 => "It is not confirmed (NOT_CONFIRMED), or has a review (ALREADY_REVIEWED).",
    }
    Reading: [PARAMETERS] {
        404 => "There is no such campaign (NOT_FOUND).",
    }
}

request_object! {
    /// A review of a participation.
    pub struct ReviewRequest as "ReviewRequest" {
        /// From 1 to 5.
        rating: u32 = integer32("rating", 1..=5).required(),
        /// What the user says; empty when left out.
        text: String = text("text", ..=TEXT_CHARACTERS_MAX).optional().unwrap_or_default(),
    }
    example { "rating": 5, "text": "Arrived in a day." }
}

/// Reviews.
pub struct ReviewsApi;

#[OpenApi(prefix_path = "/api", tag = "Section::Campaigns")]
impl ReviewsApi {
    /// Review a confirmed participation, once.
    ///
    /// A cancellation of the participation deletes the review.
    #[oai(
        path = "/participations/:id/review",
        method = "post",
        operation_id = "reviewParticipation"
    )]
    async fn review(
        &self,
        app: AppRef<'_>,
        caller: Caller,
        /// Id of the participation.
        id: Path<Uuid>,
        body: JsonRequest<ReviewRequest>,
    ) -> Result<Created<ReviewView>, Failure<Reviewing>> {
        let user = caller.user("Only users review what they took part in.")?;
        let found = app.reads.participation(ParticipationId(id.0)).await?;
        let own = found.filter(|found| found.user_id == user);
        let own = own.ok_or_else(|| Problem::not_found("There is no such participation."))?;
        let not_confirmed =
            || kind::NOT_CONFIRMED.because("Only a confirmed participation can be reviewed.");
        if own.status != Status::Confirmed {
            return Err(not_confirmed().into());
        }
        let ReviewRequest { rating, text } = body.0;
        // It locks the row of the campaign while it occupies a connection.
        let permit = app.orders.permit_row_lock(own.campaign_id).await;
        let _permit = permit.ok_or_else(busy)?;
        let written = match app.store.insert_review(&own, rating, &text).await? {
            ReviewOutcome::Written(review) => review,
            ReviewOutcome::NotConfirmed => return Err(not_confirmed().into()),
            ReviewOutcome::AlreadyReviewed => {
                return Err(kind::ALREADY_REVIEWED
                    .because("The participation has a review already.")
                    .into());
            }
        };
        app.catalogue.invalidate(own.campaign_id).await;
        Ok(Created(ReviewView::from(written)))
    }

    /// List the reviews of a campaign, newest first.
    ///
    /// Reviews are public, and belong to confirmed participations.
    #[oai(
        path = "/campaigns/:id/reviews",
        method = "get",
        operation_id = "listReviews"
    )]
    async fn reviews(
        &self,
        app: AppRef<'_>,
        /// Id of the campaign.
        id: Path<i64>,
        /// Reviews on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<ReviewList>, Failure<Reading>> {
        let campaign = public(&app, id.0).await?;
        let limit = page_limit(limit.0);
        let after = page_cursor(cursor.0.as_deref())?;
        let found = app
            .reads
            .reviews_of(campaign.id, after, limit.fetch())
            .await?;
        let page = Page::cut(found, limit, |last| last.id.to_string());
        Ok(Json(ReviewList::of(page, ReviewView::from)))
    }
}
