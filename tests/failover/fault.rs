//! The kinds of failovers, and the random choices of a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::key::Key;
use crate::pair::Replication;
use crate::sale::parts::GATE_LEASE;
use crate::sale::round::fault_of;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL of the primary, and promotion.
    Killed,
    /// SIGSTOP of the primary, promotion, SIGCONT: two accept writes, and nobody fences the old one.
    TwoPrimaries,
    /// The old primary becomes read-only and keeps its connections.
    Switchover,
    /// The same, while the session of a vanished client keeps a campaign's row locked.
    HalfOpen,
    /// The replica acknowledges nothing for longer than a lease, and then continues.
    Stalled,
    /// The same, and then the primary is killed.
    StalledAndKilled,
    /// The control: asynchronous replication without the last transactions.
    TailCut,
    /// A group: SIGKILL of the primary. The group elects another, and the old one returns as a secondary.
    GroupKilled,
    /// A group: SIGSTOP of the primary until the group has expelled it, SIGCONT: for some seconds two are primary, each
    /// in its own view.
    GroupPaused,
    /// A group: `group_replication_set_as_primary()`.
    GroupSwitchover,
    /// A group: SIGKILL of a secondary, which then returns.
    GroupSecondaryLost,
    /// A group: SIGSTOP of both secondaries for longer than a lease, and SIGCONT.
    GroupMajorityLost,
    /// The primary's clock is set forward while COMMITs wait, and set right again later.
    ClockForward,
    /// The primary's clock is set back while COMMITs wait.
    ClockBack,
    /// The primary is killed while COMMITs wait, and a replica with another clock becomes the primary.
    ClockOfReplica,
    /// A group whose members' clocks differ: SIGKILL of the primary. The group elects one with another clock.
    GroupClocks,
}

impl Fault {
    pub const ALL: [Self; 16] = [
        Self::Killed,
        Self::TwoPrimaries,
        Self::Switchover,
        Self::Stalled,
        Self::HalfOpen,
        Self::StalledAndKilled,
        Self::TailCut,
        Self::GroupKilled,
        Self::GroupPaused,
        Self::GroupSwitchover,
        Self::GroupSecondaryLost,
        Self::GroupMajorityLost,
        Self::ClockForward,
        Self::ClockBack,
        Self::ClockOfReplica,
        Self::GroupClocks,
    ];
    /// How many of them seeds below `NEWER_FROM` choose from.
    const OLDER: usize = 12;

    /// Whether it sets a clock.
    pub const fn has_clock(self) -> bool {
        matches!(
            self,
            Self::ClockForward | Self::ClockBack | Self::ClockOfReplica | Self::GroupClocks
        )
    }

    /// Whether the old primary of a pair is the primary after it.
    pub const fn keeps_primary(self) -> bool {
        matches!(self, Self::Stalled | Self::ClockForward | Self::ClockBack)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Killed => "primary killed",
            Self::TwoPrimaries => "primary paused and continued: two primaries",
            Self::Switchover => "planned switchover, old connections alive",
            Self::HalfOpen => "planned switchover, a half-open session with a lock",
            Self::Stalled => "COMMITs stalled beyond the lease",
            Self::StalledAndKilled => "COMMITs stalled, then primary killed",
            Self::TailCut => "control: asynchronous, tail cut",
            Self::GroupKilled => "group: primary killed",
            Self::GroupPaused => "group: primary paused, expelled and continued",
            Self::GroupSwitchover => "group: planned switchover",
            Self::GroupSecondaryLost => "group: secondary killed, and returned",
            Self::GroupMajorityLost => "group: majority lost, and returned",
            Self::ClockForward => "clock set forward and back, COMMITs stalled",
            Self::ClockBack => "clock set back, COMMITs stalled",
            Self::ClockOfReplica => "primary killed, a replica with another clock promoted",
            Self::GroupClocks => "group: members' clocks differ, primary killed",
        }
    }

    /// The replication between the servers.
    pub const fn replication(self) -> Replication {
        match self {
            Self::TailCut => Replication::Asynchronous,
            Self::GroupKilled
            | Self::GroupPaused
            | Self::GroupSwitchover
            | Self::GroupSecondaryLost
            | Self::GroupMajorityLost
            | Self::GroupClocks => Replication::Group,
            _ => Replication::SemiSynchronous,
        }
    }
}

/// What a member does that has left its group because of an error: `group_replication_exit_state_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitAction {
    ReadOnly,
    OfflineMode,
    AbortServer,
}

impl ExitAction {
    pub const fn value(self) -> &'static str {
        match self {
            Self::ReadOnly => "READ_ONLY",
            Self::OfflineMode => "OFFLINE_MODE",
            Self::AbortServer => "ABORT_SERVER",
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
    /// Whether the failover waits until both replicas report that they are not ready.
    pub waits_for_readiness: bool,
    /// Time between the fault and the promotion, beyond the detection.
    pub detection: Duration,
    /// The replica whose address leads to the new primary first.
    pub first: usize,
    /// How much later the other's does.
    pub gap: Duration,
    /// How long COMMITs wait.
    pub stall: Duration,
    /// What a member does that has left its group.
    pub exit: ExitAction,
    /// How long a member without a majority waits before it leaves; 0: forever.
    pub unreachable_majority_seconds: u32,
    /// The secondary that is lost, or becomes the primary.
    pub secondary: usize,
    /// By how many seconds the clock is set forward or back.
    pub step_seconds: i64,
    /// Whether the clock of the promoted replica, or of the first secondary of a group, is ahead.
    pub is_ahead: bool,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let random = &mut StdRng::seed_from_u64(seed);
        let lease_ms = u64::try_from(GATE_LEASE.as_millis()).unwrap();
        let exits = [
            ExitAction::ReadOnly,
            ExitAction::OfflineMode,
            ExitAction::AbortServer,
        ];
        Self {
            seed,
            fault: fault_of(seed, &Fault::ALL, Fault::OLDER),
            key: [Key::Participation, Key::User, Key::Campaign][random.random_range(0..3)],
            yes_before: random.random_range(30..90),
            waits_for_readiness: random.random_ratio(1, 2),
            detection: Duration::from_millis(random.random_range(0..2_500)),
            first: random.random_range(0..2),
            gap: Duration::from_millis(random.random_range(0..700)),
            stall: Duration::from_millis(lease_ms + random.random_range(500..4_000)),
            exit: exits[random.random_range(0..exits.len())],
            unreachable_majority_seconds: [0, 3][random.random_range(0..2)],
            secondary: random.random_range(1..3),
            step_seconds: [300, 3_600][random.random_range(0..2)],
            is_ahead: random.random_ratio(1, 2),
        }
    }

    /// The offset of the database's clock after the step, in seconds.
    pub const fn clock_step(&self) -> i64 {
        match self.fault {
            Fault::ClockBack => -self.step_seconds,
            Fault::ClockOfReplica if !self.is_ahead => -self.step_seconds,
            _ => self.step_seconds,
        }
    }

    /// The offset of the clock of a group's member, in seconds: that of the primary is right, one secondary is ahead, and
    /// the other one behind.
    pub const fn clock_of_member(&self, nth: usize) -> i64 {
        match (self.fault, nth, self.is_ahead) {
            (Fault::GroupClocks, 1, true) | (Fault::GroupClocks, 2, false) => self.step_seconds,
            (Fault::GroupClocks, 1 | 2, _) => -self.step_seconds,
            _ => 0,
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
    assert_eq!(faults_of(1..=12), Fault::OLDER);
    assert_eq!(faults_of(101..=104), Fault::ALL.len() - Fault::OLDER);
}
