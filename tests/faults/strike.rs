//! Performs faults: each begins, lasts and ends, and reports how often it had an effect. A fault without an
//! effect proves nothing.

mod clients;
mod mysql;
mod redis;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::fault::Fault;
use crate::parts::Part;
use crate::points;
use crate::proxy::{COMMIT, Mode, Proxy};
use crate::replica::Replica;
use crate::schedule::Strike;
use crate::world::World;

/// The proxies of a replica.
type Side = fn(&Replica) -> &Proxy;

const MYSQL: Side = |replica| &replica.mysql;
const REDIS: Side = |replica| &replica.redis;

/// The result of a fault.
#[derive(Clone, Debug, Default)]
pub struct Bite {
    /// The number of its effects: 0 is a fault without an effect, which happens when faults overlap.
    pub count: u64,
    /// The random choices, if any.
    pub what: String,
}

/// Waits for its time, and performs the fault.
pub async fn strike(world: Arc<World>, strike: Strike) -> Bite {
    tokio::time::sleep_until((world.began + Duration::from_millis(strike.at_ms)).into()).await;
    let lasts = Duration::from_millis(strike.lasts_ms);
    let count = match strike.fault {
        Fault::ClockJump => return clock_jump(&world, strike, lasts).await,
        Fault::CrashPoint => return crash_point(&world, strike, lasts).await,
        _ => count(&world, strike, lasts).await,
    };
    Bite {
        count,
        what: String::new(),
    }
}

async fn count(world: &World, strike: Strike, lasts: Duration) -> u64 {
    match strike.fault {
        Fault::ServiceKilled => killed(world, strike, lasts).await,
        Fault::ServicePaused => paused(world, strike, lasts).await,
        Fault::ServiceStopped => stopped(world, strike, lasts).await,
        Fault::MysqlKilled => part_down(world, Part::Mysql, "kill", lasts).await,
        Fault::MysqlPaused => part_paused(world, Part::Mysql, lasts).await,
        Fault::MysqlRestarted => part_down(world, Part::Mysql, "stop", lasts).await,
        Fault::MysqlExhausted => mysql::exhausted(world, strike, lasts).await.unwrap_or(0),
        Fault::MysqlDeadlock => mysql::deadlocks(world, strike, lasts).await.unwrap_or(0),
        Fault::MysqlHang => misbehave(world, strike, MYSQL, Mode::Swallow, lasts).await,
        Fault::MysqlSilent => silence(world, strike, MYSQL, lasts).await,
        Fault::MysqlLostReplies => misbehave(world, strike, MYSQL, Mode::LoseReplies, lasts).await,
        Fault::MysqlCommitStalled => {
            misbehave(world, strike, MYSQL, Mode::Hold(COMMIT), lasts).await
        }
        Fault::MysqlUnreachable => misbehave(world, strike, MYSQL, Mode::Refuse, lasts).await,
        Fault::RedisKilled => part_down(world, Part::Redis, "kill", lasts).await,
        Fault::RedisPaused => part_paused(world, Part::Redis, lasts).await,
        Fault::RedisEmptied => redis::emptied(world).await.unwrap_or(0),
        Fault::RedisScriptsGone => redis::without_scripts(world).await.unwrap_or(0),
        Fault::RedisOldFile => redis::restored(world, lasts).await,
        Fault::RedisPartialLoss => redis::partial_loss(world, strike).await.unwrap_or(0),
        Fault::RedisHang => misbehave(world, strike, REDIS, Mode::Swallow, lasts).await,
        Fault::RedisSilent => silence(world, strike, REDIS, lasts).await,
        Fault::RedisLostReplies => misbehave(world, strike, REDIS, Mode::LoseReplies, lasts).await,
        Fault::RedisUnreachable => misbehave(world, strike, REDIS, Mode::Refuse, lasts).await,
        Fault::KafkaKilled => part_down(world, Part::Kafka, "kill", lasts).await,
        Fault::KafkaPaused => part_paused(world, Part::Kafka, lasts).await,
        Fault::SlowClients => clients::slow(world, strike, lasts).await,
        Fault::LeavingClients => clients::leaving(world, strike, lasts).await,
        Fault::ClockJump | Fault::CrashPoint | Fault::DiskFull => {
            unreachable!("counted elsewhere, or a scenario of its own")
        }
    }
}

fn struck(world: &World, strike: Strike) -> Vec<Arc<Replica>> {
    strike
        .replicas()
        .into_iter()
        .map(|nth| Arc::clone(&world.replicas[nth]))
        .collect()
}

async fn killed(world: &World, strike: Strike, lasts: Duration) -> u64 {
    let replicas = struck(world, strike);
    let killed = replicas.iter().filter(|replica| replica.kill()).count();
    tokio::time::sleep(lasts).await;
    for replica in replicas {
        replica.start(Vec::new());
    }
    killed as u64
}

async fn paused(world: &World, strike: Strike, lasts: Duration) -> u64 {
    let replicas = struck(world, strike);
    for replica in &replicas {
        replica.signal("STOP");
    }
    tokio::time::sleep(lasts).await;
    // Only a process that was stopped all the time was paused beyond its leases.
    let paused = replicas.iter().filter(|replica| replica.is_paused());
    let paused = paused.count();
    for replica in replicas {
        replica.signal("CONT");
    }
    paused as u64
}

async fn stopped(world: &World, strike: Strike, lasts: Duration) -> u64 {
    let replicas = struck(world, strike);
    let stops = replicas.iter().map(|replica| replica.stop());
    let stopped = join_all(stops).await.into_iter().flatten().count();
    tokio::time::sleep(lasts).await;
    for replica in replicas {
        replica.start(Vec::new());
    }
    stopped as u64
}

fn random(strike: Strike) -> StdRng {
    StdRng::seed_from_u64(strike.pick)
}

async fn clock_jump(world: &World, strike: Strike, lasts: Duration) -> Bite {
    let (value, shift_ms) = points::clock(&mut random(strike));
    let replicas = struck(world, strike);
    for replica in &replicas {
        replica.kill();
        replica.start(vec![("FAILPOINTS".to_owned(), value.clone())]);
    }
    tokio::time::sleep(lasts).await;
    let mut jumped = 0;
    for replica in &replicas {
        let seen = clients::clock_shift_ms(replica).await;
        // Its sign, and most of its size.
        jumped += u64::from(seen.is_some_and(|seen| (seen - shift_ms).abs() < shift_ms.abs() / 2));
        replica.kill();
        replica.start(Vec::new());
    }
    Bite {
        count: jumped,
        what: value,
    }
}

async fn crash_point(world: &World, strike: Strike, lasts: Duration) -> Bite {
    let value = points::crash(&mut random(strike), world.has_paid_orders());
    let replicas = struck(world, strike);
    let aborts = |replica: &Arc<Replica>| {
        let ends = replica.ends();
        ends.iter().filter(|end| end.is_abort).count() as u64
    };
    let before: u64 = replicas.iter().map(aborts).sum();
    for replica in &replicas {
        replica.kill();
        replica.start(vec![("FAILPOINTS".to_owned(), value.clone())]);
    }
    tokio::time::sleep(lasts).await;
    let after: u64 = replicas.iter().map(aborts).sum();
    for replica in &replicas {
        // A process that never reached that point must not reach it later.
        if replica.has_extra() {
            replica.kill();
            replica.start(Vec::new());
        }
    }
    Bite {
        count: after - before,
        what: value,
    }
}

/// Ends a part by an action of the script, and starts it again.
async fn part_down(world: &World, part: Part, verb: &str, lasts: Duration) -> u64 {
    let was_ended = world.parts.try_to(verb, part).await;
    let is_silent = !world.parts.answers(part).await;
    tokio::time::sleep(lasts).await;
    world.parts.try_to("start", part).await;
    u64::from(was_ended && is_silent)
}

async fn part_paused(world: &World, part: Part, lasts: Duration) -> u64 {
    let was_paused = world.parts.try_to("pause", part).await;
    let is_silent = !world.parts.answers(part).await;
    tokio::time::sleep(lasts).await;
    world.parts.try_to("resume", part).await;
    u64::from(was_paused && is_silent)
}

/// The number of affected bytes and connections in the proxies of one side so far.
fn harm(replicas: &[Arc<Replica>], side: Side) -> u64 {
    let harms = replicas.iter().map(|replica| side(replica).harm.total());
    harms.sum()
}

/// Makes the proxies of one side misbehave. Returns the number of affected bytes or connections.
async fn misbehave(world: &World, strike: Strike, side: Side, mode: Mode, lasts: Duration) -> u64 {
    let replicas = struck(world, strike);
    let before = harm(&replicas, side);
    for replica in &replicas {
        side(replica).set(mode);
        if mode == Mode::Refuse {
            side(replica).cut();
        }
    }
    tokio::time::sleep(lasts).await;
    for replica in &replicas {
        side(replica).set(Mode::Pass);
    }
    harm(&replicas, side) - before
}

/// Makes the connections of one side silent forever. Returns the number of dropped bytes so far.
async fn silence(world: &World, strike: Strike, side: Side, lasts: Duration) -> u64 {
    let replicas = struck(world, strike);
    let before = harm(&replicas, side);
    for replica in &replicas {
        side(replica).silence();
    }
    tokio::time::sleep(lasts).await;
    harm(&replicas, side) - before
}
