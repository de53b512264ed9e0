//! The read-through view of campaigns: callers within a tenth of a second share a read, unless units are committed here
//! meanwhile. A user who participates and then reads from the same replica sees their own participation, and another
//! replica's commits a tenth of a second later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::{Campaign, CampaignId};
use crate::parts::store::{CampaignFilter, Store, StoreError};
use crate::runtime::cache::ReadThrough;

/// How old a read may be.
const AGE_MAX: Duration = Duration::from_millis(100);
/// Pages cached.
const PAGES_MAX: u64 = 256;
/// Counters of commits; campaigns that share one are read more often than necessary.
const COUNTERS: usize = 256;

#[derive(Clone)]
pub(super) struct ReadView {
    campaigns: ReadThrough<CampaignId, Option<Arc<Campaign>>, StoreError>,
    pages: ReadThrough<CampaignFilter, Arc<Vec<Campaign>>, StoreError>,
    commits: Arc<Commits>,
}

struct Commits {
    by_campaign: [AtomicU64; COUNTERS],
    all: AtomicU64,
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
            campaigns: ReadThrough::new(campaigns_max, AGE_MAX..=AGE_MAX),
            pages: ReadThrough::new(PAGES_MAX, AGE_MAX..=AGE_MAX),
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
        let commits = || self.commits.of(id).load(Ordering::SeqCst);
        let read = || async { Ok(store.campaign(id).await?.map(Arc::new)) };
        self.campaigns.get_version(id, commits, read).await
    }

    pub(super) async fn page(
        &self,
        store: &Store,
        filter: CampaignFilter,
    ) -> Result<Arc<Vec<Campaign>>, Arc<StoreError>> {
        let commits = || self.commits.all.load(Ordering::SeqCst);
        let read = || async { Ok(Arc::new(store.campaigns(&filter).await?)) };
        self.pages.get_version(filter.clone(), commits, read).await
    }
}
