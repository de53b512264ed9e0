//! Runs one seed from its plan to its verdict, and rounds of seeds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fault::Plan;
use crate::judge::{Breach, judge, redelivered};
use crate::leases;
use crate::ledger::Act;
use crate::replicas::stopped;
use crate::report::Record;
use crate::sale::recovery::Recovery;
use crate::sale::report::{Outcome, Report};
use crate::sale::round::{
    counted, ended_well, is_in_docker, keep_evidence, output_of, seeds, verified, verify_all,
};
use crate::sale::staff::{idle, unrewarded};
use crate::sale::traffic::{Crowd, Traffic};
use crate::servers::Servers;
use crate::settings::SettingsWatch;
use crate::strike::{Struck, strike};
use crate::world::World;

/// Longest wait for the last event: the synchronous path keeps its events from the relay for 30 s.
const PUBLISHING: Duration = Duration::from_secs(45);
/// All replicas together rebuild the gate of a campaign once in this time (`gate.rebuild_interval`), and at once after a
/// change of the server.
const REBUILD_INTERVAL: Duration = Duration::from_millis(500);
const CHANGES: usize = 3;
/// The seeds of `make test`: two primaries, there and back; slots that move, a clock set forward.
const SHORT_ROUND: [u64; 4] = [1, 3, 103, 106];

#[tokio::test(flavor = "multi_thread")]
async fn no_failover_of_redis_breaks_a_promise() {
    let servers = Arc::new(Servers::default());
    let mut report = Report::begin();
    let is_native = !is_in_docker().await;
    for seed in seeds("FIRSTCOME_REDIS_FAILOVER_SEEDS", &SHORT_ROUND) {
        let plan = Plan::of(seed);
        eprintln!("seed {seed}: {plan:?}");
        if is_native || !plan.fault.is_native() {
            run(&servers, plan, &mut report).await;
        } else {
            eprintln!("skipped: {} needs native parts", plan.fault.name());
        }
    }
    report.judge();
}

async fn run(servers: &Arc<Servers>, plan: Plan, report: &mut Report<Record>) {
    let began = Instant::now();
    let world = World::open(Arc::clone(servers), plan).await;
    let (before, counting) = (world.rebuilds().await, Instant::now());
    let (mut mysql, mut other) = (world.session().await, world.session().await);
    let settings = SettingsWatch::start(Arc::clone(&world.sale), &mut mysql).await;
    let traffic = Traffic::start(&world.sale, Crowd::Growing);
    let struck = strike(&world).await;
    let (sale, healed) = (&world.sale, struck.healed);
    let sessions = [&mut mysql, &mut other];
    let recovery = Recovery::wait(sale, &traffic, sessions, healed, PUBLISHING).await;
    traffic.ended().await;
    let leases_left = leases::left(&world).await;

    let mut breaches = recovery.breaches();
    let rebuilds = world.rebuilds().await - before;
    breaches.extend(strange(&world, &struck, rebuilds, counting.elapsed()));
    breaches.extend(leases_left);
    breaches.extend(unrewarded(sale, &mut mysql, &world.rewards_schema()).await);
    breaches.extend(verified(&output_of(world.command(&verify_all("30"))).await));
    breaches.extend(stopped(&sale.replicas).await);
    breaches.extend(ended_well(&sale.replicas));
    let mut evidence = world.evidence().await;
    evidence.settings = settings.stop(&mut mysql).await;
    breaches.extend(idle(sale, &evidence));
    let (answers, changes) = (sale.ledger.read(), sale.ledger.read_changes());
    breaches.extend(judge(&evidence, &answers, &changes));

    let record = Record {
        outcome: Outcome {
            seed: world.plan.seed,
            fault: world.plan.fault,
            breaches,
        },
        bites: struck.bites,
        rebuilds,
        first_yes: recovery.first_yes,
        all_sold: recovery.all_sold,
        redelivered: redelivered(&evidence),
        answers: counted(&answers),
        seconds: began.elapsed().as_secs(),
    };
    if !record.outcome.breaches.is_empty() {
        eprintln!("\n{:?}\n    answers {:?}", world.plan, record.answers);
        keep_evidence(sale, &report.folder_of(&record));
    }
    report.add(record);
    world.close().await;
}

/// A fault without an effect shows nothing, and replicas do not rebuild against each other.
fn strange(world: &World, struck: &Struck, rebuilds: u64, within: Duration) -> Vec<Breach> {
    let mut breaches = Vec::new();
    if struck.bites == 0 {
        breaches.push(Breach::new("fault", "the failover had no effect"));
    }
    let intervals = within.as_millis() / REBUILD_INTERVAL.as_millis();
    let intervals = usize::try_from(intervals).unwrap();
    let campaigns = world.sale.campaigns().len();
    let acts = world.sale.ledger.read_acts();
    let requested = acts.iter().filter(|act| act.act == Act::RebuildGate);
    let allowed = campaigns * (intervals + CHANGES) + requested.count();
    if rebuilds > u64::try_from(allowed).unwrap() {
        let what = format!("{rebuilds} rebuilds of {campaigns} gates in {within:?}");
        breaches.push(Breach::new("rebuilds", what));
    }
    breaches
}
