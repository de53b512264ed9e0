//! Refusals, counted per campaign and reason, by the minute and over all time. A refusal is never a row of
//! its own.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::entity::rejection_total::{Column, Entity};
use super::entity::{insert_rows, rejection_tally};
use super::numbers::{to_signed, to_unsigned};
use super::{Store, StoreError};
use crate::domain::{CampaignId, Timestamp};

/// So many refusals of one campaign for one reason within one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TallyRow {
    /// Which campaign.
    pub campaign: CampaignId,
    /// Start of the minute.
    pub minute: Timestamp,
    /// Code of the refusal.
    pub reason: &'static str,
    /// How many more.
    pub count: u64,
}

impl Store {
    /// Adds to the tallies and to their totals; two statements however many rows.
    pub async fn add_tallies(&self, rows: &[TallyRow]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        // In order of key, so that concurrent callers cannot deadlock.
        let mut minutes: BTreeMap<(i64, Timestamp, &str), u64> = BTreeMap::new();
        let mut totals: BTreeMap<(i64, &str), u64> = BTreeMap::new();
        for row in rows {
            let campaign = row.campaign.0;
            *minutes
                .entry((campaign, row.minute, row.reason))
                .or_default() += row.count;
            *totals.entry((campaign, row.reason)).or_default() += row.count;
        }
        let minutes = minutes
            .into_iter()
            .map(|((campaign, minute, reason), count)| {
                use rejection_tally::Column;
                [
                    (Column::CampaignId, campaign.into()),
                    (Column::Minute, minute.into()),
                    (Column::Reason, reason.into()),
                    (Column::Count, to_signed(count).into()),
                ]
            });
        let totals = totals.into_iter().map(|((campaign, reason), count)| {
            [
                (Column::CampaignId, campaign.into()),
                (Column::Reason, reason.into()),
                (Column::Count, to_signed(count).into()),
            ]
        });
        let mut minutes = insert_rows::<rejection_tally::Entity, _>(minutes);
        minutes.on_conflict(self.or_add::<rejection_tally::Entity>());
        let mut totals = insert_rows::<Entity, _>(totals);
        totals.on_conflict(self.or_add::<Entity>());
        let tx = self.begin().await?;
        tx.execute(&minutes).await?;
        tx.execute(&totals).await?;
        Ok(tx.commit().await?)
    }

    /// All refusals of a campaign by reason: as many rows as there are reasons.
    pub async fn refusals(
        &self,
        campaign: CampaignId,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = Entity::find().filter(Column::CampaignId.eq(campaign.0));
        let rows = rows.all(&self.db).await?;
        let refusals = rows
            .into_iter()
            .map(|row| (row.reason, to_unsigned(row.count)));
        Ok(refusals.collect())
    }
}
