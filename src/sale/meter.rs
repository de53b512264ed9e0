//! Counts the answers of this replica by campaign: those of the last seconds for the live view, and the rejections until
//! they are written to the store in batches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DurationRound, TimeDelta};

use crate::domain::{CampaignId, Refusal, Timestamp};
use crate::parts::store::TallyRow;
use crate::runtime::clock::Clock;

/// Seconds that the live view shows.
const WINDOW_SECONDS: i64 = 5;
/// One more, for the current second.
const SLOTS: usize = 6;

/// Counts answers.
#[derive(Clone, Debug)]
pub struct Meter {
    clock: Clock,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    seconds: HashMap<CampaignId, [Second; SLOTS]>,
    refusals: HashMap<(CampaignId, Timestamp, &'static str), u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    at: i64,
    answers: u64,
    latency: Duration,
}

/// The answers of a campaign in five full seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// Answers.
    pub processed: u64,
    /// The sum of their latencies.
    pub took: Duration,
}

impl Recent {
    /// Answers per second.
    #[must_use]
    pub fn tps(&self) -> f64 {
        exact(self.processed) / 5.0
    }

    /// Mean time to an answer, in milliseconds.
    #[must_use]
    pub fn avg_latency_ms(&self) -> f64 {
        if self.processed == 0 {
            return 0.0;
        }
        self.took.as_secs_f64() * 1_000.0 / exact(self.processed)
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of five seconds are far below 2^52"
)]
const fn exact(count: u64) -> f64 {
    count as f64
}

impl Meter {
    /// A meter without counts.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            counts: Arc::default(),
        }
    }

    /// Counts an answer, and its rejection if it is one.
    pub fn count(&self, campaign: CampaignId, latency: Duration, refusal: Option<&Refusal>) {
        let now = self.clock.now();
        let second = now.timestamp();
        let mut counts = self.counts();
        let slots = counts.seconds.entry(campaign).or_default();
        let index = usize::try_from(second.rem_euclid(WINDOW_SECONDS + 1)).unwrap_or(0);
        if let Some(slot) = slots.get_mut(index) {
            if slot.at != second {
                *slot = Second {
                    at: second,
                    ..Second::default()
                };
            }
            slot.answers += 1;
            slot.latency += latency;
        }
        if let Some(refusal) = refusal {
            let minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
            *counts
                .refusals
                .entry((campaign, minute, refusal.code()))
                .or_default() += 1;
        }
    }

    /// The answers of this replica in the last five full seconds.
    #[must_use]
    pub fn recent(&self, campaign: CampaignId) -> Recent {
        let now = self.clock.now().timestamp();
        let counts = self.counts();
        let slots = counts.seconds.get(&campaign);
        slots.map_or_else(Recent::default, |slots| sum(slots, now))
    }

    /// The campaigns with answers of this replica in the last five full seconds. Drops the counts of inactive
    /// campaigns.
    #[must_use]
    pub fn active(&self) -> Vec<(CampaignId, Recent)> {
        let now = self.clock.now().timestamp();
        let mut counts = self.counts();
        counts
            .seconds
            .retain(|_, slots| slots.iter().any(|slot| slot.at >= now - WINDOW_SECONDS));
        let recent = counts
            .seconds
            .iter()
            .map(|(id, slots)| (*id, sum(slots, now)));
        recent.filter(|(_, recent)| recent.processed > 0).collect()
    }

    /// Rejections of a campaign that are not in the store yet, by reason.
    #[must_use]
    pub fn unwritten(&self, campaign: CampaignId) -> HashMap<&'static str, u64> {
        let mut reasons = HashMap::new();
        for ((id, _, reason), count) in &self.counts().refusals {
            if *id == campaign {
                *reasons.entry(*reason).or_default() += count;
            }
        }
        reasons
    }

    /// Takes the counted rejections, to write them.
    #[must_use]
    pub fn take(&self) -> Vec<TallyRow> {
        let taken = std::mem::take(&mut self.counts().refusals);
        taken
            .into_iter()
            .map(|((campaign, minute, reason), count)| TallyRow {
                campaign,
                minute,
                reason,
                count,
            })
            .collect()
    }

    /// Returns rejections that could not be written.
    pub fn give_back(&self, rows: Vec<TallyRow>) {
        let mut counts = self.counts();
        for row in rows {
            *counts
                .refusals
                .entry((row.campaign, row.minute, row.reason))
                .or_default() += row.count;
        }
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sum of the five seconds before `now`.
fn sum(slots: &[Second; SLOTS], now: i64) -> Recent {
    let fresh = slots
        .iter()
        .filter(|slot| (now - WINDOW_SECONDS..now).contains(&slot.at));
    fresh.fold(Recent::default(), |sum, slot| Recent {
        processed: sum.processed + slot.answers,
        took: sum.took + slot.latency,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_is_active_while_its_answers_are_among_the_last_five_full_seconds() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let meter = Meter::new(clock.clone());
        let id = CampaignId(1);
        meter.count(id, Duration::from_millis(10), None);
        meter.count(id, Duration::from_millis(30), None);
        assert_eq!(meter.active(), [], "the second is not over");
        clock.advance(Duration::from_secs(1));
        let recent = Recent {
            processed: 2,
            took: Duration::from_millis(40),
        };
        assert_eq!(meter.active(), [(id, recent)]);
        assert!((recent.avg_latency_ms() - 20.0).abs() < 1e-9);
        assert!((recent.tps() - 0.4).abs() < 1e-9);
        clock.advance(Duration::from_secs(5));
        assert_eq!(meter.active(), []);
        assert!(
            meter.counts().seconds.is_empty(),
            "inactive campaigns are dropped"
        );
    }
}
