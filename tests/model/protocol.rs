//! The state of the model: the store, the gate, participants, rebuilds and sweeps, and the possible faults.
//! Small numbers and no clocks: a lease has ended or it has not.

/// Largest number of participations. Each has its own id, which a retry keeps.
pub const ATTEMPTS: usize = 3;
/// Maximum number of users.
pub const USERS: usize = 3;
/// Maximum number of replicas that rebuild and sweep.
pub const REPLICAS: usize = 2;

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
}

/// A property of the protocol.
pub type Holds = super::HoldsIn<Protocol>;

/// The protocol without some of its checks, and the bounds of the world.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub without: Vec<Check>,
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
        !self.without.contains(&check)
    }
}

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
    /// The file of the gate's server.
    pub saved: Option<Gate>,
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
                holders: [None; USERS],
                leases: [None; ATTEMPTS],
                of_key: None,
                key_refused: [false; ATTEMPTS],
                key_admitted: [false; ATTEMPTS],
            }),
            run: 1,
            saved: None,
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

    pub fn user_holds(&self, protocol: &Protocol, user: usize) -> bool {
        protocol
            .attempts()
            .any(|id| protocol.user_of[id] == user && self.store.rows[id].is_some())
    }
}
