//! The schedule of a run, derived from a seed, so that a run can be repeated.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;

use crate::fault::Fault;
use crate::key::Key;

/// Shortest duration of the traffic, in milliseconds.
pub const TRAFFIC_MS: u64 = 6_500;
/// No fault begins before this: the first participations have no faults.
const PEACE_MS: u64 = 700;
/// No fault begins later.
const LATEST_MS: u64 = 5_000;

/// One fault at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    pub fault: Fault,
    pub at_ms: u64,
    pub lasts_ms: u64,
    /// The target replica, if the fault has one.
    pub replica: usize,
    /// Whether it also affects the other replica, if possible.
    pub both: bool,
    /// For other random choices.
    pub pick: u64,
}

impl Strike {
    /// The target replicas.
    pub fn replicas(&self) -> Vec<usize> {
        if self.both {
            vec![0, 1]
        } else {
            vec![self.replica]
        }
    }

    pub fn ends_ms(&self) -> u64 {
        self.at_ms + self.lasts_ms
    }

    /// For people.
    pub fn describe(&self) -> String {
        let whom = if self.both {
            "both".to_owned()
        } else {
            format!("replica {}", self.replica)
        };
        format!(
            "{:.1} s to {:.1} s  {} ({whom} where it is a replica's, pick {})",
            seconds(self.at_ms),
            seconds(self.ends_ms()),
            self.fault.name(),
            self.pick,
        )
    }
}

fn seconds(ms: u64) -> f64 {
    f64::from(u32::try_from(ms).unwrap()) / 1_000.0
}

/// The schedule of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub seed: u64,
    pub strikes: Vec<Strike>,
    pub key: Key,
}

impl Schedule {
    /// Two to five faults, at random.
    pub fn of(seed: u64, faults: &[Fault], lease_ms: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let key = match random.random_range(0..4) {
            0 | 1 => Key::Participation,
            2 => Key::User,
            _ => Key::Campaign,
        };
        let many = random.random_range(2..=5);
        let mut strikes: Vec<Strike> = (0..many)
            .map(|_| {
                let fault = faults[random.random_range(0..faults.len())];
                let (from, to) = fault.lasts_ms(lease_ms);
                Strike {
                    fault,
                    at_ms: random.random_range(PEACE_MS..LATEST_MS),
                    lasts_ms: random.random_range(from..to),
                    replica: random.random_range(0..2),
                    both: random.random_ratio(1, 3),
                    pick: random.random_range(0..1_000_000),
                }
            })
            .collect();
        strikes.sort_by_key(|strike| strike.at_ms);
        Self { seed, strikes, key }
    }

    /// The kinds of its faults.
    pub fn faults(&self) -> BTreeSet<Fault> {
        self.strikes.iter().map(|strike| strike.fault).collect()
    }

    /// The end of the last fault.
    pub fn ends_ms(&self) -> u64 {
        let ends = self.strikes.iter().map(Strike::ends_ms).max();
        ends.unwrap_or(0).max(TRAFFIC_MS)
    }
}

/// A few seeds other than those `already` run that together have every wanted kind of fault. Of many seeds, the one
/// that adds most kinds comes first.
pub fn covering(wanted: &[Fault], already: &[u64], faults: &[Fault], lease_ms: u64) -> Vec<u64> {
    const CANDIDATES: u64 = 20_000;
    let candidates: Vec<(u64, BTreeSet<Fault>)> = (1..=CANDIDATES)
        .filter(|seed| !already.contains(seed))
        .map(|seed| (seed, Schedule::of(seed, faults, lease_ms).faults()))
        .collect();
    let mut missing: BTreeSet<Fault> = wanted.iter().copied().collect();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let adds = |held: &BTreeSet<Fault>| held.intersection(&missing).count();
        // Of several seeds that add the same number, the first.
        let best = candidates
            .iter()
            .rev()
            .max_by_key(|(_, held)| adds(held))
            .unwrap();
        assert!(adds(&best.1) > 0, "no seed holds {missing:?}");
        missing = missing.difference(&best.1).copied().collect();
        chosen.push(best.0);
    }
    chosen
}

#[test]
fn a_seed_always_gives_the_same_schedule() {
    let faults = Fault::scheduled();
    for seed in 0..50 {
        let schedule = Schedule::of(seed, &faults, 3_000);
        assert_eq!(schedule, Schedule::of(seed, &faults, 3_000));
        assert!((2..=5).contains(&schedule.strikes.len()));
    }
    assert_ne!(
        Schedule::of(1, &faults, 3_000).strikes,
        Schedule::of(2, &faults, 3_000).strikes
    );
}

#[test]
fn a_few_seeds_cover_every_kind_of_fault() {
    let faults = Fault::scheduled();
    let seeds = covering(&faults, &[], &faults, 3_000);
    let held: BTreeSet<Fault> = seeds
        .iter()
        .flat_map(|seed| Schedule::of(*seed, &faults, 3_000).faults())
        .collect();
    assert_eq!(held, faults.iter().copied().collect());
    assert!(seeds.len() <= 9, "{seeds:?}");
}
