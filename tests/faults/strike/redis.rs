//! A Redis that loses data: everything, its scripts, the last seconds, or one key.

use std::time::Duration;

use rand::RngExt;
use redis::RedisResult;

use super::random;
use crate::parts::Part;
use crate::schedule::Strike;
use crate::world::World;

/// FLUSHALL. Returns the number of deleted keys.
pub async fn emptied(world: &World) -> RedisResult<u64> {
    let mut redis = world.redis().await?;
    let before: u64 = redis::cmd("DBSIZE").query_async(&mut redis).await?;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await?;
    Ok(before)
}

/// SCRIPT FLUSH. Returns the number of deleted scripts.
pub async fn without_scripts(world: &World) -> RedisResult<u64> {
    let mut redis = world.redis().await?;
    let info: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut redis)
        .await?;
    let cached = info
        .lines()
        .find_map(|line| line.strip_prefix("number_of_cached_scripts:"));
    redis::cmd("SCRIPT")
        .arg("FLUSH")
        .exec_async(&mut redis)
        .await?;
    Ok(cached
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0))
}

/// Saves Redis's files, and restores them some time later. Returns the number of ranks that it gave meanwhile, and so
/// has lost.
pub async fn restored(world: &World, lasts: Duration) -> u64 {
    if !world.parts.try_to("save", Part::Redis).await {
        return 0;
    }
    let saved = ranks(world).await.unwrap_or(0);
    tokio::time::sleep(lasts).await;
    let before = ranks(world).await.unwrap_or(saved);
    let is_restored = world.parts.try_to("restore", Part::Redis).await;
    u64::from(is_restored) * before.abs_diff(saved)
}

async fn ranks(world: &World) -> RedisResult<u64> {
    let mut redis = world.redis().await?;
    let mut ranks = 0;
    for offer in &world.offers {
        let key = format!("{}:{{campaign:{}}}:state", world.prefix, offer.id);
        let rank: Option<u64> = redis::cmd("HGET")
            .arg(key)
            .arg("last_rank")
            .query_async(&mut redis)
            .await?;
        ranks += rank.unwrap_or(0);
    }
    Ok(ranks)
}

/// Deletes one of the keys of one or two campaigns. Returns the number of existing ones.
pub async fn partial_loss(world: &World, strike: Strike) -> RedisResult<u64> {
    const KEYS: [&str; 3] = ["users", "leases", "state"];
    let mut random = random(strike);
    let mut redis = world.redis().await?;
    let mut lost = 0;
    for _ in 0..random.random_range(1..=2) {
        let offer = world.offers[random.random_range(0..world.offers.len())];
        // Leases come and go: deletes the first existing key, from a random one on.
        let first = random.random_range(0..KEYS.len());
        for nth in 0..KEYS.len() {
            let key = KEYS[(first + nth) % KEYS.len()];
            let key = format!("{}:{{campaign:{}}}:{key}", world.prefix, offer.id);
            let deleted: u64 = redis::cmd("DEL").arg(key).query_async(&mut redis).await?;
            lost += deleted;
            if deleted > 0 {
                break;
            }
        }
    }
    Ok(lost)
}
