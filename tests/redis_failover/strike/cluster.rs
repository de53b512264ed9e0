//! Moves slots of a cluster, and fails its primaries.

use super::{between, wait_for_yeses};
use crate::cluster::Cluster;
use crate::sale::campaigns::Offer;
use crate::world::World;

/// The slot of each campaign moves to the next primary, and back, where the state once had the same run id.
pub async fn slots_move(world: &World) -> u64 {
    let cluster = world.servers.cluster();
    let before = cluster.redirections().await;
    for is_back in [false, true] {
        for offer in &world.sale.offers {
            let slot = cluster.slot_of(&world.key(offer.id, "state")).await;
            let first = Cluster::owner_of(slot);
            let next = Cluster::next(first);
            let way = if is_back {
                (next, first)
            } else {
                (first, next)
            };
            let moved = cluster.move_slot(slot, way, world.plan.gap).await;
            eprintln!("slot {slot}: {moved} keys from {} to {}", way.0, way.1);
        }
        between(world).await;
    }
    cluster.redirections().await - before
}

pub async fn killed(world: &World) -> u64 {
    let cluster = world.servers.cluster();
    let (victim, lost) = lag(world).await;
    cluster.nodes[victim].kill().await;
    tokio::time::sleep(world.plan.detection).await;
    cluster.take_over(victim).await;
    lost
}

pub async fn paused(world: &World) -> u64 {
    let cluster = world.servers.cluster();
    let (victim, lost) = lag(world).await;
    cluster.nodes[victim].pause().await;
    tokio::time::sleep(world.plan.detection).await;
    cluster.take_over(victim).await;
    between(world).await;
    // Until it hears from the others, it believes it is the primary.
    cluster.nodes[victim].resume().await;
    between(world).await;
    lost
}

/// The replica of a primary misses accepted participations. Returns the primary, and how many units.
async fn lag(world: &World) -> (usize, u64) {
    let cluster = world.servers.cluster();
    let victim = owner(world, &world.sale.endless()).await;
    let mut its_own = Vec::new();
    for offer in &world.sale.offers {
        if owner(world, offer).await == victim {
            its_own.push(*offer);
        }
    }
    let primary = &cluster.nodes[victim];
    cluster.cut_off_replica(victim).await;
    let before = world.units_of(primary, &its_own).await;
    wait_for_yeses(world, world.sale.yeses() + world.plan.lag).await;
    let after = world.units_of(primary, &its_own).await;
    (victim, after.saturating_sub(before))
}

async fn owner(world: &World, offer: &Offer) -> usize {
    let slot = world
        .servers
        .cluster()
        .slot_of(&world.key(offer.id, "state"))
        .await;
    Cluster::owner_of(slot)
}
