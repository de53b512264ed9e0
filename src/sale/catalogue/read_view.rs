//! The read-through view of campaigns: a read is shared by all who ask within a tenth of a second, unless
//! something is committed here meanwhile. Whoever takes part and then reads from the same replica sees their
//! own participation, and another replica's commits a tenth of a second later.
//!
//! One read of a key runs at a time. Those who ask while it runs, and cannot use it because of a commit after
//! its start, share the next one: the cost of a rush is bounded by how long a read takes, not by how many ask.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::domain::{Campaign, CampaignId};
use crate::parts::store::{CampaignFilter, Store, StoreError};

/// How old a read may be.
const AGE_MAX: Duration = Duration::from_millis(100);
/// Pages cached.
const PAGES_MAX: u64 = 256;
/// Counters of commits; campaigns that share one are read more often than they need be.
const COUNTERS: usize = 256;

#[derive(Clone)]
pub(super) struct ReadView {
    campaigns: Cache<CampaignId, Arc<Shared<Option<Arc<Campaign>>>>>,
    pages: Cache<CampaignFilter, Arc<Shared<Arc<Vec<Campaign>>>>>,
    commits: Arc<Commits>,
}

struct Commits {
    by_campaign: [AtomicU64; COUNTERS],
    all: AtomicU64,
}

/// The latest read of one key.
struct Shared<V> {
    latest: Mutex<Option<Reading<V>>>,
    /// Held while a read runs.
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
        let slot = usize::try_from(id.0.unsigned_abs()).unwrap_or(0) % COUNTERS;
        self.by_campaign.get(slot).unwrap_or(&self.all)
    }
}

impl ReadView {
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

    pub(super) fn note_commit(&self, id: CampaignId) {
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
        shared.get(self.commits.of(id), read).await
    }

    pub(super) async fn page(
        &self,
        store: &Store,
        filter: CampaignFilter,
    ) -> Result<Arc<Vec<Campaign>>, Arc<StoreError>> {
        let shared = shared(&self.pages, filter.clone());
        let read = async || Ok(Arc::new(store.campaigns(&filter).await?));
        shared.get(&self.commits.all, read).await
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
    async fn get(
        &self,
        commits: &AtomicU64,
        read: impl AsyncFnOnce() -> Result<V, StoreError>,
    ) -> Result<V, Arc<StoreError>> {
        let asked_at = Instant::now();
        let seen = commits.load(Ordering::SeqCst);
        // A read that began after the question answers it, even if it failed.
        let serves = |reading: &Reading<V>| {
            let is_fresh = reading.commits >= seen && reading.began.elapsed() < AGE_MAX;
            reading.began >= asked_at || (is_fresh && reading.read.is_ok())
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
