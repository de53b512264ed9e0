//! Runs one seed from its plan to its verdict, and rounds of seeds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::continuity::Continuity;
use crate::control::{self, Loss};
use crate::evidence::{Evidence, History};
use crate::fault::{Fault, Plan};
use crate::judge::{Breach, judge, redelivered};
use crate::replicas::stopped;
use crate::report::{Record, charged};
use crate::sale::campaigns::Sale;
use crate::sale::recovery::Recovery;
use crate::sale::report::{Outcome, Report};
use crate::sale::round::{
    counted, ended_well, is_in_docker, keep_evidence, output_of, seeds, setting, verified,
    verify_all,
};
use crate::sale::staff::{idle, unrewarded};
use crate::sale::traffic::{Crowd, Traffic};
use crate::settings::SettingsWatch;
use crate::strike::{PARTITIONS, Struck, strike};
use crate::world::World;

/// Longest wait for the last event.
const PUBLISHING: Duration = Duration::from_secs(60);
/// The seed of `make test`: too few in-sync replicas. Seed 19 is a control; it and the other faults last longer.
const SHORT_ROUND: [u64; 1] = [4];

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_brokers_breaks_a_promise() {
    if is_in_docker().await {
        eprintln!(
            "skipped: brokers in containers of their own cannot reach each other; use native parts"
        );
        return;
    }
    let outage = setting("FIRSTCOME_BROKERS_OUTAGE");
    let outage = outage.map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    let mut cluster = Cluster::up().await;
    let mut report = Report::begin();
    for seed in seeds("FIRSTCOME_BROKERS_SEEDS", &SHORT_ROUND) {
        let plan = Plan::of(seed, outage);
        eprintln!("seed {seed}: {plan:?}");
        cluster = run(cluster, plan, &mut report).await;
    }
    report.judge();
}

async fn run(cluster: Cluster, plan: Plan, report: &mut Report<Record>) -> Cluster {
    let began = Instant::now();
    let mut stages = Vec::new();
    let mut ended = |stage| stages.push((stage, began.elapsed().as_secs()));
    let world = World::open(cluster, plan).await;
    ended("open");
    let (plan, sale) = (&world.plan, &world.sale);
    let (mut mysql, mut other) = (world.session().await, world.session().await);
    let settings = SettingsWatch::start(Arc::clone(sale), &mut mysql).await;
    let traffic = Traffic::start(sale, Crowd::Growing);
    let struck = strike(&world).await;
    ended("struck");
    let sessions = [&mut mysql, &mut other];
    let recovery = Recovery::wait(sale, &traffic, sessions, struck.healed, PUBLISHING).await;
    traffic.ended().await;
    ended("recovered");

    let mut breaches = recovery.breaches();
    breaches.extend(struck.breaches(plan.fault));
    let loss = repaired(&world).await;
    breaches.extend(unrewarded(sale, &mut mysql, &world.rewards_schema()).await);
    if loss.is_none() {
        breaches.extend(verified(&output_of(world.command(&verify_all("60"))).await));
    }
    ended("verified");
    let failed = failed(sale).await;
    breaches.extend(uncharged(plan.fault, &failed, &struck));
    breaches.extend(stopped(&sale.replicas).await);
    ended("stopped");
    breaches.extend(ended_well(&sale.replicas));
    let course = Course {
        struck,
        recovery,
        loss,
        failed,
        settings: settings.stop(&mut mysql).await,
        stages,
    };
    let record = course.judged(&world, breaches).await;
    if !record.outcome.breaches.is_empty() {
        keep_evidence(sale, &report.folder_of(&record));
    }
    report.add(record);
    world.close().await
}

/// What happened in a run.
struct Course {
    struck: Struck,
    recovery: Recovery,
    /// Only in the control.
    loss: Option<Loss>,
    /// Failed attempts to publish, by class.
    failed: BTreeMap<String, u64>,
    /// Of the campaigns that administrators change.
    settings: BTreeMap<i64, History>,
    stages: Vec<(&'static str, u64)>,
}

impl Course {
    /// Compares responses, MySQL and the topic, and adds to the violations that were found before.
    async fn judged(self, world: &World, mut breaches: Vec<Breach>) -> Record {
        let (plan, sale, struck) = (&world.plan, &world.sale, &self.struck);
        let mut evidence = world.evidence().await;
        evidence.settings = self.settings;
        breaches.extend(idle(sale, &evidence));
        let (answers, changes) = (sale.ledger.read(), sale.ledger.read_changes());
        let continuity = Continuity::of(&answers, sale.endless().id, struck.window);
        breaches.extend(continuity.breaches());
        breaches.extend(no_effect(plan.fault, struck.bites, &evidence));
        let mut found = judge(&evidence, &answers, &changes);
        if let Some(loss) = &self.loss {
            found = control::without_repairs(found, &evidence, &loss.events);
            breaches.extend(loss.breaches.iter().cloned());
        }
        breaches.extend(found);
        let (from, to) = struck.window;
        Record {
            outcome: Outcome {
                seed: plan.seed,
                fault: plan.fault,
                breaches,
            },
            key: plan.key,
            bites: struck.bites,
            continuity,
            lasted: to.saturating_sub(from).as_secs_f64(),
            failed: self.failed,
            attempts: struck.highest.attempts,
            waiting: struck.highest.waiting,
            redelivered: redelivered(&evidence),
            all_sold: self.recovery.all_sold,
            all_published: self.recovery.all_published,
            lost: self.loss.map(|loss| (loss.events.len(), loss.republished)),
            answers: counted(&answers),
            stages: self.stages,
        }
    }
}

/// In the control: finds the lost events, and sends them again.
async fn repaired(world: &World) -> Option<Loss> {
    if world.plan.fault != Fault::UncleanElection {
        return None;
    }
    Some(control::restore(world).await)
}

/// A fault that had no effect proves nothing.
fn no_effect(fault: Fault, bites: u64, evidence: &Evidence) -> Option<Breach> {
    let added = i32::try_from(PARTITIONS.0).unwrap();
    let mut records = evidence.records.iter();
    let has_bitten = match fault {
        Fault::PartitionsAdded => records.any(|record| record.partition >= added),
        _ => bites > 0,
    };
    (!has_bitten).then(|| Breach::new("effect", "the fault had none"))
}

/// Kafka said that it had not taken the records, or said nothing at all: no attempt counts.
fn uncharged(fault: Fault, failed: &BTreeMap<String, u64>, struck: &Struck) -> Option<Breach> {
    let charged = charged(failed);
    let highest = struck.highest.attempts;
    (fault.is_definite() && (charged > 0 || highest > 0)).then(|| {
        let what = format!("{charged} attempts were charged, {highest} to one event: {failed:?}");
        Breach::new("attempts", what)
    })
}

/// Failed attempts of both replicas to publish, by class.
async fn failed(sale: &Sale) -> BTreeMap<String, u64> {
    let mut failed = BTreeMap::new();
    for page in sale.metrics().await {
        for line in page.lines() {
            let Some(rest) = line.strip_prefix("firstcome_relay_publish_total{") else {
                continue;
            };
            let (labels, count) = rest.rsplit_once("} ").unwrap();
            let class = labels.split("class=\"").nth(1).unwrap();
            let class = class.split('"').next().unwrap();
            if class != "none" {
                *failed.entry(class.to_owned()).or_default() += count.parse::<u64>().unwrap();
            }
        }
    }
    failed
}
