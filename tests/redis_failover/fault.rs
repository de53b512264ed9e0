//! The kinds of failovers, and the random choices of a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::key::Key;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The replica lags; SIGKILL of the primary, and promotion: writes are lost.
    Lagging,
    /// The replica lags and is promoted; each replica of the service uses another primary for a while.
    TwoPrimaries,
    /// SIGSTOP of the primary, promotion, SIGCONT.
    Paused,
    /// Everything moves to the replica and later back to the first server, which still has its old state and run id.
    ThereAndBack,
    /// The primary has no memory for writes for a while.
    Full,
}

impl Fault {
    pub const ALL: [Self; 5] = [
        Self::Lagging,
        Self::TwoPrimaries,
        Self::Paused,
        Self::ThereAndBack,
        Self::Full,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Lagging => "primary killed, a lagging replica promoted",
            Self::TwoPrimaries => "two primaries at once",
            Self::Paused => "primary paused and continued",
            Self::ThereAndBack => "to the replica and back, with the same run id",
            Self::Full => "memory full",
        }
    }
}

/// The choices of a seed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub fault: Fault,
    pub key: Key,
    /// Accepted participations before the fault.
    pub yes_before: usize,
    /// Accepted participations that the replica never gets.
    pub lag: usize,
    /// Time between the fault and the promotion.
    pub detection: Duration,
    /// The replica of the service whose address moves first.
    pub first: usize,
    /// How much later the other's does.
    pub gap: Duration,
    /// Whether connections to the former primary are closed when an address moves. They are when it is dead.
    pub cuts: bool,
    /// How long the state between lasts: two primaries, the other server, no memory.
    pub term: Duration,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let random = &mut StdRng::seed_from_u64(seed);
        let kinds = Fault::ALL.len() as u64;
        Self {
            seed,
            fault: Fault::ALL[usize::try_from(seed % kinds).unwrap()],
            key: [Key::Participation, Key::User, Key::Campaign][random.random_range(0..3)],
            yes_before: random.random_range(30..90),
            lag: random.random_range(20..60),
            detection: Duration::from_millis(random.random_range(0..2_500)),
            first: random.random_range(0..2),
            gap: Duration::from_millis(random.random_range(0..700)),
            cuts: random.random_ratio(2, 3),
            term: Duration::from_millis(random.random_range(1_000..5_000)),
        }
    }
}

#[test]
fn as_many_seeds_as_faults_contain_each() {
    let mut faults: Vec<Fault> = (1..=5).map(|seed| Plan::of(seed).fault).collect();
    faults.sort_unstable();
    faults.dedup();
    assert_eq!(faults.len(), Fault::ALL.len());
}
