//! Sums over existing events: of streams about participations, and counts of events about campaigns.

use std::collections::BTreeMap;

use sea_orm::QueryResult;

use super::sums::{RowSelection, campaign, count, within};
use super::{Segment, Snapshot, digest};
use crate::domain::{CampaignId, Topic};
use crate::parts::store::StoreError;

/// The sums of existing events of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSums {
    /// Events about participations.
    pub events: u64,
    /// The digest of their changes.
    pub digest: i64,
}

impl LogSums {
    /// The sums of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            digest: self.digest.wrapping_add(other.digest),
        }
    }
}

impl Snapshot {
    /// The sums of the streams of these campaigns, if they have events.
    pub async fn log_sums(
        &self,
        ids: &[CampaignId],
    ) -> Result<BTreeMap<CampaignId, LogSums>, StoreError> {
        self.sums_of_log(RowSelection::Whole(ids)).await
    }

    /// The sums of a part of a stream: `selection` counts sequences instead of ranks.
    pub async fn log_sums_in(&self, selection: RowSelection<'_>) -> Result<LogSums, StoreError> {
        let sums = self.sums_of_log(selection).await?;
        Ok(sums.into_values().fold(LogSums::default(), LogSums::with))
    }

    async fn sums_of_log(
        &self,
        selection: RowSelection<'_>,
    ) -> Result<BTreeMap<CampaignId, LogSums>, StoreError> {
        let mut sql = self.store.sql(
            "SELECT e.campaign_id, COUNT(*) AS events, CAST(COALESCE(SUM(CASE WHEN e.`rank` IS NOT NULL THEN ",
        );
        sql.push(digest::OF_EVENT)
            .push(" END), 0) AS SIGNED) AS digest FROM outbox_event e ");
        self.by(&mut sql, "PRIMARY")
            .push(" WHERE e.aggregatetype = 'participation' AND ");
        within(&mut sql, ("e", "sequence"), selection).push(" GROUP BY e.campaign_id");
        let rows = sql.rows(&self.tx).await?;
        rows.iter()
            .map(|row| Ok((campaign(row)?, log_sums(row)?)))
            .collect()
    }

    /// The number of events in the streams of these campaigns for a topic.
    pub async fn events_about(
        &self,
        topic: Topic,
        ids: &[CampaignId],
    ) -> Result<BTreeMap<CampaignId, u64>, StoreError> {
        let mut sql = self.store.sql(
            "SELECT e.campaign_id, COUNT(*) AS events FROM outbox_event e WHERE e.aggregatetype = ",
        );
        sql.bind(topic.as_str()).push(" AND ");
        within(&mut sql, ("e", "sequence"), RowSelection::Whole(ids))
            .push(" GROUP BY e.campaign_id");
        let rows = sql.rows(&self.tx).await?;
        rows.iter()
            .map(|row| Ok((campaign(row)?, count(row, "events")?)))
            .collect()
    }
}

fn log_sums(row: &QueryResult) -> Result<LogSums, StoreError> {
    Ok(LogSums {
        events: count(row, "events")?,
        digest: row.try_get("", "digest")?,
    })
}

/// The sums of a segment of a stream at its last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLogSums {
    /// The segment, of sequences.
    pub segment: Segment,
    /// The last included sequence.
    pub last: u64,
    /// The number of deleted events of the campaign at that time.
    pub purged_events: u64,
    /// Events about participations.
    pub events: u64,
    /// The digest of their changes.
    pub digest: i64,
}

impl StoredLogSums {
    /// Its sums.
    #[must_use]
    pub const fn sums(&self) -> LogSums {
        LogSums {
            events: self.events,
            digest: self.digest,
        }
    }
}
