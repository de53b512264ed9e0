//! The gate: the atomic pre-check that every participation passes before the database is touched.
//!
//! It says yes or no, gives the place in line and keeps a lease for each yes until the writer tells
//! what became of it. It is a sieve, never the truth: it may be lost and rebuilt at any time, and the
//! store refuses what it wrongly lets through.

mod bucket;
mod guarded;
mod in_process;
mod login;
mod memory;
mod recent;
mod redis;
mod reply;
mod script;
mod session;

pub use self::bucket::{Bucket, Taken};
pub use self::guarded::Guarded;
pub use self::login::{LoginBounds, LoginEnd, LoginTry};
pub use self::memory::MemoryMetrics;
pub use self::recent::Answered;
pub use self::redis::{Layout, RedisConfig, read_admissions};
pub use self::script::{ScriptGate, StartError};
pub use self::session::{
    Digest, Found, Lifetime, Listed, Login, Opened, Opening, Series, SeriesToken,
};

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::domain::{Campaign, CampaignId, Instant, ParticipationId, Refusal, State, UserId};
pub use crate::domain::{Mark, Return, Seat};

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
    Admitted(Ticket),
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
pub struct Ticket {
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

impl Ticket {
    /// Whether the key of an attempt that is so old by now may have been refused since it began.
    #[must_use]
    pub fn may_be_refused_since(&self, age: Duration) -> bool {
        self.not_refused_for.is_some_and(|known| known <= age)
    }
}

/// What the gate must know about a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The campaign's gate epoch, read in the same row as the version. A store that lost its last changes
    /// in a failover counts versions again from an older one; it raises the epoch beyond the gate's first, so
    /// that epoch and version together still tell which settings are newer.
    pub epoch: u64,
    /// The campaign's version.
    pub version: u64,
    /// Where it stands; `Scheduled` is treated as open within its window.
    pub state: State,
    /// First moment of the window.
    pub opens_at: Option<Instant>,
    /// End of the window, exclusive.
    pub closes_at: Option<Instant>,
    /// Units there are; none: unlimited.
    pub total_stock: Option<u64>,
    /// Units one user may hold.
    pub per_user_limit: u32,
    /// Units one request may ask for.
    pub max_quantity: u32,
}

impl Settings {
    /// Whether these were read later than the others. Settings that are not newer never replace others.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.epoch, self.version) > (other.epoch, other.version)
    }

    /// Whether nobody can take part any more, ever.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Archived)
    }

    /// Whether both say the same of the campaign, whenever they were read.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let Self { epoch, version, .. } = *self;
        let other = Self {
            epoch,
            version,
            ..*other
        };
        *self == other
    }
}

impl From<&Campaign> for Settings {
    fn from(campaign: &Campaign) -> Self {
        Self {
            epoch: campaign.gate_epoch,
            version: campaign.version,
            state: campaign.state,
            opens_at: campaign.opens_at,
            closes_at: campaign.closes_at,
            total_stock: campaign
                .total_stock
                .map(|total| total.min(script::EXACT_MAX)),
            per_user_limit: campaign.per_user_limit,
            max_quantity: campaign.max_quantity,
        }
    }
}

/// What came of giving the gate new settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configured {
    /// They are in force.
    Applied,
    /// The gate already has newer ones; nothing was changed.
    Stale,
    /// The gate has no state for this campaign.
    Missing,
}

/// The gate's state of one campaign, for status, verification and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateState {
    /// Generation.
    pub epoch: u64,
    /// Units taken: committed and leased.
    pub units: u64,
    /// The last place in line that was given.
    pub last_rank: u64,
    /// Units left; none: unlimited.
    pub remaining: Option<u64>,
    /// Leases held now.
    pub leases: u64,
    /// Users holding at least one unit.
    pub users: u64,
    /// Leases in the order of their end: as many as there are leases, unless something was lost.
    pub expiring: u64,
    /// Returns it knows of.
    pub returns: u64,
    /// The settings it admits by.
    pub settings: Settings,
}

impl GateState {
    /// Units that must be committed, because no lease explains them: a lease may be for units that are
    /// committed and not settled yet, or for units on their way.
    #[must_use]
    pub fn committed_units_min(&self, max_quantity: u32) -> u64 {
        let leased = self.leases.saturating_mul(u64::from(max_quantity));
        self.units.saturating_sub(leased)
    }
}

/// What the gate keeps of one campaign, whatever run of the server it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Users holding at least one unit.
    pub users: u64,
    /// Leases held now.
    pub leases: u64,
    /// Returns since the last rebuild.
    pub returns: u64,
    /// Memory that all of it takes, estimated from a sample of its entries.
    pub bytes: u64,
    /// How long it stays; none: it does not expire.
    pub expires_in: Option<Duration>,
}

/// Memory of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerMemory {
    /// Bytes in use.
    pub used: u64,
    /// Bytes it may use: `maxmemory`, or all of the machine's where there is none.
    pub limit: u64,
}

impl ServerMemory {
    /// How full it is.
    #[must_use]
    pub fn used_percent(&self) -> u64 {
        let percent = u128::from(self.used) * 100 / u128::from(self.limit.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

/// What came of giving units back to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// So many units returned; none where the gate knew already.
    Units(u64),
    /// The gate's state is about to be replaced: ask again when it was.
    Behind,
}

/// A lease as the sweeper sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose admission it is.
    pub participation: ParticipationId,
    /// Generation it was given in.
    pub epoch: u64,
    /// When it ran out.
    pub expired_at: Instant,
}

/// The gate could not be asked, or did not make sense. Never a refusal.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Not reachable, or the answer did not come in time: the command may have run.
    #[error("ask the gate")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody asked: it did not answer a moment ago, and has not answered since.
    #[error("ask the gate: it is away")]
    Away,
    /// The script answered with something that is not in its contract, or failed.
    #[error("read the gate's answer: {0}")]
    Protocol(String),
}

/// The atomic pre-check. Each method is one atomic step, safe to repeat.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Decides for each entrant, in order, all or nothing per entrant; as many answers as entrants.
    async fn admit(
        &self,
        campaign: CampaignId,
        entrants: &[Entrant],
        lease: Duration,
    ) -> Result<Vec<Admission>, GateError>;

    /// Makes the refusal of an entrant with a key one of now: it is said some time after the gate was asked,
    /// `age` ago at least, and until then anything may have been admitted under the key.
    async fn refuse_key(
        &self,
        campaign: CampaignId,
        key: KeyDigest,
        age: Duration,
        lease: Duration,
    ) -> Result<KeyRefused, GateError>;

    /// Ends the leases of what was committed: the units stay taken. Unknown ids are passed over.
    async fn settle(&self, campaign: CampaignId, ids: &[ParticipationId]) -> Result<(), GateError>;

    /// Ends the leases of what was not committed: units and place return. Ids without a lease of this
    /// epoch are passed over, so that a release after a settle, a second release, or one that comes late
    /// returns nothing. Answers how many units returned.
    async fn release(
        &self,
        campaign: CampaignId,
        epoch: u64,
        ids: &[ParticipationId],
    ) -> Result<u64, GateError>;

    /// Returns units and places of committed participations that were given up while `epoch` was in
    /// force. What the gate knows already is passed over.
    async fn give_back(
        &self,
        campaign: CampaignId,
        epoch: u64,
        returns: &[Return],
    ) -> Result<GivenBack, GateError>;

    /// Puts new settings in force unless the gate has newer ones. The state of a campaign that is over
    /// goes by itself some time after.
    async fn configure(
        &self,
        campaign: CampaignId,
        settings: &Settings,
    ) -> Result<Configured, GateError>;

    /// Replaces the whole state by what is committed, leases included (they end: their holders are
    /// refused by the writer because the epoch moved). Does nothing and answers false unless `epoch`
    /// is newer than the gate's.
    async fn rebuild(
        &self,
        campaign: CampaignId,
        epoch: u64,
        settings: &Settings,
        seats: &[Seat],
        mark: Mark,
    ) -> Result<bool, GateError>;

    /// Up to `limit` leases that have run out by the gate's clock, oldest first.
    async fn expired(&self, campaign: CampaignId, limit: usize) -> Result<Vec<Lease>, GateError>;

    /// The state of one campaign, if the gate has it.
    async fn inspect(&self, campaign: CampaignId) -> Result<Option<GateState>, GateError>;

    /// How much memory one campaign takes.
    async fn footprint(&self, campaign: CampaignId) -> Result<Footprint, GateError>;

    /// Whether the gate answers and takes writes.
    async fn ping(&self) -> Result<(), GateError>;
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
