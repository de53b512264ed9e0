//! The report of a round of runs: a line of JSON for each run, and a table with a row for each fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::fault::Fault;
use crate::figures::{seconds_text, spread};
use crate::judge::Breach;

/// The result of one run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub seed: u64,
    pub key: &'static str,
    pub faults: Vec<Struck>,
    pub breaches: Vec<Breach>,
    /// Seconds from the end of all faults to the first accepted participation, by replica.
    pub first_yes_seconds: Vec<Option<f64>>,
    pub all_sold_seconds: Option<f64>,
    pub all_published_seconds: Option<f64>,
    /// Until all coupons are issued or revoked.
    pub all_rewarded_seconds: Option<f64>,
    pub redelivered: u64,
    pub oldest_event_seconds: f64,
    /// Responses by word.
    pub answers: BTreeMap<String, u64>,
    /// Reservations by final status.
    pub orders: BTreeMap<String, u64>,
    /// Coupons by final status.
    pub coupons: BTreeMap<String, u64>,
    /// Replicas that ended by themselves, and how.
    pub ends: Vec<String>,
    pub took_seconds: f64,
}

/// A fault that struck in a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Struck {
    #[serde(skip)]
    pub fault: Fault,
    pub name: &'static str,
    pub at_ms: u64,
    pub lasts_ms: u64,
    pub bites: u64,
    /// The random choices of the fault, if any.
    pub what: String,
}

impl Record {
    /// The run in one line.
    pub fn line(&self) -> String {
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|struck| {
                let seconds = rounded(struck.at_ms);
                let what = &struck.what;
                format!("{} {what}@{seconds} ×{}", struck.name, struck.bites)
            })
            .collect();
        let verdict = if self.breaches.is_empty() {
            "ok".to_owned()
        } else {
            format!("{} BREACHES", self.breaches.len())
        };
        let first: Vec<String> = self
            .first_yes_seconds
            .iter()
            .map(|one| seconds_text(*one))
            .collect();
        let counts = |counts: &BTreeMap<String, u64>| {
            let each = counts.iter();
            let each: Vec<String> = each
                .map(|(word, count)| format!("{count} {word}"))
                .collect();
            each.join(" ")
        };
        let yes = self.answers.get("yes").copied().unwrap_or(0);
        format!(
            "seed {}: {verdict}; {} | yes after {} s, sold after {} s, {yes} yes, orders {}, coupons {}, {} again, oldest event {:.1} s, took {:.0} s",
            self.seed,
            faults.join(", "),
            first.join("/"),
            seconds_text(self.all_sold_seconds),
            counts(&self.orders),
            counts(&self.coupons),
            self.redelivered,
            self.oldest_event_seconds,
            self.took_seconds,
        )
    }

    /// The first accepted participation of the slower replica; none: one never accepted any.
    fn slowest_yes(&self) -> Option<f64> {
        let all: Option<Vec<f64>> = self.first_yes_seconds.iter().copied().collect();
        all?.into_iter().reduce(f64::max)
    }
}

fn rounded(ms: u64) -> String {
    format!("{:.1}s", f64::from(u32::try_from(ms).unwrap()) / 1_000.0)
}

/// Writes the result of each run at once, so that an aborted round leaves its report.
pub struct Report {
    folder: PathBuf,
    lines: File,
    records: Vec<Record>,
}

impl Report {
    pub fn begin() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/faults");
        fs::create_dir_all(&folder).unwrap();
        Self {
            lines: File::create(folder.join("runs.jsonl")).unwrap(),
            folder,
            records: Vec::new(),
        }
    }

    pub fn add(&mut self, record: Record) {
        eprintln!("{}", record.line());
        for breach in &record.breaches {
            eprintln!("    {}: {}", breach.promise, breach.what);
        }
        let line = serde_json::to_string(&record).unwrap();
        writeln!(self.lines, "{line}").unwrap();
        self.records.push(record);
        fs::write(self.folder.join("report.md"), self.table()).unwrap();
    }

    /// The folder for the logs of runs with violations.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How often a fault had an effect in all runs.
    pub fn bites(&self, fault: Fault) -> u64 {
        let strikes = self.records.iter().flat_map(|run| &run.faults);
        let of_kind = strikes.filter(|struck| struck.fault == fault);
        of_kind.map(|struck| struck.bites).sum()
    }

    /// How often a response was given in all runs.
    pub fn answers(&self, word: &str) -> u64 {
        let counts = self.records.iter().filter_map(|run| run.answers.get(word));
        counts.sum()
    }

    pub fn broken(&self) -> Vec<u64> {
        let broken = self.records.iter().filter(|run| !run.breaches.is_empty());
        broken.map(|run| run.seed).collect()
    }

    pub fn table(&self) -> String {
        let broken = self.broken();
        let mut table = format!(
            "# Faults\n\n{} runs, {} with violations{}.\n\n\
             Seconds count from the moment everything is whole again; a run holds two to five faults, \
             so its figures count for each of them.\n\n\
             | fault | runs | bites | violations | first yes, median (max) s | all sold, median (max) s \
             | all published, median (max) s | re-deliveries | oldest event, max s |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            self.records.len(),
            broken.len(),
            if broken.is_empty() {
                String::new()
            } else {
                format!(": seeds {broken:?}")
            },
        );
        for fault in Fault::ALL {
            self.row(*fault, &mut table);
        }
        let mut points: Vec<&str> = self
            .records
            .iter()
            .flat_map(|run| &run.faults)
            .filter(|struck| struck.fault == Fault::CrashPoint && struck.bites > 0)
            .filter_map(|struck| struck.what.split('=').next())
            .collect();
        points.sort_unstable();
        points.dedup();
        if !points.is_empty() {
            let points = points.join("`, `");
            writeln!(
                table,
                "\nCrash points at which a replica aborted: `{points}`."
            )
            .unwrap();
        }
        table
    }

    fn row(&self, fault: Fault, table: &mut String) {
        let is_in = |run: &&Record| run.faults.iter().any(|struck| struck.fault == fault);
        let runs: Vec<&Record> = self.records.iter().filter(is_in).collect();
        if runs.is_empty() {
            return;
        }
        let bites = self.bites(fault);
        let violations = runs.iter().filter(|run| !run.breaches.is_empty()).count();
        let oldest = runs.iter().map(|run| run.oldest_event_seconds);
        writeln!(
            table,
            "| {} | {} | {bites} | {violations} | {} | {} | {} | {} | {:.1} |",
            fault.name(),
            runs.len(),
            spread(runs.iter().map(|run| run.slowest_yes())),
            spread(runs.iter().map(|run| run.all_sold_seconds)),
            spread(runs.iter().map(|run| run.all_published_seconds)),
            runs.iter().map(|run| run.redelivered).sum::<u64>(),
            oldest.fold(0.0, f64::max),
        )
        .unwrap();
    }
}
