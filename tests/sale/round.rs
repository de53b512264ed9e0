//! What the rounds of all suites do alike: they read which seeds to run, and judge how the replicas ended and what
//! the service itself found.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use crate::judge::Breach;
use crate::ledger::{ActAnswer, Answer, ChangeAnswer};
use crate::replica::Replica;
use crate::replicas::panics;

use super::campaigns::Sale;

/// Lines of each log that are shown with a violation.
const TAIL: usize = 25;

/// A variable of the environment that is not empty.
pub fn setting(name: &str) -> Option<String> {
    std::env::vars().find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value))
}

/// Seeds from this on choose from the newer faults of a suite, so that older seeds keep their meaning.
const NEWER_FROM: u64 = 101;

/// The fault of a seed, in turn: below [`NEWER_FROM`] one of the first `older`, otherwise one of the rest.
pub fn fault_of<F: Copy>(seed: u64, all: &[F], older: usize) -> F {
    let (older, newer) = all.split_at(older);
    let (among, nth) = match seed.checked_sub(NEWER_FROM) {
        None => (older, seed),
        Some(nth) => (newer, nth),
    };
    among[usize::try_from(nth).unwrap() % among.len()]
}

/// Whether the shared parts are in Docker, and so spare ones would be.
pub async fn is_in_docker() -> bool {
    let script = setting("FIRSTCOME_PARTS_SCRIPT");
    let script = script.expect("FIRSTCOME_PARTS_SCRIPT is set by `scripts/parts env`");
    let mut status = Command::new(script);
    status.arg("status");
    let told = output_of(status).await.stdout;
    String::from_utf8_lossy(&told).contains("Docker")
}

/// The seeds in a variable of the environment; without it, those of `make test`.
pub fn seeds(variable: &str, short: &[u64]) -> Vec<u64> {
    setting(variable).map_or_else(|| short.to_owned(), |seeds| range(&seeds).collect())
}

/// `7`, or `1..21`, which excludes the last one.
fn range(seeds: &str) -> Range<u64> {
    if let Some((from, to)) = seeds.split_once("..") {
        return from.parse().unwrap()..to.parse().unwrap();
    }
    let seed = seeds.parse().unwrap();
    seed..seed + 1
}

/// Runs a command without blocking the clients.
pub async fn output_of(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || command.output());
    output.await.unwrap().unwrap()
}

/// The arguments of `firstcome verify` about the database, the topic and the rewards.
pub const fn verify_all(topic_seconds_max: &str) -> [&str; 8] {
    [
        "verify",
        "--json",
        "--topic",
        "--topic-seconds-max",
        topic_seconds_max,
        "--rewards",
        "--rewards-passed-seconds",
        "0",
    ]
}

/// A violation if `firstcome verify` found one.
pub fn verified(output: &Output) -> Option<Breach> {
    let told = || [&*output.stdout, &*output.stderr].concat();
    (!output.status.success())
        .then(|| Breach::new("verify", String::from_utf8_lossy(&told()).into_owned()))
}

/// No replica ends by itself, or panics: lost parts return without a restart.
pub fn ended_well(replicas: &[Arc<Replica>]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for replica in replicas {
        for end in replica.ends() {
            let what = format!("replica {} ended by itself: {}", replica.nth, end.how);
            breaches.push(Breach::new("end", what));
        }
    }
    breaches.extend(panics(replicas));
    breaches
}

/// Responses by word.
pub fn counted(answers: &[Answer]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.outcome.word()).or_default() += 1;
    }
    counts
}

/// Prints the ends of the logs, and writes all logs and responses to a folder.
pub fn keep_evidence(sale: &Sale, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for replica in &sale.replicas {
        eprintln!("{}", replica.log_tails(TAIL));
        let log = folder.join(format!("replica-{}.log", replica.nth));
        fs::write(log, replica.logs()).unwrap();
    }
    let answers = sale.ledger.read();
    let lines: Vec<String> = answers.iter().map(|answer| format!("{answer:?}")).collect();
    fs::write(folder.join("answers.txt"), lines.join("\n")).unwrap();
    let (acts, changes) = (sale.ledger.read_acts(), sale.ledger.read_changes());
    let lines: Vec<String> = acts.iter().map(ActAnswer::line).collect();
    fs::write(folder.join("acts.txt"), lines.join("\n")).unwrap();
    let lines: Vec<String> = changes.iter().map(ChangeAnswer::line).collect();
    fs::write(folder.join("changes.txt"), lines.join("\n")).unwrap();
    eprintln!("    all logs and answers: {}", folder.display());
}
