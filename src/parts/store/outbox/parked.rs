//! Rows that wait outside the hot path: to be tried again, behind another of their key, or for good.
//! Each move between `outbox_pending` and `outbox_parked` is one transaction.

use std::sync::Arc;
use std::time::Duration;

use super::{Pending, PendingKey};
use crate::domain::words::words;
use crate::domain::{EventId, OutboxEvent, key_hash};
use crate::parts::store::bounded::Tx;
use crate::parts::store::numbers::to_signed;
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};

words! {
    /// Why a row is parked.
    pub enum ParkedState {
        /// Tried again at its time.
        Retry = "retry",
        /// Waits behind a row of its key.
        Blocked = "blocked",
        /// Given up; a dead letter.
        Dead = "dead",
        /// Discarded by an admin; the row stays as a record.
        Discarded = "discarded",
    }
}

/// The new state of a row that could not be published.
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
    /// When it is tried again; none: only on request.
    pub next_in: Option<Duration>,
}

/// The lease of a bucket under which a row was read. A relay that has lost the bucket since changes none of its
/// rows: another relay has read them, and may have published later ones.
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

/// The effect of a new verdict on a parked row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reparked {
    /// Nothing: it is no longer parked for retry, or the bucket has changed hands.
    Not,
    /// It is written down, and the rows of its key wait on.
    Waits,
    /// It is written down, and the rows behind it are pending again.
    LetGo,
}

const ERROR_CHARACTERS_MAX: usize = 1_000;

impl Store {
    /// Moves a pending row to the state of `verdict`: whether it has that state now. A repetition after a lost
    /// answer finds it there. It is not if it was acknowledged, or another relay has the bucket.
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
        let mut sql = self.sql("DELETE FROM outbox_pending WHERE bucket = ");
        sql.bind(bucket).push(" AND event_id = ").bind(event_id.0);
        let moved = sql.run(&transaction).await? == 1;
        if moved {
            let error: String = verdict.error.chars().take(ERROR_CHARACTERS_MAX).collect();
            let mut sql = self.sql("INSERT INTO outbox_parked (event_id, bucket, ");
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

    /// Whether the lease of the bucket is still the same; it stays so until the transaction ends, and the next
    /// owner reads what the transaction wrote.
    async fn is_still(
        &self,
        transaction: &Tx,
        bucket: u16,
        under: Under<'_>,
    ) -> Result<bool, StoreError> {
        let mut sql = self.sql("SELECT 1 FROM outbox_lease WHERE bucket = ");
        sql.bind(bucket).push(" AND owner = ").bind(under.owner);
        sql.push(" AND epoch = ").bind(to_signed(under.epoch));
        if !self.is_embedded() {
            sql.push(" FOR SHARE");
        }
        Ok(!sql.rows(transaction).await?.is_empty())
    }

    async fn is_parked(&self, id: EventId, state: ParkedState) -> Result<bool, StoreError> {
        let mut sql = self.sql("SELECT 1 FROM outbox_parked WHERE event_id = ");
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
        let mut sql = self.sql("UPDATE outbox_parked SET state = ");
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
        let mut sql = self.sql("DELETE FROM outbox_parked WHERE event_id = ");
        sql.bind(row.id.0).push(" AND state = 'retry'");
        sql.run(&transaction).await?;
        // Another relay may have deleted it: the rows behind it are unblocked all the same.
        let is_free = self.unblock(&transaction, row.bucket, &row.key).await?;
        transaction.commit().await?;
        Ok(is_free)
    }
}

/// Appends the time `delay` from now, or none.
fn at(sql: &mut Sql, delay: Option<Duration>) -> &mut Sql {
    match delay {
        Some(delay) => sql.after(delay),
        None => sql.push("NULL"),
    }
}
