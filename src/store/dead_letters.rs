//! Dead letters: rows the relay has given up. They stay until somebody replays or discards them.

use sea_orm::QueryResult;
use uuid::Uuid;

use super::outbox::{PEND_PARKED, Sql};
use super::{Store, StoreError};
use crate::domain::{CampaignId, EventId, Instant};

/// Which dead letters are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// This one alone.
    pub event_id: Option<EventId>,
    /// Of this campaign.
    pub campaign_id: Option<CampaignId>,
    /// With this key.
    pub key: Option<String>,
    /// Parked at this time or later.
    pub from: Option<Instant>,
    /// Parked before this time.
    pub until: Option<Instant>,
    /// After this one: the last of the page before.
    pub after: Option<EventId>,
}

/// A row the relay has given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event.
    pub event_id: EventId,
    /// The campaign it belongs to.
    pub campaign_id: CampaignId,
    /// Key of the record.
    pub key: String,
    /// `ce_type` of the record.
    pub event_type: String,
    /// Value of the record.
    pub payload: String,
    /// Attempts made.
    pub attempts: u32,
    /// Class of the last failure.
    pub error_class: String,
    /// The last failure.
    pub error: String,
    /// When it was parked.
    pub parked_at: Instant,
    /// When its copy reached the dead letter topic.
    pub copied_at: Option<Instant>,
}

/// One whose event is missing is listed, too: that is what there is to be seen.
const COLUMNS: &str = "SELECT p.event_id, p.campaign_id, p.message_key, \
     COALESCE(e.type, '') AS type, COALESCE(e.payload, '') AS payload, \
     p.attempts, p.error_class, p.error, p.parked_at, p.copied_at \
     FROM outbox_parked p LEFT JOIN outbox_event e ON e.id = p.event_id WHERE p.state = 'dead'";

impl Store {
    /// Dead letters in order of event, at most `rows_max`.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        rows_max: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut sql = Sql::new(self, COLUMNS);
        if let Some(event) = filter.event_id {
            sql.push(" AND p.event_id = ").bind(event.0);
        }
        if let Some(campaign) = filter.campaign_id {
            sql.push(" AND p.campaign_id = ").bind(campaign.0);
        }
        if let Some(key) = &filter.key {
            sql.push(" AND p.message_key = ").bind(key.as_str());
        }
        if let Some(from) = filter.from {
            sql.push(" AND p.parked_at >= ").bind(from);
        }
        if let Some(until) = filter.until {
            sql.push(" AND p.parked_at < ").bind(until);
        }
        if let Some(after) = filter.after {
            sql.push(" AND p.event_id > ").bind(after.0);
        }
        sql.push(" ORDER BY p.event_id LIMIT ").bind(rows_max);
        let rows = sql.rows(self.connection()).await?;
        rows.iter().map(dead_letter).collect()
    }

    /// One dead letter.
    pub async fn dead_letter(&self, id: EventId) -> Result<Option<DeadLetter>, StoreError> {
        let mut sql = Sql::new(self, COLUMNS);
        sql.push(" AND p.event_id = ").bind(id.0);
        let rows = sql.rows(self.connection()).await?;
        rows.first().map(dead_letter).transpose()
    }

    /// Makes dead letters pending again: how many there were. The ids are the caller's batch, so the
    /// rate is too.
    pub async fn replay_dead_letters(&self, ids: &[EventId]) -> Result<u64, StoreError> {
        let transaction = self.begin().await?;
        let mut sql = Sql::new(self, PEND_PARKED);
        sql.push(" WHERE p.state = 'dead' AND p.event_id IN ");
        let moved = sql
            .list(ids.iter().map(|id| id.0))
            .run(&transaction)
            .await?;
        let mut sql = Sql::new(self, "DELETE FROM outbox_parked WHERE state = 'dead'");
        sql.push(" AND event_id IN ")
            .list(ids.iter().map(|id| id.0));
        let deleted = sql.run(&transaction).await?;
        if moved != deleted {
            // Somebody else moved one in between: theirs stands, ours is tried again by the caller.
            transaction.rollback().await?;
            return Ok(0);
        }
        transaction.commit().await?;
        Ok(moved)
    }

    /// Throws dead letters away: how many there were. Their rows stay, as the record of it: nothing
    /// leaves the outbox by another door.
    pub async fn discard_dead_letters(&self, ids: &[EventId]) -> Result<u64, StoreError> {
        let mut sql = Sql::new(
            self,
            "UPDATE outbox_parked SET state = 'discarded', next_at = NULL",
        );
        sql.push(" WHERE state = 'dead' AND event_id IN ")
            .list(ids.iter().map(|id| id.0));
        sql.run(self.connection()).await
    }
}

fn dead_letter(row: &QueryResult) -> Result<DeadLetter, StoreError> {
    let attempts: i64 = row.try_get("", "attempts")?;
    Ok(DeadLetter {
        event_id: EventId(row.try_get::<Uuid>("", "event_id")?),
        campaign_id: CampaignId(row.try_get("", "campaign_id")?),
        key: row.try_get("", "message_key")?,
        event_type: row.try_get("", "type")?,
        payload: row.try_get("", "payload")?,
        attempts: u32::try_from(attempts).unwrap_or_default(),
        error_class: row.try_get("", "error_class")?,
        error: row.try_get("", "error")?,
        parked_at: row.try_get("", "parked_at")?,
        copied_at: row.try_get("", "copied_at")?,
    })
}
