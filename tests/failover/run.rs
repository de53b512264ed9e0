//! Runs one seed from its plan to its verdict, and rounds of seeds.

use std::time::{Duration, Instant};

use crate::control;
use crate::fault::{Fault, Plan};
use crate::judge::{Breach, judge};
use crate::pair::Pair;
use crate::replicas::stopped;
use crate::report::Record;
use crate::sale::recovery::Recovery;
use crate::sale::report::{Outcome, Report};
use crate::sale::round::{counted, ended_well, keep_evidence, output_of, seeds, verified};
use crate::sale::traffic::{Crowd, Traffic};
use crate::strike::{NOTICING, Struck, strike};
use crate::world::World;

/// Longest wait for the last event.
const PUBLISHING: Duration = Duration::from_secs(30);
/// The seeds of `make test`: two primaries, stalled COMMITs, the control, and a killed primary. A switchover is in
/// `tests/it/switchover.rs`.
const SHORT_ROUND: [u64; 4] = [1, 3, 6, 7];

#[tokio::test(flavor = "multi_thread")]
async fn no_failover_of_mysql_breaks_a_promise() {
    let mut pair = Pair::up().await;
    let mut report = Report::begin();
    for seed in seeds("FIRSTCOME_FAILOVER_SEEDS", &SHORT_ROUND) {
        let plan = Plan::of(seed);
        eprintln!("seed {seed}: {plan:?}");
        pair = run(pair, plan, &mut report).await;
    }
    report.judge();
}

async fn run(pair: Pair, plan: Plan, report: &mut Report<Record>) -> Pair {
    let began = Instant::now();
    let mut stages = Vec::new();
    let mut ended = |stage| stages.push((stage, began.elapsed().as_secs()));
    let world = World::open(pair, plan).await;
    ended("open");
    let traffic = Traffic::start(&world.sale, Crowd::Limited);
    let struck = strike(&world).await;
    ended("struck");
    let mut mysql = world.session().await;
    let (sale, healed) = (&world.sale, struck.healed);
    let recovery = Recovery::wait(sale, &traffic, &mut mysql, healed, PUBLISHING).await;
    traffic.ended().await;
    ended("recovered");

    let mut breaches = recovery.breaches();
    breaches.extend(unnoticed(&struck));
    breaches.extend(verify(&world).await);
    ended("verified");
    breaches.extend(stopped(&sale.replicas).await);
    ended("stopped");
    breaches.extend(ended_well(&sale.replicas));
    let evidence = world.evidence().await;
    let answers = sale.ledger.read();
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
        outcome: Outcome {
            seed: world.plan.seed,
            fault: world.plan.fault,
            breaches,
        },
        first_yes: recovery.first_yes,
        noticed: struck.noticed,
        all_sold: recovery.all_sold,
        all_published: recovery.all_published,
        lost,
        answers: counted(&answers),
        stages,
    };
    if !record.outcome.breaches.is_empty() {
        eprintln!("\n{:?}\n    answers {:?}", world.plan, record.answers);
        keep_evidence(sale, &report.folder_of(&record));
    }
    report.add(record);
    drop(struck);
    world.close().await
}

/// Replicas that did not report what was missing.
fn unnoticed(struck: &Struck) -> Vec<Breach> {
    let replicas = struck.noticed.iter().flatten().enumerate();
    let unnoticed = replicas.filter(|(_, noticed)| noticed.is_none());
    let breaches = unnoticed.map(|(nth, _)| {
        let what = format!("replica {nth} did not report the missing primary within {NOTICING:?}");
        Breach::new("ready", what)
    });
    breaches.collect()
}

/// The findings of the service itself. Without the tail the topic has records of participations that do not exist.
async fn verify(world: &World) -> Option<Breach> {
    let mut command = world.command();
    command.args(["verify", "--json"]);
    if world.plan.fault != Fault::TailCut {
        command.args(["--topic", "--topic-seconds-max", "30"]);
    }
    verified(&output_of(command).await)
}
