//! Sets the clock of the server while participations are between their admission and their commit.

use std::time::Duration;

use super::between;
use crate::proxy::{COMMIT, Mode};
use crate::world::World;

/// Leases before the clock is set: their commits hang.
const LEASES: u64 = 8;
/// Longest wait for them.
const LEASES_WAIT_MAX: Duration = Duration::from_millis(1_500);

pub async fn set_forward(world: &World) -> u64 {
    step(world, 1).await
}

pub async fn set_back(world: &World) -> u64 {
    step(world, -1).await
}

/// Some commits hang for longer than `database.response_timeout`, so that their outcome is unknown; others continue.
/// With a seed that cuts connections, the clock is later set right again.
async fn step(world: &World, direction: i64) -> u64 {
    let clock = world.servers.clock();
    commits(world, Mode::Hold(COMMIT));
    let began = std::time::Instant::now();
    let mut leases = 0;
    while leases < LEASES && began.elapsed() < LEASES_WAIT_MAX {
        leases = world.leases().await;
    }
    let seconds = i64::try_from(world.plan.step.as_secs()).unwrap();
    clock.set(direction * seconds).await;
    tokio::time::sleep(world.plan.detection).await;
    commits(world, Mode::Pass);
    between(world).await;
    if world.plan.cuts {
        clock.set(0).await;
        between(world).await;
    }
    leases
}

fn commits(world: &World, mode: Mode) {
    for replica in &world.sale.replicas {
        replica.mysql.set(mode);
    }
}
