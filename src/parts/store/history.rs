//! What the database retains for open transactions. The database user may lack the privilege to read it: that is a
//! result, not a failure.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Store, StoreError};

/// The cost of old snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How long the oldest transaction has been open.
    pub oldest_snapshot_age: Duration,
    /// Undo records retained for open snapshots.
    pub length: u64,
}

/// Not from `information_schema.innodb_trx`: reading it converts all running statements to text, which fails if one
/// of them contains binary values, as ours do.
const HISTORY: &str = "SELECT \
     (SELECT CAST(COALESCE(MAX(timer_wait), 0) DIV 1000000000000 AS SIGNED) \
     FROM performance_schema.events_transactions_current WHERE state = 'ACTIVE') AS age_seconds, \
     (SELECT CAST(COALESCE(MAX(`count`), 0) AS SIGNED) FROM information_schema.innodb_metrics \
     WHERE name = 'trx_rseg_history_len') AS history_length";

impl Store {
    /// The history; none: the user lacks the privilege. An embedded database has no history.
    pub async fn history(&self) -> Result<Option<History>, StoreError> {
        if self.is_embedded() {
            return Ok(Some(History::default()));
        }
        let statement = Statement::from_string(DbBackend::MySql, HISTORY);
        let row = match self.db.query_one_raw(statement).await {
            Ok(row) => row,
            Err(error) => {
                let error = StoreError::from(error);
                return if error.is_withheld() {
                    Ok(None)
                } else {
                    Err(error)
                };
            }
        };
        let Some(row) = row else {
            return Ok(None);
        };
        let age: i64 = row.try_get("", "age_seconds")?;
        let length: i64 = row.try_get("", "history_length")?;
        Ok(Some(History {
            oldest_snapshot_age: Duration::from_secs(u64::try_from(age).unwrap_or_default()),
            length: u64::try_from(length).unwrap_or_default(),
        }))
    }
}
