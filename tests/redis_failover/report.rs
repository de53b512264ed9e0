//! What the report of this suite says of a run, and of the runs with one fault.

use std::collections::BTreeMap;

use crate::sale::figures::{seconds_text, slowest, spread};
use crate::sale::report::{Outcome, Run};

/// The result of one run; times are in seconds after the failover, none: not in time.
#[derive(Clone, Debug)]
pub struct Record {
    pub outcome: Outcome,
    /// Units that a server did not know, writes that it refused, requests that a cluster sent elsewhere, or leases when
    /// the clock was set.
    pub bites: u64,
    /// Rebuilds of gates during the run, by both replicas.
    pub rebuilds: u64,
    pub first_yes: [Option<f64>; 2],
    pub all_sold: Option<f64>,
    pub redelivered: u64,
    /// Responses by word.
    pub answers: BTreeMap<String, u64>,
    pub seconds: u64,
}

impl Run for Record {
    const FOLDER: &'static str = "redis-failover";
    const HEAD: &'static str = "| failover | runs | violations | effect | rebuilds, most \
             | first yes, median (max) s | all sold, median (max) s | re-deliveries |\n|---|--:|--:|--:|--:|--:|--:|--:|\n";

    fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    fn line(&self) -> String {
        let verdict = match self.outcome.breaches.len() {
            0 => "ok".to_owned(),
            breaches => format!("{breaches} BREACHES"),
        };
        format!(
            "seed {}: {verdict}; {} ({} bites) | yes after {} s, sold after {} s, {} rebuilds, {} redelivered | {} s | {:?}",
            self.outcome.seed,
            self.outcome.fault.name(),
            self.bites,
            seconds_text(slowest(self.first_yes)),
            seconds_text(self.all_sold),
            self.rebuilds,
            self.redelivered,
            self.seconds,
            self.answers,
        )
    }

    fn cells(runs: &[&Self]) -> String {
        let bites: u64 = runs.iter().map(|run| run.bites).sum();
        let redelivered: u64 = runs.iter().map(|run| run.redelivered).sum();
        let rebuilds = runs.iter().map(|run| run.rebuilds).max().unwrap_or(0);
        format!(
            "{bites} | {rebuilds} | {} | {} | {redelivered}",
            spread(runs.iter().map(|run| slowest(run.first_yes))),
            spread(runs.iter().map(|run| run.all_sold)),
        )
    }
}
