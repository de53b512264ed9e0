//! Runs one seed from its plan to its verdict, and rounds of seeds.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use crate::control;
use crate::fault::{Fault, Plan};
use crate::judge::{Breach, judge};
use crate::ledger::Answer;
use crate::load::Traffic;
use crate::pair::Pair;
use crate::recovery::{FIRST_YES_MAX, Recovery, recover};
use crate::replicas::{panics, stopped};
use crate::report::{Record, Report};
use crate::strike::{NOTICING, Struck, strike};
use crate::world::World;

/// Lines of each log that are shown with a violation.
const TAIL: usize = 25;
/// The seeds of `make test`: two primaries, stalled COMMITs, the control, and a killed primary. A switchover is in
/// `tests/it/switchover.rs`.
const SHORT_ROUND: [u64; 4] = [1, 3, 6, 7];

fn setting(name: &str) -> Option<String> {
    std::env::vars().find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_failover_of_mysql_breaks_a_promise() {
    let seeds: Vec<u64> = match setting("FIRSTCOME_FAILOVER_SEEDS") {
        Some(seeds) => range(&seeds).collect(),
        None => SHORT_ROUND.into(),
    };
    let mut pair = Pair::up().await;
    let mut report = Report::begin();
    for seed in seeds {
        let plan = Plan::of(seed);
        eprintln!("seed {seed}: {plan:?}");
        pair = run(pair, plan, &mut report).await;
    }
    eprintln!("\n{}", report.table());
    assert_eq!(report.broken(), [0; 0], "seeds with violations");
}

/// `7`, or `1..21`, which excludes the last one.
fn range(seeds: &str) -> std::ops::Range<u64> {
    if let Some((from, to)) = seeds.split_once("..") {
        return from.parse().unwrap()..to.parse().unwrap();
    }
    let seed = seeds.parse().unwrap();
    seed..seed + 1
}

async fn run(pair: Pair, plan: Plan, report: &mut Report) -> Pair {
    let began = Instant::now();
    let mut stages = Vec::new();
    let mut ended = |stage| stages.push((stage, began.elapsed().as_secs()));
    let world = Arc::new(World::open(pair, plan).await);
    ended("open");
    let traffic = Traffic::start(&world);
    let struck = strike(&world).await;
    ended("struck");
    let recovery = recover(&world, &traffic, struck.healed).await;
    traffic.ended().await;
    ended("recovered");

    let mut breaches = in_time(&struck, recovery);
    breaches.extend(verified(&world).await);
    ended("verified");
    breaches.extend(stopped(&world.replicas).await);
    ended("stopped");
    breaches.extend(ended_well(&world));
    let evidence = world.evidence().await;
    let answers = world.ledger.read();
    let mut found = judge(&evidence, &answers, &[]);
    let mut lost = None;
    if world.plan.fault == Fault::TailCut {
        let (unavoidable, others) = control::split(found, &evidence);
        if unavoidable.is_empty() {
            breaches.push(Breach::new("control", "the judge found no lost answer"));
        }
        lost = Some(control::lost(&evidence, &answers));
        for breach in &unavoidable {
            eprintln!("    as expected: {}: {}", breach.promise, breach.what);
        }
        found = others;
    }
    breaches.extend(found);
    ended("judged");

    let record = Record {
        seed: world.plan.seed,
        fault: world.plan.fault,
        breaches,
        first_yes: recovery.first_yes,
        noticed: struck.noticed,
        all_sold: recovery.all_sold,
        all_published: recovery.all_published,
        lost,
        answers: counted(&answers),
        stages,
    };
    if !record.breaches.is_empty() {
        print_evidence(&world, &record, report);
    }
    report.add(record);
    drop(struck);
    let world = Arc::into_inner(world);
    world.expect("no client is left").close().await
}

/// Violations of time limits.
fn in_time(struck: &Struck, recovery: Recovery) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut late = |promise: &str, what: String| breaches.push(Breach::new(promise, what));
    for (nth, first) in recovery.first_yes.iter().enumerate() {
        let limit = FIRST_YES_MAX.as_secs_f64();
        if first.is_none_or(|seconds| seconds > limit) {
            late("time", format!("replica {nth} said yes after {first:?} s"));
        }
    }
    for (nth, noticed) in struck.noticed.iter().flatten().enumerate() {
        if noticed.is_none() {
            let what =
                format!("replica {nth} did not report the missing primary within {NOTICING:?}");
            late("ready", what);
        }
    }
    if recovery.all_sold.is_none() {
        late("I7", "not all units could be sold".to_owned());
    }
    if recovery.all_published.is_none() {
        late(
            "I4",
            "events still waited long after the failover".to_owned(),
        );
    }
    breaches
}

/// The findings of the service itself. Without the tail the topic has records of participations that do not exist.
async fn verified(world: &World) -> Vec<Breach> {
    let mut command = world.command();
    command.args(["verify", "--json"]);
    if world.plan.fault != Fault::TailCut {
        command.args(["--topic", "--topic-seconds-max", "30"]);
    }
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    if output.status.success() {
        return Vec::new();
    }
    let told = [output.stdout, output.stderr].concat();
    vec![Breach::new("verify", String::from_utf8_lossy(&told))]
}

/// No replica ends by itself, or panics: MySQL returns without a restart.
fn ended_well(world: &World) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for replica in &world.replicas {
        for end in replica.ends() {
            let what = format!("replica {} ended by itself: {}", replica.nth, end.how);
            breaches.push(Breach::new("end", what));
        }
    }
    breaches.extend(panics(&world.replicas));
    breaches
}

fn counted(answers: &[Answer]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.outcome.word()).or_default() += 1;
    }
    counts
}

/// Prints the information for the analysis of a failure.
fn print_evidence(world: &World, record: &Record, report: &Report) {
    let folder = report.folder().join(format!("seed-{}", record.seed));
    fs::create_dir_all(&folder).unwrap();
    eprintln!("\n{:?}\n    answers {:?}", world.plan, record.answers);
    for replica in &world.replicas {
        eprintln!("{}", replica.log_tails(TAIL));
        let log = folder.join(format!("replica-{}.log", replica.nth));
        fs::write(log, replica.logs()).unwrap();
    }
    let answers = world.ledger.read();
    let lines: Vec<String> = answers.iter().map(|answer| format!("{answer:?}")).collect();
    fs::write(folder.join("answers.txt"), lines.join("\n")).unwrap();
    eprintln!("    all logs and answers: {}", folder.display());
}
