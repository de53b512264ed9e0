//! What the report of this suite says of a run, and of the runs with one fault.

use std::collections::BTreeMap;

use crate::continuity::Continuity;
use crate::key::Key;
use crate::sale::figures::{seconds_text, slowest, spread};
use crate::sale::report::{Outcome, Run};

/// The result of one run; times are in seconds, none: not in time.
#[derive(Clone, Debug)]
pub struct Record {
    pub outcome: Outcome,
    pub key: Key,
    pub bites: u64,
    pub continuity: Continuity,
    /// How long the fault lasted.
    pub lasted: f64,
    /// Failed attempts to publish, by class.
    pub failed: BTreeMap<String, u64>,
    /// The highest number of attempts of an event.
    pub attempts: i64,
    /// The highest number of events that waited.
    pub waiting: i64,
    pub redelivered: u64,
    pub all_sold: Option<f64>,
    pub all_published: Option<f64>,
    /// Acknowledged events that were gone, in the control, and the seconds until they were published again.
    pub lost: Option<(usize, Option<f64>)>,
    /// Responses by word.
    pub answers: BTreeMap<String, u64>,
    /// Seconds since the run began, at the end of each stage.
    pub stages: Vec<(&'static str, u64)>,
}

impl Run for Record {
    const FOLDER: &'static str = "brokers";
    const HEAD: &'static str = "| fault | runs | violations | first yes in the fault, median (max) s | yeses in the fault \
             | longest pause, median (max) s | yeses/s before, during | attempts charged | re-deliveries \
             | all published, median (max) s | events lost, sent again |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";

    fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    fn line(&self) -> String {
        let verdict = match (self.outcome.breaches.len(), self.lost) {
            (0, None) => "ok".to_owned(),
            (0, Some((lost, after))) => format!(
                "ok, {lost} events lost as expected, and sent again in {} s",
                seconds_text(after)
            ),
            (breaches, _) => format!("{breaches} BREACHES"),
        };
        let Continuity {
            first_yes,
            yeses,
            pause,
            before,
            during,
        } = self.continuity;
        format!(
            "seed {}: {verdict}; {} ({} bites), key {} | {yeses} yeses in {:.1} s, first after {} s, longest pause {pause:.1} s, \
             {:.1}/s and p99 {:.0} ms, before {:.1}/s and {:.0} ms | {} waited, {} attempts, failed {:?}, {} redelivered | \
             sold after {} s, published after {} s | {:?} | {:?}",
            self.outcome.seed,
            self.outcome.fault.name(),
            self.bites,
            self.key.name(),
            self.lasted,
            seconds_text(slowest(first_yes)),
            during.per_second,
            during.slowest_ms,
            before.per_second,
            before.slowest_ms,
            self.waiting,
            self.attempts,
            self.failed,
            self.redelivered,
            seconds_text(self.all_sold),
            seconds_text(self.all_published),
            self.stages,
            self.answers,
        )
    }

    fn cells(runs: &[&Self]) -> String {
        let yeses: usize = runs.iter().map(|run| run.continuity.yeses).sum();
        let attempts: u64 = runs.iter().map(|run| charged(&run.failed)).sum();
        let redelivered: u64 = runs.iter().map(|run| run.redelivered).sum();
        let lost: usize = runs
            .iter()
            .filter_map(|run| run.lost)
            .map(|(lost, _)| lost)
            .sum();
        let each = |of: fn(&Continuity) -> f64| {
            let rates = runs.iter().map(|run| Some(of(&run.continuity)));
            spread(rates)
        };
        format!(
            "{} | {yeses} | {} | {}, {} | {attempts} | {redelivered} | {} | {lost}",
            spread(runs.iter().map(|run| slowest(run.continuity.first_yes))),
            each(|one| one.pause),
            median(runs, |one| one.before.per_second),
            median(runs, |one| one.during.per_second),
            spread(runs.iter().map(|run| run.all_published)),
        )
    }
}

/// Failures that count as attempts of an event.
pub fn charged(failed: &BTreeMap<String, u64>) -> u64 {
    let classes = ["possibly_delivered", "record"];
    let counts = classes.iter().filter_map(|class| failed.get(*class));
    counts.sum()
}

fn median(runs: &[&Record], of: fn(&Continuity) -> f64) -> String {
    let mut all: Vec<f64> = runs.iter().map(|run| of(&run.continuity)).collect();
    all.sort_by(f64::total_cmp);
    format!("{:.1}", all[all.len() / 2])
}
