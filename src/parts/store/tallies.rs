//! Rejections, counted per campaign and reason, per minute and in total. There is no row for a single rejection.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::entity::rejection_total::{Column, Entity};
use super::entity::{by_index, insert_rows, rejection_tally};
use super::numbers::{to_signed, to_unsigned};
use super::{Store, StoreError};
use crate::domain::{CampaignId, Timestamp};

/// Rejections of one campaign for one reason within one minute, to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TallyRow {
    /// The campaign.
    pub campaign: CampaignId,
    /// Start of the minute.
    pub minute: Timestamp,
    /// Code of the rejection.
    pub reason: &'static str,
    /// The number.
    pub count: u64,
}

/// Rejections of a campaign for one reason within one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinuteTally {
    /// Start of the minute.
    pub minute: Timestamp,
    /// Code of the rejection.
    pub reason: String,
    /// The number.
    pub count: u64,
}

impl Store {
    /// The rejections of a campaign in the minutes that begin in this period, in order of minute and reason. Each row
    /// that is read is returned: at most one for each minute and reason.
    pub async fn refusals_by_minute(
        &self,
        campaign: CampaignId,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<Vec<MinuteTally>, StoreError> {
        use rejection_tally::{Column, Entity};
        let mut rows = Entity::find()
            .filter(Column::CampaignId.eq(campaign.0))
            .filter(Column::Minute.gte(from))
            .filter(Column::Minute.lt(until))
            .order_by_asc(Column::Minute)
            .order_by_asc(Column::Reason);
        by_index(&mut rows, "PRIMARY");
        let rows = rows.all(&self.db).await?;
        let tally = |row: rejection_tally::Model| MinuteTally {
            minute: row.minute,
            reason: row.reason,
            count: to_unsigned(row.count),
        };
        Ok(rows.into_iter().map(tally).collect())
    }

    /// Adds to the tallies and to their totals, in two statements for any number of rows.
    pub async fn add_tallies(&self, rows: &[TallyRow]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        // In order of the key, so that concurrent callers cannot deadlock.
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

    /// All rejections of a campaign by reason, from one row for each reason.
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
