//! Keeps the audit log for as long as is asked, and no longer: a bounded piece at a time, with a rest after
//! each, by one replica at a time. That it is one only spares work. It must not write entries: who acts
//! does, in the transaction that does it.

use std::time::Duration;

use uuid::Uuid;

use crate::parts::store::{Store, StoreError};
use crate::runtime::supervisor::Spawner;

const DUTY: &str = "audit";
/// How long the duty stays with a replica that says nothing.
const TERM: Duration = Duration::from_secs(60);
/// Time between two pieces.
const REST: Duration = Duration::from_millis(100);

/// How long entries are kept, and how gently they are deleted.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Age from which an entry is deleted.
    pub age: Duration,
    /// How often such entries are looked for.
    pub interval: Duration,
    /// Entries deleted by one statement at most.
    pub rows_max: u32,
}

/// Deletes entries whose time is over.
#[derive(Clone, Debug)]
pub struct Keeper {
    store: Store,
    retention: Retention,
}

impl Keeper {
    /// Keeps the log of this store.
    #[must_use]
    pub const fn new(store: Store, retention: Retention) -> Self {
        Self { store, retention }
    }

    /// Starts to look for such entries, so far apart.
    pub fn start(self, spawner: &Spawner) {
        let owner = Uuid::now_v7().to_string();
        spawner.repeat("audit.purge", self.retention.interval, move |_stop| {
            let (keeper, owner) = (self.clone(), owner.clone());
            async move { keeper.keep(&owner).await }
        });
    }

    /// Deletes one piece, and says how long to rest.
    async fn keep(&self, owner: &str) -> Duration {
        match self.purge_some(owner).await {
            Ok(deleted) if deleted >= u64::from(self.retention.rows_max) => REST,
            Ok(_) => self.retention.interval,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old entries of the audit log wait to be deleted"
                );
                self.retention.interval
            }
        }
    }

    /// Deletes one piece, if it is this one's turn: how many there were.
    pub async fn purge_some(&self, owner: &str) -> Result<u64, StoreError> {
        if !self.store.take_duty(DUTY, owner, TERM).await? {
            return Ok(0);
        }
        let Retention { age, rows_max, .. } = self.retention;
        let deleted = self.store.purge_audit(age, rows_max).await?;
        if deleted > 0 {
            tracing::info!(entries = deleted, "old entries of the audit log deleted");
        }
        Ok(deleted)
    }
}
