//! Runs one seed from its plan to its verdict, and rounds of seeds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::control;
use crate::fault::{Fault, Plan};
use crate::group::Group;
use crate::judge::{Breach, judge, redelivered};
use crate::pair::{Pair, Replication};
use crate::replicas::stopped;
use crate::report::Record;
use crate::sale::recovery::Recovery;
use crate::sale::report::{Outcome, Report};
use crate::sale::round::{
    counted, ended_well, is_in_docker, keep_evidence, output_of, seeds, verified, verify_all,
};
use crate::sale::staff::{idle, unrewarded};
use crate::sale::traffic::{Crowd, Traffic};
use crate::settings::SettingsWatch;
use crate::strike::{NOTICING, Struck, strike};
use crate::world::{Servers, World};

/// Longest wait for the last event: the synchronous path keeps its events from the relay for 30 s.
const PUBLISHING: Duration = Duration::from_secs(45);
/// The seeds of `make test`: two primaries, stalled COMMITs, the control, a killed primary with a replica of another clock,
/// and a group's paused primary. A switchover is in `tests/it/switchover.rs`.
const SHORT_ROUND: [u64; 5] = [1, 3, 6, 103, 8];

#[tokio::test(flavor = "multi_thread")]
async fn no_failover_of_mysql_breaks_a_promise() {
    let (mut pair, mut group) = (None, None);
    let mut report = Report::begin();
    for seed in seeds("FIRSTCOME_FAILOVER_SEEDS", &SHORT_ROUND) {
        let plan = Plan::of(seed);
        eprintln!("seed {seed}: {plan:?}");
        if plan.fault.has_clock() && is_in_docker().await {
            eprintln!("skipped: the clock of a container cannot be set; use native parts");
            continue;
        }
        // Started when a seed needs them.
        let servers = match (plan.fault.replication(), pair.take(), group.take()) {
            (Replication::Group, kept, group) => {
                pair = kept;
                Servers::Group(match group {
                    Some(group) => group,
                    None => Group::up().await,
                })
            }
            (_, pair, kept) => {
                group = kept;
                Servers::Pair(match pair {
                    Some(pair) => pair,
                    None => Pair::up().await,
                })
            }
        };
        match run(servers, plan, &mut report).await {
            Servers::Pair(used) => pair = Some(used),
            Servers::Group(used) => group = Some(used),
        }
    }
    report.judge();
}

async fn run(servers: Servers, plan: Plan, report: &mut Report<Record>) -> Servers {
    let began = Instant::now();
    let mut stages = Vec::new();
    let mut ended = |stage| stages.push((stage, began.elapsed().as_secs()));
    let world = World::open(servers, plan).await;
    ended("open");
    let before = &mut world.session_before().await;
    let settings = SettingsWatch::start(Arc::clone(&world.sale), before).await;
    let traffic = Traffic::start(&world.sale, crowd(&world));
    let struck = strike(&world).await;
    ended("struck");
    let (mut mysql, mut other) = (world.session().await, world.session().await);
    let (sale, healed) = (&world.sale, struck.healed);
    let sessions = [&mut mysql, &mut other];
    let (recovery, returned) = tokio::join!(
        Recovery::wait(sale, &traffic, sessions, healed, PUBLISHING),
        world.reunite_meanwhile()
    );
    traffic.ended().await;
    ended("recovered");

    let mut breaches = recovery.breaches();
    breaches.extend(returned);
    breaches.extend(struck.breaches.iter().cloned());
    breaches.extend(unnoticed(&struck));
    breaches.extend(unrewarded(sale, &mut mysql, &world.rewards_schema()).await);
    breaches.extend(verify(&world).await);
    ended("verified");
    breaches.extend(stopped(&sale.replicas).await);
    ended("stopped");
    breaches.extend(ended_well(&sale.replicas));
    breaches.extend(world.agree().await);
    ended("agreed");
    let mut evidence = world.evidence().await;
    evidence.settings = settings.stop(&mut mysql).await;
    breaches.extend(idle(sale, &evidence));
    let (answers, mut changes) = (sale.ledger.read(), sale.ledger.read_changes());
    changes.extend(struck.changes.iter().cloned());
    let mut found = judge(&evidence, &answers, &changes);
    let mut lost = None;
    if world.plan.fault == Fault::TailCut {
        found = control::avoidable(found, &evidence);
        lost = Some(control::lost(&evidence, &answers));
    }
    breaches.extend(found);
    ended("judged");

    let record = Record {
        outcome: Outcome {
            seed: world.plan.seed,
            fault: world.plan.fault,
            breaches,
        },
        outage: struck.outage,
        first_yes: recovery.first_yes,
        noticed: struck.noticed,
        all_sold: recovery.all_sold,
        redelivered: redelivered(&evidence),
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

/// A group takes seconds to elect, or to take a member back, and a clock is set and checked for seconds: meanwhile not
/// every user shall have participated.
const fn crowd(world: &World) -> Crowd {
    match world.servers {
        Servers::Pair(_) if !world.plan.fault.has_clock() => Crowd::Limited,
        _ => Crowd::Growing,
    }
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
    let all = verify_all("30");
    command.args(match world.plan.fault {
        Fault::TailCut => &["verify", "--json"],
        _ => &all[..],
    });
    verified(&output_of(command).await)
}
