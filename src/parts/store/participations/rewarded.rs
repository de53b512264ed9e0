//! Participations whose reward was granted: marked after the grant, in the events' database.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::domain::{CampaignId, ParticipationId, Timestamp};
use crate::parts::store::entity::participation::{Column, Entity};
use crate::parts::store::entity::{by_index, rewarded_tally};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Marks those of these participations that are not marked yet as rewarded, and counts them for their campaigns.
    /// Returns the number of newly marked ones.
    pub async fn mark_rewarded(&self, ids: &[ParticipationId]) -> Result<u64, StoreError> {
        let mut ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(0);
        }
        let tx = self.begin().await?;
        // Locked until they are marked, so that each is counted once.
        let mut unmarked = Entity::find()
            .select_only()
            .columns([Column::Id, Column::CampaignId])
            .filter(Column::RewardedAt.is_null())
            .filter(Column::Id.is_in(padded(&ids)))
            .lock_exclusive();
        by_index(&mut unmarked, "participation_id");
        let mut marked = Vec::new();
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        for (id, campaign) in unmarked.into_tuple::<(Uuid, i64)>().all(&tx).await? {
            marked.push(id);
            *counts.entry(campaign).or_default() += 1;
        }
        if marked.is_empty() {
            tx.rollback().await?;
            return Ok(0);
        }
        let mut mark = self.sql("UPDATE ");
        mark.push(&self.db.by_index("participation", "participation_id"));
        mark.push(" SET rewarded_at = ");
        mark.now();
        mark.push(" WHERE id IN ").list(padded(&marked));
        let affected = mark.run(&tx).await?;
        if to_signed(affected) != i64::try_from(marked.len()).unwrap_or(i64::MAX) {
            tx.rollback().await?;
            return Err(StoreError::unreadable(
                "the number of participations marked",
                affected,
            ));
        }
        let mut tally = self.sql("INSERT INTO rewarded_tally (campaign_id, count) VALUES ");
        tally.rows_of(counts.iter().map(|(campaign, count)| {
            let count = to_signed(*count);
            [(*campaign).into(), count.into()]
        }));
        tally.or_add::<rewarded_tally::Entity>().run(&tx).await?;
        tx.commit().await?;
        Ok(affected)
    }

    /// The number of marked participations of a campaign, from one row.
    pub async fn rewarded_count(&self, campaign: CampaignId) -> Result<u64, StoreError> {
        let row = rewarded_tally::Entity::find_by_id(campaign.0).one(&self.db);
        Ok(row.await?.map_or(0, |row| to_unsigned(row.count)))
    }

    /// The same for all campaigns that have marked participations.
    pub async fn rewarded_counts(&self) -> Result<BTreeMap<CampaignId, u64>, StoreError> {
        let rows = rewarded_tally::Entity::find().all(&self.db).await?;
        let counts = rows.into_iter();
        let counts = counts.map(|row| (CampaignId(row.campaign_id), to_unsigned(row.count)));
        Ok(counts.collect())
    }

    /// When these participations were marked; unmarked ones are missing.
    pub async fn rewarded_at(
        &self,
        ids: &[ParticipationId],
    ) -> Result<HashMap<ParticipationId, Timestamp>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let found: Vec<(Uuid, Timestamp)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::RewardedAt])
            .filter(Column::Id.is_in(padded(ids).map(|id| id.0)))
            .filter(Column::RewardedAt.is_not_null())
            .into_tuple()
            .all(&self.db)
            .await?;
        let found = found.into_iter().map(|(id, at)| (ParticipationId(id), at));
        Ok(found.collect())
    }
}
