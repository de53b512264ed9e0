//! Bodies of requests for simulations: their schemas, and how they are read.

use poem_openapi::Object;
use poem_openapi::types::Example;

use crate::domain::{CampaignId, UserId};
use crate::http::auth::user_id;
use crate::http::fields::{Fields, FromFields, INTEGER_MAX, Said};
use crate::http::json::RequestBodySchema;
use crate::http::participations::QUANTITY_MAX;
use crate::operate::simulate::{CONCURRENCY_MAX, REQUESTS_MAX};

/// Lets many users take part.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct SimulateBulk {
    /// How many users take part, once each.
    #[oai(validator(minimum(value = "1"), maximum(value = "100000")))]
    count: u32,
    /// Number of the campaign.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    campaign_id: u64,
}

impl Example for SimulateBulk {
    fn example() -> Self {
        Self {
            count: 2_000,
            campaign_id: 1,
        }
    }
}

impl RequestBodySchema for SimulateBulk {
    type Read = Bulk;
}

/// Which users are to take part in what, read.
#[derive(Debug, PartialEq, Eq)]
pub struct Bulk {
    /// In what.
    pub campaign: CampaignId,
    /// How many.
    pub count: u32,
}

impl FromFields for Bulk {
    fn from_fields(fields: &mut Fields) -> Self {
        let count = fields.integer32("count", 1..=REQUESTS_MAX);
        Self {
            count: fields.required("count", count),
            campaign: campaign(fields),
        }
    }
}

/// Measures how participations are answered.
#[derive(Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct SimulateLoad {
    /// Number of the campaign.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    campaign_id: u64,
    /// Requests, each by another user.
    #[oai(validator(minimum(value = "1"), maximum(value = "100000")))]
    requests: u32,
    /// Requests under way at the same time.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    concurrency: u32,
    /// Units that each asks for; 1 when left out.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    quantity: Option<u32>,
    /// The number of the first user; made up when left out.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254640992")))]
    first_user_id: Option<u64>,
}

impl Example for SimulateLoad {
    fn example() -> Self {
        Self {
            campaign_id: 1,
            requests: 2_000,
            concurrency: 50,
            quantity: Some(1),
            first_user_id: None,
        }
    }
}

impl RequestBodySchema for SimulateLoad {
    type Read = Load;
}

/// What is to be measured, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// In what.
    pub campaign: CampaignId,
    /// How many requests.
    pub requests: u32,
    /// How many at the same time.
    pub concurrency: u32,
    /// Units of each.
    pub quantity: u32,
    /// The first user; none: made up.
    pub first_user: Option<UserId>,
}

/// The largest first user, so that all that follow are users, too.
const FIRST_USER_MAX: u64 = INTEGER_MAX - (REQUESTS_MAX as u64 - 1);

impl FromFields for Load {
    fn from_fields(fields: &mut Fields) -> Self {
        let campaign = campaign(fields);
        let requests = fields.integer32("requests", 1..=REQUESTS_MAX);
        let requests = fields.required("requests", requests);
        let concurrency = fields.integer32("concurrency", 1..=CONCURRENCY_MAX);
        let quantity = fields.integer32("quantity", 1..=QUANTITY_MAX);
        let first_user = fields.integer("firstUserId", &(1..=FIRST_USER_MAX));
        Self {
            campaign,
            requests,
            concurrency: fields.required("concurrency", concurrency),
            quantity: fields.not_null("quantity", quantity).unwrap_or(1),
            first_user: fields.not_null("firstUserId", first_user).and_then(user_id),
        }
    }
}

fn campaign(fields: &mut Fields) -> CampaignId {
    let said = match fields.integer("campaignId", &(1..=INTEGER_MAX)) {
        Said::This(id) => i64::try_from(id).map_or(Said::Nothing, Said::This),
        Said::Null => Said::Null,
        Said::Nothing => Said::Nothing,
    };
    CampaignId(fields.required("campaignId", said))
}
