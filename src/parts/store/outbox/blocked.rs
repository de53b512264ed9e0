//! Keys with rows that wait behind a row to be retried, and their release.

use super::{ParkedState, bucket};
use crate::parts::store::bounded::Tx;
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};

/// Maximum number of keys released by one search for orphans.
pub const ORPHAN_KEYS_MAX: usize = 100;

impl Store {
    /// Moves the blocked rows of a key back to pending: whether its rows may go. They may not while a row of
    /// it waits to be tried again.
    pub(super) async fn unblock(
        &self,
        transaction: &Tx,
        bucket: u16,
        key: &str,
    ) -> Result<bool, StoreError> {
        let mut sql = self.sql("SELECT event_id FROM outbox_parked WHERE message_key = ");
        sql.bind(key).push(" AND bucket = ").bind(bucket);
        sql.push(" AND state = 'retry' LIMIT 1");
        if !sql.rows(transaction).await?.is_empty() {
            return Ok(false);
        }
        let mut sql = self.sql(super::PEND_PARKED);
        sql.push(" WHERE p.message_key = ").bind(key);
        sql.push(" AND p.bucket = ").bind(bucket);
        sql.push(" AND p.state = 'blocked'");
        sql.run(transaction).await?;
        let mut sql = self.sql("DELETE FROM outbox_parked WHERE message_key = ");
        sql.bind(key).push(" AND bucket = ").bind(bucket);
        sql.push(" AND state = 'blocked'").run(transaction).await?;
        Ok(true)
    }

    /// Keys of `buckets` that have a row in one of these states, each with its bucket.
    pub async fn parked_keys(
        &self,
        states: &[ParkedState],
        buckets: &[u16],
    ) -> Result<Vec<(u16, String)>, StoreError> {
        let mut sql = self.sql("SELECT DISTINCT bucket, message_key FROM outbox_parked");
        sql.push(" WHERE state IN ");
        sql.list(states.iter().map(|state| state.as_str()));
        sql.push(" AND bucket IN ");
        self.keys(sql.list(padded(buckets))).await
    }

    /// Moves the blocked rows of `buckets` that wait behind nothing, left by a crash between two relays, back
    /// to pending: of how many keys. No more than `ORPHAN_KEYS_MAX`.
    pub async fn free_orphans(&self, buckets: &[u16]) -> Result<usize, StoreError> {
        let mut sql = self.sql("SELECT DISTINCT bucket, message_key FROM outbox_parked p");
        sql.push(" WHERE p.state = 'blocked' AND NOT EXISTS (SELECT 1 FROM outbox_parked r");
        sql.push(" WHERE r.message_key = p.message_key AND r.state = 'retry')");
        sql.push(" AND p.bucket IN ").list(padded(buckets));
        sql.push(" LIMIT ");
        let rows_max = i64::try_from(ORPHAN_KEYS_MAX).unwrap_or(i64::MAX);
        let orphans = self.keys(sql.bind(rows_max)).await?;
        for (bucket, key) in &orphans {
            let transaction = self.begin().await?;
            self.unblock(&transaction, *bucket, key).await?;
            transaction.commit().await?;
        }
        Ok(orphans.len())
    }

    /// A key that is missed here lets rows pass those that wait: a server that takes no writes is not trusted.
    async fn keys(&self, sql: &mut Sql) -> Result<Vec<(u16, String)>, StoreError> {
        let tx = self.begin_current().await?;
        let rows = sql.rows(&tx).await?;
        self.end_current(tx).await?;
        let keys = rows
            .iter()
            .map(|row| Ok((bucket(row, "bucket")?, row.try_get("", "message_key")?)));
        keys.collect()
    }
}
