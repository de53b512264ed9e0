//! Identifiers. Parsed at the edge, trusted inside.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Timestamp;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
    ($(#[$doc:meta])* $name:ident by time) => {
        id! { $(#[$doc])* $name(Uuid) }

        impl $name {
            /// A new identifier, in order of creation.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// A new identifier for the time `at`.
            #[must_use]
            pub fn made_at(at: Timestamp) -> Self {
                Self(made_at(at))
            }
        }
    };
}

id! {
    /// A campaign, numbered by the store from 1.
    CampaignId(i64)
}
id! {
    /// A participant: a positive integer from the identity provider.
    UserId(i64)
}
id! {
    /// One participation: a version 7 UUID made by the service before the call to the gate.
    ParticipationId by time
}
id! {
    /// One order: a version 7 UUID.
    OrderId by time
}
id! {
    /// One outbox event: a version 7 UUID, the `ce_id` by which consumers deduplicate.
    EventId by time
}
id! {
    /// One run of the daily aggregation, numbered by the store from 1.
    RunId(i64)
}
id! {
    /// One version of a campaign's allow-list, numbered by the store from 1.
    AllowListId(i64)
}
id! {
    /// Identifies a coupon. It is not the coupon's code, which is the secret.
    CouponId(Uuid)
}

impl UserId {
    /// The largest integer that every JSON reader represents exactly.
    pub const MAX: i64 = (1 << 53) - 1;

    /// The user with this number, if the number is in range.
    #[must_use]
    pub fn parse(number: i64) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }
}

/// A version 7 UUID for the time of a given clock: rows of a period are found by their identifiers, and the period is
/// given by the same clock. After the milliseconds come twelve bits of their fraction, the lower 22 bits of a counter
/// that orders identifiers of the same time, and forty random bits.
fn made_at(at: Timestamp) -> Uuid {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let fraction = (at.timestamp_subsec_nanos() % 1_000_000) * (1 << 12) / 1_000_000;
    let [_, _, high, low] = fraction.to_be_bytes();
    let [_, first, second, third] = counter.to_be_bytes();
    let [r1, r2, r3, r4, r5, ..] = Uuid::new_v4().into_bytes();
    let tail = [high, low, first, second, third, r1, r2, r3, r4, r5];
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

/// Buckets of campaigns; the streams of each are owned by one relay at a time.
pub const BUCKETS: u16 = 64;

impl CampaignId {
    /// The bucket of the campaign's streams.
    #[must_use]
    pub fn bucket(self) -> u16 {
        u16::try_from(self.0.rem_euclid(i64::from(BUCKETS))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn ids_contain_their_time_and_are_ordered_within_it() {
        let noon: Timestamp = "2026-11-24T12:00:00.123456Z".parse().unwrap();
        let ids: Vec<EventId> = (0..3_000)
            .map(|nth| EventId::made_at(noon + TimeDelta::microseconds(nth / 1_000)))
            .collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.0.get_version_num() == 7));
        let (seconds, nanos) = ids[0].0.get_timestamp().unwrap().to_unix();
        let millis = i64::try_from(seconds * 1_000).unwrap() + i64::from(nanos / 1_000_000);
        assert_eq!(millis, noon.timestamp_millis());
    }

    #[test]
    fn ids_are_in_the_order_of_their_times_whenever_they_are_made() {
        let noon: Timestamp = "2026-11-24T12:00:00.123Z".parse().unwrap();
        let latest_first: Vec<EventId> = (0..1_000)
            .rev()
            .map(|micros| EventId::made_at(noon + TimeDelta::microseconds(micros)))
            .collect();
        assert!(latest_first.iter().rev().is_sorted());
    }

    #[test]
    fn user_ids_are_the_positive_integers_that_json_represents_exactly() {
        for (number, is_user) in [
            (i64::MIN, false),
            (-1, false),
            (0, false),
            (1, true),
            (9_007_199_254_740_991, true),
            (9_007_199_254_740_992, false),
        ] {
            let user = is_user.then_some(UserId(number));
            assert_eq!(UserId::parse(number), user, "{number}");
        }
    }

    #[test]
    fn successive_campaigns_are_in_different_buckets() {
        let buckets = (1..=i64::from(BUCKETS)).map(|id| CampaignId(id).bucket());
        let different: BTreeSet<u16> = buckets.collect();
        assert!(different.into_iter().eq(0..BUCKETS));
    }
}
