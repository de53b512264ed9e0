//! Performs the failover of a run.

mod clock;
mod cluster;

use std::time::Instant;

use crate::fault::Fault;
use crate::server::Server;
use crate::world::World;

/// Accepted participations in a state between, before it may end.
const YES_BETWEEN: usize = 15;

/// What happened until one server was the primary of both replicas again.
pub struct Struck {
    pub healed: Instant,
    /// Whether the fault had its effect: units that a server did not know, writes that it refused, requests that a
    /// cluster sent elsewhere, or leases when the clock was set.
    pub bites: u64,
}

/// Performs the failover of this run, under traffic.
pub async fn strike(world: &World) -> Struck {
    wait_for_yeses(world, world.plan.yes_before).await;
    let bites = match world.plan.fault {
        Fault::Lagging => lagging(world).await,
        Fault::TwoPrimaries => two_primaries(world).await,
        Fault::Paused => paused(world).await,
        Fault::ThereAndBack => there_and_back(world).await,
        Fault::Full => full(world).await,
        Fault::SentinelKilled => sentinel_killed(world).await,
        Fault::SentinelPaused => sentinel_paused(world).await,
        Fault::SlotsMove => cluster::slots_move(world).await,
        Fault::ClusterKilled => cluster::killed(world).await,
        Fault::ClusterPaused => cluster::paused(world).await,
        Fault::ClockForward => clock::set_forward(world).await,
        Fault::ClockBack => clock::set_back(world).await,
    };
    Struck {
        healed: Instant::now(),
        bites,
    }
}

async fn lagging(world: &World) -> u64 {
    let (old, new) = servers(world);
    let lost = lag(world).await;
    old.kill().await;
    tokio::time::sleep(world.plan.detection).await;
    world.servers.pair().promote().await;
    move_to(world, new).await;
    lost
}

async fn two_primaries(world: &World) -> u64 {
    let (old, new) = servers(world);
    let lost = lag(world).await;
    world.servers.pair().promote().await;
    world.redirect(world.plan.first, new);
    between(world).await;
    let both = world.units(old).await.abs_diff(world.units(new).await);
    world.redirect(1 - world.plan.first, new);
    retire(world, old).await;
    lost.max(both)
}

async fn paused(world: &World) -> u64 {
    let (old, new) = servers(world);
    let lost = lag(world).await;
    old.pause().await;
    tokio::time::sleep(world.plan.detection).await;
    world.servers.pair().promote().await;
    move_to(world, new).await;
    // Connections that were not closed lead to a server that believes it is the primary.
    old.resume().await;
    between(world).await;
    retire(world, old).await;
    lost
}

async fn there_and_back(world: &World) -> u64 {
    let (old, new) = servers(world);
    world.servers.pair().promote().await;
    move_to(world, new).await;
    // Whoever still has a connection to the first server would never notice the way back.
    cut(world);
    between(world).await;
    let missed = world.units(new).await.abs_diff(world.units(old).await);
    world.redirect(world.plan.first, old);
    tokio::time::sleep(world.plan.gap).await;
    world.redirect(1 - world.plan.first, old);
    cut(world);
    missed
}

async fn full(world: &World) -> u64 {
    let (old, _) = servers(world);
    old.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    between(world).await;
    old.run(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let refused = old.info("errorstats", "errorstat_OOM").await;
    let count = refused
        .strip_prefix("count=")
        .and_then(|count| count.parse().ok());
    count.unwrap_or(0)
}

async fn sentinel_killed(world: &World) -> u64 {
    let (old, new) = servers(world);
    let lost = cut_off_from_sentinel(world).await;
    old.kill().await;
    let watch = world.servers.watch();
    watch.names(new).await;
    move_to(world, new).await;
    watch.heal();
    lost
}

async fn sentinel_paused(world: &World) -> u64 {
    let (old, new) = servers(world);
    let lost = cut_off_from_sentinel(world).await;
    old.pause().await;
    let watch = world.servers.watch();
    watch.names(new).await;
    move_to(world, new).await;
    // Connections that were not closed lead to a server that believes it is the primary, until Sentinel finds it.
    old.resume().await;
    watch.heal();
    between(world).await;
    old.wait_for("replication", "role", "slave").await;
    cut(world);
    lost
}

/// Sentinel and the replica lose the primary; the service does not, until the replica lags.
async fn cut_off_from_sentinel(world: &World) -> u64 {
    let (old, new) = servers(world);
    world.servers.watch().cut_off();
    wait_for_yeses(world, world.sale.yeses() + world.plan.lag).await;
    world.units(old).await - world.units(new).await
}

fn servers(world: &World) -> (&Server, &Server) {
    (world.servers.pair().old(), world.servers.pair().successor())
}

/// The replica misses accepted participations. Returns how many units.
async fn lag(world: &World) -> u64 {
    let (old, new) = servers(world);
    world.servers.pair().cut_off().await;
    wait_for_yeses(world, world.sale.yeses() + world.plan.lag).await;
    world.units(old).await - world.units(new).await
}

/// Both addresses lead to this server.
async fn move_to(world: &World, to: &Server) {
    world.redirect(world.plan.first, to);
    tokio::time::sleep(world.plan.gap).await;
    world.redirect(1 - world.plan.first, to);
}

/// The state between two primaries lasts for its term, and until participations were accepted in it.
async fn between(world: &World) {
    let wanted = world.sale.yeses() + YES_BETWEEN;
    tokio::time::sleep(world.plan.term).await;
    wait_for_yeses(world, wanted).await;
}

/// Ends a former primary, as an operator or Sentinel does sooner or later.
async fn retire(world: &World, old: &Server) {
    old.kill().await;
    cut(world);
}

fn cut(world: &World) {
    for replica in &world.sale.replicas {
        replica.redis.cut();
    }
}

async fn wait_for_yeses(world: &World, count: usize) {
    let is_reached = world.sale.reaches(count).await;
    let found = world.sale.yeses();
    assert!(is_reached, "{found} of {count} participations");
}
