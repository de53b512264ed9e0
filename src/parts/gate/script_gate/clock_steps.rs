//! Notices when the server's clock was set forward: leases seem to have ended, while their owners may still commit. They
//! know by their monotonic clocks. For the length of a lease after that, no lease counts as ended. A process that has
//! not read the clock before does not notice.

use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::domain::CampaignId;
use crate::runtime::clock::TimeReading;

/// By how much the clocks may differ without a step: between two readings, and in proportion to the time between them.
const DIFFERENCE_MAX: Duration = Duration::from_millis(500);
const DRIFT_PARTS: u32 = 1_000;
/// Length of a lease while this process has not asked for one.
const LEASE_UNKNOWN: Duration = Duration::from_secs(60);
/// Campaigns whose last reading is remembered, and for how long: in a cluster, each has the clock of its node.
const CAMPAIGNS_MAX: u64 = 100_000;
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// The last reading, and the end of the time in which no lease counts as ended.
#[derive(Clone, Copy)]
struct Last {
    reading: TimeReading,
    ahead_until: Option<Instant>,
}

pub(super) struct ClockSteps {
    last: Cache<CampaignId, Last>,
}

impl Default for ClockSteps {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(CAMPAIGNS_MAX);
        Self {
            last: cache.time_to_idle(REMEMBERED).build(),
        }
    }
}

impl ClockSteps {
    /// Whether the clock was set forward less than the length of a lease ago.
    pub(super) fn is_ahead(&self, campaign: CampaignId, now: TimeReading, lease: Duration) -> bool {
        let last = self.last.get(&campaign);
        let mut ahead_until = last.and_then(|last| last.ahead_until);
        ahead_until = ahead_until.filter(|until| *until > now.answered);
        if last.is_some_and(|last| is_step(last.reading, now)) {
            let lease = if lease.is_zero() {
                LEASE_UNKNOWN
            } else {
                lease
            };
            ahead_until = Some(now.answered + lease);
            tracing::warn!(
                campaign.id = %campaign,
                "the gate's clock was set forward: no lease is ended for the length of a lease"
            );
        }
        let last = Last {
            reading: now,
            ahead_until,
        };
        self.last.insert(campaign, last);
        ahead_until.is_some()
    }
}

/// Whether the server's clock has advanced by more than can have passed.
fn is_step(before: TimeReading, now: TimeReading) -> bool {
    let advanced = (now.time - before.time).to_std().unwrap_or_default();
    let passed = now.answered.duration_since(before.asked);
    advanced > passed + passed / DRIFT_PARTS + DIFFERENCE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    const LEASE: Duration = Duration::from_secs(15);
    const ID: CampaignId = CampaignId(1);

    struct Scene {
        steps: ClockSteps,
        begin: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                steps: ClockSteps::default(),
                begin: Instant::now(),
            }
        }

        /// The result of a reading `after_ms` after the beginning, of a clock that is `ahead_ms` ahead.
        fn reads(&self, after_ms: u64, ahead_ms: u64) -> bool {
            let at = self.begin + Duration::from_millis(after_ms);
            let reading = TimeReading {
                asked: at,
                time: Timestamp::UNIX_EPOCH + Duration::from_millis(after_ms + ahead_ms),
                answered: at,
            };
            self.steps.is_ahead(ID, reading, LEASE)
        }
    }

    #[test]
    fn after_a_step_no_lease_has_ended_for_the_length_of_a_lease() {
        let scene = Scene::new();
        assert!(!scene.reads(0, 0));
        assert!(!scene.reads(5_000, 100));
        assert!(scene.reads(10_000, 3_600_000));
        assert!(scene.reads(24_999, 3_600_000));
        assert!(!scene.reads(25_000, 3_600_000));
    }

    #[test]
    fn a_clock_that_drifts_or_is_set_back_has_no_step() {
        let scene = Scene::new();
        assert!(!scene.reads(0, 60_000));
        assert!(!scene.reads(3_000_000, 62_000));
        assert!(!scene.reads(3_001_000, 0));
        assert!(!scene.reads(3_002_000, 0));
    }
}
