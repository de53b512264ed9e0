//! What became of a round, and the medians of rounds.

use std::fmt::Write;
use std::time::Duration;

use crate::{Decision, Failure};

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Round {
    /// How long each acceptance took.
    accepted: Vec<Duration>,
    sold_out: u64,
    /// From the beginning to the last acceptance.
    sold_within: Duration,
    /// Units sold beyond the stock, in the database.
    oversold: u64,
}

impl Round {
    pub fn note(&mut self, decision: Decision, took: Duration, since_began: Duration) {
        match decision {
            Decision::Accepted => {
                self.accepted.push(took);
                self.sold_within = self.sold_within.max(since_began);
            }
            Decision::SoldOut => self.sold_out += 1,
        }
    }

    pub fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.sold_out += other.sold_out;
        self.sold_within = self.sold_within.max(other.sold_within);
    }

    /// Compares the answers with the database.
    pub fn checked(mut self, sold: u64, units: u64) -> Result<Self, Failure> {
        let accepted = u64::try_from(self.accepted.len())?;
        if accepted != sold {
            return Err(format!("{accepted} were accepted, and {sold} are in the database").into());
        }
        self.oversold = sold.saturating_sub(units);
        self.accepted.sort_unstable();
        Ok(self)
    }

    /// A percentile of the latencies of accepted requests, in milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let last = self.accepted.len().saturating_sub(1);
        let at = (self.accepted.len() * percent / 100).min(last);
        let found = self.accepted.get(at);
        found.map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

/// Medians of the rounds; units sold beyond the stock of all rounds together.
pub struct Figures {
    accepted: usize,
    per_second: f64,
    oversold: u64,
    p50: f64,
    p99: f64,
}

impl Figures {
    pub fn of(rounds: &[Round]) -> Self {
        let per_second = |round: &Round| {
            let accepted = u32::try_from(round.accepted.len()).unwrap_or(u32::MAX);
            f64::from(accepted) / round.sold_within.as_secs_f64().max(1e-9)
        };
        Self {
            accepted: rounds.iter().map(|round| round.accepted.len()).sum(),
            per_second: median(rounds.iter().map(per_second)),
            oversold: rounds.iter().map(|round| round.oversold).sum(),
            p50: median(rounds.iter().map(|round| round.percentile(50))),
            p99: median(rounds.iter().map(|round| round.percentile(99))),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

pub fn table(ways: &[(&str, Figures)]) -> String {
    let mut table = format!(
        "{:<28} {:>10} {:>10} {:>9} {:>10} {:>10}",
        "way", "accepted", "accepted/s", "oversold", "p50 ms", "p99 ms"
    );
    for (way, figures) in ways {
        let Figures {
            accepted,
            per_second,
            oversold,
            p50,
            p99,
        } = figures;
        // Writing to a text does not fail.
        write!(
            table,
            "\n{way:<28} {accepted:>10} {per_second:>10.0} {oversold:>9} {p50:>10.1} {p99:>10.1}"
        )
        .ok();
    }
    table
}
