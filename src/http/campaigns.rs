//! The public catalogue: campaigns, their stock and their live status. Drafts are not public. Archived campaigns are
//! not listed, but remain accessible by id for those who participated.

use std::sync::Arc;

use super::App;
use super::stream::{StatusStream, status_stream};
use super::views::{CampaignList, CampaignView, StatusView, StockView, TimeView};
use crate::domain::{Campaign, CampaignId, Kind, State};
use crate::http::operation::{
    AppRef, Failure, Json, OpenApi, Page, Path, Problem, Query, Request, Section, Word, documented,
    page_cursor, page_limit,
};
use crate::parts::store::{CampaignFilter, States, StoreError};

documented! {
    Reading: [PARAMETERS] {
        404 => "There is no such campaign (NOT_FOUND).",
    }
    Plain: [] {}
}

/// States whose campaigns are listed.
const LISTED: [State; 4] = [State::Scheduled, State::Open, State::Paused, State::Closed];

/// Whether a campaign is accessible by id.
fn is_public(campaign: &Campaign) -> bool {
    campaign.state != State::Draft
}

/// The campaign does not exist, or is not public.
fn unknown() -> Problem {
    Problem::not_found("There is no such campaign.")
}

/// The parameters of a list of campaigns, except the states.
pub(super) struct Listing {
    pub(super) kind: Option<Word<Kind>>,
    pub(super) limit: Option<u32>,
    pub(super) after: Option<CampaignId>,
}

/// A page of the campaigns in these states; no state at all means every one.
pub(super) async fn page_of_campaigns(
    app: &App,
    states: Vec<State>,
    listing: Listing,
) -> Result<Json<CampaignList>, Arc<StoreError>> {
    let limit = page_limit(listing.limit);
    let states = if states.is_empty() {
        States::Any
    } else {
        States::ByClock(states)
    };
    let filter = CampaignFilter {
        states,
        kind: listing.kind.map(|kind| kind.0),
        after: listing.after,
        limit: limit.fetch(),
    };
    let found = app.catalogue.page(filter).await?;
    let page = Page::cut(found.iter().collect(), limit, |last| last.id.to_string());
    let now = app.clock.now();
    let view = |campaign: &Campaign| CampaignView::of(campaign, now);
    Ok(Json(CampaignList::of(page, view)))
}

/// The public catalogue.
pub struct CampaignsApi;

#[OpenApi(prefix_path = "/api", tag = "Section::Campaigns")]
impl CampaignsApi {
    /// List campaigns, newest first.
    ///
    /// Drafts and archived campaigns are never listed.
    #[oai(path = "/campaigns", method = "get", operation_id = "listCampaigns")]
    async fn list(
        &self,
        app: AppRef<'_>,
        /// Only campaigns in this state.
        state: Query<Option<Word<State>>>,
        /// Only campaigns of this kind.
        kind: Query<Option<Word<Kind>>>,
        /// Campaigns on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<CampaignList>, Failure<Reading>> {
        let listing = Listing {
            kind: kind.0,
            limit: limit.0,
            after: page_cursor(cursor.0.as_deref())?.map(CampaignId),
        };
        let states = visible(state.0.map(|state| state.0));
        if states.is_empty() {
            return Ok(Json(CampaignList {
                items: Vec::new(),
                next_cursor: None,
            }));
        }
        Ok(page_of_campaigns(&app, states, listing).await?)
    }

    /// Get a campaign, also an archived one.
    ///
    /// Its state is the one at the time of the response. A draft is not found.
    #[oai(path = "/campaigns/:id", method = "get", operation_id = "getCampaign")]
    async fn campaign(
        &self,
        app: AppRef<'_>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Result<Json<CampaignView>, Failure<Reading>> {
        let campaign = public(&app, id.0).await?;
        Ok(Json(CampaignView::of(&campaign, app.clock.now())))
    }

    /// Get the stock of a campaign.
    ///
    /// A smaller response than that of the campaign, for clients that ask often.
    #[oai(
        path = "/campaigns/:id/stock",
        method = "get",
        operation_id = "getStock"
    )]
    async fn stock(
        &self,
        app: AppRef<'_>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Result<Json<StockView>, Failure<Reading>> {
        let campaign = public(&app, id.0).await?;
        Ok(Json(StockView::from(&*campaign)))
    }

    /// Get the live status of a campaign.
    ///
    /// The stock, the participations and rejections so far, and the rates of the last seconds.
    #[oai(
        path = "/campaigns/:id/status",
        method = "get",
        operation_id = "getStatus"
    )]
    async fn status(
        &self,
        app: AppRef<'_>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Result<Json<StatusView>, Failure<Reading>> {
        let status = app.status.of(CampaignId(id.0)).await?;
        let status = status.filter(|status| is_public(&status.campaign));
        let status = status.ok_or_else(unknown)?;
        Ok(Json(StatusView::of(status, app.clock.now())))
    }

    /// Follow the live status of a campaign.
    ///
    /// Server-sent events of type `status`, one a second, each with the status as JSON.
    #[oai(
        path = "/campaigns/:id/stream",
        method = "get",
        operation_id = "followStatus"
    )]
    async fn stream(
        &self,
        app: AppRef<'_>,
        request: &Request,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Result<StatusStream, Failure<Reading>> {
        let campaign = public(&app, id.0).await?;
        Ok(status_stream(app.0, request, campaign.id)?)
    }

    /// Get the time by which campaigns open and close.
    ///
    /// It is the time of the database, not of the machine.
    #[allow(clippy::unused_async, reason = "the framework awaits every operation")]
    #[oai(path = "/time", method = "get", operation_id = "getTime")]
    async fn time(&self, app: AppRef<'_>) -> Result<Json<TimeView>, Failure<Plain>> {
        let now = app.clock.now();
        Ok(Json(TimeView {
            now,
            epoch_millis: now.timestamp_millis(),
        }))
    }
}

/// The listed states, or the requested one if it is listed.
fn visible(requested: Option<State>) -> Vec<State> {
    LISTED
        .into_iter()
        .filter(|state| requested.is_none_or(|requested| requested == *state))
        .collect()
}

/// A public campaign, as fresh as [`crate::sale::catalogue::Catalogue::view`] returns it.
pub(super) async fn public(app: &App, id: i64) -> Result<Arc<Campaign>, Problem> {
    let campaign = app.catalogue.view(CampaignId(id)).await?;
    campaign
        .filter(|campaign| is_public(campaign))
        .ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_and_archived_campaigns_are_never_listed() {
        assert!(visible(Some(State::Draft)).is_empty());
        assert!(visible(Some(State::Archived)).is_empty());
        assert_eq!(visible(Some(State::Open)), [State::Open]);
        assert_eq!(visible(None), LISTED);
    }
}
