//! The failovers of a group, which the members perform. Nobody fences a former primary.

use std::time::{Duration, Instant};

use crate::fault::{Fault, Plan};
use crate::group::Group;
use crate::judge::Breach;
use crate::strike::{Struck, noticed, wait_for_yeses};
use crate::world::World;

/// Longest wait until the addresses lead to the primary.
const LEADING: Duration = Duration::from_secs(30);
/// Longest time until participations are accepted while a secondary is away.
const FIRST_YES_MAX: Duration = Duration::from_secs(10);
/// Accepted participations while a secondary is away.
const MEANWHILE: usize = 20;

/// Performs the failover of this run.
pub async fn strike(world: &World, group: &Group) -> Struck {
    let began = Instant::now();
    let mut noticed = None;
    let mut breaches = Vec::new();
    match world.plan.fault {
        Fault::GroupKilled => {
            group.old().kill().await;
            noticed = Some(elected(world, group).await);
        }
        Fault::GroupPaused => {
            group.old().pause().await;
            noticed = Some(elected(world, group).await);
            // Before the addresses lead to the new primary, or afterwards.
            if world.plan.first == 1 {
                breaches.extend(led(world, group).await);
            }
            group.old().resume().await;
        }
        Fault::GroupSwitchover => {
            group.elect(world.plan.secondary).await;
            group.wait_primary(Some(0)).await;
        }
        Fault::GroupSecondaryLost => {
            return Struck {
                breaches: lose_secondary(world, group).await,
                changes: Vec::new(),
                healed: Instant::now(),
                outage: None,
                noticed: None,
                half_open: None,
            };
        }
        Fault::GroupMajorityLost => noticed = Some(lose_majority(world, group).await),
        _ => unreachable!("a fault of a pair or a clock"),
    }
    let elected = began.elapsed().as_secs_f64();
    breaches.extend(led(world, group).await);
    let outage = began.elapsed().as_secs_f64();
    eprintln!(
        "    a primary after {elected:.1} s, and both addresses lead to it after {outage:.1} s"
    );
    Struck {
        healed: Instant::now(),
        outage: Some(outage),
        noticed,
        breaches,
        changes: Vec::new(),
        half_open: None,
    }
}

/// Waits until the group has another primary, and meanwhile until each replica reports that the store is missing.
pub async fn elected(world: &World, group: &Group) -> [Option<f64>; 2] {
    let (noticed, ()) = tokio::join!(noticed(world), group.wait_primary(Some(0)));
    noticed
}

/// Waits until both addresses lead to the primary.
pub async fn led(world: &World, group: &Group) -> Option<Breach> {
    let port = group.primary().address.port();
    for router in &world.routers {
        if !router.leads_to(port, LEADING).await {
            let views = group.views().await;
            let what = format!("an address does not lead to the primary {port}: {views:?}");
            return Some(Breach::new("group", what));
        }
    }
    None
}

/// One of three is away: participations continue. Then it returns.
async fn lose_secondary(world: &World, group: &Group) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let began = Instant::now();
    group.server(world.plan.secondary).kill().await;
    wait_for_yeses(world, world.sale.yeses() + 1).await;
    let waited = began.elapsed();
    if waited > FIRST_YES_MAX {
        let what = format!("no yes for {waited:?} after the loss of a secondary");
        breaches.push(Breach::new("time", what));
    }
    // Before the group has expelled it, or afterwards.
    tokio::time::sleep(world.plan.detection * 4).await;
    wait_for_yeses(world, world.sale.yeses() + MEANWHILE).await;
    breaches.extend(group.reunite(world.plan.exit).await);
    breaches
}

/// The primary alone can commit nothing. The others continue before it has left the group, or afterwards.
async fn lose_majority(world: &World, group: &Group) -> [Option<f64>; 2] {
    for nth in [1, 2] {
        group.server(nth).pause().await;
    }
    let noticed = noticed(world).await;
    let Plan {
        stall,
        unreachable_majority_seconds,
        exit,
        ..
    } = world.plan;
    if unreachable_majority_seconds > 0 {
        group.wait_left(0).await;
    }
    tokio::time::sleep(stall).await;
    for nth in [1, 2] {
        group.server(nth).resume().await;
    }
    group.wait_primary_or_form(exit).await;
    noticed
}
