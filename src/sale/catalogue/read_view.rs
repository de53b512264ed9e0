//! What those who look are shown, however many they are. A reading is shared by all who look within a tenth
//! of a second, unless something is committed here meanwhile: whoever takes part and then looks at the same
//! replica sees it, and another replica's sales a tenth of a second later.
//!
//! Of one thing there is one reading at a time. Those who come while it runs, and cannot use it because
//! something was committed after it began, share the next: what a rush of commits costs is bounded by how
//! long a reading takes, not by how many look.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::domain::{Campaign, CampaignId};
use crate::parts::store::{CampaignFilter, Store, StoreError};

/// How old a reading may be.
const AGE_MAX: Duration = Duration::from_millis(100);
/// Pages kept.
const PAGES_MAX: u64 = 256;
/// Counters of commits; campaigns that share one are read more often than they need be.
const COUNTERS: usize = 256;

#[derive(Clone)]
pub(super) struct Looks {
    campaigns: Cache<CampaignId, Arc<Shared<Option<Arc<Campaign>>>>>,
    pages: Cache<CampaignFilter, Arc<Shared<Arc<Vec<Campaign>>>>>,
    commits: Arc<Commits>,
}

struct Commits {
    by_campaign: [AtomicU64; COUNTERS],
    all: AtomicU64,
}

/// The latest reading of one thing.
struct Shared<V> {
    latest: Mutex<Option<Reading<V>>>,
    /// Held by whoever reads.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Reading<V> {
    began: Instant,
    /// Commits before it began.
    commits: u64,
    read: Result<V, Arc<StoreError>>,
}

impl Commits {
    fn of(&self, id: CampaignId) -> &AtomicU64 {
        let place = usize::try_from(id.0.unsigned_abs()).unwrap_or(0) % COUNTERS;
        self.by_campaign.get(place).unwrap_or(&self.all)
    }
}

impl Looks {
    pub(super) fn new(campaigns_max: u64) -> Self {
        let commits = Commits {
            by_campaign: std::array::from_fn(|_| AtomicU64::new(0)),
            all: AtomicU64::new(0),
        };
        Self {
            campaigns: Cache::new(campaigns_max),
            pages: Cache::new(PAGES_MAX),
            commits: Arc::new(commits),
        }
    }

    pub(super) fn moved(&self, id: CampaignId) {
        self.commits.of(id).fetch_add(1, Ordering::SeqCst);
        self.commits.all.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) async fn campaign(
        &self,
        store: &Store,
        id: CampaignId,
    ) -> Result<Option<Arc<Campaign>>, Arc<StoreError>> {
        let shared = shared(&self.campaigns, id);
        let read = async || Ok(store.campaign(id).await?.map(Arc::new));
        shared.look(self.commits.of(id), read).await
    }

    pub(super) async fn page(
        &self,
        store: &Store,
        filter: CampaignFilter,
    ) -> Result<Arc<Vec<Campaign>>, Arc<StoreError>> {
        let shared = shared(&self.pages, filter.clone());
        let read = async || Ok(Arc::new(store.campaigns(&filter).await?));
        shared.look(&self.commits.all, read).await
    }
}

fn shared<K, V>(cache: &Cache<K, Arc<Shared<V>>>, key: K) -> Arc<Shared<V>>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let empty = || {
        Arc::new(Shared {
            latest: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
        })
    };
    cache.get_with(key, empty)
}

impl<V: Clone> Shared<V> {
    async fn look(
        &self,
        commits: &AtomicU64,
        read: impl AsyncFnOnce() -> Result<V, StoreError>,
    ) -> Result<V, Arc<StoreError>> {
        let came = Instant::now();
        let seen = commits.load(Ordering::SeqCst);
        // Whatever began after somebody came is good enough for them, a failure included.
        let serves = |reading: &Reading<V>| {
            let is_fresh = reading.commits >= seen && reading.began.elapsed() < AGE_MAX;
            reading.began >= came || (is_fresh && reading.read.is_ok())
        };
        if let Some(reading) = self.latest().filter(serves) {
            return reading.read;
        }
        let _turn = self.turn.lock().await;
        if let Some(reading) = self.latest().filter(serves) {
            return reading.read;
        }
        let began = Instant::now();
        let commits = commits.load(Ordering::SeqCst);
        let read = Box::pin(read()).await.map_err(Arc::new);
        let reading = Reading {
            began,
            commits,
            read: read.clone(),
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
        read
    }

    fn latest(&self) -> Option<Reading<V>> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.clone()
    }
}
