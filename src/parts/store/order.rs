//! The changes of a campaign's participations in order of arrival, each with its event, whose place in the stream is
//! the order of processing.

use super::numbers::{to_signed, to_unsigned};
use super::{Store, StoreError};
use crate::domain::{CampaignId, EventId};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Place in line of the participation, given by the gate.
    pub rank: u64,
    /// Position among the changes of the participation, from 1.
    pub sequence: u32,
    /// Number of its event in the campaign's stream: events are in the order of commits.
    pub position: u64,
    /// Its event.
    pub event: EventId,
}

impl Store {
    /// Changes of participations from a rank on, in order of rank and sequence. The stream is in another order, so
    /// this reads all of it: ask for many rows at once.
    pub async fn changes_by_rank(
        &self,
        campaign: CampaignId,
        from_rank: u64,
        rows_max: u32,
    ) -> Result<Vec<Ordered>, StoreError> {
        let mut sql =
            self.sql("SELECT e.`rank`, e.key_sequence, e.sequence, e.id FROM outbox_event e");
        sql.push(" WHERE e.campaign_id = ").bind(campaign.0);
        sql.push(" AND e.`rank` >= ").bind(to_signed(from_rank));
        sql.push(" ORDER BY e.`rank`, e.key_sequence LIMIT ");
        let rows = sql.bind(rows_max).rows(&self.db).await?;
        rows.iter()
            .map(|row| {
                let sequence: i32 = row.try_get_by_index(1)?;
                Ok(Ordered {
                    rank: to_unsigned(row.try_get_by_index(0)?),
                    sequence: sequence.unsigned_abs(),
                    position: to_unsigned(row.try_get_by_index(2)?),
                    event: EventId(row.try_get_by_index(3)?),
                })
            })
            .collect()
    }

    /// Number of published events of a campaign that are deleted; their order is unknown.
    pub async fn purged_count(&self, campaign: CampaignId) -> Result<u64, StoreError> {
        let mut sql = self.sql("SELECT purged_events FROM campaign WHERE id = ");
        let rows = sql.bind(campaign.0).rows(&self.db).await?;
        Ok(match rows.first() {
            Some(row) => to_unsigned(row.try_get("", "purged_events")?),
            None => 0,
        })
    }
}
