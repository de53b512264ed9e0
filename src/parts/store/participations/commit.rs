//! The transaction of a group: the campaign's units and the sequences of its events, the participations, the events.
//! All or nothing.
//!
//! The order of locks is fixed: the campaign's row first, then everything else. So writers of one campaign wait for
//! each other, and what they read inside the transaction is exact.

mod units;

use self::units::Taken;
use super::intake::Intake;
use super::rows::{self, Others};
use crate::domain::{Campaign, Instant};
use crate::parts::store::bounded::Tx;
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
        /// Sequence of the first event; the others follow in order of the batch.
        first_sequence: u64,
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
        // Put together before the transaction, which locks the campaign's row.
        let others = Others::of(self, batch);
        let tx = self.begin().await.map_err(CommitError::RolledBack)?;
        match write_batch(self, &tx, campaign, epoch, batch, others).await {
            Ok(Ok(first_sequence)) => {
                commit(tx).await?;
                Ok(BatchOutcome::Committed {
                    held_from,
                    first_sequence,
                })
            }
            Ok(Err(refused)) => {
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

/// Writes all of a batch: the sequence of its first event, or why it is refused.
pub(super) async fn write_batch(
    store: &Store,
    tx: &Tx,
    campaign: &Campaign,
    epoch: u64,
    batch: &[Intake],
    others: Others,
) -> Result<Result<u64, BatchOutcome>, StoreError> {
    let (limits, last_sequence) = match units::take(store, tx, campaign, epoch, batch).await? {
        Taken::Units {
            limits,
            last_sequence,
        } => (limits, last_sequence),
        Taken::Nothing(mismatch) => return Ok(Err(BatchOutcome::Mismatch(mismatch))),
    };
    let Some(ordinals) = units::ordinals(tx, campaign.id, limits, batch).await? else {
        return Ok(Err(BatchOutcome::Conflict));
    };
    let before = last_sequence.saturating_sub(batch.len() as u64);
    let participations = rows::participations(store, batch, &ordinals);
    for mut insert in participations.into_iter().chain(others.after(before)) {
        insert.run(tx).await?;
    }
    Ok(Ok(before + 1))
}
