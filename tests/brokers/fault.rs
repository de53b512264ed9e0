//! The faults of the brokers, and the random choices of a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::key::Key;
use crate::sale::round::fault_of;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The brokers get all requests, and their answers are lost.
    LostAnswers,
    /// The brokers get and answer nothing, and connections stay open.
    Hanging,
    /// SIGSTOP of a broker until others lead its partitions, and SIGCONT.
    Paused,
    /// One broker is killed, so each partition has two in-sync replicas, which is enough.
    OneKilled,
    /// The same, and each partition needs three.
    TooFewInSync,
    /// Each broker in turn is stopped and started, so leaders move.
    LeadersMove,
    /// Two brokers are killed: no controller can decide anything.
    QuorumLost,
    /// All three are killed.
    AllKilled,
    /// The topic of participations gets more partitions, and a broker is stopped, so that producers learn of it.
    PartitionsAdded,
    /// The control: a broker without the last records becomes the leader, and acknowledged records are gone.
    UncleanElection,
    /// The clock of a broker is set forward, and set right again.
    ClockForward,
    /// The clock of a broker is set back, and set right again.
    ClockBack,
}

impl Fault {
    pub const ALL: [Self; 12] = [
        Self::LostAnswers,
        Self::Hanging,
        Self::Paused,
        Self::OneKilled,
        Self::TooFewInSync,
        Self::LeadersMove,
        Self::QuorumLost,
        Self::AllKilled,
        Self::PartitionsAdded,
        Self::UncleanElection,
        Self::ClockForward,
        Self::ClockBack,
    ];
    /// How many of them seeds below `NEWER_FROM` choose from.
    const OLDER: usize = 10;

    pub const fn name(self) -> &'static str {
        match self {
            Self::LostAnswers => "acknowledgements lost",
            Self::Hanging => "brokers hang without closing",
            Self::Paused => "a broker paused and continued",
            Self::OneKilled => "one broker killed: in-sync replicas shrink to two",
            Self::TooFewInSync => "too few in-sync replicas",
            Self::LeadersMove => "each broker restarted: leaders move",
            Self::QuorumLost => "two brokers killed: quorum lost",
            Self::AllKilled => "all brokers killed",
            Self::PartitionsAdded => "partitions added",
            Self::UncleanElection => "control: unclean election, acknowledged records gone",
            Self::ClockForward => "clock of a broker set forward by an hour",
            Self::ClockBack => "clock of a broker set back by an hour",
        }
    }

    /// Whether events are published while the fault lasts.
    pub const fn publishes(self) -> bool {
        matches!(
            self,
            Self::Paused
                | Self::OneKilled
                | Self::LeadersMove
                | Self::PartitionsAdded
                | Self::ClockForward
                | Self::ClockBack
        )
    }

    /// Whether Kafka says, or shows by its silence, that it has not taken a record. Then no attempt is charged.
    pub const fn is_definite(self) -> bool {
        matches!(
            self,
            Self::OneKilled | Self::TooFewInSync | Self::QuorumLost | Self::AllKilled
        )
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
    /// How long the fault lasts after it has begun to have an effect.
    pub outage: Duration,
    /// The broker that is broken first, of three.
    pub victim: usize,
}

impl Plan {
    pub fn of(seed: u64, outage: Option<Duration>) -> Self {
        let random = &mut StdRng::seed_from_u64(seed);
        let drawn = Duration::from_millis(random.random_range(12_000..16_000));
        Self {
            seed,
            fault: fault_of(seed, &Fault::ALL, Fault::OLDER),
            key: [Key::Participation, Key::User, Key::Campaign][random.random_range(0..3)],
            yes_before: random.random_range(60..120),
            outage: outage.unwrap_or(drawn),
            victim: random.random_range(0..3),
        }
    }
}

#[test]
fn as_many_seeds_as_faults_contain_each() {
    let faults_of = |seeds: std::ops::RangeInclusive<u64>| {
        let mut faults: Vec<Fault> = seeds.map(|seed| Plan::of(seed, None).fault).collect();
        faults.sort_unstable();
        faults.dedup();
        faults.len()
    };
    assert_eq!(faults_of(1..=10), Fault::OLDER);
    assert_eq!(faults_of(101..=102), Fault::ALL.len() - Fault::OLDER);
}
