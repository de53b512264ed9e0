//! The reward that a consumer grants in a campaign.

use std::sync::Arc;

use super::poison::{Flaw, Poison};
use super::worker::{Revoked, Worker};
use crate::domain::{CampaignId, Consumer, Reward};
use crate::parts::broker::kafka::OwnedPartition;
use crate::parts::store::StoreError;

impl Worker {
    /// The reward that this consumer grants in a campaign.
    pub(super) async fn terms(
        &self,
        owned: &OwnedPartition,
        campaign: CampaignId,
    ) -> Result<Result<Option<Reward>, Poison>, Revoked> {
        let unreadable = |failure: &Arc<StoreError>, _| {
            matches!(failure.as_ref(), StoreError::Unreadable { .. })
        };
        let reward = self.retry(owned, "read a campaign", unreadable, || {
            self.reward_of(campaign)
        });
        Ok(rewarded_by(self.consumer, campaign, reward.await?))
    }

    /// The reward of a campaign; the outer none: there is no such campaign. The catalogue may still cache a new campaign
    /// as missing, so the store is read as well.
    #[allow(
        clippy::option_option,
        reason = "no campaign and no reward are different results"
    )]
    pub(super) async fn reward_of(
        &self,
        campaign: CampaignId,
    ) -> Result<Option<Option<Reward>>, Arc<StoreError>> {
        if let Some(found) = self.parts.catalogue.get(campaign).await? {
            return Ok(Some(found.reward.clone()));
        }
        let found = self.parts.store.campaign(campaign).await;
        Ok(found.map_err(Arc::new)?.map(|found| found.reward))
    }
}

/// The reward that a consumer grants, by the campaign's reward that [`Worker::reward_of`] has read.
#[allow(
    clippy::option_option,
    reason = "no campaign and no reward are different results"
)]
pub(super) fn rewarded_by(
    consumer: Consumer,
    campaign: CampaignId,
    found: Result<Option<Option<Reward>>, Arc<StoreError>>,
) -> Result<Option<Reward>, Poison> {
    let poison = |text: String| Poison::new(Flaw::Campaign, text);
    match found {
        Ok(Some(reward)) => Ok(reward.filter(|reward| consumer.grants(reward))),
        Ok(None) => Err(poison(format!("there is no campaign {campaign}"))),
        Err(failure) => Err(poison(format!("campaign {campaign}: {failure}"))),
    }
}
