//! Results of sweeps, rebuilds and alignments.

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leases whose participation is committed.
    pub settled: usize,
    /// Leases whose participation never was.
    pub released: usize,
    /// Gates that had drifted from the store and were rebuilt.
    pub rebuilt: usize,
    /// Gates with older settings than the store's, which got the store's.
    pub configured: usize,
    /// Campaigns that are over, whose keys in the gate expire from now on.
    pub over: usize,
}

/// The result of a request to renew a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// Ask it again.
    InStep,
    /// It stays closed for now: the campaign is served by the database.
    Closed,
    /// It is not rebuilt yet: another rebuild runs or has just ended, and waiting took too long.
    Later,
}

/// Whether the caller waits for a running rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Waits: it needs the gate.
    Waits,
    /// Does not wait.
    None,
}

/// The result of an alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aligned {
    /// Campaigns whose settings the gate got.
    pub campaigns: usize,
    /// Those that are still served by the database.
    pub closed: usize,
    /// Those whose gate is not rebuilt yet, because a rebuild runs or has just ended.
    pub later: usize,
}

/// What was corrected in a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Corrected {
    Nothing,
    /// Its settings, which were older than the store's.
    Settings,
    /// All of it: it was rebuilt.
    All,
}
