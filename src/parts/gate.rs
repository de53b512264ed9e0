//! The gate: the atomic pre-check that every participation passes before the database is touched.
//!
//! It says yes or no, gives the place in line and keeps a lease for each yes until the writer tells
//! what became of it. It is a sieve, never the truth: it may be lost and rebuilt at any time, and the
//! store refuses what it wrongly lets through.

mod answers;
mod breaker;
mod bucket;
mod digest;
mod entrant;
mod in_process;
mod login;
mod memory;
mod recent;
mod redis;
mod reply;
mod script;
mod script_gate;
mod session;
mod settings;
mod start_error;
mod state;

pub use self::bucket::{Bucket, Taken};
pub use self::digest::Digest;
pub use self::entrant::{Admission, Entrant, Key, KeyDigest, KeyRefused, Lease};
pub use self::login::{LoginBounds, LoginEnd, LoginTry};
pub use self::memory::MemoryMetrics;
pub use self::recent::Answered;
pub use self::redis::{Layout, RedisConfig, RedisTls, read_admissions};
pub use self::script_gate::ScriptGate;
pub use self::session::{Found, Lifetime, Listed, Login, Opened, Opening, Series, SeriesToken};
pub use self::settings::{Configured, Settings};
pub use self::start_error::StartError;
pub use self::state::{ExpiredLease, Footprint, GateState, ServerMemory};

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{CampaignId, ParticipationId};
pub use crate::domain::{Mark, Return, Seat};

/// The largest whole number that Lua 5.1 counts with exactly; more stock than this is no stock limit
/// anybody could reach.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// What came of giving units back to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// So many units returned; none where the gate knew already.
    Units(u64),
    /// The gate's state is about to be replaced: ask again when it was.
    Behind,
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
    async fn expired(
        &self,
        campaign: CampaignId,
        limit: usize,
    ) -> Result<Vec<ExpiredLease>, GateError>;

    /// The state of one campaign, if the gate has it.
    async fn inspect(&self, campaign: CampaignId) -> Result<Option<GateState>, GateError>;

    /// How much memory one campaign takes.
    async fn footprint(&self, campaign: CampaignId) -> Result<Footprint, GateError>;

    /// Whether the gate answers and takes writes.
    async fn ping(&self) -> Result<(), GateError>;
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
