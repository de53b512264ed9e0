//! Identifiers. Parsed at the edge, trusted inside.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
}

/// Events that one tick of a campaign's event clock can keep apart.
pub const EVENTS_OF_A_TICK_MAX: u32 = 1 << 12;

impl EventId {
    /// A new identifier, ordered by the time it is made.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// A new identifier that is ordered after `earlier`, whatever the clocks say that both were made by.
    #[must_use]
    pub fn generate_after(earlier: Self) -> Self {
        let new = Self::generate();
        if new > earlier {
            return new;
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
    fn an_id_comes_after_an_earlier_one_that_a_fast_clock_made() {
        let ahead = EventId::at_tick(9_999_999_999_999, 7);
        assert!(EventId::generate_after(ahead) > ahead);
        let behind = EventId::at_tick(1, 0);
        assert!(EventId::generate_after(behind) > behind);
    }
}
