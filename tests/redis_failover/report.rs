//! The report of a round of runs: a line for each run, and a table with a row for each fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::judge::Breach;
use crate::sale::figures::{seconds_text, slowest, spread};

/// The result of one run; times are in seconds after the failover, none: not in time.
#[derive(Clone, Debug)]
pub struct Record {
    pub seed: u64,
    pub fault: Fault,
    pub breaches: Vec<Breach>,
    /// Units that a server did not know, or writes that it refused.
    pub bites: u64,
    /// Rebuilds of gates during the run, by both replicas.
    pub rebuilds: u64,
    pub first_yes: [Option<f64>; 2],
    pub all_sold: Option<f64>,
    /// Responses by word.
    pub answers: BTreeMap<String, u64>,
    pub seconds: u64,
}

impl Record {
    fn line(&self) -> String {
        let verdict = match self.breaches.len() {
            0 => "ok".to_owned(),
            breaches => format!("{breaches} BREACHES"),
        };
        format!(
            "seed {}: {verdict}; {} ({} bites) | yes after {} s, sold after {} s, {} rebuilds | {} s | {:?}",
            self.seed,
            self.fault.name(),
            self.bites,
            seconds_text(slowest(self.first_yes)),
            seconds_text(self.all_sold),
            self.rebuilds,
            self.seconds,
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
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/redis-failover");
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
        let mut table = "| failover | runs | violations | units unknown, or writes refused | rebuilds, most \
             | first yes, median (max) s | all sold, median (max) s |\n|---|--:|--:|--:|--:|--:|--:|\n"
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
        let bites: u64 = runs.iter().map(|run| run.bites).sum();
        let rebuilds = runs.iter().map(|run| run.rebuilds).max().unwrap_or(0);
        writeln!(
            table,
            "| {} | {} | {violations} | {bites} | {rebuilds} | {} | {} |",
            fault.name(),
            runs.len(),
            spread(runs.iter().map(|run| slowest(run.first_yes))),
            spread(runs.iter().map(|run| run.all_sold)),
        )
        .unwrap();
    }
}
