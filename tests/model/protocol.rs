//! What the model consists of: the store, the gate, those who ask, those who rebuild and sweep, and
//! what can happen to them. Small numbers and no clocks: a lease has ended or it has not.

/// Participations that may come about, at most. Each has an id of its own, kept when the gate is asked again.
pub const ATTEMPTS: usize = 3;
/// Users there may be.
pub const USERS: usize = 3;
/// Replicas that rebuild and sweep, at most.
pub const REPLICAS: usize = 2;

/// What the protocol relies on. Each can be taken away, to see what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A commit is refused unless the store's epoch is the one that admitted.
    Epoch,
    /// A transaction is not begun under a lease that has run out.
    Lease,
    /// A transaction that was begun is over before its lease is: what the writer's margin is for.
    Margin,
    /// A lease is ended only by who saw it in this epoch: the same participation may have a later one.
    SameLease,
    /// Gate state of another run of the server counts as missing.
    Run,
    /// The database path raises the epoch before it commits anything beside the gate.
    Closing,
    /// The store's own condition: no more units than there are.
    Stock,
    /// The store's unique key: no rank twice in a campaign.
    Ranks,
    /// The gate says nothing to a key of which another participation holds a lease.
    KeyLease,
    /// The gate remembers that it has refused a key: who began before does not commit.
    KeyMemory,
    /// After a rebuild every key may have been refused: who began before does not commit.
    KeyRebuild,
    /// A no to a key is said only after a look at the store, which may have its participation.
    KeyLook,
    /// A no to a key is said after the gate was told of it once more: something may have been admitted since.
    KeyAgain,
    /// The database path admits no key that began before the gate was closed.
    KeyDirect,
}

/// A property of the protocol.
pub type Holds = super::HoldsIn<Protocol>;

/// The protocol with some of its checks left out, and how much of everything there is.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub without: Vec<Check>,
    /// What must hold in every state.
    pub always: Vec<Holds>,
    /// What must come about in some state, or the world is too small to tell anything.
    pub sometimes: Vec<Holds>,
    pub stock: u8,
    pub replicas: usize,
    /// Who makes each attempt.
    pub user_of: Vec<usize>,
    /// The attempts that have one and the same idempotency key.
    pub one_key: Vec<usize>,
    /// The attempts that are not under way from the start: they begin at any moment.
    pub late: Vec<usize>,
    pub budget: Budget,
}

impl Protocol {
    /// The attempts that are made.
    pub fn attempts(&self) -> std::ops::Range<usize> {
        0..self.user_of.len()
    }

    /// Whether an attempt has the key that others have, too.
    pub fn has_key(&self, id: usize) -> bool {
        self.one_key.contains(&id)
    }

    pub fn has(&self, check: Check) -> bool {
        !self.without.contains(&check)
    }
}

/// How often what is not bounded by itself may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Epochs that rebuilds may raise.
    pub raises: u8,
    /// Participations on the database path.
    pub directs: u8,
    /// Processes that die, with all they knew.
    pub crashes: u8,
    /// Times the gate loses everything.
    pub losses: u8,
    /// Times the gate's server restarts from an older file of its own.
    pub restores: u8,
    /// Times the campaign ends.
    pub ends: u8,
}

/// What an admitted attempt holds, and the gate's lease of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub epoch: u8,
    pub rank: u8,
    /// Whether its time is over.
    pub over: bool,
    /// Of who holds it: whether a sweep has released the lease.
    pub swept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Yes,
    SoldOut,
    Already,
    Ended,
    /// What its key led to before.
    First,
    /// 503, or nobody is left to answer.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Has not begun.
    Coming,
    /// Asks a gate of any epoch but this one: that one was found wrong, and was renewed.
    Asking {
        not_in: u8,
    },
    /// Refused by the gate, with a key: the store is asked next.
    Refused(Answer),
    /// The store knew of nothing: the gate is told of the no once more.
    Looked(Answer),
    Admitted(Ticket),
    /// The lease was looked at; the transaction may be committed at any moment.
    Writing(Ticket),
    Ended(Answer),
}

/// A word to the gate that is on its way: it may arrive late, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    Settle(u8),
    Release(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub phase: Phase,
    pub word: Option<Word>,
    /// The attempts of its key that had been told no when it began.
    pub after: [bool; ATTEMPTS],
}

/// The truth.
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

/// The sieve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    pub epoch: u8,
    /// Run of the server in which this was written.
    pub run: u8,
    pub units: u8,
    pub last_rank: u8,
    /// The first participation of each user who holds a unit.
    pub holders: [Option<usize>; USERS],
    pub leases: [Option<Ticket>; ATTEMPTS],
    /// The last participation that was admitted with the key.
    pub of_key: Option<usize>,
    /// The attempts that had begun when the key was refused last, or may have been refused.
    pub key_refused: [bool; ATTEMPTS],
    /// The attempts that the gate was asked for before something was admitted under the key last.
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

/// A sweep of one lease, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sweep {
    Idle,
    Saw {
        attempt: usize,
        epoch: u8,
    },
    Knows {
        attempt: usize,
        epoch: u8,
        committed: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub store: Store,
    pub gate: Option<Gate>,
    /// The present run of the gate's server.
    pub run: u8,
    /// What the gate's server once wrote to a file.
    pub saved: Option<Gate>,
    pub attempts: [Attempt; ATTEMPTS],
    pub rebuilds: [Rebuild; REPLICAS],
    pub sweeps: [Sweep; REPLICAS],
    /// Nobody is admitted any more.
    pub ended: bool,
    /// Whether something was committed under a lease that had been swept away.
    pub late_commit: bool,
    pub left: Budget,
}

/// What can happen. The number is the attempt's, the rebuilder's or the sweeper's.
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
    /// Open, empty, with a gate in force.
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

    /// The gate's state, if what it admits would be committed.
    pub fn gate_in_force(&self, protocol: &Protocol) -> Option<&Gate> {
        self.present_gate(protocol)
            .filter(|gate| gate.epoch == self.store.epoch || !protocol.has(Check::Epoch))
    }

    /// The attempts that have begun.
    pub fn begun(&self) -> [bool; ATTEMPTS] {
        self.attempts.map(|attempt| attempt.phase != Phase::Coming)
    }

    /// The attempts of the key that were told no.
    pub fn told_no(&self, protocol: &Protocol) -> [bool; ATTEMPTS] {
        let no = [Answer::SoldOut, Answer::Already, Answer::Ended].map(Phase::Ended);
        std::array::from_fn(|id| protocol.has_key(id) && no.contains(&self.attempts[id].phase))
    }

    /// Whether the key has led to a participation.
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
