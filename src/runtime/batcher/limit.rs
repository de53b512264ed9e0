//! The adaptive limit of a batcher: how many callers may be in it. It bounds how long they wait, not only how many they
//! are.
//!
//! A caller counts from its entry to its answer, so the number of callers divided by the answers per second is the
//! wait of each (Little's law). Once in each `wait_max` the limit moves half of the way to the number of callers that
//! would have waited exactly `wait_max`. Half of the way does not oscillate. One step lowers the limit at most to
//! five eighths, or raises it at most to two and a half times. So a store that stalls for a second costs one or two
//! steps, and as many steps recover from it. The idea is that of adaptive concurrency limits (Netflix'
//! `concurrency-limits`), with a configured wait instead of an estimated one.
//!
//! The limit is never below two full batches, one in progress and one that gathers: with fewer callers the batches
//! would be smaller and all slower. It is never above the capacity of the queue. At the start and after quiet times
//! it equals the capacity, so that the first callers of a rush find room.
//!
//! One campaign gets at most seven eighths of the limit, so a quiet campaign still finds room next to a flooded one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::CampaignId;

/// The part of the limit that one campaign cannot use: one of this many.
const RESERVED_PART: u64 = 8;
/// One step moves toward a limit at most this many times smaller or larger.
const STEP_MAX: u64 = 4;

/// The bounds of the limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The least limit, however long callers wait.
    pub floor: u64,
    /// The greatest limit.
    pub ceiling: u64,
    /// Longest wait that the limit aims at.
    pub wait_max: Duration,
}

/// The limit of a batcher.
#[derive(Debug)]
pub(super) struct Limit(Mutex<State>);

/// Counts a caller until it is dropped.
#[derive(Debug)]
#[must_use = "the caller counts until this is dropped"]
pub struct Occupancy {
    limit: Arc<Limit>,
    campaign: CampaignId,
    entered: Instant,
}

impl Limit {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self(Mutex::new(State::new(bounds, Instant::now())))
    }

    /// Whether another caller of a campaign would be admitted now.
    pub(super) fn has_room(&self, campaign: CampaignId) -> bool {
        self.state(|state| state.has_room(campaign))
    }

    /// Admits a caller; none: there is no room.
    pub(super) fn acquire(self: &Arc<Self>, campaign: CampaignId) -> Option<Occupancy> {
        self.state(|state| state.enter(campaign))
            .then(|| Occupancy {
                limit: Arc::clone(self),
                campaign,
                entered: Instant::now(),
            })
    }

    fn state<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Occupancy {
    fn drop(&mut self) {
        let now = Instant::now();
        let waited = now.saturating_duration_since(self.entered);
        self.limit
            .state(|state| state.leave(self.campaign, waited, now));
    }
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    /// The limit now.
    limit: u64,
    inside: u64,
    /// Callers by campaign; campaigns without callers have no entry.
    by_campaign: HashMap<CampaignId, u64>,
    /// Since when callers that leave are counted.
    since: Instant,
    left: u32,
    waited: Duration,
}

impl State {
    fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            bounds,
            limit: bounds.ceiling,
            inside: 0,
            by_campaign: HashMap::new(),
            since: now,
            left: 0,
            waited: Duration::ZERO,
        }
    }

    fn has_room(&self, campaign: CampaignId) -> bool {
        let own = self.by_campaign.get(&campaign).copied().unwrap_or(0);
        let share = (self.limit - self.limit / RESERVED_PART).max(1);
        self.inside < self.limit && own < share
    }

    fn enter(&mut self, campaign: CampaignId) -> bool {
        let is_admitted = self.has_room(campaign);
        if is_admitted {
            self.inside += 1;
            *self.by_campaign.entry(campaign).or_default() += 1;
        }
        is_admitted
    }

    fn leave(&mut self, campaign: CampaignId, waited: Duration, now: Instant) {
        self.inside = self.inside.saturating_sub(1);
        if let Some(own) = self.by_campaign.get_mut(&campaign) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.by_campaign.remove(&campaign);
            }
        }
        self.left += 1;
        self.waited += waited;
        if now.saturating_duration_since(self.since) >= self.bounds.wait_max {
            self.step();
            self.since = now;
            self.left = 0;
            self.waited = Duration::ZERO;
        }
    }

    /// Moves the limit half of the way to the number of callers that would wait `wait_max`.
    fn step(&mut self) {
        let mean = micros(self.waited / self.left.max(1)).max(1);
        let wanted = self.limit.saturating_mul(micros(self.bounds.wait_max)) / mean;
        let within = wanted.clamp(self.limit / STEP_MAX, self.limit.saturating_mul(STEP_MAX));
        self.limit = self
            .limit
            .midpoint(within)
            .clamp(self.bounds.floor, self.bounds.ceiling);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOT: CampaignId = CampaignId(1);
    const QUIET: CampaignId = CampaignId(5);
    const WAIT_MAX: Duration = Duration::from_millis(100);

    /// A limit, and a service that answers `per_second` callers, by a clock of its own.
    struct Flood {
        state: State,
        now: Instant,
        /// Entries of the callers, oldest first.
        line: std::collections::VecDeque<Instant>,
    }

    impl Flood {
        fn new() -> Self {
            let now = Instant::now();
            let bounds = Bounds {
                floor: 256,
                ceiling: 2_048,
                wait_max: WAIT_MAX,
            };
            Self {
                state: State::new(bounds, now),
                now,
                line: std::collections::VecDeque::new(),
            }
        }

        /// Callers fill the limit; `per_second` of them are answered, a batch each ten milliseconds.
        fn run(&mut self, time: Duration, per_second: usize) {
            let end = self.now + time;
            while self.now < end {
                while self.state.enter(HOT) {
                    self.line.push_back(self.now);
                }
                self.now += Duration::from_millis(10);
                for _ in 0..per_second / 100 {
                    if let Some(entered) = self.line.pop_front() {
                        self.state.leave(HOT, self.now - entered, self.now);
                    }
                }
            }
        }
    }

    #[test]
    fn a_flood_waits_up_to_the_maximum_at_any_pace() {
        for per_second in [4_000, 8_000, 16_000] {
            let mut flood = Flood::new();
            flood.run(Duration::from_secs(3), per_second);
            // The callers of one campaign fill seven eighths.
            let would_wait = flood.state.inside * 1_000 / per_second as u64;
            assert!(
                (80..=120).contains(&would_wait),
                "{would_wait} ms at {per_second}/s"
            );
        }
    }

    #[test]
    fn the_bound_does_not_oscillate() {
        let mut flood = Flood::new();
        flood.run(Duration::from_secs(3), 8_000);
        let settled = flood.state.limit;
        for _ in 0..50 {
            flood.run(WAIT_MAX, 8_000);
            assert!(flood.state.limit.abs_diff(settled) <= settled / 8);
        }
    }

    #[test]
    fn a_stall_is_forgotten_within_a_second() {
        let mut flood = Flood::new();
        flood.run(Duration::from_secs(3), 8_000);
        let settled = flood.state.limit;
        flood.run(Duration::from_secs(1), 0);
        assert!(
            flood.state.inside <= settled,
            "no more callers wait for the end of the stall"
        );
        flood.run(Duration::from_secs(1), 8_000);
        assert!(flood.state.limit.abs_diff(settled) <= settled / 4);
    }

    #[test]
    fn a_slow_service_still_gets_full_batches() {
        let mut flood = Flood::new();
        flood.run(Duration::from_secs(5), 500);
        assert_eq!(flood.state.limit, 256);
    }

    #[test]
    fn after_a_quiet_time_the_whole_capacity_is_available() {
        let mut flood = Flood::new();
        flood.run(Duration::from_secs(5), 500);
        for _ in 0..20 {
            flood.now += WAIT_MAX;
            assert!(flood.state.enter(QUIET));
            flood
                .state
                .leave(QUIET, Duration::from_millis(5), flood.now);
        }
        assert_eq!(flood.state.limit, 2_048);
    }

    #[test]
    fn a_quiet_campaign_gets_queue_capacity_beside_a_flooded_one() {
        let mut flood = Flood::new();
        while flood.state.enter(HOT) {}
        assert!(!flood.state.has_room(HOT));
        assert!(flood.state.enter(QUIET));
        while flood.state.enter(QUIET) {}
        assert_eq!(
            flood.state.inside, flood.state.limit,
            "the limit holds for all campaigns together"
        );
    }

    #[test]
    fn a_closed_connection_frees_its_slot_and_leaves_no_state() {
        let limit = Arc::new(Limit::new(Bounds {
            floor: 1,
            ceiling: 1,
            wait_max: WAIT_MAX,
        }));
        let occupancy = limit.acquire(HOT).unwrap();
        assert!(limit.acquire(HOT).is_none() && !limit.has_room(QUIET));
        drop(occupancy);
        assert!(limit.has_room(HOT));
        assert!(limit.state(|state| state.by_campaign.is_empty()));
    }
}
