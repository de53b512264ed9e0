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

impl ParticipationId {
    /// A new identifier, ordered by the time it is made.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl EventId {
    /// A new identifier, ordered by the time it is made.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}
