//! Performs the failover of a run.

use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, AssertSqlSafe, MySqlConnection};
use serde_json::Value;

use crate::client::http;
use crate::fault::Fault;
use crate::world::World;

/// Longest wait until a replica reports what is missing.
pub const NOTICING: Duration = Duration::from_secs(10);
/// Accepted participations that the asynchronous replica never gets.
const TAIL: usize = 25;

/// What happened until everything could work again.
pub struct Struck {
    /// From here on the address leads to a primary that accepts writes.
    pub healed: Instant,
    /// For each replica: seconds until `/readyz` named the store, if the run waited for that; none: it never did.
    pub noticed: Option<[Option<f64>; 2]>,
    /// The session of the vanished client, which keeps its lock while this exists.
    _half_open: Option<MySqlConnection>,
}

/// Performs the failover of this run, under traffic.
pub async fn strike(world: &World) -> Struck {
    wait_for_yeses(world, world.plan.yes_before).await;
    let half_open = match world.plan.fault {
        Fault::HalfOpen => Some(lock_first_campaign(world).await),
        _ => None,
    };
    begin(world).await;
    let noticed = if world.plan.waits_for_readiness {
        Some(noticed(world).await)
    } else {
        None
    };
    end(world).await;
    Struck {
        healed: Instant::now(),
        noticed,
        _half_open: half_open,
    }
}

/// Until the primary accepts no writes, or acknowledges none.
async fn begin(world: &World) {
    let pair = &world.pair;
    match world.plan.fault {
        Fault::Killed => pair.old().kill().await,
        Fault::TwoPrimaries => pair.old().pause().await,
        Fault::Switchover | Fault::HalfOpen => pair.demote().await,
        Fault::Stalled => {
            pair.cut_off().await;
            tokio::time::sleep(world.plan.stall).await;
        }
        Fault::StalledAndKilled => {
            pair.cut_off().await;
            tokio::time::sleep(world.plan.stall).await;
            pair.old().kill().await;
        }
        Fault::TailCut => {
            pair.cut_off().await;
            wait_for_yeses(world, world.sale.yeses() + TAIL).await;
            raise_stock(world).await;
            pair.old().kill().await;
        }
    }
}

/// Until a primary accepts writes and both addresses lead to it.
async fn end(world: &World) {
    let (pair, plan) = (&world.pair, &world.plan);
    match plan.fault {
        Fault::Stalled => return pair.reconnect().await,
        Fault::Switchover | Fault::HalfOpen => pair.catch_up().await,
        _ => tokio::time::sleep(plan.detection).await,
    }
    pair.promote().await;
    let redirect = |nth: usize| {
        world.sale.replicas[nth]
            .mysql
            .redirect(pair.successor().address);
    };
    redirect(plan.first);
    if plan.fault == Fault::TwoPrimaries {
        // Half of its connections still lead to the old primary, which believes in itself.
        pair.old().resume().await;
    }
    tokio::time::sleep(plan.gap).await;
    redirect(1 - plan.first);
}

/// The control also loses a setting: the last change of a campaign.
async fn raise_stock(world: &World) {
    let campaign = world.sale.offers[0];
    let base = world.sale.replicas[0].base().unwrap();
    let more = serde_json::json!({ "totalStock": campaign.total.unwrap() + 40 });
    let changed = http()
        .patch(format!("{base}/api/admin/campaigns/{}", campaign.id))
        .bearer_auth(crate::replica::ADMIN_TOKEN)
        .json(&more)
        .send();
    assert_eq!(changed.await.unwrap().status(), 200);
}

async fn wait_for_yeses(world: &World, count: usize) {
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
    let old = world.pair.old();
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

/// A session as of a client that has vanished in a transaction.
async fn lock_first_campaign(world: &World) -> MySqlConnection {
    let mut session = world.pair.old().session().await;
    let id = world.sale.offers[0].id;
    let lock = format!(
        "SELECT id FROM {}.campaign WHERE id = {id} FOR UPDATE",
        world.prefix
    );
    for statement in ["BEGIN".to_owned(), lock] {
        let executed = sqlx::raw_sql(AssertSqlSafe(statement));
        executed.execute(&mut session).await.unwrap();
    }
    session
}

/// Waits until each replica reports that the store is missing. Returns the seconds.
async fn noticed(world: &World) -> [Option<f64>; 2] {
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
