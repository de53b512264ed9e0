//! Parked rows that are due, and dead letters whose copy is due.

use std::time::Duration;

use sea_orm::QueryResult;

use super::parked::{ParkedKey, ParkedState};
use super::places::Columns;
use super::{EVENT_COLUMNS, Without, bucket, event, reason};
use crate::domain::{EventId, Instant, OutboxEvent};
use crate::parts::store::shapes::padded;
use crate::parts::store::{Store, StoreError};

/// Parked rows whose time has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueRows {
    /// Oldest first.
    pub parked: Vec<Parked>,
    /// Rows whose event this release cannot read, and why.
    pub unreadable: Vec<(ParkedKey, String)>,
}

/// A parked row with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The event.
    pub event: OutboxEvent,
    /// Attempts charged so far.
    pub attempts: u32,
    /// Class of the last failure.
    pub error_class: String,
    /// The last failure.
    pub error: String,
}

/// The columns of a parked row and its event that determine its partition.
const PARKED_COLUMNS: Columns = Columns {
    stream: "e.aggregatetype",
    key_hash: "p.key_hash",
};

impl Store {
    /// Rows of `buckets` in `state` whose time has come, but for those that are not to be read, oldest first,
    /// at most `rows_max`.
    pub async fn parked_due(
        &self,
        state: ParkedState,
        buckets: &[u16],
        without: &Without,
        rows_max: u32,
    ) -> Result<DueRows, StoreError> {
        let mut sql = self.sql("SELECT ");
        sql.push(EVENT_COLUMNS)
            .push(", p.attempts, p.error_class, p.error, ");
        sql.push("p.bucket AS parked_bucket, p.message_key AS parked_key");
        sql.push(" FROM outbox_parked p JOIN outbox_event e ON e.id = p.event_id");
        sql.push(" WHERE p.state = ").bind(state.as_str());
        sql.push(" AND p.next_at <= ").now();
        sql.push(" AND p.bucket IN ").list(padded(buckets));
        without.condition(&mut sql, PARKED_COLUMNS);
        sql.push(" ORDER BY p.next_at LIMIT ").bind(rows_max);
        let mut due = DueRows::default();
        for row in sql.rows(&self.db).await? {
            match parked(&row) {
                Ok(parked) => due.parked.push(parked),
                Err(failure) => due.unreadable.push((parked_key(&row)?, reason(&failure))),
            }
        }
        Ok(due)
    }

    /// How long until the next row of `buckets` in `state` is due, but for those that are not to be read; none:
    /// none ever will be.
    pub async fn next_due(
        &self,
        state: ParkedState,
        buckets: &[u16],
        without: &Without,
    ) -> Result<Option<Duration>, StoreError> {
        let mut sql = self.sql("SELECT p.next_at, ");
        sql.now()
            .push(" AS now_at FROM outbox_parked p JOIN outbox_event e ON e.id = p.event_id");
        sql.push(" WHERE p.state = ").bind(state.as_str());
        sql.push(" AND p.next_at IS NOT NULL AND p.bucket IN ");
        sql.list(padded(buckets));
        without.condition(&mut sql, PARKED_COLUMNS);
        sql.push(" ORDER BY p.next_at LIMIT 1");
        let rows = sql.rows(&self.db).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let (next_at, now_at): (Instant, Instant) =
            (row.try_get("", "next_at")?, row.try_get("", "now_at")?);
        Ok(Some((next_at - now_at).to_std().unwrap_or_default()))
    }

    /// Notes that a dead row's copy is in the dead letter topic.
    pub async fn dead_letter_copied(&self, id: EventId) -> Result<bool, StoreError> {
        let mut sql = self.sql("UPDATE outbox_parked SET copied_at = ");
        sql.now().push(", next_at = NULL WHERE event_id = ");
        sql.bind(id.0).push(" AND state = 'dead'");
        Ok(sql.run(&self.db).await? == 1)
    }

    /// Puts off the copy of a dead row.
    pub async fn put_off_copy(&self, id: EventId, delay: Duration) -> Result<bool, StoreError> {
        let mut sql = self.sql("UPDATE outbox_parked SET next_at = ");
        sql.after(delay).push(" WHERE event_id = ");
        sql.bind(id.0)
            .push(" AND state = 'dead' AND copied_at IS NULL");
        Ok(sql.run(&self.db).await? == 1)
    }
}

fn parked_key(row: &QueryResult) -> Result<ParkedKey, StoreError> {
    Ok(ParkedKey {
        id: EventId(row.try_get("", "id")?),
        bucket: bucket(row, "parked_bucket")?,
        key: row.try_get::<String>("", "parked_key")?.into(),
    })
}

fn parked(row: &QueryResult) -> Result<Parked, StoreError> {
    let attempts: i64 = row.try_get("", "attempts")?;
    Ok(Parked {
        event: event(row)?,
        attempts: u32::try_from(attempts).unwrap_or_default(),
        error_class: row.try_get("", "error_class")?,
        error: row.try_get("", "error")?,
    })
}
