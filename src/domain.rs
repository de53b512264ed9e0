//! The business types of the service. No I/O, no async, no clock: everything here is a value.

pub mod account;
pub mod actor;
pub mod audit;
pub mod campaign;
pub mod campaign_event;
pub mod change;
pub mod daily;
pub mod day;
pub mod dead_letter;
pub mod event;
pub mod ids;
pub mod key;
pub mod metric;
pub mod order;
pub mod participation;
pub mod reward;
pub(crate) mod words;

pub use account::LoginName;
pub use actor::{Actor, AdminToken};
pub use audit::{AuditAction, AuditNote, Origin};
pub use campaign::{Campaign, Kind, Pricing, Reward, State};
pub use campaign_event::{CampaignEvent, CampaignEventType, CampaignLog};
pub use change::{CancellationPolicy, Obstacle, RequestedChange};
pub use daily::{ByStatus, DaySums};
pub use day::{Day, DayError, Zone};
pub use dead_letter::{DeadLetterId, DeadLetterSource};
pub use event::{CommittedEvents, EventType, KeyChoice, LogPlace, OutboxEvent, StreamId, Topic};
pub use ids::{
    AllowListId, BUCKETS, CampaignId, CouponId, EventId, OrderId, ParticipationId, RunId, UserId,
};
pub use key::key_hash;
pub use order::{
    ORDER_LINES_MAX, Order, OrderDecision, OrderLine, OrderRefusal, OrderStatus, home_of,
};
pub use participation::{Mark, Participation, Refusal, Return, Status, UserUnits};
pub use reward::{
    COUPONS_MAX, Change, Consumer, Coupon, CouponStatus, Entry, EntryKind, Granted, Redeemers,
};

use chrono::{DateTime, SubsecRound, Utc};

/// A point in time, UTC, with the precision of the database: microseconds.
pub type Timestamp = DateTime<Utc>;

/// Cuts `at` to the precision of the database, so that a value equals itself after a write and a read.
#[must_use]
pub fn to_stored_precision(at: Timestamp) -> Timestamp {
    at.trunc_subsecs(6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_cut_to_microseconds_and_not_rounded() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let stored = to_stored_precision(at("2026-11-24T12:00:00.123456999Z"));
        assert_eq!(stored, at("2026-11-24T12:00:00.123456Z"));
        assert_eq!(to_stored_precision(stored), stored);
    }
}
