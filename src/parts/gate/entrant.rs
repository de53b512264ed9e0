//! An entrant and the gate's answer to it.

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::domain::{ParticipationId, Refusal, Timestamp, UserId};

/// One participation asking for admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// While its lease lasts, the same id gets the same answer again.
    pub participation: ParticipationId,
    /// The user.
    pub user: UserId,
    /// Units, at least 1.
    pub quantity: u32,
    /// The request's idempotency key.
    pub key: Key,
}

/// The idempotency key of an entrant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// No key.
    None,
    /// If another participation of this key holds a lease, the answer is `Undecided`; otherwise the rules decide.
    Decide(KeyDigest),
    /// The same, but the caller refuses the user: without a lease of this key the answer is `NotAllowed`.
    Refuse(KeyDigest),
}

/// The digest of a user and an idempotency key of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyDigest(u128);

impl KeyDigest {
    /// The digest of this user's key.
    #[must_use]
    pub fn of(user: UserId, key: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(format!("{user}:{key}")).into();
        Self(
            digest
                .first_chunk()
                .map_or(0, |first| u128::from_be_bytes(*first)),
        )
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// The gate's answer to one entrant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Admitted, with a lease until it is settled, released or expires.
    Admitted(Lease),
    /// Refused by the rules. `SoldOut` here means that fewer units are left than requested.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Units left; none: unlimited or not known.
        remaining: Option<u64>,
    },
    /// Another participation of the same key or user holds a lease, so the answer depends on its commit.
    Undecided {
        /// The other participation.
        first: ParticipationId,
        /// Units left; none: unlimited.
        remaining: Option<u64>,
    },
    /// The gate has no state of this campaign: it must be rebuilt first.
    Missing,
}

/// The result of refusing a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefused {
    /// No earlier attempt that this gate knows can be committed any more.
    Done {
        /// The epoch of the gate. If the store's epoch is another one, the gate may not know every attempt.
        epoch: u64,
    },
    /// Another attempt under the key was admitted since then, or may have been.
    Undecided,
    /// The gate has no state for this campaign.
    Missing,
}

/// The lease of an admitted entrant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Generation of the gate's state; the writer rejects any generation except the campaign's.
    pub epoch: u64,
    /// The rank, from 1.
    pub rank: u64,
    /// Units left after this one; none: unlimited.
    pub remaining: Option<u64>,
    /// End of the lease by the gate's clock; a writer never commits after it.
    pub lease_until: Timestamp,
    /// The remaining time of the lease when the gate answered; less than a whole lease for a repeated request.
    pub left: Duration,
    /// With a key: the time for which the gate is certain that it has not refused the key. An older attempt may have
    /// been refused, and must not be committed.
    pub not_refused_for: Option<Duration>,
}

impl Lease {
    /// Whether the key may have been refused since an attempt of this age began.
    #[must_use]
    pub fn may_be_refused_since(&self, age: Duration) -> bool {
        self.not_refused_for.is_some_and(|known| known <= age)
    }
}
