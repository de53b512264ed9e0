//! The faults of a world, in bounded numbers.

/// How often the unbounded actions may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Epochs that rebuilds may raise.
    pub raises: u8,
    /// Participations on the database path.
    pub directs: u8,
    /// Crashes of processes, which lose all their state.
    pub crashes: u8,
    /// Times the gate loses everything.
    pub losses: u8,
    /// Times the gate's server restarts from an older file of its own.
    pub restores: u8,
    /// Times the campaign ends.
    pub ends: u8,
    /// Times the replica of an attempt is taken for dead, which it may be or not.
    pub deaths: u8,
    /// Admissions and swaps that are executed once more, for nobody.
    pub repetitions: u8,
    /// Answers of the gate that arrive late.
    pub late_answers: u8,
    /// Times the store is set back to an earlier state.
    pub setbacks: u8,
    /// Times another server of the gate becomes a primary beside the first one.
    pub splits: u8,
    /// Times the first server becomes a replica of the other one, and is promoted again.
    pub returns: u8,
}

/// How a store is set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    /// A failover to a server that lacks the last commits, while everything runs.
    Failover,
    /// A restore; the gate keeps its state, or is emptied. See `firstcome restored`.
    FromBackup { empties_gate: bool },
}

/// No fault at all.
pub const CALM: Budget = Budget {
    raises: 0,
    directs: 0,
    crashes: 0,
    losses: 0,
    restores: 0,
    ends: 0,
    deaths: 0,
    repetitions: 0,
    late_answers: 0,
    setbacks: 0,
    splits: 0,
    returns: 0,
};
