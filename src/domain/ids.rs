//! Identifiers. Parsed at the edge, trusted inside.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Instant;

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
}

id! {
    /// A campaign, numbered by the store from 1.
    CampaignId(i64)
}
id! {
    /// A participant. Who that is belongs to the identity provider; here it is a positive integer.
    UserId(i64)
}
id! {
    /// One participation: a version 7 UUID made by the service before the gate is asked.
    ParticipationId(Uuid)
}
id! {
    /// One outbox event: a version 7 UUID, the `ce_id` consumers deduplicate by.
    EventId(Uuid)
}
id! {
    /// One run of the daily aggregation, numbered by the store from 1.
    RunId(i64)
}

id! {
    /// One generation of a campaign's list of those who may take part, numbered by the store from 1.
    AllowListId(i64)
}

impl UserId {
    /// The largest: the largest integer that every JSON reader keeps exactly.
    pub const MAX: i64 = (1 << 53) - 1;

    /// The user of this number, if there can be one.
    #[must_use]
    pub fn parse(number: i64) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }
}

impl ParticipationId {
    /// A new identifier, ordered by the time it is made.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// A new identifier, ordered by the time it is made, which is `at`.
    #[must_use]
    pub fn made_at(at: Instant) -> Self {
        Self(made_at(at))
    }
}

/// Bits that keep identifiers in order which are made at the same time.
const COUNTER_BITS: u32 = 22;

/// A version 7 UUID by a clock of our choice, because whoever looks for rows of a time by their identifiers
/// goes by that clock, too. After the milliseconds come twelve bits of their fraction, a counter, and
/// forty random bits.
fn made_at(at: Instant) -> Uuid {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed) % (1 << COUNTER_BITS);
    let fraction = (at.timestamp_subsec_nanos() % 1_000_000) * (1 << 12) / 1_000_000;
    let [_, _, high, low] = fraction.to_be_bytes();
    let [_, first, second, third] = counter.to_be_bytes();
    let [r1, r2, r3, r4, r5, ..] = Uuid::new_v4().into_bytes();
    let tail = [high, low, first, second, third, r1, r2, r3, r4, r5];
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

/// Events that one tick of a campaign's event clock can keep apart.
pub const EVENTS_OF_A_TICK_MAX: u32 = 1 << 12;

impl EventId {
    /// A new identifier, ordered by the time it is made.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// A new identifier, ordered by the time it is made, which is `at`.
    #[must_use]
    pub fn made_at(at: Instant) -> Self {
        Self(made_at(at))
    }

    /// This one if it is ordered after `earlier`, otherwise a new one that is, whatever the clocks say that
    /// both were made by.
    #[must_use]
    pub fn or_after(self, earlier: Self) -> Self {
        if self > earlier {
            return self;
        }
        let (seconds, nanos) = earlier
            .0
            .get_timestamp()
            .map_or((0, 0), |stamp| stamp.to_unix());
        Self::at_tick(seconds * 1_000 + u64::from(nanos / 1_000_000) + 1, 0)
    }

    /// A new identifier for the `nth` event of one tick of a campaign's event clock: ordered by tick,
    /// then by `nth`.
    #[must_use]
    pub fn at_tick(tick_ms: u64, nth: u32) -> Self {
        // The twelve bits after the time are the order; the rest is random.
        let mut tail = [0; 10];
        for (byte, random) in tail.iter_mut().zip(Uuid::new_v4().into_bytes()) {
            *byte = random;
        }
        let [_, _, high, low] = nth.min(EVENTS_OF_A_TICK_MAX - 1).to_be_bytes();
        let [first, second, ..] = &mut tail;
        (*first, *second) = (high, low);
        Self(uuid::Builder::from_unix_timestamp_millis(tick_ms, &tail).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn ids_of_a_tick_are_in_order_and_later_ticks_come_later() {
        let mut ids = Vec::new();
        for tick in [1_700_000_000_000, 1_700_000_000_001] {
            for nth in [0, 1, 63, 255, 256, EVENTS_OF_A_TICK_MAX - 1] {
                ids.push(EventId::at_tick(tick, nth));
            }
        }
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.0.get_version_num() == 7));
        let again = EventId::at_tick(1_700_000_000_000, 0);
        assert_ne!(again, ids[0], "two of the same place still differ");
    }

    #[test]
    fn an_id_follows_an_earlier_one_made_by_a_fast_clock() {
        let ahead = EventId::at_tick(9_999_999_999_999, 7);
        assert!(EventId::generate().or_after(ahead) > ahead);
        let (new, behind) = (EventId::generate(), EventId::at_tick(1, 0));
        assert_eq!(new.or_after(behind), new);
    }

    #[test]
    fn ids_contain_their_time_and_are_ordered_within_it() {
        let noon: Instant = "2026-11-24T12:00:00.123456Z".parse().unwrap();
        let ids: Vec<EventId> = (0..3_000)
            .map(|nth| EventId::made_at(noon + TimeDelta::microseconds(nth / 1_000)))
            .collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.0.get_version_num() == 7));
        let (seconds, nanos) = ids[0].0.get_timestamp().unwrap().to_unix();
        let millis = i64::try_from(seconds * 1_000).unwrap() + i64::from(nanos / 1_000_000);
        assert_eq!(millis, noon.timestamp_millis());
    }
}
