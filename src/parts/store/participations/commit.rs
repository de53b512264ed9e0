//! The transaction of a group: the campaign's units, the participations, their outbox rows. All or
//! nothing.
//!
//! The order of locks is fixed: the campaign's row first, then everything else. So writers of one campaign wait for
//! each other, and what they read inside the transaction is exact.

mod units;

use self::units::Taken;
use super::intake::Intake;
use super::rows;
use crate::domain::{Campaign, CampaignId, EventId, Instant};
use crate::parts::store::bounded::Tx;
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};
use crate::runtime::failpoint;

/// The result of a batch. Only `Committed` changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// All of it is durable.
    Committed {
        /// Store time when the holds for payments and for the relay start; none: there is no hold.
        held_from: Option<Instant>,
    },
    /// None of it: the campaign does not take this batch.
    Mismatch(Mismatch),
    /// None of it: at least one row breaks a rule of the schema or the user's limit.
    Conflict,
}

/// Why the campaign's row refuses a batch that the gate let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The gate was rebuilt since: the admission is void.
    StaleEpoch,
    /// Not enough units.
    SoldOut,
}

/// A failed batch, by what is known of its effect.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it happened.
    #[error("write the batch")]
    RolledBack(#[source] StoreError),
    /// The connection was lost during COMMIT: it may have happened.
    #[error("commit the batch")]
    Unknown(#[source] StoreError),
    /// No answer in time: it may have happened, or may still happen.
    #[error("commit the batch: no answer in time")]
    Late,
}

impl CommitError {
    /// Whether the batch may be retried, because nothing happened.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::RolledBack(cause) if cause.is_rolled_back())
    }
}

impl Store {
    /// Commits a batch of one campaign, admitted in one gate epoch: the campaign's row, the
    /// participations, the outbox. All or nothing.
    pub async fn commit_participations(
        &self,
        campaign: &Campaign,
        epoch: u64,
        batch: &[Intake],
    ) -> Result<BatchOutcome, CommitError> {
        let held_from = self
            .held_from(batch)
            .await
            .map_err(CommitError::RolledBack)?;
        let held: Vec<Intake>;
        let batch = if let Some(from) = held_from {
            let held_from = |intake: &Intake| intake.clone().held_from(from);
            held = batch.iter().map(held_from).collect();
            &held
        } else {
            batch
        };
        // Built before the transaction, which locks the campaign's row, unless the order of ids depends on it.
        let shared = batch.iter().any(|intake| intake.event.shares_its_key());
        let others = (!shared).then(|| rows::keys_and_outbox(self, batch));
        let tx = self.begin().await.map_err(CommitError::RolledBack)?;
        match write_batch(self, &tx, campaign, epoch, batch, others).await {
            Ok(None) => {
                commit(tx).await?;
                Ok(BatchOutcome::Committed { held_from })
            }
            Ok(Some(refused)) => {
                roll_back(tx).await?;
                Ok(refused)
            }
            Err(StoreError::Constraint(_)) => {
                roll_back(tx).await?;
                Ok(BatchOutcome::Conflict)
            }
            Err(error) => Err(CommitError::RolledBack(error)),
        }
    }

    /// The store's time, if the batch has a hold: a service with a wrong clock holds as long as others.
    async fn held_from(&self, batch: &[Intake]) -> Result<Option<Instant>, StoreError> {
        if batch.iter().any(Intake::is_held) {
            Sql::time(self, &self.db).await.map(Some)
        } else {
            Ok(None)
        }
    }
}

/// Commits; the error says whether the batch certainly did not happen or may have happened.
pub(super) async fn commit(tx: Tx) -> Result<(), CommitError> {
    failpoint::point("store.written");
    match failpoint::amid("store.committing", tx.commit())
        .await
        .map_err(StoreError::from)
    {
        Ok(()) => Ok(()),
        Err(error @ (StoreError::Contended(_) | StoreError::WriteRefused(_))) => {
            Err(CommitError::RolledBack(error))
        }
        Err(error) => Err(CommitError::Unknown(error)),
    }
}

pub(super) async fn roll_back(tx: Tx) -> Result<(), CommitError> {
    let rolled_back = tx.rollback().await;
    rolled_back.map_err(|error| CommitError::RolledBack(error.into()))
}

/// Writes all of a batch, or returns why it is refused.
pub(super) async fn write_batch(
    store: &Store,
    tx: &Tx,
    campaign: &Campaign,
    epoch: u64,
    batch: &[Intake],
    others: Option<Vec<Sql>>,
) -> Result<Option<BatchOutcome>, StoreError> {
    let limits = match units::take(tx, campaign, epoch, batch).await? {
        Taken::Under(limits) => limits,
        Taken::Nothing(mismatch) => return Ok(Some(BatchOutcome::Mismatch(mismatch))),
    };
    let Some(ordinals) = units::ordinals(tx, campaign.id, limits, batch).await? else {
        return Ok(Some(BatchOutcome::Conflict));
    };
    let others = match others {
        Some(others) => others,
        None => rows::keys_and_outbox(store, &in_order(store, tx, campaign.id, batch).await?),
    };
    let participations = rows::participations(store, batch, &ordinals);
    for mut insert in participations.into_iter().chain(others) {
        insert.run(tx).await?;
    }
    Ok(None)
}

/// The batch with event ids in the campaign's order of commits. Keys shared by several participations need them:
/// ids made before the campaign's row was locked are in order of requests, by the clocks of several replicas.
async fn in_order(
    store: &Store,
    tx: &Tx,
    id: CampaignId,
    batch: &[Intake],
) -> Result<Vec<Intake>, StoreError> {
    let tick = tick(store, tx, id).await?;
    let mut batch = batch.to_vec();
    for (intake, nth) in batch.iter_mut().zip(0..) {
        intake.event.id = EventId::at_tick(tick, nth);
    }
    Ok(batch)
}

/// The next tick of the campaign's event clock.
pub(super) async fn tick(store: &Store, tx: &Tx, id: CampaignId) -> Result<u64, StoreError> {
    let now_ms = store.clock.now().timestamp_millis();
    let mut advance = store.sql("UPDATE campaign SET event_clock = CASE WHEN event_clock < ");
    advance.bind(now_ms).push(" THEN ").bind(now_ms);
    advance
        .push(" ELSE event_clock + 1 END WHERE id = ")
        .bind(id.0);
    advance.run(tx).await?;
    let mut read = store.sql("SELECT event_clock FROM campaign WHERE id = ");
    let rows = read.bind(id.0).rows(tx).await?;
    let tick: i64 = match rows.first() {
        Some(row) => row.try_get("", "event_clock")?,
        None => now_ms,
    };
    Ok(to_unsigned(tick))
}
