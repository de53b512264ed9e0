//! Rows that wait outside the hot path: to be tried again, behind another of their key, or for good.
//! Each move between `outbox_pending` and `outbox_parked` is one transaction.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::QueryResult;

use super::places::Columns;
use super::{EVENT_COLUMNS, Pending, PendingKey, Without, bucket, event, reason};
use crate::domain::campaign::words;
use crate::domain::{EventId, Instant, OutboxEvent, key_hash};
use crate::parts::store::bounded::Tx;
use crate::parts::store::numbers::to_signed;
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};

/// Why a row is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParkedState {
    /// Tried again at its time.
    Retry,
    /// Waits behind a row of its key.
    Blocked,
    /// Given up; a dead letter.
    Dead,
    /// Given up, and thrown away by somebody; the row stays as the record of it.
    Discarded,
}

words!(ParkedState {
    Retry = "retry",
    Blocked = "blocked",
    Dead = "dead",
    Discarded = "discarded",
});

/// What is to be written about a row that could not be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Where it goes.
    pub state: ParkedState,
    /// Attempts charged so far.
    pub attempts: u32,
    /// Class of the failure: one word.
    pub error_class: &'static str,
    /// The failure as people read it; cut to what the column takes.
    pub error: String,
    /// When it is looked at again; none: only when somebody asks.
    pub next_in: Option<Duration>,
}

/// The tenure of a bucket under which a row was read. Whoever has lost the bucket since says nothing
/// about its rows: another relay has read them, and may have published what comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Under<'a> {
    /// The relay.
    pub owner: &'a str,
    /// How many owners the bucket had had.
    pub epoch: u64,
}

/// Which parked row, and what it holds up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedKey {
    /// Of the event.
    pub id: EventId,
    /// Bucket of the key.
    pub bucket: u16,
    /// The key whose rows wait behind it.
    pub key: Arc<str>,
}

impl ParkedKey {
    /// That of an event.
    #[must_use]
    pub fn of(event: &OutboxEvent) -> Self {
        Self {
            id: event.id,
            bucket: event.bucket,
            key: Arc::clone(&event.key),
        }
    }
}

/// What a new verdict about a parked row did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reparked {
    /// Nothing: it is no longer parked for retry, or the bucket has changed hands.
    Not,
    /// It is written down, and the rows of its key wait on.
    Waits,
    /// It is written down, and the rows behind it are pending again.
    LetGo,
}

/// Parked rows whose time has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueRows {
    /// Oldest first.
    pub parked: Vec<Parked>,
    /// Those of which the event holds what this release does not know, and why.
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

const ERROR_CHARACTERS_MAX: usize = 1_000;

/// Where a parked row and its event say where the record goes.
const PARKED_COLUMNS: Columns = Columns {
    stream: "e.aggregatetype",
    key_hash: "p.key_hash",
};

impl Store {
    /// Moves a pending row to where `verdict` says: whether it is there now. Asked again after a lost
    /// answer it is there already. It is not when it was acknowledged, or the bucket has changed hands.
    pub async fn park(
        &self,
        event: &OutboxEvent,
        verdict: &Verdict,
        under: Under<'_>,
    ) -> Result<bool, StoreError> {
        let row = Pending {
            key: PendingKey::of(event),
            campaign_id: event.campaign_id,
            held: false,
        };
        self.park_row(&row, &event.key, verdict, under).await
    }

    /// The same for a row whose event cannot be read: its key is not known.
    pub async fn park_unreadable(
        &self,
        row: &Pending,
        verdict: &Verdict,
        under: Under<'_>,
    ) -> Result<bool, StoreError> {
        self.park_row(row, "", verdict, under).await
    }

    async fn park_row(
        &self,
        row: &Pending,
        key: &str,
        verdict: &Verdict,
        under: Under<'_>,
    ) -> Result<bool, StoreError> {
        let PendingKey { bucket, event_id } = row.key;
        let transaction = self.begin().await?;
        if !self.is_still(&transaction, bucket, under).await? {
            transaction.rollback().await?;
            return Ok(false);
        }
        let mut sql = Sql::new(self, "DELETE FROM outbox_pending WHERE bucket = ");
        sql.bind(bucket).push(" AND event_id = ").bind(event_id.0);
        let moved = sql.run(&transaction).await? == 1;
        if moved {
            let error: String = verdict.error.chars().take(ERROR_CHARACTERS_MAX).collect();
            let mut sql = Sql::new(self, "INSERT INTO outbox_parked (event_id, bucket, ");
            sql.push("campaign_id, message_key, key_hash, state, attempts, error_class, error, ");
            sql.push("next_at, parked_at) VALUES (").bind(event_id.0);
            sql.push(",").bind(bucket);
            sql.push(",").bind(row.campaign_id.0);
            sql.push(",").bind(key);
            sql.push(",").bind(key_hash(key));
            sql.push(",").bind(verdict.state.as_str());
            sql.push(",").bind(verdict.attempts);
            sql.push(",").bind(verdict.error_class);
            sql.push(",").bind(error).push(",");
            at(&mut sql, verdict.next_in).push(",").now().push(")");
            sql.run(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(moved || self.is_parked(event_id, verdict.state).await?)
    }

    /// Whether the bucket is still held under that tenure, and stays so until the transaction ends: nobody
    /// takes it meanwhile, and the next owner reads what was written in it.
    async fn is_still(
        &self,
        transaction: &Tx,
        bucket: u16,
        under: Under<'_>,
    ) -> Result<bool, StoreError> {
        let mut sql = Sql::new(self, "SELECT 1 FROM outbox_lease WHERE bucket = ");
        sql.bind(bucket).push(" AND owner = ").bind(under.owner);
        sql.push(" AND epoch = ").bind(to_signed(under.epoch));
        if !self.is_embedded() {
            sql.push(" FOR SHARE");
        }
        Ok(!sql.rows(transaction).await?.is_empty())
    }

    async fn is_parked(&self, id: EventId, state: ParkedState) -> Result<bool, StoreError> {
        let mut sql = Sql::new(self, "SELECT 1 FROM outbox_parked WHERE event_id = ");
        sql.bind(id.0).push(" AND state = ").bind(state.as_str());
        Ok(!sql.rows(&self.db).await?.is_empty())
    }

    /// Writes a new verdict about a row parked for retry. One that kills it lets the rows behind it
    /// go, in the same transaction, unless another row of its key waits to be tried again, too.
    pub async fn park_again(
        &self,
        row: &ParkedKey,
        verdict: &Verdict,
        under: Under<'_>,
    ) -> Result<Reparked, StoreError> {
        let error: String = verdict.error.chars().take(ERROR_CHARACTERS_MAX).collect();
        let transaction = self.begin().await?;
        if !self.is_still(&transaction, row.bucket, under).await? {
            transaction.rollback().await?;
            return Ok(Reparked::Not);
        }
        let mut sql = Sql::new(self, "UPDATE outbox_parked SET state = ");
        sql.bind(verdict.state.as_str());
        sql.push(", attempts = ").bind(verdict.attempts);
        sql.push(", error_class = ").bind(verdict.error_class);
        sql.push(", error = ").bind(error).push(", next_at = ");
        at(&mut sql, verdict.next_in).push(" WHERE event_id = ");
        sql.bind(row.id.0).push(" AND state = 'retry'");
        let changed = sql.run(&transaction).await? == 1;
        let is_free = changed
            && verdict.state == ParkedState::Dead
            && self.unblock(&transaction, row.bucket, &row.key).await?;
        transaction.commit().await?;
        Ok(match (changed, is_free) {
            (false, _) => Reparked::Not,
            (true, false) => Reparked::Waits,
            (true, true) => Reparked::LetGo,
        })
    }

    /// Forgets a row that was parked for retry and is acknowledged now, and lets the rows behind it go:
    /// whether they may. They may not while another row of the key waits to be tried again.
    pub async fn delete_parked(&self, row: &ParkedKey) -> Result<bool, StoreError> {
        let transaction = self.begin().await?;
        let mut sql = Sql::new(self, "DELETE FROM outbox_parked WHERE event_id = ");
        sql.bind(row.id.0).push(" AND state = 'retry'");
        sql.run(&transaction).await?;
        // It may be gone, by another's word: who waited behind it goes all the same.
        let is_free = self.unblock(&transaction, row.bucket, &row.key).await?;
        transaction.commit().await?;
        Ok(is_free)
    }

    /// Rows of `buckets` in `state` whose time has come, but for those that are not to be read, oldest first,
    /// at most `rows_max`.
    pub async fn parked_due(
        &self,
        state: ParkedState,
        buckets: &[u16],
        without: &Without,
        rows_max: u32,
    ) -> Result<DueRows, StoreError> {
        let mut sql = Sql::new(self, "SELECT ");
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
        let mut sql = Sql::new(self, "SELECT p.next_at, ");
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
        let mut sql = Sql::new(self, "UPDATE outbox_parked SET copied_at = ");
        sql.now().push(", next_at = NULL WHERE event_id = ");
        sql.bind(id.0).push(" AND state = 'dead'");
        Ok(sql.run(&self.db).await? == 1)
    }

    /// Puts off the copy of a dead row.
    pub async fn put_off_copy(&self, id: EventId, delay: Duration) -> Result<bool, StoreError> {
        let mut sql = Sql::new(self, "UPDATE outbox_parked SET next_at = ");
        sql.after(delay).push(" WHERE event_id = ");
        sql.bind(id.0)
            .push(" AND state = 'dead' AND copied_at IS NULL");
        Ok(sql.run(&self.db).await? == 1)
    }
}

/// Appends the time `delay` from now, or none.
fn at(sql: &mut Sql, delay: Option<Duration>) -> &mut Sql {
    match delay {
        Some(delay) => sql.after(delay),
        None => sql.push("NULL"),
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
