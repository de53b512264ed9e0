//! What the failovers of a pair and of a group have in common.

use std::time::{Duration, Instant};

use sea_orm::sqlx::MySqlConnection;
use serde_json::Value;

use crate::client::http;
use crate::judge::Breach;
use crate::ledger::ChangeAnswer;
use crate::world::{Servers, World};
use crate::{clock_faults, group_faults, pair_faults};

/// Longest wait until a replica reports what is missing.
pub const NOTICING: Duration = Duration::from_secs(10);

/// What happened until everything could work again.
pub struct Struck {
    /// From here on the addresses lead to a primary that accepts writes.
    pub healed: Instant,
    /// Seconds from the fault to then, if nobody but the servers decides when.
    pub outage: Option<f64>,
    /// For each replica: seconds until `/readyz` named the store, if the run waited for that; none: it never did.
    pub noticed: Option<[Option<f64>; 2]>,
    pub breaches: Vec<Breach>,
    /// Payments that the judge has to know.
    pub changes: Vec<ChangeAnswer>,
    /// The session of the vanished client, which keeps its lock while this exists.
    #[expect(dead_code, reason = "only its end matters")]
    pub half_open: Option<MySqlConnection>,
}

/// Performs the failover of this run, under traffic.
pub async fn strike(world: &World) -> Struck {
    wait_for_yeses(world, world.plan.yes_before).await;
    match &world.servers {
        Servers::Pair(pair) if world.plan.fault.has_clock() => {
            clock_faults::strike(world, pair).await
        }
        Servers::Pair(pair) => pair_faults::strike(world, pair).await,
        Servers::Group(group) if world.plan.fault.has_clock() => {
            clock_faults::strike_group(world, group).await
        }
        Servers::Group(group) => group_faults::strike(world, group).await,
    }
}

pub async fn wait_for_yeses(world: &World, count: usize) {
    if !world.sale.reaches(count).await {
        let found = world.sale.yeses();
        panic!(
            "{found} of {count} participations without a fault\n{}",
            state(world).await
        );
    }
}

/// What the primary and the replicas of the service are doing.
async fn state(world: &World) -> String {
    let old = world.servers.old();
    let sessions = "SELECT COALESCE(GROUP_CONCAT(CONCAT_WS(' ', command, time, state, LEFT(info, 60)) \
                    SEPARATOR '; '), '') FROM performance_schema.processlist";
    let sessions = old.text(sessions).await;
    let clients = old.status("Rpl_semi_sync_source_clients").await;
    let logs: String = world
        .sale
        .replicas
        .iter()
        .map(|one| one.log_tails(15))
        .collect();
    format!("replicas {clients}, sessions: {sessions}\n{logs}")
}

/// Waits until each replica reports that the store is missing. Returns the seconds.
pub async fn noticed(world: &World) -> [Option<f64>; 2] {
    let (first, second) = tokio::join!(notices(world, 0), notices(world, 1));
    [first, second]
}

async fn notices(world: &World, nth: usize) -> Option<f64> {
    let (http, began) = (http(), Instant::now());
    while began.elapsed() < NOTICING {
        if names_the_store(world, &http, nth).await == Some(true) {
            return Some(began.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

/// Whether `/readyz` is 503 because of the store; none: no response.
async fn names_the_store(world: &World, http: &reqwest::Client, nth: usize) -> Option<bool> {
    let base = world.sale.replicas[nth].base()?;
    let answer = http
        .get(format!("{base}/readyz?verbose"))
        .send()
        .await
        .ok()?;
    let is_unavailable = answer.status() == 503;
    let told: Value = answer.json().await.ok()?;
    let parts = told["parts"].as_array()?;
    let store = parts.iter().find(|part| part["name"] == "store")?;
    Some(is_unavailable && store["status"] == "down")
}
