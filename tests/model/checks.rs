//! The checks of the protocol.

/// The checks of the protocol. Each can be left out, to show what it prevents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A commit is rejected unless the store's epoch is that of the admission.
    Epoch,
    /// A transaction does not begin under an expired lease.
    Lease,
    /// A transaction ends before its lease: the purpose of the writer's margin.
    Margin,
    /// A sweep ends only the lease that it saw in this epoch: the same participation may have a later one.
    SameLease,
    /// Gate state of another run of the server counts as missing.
    Run,
    /// The database path raises the epoch before it commits anything beside the gate.
    Closing,
    /// The store's own condition: no more units than the stock.
    Stock,
    /// The store's unique key: no rank twice in a campaign.
    Ranks,
    /// The gate does not decide on a key while another participation holds a lease under it.
    KeyLease,
    /// The gate records that it rejected a key: attempts that began before do not commit.
    KeyMemory,
    /// After a rebuild every key counts as rejected: attempts that began before do not commit.
    KeyRebuild,
    /// A key is rejected only after a query of the store, which may have its participation.
    KeyLook,
    /// A key is rejected only after the gate has confirmed it, because something may have been admitted since.
    KeyAgain,
    /// A key is rejected only by a gate of the store's epoch.
    KeyEpoch,
    /// The database path admits no key that began before the gate was closed.
    KeyDirect,
    /// The leases of a dead replica are ended only after the epoch was raised.
    Fence,
    /// The gate moves to the raised epoch only from the one before it: otherwise it lacks commits.
    From,
    /// The leases of the dead replica stay in the old epoch: it may be alive, and ask again.
    Behind,
    /// Units of leases count since the last rebuild, and not since the last epoch.
    Rebuilt,
    /// A sweep ends only the very lease that it saw: a moved lease may be given again in its epoch.
    SameEnd,
    /// A swap moves the gate only to a later epoch.
    Forward,
    /// The end of a lease is counted from the request for the admission, and not from the answer.
    Asked,
    /// A commit names the epoch of its admission, and not that of the moment at which the answer arrives.
    Named,
    /// A repeated admission answers with the epoch of its lease, and not with the gate's.
    LeaseEpoch,
    /// A sweep compares the units of the gate with those of the store, and rebuilds a gate that has drifted.
    Drift,
    /// After the swap a rebuild checks whether the gate is ahead of the store, and then continues above its epoch.
    Ahead,
    /// Every process is stopped before a store is restored.
    Stops,
    /// A server that is promoted again counts as another run.
    Promotion,
    /// **Not in the service.** An epoch that was used once is never used again, even by a store that was set back.
    Unique,
}

impl Check {
    /// docs/model.md says what the service allows without it.
    pub const NOT_IN_THE_SERVICE: [Self; 1] = [Self::Unique];
}
