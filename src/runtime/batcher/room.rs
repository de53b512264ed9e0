//! Who may enter a lane, and who is told at once to come back. It bounds how long those inside wait,
//! not only how many they are.
//!
//! Whoever enters counts as inside until there is an answer, so those inside divided by those who leave
//! in a second is how long everybody waits (Little's law). The bound follows from that: once in each
//! `wait_max` it moves half of the way to the number that would have waited exactly `wait_max`. Half of
//! the way does not oscillate, and one step goes at most down to five eighths or up to two and a half
//! times, so that a store that stalls for a second costs a step or two, which are made good in as many
//! tenths of a second. The idea is that of adaptive concurrency limits (Netflix' `concurrency-limits`),
//! with a wait that is configured in place of one that is guessed.
//!
//! The bound never goes below two full batches, one that is worked on and one that gathers: with fewer
//! inside, batches would be smaller and everybody slower. It never goes above the places of the lane. At the start and after quiet times it is up
//! there, so that those who come first in a rush find room.
//!
//! One campaign alone gets at most seven eighths of the room: a quiet one that shares the lane with a
//! flooded one still finds a place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::CampaignId;

/// The share of the room that is kept from any one campaign: one of so many.
const KEPT_FOR_OTHERS: u64 = 8;
/// One step goes toward a bound so many times smaller or larger at most.
const STEP_MAX: u64 = 4;

/// The bounds of a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Those inside at most, if they all wait too long.
    pub floor: u64,
    /// Those inside at most, ever.
    pub ceiling: u64,
    /// How long those inside are to wait at most.
    pub wait_max: Duration,
}

/// The room of a lane.
#[derive(Debug)]
pub(super) struct Room(Mutex<State>);

/// A seat in the room, given back when dropped.
#[derive(Debug)]
#[must_use = "it counts as long as it is kept"]
pub struct Seat {
    room: Arc<Room>,
    campaign: CampaignId,
    entered: Instant,
}

impl Room {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self(Mutex::new(State::new(bounds, Instant::now())))
    }

    /// Whether a campaign's next would find a seat now.
    pub(super) fn has_seat(&self, campaign: CampaignId) -> bool {
        self.state(|state| state.has_seat(campaign))
    }

    /// A seat, if there is one.
    pub(super) fn enter(self: &Arc<Self>, campaign: CampaignId) -> Option<Seat> {
        self.state(|state| state.enter(campaign)).then(|| Seat {
            room: Arc::clone(self),
            campaign,
            entered: Instant::now(),
        })
    }

    fn state<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = Instant::now();
        let waited = now.saturating_duration_since(self.entered);
        self.room
            .state(|state| state.leave(self.campaign, waited, now));
    }
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    /// Those inside at most, for now.
    limit: u64,
    inside: u64,
    /// Those inside by campaign; campaigns without any are not kept.
    by_campaign: HashMap<CampaignId, u64>,
    /// Since when those who leave are counted.
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

    fn has_seat(&self, campaign: CampaignId) -> bool {
        let own = self.by_campaign.get(&campaign).copied().unwrap_or(0);
        let share = (self.limit - self.limit / KEPT_FOR_OTHERS).max(1);
        self.inside < self.limit && own < share
    }

    fn enter(&mut self, campaign: CampaignId) -> bool {
        let seated = self.has_seat(campaign);
        if seated {
            self.inside += 1;
            *self.by_campaign.entry(campaign).or_default() += 1;
        }
        seated
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

    /// Moves the limit half of the way to where those inside would wait `wait_max`.
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

    /// A room, and a service that takes `per_second` out of it, by a clock of its own.
    struct Flood {
        state: State,
        now: Instant,
        /// When those inside entered, the first one first.
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

        /// Everybody comes; so many a second are answered, a batch each ten milliseconds.
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
            // Those of one campaign fill seven eighths.
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
            "no more than that wait for it to end"
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
        assert!(!flood.state.has_seat(HOT));
        assert!(flood.state.enter(QUIET));
        while flood.state.enter(QUIET) {}
        assert_eq!(
            flood.state.inside, flood.state.limit,
            "and no more than there is"
        );
    }

    #[test]
    fn a_closed_connection_frees_its_slot_and_leaves_no_state() {
        let room = Arc::new(Room::new(Bounds {
            floor: 1,
            ceiling: 1,
            wait_max: WAIT_MAX,
        }));
        let seat = room.enter(HOT).unwrap();
        assert!(room.enter(HOT).is_none() && !room.has_seat(QUIET));
        drop(seat);
        assert!(room.has_seat(HOT));
        assert!(room.state(|state| state.by_campaign.is_empty()));
    }
}
