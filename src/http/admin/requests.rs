//! Bodies of requests about campaigns: their schemas, and how they are read.

use poem_openapi::Object;
use poem_openapi::types::Example;

use crate::domain::campaign::CouponTerms;
use crate::domain::{Instant, Kind, Reward, State};
use crate::http::fields::{Fields, FromFields, INTEGER_MAX, Said};
use crate::http::json::RequestBodySchema;
use crate::http::participations::QUANTITY_MAX;
use crate::http::problem::Problem;
use crate::http::views::{KindWord, RewardView, StateWord};
use crate::parts::store::{CampaignChange, NewCampaign};

/// Longest time a reservation can wait for its payment: a day.
const HOLD_SECONDS_MAX: u32 = 86_400;

/// Time a reservation waits for its payment when nothing is said.
const HOLD_SECONDS_DEFAULT: u32 = 120;

/// Characters of a name and of a description, as the database keeps them.
const NAME: std::ops::RangeInclusive<usize> = 1..=200;
const DESCRIPTION: std::ops::RangeInclusive<usize> = 0..=4_000;

const KINDS: [&str; 4] = ["coupon", "points", "time_deal", "general"];
const FIRST_STATES: [&str; 3] = ["draft", "scheduled", "open"];

/// Creates a campaign.
#[derive(Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct CreateCampaign {
    /// Its name.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: String,
    /// What it is about; empty when left out.
    #[oai(validator(max_length = 4000))]
    description: Option<String>,
    /// What kind of thing it hands out; `general` when left out. A `coupon` campaign needs a coupon as its
    /// reward, a `points` campaign points, a `time_deal` an end.
    kind: Option<KindWord>,
    /// `draft` keeps it closed until it is opened; otherwise `opensAt` decides.
    state: Option<StateWord>,
    /// Units there are; null or left out: unlimited.
    #[oai(
        nullable,
        validator(minimum(value = "0"), maximum(value = "9007199254740991"))
    )]
    total_stock: Option<u64>,
    /// Units one user may hold; 1 when left out.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    per_user_limit: Option<u32>,
    /// Units one request may ask for; 1 when left out.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    max_quantity: Option<u32>,
    /// Price of a unit in the smallest unit of the currency; 0, null or left out: free.
    #[oai(
        nullable,
        validator(minimum(value = "0"), maximum(value = "9007199254740991"))
    )]
    price: Option<u64>,
    /// Seconds that a reservation of a paid campaign waits for its payment; 120 when left out.
    #[oai(validator(minimum(value = "1"), maximum(value = "86400")))]
    hold_seconds: Option<u32>,
    /// First moment of the window; null or left out: open at once.
    #[oai(nullable)]
    opens_at: Option<Instant>,
    /// End of the window, itself outside; null or left out: no end.
    #[oai(nullable)]
    closes_at: Option<Instant>,
    /// What a participation earns; null or left out: nothing.
    #[oai(nullable)]
    reward: Option<RewardView>,
    /// Whether a confirmed participation may be cancelled; false when left out.
    cancellable: Option<bool>,
}

impl Example for CreateCampaign {
    fn example() -> Self {
        Self {
            name: "First hundred".to_owned(),
            description: Some("100 points for the first hundred.".to_owned()),
            kind: Some(KindWord::Points),
            state: None,
            total_stock: Some(100),
            per_user_limit: Some(1),
            max_quantity: Some(1),
            price: None,
            hold_seconds: None,
            opens_at: None,
            closes_at: None,
            reward: Some(RewardView {
                points: Some(100),
                coupon: None,
            }),
            cancellable: None,
        }
    }
}

impl RequestBodySchema for CreateCampaign {
    type Read = Draft;
}

/// A campaign to be created, read; which state it begins in depends on the time.
pub struct Draft {
    new: NewCampaign,
    state: Option<State>,
}

impl Draft {
    /// The campaign to create at `now`.
    pub fn campaign(self, now: Instant) -> Result<NewCampaign, Problem> {
        let opens_later = self.new.opens_at.is_some_and(|opens_at| opens_at > now);
        let state = match (self.state, opens_later) {
            (Some(State::Draft), _) => State::Draft,
            (Some(State::Scheduled), false) => {
                return Err(Problem::invalid_field(
                    "opensAt",
                    "must be in the future for a scheduled campaign",
                ));
            }
            (Some(State::Open), true) => {
                return Err(Problem::invalid_field(
                    "state",
                    "cannot be open while opensAt is in the future",
                ));
            }
            (_, true) => State::Scheduled,
            (_, false) => State::Open,
        };
        Ok(NewCampaign { state, ..self.new })
    }
}

impl FromFields for Draft {
    fn from_fields(fields: &mut Fields) -> Self {
        let name = fields.text("name", &NAME);
        let name = fields.required("name", name);
        let description = fields.text("description", &DESCRIPTION);
        let kind = fields.word("kind", &KINDS, Kind::parse);
        let kind = fields.not_null("kind", kind);
        let state = fields.word("state", &FIRST_STATES, State::parse);
        let state = fields.not_null("state", state);
        let terms = Terms::from_fields(fields);
        let draft = Self {
            new: NewCampaign {
                name,
                description: fields
                    .not_null("description", description)
                    .unwrap_or_default(),
                kind: kind.unwrap_or(Kind::General),
                state: State::Draft,
                total_stock: terms.total_stock.value(),
                per_user_limit: terms.per_user_limit.unwrap_or(1),
                max_quantity: terms.max_quantity.unwrap_or(1),
                price: terms.price.value().filter(|price| *price > 0),
                hold_seconds: terms.hold_seconds.unwrap_or(HOLD_SECONDS_DEFAULT),
                opens_at: terms.opens_at.value(),
                closes_at: terms.closes_at.value(),
                reward: terms.reward.value(),
                cancellable: terms.cancellable.unwrap_or(false),
            },
            state,
        };
        check_window(fields, draft.new.opens_at, draft.new.closes_at);
        draft
    }
}

/// Changes a campaign. What is left out stays as it is.
#[derive(Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct ChangeCampaign {
    /// Its name.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Option<String>,
    /// What it is about.
    #[oai(validator(max_length = 4000))]
    description: Option<String>,
    /// Units there are; null: unlimited.
    #[oai(
        nullable,
        validator(minimum(value = "0"), maximum(value = "9007199254740991"))
    )]
    total_stock: Option<u64>,
    /// Units one user may hold.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    per_user_limit: Option<u32>,
    /// Units one request may ask for.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    max_quantity: Option<u32>,
    /// Price of a unit in the smallest unit of the currency; 0 or null: free.
    #[oai(
        nullable,
        validator(minimum(value = "0"), maximum(value = "9007199254740991"))
    )]
    price: Option<u64>,
    /// Seconds that a reservation of a paid campaign waits for its payment.
    #[oai(validator(minimum(value = "1"), maximum(value = "86400")))]
    hold_seconds: Option<u32>,
    /// First moment of the window; null: from the start.
    #[oai(nullable)]
    opens_at: Option<Instant>,
    /// End of the window, itself outside; null: no end.
    #[oai(nullable)]
    closes_at: Option<Instant>,
    /// What a participation earns; null: nothing.
    #[oai(nullable)]
    reward: Option<RewardView>,
    /// Whether a confirmed participation may be cancelled; false when left out.
    cancellable: Option<bool>,
}

impl Example for ChangeCampaign {
    fn example() -> Self {
        Self {
            name: None,
            description: None,
            total_stock: Some(150),
            per_user_limit: None,
            max_quantity: None,
            price: None,
            hold_seconds: None,
            opens_at: None,
            closes_at: None,
            reward: None,
            cancellable: None,
        }
    }
}

impl RequestBodySchema for ChangeCampaign {
    type Read = Change;
}

/// A change, read.
pub struct Change(pub CampaignChange);

impl FromFields for Change {
    fn from_fields(fields: &mut Fields) -> Self {
        let name = fields.text("name", &NAME);
        let description = fields.text("description", &DESCRIPTION);
        let terms = Terms::from_fields(fields);
        let change = CampaignChange {
            state: None,
            name: fields.not_null("name", name),
            description: fields.not_null("description", description),
            total_stock: terms.total_stock.change(),
            per_user_limit: terms.per_user_limit,
            max_quantity: terms.max_quantity,
            price: terms
                .price
                .change()
                .map(|price| price.filter(|price| *price > 0)),
            hold_seconds: terms.hold_seconds,
            opens_at: terms.opens_at.change(),
            closes_at: terms.closes_at.change(),
            reward: terms.reward.change(),
            cancellable: terms.cancellable,
        };
        check_window(
            fields,
            change.opens_at.flatten(),
            change.closes_at.flatten(),
        );
        Self(change)
    }
}

/// The fields that creating and changing have in common.
struct Terms {
    total_stock: Said<u64>,
    per_user_limit: Option<u32>,
    max_quantity: Option<u32>,
    price: Said<u64>,
    hold_seconds: Option<u32>,
    opens_at: Said<Instant>,
    closes_at: Said<Instant>,
    reward: Said<Reward>,
    cancellable: Option<bool>,
}

impl Terms {
    fn from_fields(fields: &mut Fields) -> Self {
        let per_user_limit = fields.integer32("perUserLimit", 1..=QUANTITY_MAX);
        let max_quantity = fields.integer32("maxQuantity", 1..=QUANTITY_MAX);
        let hold_seconds = fields.integer32("holdSeconds", 1..=HOLD_SECONDS_MAX);
        let cancellable = fields.flag("cancellable");
        Self {
            total_stock: fields.integer("totalStock", &(0..=INTEGER_MAX)),
            per_user_limit: fields.not_null("perUserLimit", per_user_limit),
            max_quantity: fields.not_null("maxQuantity", max_quantity),
            price: fields.integer("price", &(0..=INTEGER_MAX)),
            hold_seconds: fields.not_null("holdSeconds", hold_seconds),
            opens_at: fields.instant("opensAt"),
            closes_at: fields.instant("closesAt"),
            reward: reward(fields),
            cancellable: fields.not_null("cancellable", cancellable),
        }
    }
}

/// A window must not end before it begins; the rest of it only the store can check.
fn check_window(fields: &mut Fields, opens_at: Option<Instant>, closes_at: Option<Instant>) {
    if let (Some(opens_at), Some(closes_at)) = (opens_at, closes_at)
        && closes_at <= opens_at
    {
        fields.wrong("closesAt", "must be after opensAt");
    }
}

fn reward(fields: &mut Fields) -> Said<Reward> {
    match fields.object::<Option<Reward>>("reward") {
        Said::This(Some(reward)) => Said::This(reward),
        Said::Null => Said::Null,
        Said::This(None) | Said::Nothing => Said::Nothing,
    }
}

impl FromFields for Option<Reward> {
    fn from_fields(fields: &mut Fields) -> Self {
        let points = fields.integer32("points", 1..=u32::MAX);
        let points = fields.not_null("points", points);
        let coupon = fields.object::<CouponTerms>("coupon");
        let coupon = fields.not_null("coupon", coupon);
        match (points, coupon) {
            (Some(points), None) => Some(Reward::Points(points)),
            (None, Some(terms)) => Some(Reward::Coupon(terms)),
            _ => {
                fields.wrong_here("must have exactly one of points and coupon");
                None
            }
        }
    }
}

impl FromFields for CouponTerms {
    fn from_fields(fields: &mut Fields) -> Self {
        let discount_amount = fields.integer("discountAmount", &(1..=INTEGER_MAX));
        let minimum_order_amount = fields.integer("minimumOrderAmount", &(0..=INTEGER_MAX));
        let valid_from = fields.instant("validFrom").value();
        let valid_until = fields.instant("validUntil").value();
        if let (Some(from), Some(until)) = (valid_from, valid_until)
            && until < from
        {
            fields.wrong("validUntil", "must not be before validFrom");
        }
        Self {
            discount_amount: fields.required("discountAmount", discount_amount),
            minimum_order_amount: minimum_order_amount.value().unwrap_or(0),
            valid_from,
            valid_until,
        }
    }
}

#[cfg(test)]
mod tests;
