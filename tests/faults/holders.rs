//! Users who earn coupons: each participates, waits for the coupons, and uses one, cancels the participation,
//! or does both, in either order or concurrently.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use sea_orm::sqlx::{self, Row};
use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::buyer::{Buyer, By, Order, any_path, ask_until_known};
use crate::client::http;
use crate::ledger::{Change, ParticipationRequest, Phase};
use crate::world::World;

/// Their number, and the delay between them: the last one comes during the faults.
const HOLDERS: u32 = 40;
const APART: Duration = Duration::from_millis(140);
/// Id of the first one. All of them send keys: users with a number that ends in 0 or 5 do.
const FIRST_USER: i64 = 500_000;
/// How long a holder waits for coupons; those of a cancelled participation may never be issued.
const COUPONS: Duration = Duration::from_secs(12);
const COUPONS_OF_CANCELLED: Duration = Duration::from_secs(2);
/// How often a holder checks whether the coupons are issued.
const LOOK: Duration = Duration::from_millis(250);
/// Coupons that are used at the same time after all faults.
const AT_ONCE: usize = 8;

/// Outcomes that must occur in each short round; otherwise nothing raced.
pub const ENDINGS: [&str; 4] = [
    "use yes",
    "use coupon_revoked",
    "cancel yes",
    "cancel already_used",
];

/// One task for each holder.
pub fn start(
    world: &Arc<World>,
    stop: &Arc<AtomicBool>,
    abandon: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let http = http();
    let holder = |nth: u32| {
        let holder = Holder {
            world: Arc::clone(world),
            http: http.clone(),
            random: StdRng::seed_from_u64(world.schedule.seed * 1_000 + 500 + u64::from(nth)),
            abandon: Arc::clone(abandon),
            user: FIRST_USER + 5 * i64::from(nth),
            orders: 0,
        };
        let stop = Arc::clone(stop);
        tokio::spawn(async move {
            tokio::time::sleep(APART * nth).await;
            if !stop.load(Ordering::SeqCst) {
                holder.run().await;
            }
        })
    };
    (0..HOLDERS).map(holder).collect()
}

/// An action of a holder.
#[derive(Clone, Copy, Debug)]
enum Act {
    Use,
    Cancel,
}

/// Whether the holder first waits for the coupons, and the following actions: those of one group are concurrent, and
/// the groups follow each other.
fn plan(random: &mut StdRng) -> (bool, &'static [&'static [Act]]) {
    use Act::{Cancel, Use};
    match random.random_range(0..12) {
        0 => (true, &[&[Use]]),
        1 => (true, &[&[Cancel]]),
        2 => (false, &[&[Cancel], &[Use]]),
        3 => (true, &[&[Use], &[Cancel]]),
        4..6 => (true, &[&[Cancel], &[Use]]),
        6..9 => (true, &[&[Use, Cancel]]),
        9 => (true, &[&[Cancel, Use]]),
        10 => (true, &[&[Use, Use], &[Cancel]]),
        _ => (true, &[&[Cancel, Use, Cancel]]),
    }
}

struct Holder {
    world: Arc<World>,
    http: Client,
    random: StdRng,
    abandon: Arc<AtomicBool>,
    user: i64,
    /// Orders for which coupons were to be used.
    orders: u32,
}

impl Holder {
    async fn run(mut self) {
        let Some(order) = self.take_part().await else {
            return;
        };
        let (waits, groups) = plan(&mut self.random);
        let mut coupons = Vec::new();
        let mut is_cancelled = false;
        if waits {
            coupons = self.coupons(order, COUPONS).await;
        }
        for acts in groups {
            if is_cancelled && coupons.is_empty() {
                coupons = self.coupons(order, COUPONS_OF_CANCELLED).await;
            }
            is_cancelled |= acts.iter().any(|act| matches!(act, Act::Cancel));
            let acts = acts.iter();
            let changes = acts.filter_map(|act| self.change(*act, &coupons)).collect();
            let buyer = Buyer {
                site: &*self.world,
                http: &self.http,
                phase: Phase::Traffic,
                abandon: &self.abandon,
                by: By::User,
            };
            buyer.ask_at_once(order, changes, &mut self.random).await;
        }
    }

    /// None: there is no coupon to use.
    fn change(&mut self, act: Act, coupons: &[Uuid]) -> Option<Change> {
        match act {
            Act::Cancel => Some(Change::Cancel),
            Act::Use if coupons.is_empty() => None,
            Act::Use => {
                self.orders += 1;
                Some(Change::Use {
                    coupon: coupons[self.random.random_range(0..coupons.len())],
                    order: format!("order-{}-{}", self.user, self.orders),
                })
            }
        }
    }

    /// Retries until the outcome is known; none: there was no coupon left, or it stopped.
    async fn take_part(&mut self) -> Option<Order> {
        let offer = self.world.couponing();
        let request = ParticipationRequest {
            campaign: offer.id,
            user: self.user,
            quantity: self.random.random_range(1..=offer.max_quantity),
            key: Some(format!("holder-{}", self.user)),
            path: any_path(&mut self.random),
        };
        let (world, random) = (&*self.world, &mut self.random);
        ask_until_known(world, &self.http, &request, random, &self.abandon).await
    }

    /// The coupons of the participation, once they are issued.
    async fn coupons(&mut self, order: Order, patience: Duration) -> Vec<Uuid> {
        let began = Instant::now();
        while began.elapsed() < patience && !self.abandon.load(Ordering::SeqCst) {
            let replica = self.random.random_range(0..self.world.replicas.len());
            let coupons = self.look(replica, order).await.unwrap_or_default();
            if !coupons.is_empty() {
                return coupons;
            }
            tokio::time::sleep(LOOK).await;
        }
        Vec::new()
    }

    async fn look(&self, replica: usize, order: Order) -> Option<Vec<Uuid>> {
        let base = self.world.replicas[replica].base()?;
        let request = self
            .http
            .get(format!("{base}/api/users/{}/rewards", order.user))
            .header("Authorization", order.user.to_string());
        let rewards: Value = request.send().await.ok()?.json().await.ok()?;
        let own = order.participation.to_string();
        let coupons = rewards["coupons"].as_array()?.iter();
        let coupons = coupons.filter(|coupon| coupon["participationId"] == own);
        coupons
            .map(|coupon| coupon["id"].as_str()?.parse().ok())
            .collect()
    }
}

/// After all faults, uses every coupon that is still issued. Each held unit is sold, so all of them can be used, and
/// no further ones.
pub async fn use_what_is_left(world: &World) {
    let mut mysql = world.mysql().await.unwrap();
    let issued = format!(
        "SELECT id, participation_id, user_id FROM {}.coupon WHERE status = 'issued'",
        world.rewards_schema()
    );
    let issued = sqlx::query(sqlx::AssertSqlSafe(issued));
    let issued = issued.fetch_all(&mut mysql).await.unwrap();
    let http = http();
    let abandon = AtomicBool::new(false);
    let buyer = Buyer {
        site: world,
        http: &http,
        phase: Phase::Healing,
        abandon: &abandon,
        by: By::User,
    };
    let deadline = tokio::time::sleep(Duration::from_secs(20));
    let using = async {
        for some in issued.chunks(AT_ONCE) {
            let uses = some.iter().map(async |row| {
                let coupon: Uuid = row.get(0);
                let order = Order::known(row.get(1), row.get(2));
                let change = Change::Use {
                    coupon,
                    order: format!("last-{coupon}"),
                };
                let mut random = StdRng::seed_from_u64(order.user.unsigned_abs());
                buyer.ask_at_once(order, vec![change], &mut random).await;
            });
            join_all(uses).await;
        }
    };
    tokio::select! {
        () = using => {}
        () = deadline => {}
    }
}
