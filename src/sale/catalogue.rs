//! The catalogue: a bounded local cache of campaigns, so that a rush does not load the database. One caller fetches a
//! missing campaign, and the others wait. Entries have a maximum age; the gate and the store decide.

mod changed_campaigns;
mod read_view;
mod replicas;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::mpsc;

use self::changed_campaigns::ChangedCampaigns;
use self::read_view::ReadView;
pub use self::replicas::share;
use crate::domain::{Campaign, CampaignId};
use crate::parts::store::{CampaignFilter, Store, StoreError};

/// The bounds of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueConfig {
    /// Campaigns kept.
    pub campaigns_max: u64,
    /// Maximum age of an entry.
    pub age_max: Duration,
}

impl Default for CatalogueConfig {
    fn default() -> Self {
        Self {
            campaigns_max: 10_000,
            age_max: Duration::from_secs(1),
        }
    }
}

/// Cached campaigns.
#[derive(Clone)]
pub struct Catalogue {
    store: Store,
    campaigns: Cache<CampaignId, Option<Arc<Campaign>>>,
    sold_out: Cache<CampaignId, ()>,
    read_view: ReadView,
    changed: Arc<ChangedCampaigns>,
    /// Campaigns changed here, to notify the other replicas; bounded.
    replicas: Option<mpsc::Sender<CampaignId>>,
}

impl Catalogue {
    /// An empty catalogue over the store.
    #[must_use]
    pub fn new(store: Store, config: CatalogueConfig) -> Self {
        let (campaigns_max, age_max) = (config.campaigns_max, config.age_max);
        Self {
            store,
            campaigns: cache(campaigns_max, age_max),
            sold_out: cache(campaigns_max, age_max),
            read_view: ReadView::new(campaigns_max),
            changed: Arc::default(),
            replicas: None,
        }
    }

    /// One campaign, not older than the bound. A missing campaign is cached, too.
    pub async fn get(&self, id: CampaignId) -> Result<Option<Arc<Campaign>>, Arc<StoreError>> {
        if let Some(known) = self.campaigns.get(&id).await {
            return Ok(known);
        }
        // The future of a read is large: it is made, on the heap, only for a miss.
        let read = async { Ok(self.store.campaign(id).await?.map(Arc::new)) };
        Box::pin(self.campaigns.try_get_with(id, read)).await
    }

    /// A campaign with its remaining units, for reads: at most a tenth of a second old, and not older than the
    /// last commit here.
    pub async fn view(&self, id: CampaignId) -> Result<Option<Arc<Campaign>>, Arc<StoreError>> {
        self.read_view.campaign(&self.store, id).await
    }

    /// A page of campaigns, as fresh as [`Catalogue::view`].
    pub async fn page(
        &self,
        filter: CampaignFilter,
    ) -> Result<Arc<Vec<Campaign>>, Arc<StoreError>> {
        self.read_view.page(&self.store, filter).await
    }

    /// Units of a campaign were committed or returned here: views read before are outdated.
    pub fn note_commit(&self, id: CampaignId) {
        self.read_view.note_commit(id);
    }

    /// Caches for a while that the gate has no units left.
    pub async fn mark_sold_out(&self, id: CampaignId) {
        self.sold_out.insert(id, ()).await;
    }

    /// Whether the gate had no units left a moment ago.
    #[must_use]
    pub fn is_sold_out(&self, id: CampaignId) -> bool {
        self.sold_out.contains_key(&id)
    }

    /// Drops a changed campaign, here and in the other replicas.
    pub async fn invalidate(&self, id: CampaignId) {
        self.invalidate_here(id).await;
        if let Some(replicas) = &self.replicas {
            // Without room, the others drop their copies by age.
            replicas.try_send(id).ok();
        }
    }

    /// Drops a changed campaign in this replica.
    pub async fn invalidate_here(&self, id: CampaignId) {
        self.campaigns.invalidate(&id).await;
        self.sold_out.invalidate(&id).await;
        self.read_view.note_commit(id);
        self.changed.add(id);
    }

    /// Waits for changed campaigns, of this or another replica, and takes them. For one task: each change is returned
    /// once.
    pub async fn take_changed(&self) -> HashSet<CampaignId> {
        self.changed.take().await
    }
}

fn cache<V: Clone + Send + Sync + 'static>(
    entries_max: u64,
    age_max: Duration,
) -> Cache<CampaignId, V> {
    Cache::builder()
        .max_capacity(entries_max)
        .time_to_live(age_max)
        .build()
}
