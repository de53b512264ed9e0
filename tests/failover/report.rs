//! The report of a round of runs: a line for each run, and a table with a row for each fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::judge::Breach;
use crate::sale::figures::{seconds_text, slowest, spread};

/// The result of one run; times are in seconds, none: not in time.
#[derive(Clone, Debug)]
pub struct Record {
    pub seed: u64,
    pub fault: Fault,
    pub breaches: Vec<Breach>,
    pub first_yes: [Option<f64>; 2],
    pub noticed: Option<[Option<f64>; 2]>,
    pub all_sold: Option<f64>,
    pub all_published: Option<f64>,
    /// Accepted participations that do not exist, in the control.
    pub lost: Option<usize>,
    /// Responses by word.
    pub answers: BTreeMap<String, u64>,
    /// Seconds since the run began, at the end of each stage.
    pub stages: Vec<(&'static str, u64)>,
}

impl Record {
    fn line(&self) -> String {
        let verdict = match (self.breaches.len(), self.lost) {
            (0, None) => "ok".to_owned(),
            (0, Some(lost)) => format!("ok, {lost} acceptances lost as expected"),
            (breaches, _) => format!("{breaches} BREACHES"),
        };
        format!(
            "seed {}: {verdict}; {} | yes after {} s, sold after {} s, published after {} s | {:?} | {:?}",
            self.seed,
            self.fault.name(),
            seconds_text(slowest(self.first_yes)),
            seconds_text(self.all_sold),
            seconds_text(self.all_published),
            self.stages,
            self.answers,
        )
    }
}

pub struct Report {
    folder: PathBuf,
    records: Vec<Record>,
}

impl Report {
    pub fn begin() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/failover");
        fs::create_dir_all(&folder).unwrap();
        Self {
            folder,
            records: Vec::new(),
        }
    }

    pub fn add(&mut self, record: Record) {
        eprintln!("{}", record.line());
        for breach in &record.breaches {
            eprintln!("    {}: {}", breach.promise, breach.what);
        }
        self.records.push(record);
        fs::write(self.folder.join("report.md"), self.table()).unwrap();
    }

    /// The folder for the logs of runs with violations.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn broken(&self) -> Vec<u64> {
        let broken = self.records.iter().filter(|run| !run.breaches.is_empty());
        broken.map(|run| run.seed).collect()
    }

    pub fn table(&self) -> String {
        let mut table = "| failover | runs | violations | 503 of `/readyz`, median (max) s | first yes, median (max) s \
             | all sold, median (max) s | all published, median (max) s | acceptances lost |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
        for fault in Fault::ALL {
            self.row(fault, &mut table);
        }
        table
    }

    fn row(&self, fault: Fault, table: &mut String) {
        let runs = self.records.iter().filter(|run| run.fault == fault);
        let runs: Vec<&Record> = runs.collect();
        if runs.is_empty() {
            return;
        }
        let violations = runs.iter().filter(|run| !run.breaches.is_empty()).count();
        let noticed = runs.iter().filter_map(|run| run.noticed).map(slowest);
        let lost: usize = runs.iter().filter_map(|run| run.lost).sum();
        writeln!(
            table,
            "| {} | {} | {violations} | {} | {} | {} | {} | {lost} |",
            fault.name(),
            runs.len(),
            spread(noticed),
            spread(runs.iter().map(|run| slowest(run.first_yes))),
            spread(runs.iter().map(|run| run.all_sold)),
            spread(runs.iter().map(|run| run.all_published)),
        )
        .unwrap();
    }
}
