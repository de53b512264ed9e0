//! What the benchmarks work on: a campaign without a bound, and those who take part in it.

use firstcome::domain::{
    Campaign, KeyChoice, Kind, ParticipationId, State, Timestamp, UserId, to_stored_precision,
};
use firstcome::parts::store::{Applicant, Making, NewCampaign, NewParticipation, RankAssignment};
use firstcome::runtime::clock::Clock;

/// Calls are measured with one of them, and with as many as a group commit takes by default.
pub const SIZES: [u64; 2] = [1, 256];

/// A campaign that never ends, for one unit each.
#[must_use]
pub fn endless() -> NewCampaign {
    NewCampaign {
        name: "a campaign".to_owned(),
        description: String::new(),
        kind: Kind::General,
        state: State::Open,
        total_stock: None,
        per_user_limit: 1,
        max_quantity: 1,
        price: None,
        hold_seconds: 120,
        opens_at: None,
        closes_at: None,
        reward: None,
        cancellable: false,
    }
}

/// The time, as the store keeps it.
#[must_use]
pub fn now() -> Timestamp {
    to_stored_precision(Clock::System.now())
}

/// The user with the number of their place in line.
#[must_use]
pub fn user(rank: u64) -> UserId {
    UserId(i64::try_from(rank).unwrap_or(i64::MAX))
}

/// The rows of somebody who was admitted in this place, as the service makes them.
#[must_use]
pub fn new_participation(campaign: &Campaign, rank: u64) -> NewParticipation {
    let applicant = Applicant {
        participation: ParticipationId::generate(),
        user: user(rank),
        quantity: 1,
        idempotency_key: None,
        traceparent: None,
        since: std::time::Instant::now(),
        by: None,
        order: None,
    };
    let assignment = RankAssignment {
        rank,
        remaining: None,
    };
    let making = Making {
        key_choice: KeyChoice::Participation,
        now: now(),
        hold: None,
    };
    NewParticipation::of(campaign, &applicant, assignment, &making)
}
