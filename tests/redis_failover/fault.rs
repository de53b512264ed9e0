//! The kinds of failovers, and the random choices of a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::key::Key;
use crate::sale::round::fault_of;

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
    /// The primary is cut off from its replica and from Sentinel, then SIGKILL; Sentinel promotes.
    SentinelKilled,
    /// The same with SIGSTOP, and SIGCONT after the promotion; Sentinel makes it a replica.
    SentinelPaused,
    /// Slots of a cluster move under traffic, there and back.
    SlotsMove,
    /// SIGKILL of a primary of a cluster; its replica takes over.
    ClusterKilled,
    /// The same with SIGSTOP, and SIGCONT after the takeover.
    ClusterPaused,
    /// The clock of the server is set forward while commits hang.
    ClockForward,
    /// The clock of the server is set back while commits hang.
    ClockBack,
}

impl Fault {
    pub const ALL: [Self; 12] = [
        Self::Lagging,
        Self::TwoPrimaries,
        Self::Paused,
        Self::ThereAndBack,
        Self::Full,
        Self::SentinelKilled,
        Self::SentinelPaused,
        Self::SlotsMove,
        Self::ClusterKilled,
        Self::ClusterPaused,
        Self::ClockForward,
        Self::ClockBack,
    ];
    /// How many of them seeds below `NEWER_FROM` choose from.
    const OLDER: usize = 5;

    /// Whether its servers can only run natively: Sentinel, a cluster with replicas, a library that changes the clock.
    pub const fn is_native(self) -> bool {
        self.has_sentinels() || self.has_cluster() || self.has_clock()
    }

    pub const fn has_sentinels(self) -> bool {
        matches!(self, Self::SentinelKilled | Self::SentinelPaused)
    }

    pub const fn has_cluster(self) -> bool {
        matches!(
            self,
            Self::SlotsMove | Self::ClusterKilled | Self::ClusterPaused
        )
    }

    pub const fn has_clock(self) -> bool {
        matches!(self, Self::ClockForward | Self::ClockBack)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Lagging => "primary killed, a lagging replica promoted",
            Self::TwoPrimaries => "two primaries at once",
            Self::Paused => "primary paused and continued",
            Self::ThereAndBack => "to the replica and back, with the same run id",
            Self::Full => "memory full",
            Self::SentinelKilled => "primary cut off and killed, Sentinel promotes",
            Self::SentinelPaused => "primary cut off and paused, Sentinel promotes",
            Self::SlotsMove => "cluster: slots move under traffic",
            Self::ClusterKilled => "cluster: a primary killed, its replica takes over",
            Self::ClusterPaused => "cluster: a primary paused, its replica takes over",
            Self::ClockForward => "clock set forward, commits hang",
            Self::ClockBack => "clock set back, commits hang",
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
    /// By how much the clock is set forward or back.
    pub step: Duration,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let random = &mut StdRng::seed_from_u64(seed);
        Self {
            seed,
            fault: fault_of(seed, &Fault::ALL, Fault::OLDER),
            key: [Key::Participation, Key::User, Key::Campaign][random.random_range(0..3)],
            yes_before: random.random_range(30..90),
            lag: random.random_range(20..60),
            detection: Duration::from_millis(random.random_range(0..2_500)),
            first: random.random_range(0..2),
            gap: Duration::from_millis(random.random_range(0..700)),
            cuts: random.random_ratio(2, 3),
            term: Duration::from_millis(random.random_range(1_000..5_000)),
            step: Duration::from_secs([30, 3_600][random.random_range(0..2)]),
        }
    }
}

#[test]
fn as_many_seeds_as_faults_contain_each() {
    let faults_of = |seeds: std::ops::RangeInclusive<u64>| {
        let mut faults: Vec<Fault> = seeds.map(|seed| Plan::of(seed).fault).collect();
        faults.sort_unstable();
        faults.dedup();
        faults.len()
    };
    assert_eq!(faults_of(1..=5), Fault::OLDER);
    assert_eq!(faults_of(101..=107), Fault::ALL.len() - Fault::OLDER);
}
