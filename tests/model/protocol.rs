//! The state of the model: the store, the gate, participants, rebuilds and sweeps, and the possible faults.
//! Small numbers and no clocks: a lease has ended or it has not.

/// Largest number of participations. Each has its own id, which a retry keeps.
pub const ATTEMPTS: usize = 3;
/// Maximum number of users.
pub const USERS: usize = 3;
/// Maximum number of replicas that rebuild and sweep.
pub const REPLICAS: usize = 2;

pub use crate::budget::{Budget, Restore};
pub use crate::checks::Check;

/// A property of the protocol.
pub type Holds = super::HoldsIn<Protocol>;

/// The protocol without some of its checks, and the bounds of the world.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub without: Vec<Check>,
    /// Checks that the service does not have.
    pub with: Vec<Check>,
    /// The properties of every state.
    pub always: Vec<Holds>,
    /// The properties that must be reached in some state; otherwise the world is too small to show anything.
    pub sometimes: Vec<Holds>,
    pub stock: u8,
    pub replicas: usize,
    /// The user of each attempt.
    pub user_of: Vec<usize>,
    /// The attempts that share one idempotency key.
    pub one_key: Vec<usize>,
    /// The attempts that begin at any moment, not at the start.
    pub late: Vec<usize>,
    /// Units that a user may have.
    pub limit: u8,
    /// What happens when the store is set back.
    pub restore: Restore,
    pub budget: Budget,
}

impl Protocol {
    /// The attempts.
    pub fn attempts(&self) -> std::ops::Range<usize> {
        0..self.user_of.len()
    }

    /// Whether an attempt has the shared key.
    pub fn has_key(&self, id: usize) -> bool {
        self.one_key.contains(&id)
    }

    pub fn has(&self, check: Check) -> bool {
        let is_there = !Check::NOT_IN_THE_SERVICE.contains(&check) || self.with.contains(&check);
        is_there && !self.without.contains(&check)
    }
}

/// The admission of an attempt, and the gate's lease of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub epoch: u8,
    pub rank: u8,
    /// Whether it has expired.
    pub over: bool,
    /// Whether a sweep has released the lease.
    pub swept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Yes,
    SoldOut,
    Already,
    Ended,
    /// The first response to its key.
    First,
    /// 503, or no response because the process died.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Has not begun.
    Coming,
    /// Asks a gate of any epoch except this one, which was found wrong and was renewed.
    Asking {
        not_in: u8,
    },
    /// Rejected by the gate, with a key: the store is queried next.
    Refused(Answer),
    /// The store has no participation of the key: the gate has to confirm the rejection.
    Looked(Answer),
    /// Admitted, but the answer has not arrived.
    Called(Ticket),
    Admitted(Ticket),
    /// The lease was checked; the transaction may be committed at any moment.
    Writing(Ticket),
    Ended(Answer),
}

/// A message to the gate in flight: it may arrive late, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    Settle(u8),
    Release(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub phase: Phase,
    pub word: Option<Word>,
    /// The attempts of its key that had been rejected when it began.
    pub after: [bool; ATTEMPTS],
}

/// The store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    pub epoch: u8,
    /// The database path has committed since the last rebuild.
    pub closed: bool,
    /// The attempts that had begun when it was closed.
    pub closed_after: [bool; ATTEMPTS],
    pub units: u8,
    /// The rank of each participation that is committed.
    pub rows: [Option<u8>; ATTEMPTS],
    pub outbox: [u8; ATTEMPTS],
}

/// The gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    pub epoch: u8,
    /// The epoch of the last rebuild.
    pub rebuilt: u8,
    /// Run of the server in which this was written.
    pub run: u8,
    pub units: u8,
    pub last_rank: u8,
    /// The units of each user.
    pub held: [u8; USERS],
    /// The first participation of each user with a unit.
    pub holders: [Option<usize>; USERS],
    pub leases: [Option<Ticket>; ATTEMPTS],
    /// The last participation that was admitted with the key.
    pub of_key: Option<usize>,
    /// The attempts that had begun when the key was last refused, or may have been refused.
    pub key_refused: [bool; ATTEMPTS],
    /// The attempts that called the gate before the last admission under the key.
    pub key_admitted: [bool; ATTEMPTS],
}

/// A rebuild, step by step; it may stop after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rebuild {
    Idle,
    Raised(u8),
    Read {
        epoch: u8,
        rows: [Option<u8>; ATTEMPTS],
    },
    /// The swap is done. With the epoch, if the gate refused it.
    Swapped(Option<u8>),
    /// Found the gate ahead of the store: continues above this epoch.
    Ahead(u8),
}

/// Which lease of an attempt it is. The rank stands for the end of the lease, which tells two of one epoch apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seen {
    pub epoch: u8,
    pub rank: u8,
}

/// A sweep of one lease, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sweep {
    Idle,
    Saw {
        attempt: usize,
        seen: Seen,
    },
    Knows {
        attempt: usize,
        seen: Seen,
        committed: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub store: Store,
    pub gate: Option<Gate>,
    /// The present run of the gate's server.
    pub run: u8,
    /// The file of the gate's server, or what its replica has received.
    pub saved: Option<Gate>,
    /// Another primary, and its run. Each step happens at either.
    pub other: Option<(Option<Gate>, u8)>,
    /// The highest epoch that the store ever had.
    pub highest: u8,
    /// What the store is set back to.
    pub copied: Option<Store>,
    /// The participations that were lost when the store was set back.
    pub lost: [bool; ATTEMPTS],
    /// The store was set back, and no rebuild has ended since.
    pub is_set_back: bool,
    pub attempts: [Attempt; ATTEMPTS],
    pub rebuilds: [Rebuild; REPLICAS],
    pub sweeps: [Sweep; REPLICAS],
    /// The campaign has ended: nothing is admitted any more.
    pub ended: bool,
    /// Whether something was committed under a lease that had been swept.
    pub late_commit: bool,
    pub left: Budget,
}

/// The possible actions. The number is that of the attempt, the rebuild or the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Arrive(usize),
    Ask(usize),
    /// The same; the answer arrives later.
    AskLate(usize),
    Answer(usize),
    /// A call that was given up is executed.
    AskForNobody(usize),
    Look(usize),
    Refuse(usize),
    Begin(usize),
    Commit(usize),
    Direct(usize),
    Deliver(usize),
    LeaseEnds(usize),
    Raise(usize),
    Read(usize),
    Swap(usize),
    /// The swap is executed, and will be executed once more.
    SwapTwice(usize),
    /// The rebuild compares the gate with the store.
    Compare(usize),
    /// The one that has raised the epoch moves the gate to it, without the leases of an attempt.
    Advance(usize, usize),
    SweepSees(usize, usize),
    SweepLooks(usize),
    SweepEnds(usize),
    AttemptDies(usize),
    RebuilderDies(usize),
    SweeperDies(usize),
    GateSaves,
    GateIsLost,
    GateIsRestored,
    CampaignEnds,
    /// The store writes a backup, or its replica receives what it has.
    StoreIsCopied,
    StoreIsSetBack,
    /// The gate's replica is promoted, and the primary continues.
    Split,
    /// The next steps happen at the other primary.
    Turn,
    /// The present primary becomes a replica of the other one, and is promoted again.
    Return,
}

impl State {
    /// Open, empty, with a current gate.
    pub fn start(protocol: &Protocol) -> Self {
        Self {
            store: Store {
                epoch: 1,
                closed: false,
                closed_after: [false; ATTEMPTS],
                units: 0,
                rows: [None; ATTEMPTS],
                outbox: [0; ATTEMPTS],
            },
            gate: Some(Gate {
                epoch: 1,
                rebuilt: 1,
                run: 1,
                units: 0,
                last_rank: 0,
                held: [0; USERS],
                holders: [None; USERS],
                leases: [None; ATTEMPTS],
                of_key: None,
                key_refused: [false; ATTEMPTS],
                key_admitted: [false; ATTEMPTS],
            }),
            run: 1,
            saved: None,
            other: None,
            highest: 1,
            copied: None,
            lost: [false; ATTEMPTS],
            is_set_back: false,
            attempts: std::array::from_fn(|id| Attempt {
                phase: if protocol.late.contains(&id) {
                    Phase::Coming
                } else if id < protocol.user_of.len() {
                    Phase::Asking { not_in: 0 }
                } else {
                    Phase::Ended(Answer::Unknown)
                },
                word: None,
                after: [false; ATTEMPTS],
            }),
            rebuilds: [Rebuild::Idle; REPLICAS],
            sweeps: [Sweep::Idle; REPLICAS],
            ended: false,
            late_commit: false,
            left: protocol.budget,
        }
    }

    /// The gate's state as its scripts see it.
    pub fn present_gate(&self, protocol: &Protocol) -> Option<&Gate> {
        self.gate
            .as_ref()
            .filter(|gate| gate.run == self.run || !protocol.has(Check::Run))
    }

    /// The gate's state, if its admissions can be committed.
    pub fn gate_in_force(&self, protocol: &Protocol) -> Option<&Gate> {
        self.present_gate(protocol)
            .filter(|gate| gate.epoch == self.store.epoch || !protocol.has(Check::Epoch))
    }

    /// The attempts that have begun.
    pub fn begun(&self) -> [bool; ATTEMPTS] {
        self.attempts.map(|attempt| attempt.phase != Phase::Coming)
    }

    /// The attempts of the key that were rejected.
    pub fn rejected(&self, protocol: &Protocol) -> [bool; ATTEMPTS] {
        let no = [Answer::SoldOut, Answer::Already, Answer::Ended].map(Phase::Ended);
        std::array::from_fn(|id| protocol.has_key(id) && no.contains(&self.attempts[id].phase))
    }

    /// Whether the key has a participation.
    pub fn key_led(&self, protocol: &Protocol) -> bool {
        let mut ids = protocol.one_key.iter();
        ids.any(|id| self.store.rows[*id].is_some())
    }

    /// Units that are committed for a user.
    pub fn units_of(&self, protocol: &Protocol, user: usize) -> u8 {
        let committed = protocol
            .attempts()
            .filter(|id| protocol.user_of[*id] == user && self.store.rows[*id].is_some());
        u8::try_from(committed.count()).unwrap_or(u8::MAX)
    }

    /// Whether a user has all units that are allowed.
    pub fn user_holds(&self, protocol: &Protocol, user: usize) -> bool {
        self.units_of(protocol, user) >= protocol.limit
    }

    /// Raises the store's epoch, above this one too.
    pub fn raise_epoch(&mut self, protocol: &Protocol, beyond: u8) {
        let unique = if protocol.has(Check::Unique) {
            self.highest
        } else {
            0
        };
        self.store.epoch = self.store.epoch.max(beyond).max(unique) + 1;
        self.highest = self.highest.max(self.store.epoch);
    }
}
