//! The failovers of a pair, which an operator performs.

use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, AssertSqlSafe, MySqlConnection};

use crate::client::http;
use crate::fault::Fault;
use crate::judge::Breach;
use crate::pair::Pair;
use crate::server::Server;
use crate::strike::{Struck, noticed, wait_for_yeses};
use crate::world::World;

/// Accepted participations that the asynchronous replica never gets.
const TAIL: usize = 25;
/// Longest wait until the service waits for the server: for the acknowledgement of a COMMIT, or for a lock. Other requests
/// wait behind it, so one is enough.
const WAITING_MAX: Duration = Duration::from_secs(10);

/// Performs the failover of this run.
pub async fn strike(world: &World, pair: &Pair) -> Struck {
    let (half_open, ineffective) = match world.plan.fault {
        Fault::HalfOpen => {
            let (session, ineffective) = lock_first_campaign(world, pair).await;
            begin(world, pair).await;
            (Some(session), ineffective)
        }
        _ => (None, begin(world, pair).await),
    };
    let noticed = if world.plan.waits_for_readiness {
        Some(noticed(world).await)
    } else {
        None
    };
    end(world, pair).await;
    Struck {
        healed: Instant::now(),
        outage: None,
        noticed,
        breaches: ineffective.into_iter().collect(),
        changes: Vec::new(),
        half_open,
    }
}

/// Until the primary accepts no writes, or acknowledges none. Returns a violation if that had no effect.
async fn begin(world: &World, pair: &Pair) -> Option<Breach> {
    let mut ineffective = None;
    match world.plan.fault {
        Fault::Killed => pair.old().kill().await,
        Fault::TwoPrimaries => pair.old().pause().await,
        Fault::Switchover | Fault::HalfOpen => pair.demote().await,
        Fault::Stalled => {
            ineffective = stall(pair).await;
            tokio::time::sleep(world.plan.stall).await;
        }
        Fault::StalledAndKilled => {
            ineffective = stall(pair).await;
            tokio::time::sleep(world.plan.stall).await;
            pair.old().kill().await;
        }
        Fault::TailCut => {
            pair.cut_off().await;
            wait_for_yeses(world, world.sale.yeses() + TAIL).await;
            raise_stock(world).await;
            pair.old().kill().await;
        }
        _ => unreachable!("a fault of a group or a clock"),
    }
    ineffective
}

/// The replica acknowledges nothing more. Waits until COMMITs wait for it.
pub async fn stall(pair: &Pair) -> Option<Breach> {
    pair.cut_off().await;
    let waiting = "SELECT variable_value FROM performance_schema.global_status \
                   WHERE variable_name = 'Rpl_semi_sync_source_wait_sessions'";
    waits(pair.old(), waiting).await
}

/// Waits until this count is not 0.
async fn waits(server: &Server, count: &str) -> Option<Breach> {
    let began = Instant::now();
    while began.elapsed() < WAITING_MAX {
        if server.text(count).await != "0" {
            return None;
        }
    }
    Some(Breach::new("fault", format!("nothing waited: {count}")))
}

/// Until a primary accepts writes and both addresses lead to it.
async fn end(world: &World, pair: &Pair) {
    let plan = &world.plan;
    match plan.fault {
        Fault::Stalled => return pair.reconnect().await,
        Fault::Switchover | Fault::HalfOpen => pair.catch_up().await,
        _ => tokio::time::sleep(plan.detection).await,
    }
    pair.promote().await;
    lead_to_successor(world, pair).await;
}

/// Both addresses lead to the new primary, one after the other.
pub async fn lead_to_successor(world: &World, pair: &Pair) {
    let plan = &world.plan;
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

/// A session as of a client that has vanished in a transaction. Waits until a request waits for its lock.
async fn lock_first_campaign(world: &World, pair: &Pair) -> (MySqlConnection, Option<Breach>) {
    let mut session = pair.old().session().await;
    let id = world.sale.offers[0].id;
    let lock = format!(
        "SELECT id FROM {}.campaign WHERE id = {id} FOR UPDATE",
        world.prefix
    );
    for statement in ["BEGIN".to_owned(), lock] {
        let executed = sqlx::raw_sql(AssertSqlSafe(statement));
        executed.execute(&mut session).await.unwrap();
    }
    let thread = sqlx::query_scalar("SELECT PS_CURRENT_THREAD_ID()");
    let thread: u64 = thread.fetch_one(&mut session).await.unwrap();
    let waiting = format!(
        "SELECT CAST(COUNT(*) AS CHAR) FROM performance_schema.data_lock_waits \
         WHERE blocking_thread_id = {thread}"
    );
    let ineffective = waits(pair.old(), &waiting).await;
    (session, ineffective)
}
