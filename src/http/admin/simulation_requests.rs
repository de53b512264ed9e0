//! Request bodies about simulations.

use serde_json::{Value, json};

use crate::domain::{CampaignId, UserId};
use crate::http::auth::{USER_ID_RANGE, user_id};
use crate::http::fields::{Fields, INTEGER_MAX, RequestObject};
use crate::http::participations::QUANTITY_MAX;
use crate::operate::simulate::{CONCURRENCY_MAX, REQUESTS_MAX};

/// The largest first user, so that all that follow have ids in range.
const FIRST_USER_MAX: u64 = INTEGER_MAX - (REQUESTS_MAX as u64 - 1);

/// A bulk of participations.
#[derive(Debug, PartialEq, Eq)]
pub struct Bulk {
    /// The campaign.
    pub campaign: CampaignId,
    /// How many users participate, once each.
    pub count: u32,
}

impl RequestObject for Bulk {
    const NAME: &'static str = "SimulateBulk";
    const DESCRIPTION: &'static str = "Lets many users participate.";

    fn example() -> Option<Value> {
        Some(json!({ "count": 2_000, "campaignId": 1 }))
    }

    fn define(fields: &mut Fields) -> Self {
        let count = fields.integer32(
            "count",
            "How many users participate, once each.",
            1..=REQUESTS_MAX,
        );
        Self {
            count: count.required(),
            campaign: campaign(fields),
        }
    }
}

/// A load of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The campaign.
    pub campaign: CampaignId,
    /// Number of requests, each by another user.
    pub requests: u32,
    /// Requests in flight at the same time.
    pub concurrency: u32,
    /// Units that each requests.
    pub quantity: u32,
    /// The first user; none: invented.
    pub first_user: Option<UserId>,
}

impl RequestObject for Load {
    const NAME: &'static str = "SimulateLoad";
    const DESCRIPTION: &'static str = "Measures participations.";

    fn example() -> Option<Value> {
        Some(json!({ "campaignId": 1, "requests": 2_000, "concurrency": 50, "quantity": 1 }))
    }

    fn define(fields: &mut Fields) -> Self {
        Self {
            campaign: campaign(fields),
            requests: fields
                .integer32(
                    "requests",
                    "Requests, each by another user.",
                    1..=REQUESTS_MAX,
                )
                .required(),
            concurrency: fields
                .integer32(
                    "concurrency",
                    "Requests in flight at the same time.",
                    1..=CONCURRENCY_MAX,
                )
                .required(),
            quantity: fields
                .integer32(
                    "quantity",
                    "Units that each requests; 1 when left out.",
                    1..=QUANTITY_MAX,
                )
                .optional()
                .unwrap_or(1),
            first_user: fields
                .integer(
                    "firstUserId",
                    "Id of the first user; invented when left out.",
                    1..=FIRST_USER_MAX,
                )
                .try_map(|number| user_id(number).ok_or(USER_ID_RANGE))
                .optional(),
        }
    }
}

fn campaign(fields: &mut Fields) -> CampaignId {
    let id = fields.integer("campaignId", "Id of the campaign.", 1..=INTEGER_MAX);
    let id = id.try_map(|id| i64::try_from(id).map_err(|error| error.to_string()));
    CampaignId(id.required())
}
