//! Steps of the database's clock: that of the primary is set, or a replica with another clock becomes the primary. COMMITs
//! wait for their acknowledgement meanwhile.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::http;
use crate::dated::{AHEAD, Dated, Times};
use crate::fault::Fault;
use crate::judge::Breach;
use crate::ledger::ChangeOutcome;
use crate::pair::Pair;
use crate::pair_faults::lead_to_successor;
use crate::strike::{Struck, noticed, wait_for_yeses};
use crate::world::World;

/// COMMITs that wait at least when the clock is set, and the longest wait for them. Others wait behind them, and with them the
/// requests of all clients.
const WAITING: u64 = 1;
const WAITING_MAX: Duration = Duration::from_secs(10);
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
    breaches.extend(followed(world, step).await);
    wait_for_yeses(world, world.sale.yeses() + MEANWHILE).await;
    breaches.extend(dated.check(world, times).await);
    if world.plan.fault == Fault::ClockForward {
        pair.old().set_clock(0).await;
        breaches.extend(followed(world, 0).await);
        wait_for_yeses(world, world.sale.yeses() + MEANWHILE).await;
        // Ended reservations and campaigns stay ended.
        breaches.extend(dated.check(world, times).await);
    }
    let mut changes = dated.pay(world).await;
    if times == Times::Passed {
        let late = changes.drain(..);
        let wrong = late.filter(|payment| !is_expired(&payment.outcome));
        breaches.extend(wrong.map(|payment| Breach::new("clock", payment.line())));
    }
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

/// The replica acknowledges nothing more. Waits until COMMITs wait for it.
async fn stall(pair: &Pair) -> Option<Breach> {
    pair.cut_off().await;
    let began = Instant::now();
    let mut waiting = 0;
    while waiting < WAITING && began.elapsed() < WAITING_MAX {
        let sessions = pair
            .old()
            .status("Rpl_semi_sync_source_wait_sessions")
            .await;
        waiting = sessions.parse().unwrap();
    }
    let what = || format!("only {waiting} COMMITs waited when the clock was set");
    (waiting < WAITING).then(|| Breach::new("fault", what()))
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
