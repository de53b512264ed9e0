//! The changes of a campaign's participations in the order in which they arrived, each with the event
//! that tells in which order they were processed.

use super::campaigns::{to_signed, to_unsigned};
use super::outbox::Sql;
use super::{Store, StoreError};
use crate::domain::{CampaignId, EventId};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Place in line of the participation, given by the gate.
    pub rank: u64,
    /// Position among the changes of the participation, from 1.
    pub sequence: u32,
    /// Its event; events are in the order in which they were made.
    pub event: EventId,
}

impl Store {
    /// Changes of participations from a rank on, in order of rank and sequence, from the index alone.
    pub async fn changes_by_rank(
        &self,
        campaign: CampaignId,
        from_rank: u64,
        rows_max: u32,
    ) -> Result<Vec<Ordered>, StoreError> {
        let table = self.db.by_index("outbox_event", "event_change");
        let mut sql = Sql::new(self, "SELECT `rank`, key_sequence, id FROM ");
        sql.push(&table)
            .push(" WHERE campaign_id = ")
            .bind(campaign.0);
        sql.push(" AND `rank` >= ").bind(to_signed(from_rank));
        sql.push(" ORDER BY campaign_id, `rank`, key_sequence LIMIT ");
        let rows = sql.bind(rows_max).rows(self.connection()).await?;
        rows.iter()
            .map(|row| {
                let sequence: i64 = row.try_get("", "key_sequence")?;
                Ok(Ordered {
                    rank: to_unsigned(row.try_get("", "rank")?),
                    sequence: u32::try_from(sequence).unwrap_or_default(),
                    event: EventId(row.try_get("", "id")?),
                })
            })
            .collect()
    }

    /// Published events of a campaign that are deleted: their order is not known any more.
    pub async fn purged_count(&self, campaign: CampaignId) -> Result<u64, StoreError> {
        let mut sql = Sql::new(self, "SELECT purged_events FROM campaign WHERE id = ");
        let rows = sql.bind(campaign.0).rows(self.connection()).await?;
        Ok(match rows.first() {
            Some(row) => to_unsigned(row.try_get("", "purged_events")?),
            None => 0,
        })
    }
}
