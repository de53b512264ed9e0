//! A sale: the replicas of the service, the campaigns that they serve, and the responses to their clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::Fresh;
use crate::ledger::Ledger;
use crate::replica::{ADMIN_TOKEN, Replica};
use crate::replicas::wait_ready;

/// Longest wait for accepted participations while they are possible, and for their events.
pub const TRAFFIC_PATIENCE: Duration = Duration::from_secs(120);

/// A campaign of the run.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub id: i64,
    pub total: Option<u64>,
    pub max_quantity: u32,
}

pub struct Sale {
    /// Chooses the requests of the clients.
    pub seed: u64,
    pub replicas: Vec<Arc<Replica>>,
    pub offers: Vec<Offer>,
    pub ledger: Ledger,
    /// When the run began: the responses count from here.
    pub began: Instant,
    /// Accepted participations.
    pub(super) yeses: AtomicUsize,
    /// Users without earlier requests.
    pub fresh: Fresh,
    keepers: Vec<JoinHandle<()>>,
}

impl Sale {
    /// Starts the replicas, and opens the campaigns.
    pub async fn open(seed: u64, replicas: Vec<Replica>) -> Self {
        let replicas: Vec<Arc<Replica>> = replicas.into_iter().map(Arc::new).collect();
        let keepers = replicas.iter().map(|one| Arc::clone(one).keep()).collect();
        wait_ready(&replicas).await;
        let offers = create_campaigns(&replicas[0].base().unwrap()).await;
        let began = Instant::now();
        Self {
            seed,
            replicas,
            offers,
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
    let client = reqwest::Client::new();
    let mut offers = Vec::new();
    for campaign in wanted {
        let made = client
            .post(format!("{base}/api/admin/campaigns"))
            .bearer_auth(ADMIN_TOKEN)
            .json(&campaign);
        let made = made.send().await.unwrap();
        assert_eq!(made.status(), 201);
        let made: Value = made.json().await.unwrap();
        offers.push(Offer {
            id: made["id"].as_i64().unwrap(),
            total: made["totalStock"].as_u64(),
            max_quantity: made["maxQuantity"].as_u64().unwrap().try_into().unwrap(),
        });
    }
    offers
}
