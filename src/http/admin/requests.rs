//! Request bodies about campaigns.

use serde_json::{Value, json};

use crate::domain::campaign::CouponTerms;
use crate::domain::{Instant, Kind, Reward, State};
use crate::http::fields::{Field, Fields, INTEGER_MAX, RequestObject};
use crate::http::participations::QUANTITY_MAX;
use crate::http::problem::Problem;
use crate::parts::store::{CampaignChange, NewCampaign};

/// Longest time that a reservation can wait for its payment: a day.
const HOLD_SECONDS_MAX: u32 = 86_400;

/// Default time that a reservation waits for its payment.
const HOLD_SECONDS_DEFAULT: u32 = 120;

/// The states that a campaign can begin in.
const FIRST_STATES: [&str; 3] = ["draft", "scheduled", "open"];

/// A campaign to be created. The state that it begins in depends on the time.
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

impl RequestObject for Draft {
    const NAME: &'static str = "CreateCampaign";
    const DESCRIPTION: &'static str = "Creates a campaign.";

    fn example() -> Option<Value> {
        Some(json!({
            "name": "First hundred",
            "description": "100 points for the first hundred.",
            "kind": "points",
            "totalStock": 100,
            "perUserLimit": 1,
            "maxQuantity": 1,
            "reward": { "points": 100 },
        }))
    }

    fn define(fields: &mut Fields) -> Self {
        let name = fields.text("name", "Its name.", 1..=200).required();
        let description = fields.text(
            "description",
            "Its description; empty when left out.",
            ..=4_000,
        );
        let description = description.optional().unwrap_or_default();
        let kind = fields.word(
            "kind",
            "The kind of goods that it hands out; `general` when left out. `coupon` needs a coupon as its reward, \
             `points` needs points, `time_deal` needs an end.",
            Kind::WORDS,
        );
        let kind = kind.optional().unwrap_or(Kind::General);
        let state = fields.word(
            "state",
            "`draft` keeps the campaign closed until it is opened; otherwise `opensAt` decides.",
            &FIRST_STATES,
        );
        let state = state.optional();
        let terms = Terms::define(fields);
        Self {
            new: NewCampaign {
                name,
                description,
                kind,
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
        }
    }
}

/// A change of a campaign.
pub struct Change(pub CampaignChange);

impl RequestObject for Change {
    const NAME: &'static str = "ChangeCampaign";
    const DESCRIPTION: &'static str =
        "Changes a campaign. A field that is left out stays unchanged.";

    fn example() -> Option<Value> {
        Some(json!({ "totalStock": 150 }))
    }

    fn define(fields: &mut Fields) -> Self {
        let name = fields.text("name", "Its name.", 1..=200).optional();
        let description = fields.text("description", "Its description.", ..=4_000);
        let description = description.optional();
        let terms = Terms::define(fields);
        let price = terms.price.change();
        Self(CampaignChange {
            state: None,
            name,
            description,
            total_stock: terms.total_stock.change(),
            per_user_limit: terms.per_user_limit,
            max_quantity: terms.max_quantity,
            price: price.map(|price| price.filter(|price| *price > 0)),
            hold_seconds: terms.hold_seconds,
            opens_at: terms.opens_at.change(),
            closes_at: terms.closes_at.change(),
            reward: terms.reward.change(),
            cancellable: terms.cancellable,
        })
    }
}

/// The fields that creating and changing have in common.
struct Terms {
    total_stock: Field<u64>,
    per_user_limit: Option<u32>,
    max_quantity: Option<u32>,
    price: Field<u64>,
    hold_seconds: Option<u32>,
    opens_at: Field<Instant>,
    closes_at: Field<Instant>,
    reward: Field<Reward>,
    cancellable: Option<bool>,
}

impl Terms {
    fn define(fields: &mut Fields) -> Self {
        let units = 0..=INTEGER_MAX;
        let quantity = 1..=QUANTITY_MAX;
        let terms = Self {
            total_stock: fields
                .integer(
                    "totalStock",
                    "Units in stock; null: unlimited.",
                    units.clone(),
                )
                .nullable(),
            per_user_limit: fields
                .integer32(
                    "perUserLimit",
                    "Units that one user may hold; 1 by default.",
                    quantity.clone(),
                )
                .optional(),
            max_quantity: fields
                .integer32(
                    "maxQuantity",
                    "Units that one request may ask for; 1 by default.",
                    quantity,
                )
                .optional(),
            price: fields
                .integer(
                    "price",
                    "Price of a unit in the smallest unit of the currency; 0 or null: free.",
                    units,
                )
                .nullable(),
            hold_seconds: fields
                .integer32(
                    "holdSeconds",
                    "Seconds that a reservation waits for its payment; 120 by default.",
                    1..=HOLD_SECONDS_MAX,
                )
                .optional(),
            opens_at: fields
                .instant("opensAt", "Start of the window; null: no start.")
                .nullable(),
            closes_at: fields
                .instant("closesAt", "End of the window, exclusive; null: no end.")
                .nullable(),
            reward: fields
                .object::<Option<Reward>>("reward", "Reward of a participation; null: none.")
                .nullable()
                .flatten(),
            cancellable: fields
                .flag(
                    "cancellable",
                    "Whether a confirmed participation may be cancelled; false by default.",
                )
                .optional(),
        };
        check_window(fields, &terms.opens_at, &terms.closes_at);
        terms
    }
}

/// A window must not end before it begins. The store checks the rest.
fn check_window(fields: &mut Fields, opens_at: &Field<Instant>, closes_at: &Field<Instant>) {
    if let (Field::Value(opens_at), Field::Value(closes_at)) = (opens_at, closes_at)
        && closes_at <= opens_at
    {
        fields.wrong("closesAt", "must be after opensAt");
    }
}

impl RequestObject for Option<Reward> {
    const NAME: &'static str = "Reward";
    const DESCRIPTION: &'static str = "The reward of a participation: either points or a coupon.";

    fn define(fields: &mut Fields) -> Self {
        let points = fields.integer32("points", "Number of points.", 1..=u32::MAX);
        let points = points.optional();
        let coupon = fields.object::<CouponTerms>("coupon", "A coupon with these terms.");
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

impl RequestObject for CouponTerms {
    const NAME: &'static str = "Coupon";
    const DESCRIPTION: &'static str =
        "The terms of a coupon; amounts are in the smallest unit of the currency.";

    fn define(fields: &mut Fields) -> Self {
        let terms = Self {
            discount_amount: fields
                .integer("discountAmount", "Discount on an order.", 1..=INTEGER_MAX)
                .required(),
            minimum_order_amount: fields
                .integer(
                    "minimumOrderAmount",
                    "Minimum amount of an order; 0 when left out.",
                    ..=INTEGER_MAX,
                )
                .in_schema(|schema| schema.default = Some(0.into()))
                .lenient()
                .value()
                .unwrap_or(0),
            valid_from: fields
                .instant(
                    "validFrom",
                    "Start of its validity; null or left out: no start.",
                )
                .nullable()
                .value(),
            valid_until: fields
                .instant(
                    "validUntil",
                    "End of its validity, inclusive; null: no end.",
                )
                .nullable()
                .value(),
        };
        if let (Some(from), Some(until)) = (terms.valid_from, terms.valid_until)
            && until < from
        {
            fields.wrong("validUntil", "must not be before validFrom");
        }
        terms
    }
}

#[cfg(test)]
mod tests;
