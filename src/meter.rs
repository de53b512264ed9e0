//! The meter: what this replica answered, per campaign: the last seconds for the live view, and the
//! refusals until they are written to the store in batches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DurationRound, TimeDelta};

use crate::clock::Clock;
use crate::domain::{CampaignId, Instant, Refusal};
use crate::store::TallyRow;

/// How far back the live view looks.
const WINDOW_SECONDS: i64 = 5;
/// One more, for the second that is not over.
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
    refusals: HashMap<(CampaignId, Instant, &'static str), u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    at: i64,
    answers: u64,
    latency: Duration,
}

/// The last five full seconds of a campaign on this replica.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    /// Answers per second.
    pub tps: f64,
    /// Mean time to an answer, in milliseconds.
    pub avg_latency_ms: f64,
    /// Answers.
    pub processed: u64,
}

impl Meter {
    /// A meter that has counted nothing.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            counts: Arc::default(),
        }
    }

    /// Counts an answer, and its refusal if it was one.
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

    /// What was answered in the last five full seconds.
    #[must_use]
    pub fn recent(&self, campaign: CampaignId) -> Recent {
        let now = self.clock.now().timestamp();
        let counts = self.counts();
        let Some(slots) = counts.seconds.get(&campaign) else {
            return Recent::default();
        };
        let fresh = slots
            .iter()
            .filter(|slot| (now - WINDOW_SECONDS..now).contains(&slot.at));
        let (answers, latency) = fresh.fold((0_u64, Duration::ZERO), |(answers, latency), slot| {
            (answers + slot.answers, latency + slot.latency)
        });
        if answers == 0 {
            return Recent::default();
        }
        #[allow(
            clippy::cast_precision_loss,
            reason = "counts of five seconds are far below 2^52"
        )]
        let count = answers as f64;
        Recent {
            tps: count / 5.0,
            avg_latency_ms: latency.as_secs_f64() * 1_000.0 / count,
            processed: answers,
        }
    }

    /// Refusals of a campaign that are not yet in the store, by reason.
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

    /// Takes the refusals counted so far, to write them.
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

    /// Gives back what could not be written.
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
