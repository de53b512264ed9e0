//! Steps of the database's clock: that of the primary is set, or a server with another clock becomes the primary. COMMITs
//! of a pair wait for their acknowledgement meanwhile.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::http;
use crate::dated::{AHEAD, Dated, Times};
use crate::fault::Fault;
use crate::group::Group;
use crate::group_faults::{elected, led};
use crate::judge::Breach;
use crate::ledger::{ChangeAnswer, ChangeOutcome};
use crate::pair::Pair;
use crate::pair_faults::{lead_to_successor, stall};
use crate::strike::{Struck, noticed, wait_for_yeses};
use crate::world::World;

/// Accepted participations before it is set again.
const MEANWHILE: usize = 15;
/// Longest time until a replica follows the database's clock, and the tolerance.
const FOLLOWING_MAX: Duration = Duration::from_secs(10);
const FOLLOWING_ERROR: Duration = Duration::from_secs(5);

/// Performs the step of this run.
pub async fn strike(world: &World, pair: &Pair) -> Struck {
    let dated = Dated::create(world).await;
    let step = world.plan.clock_step();
    let times = times_after(step);
    let mut breaches = Vec::new();
    let mut noticed_after = None;
    match world.plan.fault {
        Fault::ClockForward | Fault::ClockBack => {
            breaches.extend(stall(pair).await);
            pair.old().set_clock(step).await;
            tokio::time::sleep(world.plan.stall).await;
            pair.reconnect().await;
        }
        Fault::ClockOfReplica => {
            pair.successor().set_clock(step).await;
            breaches.extend(stall(pair).await);
            pair.old().kill().await;
            if world.plan.waits_for_readiness {
                noticed_after = Some(noticed(world).await);
            }
            tokio::time::sleep(world.plan.detection).await;
            pair.promote().await;
            lead_to_successor(world, pair).await;
        }
        _ => unreachable!("no fault of clocks"),
    }
    let healed = Instant::now();
    breaches.extend(sold_with(world, step, &dated, times).await);
    if world.plan.fault == Fault::ClockForward {
        pair.old().set_clock(0).await;
        // Ended reservations and campaigns stay ended.
        breaches.extend(sold_with(world, 0, &dated, times).await);
    }
    let (changes, wrong) = pay(world, &dated, times).await;
    breaches.extend(wrong);
    Struck {
        healed: if world.plan.fault == Fault::ClockForward {
            Instant::now()
        } else {
            healed
        },
        outage: None,
        noticed: noticed_after,
        breaches,
        half_open: None,
        changes,
    }
}

/// The primary of a group is killed, and the group elects a member with another clock.
pub async fn strike_group(world: &World, group: &Group) -> Struck {
    let dated = Dated::create(world).await;
    let began = Instant::now();
    group.old().kill().await;
    let noticed = elected(world, group).await;
    let mut breaches: Vec<Breach> = led(world, group).await.into_iter().collect();
    let (healed, outage) = (Instant::now(), began.elapsed().as_secs_f64());
    let step = world.plan.clock_of_member(group.primary_nth());
    eprintln!("the group elected a member whose clock is off by {step:+} s");
    let times = times_after(step);
    breaches.extend(sold_with(world, step, &dated, times).await);
    let (changes, wrong) = pay(world, &dated, times).await;
    breaches.extend(wrong);
    Struck {
        healed,
        outage: Some(outage),
        noticed: Some(noticed),
        breaches,
        half_open: None,
        changes,
    }
}

/// Waits until both replicas follow the database's clock and have accepted more participations. Returns the differences
/// from what the clock requires.
async fn sold_with(world: &World, offset_seconds: i64, dated: &Dated, times: Times) -> Vec<Breach> {
    let mut breaches = followed(world, offset_seconds).await;
    wait_for_yeses(world, world.sale.yeses() + MEANWHILE).await;
    breaches.extend(dated.check(world, times).await);
    breaches
}

/// Pays for the reservations. Returns the payments that the judge has to know. If the reservations have expired, each
/// payment with another response than `EXPIRED` is a violation instead.
async fn pay(world: &World, dated: &Dated, times: Times) -> (Vec<ChangeAnswer>, Vec<Breach>) {
    let payments = dated.pay(world).await;
    if times == Times::Ahead {
        return (payments, Vec::new());
    }
    let wrong = payments
        .iter()
        .filter(|payment| !is_expired(&payment.outcome));
    let wrong = wrong.map(|payment| Breach::new("clock", payment.line()));
    (Vec::new(), wrong.collect())
}

/// Whether this step passes the times of the dated campaigns.
fn times_after(step_seconds: i64) -> Times {
    let ahead = i64::try_from(AHEAD.as_secs()).unwrap();
    if step_seconds > ahead {
        Times::Passed
    } else {
        Times::Ahead
    }
}

fn is_expired(outcome: &ChangeOutcome) -> bool {
    matches!(outcome, ChangeOutcome::No { code } if code == "EXPIRED")
}

/// Waits until both replicas count by the database's clock, which is the true time plus this offset.
async fn followed(world: &World, offset_seconds: i64) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for nth in 0..world.sale.replicas.len() {
        let began = Instant::now();
        let mut error = time_error(world, nth, offset_seconds).await;
        while error.is_none_or(|error| error > FOLLOWING_ERROR) && began.elapsed() < FOLLOWING_MAX {
            tokio::time::sleep(Duration::from_millis(100)).await;
            error = time_error(world, nth, offset_seconds).await;
        }
        if error.is_none_or(|error| error > FOLLOWING_ERROR) {
            let what = format!("replica {nth} does not follow the clock: it is off by {error:?}");
            breaches.push(Breach::new("clock", what));
        }
    }
    breaches
}

/// How far a replica's time is from the true time plus this offset; none: no response.
async fn time_error(world: &World, nth: usize, offset_seconds: i64) -> Option<Duration> {
    let base = world.sale.replicas[nth].base()?;
    let answer = http().get(format!("{base}/api/time")).send().await.ok()?;
    let told: Value = answer.json().await.ok()?;
    let true_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let error_ms = told["epochMillis"].as_i64()? - true_ms - offset_seconds * 1_000;
    Some(Duration::from_millis(error_ms.unsigned_abs()))
}
