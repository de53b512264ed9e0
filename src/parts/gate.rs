//! The gate: the atomic pre-check that every participation passes before the database is touched.
//!
//! It admits or refuses, gives the rank, and keeps a lease for each admission until the writer reports the result.
//! It is a filter and not authoritative: it may be lost and rebuilt at any time, and the store refuses what it
//! wrongly admits.

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

pub use self::bucket::{Bucket, TokenResult};
pub use self::digest::{Digest, hex_bytes};
pub use self::entrant::{Admission, Entrant, Key, KeyDigest, KeyRefused, Lease};
pub use self::login::{LoginBounds, LoginEnd, LoginTry};
pub use self::memory::MemoryMetrics;
pub use self::recent::Answered;
pub use self::redis::{Layout, RedisConfig, read_admissions};
pub use self::script_gate::{OVER_RETENTION, ScriptGate};
pub use self::session::{
    Lifetime, Listed, Login, OpenSession, Opened, Opening, Series, SeriesToken,
};
pub use self::settings::{Configured, Settings};
pub use self::start_error::StartError;
pub use self::state::{Footprint, GateState, HeldLease, ServerMemory};

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{CampaignId, ParticipationId};
pub use crate::domain::{Mark, Return, UserUnits};

/// The largest integer that Lua 5.1 represents exactly; a larger stock counts as unlimited.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// The result of returning units to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// Units returned; 0 if the gate had these returns already.
    Units(u64),
    /// The gate's state is being rebuilt: try again afterwards.
    Behind,
}

/// The gate failed. Never a refusal.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// No connection, or no answer in time: the command may have run.
    #[error("ask the gate")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not called, because the breaker is open.
    #[error("ask the gate: it is away")]
    Away,
    /// The script failed, or its reply is not in its contract.
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

    /// Refuses the key of a refused entrant for attempts that began before now. `age` is the least time since the
    /// gate refused the entrant; another attempt may have been admitted under the key since.
    async fn refuse_key(
        &self,
        campaign: CampaignId,
        key: KeyDigest,
        age: Duration,
        lease: Duration,
    ) -> Result<KeyRefused, GateError>;

    /// Ends the leases of committed participations: their units stay taken. Unknown ids are ignored.
    async fn settle(&self, campaign: CampaignId, ids: &[ParticipationId]) -> Result<(), GateError>;

    /// Ends the leases of participations that were not committed: units and rank return. Ids without a lease of
    /// this epoch are ignored, so a release after a settle, a second release or a late one returns nothing.
    /// Returns the number of units returned.
    async fn release(
        &self,
        campaign: CampaignId,
        epoch: u64,
        ids: &[ParticipationId],
    ) -> Result<u64, GateError>;

    /// The same for leases that were listed: one that was ended meanwhile, and given again in the same epoch, stays.
    async fn release_listed(
        &self,
        campaign: CampaignId,
        leases: &[HeldLease],
    ) -> Result<u64, GateError>;

    /// Returns the units of committed participations that ended while `epoch` was in force. Known returns are
    /// ignored.
    async fn give_back(
        &self,
        campaign: CampaignId,
        epoch: u64,
        returns: &[Return],
    ) -> Result<GivenBack, GateError>;

    /// Applies new settings unless the gate has newer ones. The state of an ended campaign expires some time later.
    async fn configure(
        &self,
        campaign: CampaignId,
        settings: &Settings,
    ) -> Result<Configured, GateError>;

    /// Replaces the whole state by the committed one, and ends all leases (the writer rejects them, because the epoch
    /// has changed). Returns false, and does nothing, unless `epoch` is newer than the gate's.
    async fn rebuild(
        &self,
        campaign: CampaignId,
        epoch: u64,
        settings: &Settings,
        holders: &[UserUnits],
        mark: Mark,
    ) -> Result<bool, GateError>;

    /// At most `limit` leases that have expired by the gate's clock, oldest first.
    async fn expired(
        &self,
        campaign: CampaignId,
        limit: usize,
    ) -> Result<Vec<HeldLease>, GateError>;

    /// The name under which the leases that this process is given are recorded.
    fn owner(&self) -> &str;

    /// At most `limit` leases of the replicas with these names, of epochs before this one, and at most 1,000 of them, in
    /// no order. None if the gate has no state.
    async fn leases_of(
        &self,
        campaign: CampaignId,
        owners: &[String],
        before: u64,
        limit: usize,
    ) -> Result<Vec<HeldLease>, GateError>;

    /// Moves the gate from one epoch to a later one, with all leases but those of the `dead` replicas. Returns false,
    /// and does nothing, unless the gate is in `from`.
    async fn advance(
        &self,
        campaign: CampaignId,
        from: u64,
        to: u64,
        dead: &[String],
    ) -> Result<bool, GateError>;

    /// The state of one campaign, if the gate has it.
    async fn inspect(&self, campaign: CampaignId) -> Result<Option<GateState>, GateError>;

    /// The memory of one campaign.
    async fn footprint(&self, campaign: CampaignId) -> Result<Footprint, GateError>;

    /// Whether the gate answers and accepts writes.
    async fn ping(&self) -> Result<(), GateError>;
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
