//! The catalogue: a bounded local copy of campaigns, so that a rush costs the database nothing. When
//! a campaign is missing one caller fetches it and the rest wait. What it says may be as old as its
//! bound; the gate and the store decide.

mod changed;
mod looks;
mod others;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::mpsc;

use self::changed::Changed;
use self::looks::Looks;
pub use self::others::share;

use crate::domain::{Campaign, CampaignId};
use crate::parts::store::{CampaignFilter, Store, StoreError};

/// The bounds of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueConfig {
    /// Campaigns kept.
    pub campaigns_max: u64,
    /// How old an entry may become.
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

/// Campaigns at hand.
#[derive(Clone)]
pub struct Catalogue {
    store: Store,
    campaigns: Cache<CampaignId, Option<Arc<Campaign>>>,
    sold_out: Cache<CampaignId, ()>,
    looks: Looks,
    changed: Arc<Changed>,
    /// Tells other replicas of what was changed here; it may be full.
    others: Option<mpsc::Sender<CampaignId>>,
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
            looks: Looks::new(campaigns_max),
            changed: Arc::default(),
            others: None,
        }
    }

    /// One campaign, not older than the bound. That there is none is remembered too.
    pub async fn get(&self, id: CampaignId) -> Result<Option<Arc<Campaign>>, Arc<StoreError>> {
        if let Some(known) = self.campaigns.get(&id).await {
            return Ok(known);
        }
        // The future of a reading is large: it is made, on the heap, only where nothing is found.
        let read = async { Ok(self.store.campaign(id).await?.map(Arc::new)) };
        Box::pin(self.campaigns.try_get_with(id, read)).await
    }

    /// A campaign as it is shown, with what is left of it: a tenth of a second old at most, and not older
    /// than what was committed here.
    pub async fn look(&self, id: CampaignId) -> Result<Option<Arc<Campaign>>, Arc<StoreError>> {
        self.looks.campaign(&self.store, id).await
    }

    /// A page of campaigns, as fresh as [`Catalogue::look`].
    pub async fn page(
        &self,
        filter: CampaignFilter,
    ) -> Result<Arc<Vec<Campaign>>, Arc<StoreError>> {
        self.looks.page(&self.store, filter).await
    }

    /// Units of a campaign were committed, or returned, here.
    pub fn moved(&self, id: CampaignId) {
        self.looks.moved(id);
    }

    /// Remembers for a while that the gate had nothing left.
    pub async fn mark_sold_out(&self, id: CampaignId) {
        self.sold_out.insert(id, ()).await;
    }

    /// Whether the gate had nothing left a moment ago.
    #[must_use]
    pub fn is_sold_out(&self, id: CampaignId) -> bool {
        self.sold_out.contains_key(&id)
    }

    /// Forgets a campaign that was changed, here and in the other replicas.
    pub async fn changed(&self, id: CampaignId) {
        self.forget(id).await;
        if let Some(others) = &self.others {
            // With so many waiting, the bound on age does the rest.
            others.try_send(id).ok();
        }
    }

    /// Forgets a campaign that was changed.
    pub async fn forget(&self, id: CampaignId) {
        self.campaigns.invalidate(&id).await;
        self.sold_out.invalidate(&id).await;
        self.looks.moved(id);
        self.changed.note(id);
    }

    /// Waits for campaigns that were changed, here or on another replica, and takes them. For one task: what
    /// one takes another does not get.
    pub async fn changed_lately(&self) -> HashSet<CampaignId> {
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
