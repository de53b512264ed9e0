//! The gate's state of a campaign and the memory of its server, for status, verification and tests.

use std::time::Duration;

use super::Settings;
use crate::domain::{Instant, ParticipationId};

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

/// A lease as the sweeper sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiredLease {
    /// Whose admission it is.
    pub participation: ParticipationId,
    /// Generation it was given in.
    pub epoch: u64,
    /// When it ran out.
    pub expired_at: Instant,
}
