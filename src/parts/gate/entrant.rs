//! An entrant and the gate's answer to it.

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::domain::{Instant, ParticipationId, Refusal, UserId};

/// One participation asking for admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// Asking again with the same id while its lease lives gives the same answer.
    pub participation: ParticipationId,
    /// Who asks.
    pub user: UserId,
    /// Units, at least 1.
    pub quantity: u32,
    /// The request's idempotency key.
    pub key: Key,
}

/// The idempotency key of an entrant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It has none.
    None,
    /// Another participation of this key that holds its lease makes the answer `Undecided`, whatever the
    /// rules say; otherwise they decide.
    Decide(KeyDigest),
    /// The same, but the caller refuses the user: without such a participation the answer is `NotAllowed`.
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
        let (first, _) = digest.split_at(16);
        Self(
            first
                .iter()
                .fold(0, |sum, byte| (sum << 8) | u128::from(*byte)),
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
    /// Yes, and a lease is held until it is settled, released or runs out.
    Admitted(Lease),
    /// No, by the rules. `SoldOut` here means that fewer units than asked for are left.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Units left; none: unlimited or not known.
        remaining: Option<u64>,
    },
    /// A participation that still holds its lease is in the way, of the same key or the user's first:
    /// whether it will stand is not known here.
    Undecided {
        /// The participation in the way.
        first: ParticipationId,
        /// Units left; none: unlimited.
        remaining: Option<u64>,
    },
    /// The gate has no state for this campaign: it must be rebuilt first.
    Missing,
}

/// What came of refusing a key for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefused {
    /// No attempt that began before now is committed.
    Done,
    /// Something was admitted under the key since the entrant was asked for, or may have been.
    Undecided,
    /// The gate has no state for this campaign.
    Missing,
}

/// What an admitted entrant holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Generation of the gate's state; the writer refuses any other than the campaign's.
    pub epoch: u64,
    /// Place in line, from 1.
    pub rank: u64,
    /// Units left after this one; none: unlimited.
    pub remaining: Option<u64>,
    /// When the lease runs out, by the gate's clock; a writer never commits after it.
    pub lease_until: Instant,
    /// With a key: for how long the gate knows that it has not refused the key. An attempt that is older may
    /// have been refused under its key meanwhile, and must not be committed.
    pub not_refused_for: Option<Duration>,
}

impl Lease {
    /// Whether the key of an attempt that is so old by now may have been refused since it began.
    #[must_use]
    pub fn may_be_refused_since(&self, age: Duration) -> bool {
        self.not_refused_for.is_some_and(|known| known <= age)
    }
}
