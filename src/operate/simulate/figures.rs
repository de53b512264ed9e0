//! The results of a job's requests: counts and latencies.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::sale::participate::{Outcome, ParticipateError};

/// Significant digits of a duration, and the longest one measured, in microseconds: an hour.
const DIGITS: u8 = 3;
const LONGEST_MICROS: u64 = 3_600_000_000;

/// The result of one request.
pub(super) type Answer = Result<Outcome, ParticipateError>;

/// Latencies of the answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub struct Latency {
    pub p50: Duration,
    pub p95: Duration,
    pub p99: Duration,
    pub average: Duration,
    pub min: Duration,
    pub max: Duration,
}

/// The results so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Requests answered.
    pub done: u64,
    /// Requests without a decision: no room, or a part did not answer.
    pub failed: u64,
    /// Answers by code.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Latencies.
    pub latency: Latency,
    /// Duration of the job.
    pub ran: Duration,
}

/// Counts and measures answers.
pub(super) struct Measures {
    /// Without the latencies other than the exact minimum and maximum.
    sums: Figures,
    /// Microseconds; none: there was no memory for it.
    took: Option<Histogram<u64>>,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            sums: Figures::default(),
            took: Histogram::new_with_max(LONGEST_MICROS, DIGITS).ok(),
        }
    }
}

impl Measures {
    pub(super) const fn done(&self) -> u64 {
        self.sums.done
    }

    pub(super) fn count(&mut self, answer: &Answer, took: Duration) {
        let latency = &mut self.sums.latency;
        latency.min = match self.sums.done {
            0 => took,
            _ => latency.min.min(took),
        };
        latency.max = latency.max.max(took);
        self.sums.done += 1;
        self.sums.failed += u64::from(answer.is_err());
        *self.sums.outcomes.entry(code(answer)).or_default() += 1;
        if let Some(histogram) = &mut self.took {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            histogram.saturating_record(micros);
        }
    }

    pub(super) fn figures(&self, ran: Duration) -> Figures {
        let mut figures = Figures {
            ran,
            ..self.sums.clone()
        };
        let Some(took) = self.took.as_ref().filter(|_| figures.done > 0) else {
            return figures;
        };
        let latency = &mut figures.latency;
        // A bucket may end after the maximum.
        let at =
            |quantile| Duration::from_micros(took.value_at_quantile(quantile)).min(latency.max);
        (latency.p50, latency.p95, latency.p99) = (at(0.50), at(0.95), at(0.99));
        latency.average = Duration::from_secs_f64(took.mean() / 1e6);
        figures
    }
}

/// The code of an answer, as clients see it.
fn code(answer: &Answer) -> &'static str {
    match answer {
        Ok(Outcome::Accepted { .. }) => "ACCEPTED",
        Ok(Outcome::Refused { refusal, .. }) => refusal.code(),
        Err(ParticipateError::UnknownCampaign) => "NOT_FOUND",
        Err(ParticipateError::Outstanding) => "REQUEST_OUTSTANDING",
        Err(ParticipateError::KeyReused) => "IDEMPOTENCY_KEY_REUSED",
        Err(ParticipateError::NoPaymentProvider) => "NO_PAYMENT_PROVIDER",
        Err(ParticipateError::Busy) => "BUSY",
        Err(ParticipateError::Unavailable { part: "store" }) => "STORE_UNAVAILABLE",
        Err(ParticipateError::Unavailable { part: "gate" }) => "GATE_UNAVAILABLE",
        Err(ParticipateError::Unavailable { .. }) => "BROKER_UNAVAILABLE",
    }
}
