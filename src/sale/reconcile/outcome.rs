//! Results of sweeps, rebuilds and alignments.

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leases whose participation is committed.
    pub settled: usize,
    /// Leases without a participation.
    pub released: usize,
    /// Gates that had drifted from the store and were rebuilt.
    pub rebuilt: usize,
    /// Gates with outdated settings, which got the store's.
    pub configured: usize,
    /// Ended campaigns, whose keys in the gate expire from now on.
    pub over: usize,
}

/// The result of a request to renew a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The gate is consistent: ask it again.
    InStep,
    /// The gate stays closed for now: the campaign is served from the database.
    Closed,
    /// The gate is not rebuilt yet: another rebuild is running or has just ended, and the wait took too long.
    Later,
}

/// Whether the caller waits for a running rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It waits, because it needs the gate.
    Waits,
    /// It does not wait.
    None,
}

/// The result of an alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aligned {
    /// Configured campaigns.
    pub campaigns: usize,
    /// Those still served from the database.
    pub closed: usize,
    /// Those whose gate is not rebuilt yet, because a rebuild is running or has just ended.
    pub later: usize,
    /// Those whose gate has failed. A sweep tries again.
    pub failed: usize,
}

/// The correction of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Corrected {
    Nothing,
    /// Outdated settings were replaced.
    Settings,
    /// The gate was rebuilt.
    All,
}
