//! Deletes old entries of the audit log, in bounded batches with a pause after each. Only one replica at a time does this,
//! to save work. This module must not write entries: each action writes its own, in its transaction.

use std::time::Duration;

use uuid::Uuid;

use crate::events::relay::Retention;
use crate::parts::store::{Store, StoreError, Term};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;

const TASK: &str = "audit";
/// How long the lease of this task lasts without renewal.
const TERM: Duration = Duration::from_secs(60);
/// Pause between two batches.
const PAUSE: Duration = Duration::from_millis(100);

/// Deletes old entries.
#[derive(Clone, Debug)]
pub struct AuditPurger {
    store: Store,
    retention: Retention,
}

impl AuditPurger {
    /// Deletes entries of this store.
    #[must_use]
    pub const fn new(store: Store, retention: Retention) -> Self {
        Self { store, retention }
    }

    /// Starts the task.
    pub fn start(self, spawner: &Spawner) {
        let owner = Uuid::now_v7().to_string();
        spawner.repeat("audit.purge", self.retention.interval, move |_stop| {
            let (keeper, owner) = (self.clone(), owner.clone());
            async move { keeper.step(&owner).await }
        });
    }

    /// Deletes one batch. Returns the pause after it.
    async fn step(&self, owner: &str) -> Duration {
        match self.purge_some(owner).await {
            Ok(deleted) if deleted >= u64::from(self.retention.rows_max) => PAUSE,
            Ok(_) => self.retention.interval,
            Err(error) => {
                tracing::warn!(
                    error = cause(&error),
                    "old entries of the audit log were not deleted; it will be retried"
                );
                self.retention.interval
            }
        }
    }

    /// Deletes one batch, if this replica has the task lease. Returns the number of deleted entries.
    pub async fn purge_some(&self, owner: &str) -> Result<u64, StoreError> {
        if !self
            .store
            .take_task_lease(TASK, owner, Term::Fixed(TERM))
            .await?
        {
            return Ok(0);
        }
        let (age, rows_max) = (self.retention.audit_entries, self.retention.rows_max);
        let deleted = self.store.purge_audit(age, rows_max).await?;
        if deleted > 0 {
            tracing::info!(entries = deleted, "old entries of the audit log deleted");
        }
        Ok(deleted)
    }
}
