//! A campaign: the goods, their number, and the conditions for getting them.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::words::words;
use super::{AllowListId, CampaignId, Refusal, Timestamp};

words! {
    /// The kind of goods that a campaign hands out.
    pub enum Kind {
        /// Coupons with terms.
        Coupon = "coupon",
        /// Points.
        Points = "points",
        /// Items sold within a window.
        TimeDeal = "time_deal",
        /// Items sold without a window.
        General = "general",
    }
}

words! {
    /// The state of a campaign: draft → scheduled → open ⇄ paused → closed → archived.
    pub enum State {
        /// In preparation; it accepts no participations.
        Draft = "draft",
        /// Opens by itself at `opens_at`.
        Scheduled = "scheduled",
        /// Accepts participations.
        Open = "open",
        /// Stopped for a while by an admin.
        Paused = "paused",
        /// Ended; never opens again.
        Closed = "closed",
        /// Ended, and not in the catalogue.
        Archived = "archived",
    }
}

/// Whether campaigns with a price are sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pricing {
    /// They are: payments are possible.
    Sold,
    /// They are not: they stay drafts, and open ones make no reservations, because there is no provider for payments.
    Refused,
}

impl State {
    /// Whether an admin or the schedule may move a campaign from here to `next`.
    ///
    /// ```
    /// use firstcome::domain::State;
    ///
    /// assert!(State::Open.can_become(State::Paused));
    /// assert!(!State::Closed.can_become(State::Open));
    /// ```
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Draft, Self::Scheduled | Self::Open | Self::Archived)
                | (
                    Self::Scheduled,
                    Self::Open | Self::Paused | Self::Closed | Self::Draft
                )
                | (Self::Open, Self::Paused | Self::Closed)
                | (Self::Paused, Self::Open | Self::Scheduled | Self::Closed)
                | (Self::Closed, Self::Archived)
        )
    }
}

/// The reward of a participation, granted by a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reward {
    /// Points.
    Points(u32),
    /// Coupons with these terms.
    Coupon(CouponTerms),
}

/// The terms of a coupon; amounts in the smallest unit of the currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CouponTerms {
    /// Discount on an order.
    pub discount_amount: u64,
    /// Minimum amount of an order.
    pub minimum_order_amount: u64,
    /// The first moment it can be used; none: at once. Missing in terms that were stored before this field existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// The last moment it can be used; none: for ever.
    pub valid_until: Option<Timestamp>,
}

/// The ratings of a campaign's reviews.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratings {
    /// Number of reviews.
    pub count: u64,
    /// Sum of their ratings.
    pub sum: u64,
}

impl Ratings {
    /// The average, rounded to hundredths; none: there is no review.
    ///
    /// ```
    /// use firstcome::domain::campaign::Ratings;
    ///
    /// assert_eq!(Ratings { count: 3, sum: 13 }.average(), Some(4.33));
    /// assert_eq!(Ratings::default().average(), None);
    /// ```
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "sums of ratings are far below 2^53"
    )]
    pub fn average(self) -> Option<f64> {
        let hundredths = (self.sum * 100 + self.count / 2).checked_div(self.count)?;
        Some(hundredths as f64 / 100.0)
    }
}

/// A campaign as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// Number given by the store.
    pub id: CampaignId,
    /// For people.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// The kind of goods that it hands out.
    pub kind: Kind,
    /// Its state.
    pub state: State,
    /// Its stock; none: unlimited.
    pub total_stock: Option<u64>,
    /// Units committed in the database.
    pub committed_units: u64,
    /// Units that one user may hold.
    pub per_user_limit: u32,
    /// The highest limit so far: a user may hold that many units.
    pub per_user_limit_max: u32,
    /// Units that one request may ask for.
    pub max_quantity: u32,
    /// Price of a unit in the smallest unit of the currency; none: free.
    pub price: Option<u64>,
    /// How long a reservation of a paid campaign waits for its payment.
    pub hold_seconds: u32,
    /// First moment of the window; none: from the start.
    pub opens_at: Option<Timestamp>,
    /// End of the window, exclusive; none: no end.
    pub closes_at: Option<Timestamp>,
    /// Reward of a participation.
    pub reward: Option<Reward>,
    /// Whether a confirmed participation may be cancelled.
    pub cancellable: bool,
    /// Its allow list; none: every user may participate.
    pub allow_list: Option<AllowListId>,
    /// Number of returns of its units.
    pub returns: u64,
    /// Its reviews.
    pub ratings: Ratings,
    /// Generation of the gate's state; a writer commits only admissions of this one.
    pub gate_epoch: u64,
    /// Raised by every change of the fields above, so that old settings never overwrite newer ones.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Campaign {
    /// Available units according to the database; none: unlimited.
    #[must_use]
    pub fn current_stock(&self) -> Option<u64> {
        self.total_stock
            .map(|total| total.saturating_sub(self.committed_units))
    }

    /// Whether a participation must be paid, and so starts as a reservation.
    #[must_use]
    pub const fn is_paid(&self) -> bool {
        self.price.is_some()
    }

    /// The state at `now`: scheduled campaigns open and close by the clock, even if the schedule has not
    /// written their state yet.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        let over = self.closes_at.is_some_and(|closes_at| now >= closes_at);
        match self.state {
            State::Scheduled | State::Open | State::Paused if over => State::Closed,
            State::Scheduled if self.opens_at.is_none_or(|opens_at| now >= opens_at) => State::Open,
            state => state,
        }
    }

    /// Why no participation is possible at `now`, if none is. The gate decides again by its own clock.
    #[must_use]
    pub fn closed_to_all(&self, now: Timestamp) -> Option<Refusal> {
        match self.state {
            State::Draft => Some(Refusal::NotOpenYet {
                opens_at: self.opens_at,
            }),
            State::Paused => Some(Refusal::Paused),
            State::Closed | State::Archived => Some(Refusal::Ended),
            State::Scheduled | State::Open => match (self.opens_at, self.closes_at) {
                (Some(opens_at), _) if now < opens_at => Some(Refusal::NotOpenYet {
                    opens_at: Some(opens_at),
                }),
                (_, Some(closes_at)) if now >= closes_at => Some(Refusal::Ended),
                _ => None,
            },
        }
    }

    /// Why no participation is possible at any time in `span`, if none is.
    #[must_use]
    pub fn closed_throughout(&self, span: &RangeInclusive<Timestamp>) -> Option<Refusal> {
        let first = self.closed_to_all(*span.start())?;
        (self.closed_to_all(*span.end()).as_ref() == Some(&first)).then_some(first)
    }
}

/// An open campaign of 10 units, for tests.
#[cfg(test)]
impl Campaign {
    pub(crate) fn example() -> Self {
        Self {
            id: CampaignId(1),
            name: String::new(),
            description: String::new(),
            kind: Kind::General,
            state: State::Open,
            total_stock: Some(10),
            committed_units: 0,
            per_user_limit: 2,
            per_user_limit_max: 2,
            max_quantity: 2,
            price: None,
            hold_seconds: 120,
            opens_at: None,
            closes_at: None,
            reward: None,
            cancellable: false,
            allow_list: None,
            returns: 0,
            ratings: Ratings::default(),
            gate_epoch: 3,
            version: 1,
            created_at: Timestamp::default(),
        }
    }
}

#[cfg(test)]
mod tests;
