//! Waits after the last fault until a replica accepts a participation, every unit is sold, and every event is
//! published, and measures how long each takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, MySqlConnection};
use tokio::task::JoinHandle;

use crate::administrator;
use crate::buyer::{Buyer, By, Order};
use crate::client::{Fresh, http};
use crate::ledger::{Outcome, Phase};
use crate::letters;
use crate::load::{Traffic, ask};
use crate::replica::ADMIN_TOKEN;
use crate::replicas;
use crate::rewards::{self, Rewarding};
use crate::site::Managed;
use crate::world::World;

/// Longest wait for the last unit, and for the first acceptance.
const SELLING: Duration = Duration::from_secs(60);
/// Longest wait for the last event: the synchronous path keeps its events from the relay for 30 s.
const PUBLISHING: Duration = Duration::from_secs(45);
/// How long a client without a definite response retries.
const DOUBT: Duration = Duration::from_secs(30);
const SELLERS: usize = 5;

/// Seconds until everything was consistent again; none: not in time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovery {
    pub first_yes: [Option<f64>; 2],
    pub all_sold: Option<f64>,
    pub all_published: Option<f64>,
    pub all_rewarded: Option<f64>,
}

/// Sends requests of new users until everything is sold, and waits until everything is published.
pub async fn recover(world: &Arc<World>, traffic: &Traffic) -> Recovery {
    let healed = Instant::now();
    let fresh = Arc::new(Fresh::new());
    let probes = [0, 1].map(|nth| first_yes(world, nth, &fresh, healed));
    let [one, other] = probes;
    let is_sold = AtomicBool::new(false);
    let selling = async {
        let sold = sell_out(world, traffic, &fresh, healed).await;
        is_sold.store(true, Ordering::SeqCst);
        sold
    };
    let mut mysql = world.mysql().await.unwrap();
    let restoring = administrator::restore(&**world, &mut mysql, &is_sold);
    let replaying = letters::restore(world, &is_sold);
    let (one, other, all_sold, (), ()) = tokio::join!(one, other, selling, restoring, replaying);
    letters::all_replayed(world, PUBLISHING).await;
    let all_published = all_published(world, healed).await;
    Recovery {
        first_yes: [one, other],
        all_sold,
        all_published,
        all_rewarded: all_rewarded(world, healed).await,
    }
}

/// Sends requests to one replica until it accepts one.
async fn first_yes(world: &World, nth: usize, fresh: &Fresh, healed: Instant) -> Option<f64> {
    let http = http();
    while healed.elapsed() < SELLING {
        let request = fresh.wish(world.endless().id);
        let sent = Instant::now();
        let outcome = ask(world, &http, nth, &request).await;
        let is_yes = matches!(outcome, Outcome::Yes(_));
        world
            .ledger
            .write(Phase::Healing, nth, (request, sent), outcome);
        if is_yes {
            return Some(healed.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

/// Everything is sold when no unit can return any more: no reservation is left, and no cancellation is
/// unfinished.
async fn sell_out(
    world: &Arc<World>,
    traffic: &Traffic,
    fresh: &Arc<Fresh>,
    healed: Instant,
) -> Option<f64> {
    let unsold = Arc::new(Mutex::new(Vec::new()));
    let is_over = Arc::new(AtomicBool::new(false));
    let sellers: Vec<JoinHandle<()>> = (0..SELLERS)
        .map(|nth| {
            let (world, fresh) = (Arc::clone(world), Arc::clone(fresh));
            let (unsold, is_over) = (Arc::clone(&unsold), Arc::clone(&is_over));
            tokio::spawn(async move { sell(&world, nth, &fresh, &unsold, &is_over).await })
        })
        .collect();
    let mut mysql = world.mysql().await.unwrap();
    let mut sold = None;
    while sold.is_none() && healed.elapsed() < SELLING {
        if healed.elapsed() > DOUBT {
            traffic.abandon();
        }
        // A request that ends later may have returned units.
        let is_settled = traffic.is_settled() && !administrator::may_still_act(&**world);
        let left = unsold_campaigns(&mut mysql).await.unwrap();
        let is_sold = is_settled && left.is_empty();
        sold = is_sold.then(|| healed.elapsed().as_secs_f64());
        *unsold.lock().unwrap() = left;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    is_over.store(true, Ordering::SeqCst);
    traffic.abandon();
    for seller in sellers {
        seller.await.unwrap();
    }
    sold
}

/// Campaigns with units left, or units that may return: one read, because units move from the one to the other.
async fn unsold_campaigns(mysql: &mut MySqlConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT id FROM campaign WHERE committed_units < total_stock AND state <> 'closed' \
         OR id IN (SELECT campaign_id FROM participation WHERE status = 'reserved')",
    )
    .fetch_all(mysql)
    .await
}

async fn sell(
    world: &World,
    nth: usize,
    fresh: &Fresh,
    unsold: &Mutex<Vec<i64>>,
    is_over: &AtomicBool,
) {
    let http = http();
    let mut turn = nth;
    while !is_over.load(Ordering::SeqCst) {
        turn += 1;
        let campaign = {
            let unsold = unsold.lock().unwrap();
            (!unsold.is_empty()).then(|| unsold[turn / 2 % unsold.len()])
        };
        let mut is_yes = false;
        if let Some(campaign) = campaign {
            let request = fresh.wish(campaign);
            let replica = turn % world.replicas.len();
            let asked_at = Instant::now();
            let outcome = ask(world, &http, replica, &request).await;
            let order = match &outcome {
                Outcome::Yes(yes) => Some(Order::of(yes, asked_at)),
                _ => None,
            };
            is_yes = order.is_some();
            let phase = Phase::Healing;
            world
                .ledger
                .write(phase, replica, (request, asked_at), outcome);
            if let Some(order) = order.filter(|_| world.offer(campaign).is_paid) {
                let buyer = Buyer {
                    site: world,
                    http: &http,
                    phase,
                    abandon: is_over,
                    by: By::User,
                };
                buyer.pay(order, turn).await;
            }
        }
        if !is_yes {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
}

/// Waits until everything is published. Returns the seconds since `healed`; none: not in time.
pub async fn all_published(world: &World, healed: Instant) -> Option<f64> {
    let mut mysql = world.mysql().await.unwrap();
    replicas::all_published(&mut mysql, PUBLISHING, healed).await
}

/// Waits until the consumers have settled everything. Returns the seconds since `healed`; none: not in time.
async fn all_rewarded(world: &World, healed: Instant) -> Option<f64> {
    let mut mysql = world.mysql().await.unwrap();
    let campaigns = Rewarding {
        coupons: Some(world.couponing().id),
        points: world.managed(Managed::Points).id,
    };
    let schema = world.rewards_schema();
    rewards::all_settled(&mut mysql, &schema, campaigns, healed).await
}

/// Reads the age of the oldest pending event at intervals.
pub struct Watch {
    oldest: Arc<Mutex<f64>>,
    watching: JoinHandle<()>,
}

impl Watch {
    pub fn start(world: &Arc<World>) -> Self {
        let oldest = Arc::new(Mutex::new(0.0_f64));
        let (world, greatest) = (Arc::clone(world), Arc::clone(&oldest));
        let watching = tokio::spawn(async move {
            let http = http();
            let mut turn = 0;
            loop {
                turn += 1;
                if let Some(age) = oldest_pending(&world, &http, turn % 2).await {
                    let mut greatest = greatest.lock().unwrap();
                    *greatest = greatest.max(age);
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
        Self { oldest, watching }
    }

    /// The greatest observed age, in seconds.
    pub fn stop(self) -> f64 {
        self.watching.abort();
        *self.oldest.lock().unwrap()
    }
}

async fn oldest_pending(world: &World, http: &reqwest::Client, nth: usize) -> Option<f64> {
    let replica = &world.replicas[nth];
    if replica.has_extra() {
        // Its clock may have jumped; then it reports only that.
        return None;
    }
    let base = replica.base()?;
    let request = http
        .get(format!("{base}/api/admin/outbox"))
        .bearer_auth(ADMIN_TOKEN)
        .timeout(Duration::from_secs(1));
    let outbox: serde_json::Value = request.send().await.ok()?.json().await.ok()?;
    outbox["oldestAgeSeconds"].as_f64()
}
