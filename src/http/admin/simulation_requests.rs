//! Request bodies about simulations.

use crate::domain::{CampaignId, UserId};
use crate::http::auth::{USER_ID_RANGE, user_id};
use crate::http::fields::{Fields, INTEGER_MAX, Label, request_object};
use crate::http::participations::QUANTITY_MAX;
use crate::operate::simulate::{CONCURRENCY_MAX, REQUESTS_MAX};

/// The largest first user, so that all that follow have ids in range.
const FIRST_USER_MAX: u64 = INTEGER_MAX - (REQUESTS_MAX as u64 - 1);

request_object! {
    /// Lets many users participate.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Bulk as "SimulateBulk" {
        /// How many users participate, once each.
        pub count: u32 = integer32("count", 1..=REQUESTS_MAX).required(),
        /// Id of the campaign.
        pub campaign: CampaignId = campaign_id("campaignId"),
    }
    example { "count": 2_000, "campaignId": 1 }
}

request_object! {
    /// Measures participations.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Load as "SimulateLoad" {
        /// Id of the campaign.
        pub campaign: CampaignId = campaign_id("campaignId"),
        /// Requests, each by another user.
        pub requests: u32 = integer32("requests", 1..=REQUESTS_MAX).required(),
        /// Requests in flight at the same time.
        pub concurrency: u32 = integer32("concurrency", 1..=CONCURRENCY_MAX).required(),
        /// Units that each requests; 1 when left out.
        pub quantity: u32 = integer32("quantity", 1..=QUANTITY_MAX).optional().unwrap_or(1),
        /// Id of the first user; invented when left out.
        pub first_user: Option<UserId> = integer("firstUserId", 1..=FIRST_USER_MAX)
            .try_map(|number| user_id(number).ok_or(USER_ID_RANGE))
            .optional(),
    }
    example { "campaignId": 1, "requests": 2_000, "concurrency": 50, "quantity": 1 }
}

impl Fields {
    /// The id of a campaign, which is required.
    fn campaign_id(&mut self, label: Label) -> CampaignId {
        let id = self.integer(label, 1..=INTEGER_MAX);
        let id = id.try_map(|id| i64::try_from(id).map_err(|error| error.to_string()));
        CampaignId(id.required())
    }
}
