//! Runs one seed from its schedule to its verdict, and rounds of seeds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde_json::Value;

use crate::administrator;
use crate::evidence::{Evidence, Hours};
use crate::fault::Fault;
use crate::heal::{Recovery, Watch, all_published, recover};
use crate::history;
use crate::holders;
use crate::judge::{Breach, judge, late, redelivered};
use crate::ledger::{ActAnswer, ChangeAnswer};
use crate::lines;
use crate::load::Traffic;
use crate::parts::Parts;
use crate::replicas::{panics, stopped};
use crate::report::{Record, Report, Struck};
use crate::schedule::{Schedule, covering};
use crate::settings::SettingsWatch;
use crate::strike::strike;
use crate::windows::Windows;
use crate::world::{GATE_LEASE, World};

/// Lines of each log that are shown with a violation.
const TAIL: usize = 25;

fn setting(name: &str) -> Option<String> {
    std::env::vars().find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value))
}

/// The kinds of faults of this round: all, or those whose name contains one of the given words.
fn faults() -> Vec<Fault> {
    let all = Fault::scheduled();
    let Some(only) = setting("FIRSTCOME_FAULTS_ONLY") else {
        return all;
    };
    let words: Vec<String> = only.split(',').map(str::to_lowercase).collect();
    let is_wanted = |fault: &Fault| {
        let name = fault.name().to_lowercase();
        words.iter().any(|word| name.contains(word.as_str()))
    };
    let wanted: Vec<Fault> = all.into_iter().filter(is_wanted).collect();
    assert!(!wanted.is_empty(), "no fault is called {only}");
    wanted
}

fn lease_ms() -> u64 {
    GATE_LEASE.as_millis().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_schedule_of_faults_breaks_a_promise() {
    let parts = Parts::from_environment().await;
    let faults = faults();
    let mut report = Report::begin();
    if let Some(seeds) = setting("FIRSTCOME_FAULTS_SEEDS") {
        for seed in range(&seeds) {
            Box::pin(run(&parts, seed, &faults, &mut report)).await;
        }
    } else if let Some(minutes) = setting("FIRSTCOME_FAULTS_MINUTES") {
        let minutes: u64 = minutes.parse().unwrap();
        let began = Instant::now();
        // New seeds; a run can be repeated by its seed.
        let first = firstcome::runtime::clock::Clock::System.now().timestamp();
        let mut seed = first.unsigned_abs();
        while began.elapsed() < Duration::from_secs(minutes * 60) {
            Box::pin(run(&parts, seed, &faults, &mut report)).await;
            seed += 1;
        }
    } else {
        Box::pin(short_round(&parts, &faults, &mut report)).await;
    }
    eprintln!("\n{}", report.table());
    assert_eq!(report.broken(), [0; 0], "seeds with violations");
}

/// A few seeds that cover every kind of fault, and a few more if one had no effect: a fault without an effect
/// shows nothing.
async fn short_round(parts: &Parts, faults: &[Fault], report: &mut Report) {
    const MORE_MAX: usize = 5;
    report.add(crate::disk::run().await);
    let mut run_already = Vec::new();
    let mut ineffective = faults.to_vec();
    for _ in 0..=MORE_MAX {
        let seeds = covering(&ineffective, &run_already, faults, lease_ms());
        for seed in seeds {
            Box::pin(run(parts, seed, faults, report)).await;
            run_already.push(seed);
        }
        ineffective.retain(|fault| report.bites(*fault) == 0);
    }
    let names: Vec<&str> = ineffective.iter().map(|fault| fault.name()).collect();
    assert!(
        names.is_empty(),
        "these faults never had an effect: {names:?}"
    );
    let mut missing = [
        &holders::ENDINGS[..],
        &administrator::ENDINGS,
        &["replayed"],
    ]
    .concat();
    missing.retain(|answer| report.answers(answer) == 0);
    assert!(missing.is_empty(), "no response with {missing:?}");
}

/// `7`, or `1..21`, which excludes the last one.
fn range(seeds: &str) -> std::ops::Range<u64> {
    if let Some((from, to)) = seeds.split_once("..") {
        return from.parse().unwrap()..to.parse().unwrap();
    }
    let seed = seeds.parse().unwrap();
    seed..seed + 1
}

async fn run(parts: &Parts, seed: u64, faults: &[Fault], report: &mut Report) {
    let began = Instant::now();
    let schedule = Schedule::of(seed, faults, lease_ms());
    let world = Arc::new(World::open(parts.clone(), schedule).await);
    let settings = {
        let mut mysql = world.mysql().await.unwrap();
        SettingsWatch::start(Arc::clone(&world), &mut mysql).await
    };
    let traffic = Traffic::start(&world);
    let watch = Watch::start(&world);
    let windows = Windows::start(&world);
    let struck = break_things(&world, &traffic).await;
    world.heal().await;

    let recovery = Box::pin(recover(&world, &traffic)).await;
    traffic.ended().await;
    holders::use_what_is_left(&world).await;
    let mut breaches = in_time(&world, recovery);
    let oldest_event_seconds = watch.stop();
    breaches.extend(windows.stop(&world).await);
    breaches.extend(verified(&world).await);
    breaches.extend(lines::judge(&world).await);
    // Orders that were finished late, and campaigns that were sold out just now, have written events since.
    if all_published(&world, Instant::now()).await.is_none() {
        breaches.push(Breach::new("I4", "late events were not published in time"));
    }
    breaches.extend(stopped(&world.replicas).await);
    breaches.extend(ended_well(&world, &struck));
    let mut evidence = evidence(&world).await;
    let mut mysql = world.mysql().await.unwrap();
    evidence.settings = settings.stop(&mut mysql).await;
    let (answers, changes) = (world.ledger.read(), world.ledger.read_changes());
    breaches.extend(judge(&evidence, &answers, &changes));
    if let Some(folder) = setting("FIRSTCOME_FAULTS_HISTORY") {
        history::export(&folder, seed, &evidence, &answers);
    }

    let record = Record {
        seed,
        key: world.schedule.key.name(),
        faults: struck,
        breaches,
        first_yes_seconds: recovery.first_yes.to_vec(),
        all_sold_seconds: recovery.all_sold,
        all_published_seconds: recovery.all_published,
        all_rewarded_seconds: recovery.all_rewarded,
        redelivered: redelivered(&evidence),
        oldest_event_seconds,
        answers: counted(&world, &evidence),
        orders: evidence.orders(),
        coupons: evidence.coupons_by_status(),
        ends: ends(&world),
        took_seconds: began.elapsed().as_secs_f64(),
    };
    if !record.breaches.is_empty() {
        print_evidence(&world, &record, report.folder());
    }
    report.add(record);
    world.close().await;
}

/// Reads the databases and the topic of a run.
async fn evidence(world: &World) -> Evidence {
    let url = |schema: &str| format!("{}/{schema}?ssl-mode=disabled", world.parts.mysql_url);
    let mut evidence = Evidence::of_database(&url(&world.schema)).await.unwrap();
    let rewards = url(&world.rewards_schema());
    evidence.read_rewards(&rewards).await.unwrap();
    evidence.key = Some(world.schedule.key);
    let since = |at: DateTime<Utc>| (at - world.began_at).num_milliseconds();
    let windows = world.offers.iter().map(|offer| Hours {
        campaign: offer.id,
        opens_ms: offer.window.opens_at.map(since),
        closes_ms: offer.window.closes_at.map(since),
    });
    evidence.windows = windows.collect();
    evidence
        .with_topic(&world.parts.brokers, &world.prefix)
        .await
}

/// Performs every fault at its time, under traffic.
async fn break_things(world: &Arc<World>, traffic: &Traffic) -> Vec<Struck> {
    let strikes = world.schedule.strikes.clone();
    let acts: Vec<_> = strikes
        .iter()
        .map(|one| tokio::spawn(strike(Arc::clone(world), *one)))
        .collect();
    let ends = world.began + Duration::from_millis(world.schedule.ends_ms());
    tokio::time::sleep_until(ends.into()).await;
    traffic.stop();
    // A killed process may need time to restart.
    let bites = join_all(acts).await;
    strikes
        .iter()
        .zip(bites)
        .map(|(strike, bite)| {
            let bite = bite.unwrap();
            Struck {
                fault: strike.fault,
                name: strike.fault.name(),
                at_ms: strike.at_ms,
                lasts_ms: strike.lasts_ms,
                bites: bite.count,
                what: bite.what,
            }
        })
        .collect()
}

/// Violations of time limits.
fn in_time(world: &World, recovery: Recovery) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (replica, first) in world.replicas.iter().zip(recovery.first_yes) {
        if first.is_none() {
            let what = format!("replica {} never said yes again", replica.nth);
            breaches.push(Breach::new("I7", what));
        }
    }
    if recovery.all_published.is_none() {
        breaches.push(Breach::new(
            "I4",
            "events still waited long after the last fault",
        ));
    }
    breaches
}

/// The findings of the service itself.
async fn verified(world: &World) -> Vec<Breach> {
    let mut command = world.command();
    command.args(["verify", "--json", "--topic", "--topic-seconds-max", "30"]);
    command.args(["--rewards", "--rewards-passed-seconds", "0"]);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    if output.status.success() {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Ok(said) = serde_json::from_slice::<Value>(&output.stdout) {
        collect_breaches(&said, &mut found);
    }
    if found.is_empty() {
        let said = [output.stdout, output.stderr].concat();
        found.push(String::from_utf8_lossy(&said).into_owned());
    }
    let breaches = found.into_iter();
    breaches.map(|what| Breach::new("verify", what)).collect()
}

/// Every entry of every `breaches`, at any depth.
fn collect_breaches(said: &Value, found: &mut Vec<String>) {
    match said {
        Value::Object(members) => {
            if let Some(Value::Array(breaches)) = members.get("breaches") {
                let of = members.get("campaignId");
                let of = of.map_or_else(String::new, |id| format!("campaign {id}: "));
                let texts = breaches.iter().filter_map(Value::as_str);
                found.extend(texts.map(|breach| format!("{of}{breach}")));
            }
            for member in members.values() {
                collect_breaches(member, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_breaches(item, found);
            }
        }
        _ => {}
    }
}

fn ends(world: &World) -> Vec<String> {
    let ends = world.replicas.iter().flat_map(|replica| {
        let ends = replica.ends().into_iter();
        ends.map(move |end| {
            format!(
                "replica {} after {:.1?}: {}",
                replica.nth, end.after, end.how
            )
        })
    });
    ends.collect()
}

/// A replica may end by itself if a part that it needs is unavailable, but never by a panic or by a signal that
/// the test did not send.
fn ended_well(world: &World, struck: &[Struck]) -> Vec<Breach> {
    let may_abort = struck.iter().any(|one| one.fault == Fault::CrashPoint);
    let mut breaches = Vec::new();
    for replica in &world.replicas {
        for end in replica.ends() {
            if end.how.contains("signal") && !(end.is_abort && may_abort) {
                let what = format!("replica {} ended by itself: {}", replica.nth, end.how);
                breaches.push(Breach::new("end", what));
            }
        }
    }
    breaches.extend(panics(&world.replicas));
    breaches
}

/// Responses by word, and the effects of administrators.
fn counted(world: &World, evidence: &Evidence) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for answer in world.ledger.read() {
        *counts.entry(answer.outcome.word()).or_default() += 1;
    }
    for one in world.ledger.read_changes() {
        let counted = format!("{} {}", one.request.change.word(), one.outcome.word());
        *counts.entry(counted).or_default() += 1;
    }
    for act in world.ledger.read_acts() {
        let counted = format!("{} {}", act.act.word(), act.outcome.word());
        *counts.entry(counted).or_default() += 1;
    }
    let replayed = world.replayed.load(Ordering::SeqCst);
    counts.insert("replayed".to_owned(), replayed);
    counts.insert("late".to_owned(), late(evidence));
    counts.insert("purged".to_owned(), evidence.purged.values().sum());
    counts
}

/// Prints the information for the analysis of a failure.
fn print_evidence(world: &World, record: &Record, folder: &Path) {
    let folder = folder.join(format!("seed-{}", record.seed));
    fs::create_dir_all(&folder).unwrap();
    eprintln!("\nseed {}, key {}:", record.seed, record.key);
    for (strike, struck) in world.schedule.strikes.iter().zip(&record.faults) {
        eprintln!(
            "    {}, had an effect {} times",
            strike.describe(),
            struck.bites
        );
    }
    eprintln!(
        "    answers {:?}\n    orders {:?}\n    coupons {:?}\n    ends {:?}",
        record.answers, record.orders, record.coupons, record.ends
    );
    for replica in &world.replicas {
        eprintln!("{}", replica.log_tails(TAIL));
        let log = folder.join(format!("replica-{}.log", replica.nth));
        fs::write(log, replica.logs()).unwrap();
    }
    let answers = world.ledger.read();
    let lines: Vec<String> = answers.iter().map(|answer| format!("{answer:?}")).collect();
    fs::write(folder.join("answers.txt"), lines.join("\n")).unwrap();
    let changes = world.ledger.read_changes();
    let lines: Vec<String> = changes.iter().map(ChangeAnswer::line).collect();
    fs::write(folder.join("changes.txt"), lines.join("\n")).unwrap();
    let acts = world.ledger.read_acts();
    let lines: Vec<String> = acts.iter().map(ActAnswer::line).collect();
    fs::write(folder.join("acts.txt"), lines.join("\n")).unwrap();
    eprintln!("    all logs and answers: {}", folder.display());
}
