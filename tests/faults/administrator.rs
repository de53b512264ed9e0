//! Administrators who change campaigns under traffic: stock, limits and windows, pauses, allow lists, rebuilt gates, and
//! the end of a campaign. Each campaign has one, who repeats an action at any replica until the outcome is known. After
//! the faults, `restore` opens everything that should be open.

mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use sea_orm::sqlx::{self, Connection, MySqlConnection};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::client::http;
use crate::ledger::Act;
use crate::site::{Managed, ManagedOffer, Site};

/// The highest limit, which is in force at the beginning and at the end.
pub const LIMIT_MAX: u64 = 3;
/// Bounds of a changed stock.
const STOCK: (u64, u64) = (10, 50);
/// The end of a window, if it is not to end during the run.
const HOUR_MS: i64 = 3_600_000;
/// How often `restore` checks the campaigns.
const LOOK: Duration = Duration::from_millis(400);
/// How long a replica may still process a request whose client has gone: `http.request_timeout`, and some more.
const REQUEST_MAX: Duration = Duration::from_secs(11);

/// Responses and effects that must occur in each short round; otherwise nothing was administrated.
pub const ENDINGS: [&str; 11] = [
    "stock yes",
    "limit yes",
    "window yes",
    "pause yes",
    "close yes",
    "import yes",
    "remove list yes",
    "paused",
    "ended",
    "not_allowed",
    "purged",
];

/// Starts an administrator for each managed campaign.
pub fn start(
    site: &Arc<dyn Site>,
    stop: &Arc<AtomicBool>,
    abandon: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let managed = site.managed_offers().into_iter();
    managed
        .zip(0..)
        .map(|(offer, nth): (_, u64)| {
            let one = Administrator {
                site: Arc::clone(site),
                http: http(),
                random: StdRng::seed_from_u64(site.seed() * 1_000 + 700 + nth),
                stop: Arc::clone(stop),
                abandon: Arc::clone(abandon),
                offer,
                stock: (offer.total, offer.total),
            };
            tokio::spawn(one.run())
        })
        .collect()
}

struct Administrator {
    site: Arc<dyn Site>,
    http: Client,
    random: StdRng,
    stop: Arc<AtomicBool>,
    abandon: Arc<AtomicBool>,
    offer: ManagedOffer,
    /// The stock, and the units left, by the last response.
    stock: (u64, u64),
}

impl Administrator {
    async fn run(mut self) {
        let managed = self.offer.managed;
        if managed == Managed::Ended {
            let until = self.random.random_range(1_500..5_500);
            self.pause(until).await;
        }
        while !self.stop.load(Ordering::SeqCst) {
            for act in self.plan(managed) {
                self.act(act).await;
                // MySQL may be away.
                if managed == Managed::Ended
                    && let Some(database) = self.site.database()
                    && let Ok(mut mysql) = MySqlConnection::connect_with(&database).await
                {
                    age_events(&mut mysql, self.offer.id).await.ok();
                }
                let pause = self.random.random_range(150..500);
                self.pause(pause).await;
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        }
    }

    async fn pause(&self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < until && !self.stop.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The next actions, one after the other.
    fn plan(&mut self, managed: Managed) -> Vec<Act> {
        let choice = self.random.random_range(0..8);
        match (managed, choice) {
            (Managed::Stock, 0..2) => vec![Act::Limit(self.random.random_range(1..=LIMIT_MAX))],
            (Managed::Stock | Managed::Points, 2..4) => vec![Act::Pause, Act::Open],
            (Managed::Stock | Managed::Points, 4) => vec![Act::RebuildGate],
            (Managed::Stock | Managed::Points, _) => vec![Act::Stock(self.other_stock())],
            (Managed::Listed, 0..3) => vec![Act::Import],
            (Managed::Listed, 3..5) => vec![Act::Remove],
            (Managed::Listed, _) if self.site.has_true_clocks() => vec![self.other_window()],
            (Managed::Listed, _) => vec![Act::Pause, Act::Open],
            // It never opens again.
            (Managed::Ended, 0..5) => vec![Act::Close],
            (Managed::Ended, _) => vec![Act::Close, Act::Open],
        }
    }

    /// More units, fewer, or exactly as many as were committed at the last response.
    fn other_stock(&mut self) -> u64 {
        let (total, left) = self.stock;
        let by = self.random.random_range(1..=8);
        let other = match self.random.random_range(0..4) {
            0 | 1 => total + by,
            2 => total.saturating_sub(by),
            _ => total.saturating_sub(left),
        };
        other.clamp(STOCK.0, STOCK.1)
    }

    /// Most windows begin soon, or have no beginning, and all end after the run, except the last ones of some seeds.
    fn other_window(&mut self) -> Act {
        let now = i64::try_from(self.site.began().elapsed().as_millis()).unwrap();
        let opens_ms = match self.random.random_range(0..3) {
            0 => Some(now + self.random.random_range(200..900)),
            1 => Some(now - HOUR_MS),
            _ => None,
        };
        let ends = self.site.seed().is_multiple_of(4) && now > 4_000;
        let after = if ends { 1_200 } else { HOUR_MS };
        Act::Window {
            opens_ms,
            closes_ms: Some(now + after + self.random.random_range(0..400)),
        }
    }

    /// Repeats an action at any replica until the outcome is known.
    async fn act(&mut self, act: Act) {
        while !self.abandon.load(Ordering::SeqCst) {
            let replica = self.random.random_range(0..self.site.replicas().len());
            let of = (self.offer.id, act.clone());
            let (is_known, said) = request::send(&*self.site, &self.http, replica, of).await;
            self.learn(&said);
            if is_known {
                return;
            }
            let pause = self.random.random_range(150..400);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    fn learn(&mut self, said: &Value) {
        let stock = said["totalStock"].as_u64();
        if let Some(stock) = stock.zip(said["currentStock"].as_u64()) {
            self.stock = stock;
        }
    }
}

/// Makes the published events of a closed campaign old enough to be deleted. It locks only these events.
async fn age_events(mysql: &mut MySqlConnection, campaign: i64) -> sqlx::Result<()> {
    let published: Option<i64> = sqlx::query_scalar(
        "SELECT o.published FROM outbox_position o JOIN campaign c ON c.id = o.campaign_id WHERE c.id = ? \
         AND c.state = 'closed' AND NOT EXISTS (SELECT 1 FROM outbox_parked p WHERE p.campaign_id = c.id)",
    )
    .bind(campaign)
    .fetch_optional(&mut *mysql)
    .await?;
    let Some(published) = published else {
        return Ok(());
    };
    sqlx::query(
        "UPDATE outbox_event SET created_at = created_at - INTERVAL 2 HOUR WHERE campaign_id = ? \
         AND aggregatetype = 'participation' AND sequence <= ? \
         AND created_at > UTC_TIMESTAMP(6) - INTERVAL 1 HOUR",
    )
    .bind(campaign)
    .bind(published)
    .execute(mysql)
    .await?;
    Ok(())
}

/// After the faults: opens every campaign that should be open, to everybody, until `is_over`. A request of the traffic
/// whose client gave up may still act, so it checks more than once.
pub async fn restore(site: &dyn Site, mysql: &mut MySqlConnection, is_over: &AtomicBool) {
    let http = http();
    let offers = site.managed_offers().into_iter();
    let (ended, to_open): (Vec<ManagedOffer>, Vec<ManagedOffer>) =
        offers.partition(|offer| offer.managed == Managed::Ended);
    let mut random = StdRng::seed_from_u64(site.seed());
    for offer in &to_open {
        for act in [Act::Open, Act::Limit(LIMIT_MAX), Act::Remove] {
            until_known(site, &http, (offer.id, act), &mut random, is_over).await;
        }
    }
    while !is_over.load(Ordering::SeqCst) {
        // The relay may publish some only now.
        for offer in ended.iter().filter(|_| site.database().is_some()) {
            age_events(mysql, offer.id).await.unwrap();
        }
        for offer in &to_open {
            for act in missing(mysql, offer.id).await.unwrap() {
                until_known(site, &http, (offer.id, act), &mut random, is_over).await;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn until_known(
    site: &dyn Site,
    http: &Client,
    of: (i64, Act),
    random: &mut StdRng,
    is_over: &AtomicBool,
) {
    while !is_over.load(Ordering::SeqCst) {
        let replica = random.random_range(0..site.replicas().len());
        if request::send(site, http, replica, of.clone()).await.0 {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The actions that a campaign needs, so that everybody may participate.
async fn missing(mysql: &mut MySqlConnection, campaign: i64) -> sqlx::Result<Vec<Act>> {
    let (state, limit, has_list): (String, i32, bool) = sqlx::query_as(
        "SELECT state, per_user_limit, allow_list_id IS NOT NULL FROM campaign WHERE id = ?",
    )
    .bind(campaign)
    .fetch_one(mysql)
    .await?;
    let is_lower = u64::from(limit.unsigned_abs()) < LIMIT_MAX;
    let acts = [
        (Act::Open, ["paused", "scheduled"].contains(&state.as_str())),
        (Act::Limit(LIMIT_MAX), is_lower),
        (Act::Remove, has_list),
    ];
    let needed = acts.into_iter().filter(|(_, is_needed)| *is_needed);
    Ok(needed.map(|(act, _)| act).collect())
}

/// Whether a request of the traffic whose client gave up may still change a campaign.
pub fn may_still_act(site: &dyn Site) -> bool {
    let acts = site.ledger().read_acts();
    let unknown = acts.iter().filter(|act| !act.outcome.is_definite());
    let last = unknown.map(|act| act.sent).max();
    last.is_some_and(|sent| site.began().elapsed() < sent + REQUEST_MAX)
}
