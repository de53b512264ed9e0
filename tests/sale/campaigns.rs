//! A sale: the replicas of the service, the campaigns that they serve, some of them changed by administrators, and the
//! responses to their clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use firstcome::runtime::clock::Clock;
use sea_orm::sqlx::mysql::MySqlConnectOptions;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::administrator::LIMIT_MAX;
use crate::client::Fresh;
use crate::ledger::Ledger;
use crate::replica::{ADMIN_TOKEN, Replica};
use crate::replicas::wait_ready;
use crate::site::{Managed, ManagedOffer, Site};

/// Longest wait for accepted participations while they are possible, and for their events.
pub const TRAFFIC_PATIENCE: Duration = Duration::from_secs(120);

/// A campaign of the run.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub id: i64,
    pub total: Option<u64>,
    pub max_quantity: u32,
}

/// What else a run has.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The database, without a proxy; none: it fails over.
    pub database: Option<MySqlConnectOptions>,
    /// Whether the gate fails over.
    pub gate_fails_over: bool,
    /// Whether all parts have this machine's clock.
    pub has_true_clocks: bool,
    /// Whether it has administrators, and consumers of rewards.
    pub has_staff: bool,
}

pub struct Sale {
    /// Chooses the requests of the clients.
    pub seed: u64,
    pub replicas: Vec<Arc<Replica>>,
    /// The campaigns that nobody changes.
    pub offers: Vec<Offer>,
    /// The others.
    pub managed: Vec<ManagedOffer>,
    conditions: Conditions,
    pub ledger: Ledger,
    /// When the run began: the responses count from here.
    pub began: Instant,
    began_at: DateTime<Utc>,
    /// Accepted participations.
    pub(super) yeses: AtomicUsize,
    /// Users without earlier requests.
    pub fresh: Fresh,
    keepers: Vec<JoinHandle<()>>,
}

impl Sale {
    /// Starts the replicas, and opens the campaigns.
    pub async fn open(seed: u64, replicas: Vec<Replica>, conditions: Conditions) -> Self {
        let replicas: Vec<Arc<Replica>> = replicas.into_iter().map(Arc::new).collect();
        let keepers = replicas.iter().map(|one| Arc::clone(one).keep()).collect();
        wait_ready(&replicas).await;
        let base = replicas[0].base().unwrap();
        let offers = create_campaigns(&base).await;
        let managed = if conditions.has_staff {
            create_managed_campaigns(&base).await
        } else {
            Vec::new()
        };
        let (began, began_at) = (Instant::now(), Clock::System.now());
        Self {
            seed,
            replicas,
            offers,
            managed,
            conditions,
            began_at,
            ledger: Ledger::new(began),
            began,
            yeses: AtomicUsize::new(0),
            fresh: Fresh::new(),
            keepers,
        }
    }

    /// The campaign that cannot be sold out.
    pub fn endless(&self) -> Offer {
        let mut offers = self.offers.iter();
        *offers.find(|offer| offer.total.is_none()).unwrap()
    }

    /// The campaign whose units earn points, if there is one.
    pub fn points(&self) -> Option<i64> {
        let mut managed = self.managed.iter();
        let points = managed.find(|offer| offer.managed == Managed::Points)?;
        Some(points.id)
    }

    /// All campaigns.
    pub fn campaigns(&self) -> Vec<i64> {
        let managed = self.managed.iter().map(|offer| offer.id);
        self.offers
            .iter()
            .map(|offer| offer.id)
            .chain(managed)
            .collect()
    }

    /// The number of accepted participations.
    pub fn yeses(&self) -> usize {
        self.yeses.load(Ordering::SeqCst)
    }

    /// Waits for this number of accepted participations; whether they came within [`TRAFFIC_PATIENCE`].
    pub async fn reaches(&self, yeses: usize) -> bool {
        let began = Instant::now();
        while self.yeses() < yeses {
            if began.elapsed() > TRAFFIC_PATIENCE {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// The page of metrics of each replica.
    pub async fn metrics(&self) -> Vec<String> {
        let mut pages = Vec::new();
        for replica in &self.replicas {
            let page = reqwest::get(format!("{}/metrics", replica.base().unwrap()));
            pages.push(page.await.unwrap().text().await.unwrap());
        }
        pages
    }

    /// Ends the replicas.
    pub fn close(&self) {
        for keeper in &self.keepers {
            keeper.abort();
        }
        for replica in &self.replicas {
            replica.kill();
        }
    }
}

/// Campaigns with limited stock, with several units for a user, sold out early, and without end.
async fn create_campaigns(base: &str) -> Vec<Offer> {
    let wanted = [
        json!({ "name": "limited", "kind": "general", "totalStock": 170 }),
        json!({ "name": "several", "kind": "general", "totalStock": 150, "perUserLimit": 3, "maxQuantity": 2 }),
        json!({ "name": "small", "kind": "general", "totalStock": 25 }),
        json!({ "name": "endless", "kind": "general" }),
    ];
    let mut offers = Vec::new();
    for campaign in wanted {
        let made = create(base, &campaign).await;
        offers.push(Offer {
            id: made["id"].as_i64().unwrap(),
            total: made["totalStock"].as_u64(),
            max_quantity: made["maxQuantity"].as_u64().unwrap().try_into().unwrap(),
        });
    }
    offers
}

/// Campaigns that administrators change; the units of one earn points.
async fn create_managed_campaigns(base: &str) -> Vec<ManagedOffer> {
    let wanted = [
        (
            Managed::Stock,
            json!({ "name": "managed", "kind": "general", "totalStock": 25, "cancellable": true }),
        ),
        (
            Managed::Points,
            json!({ "name": "points", "kind": "points", "totalStock": 20, "cancellable": true,
                    "reward": { "points": 10 } }),
        ),
        (
            Managed::Listed,
            json!({ "name": "listed", "kind": "general", "totalStock": 25 }),
        ),
        (
            Managed::Ended,
            json!({ "name": "ended", "kind": "general", "totalStock": 60 }),
        ),
    ];
    let mut offers = Vec::new();
    for (managed, mut campaign) in wanted {
        campaign["perUserLimit"] = json!(LIMIT_MAX);
        let made = create(base, &campaign).await;
        offers.push(ManagedOffer {
            id: made["id"].as_i64().unwrap(),
            managed,
            total: made["totalStock"].as_u64().unwrap(),
        });
    }
    offers
}

async fn create(base: &str, campaign: &Value) -> Value {
    let made = reqwest::Client::new()
        .post(format!("{base}/api/admin/campaigns"))
        .bearer_auth(ADMIN_TOKEN)
        .json(campaign);
    let made = made.send().await.unwrap();
    assert_eq!(made.status(), 201);
    made.json().await.unwrap()
}

impl Site for Sale {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn replicas(&self) -> &[Arc<Replica>] {
        &self.replicas
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn began(&self) -> Instant {
        self.began
    }

    fn began_at(&self) -> DateTime<Utc> {
        self.began_at
    }

    fn managed_offers(&self) -> Vec<ManagedOffer> {
        self.managed.clone()
    }

    fn database(&self) -> Option<MySqlConnectOptions> {
        self.conditions.database.clone()
    }

    fn watched_database(&self) -> Option<MySqlConnectOptions> {
        let database = self.conditions.database.clone();
        database.filter(|_| !self.conditions.gate_fails_over)
    }

    fn has_true_clocks(&self) -> bool {
        self.conditions.has_true_clocks
    }
}
