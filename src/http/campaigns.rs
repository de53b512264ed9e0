//! The public catalogue: campaigns, their stock and their live status. Drafts are not part of it. Archived
//! campaigns are not listed, but who knows the number of one still finds it: those who took part do.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use super::json::Written;
use super::page::{Page, page_cursor, page_limit};
use super::problem::{Failure, Problem, documented};
use super::stream::{StatusStream, status_stream};
use super::views::{
    CampaignList, CampaignView, KindWord, StateWord, StatusView, StockView, TimeView,
};
use super::{App, Section};
use crate::domain::{Campaign, CampaignId, State};
use crate::parts::store::{CampaignFilter, States, StoreError};

documented! {
    /// Problems of reading the catalogue.
    Reading {
        404 => "There is no such campaign (NOT_FOUND).",
        422 => "A value cannot be accepted (INVALID).",
    }
    /// Problems of an operation that takes nothing.
    Plain {}
}

/// States whose campaigns are listed for everybody.
const LISTED: [State; 4] = [State::Scheduled, State::Open, State::Paused, State::Closed];

/// Whether everybody may see it who knows its number.
fn is_public(campaign: &Campaign) -> bool {
    campaign.state != State::Draft
}

/// No such campaign, or not for everybody.
fn unknown() -> Problem {
    Problem::not_found("There is no such campaign.")
}

/// What is asked of a list of campaigns, beside the states.
pub(super) struct Listing {
    pub(super) kind: Option<KindWord>,
    pub(super) limit: Option<u32>,
    pub(super) after: Option<CampaignId>,
}

/// A page of the campaigns in these states; no state at all means every one.
pub(super) async fn page_of_campaigns(
    app: &App,
    states: Vec<State>,
    listing: Listing,
) -> Result<Written<CampaignList>, Arc<StoreError>> {
    let limit = page_limit(listing.limit);
    let states = if states.is_empty() {
        States::Any
    } else {
        States::ByClock(states)
    };
    let filter = CampaignFilter {
        states,
        kind: listing.kind.map(Into::into),
        after: listing.after,
        limit: limit.fetch(),
    };
    let found = app.catalogue.page(filter).await?;
    let page = Page::cut(found.iter().collect(), limit, |last| last.id.to_string());
    let now = app.clock.now();
    let items = page.items.into_iter();
    Ok(Written(CampaignList {
        items: items
            .map(|campaign| CampaignView::at(campaign, now))
            .collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Campaigns for everybody.
pub struct CampaignsApi;

#[OpenApi(tag = "Section::Campaigns")]
impl CampaignsApi {
    /// List campaigns, newest first.
    ///
    /// Drafts and archived campaigns are never listed.
    #[oai(
        path = "/api/campaigns",
        method = "get",
        operation_id = "listCampaigns"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        /// Only those in this state.
        state: Query<Option<StateWord>>,
        /// Only those of this kind.
        kind: Query<Option<KindWord>>,
        /// Campaigns on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Written<CampaignList>, Failure<Reading>> {
        let listing = Listing {
            kind: kind.0,
            limit: limit.0,
            after: page_cursor(cursor.0.as_deref())?.map(CampaignId),
        };
        let states = visible(state.0.map(State::from));
        if states.is_empty() {
            return Ok(Written(CampaignList {
                items: Vec::new(),
                next_cursor: None,
            }));
        }
        Ok(page_of_campaigns(&app, states, listing).await?)
    }

    /// Look at a campaign; also at one that is archived.
    #[oai(
        path = "/api/campaigns/:id",
        method = "get",
        operation_id = "getCampaign"
    )]
    async fn campaign(
        &self,
        app: Data<&Arc<App>>,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Result<Written<CampaignView>, Failure<Reading>> {
        let campaign = public(&app, id.0).await?;
        Ok(Written(CampaignView::at(&campaign, app.clock.now())))
    }

    /// Look at the stock of a campaign.
    #[oai(
        path = "/api/campaigns/:id/stock",
        method = "get",
        operation_id = "getStock"
    )]
    async fn stock(
        &self,
        app: Data<&Arc<App>>,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Result<Written<StockView>, Failure<Reading>> {
        let campaign = public(&app, id.0).await?;
        Ok(Written(StockView::from(&*campaign)))
    }

    /// Look at the live status of a campaign.
    #[oai(
        path = "/api/campaigns/:id/status",
        method = "get",
        operation_id = "getStatus"
    )]
    async fn status(
        &self,
        app: Data<&Arc<App>>,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Result<Written<StatusView>, Failure<Reading>> {
        let status = app.status.of(CampaignId(id.0)).await?;
        let status = status.filter(|status| is_public(&status.campaign));
        let status = status.ok_or_else(unknown)?;
        Ok(Written(StatusView::at(status, app.clock.now())))
    }

    /// Follow the live status of a campaign.
    ///
    /// Server-sent events of type `status`, one a second, each with the status as JSON.
    #[oai(
        path = "/api/campaigns/:id/stream",
        method = "get",
        operation_id = "followStatus"
    )]
    async fn stream(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Result<StatusStream, Failure<Reading>> {
        let campaign = public(&app, id.0).await?;
        Ok(status_stream(app.0, request, campaign.id)?)
    }

    /// Ask for the time by which campaigns open and close.
    ///
    /// It is the database's, whatever the clock of the machine says.
    #[allow(clippy::unused_async, reason = "the framework awaits every operation")]
    #[oai(path = "/api/time", method = "get", operation_id = "getTime")]
    async fn time(&self, app: Data<&Arc<App>>) -> Result<Written<TimeView>, Failure<Plain>> {
        let now = app.clock.now();
        Ok(Written(TimeView {
            now,
            epoch_millis: now.timestamp_millis(),
        }))
    }
}

/// The states to look for: those asked for, of those that are listed.
fn visible(asked: Option<State>) -> Vec<State> {
    LISTED
        .into_iter()
        .filter(|state| asked.is_none_or(|asked| asked == *state))
        .collect()
}

/// A campaign that everybody may see, as fresh as [`crate::sale::catalogue::Catalogue::look`] shows it.
async fn public(app: &App, id: i64) -> Result<Arc<Campaign>, Problem> {
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
