//! Campaigns as clients see them.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Example, ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{list, view};
use crate::domain::{Campaign, Kind, Reward, State, Timestamp};
use crate::http::fields::{self, RequestObject as _};
use crate::http::words::{Word, vocabulary};

vocabulary!(
    Kind,
    "CampaignKind",
    "The kind of goods that a campaign hands out."
);
vocabulary!(State, "CampaignState", "The state of a campaign.");

/// The reward of a participation, with the schema of its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardView(pub Reward);

impl Serialize for RewardView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serde_json::to_value(&self.0).map_err(S::Error::custom)?;
        // A stored reward leaves it out.
        if let Some(Value::Object(terms)) = value.get_mut("coupon") {
            terms.entry("validFrom").or_insert(Value::Null);
        }
        value.serialize(serializer)
    }
}

impl Type for RewardView {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        <Option<Reward>>::NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        fields::schema_ref::<Option<Reward>>()
    }

    fn register(registry: &mut Registry) {
        fields::register::<Option<Reward>>(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for RewardView {
    fn to_json(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

impl ParseFromJSON for RewardView {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let reward = fields::read::<Option<Reward>>(value.unwrap_or_default()).ok();
        let reward = reward.flatten().map(Self);
        reward.ok_or_else(|| ParseError::custom("not a reward"))
    }
}

view! {
    /// A campaign.
    #[derive(Clone, PartialEq)]
    pub struct CampaignView as "Campaign", example
    of(campaign: &Campaign, now: Timestamp) {
        /// Id of the campaign.
        id: i64 = campaign.id.0,
        /// Its name.
        name: String = campaign.name.clone(),
        /// Its description; may be empty.
        description: String = campaign.description.clone(),
        /// The kind of goods that it hands out.
        kind: Word<Kind> = campaign.kind.into(),
        /// Its state.
        // Its schedule may have changed it before the store has it.
        state: Word<State> = campaign.state_at(now).into(),
        /// Units in stock; null: unlimited.
        #[oai(nullable)]
        total_stock: Option<u64>,
        /// Units left; null: unlimited.
        #[oai(nullable)]
        current_stock: Option<u64> = campaign.current_stock(),
        /// Units that one user may hold.
        per_user_limit: u32,
        /// Units that one request may ask for.
        max_quantity: u32,
        /// Price of a unit in the smallest unit of the currency; null: free.
        #[oai(nullable)]
        price: Option<u64>,
        /// Seconds that a reservation waits for its payment.
        hold_seconds: u32,
        /// Start of the window; null: no start.
        #[oai(nullable)]
        opens_at: Option<Timestamp>,
        /// End of the window, exclusive; null: no end.
        #[oai(nullable)]
        closes_at: Option<Timestamp>,
        /// Reward of a participation; null: none.
        #[oai(nullable)]
        reward: Option<RewardView> = campaign.reward.clone().map(RewardView),
        /// Whether a confirmed participation may be cancelled.
        cancellable: bool,
        /// Number of reviews.
        review_count: u64 = campaign.ratings.count,
        /// Average of their ratings, from 1 to 5, to hundredths; null: there is none.
        #[oai(nullable)]
        average_rating: Option<f64> = campaign.ratings.average(),
        /// When it was created.
        created_at: Timestamp,
    }
}

impl Example for CampaignView {
    fn example() -> Self {
        Self {
            id: 1,
            name: "First hundred".to_owned(),
            description: "100 points for the first hundred.".to_owned(),
            kind: Word(Kind::Points),
            state: Word(State::Open),
            total_stock: Some(100),
            current_stock: Some(24),
            per_user_limit: 1,
            max_quantity: 1,
            price: None,
            hold_seconds: 120,
            opens_at: None,
            closes_at: None,
            reward: Some(RewardView(Reward::Points(100))),
            cancellable: false,
            review_count: 12,
            average_rating: Some(4.5),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }
}

list! {
    /// A page of campaigns.
    CampaignList as "CampaignList": CampaignView, "Newest first."
}

view! {
    /// The stock of a campaign.
    pub struct StockView as "Stock" from campaign: &Campaign {
        /// Id of the campaign.
        campaign_id: i64 = campaign.id.0,
        /// Units in stock; null: unlimited.
        #[oai(nullable)]
        total_stock: Option<u64>,
        /// Units left; null: unlimited.
        #[oai(nullable)]
        current_stock: Option<u64> = campaign.current_stock(),
        /// Whether no unit is left.
        sold_out: bool = campaign.current_stock() == Some(0),
    }
}
