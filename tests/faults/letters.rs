//! Dead letters: for a moment of the run an administrator of Kafka limits the size of records in the topic of
//! participations so much that the broker refuses each of them. The events become dead letters, and the next events of
//! their keys are tried. Another administrator replays the dead ones until there are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use firstcome::domain::Topic;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;
use reqwest::Client;
use sea_orm::sqlx;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::http;
use crate::replica::ADMIN_TOKEN;
use crate::world::World;

/// Less than any record has.
const BYTES_MAX: &str = "100";
/// How long the broker may take to change the limit.
const ALTERING: Duration = Duration::from_secs(2);
/// Longest wait for the first dead letter.
const FIRST_LETTER: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(400);

/// Limits the topic, removes the limit, and replays.
pub fn start(world: &Arc<World>, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (world, stop) = (Arc::clone(world), Arc::clone(stop));
    let mut random = StdRng::seed_from_u64(world.schedule.seed * 1_000 + 900);
    tokio::spawn(async move {
        let begins = Duration::from_millis(random.random_range(1_500..4_500));
        tokio::time::sleep_until((world.began + begins).into()).await;
        // A broker that is away keeps its limit, and nothing happens.
        if limit(&world, Some(BYTES_MAX)).await.is_ok() {
            first_letter(&world).await;
            let lasts = random.random_range(200..600);
            tokio::time::sleep(Duration::from_millis(lasts)).await;
        }
        unlimit(&world, &stop).await;
        let http = http();
        while !stop.load(Ordering::SeqCst) {
            replay(&world, &http, &mut random).await;
            tokio::time::sleep(LOOK).await;
        }
    })
}

/// Waits for a dead letter, but not for long: a relay that does not send anything has none.
async fn first_letter(world: &World) {
    let began = Instant::now();
    while dead(world).await.unwrap_or(0) == 0 && began.elapsed() < FIRST_LETTER {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Repeats until the limit is removed, or it `is_over`.
async fn unlimit(world: &World, is_over: &AtomicBool) {
    while limit(world, None).await.is_err() && !is_over.load(Ordering::SeqCst) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Sets the limit of the topic's records; none: that of the broker.
async fn limit(world: &World, bytes_max: Option<&str>) -> KafkaResult<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &world.parts.brokers)
        .create()?;
    let topic = Topic::Participation.name(&world.prefix);
    let mut config = AlterConfig::new(ResourceSpecifier::Topic(&topic));
    if let Some(bytes_max) = bytes_max {
        config = config.set("max.message.bytes", bytes_max);
    }
    let options = AdminOptions::new().request_timeout(Some(ALTERING));
    let altered = admin.alter_configs([&config], &options).await?;
    for altered in altered {
        altered.map_err(|(_, code)| rdkafka::error::KafkaError::AdminOp(code))?;
    }
    Ok(())
}

/// After the faults: removes the limit, and replays until there are no dead letters, or `is_over`.
pub async fn restore(world: &World, is_over: &AtomicBool) {
    unlimit(world, is_over).await;
    let http = http();
    let mut random = StdRng::seed_from_u64(world.schedule.seed);
    while !is_over.load(Ordering::SeqCst) {
        replay(world, &http, &mut random).await;
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the last dead letter is replayed; whether that took less than `patience`.
pub async fn all_replayed(world: &World, patience: Duration) -> bool {
    let http = http();
    let mut random = StdRng::seed_from_u64(world.schedule.seed);
    let began = Instant::now();
    while began.elapsed() < patience {
        if replay(world, &http, &mut random).await == Some(0) {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}

async fn dead(world: &World) -> sqlx::Result<i64> {
    let mut mysql = world.mysql().await?;
    let dead = "SELECT COUNT(*) FROM outbox_parked WHERE state = 'dead'";
    sqlx::query_scalar(dead).fetch_one(&mut mysql).await
}

/// Replays all dead letters at any replica, and counts them. Returns how many there were; none: MySQL is away. A replica
/// may be away, too.
async fn replay(world: &World, http: &Client, random: &mut StdRng) -> Option<i64> {
    let dead = dead(world).await.ok()?;
    let replica = random.random_range(0..world.replicas.len());
    if dead > 0
        && let Some(base) = world.replicas[replica].base()
    {
        replay_at(world, http, &base).await;
    }
    Some(dead)
}

async fn replay_at(world: &World, http: &Client, base: &str) {
    let request = http
        .post(format!("{base}/api/admin/dead-letters/replay"))
        .bearer_auth(ADMIN_TOKEN)
        .json(&json!({ "all": true, "limit": 1_000 }));
    let Ok(answer) = request.send().await else {
        return;
    };
    if answer.status() == 200
        && let Ok(said) = answer.json::<Value>().await
    {
        let changed = said["changed"].as_u64().unwrap_or(0);
        world.replayed.fetch_add(changed, Ordering::SeqCst);
    }
}
