//! The words of the service as types. No I/O, no async, no clock: everything here is a value.

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
pub use change::{Obstacle, TakesBack, Wish};
pub use daily::{ByStatus, DaySums};
pub use day::{Day, DayError, Zone};
pub use dead_letter::{DeadLetterId, DeadLetterSource};
pub use event::{EventType, Fresh, KeyChoice, LogPlace, OutboxEvent, StreamId, Topic};
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

/// A point in time, UTC, with the precision the database keeps: microseconds.
pub type Timestamp = DateTime<Utc>;

/// Cuts `at` to what the database keeps, so that a value read back equals the one written.
#[must_use]
pub fn to_stored_precision(at: Timestamp) -> Timestamp {
    at.trunc_subsecs(6)
}
