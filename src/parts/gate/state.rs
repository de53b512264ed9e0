//! The gate's state of a campaign and the memory of its server, for status, verification and tests.

use std::time::Duration;

use super::Settings;
use crate::domain::{ParticipationId, Timestamp};

/// The gate's state of one campaign, for status, verification and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateState {
    /// Generation.
    pub epoch: u64,
    /// Units taken: committed and leased.
    pub units: u64,
    /// The last rank given.
    pub last_rank: u64,
    /// Units left; none: unlimited.
    pub remaining: Option<u64>,
    /// Leases.
    pub leases: u64,
    /// Users holding at least one unit.
    pub users: u64,
    /// Known returns.
    pub returns: u64,
    /// The settings it admits by.
    pub settings: Settings,
}

impl GateState {
    /// The least number of committed units: those without a lease. A leased unit may be committed but not settled
    /// yet, or not committed yet.
    #[must_use]
    pub fn committed_units_min(&self, max_quantity: u32) -> u64 {
        let leased = self.leases.saturating_mul(u64::from(max_quantity));
        self.units.saturating_sub(leased)
    }
}

/// The memory of one campaign in the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Users holding at least one unit.
    pub users: u64,
    /// Leases.
    pub leases: u64,
    /// Returns since the last rebuild.
    pub returns: u64,
    /// Memory in bytes, estimated from a sample of its entries.
    pub bytes: u64,
    /// Time until it expires; none: it does not.
    pub expires_in: Option<Duration>,
}

/// Memory of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerMemory {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that it may use: `maxmemory`, or all of the machine's memory if it is not set.
    pub limit: u64,
}

impl ServerMemory {
    /// Used memory in percent.
    #[must_use]
    pub fn used_percent(&self) -> u64 {
        let percent = u128::from(self.used) * 100 / u128::from(self.limit.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

/// A lease that the gate has listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLease {
    /// The admitted participation.
    pub participation: ParticipationId,
    /// Epoch of the admission.
    pub epoch: u64,
    /// When the lease ends, or has ended.
    pub ends_at: Timestamp,
}
