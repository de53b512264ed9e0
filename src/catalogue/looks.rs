//! What those who look are shown, however many they are: read once for all of them, and again when it is a
//! tenth of a second old or when something was committed here. So whoever takes part and then looks at
//! the same replica sees it; another replica's sales are seen a tenth of a second later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;

use super::{at_hand, cache};
use crate::domain::{Campaign, CampaignId};
use crate::store::{CampaignFilter, Store, StoreError};

/// How old a look may be.
const AGE_MAX: Duration = Duration::from_millis(100);
/// Pages kept.
const PAGES_MAX: u64 = 256;
/// Counters of commits; campaigns that share one are read more often than they need be.
const COUNTERS: usize = 256;

/// A look is kept under the number of commits before it was read: one that was being read during a
/// commit is found by nobody who comes after it.
#[derive(Clone)]
pub(super) struct Looks {
    campaigns: Cache<(CampaignId, u64), Option<Arc<Campaign>>>,
    pages: Cache<(CampaignFilter, u64), Arc<Vec<Campaign>>>,
    commits: Arc<Commits>,
}

struct Commits {
    by_campaign: [AtomicU64; COUNTERS],
    all: AtomicU64,
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
            campaigns: cache(campaigns_max, AGE_MAX),
            pages: cache(PAGES_MAX, AGE_MAX),
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
        let key = (id, self.commits.of(id).load(Ordering::SeqCst));
        let read = async || Ok(store.campaign(id).await?.map(Arc::new));
        at_hand(&self.campaigns, &key, read).await
    }

    pub(super) async fn page(
        &self,
        store: &Store,
        filter: CampaignFilter,
    ) -> Result<Arc<Vec<Campaign>>, Arc<StoreError>> {
        let key = (filter, self.commits.all.load(Ordering::SeqCst));
        let read = async || Ok(Arc::new(store.campaigns(&key.0).await?));
        at_hand(&self.pages, &key, read).await
    }
}
