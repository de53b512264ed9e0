//! What the report of this suite says of a run, and of the runs with one fault.

use std::collections::BTreeMap;

use crate::sale::figures::{seconds_text, slowest, spread};
use crate::sale::report::{Outcome, Run};

/// The result of one run; times are in seconds, none: not in time.
#[derive(Clone, Debug)]
pub struct Record {
    pub outcome: Outcome,
    /// From the fault until both addresses led to a primary, if the servers decide when.
    pub outage: Option<f64>,
    pub first_yes: [Option<f64>; 2],
    pub noticed: Option<[Option<f64>; 2]>,
    pub all_sold: Option<f64>,
    pub all_published: Option<f64>,
    pub redelivered: u64,
    /// Accepted participations that do not exist, in the control.
    pub lost: Option<usize>,
    /// Responses by word.
    pub answers: BTreeMap<String, u64>,
    /// Seconds since the run began, at the end of each stage.
    pub stages: Vec<(&'static str, u64)>,
}

impl Run for Record {
    const FOLDER: &'static str = "failover";
    const HEAD: &'static str = "| failover | runs | violations | primary again, median (max) s | 503 of `/readyz`, median (max) s | first yes, median (max) s \
             | all sold, median (max) s | all published, median (max) s | re-deliveries | acceptances lost |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";

    fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    fn line(&self) -> String {
        let verdict = match (self.outcome.breaches.len(), self.lost) {
            (0, None) => "ok".to_owned(),
            (0, Some(lost)) => format!("ok, {lost} acceptances lost as expected"),
            (breaches, _) => format!("{breaches} BREACHES"),
        };
        format!(
            "seed {}: {verdict}; {} | primary again after {} s | yes after {} s, sold after {} s, published after {} s, {} redelivered | {:?} | {:?}",
            self.outcome.seed,
            self.outcome.fault.name(),
            self.outage
                .map_or_else(|| "–".to_owned(), |outage| seconds_text(Some(outage))),
            seconds_text(slowest(self.first_yes)),
            seconds_text(self.all_sold),
            seconds_text(self.all_published),
            self.redelivered,
            self.stages,
            self.answers,
        )
    }

    fn cells(runs: &[&Self]) -> String {
        let noticed = runs.iter().filter_map(|run| run.noticed).map(slowest);
        let lost: usize = runs.iter().filter_map(|run| run.lost).sum();
        let redelivered: u64 = runs.iter().map(|run| run.redelivered).sum();
        let outages = runs.iter().filter(|run| run.outage.is_some());
        format!(
            "{} | {} | {} | {} | {} | {redelivered} | {lost}",
            spread(outages.map(|run| run.outage)),
            spread(noticed),
            spread(runs.iter().map(|run| slowest(run.first_yes))),
            spread(runs.iter().map(|run| run.all_sold)),
            spread(runs.iter().map(|run| run.all_published)),
        )
    }
}
