//! Sets the clock of the server while participations are between their admission and their commit.

use std::time::Duration;

use super::between;
use crate::proxy::{COMMIT, Mode};
use crate::world::World;

/// Leases before the clock is set: their commits hang.
const LEASES: u64 = 8;
/// Longest wait for them.
const LEASES_WAIT_MAX: Duration = Duration::from_millis(1_500);
/// `database.response_timeout` of the replicas.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

pub async fn set_forward(world: &World) -> u64 {
    let leases = step(world, 1).await;
    // Set right again, leases of the future are left.
    if world.plan.cuts {
        world.servers.clock().set(0).await;
        between(world).await;
    }
    leases
}

pub async fn set_back(world: &World) -> u64 {
    step(world, -1).await
}

/// The commits hang for longer than the service waits for them, so that their outcome is unknown, and their leases stay.
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
    tokio::time::sleep(RESPONSE_TIMEOUT + world.plan.detection).await;
    commits(world, Mode::Pass);
    between(world).await;
    leases
}

fn commits(world: &World, mode: Mode) {
    for replica in &world.sale.replicas {
        replica.mysql.set(mode);
    }
}
