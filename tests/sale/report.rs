//! The report of a round of runs: a line for each run, and a table with a row for each fault. A suite says what its lines
//! and cells are.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::judge::Breach;

/// What every run has.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    pub fault: Fault,
    pub breaches: Vec<Breach>,
}

/// The result of one run.
pub trait Run {
    /// The folder of the report, below `target`.
    const FOLDER: &'static str;
    /// The head of the table: its first three columns are the fault, the runs, and those with violations.
    const HEAD: &'static str;

    fn outcome(&self) -> &Outcome;

    /// The run in one line.
    fn line(&self) -> String;

    /// The cells of runs with the same fault, after the first three.
    fn cells(runs: &[&Self]) -> String;
}

pub struct Report<R> {
    folder: PathBuf,
    runs: Vec<R>,
}

impl<R: Run> Report<R> {
    pub fn begin() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let folder = folder.join(R::FOLDER);
        fs::create_dir_all(&folder).unwrap();
        Self {
            folder,
            runs: Vec::new(),
        }
    }

    /// Writes the table anew, so that an aborted round leaves its report.
    pub fn add(&mut self, run: R) {
        eprintln!("{}", run.line());
        for breach in &run.outcome().breaches {
            eprintln!("    {}: {}", breach.promise, breach.what);
        }
        self.runs.push(run);
        fs::write(self.folder.join("report.md"), self.table()).unwrap();
    }

    /// The folder for the logs of a run with violations.
    pub fn folder_of(&self, run: &R) -> PathBuf {
        self.folder.join(format!("seed-{}", run.outcome().seed))
    }

    /// Prints the table; no run may have a violation.
    pub fn judge(&self) {
        eprintln!("\n{}", self.table());
        let outcomes = self.runs.iter().map(Run::outcome);
        let broken = outcomes.filter(|outcome| !outcome.breaches.is_empty());
        let broken: Vec<u64> = broken.map(|outcome| outcome.seed).collect();
        assert_eq!(broken, [0; 0], "seeds with violations");
    }

    fn table(&self) -> String {
        let mut table = R::HEAD.to_owned();
        for fault in Fault::ALL.map(Fault::name) {
            let runs = self.runs.iter();
            let runs = runs.filter(|run| run.outcome().fault.name() == fault);
            let runs: Vec<&R> = runs.collect();
            if runs.is_empty() {
                continue;
            }
            let violations = runs.iter().filter(|run| !run.outcome().breaches.is_empty());
            let (all, violations) = (runs.len(), violations.count());
            let cells = R::cells(&runs);
            writeln!(table, "| {fault} | {all} | {violations} | {cells} |").unwrap();
        }
        table
    }
}
