//! Request bodies about campaigns.

use crate::domain::campaign::CouponTerms;
use crate::domain::{Kind, Reward, State, Timestamp};
use crate::http::fields::{Field, Fields, INTEGER_MAX, RequestObject, request_object};
use crate::http::participations::QUANTITY_MAX;
use crate::http::problem::Problem;
use crate::parts::store::{CampaignChange, NewCampaign};

/// Longest time that a reservation can wait for its payment: a day.
const HOLD_SECONDS_MAX: u32 = 86_400;

/// Default time that a reservation waits for its payment.
const HOLD_SECONDS_DEFAULT: u32 = 120;

/// The states that a campaign can begin in.
const FIRST_STATES: [&str; 3] = ["draft", "scheduled", "open"];

request_object! {
    /// Creates a campaign.
    pub struct Draft as "CreateCampaign" {
        /// Its name.
        name: String = text("name", 1..=200).required(),
        /// Its description; empty when left out.
        description: String = text("description", ..=4_000).optional().unwrap_or_default(),
        /// The kind of goods that it hands out; `general` when left out. `coupon` needs a coupon as its reward, `points`
        /// needs points, `time_deal` needs an end.
        kind: Kind = word("kind", Kind::WORDS).optional().unwrap_or(Kind::General),
        /// `draft` keeps the campaign closed until it is opened; otherwise `opensAt` decides.
        state: Option<State> = word("state", &FIRST_STATES).optional(),
        /// The terms.
        terms: Terms = all_of(""),
    }
    example {
        "name": "First hundred",
        "description": "100 points for the first hundred.",
        "kind": "points",
        "totalStock": 100,
        "perUserLimit": 1,
        "maxQuantity": 1,
        "reward": { "points": 100 },
    }
}

impl Draft {
    /// The campaign to create at `now`, which decides the state that it begins in.
    pub fn campaign(self, now: Timestamp) -> Result<NewCampaign, Problem> {
        let terms = self.terms;
        let opens_at = terms.opens_at.value();
        let opens_later = opens_at.is_some_and(|opens_at| opens_at > now);
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
        Ok(NewCampaign {
            name: self.name,
            description: self.description,
            kind: self.kind,
            state,
            total_stock: terms.total_stock.value(),
            per_user_limit: terms.per_user_limit.unwrap_or(1),
            max_quantity: terms.max_quantity.unwrap_or(1),
            price: terms.price.value().filter(|price| *price > 0),
            hold_seconds: terms.hold_seconds.unwrap_or(HOLD_SECONDS_DEFAULT),
            opens_at,
            closes_at: terms.closes_at.value(),
            reward: terms.reward.value(),
            cancellable: terms.cancellable.unwrap_or(false),
        })
    }
}

request_object! {
    /// Changes a campaign. A field that is left out stays unchanged.
    pub struct Change as "ChangeCampaign" {
        /// Its name.
        name: Option<String> = text("name", 1..=200).optional(),
        /// Its description.
        description: Option<String> = text("description", ..=4_000).optional(),
        /// The terms.
        terms: Terms = all_of(""),
    }
    example { "totalStock": 150 }
}

impl From<Change> for CampaignChange {
    fn from(change: Change) -> Self {
        let terms = change.terms;
        let price = terms.price.change();
        Self {
            state: None,
            name: change.name,
            description: change.description,
            total_stock: terms.total_stock.change(),
            per_user_limit: terms.per_user_limit,
            max_quantity: terms.max_quantity,
            price: price.map(|price| price.filter(|price| *price > 0)),
            hold_seconds: terms.hold_seconds,
            opens_at: terms.opens_at.change(),
            closes_at: terms.closes_at.change(),
            reward: terms.reward.change(),
            cancellable: terms.cancellable,
        }
    }
}

request_object! {
    /// The fields that creating and changing have in common.
    struct Terms as "CampaignTerms" {
        /// Units in stock; null: unlimited.
        total_stock: Field<u64> = integer("totalStock", 0..=INTEGER_MAX).nullable(),
        /// Units that one user may hold; 1 by default.
        per_user_limit: Option<u32> = integer32("perUserLimit", 1..=QUANTITY_MAX).optional(),
        /// Units that one request may ask for; 1 by default.
        max_quantity: Option<u32> = integer32("maxQuantity", 1..=QUANTITY_MAX).optional(),
        /// Price of a unit in the smallest unit of the currency; 0 or null: free.
        price: Field<u64> = integer("price", 0..=INTEGER_MAX).nullable(),
        /// Seconds that a reservation waits for its payment; 120 by default.
        hold_seconds: Option<u32> = integer32("holdSeconds", 1..=HOLD_SECONDS_MAX).optional(),
        /// Start of the window; null: no start.
        opens_at: Field<Timestamp> = instant("opensAt").nullable(),
        /// End of the window, exclusive; null: no end.
        closes_at: Field<Timestamp> = instant("closesAt").nullable(),
        /// Reward of a participation; null: none.
        reward: Field<Reward> = object("reward").nullable().flatten(),
        /// Whether a confirmed participation may be cancelled; false by default.
        cancellable: Option<bool> = flag("cancellable").optional(),
    }
    check check_window
}

/// A window must not end before it begins. The store checks the rest.
fn check_window(fields: &mut Fields, terms: &Terms) {
    if let (Field::Value(opens_at), Field::Value(closes_at)) = (&terms.opens_at, &terms.closes_at)
        && closes_at <= opens_at
    {
        fields.wrong("closesAt", "must be after opensAt");
    }
}

impl RequestObject for Option<Reward> {
    const NAME: &'static str = "Reward";
    const DESCRIPTION: &'static str = "The reward of a participation: either points or a coupon.";

    fn define(fields: &mut Fields) -> Self {
        let points = fields.integer32(("points", "Number of points."), 1..=u32::MAX);
        let points = points.optional();
        let coupon = fields.object::<CouponTerms>(("coupon", "A coupon with these terms."));
        match (points, coupon.optional()) {
            (Some(points), None) => Some(Reward::Points(points)),
            (None, Some(terms)) => Some(Reward::Coupon(terms)),
            _ => {
                fields.wrong_here("must have exactly one of points and coupon");
                None
            }
        }
    }
}

request_object! {
    /// The terms of a coupon; amounts are in the smallest unit of the currency.
    for CouponTerms as "Coupon" {
        /// Discount on an order.
        discount_amount = integer("discountAmount", 1..=INTEGER_MAX).required(),
        /// Minimum amount of an order; 0 when left out.
        minimum_order_amount = integer("minimumOrderAmount", ..=INTEGER_MAX)
            .in_schema(|schema| schema.default = Some(0.into()))
            .lenient()
            .value()
            .unwrap_or(0),
        /// Start of its validity; null or left out: no start.
        valid_from = instant("validFrom").nullable().value(),
        /// End of its validity, inclusive; null: no end.
        valid_until = instant("validUntil").nullable().value(),
    }
    check check_validity
}

fn check_validity(fields: &mut Fields, terms: &CouponTerms) {
    if let (Some(from), Some(until)) = (terms.valid_from, terms.valid_until)
        && until < from
    {
        fields.wrong("validUntil", "must not be before validFrom");
    }
}

#[cfg(test)]
mod tests;
