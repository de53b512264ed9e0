//! Campaigns as clients see them.

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use serde::Serialize;

use crate::domain::campaign::CouponTerms;
use crate::domain::{Campaign, Instant, Kind, Reward, State};

/// What kind of thing a campaign hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "Kind", rename_all = "snake_case")]
pub enum KindWord {
    /// Coupons with terms.
    Coupon,
    /// Points.
    Points,
    /// Items sold within a window.
    TimeDeal,
    /// Items sold without a window.
    General,
}

impl From<Kind> for KindWord {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Coupon => Self::Coupon,
            Kind::Points => Self::Points,
            Kind::TimeDeal => Self::TimeDeal,
            Kind::General => Self::General,
        }
    }
}

impl From<KindWord> for Kind {
    fn from(word: KindWord) -> Self {
        match word {
            KindWord::Coupon => Self::Coupon,
            KindWord::Points => Self::Points,
            KindWord::TimeDeal => Self::TimeDeal,
            KindWord::General => Self::General,
        }
    }
}

/// Where a campaign stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "State", rename_all = "snake_case")]
pub enum StateWord {
    /// Being prepared; nobody can take part.
    Draft,
    /// Opens by itself at `opensAt`.
    Scheduled,
    /// Takes participations.
    Open,
    /// Stopped for a while by an admin.
    Paused,
    /// Over; never opens again.
    Closed,
    /// Over and out of the catalogue.
    Archived,
}

impl From<State> for StateWord {
    fn from(state: State) -> Self {
        match state {
            State::Draft => Self::Draft,
            State::Scheduled => Self::Scheduled,
            State::Open => Self::Open,
            State::Paused => Self::Paused,
            State::Closed => Self::Closed,
            State::Archived => Self::Archived,
        }
    }
}

impl From<StateWord> for State {
    fn from(word: StateWord) -> Self {
        match word {
            StateWord::Draft => Self::Draft,
            StateWord::Scheduled => Self::Scheduled,
            StateWord::Open => Self::Open,
            StateWord::Paused => Self::Paused,
            StateWord::Closed => Self::Closed,
            StateWord::Archived => Self::Archived,
        }
    }
}

/// What a participation earns: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[oai(rename = "Reward", skip_serializing_if_is_none)]
pub struct RewardView {
    /// So many points.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(validator(minimum(value = "1"), maximum(value = "4294967295")))]
    pub points: Option<u32>,
    /// A coupon with these terms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coupon: Option<CouponView>,
}

/// The terms of a coupon; amounts in the smallest unit of the currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Coupon", rename_all = "camelCase")]
pub struct CouponView {
    /// What the coupon takes off an order.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    pub discount_amount: u64,
    /// The least an order must come to; 0 when left out.
    #[oai(default, validator(maximum(value = "9007199254740991")))]
    pub minimum_order_amount: u64,
    /// The first moment it can be used; null or left out: at once.
    #[oai(nullable)]
    pub valid_from: Option<Instant>,
    /// The last moment it can be used; null: for ever.
    #[oai(nullable)]
    pub valid_until: Option<Instant>,
}

impl From<&Reward> for RewardView {
    fn from(reward: &Reward) -> Self {
        match reward {
            Reward::Points(points) => Self {
                points: Some(*points),
                coupon: None,
            },
            Reward::Coupon(CouponTerms {
                discount_amount,
                minimum_order_amount,
                valid_from,
                valid_until,
            }) => Self {
                points: None,
                coupon: Some(CouponView {
                    discount_amount: *discount_amount,
                    minimum_order_amount: *minimum_order_amount,
                    valid_from: *valid_from,
                    valid_until: *valid_until,
                }),
            },
        }
    }
}

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Campaign", rename_all = "camelCase", example)]
pub struct CampaignView {
    /// Number of the campaign.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What it is about; may be empty.
    pub description: String,
    /// What kind of thing it hands out.
    pub kind: KindWord,
    /// Where it stands in its life.
    pub state: StateWord,
    /// Units there are; null: unlimited.
    #[oai(nullable)]
    pub total_stock: Option<u64>,
    /// Units still to be had; null: unlimited.
    #[oai(nullable)]
    pub current_stock: Option<u64>,
    /// Units one user may hold.
    pub per_user_limit: u32,
    /// Units one request may ask for.
    pub max_quantity: u32,
    /// Price of a unit in the smallest unit of the currency; null: free.
    #[oai(nullable)]
    pub price: Option<u64>,
    /// Seconds that a reservation of a paid campaign waits for its payment.
    pub hold_seconds: u32,
    /// First moment of the window; null: from the start.
    #[oai(nullable)]
    pub opens_at: Option<Instant>,
    /// End of the window, itself outside; null: no end.
    #[oai(nullable)]
    pub closes_at: Option<Instant>,
    /// What a participation earns; null: nothing.
    #[oai(nullable)]
    pub reward: Option<RewardView>,
    /// Whether a confirmed participation may be cancelled.
    pub cancellable: bool,
    /// When it was created.
    pub created_at: Instant,
}

impl CampaignView {
    /// A campaign as it stands at `now`: the clock may have moved it before anybody wrote that down.
    pub fn at(campaign: &Campaign, now: Instant) -> Self {
        Self {
            id: campaign.id.0,
            name: campaign.name.clone(),
            description: campaign.description.clone(),
            kind: campaign.kind.into(),
            state: campaign.state_at(now).into(),
            total_stock: campaign.total_stock,
            current_stock: campaign.current_stock(),
            per_user_limit: campaign.per_user_limit,
            max_quantity: campaign.max_quantity,
            price: campaign.price,
            hold_seconds: campaign.hold_seconds,
            opens_at: campaign.opens_at,
            closes_at: campaign.closes_at,
            reward: campaign.reward.as_ref().map(RewardView::from),
            cancellable: campaign.cancellable,
            created_at: campaign.created_at,
        }
    }
}

impl Example for CampaignView {
    fn example() -> Self {
        Self {
            id: 1,
            name: "First hundred".to_owned(),
            description: "100 points for the first hundred.".to_owned(),
            kind: KindWord::Points,
            state: StateWord::Open,
            total_stock: Some(100),
            current_stock: Some(24),
            per_user_limit: 1,
            max_quantity: 1,
            price: None,
            hold_seconds: 120,
            opens_at: None,
            closes_at: None,
            reward: Some(RewardView {
                points: Some(100),
                coupon: None,
            }),
            cancellable: false,
            created_at: Instant::UNIX_EPOCH,
        }
    }
}

/// A page of campaigns.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename_all = "camelCase")]
pub struct CampaignList {
    /// Newest first.
    pub items: Vec<CampaignView>,
    /// Asks for the next page; null: this was the last.
    #[oai(nullable)]
    pub next_cursor: Option<String>,
}

/// The stock of a campaign.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Stock", rename_all = "camelCase")]
pub struct StockView {
    /// Number of the campaign.
    pub campaign_id: i64,
    /// Units there are; null: unlimited.
    #[oai(nullable)]
    pub total_stock: Option<u64>,
    /// Units still to be had; null: unlimited.
    #[oai(nullable)]
    pub current_stock: Option<u64>,
    /// Whether nothing is left.
    pub sold_out: bool,
}

impl From<&Campaign> for StockView {
    fn from(campaign: &Campaign) -> Self {
        let current_stock = campaign.current_stock();
        Self {
            campaign_id: campaign.id.0,
            total_stock: campaign.total_stock,
            current_stock,
            sold_out: current_stock == Some(0),
        }
    }
}
