//! The transaction of a group: commands for one campaign, carried out together or not at all. Participations that the
//! gate admitted, or that the database admits while the gate is away, and changes of those that exist.
//!
//! The order of locks is fixed: the campaign's row first, then participations, then everything else. So transactions
//! of one campaign wait for each other, and what they read inside is exact.

mod admitted;
mod applicants;
mod change;
mod payments;
mod rows;
mod units;

use self::admitted::Admitted;
pub use self::applicants::{Applicants, Closing, Decision};
pub use self::change::{Changed, Wished};
pub(in crate::parts::store) use self::rows::events as event_rows;
use super::intake::Intake;
use crate::domain::{Campaign, CampaignId, KeyChoice, OutboxEvent, Timestamp};
use crate::parts::store::bounded::Tx;
use crate::parts::store::{Store, StoreError};
use crate::runtime::failpoint;

/// Commands for one campaign.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// The campaign.
    pub campaign: CampaignId,
    /// The new participations.
    pub entries: Entries<'a>,
    /// The changes, at most one for each participation.
    pub wishes: Vec<&'a Wished>,
    /// What the key of a change's event is.
    pub key_choice: KeyChoice,
}

/// New participations of a campaign.
#[derive(Clone, Debug)]
pub enum Entries<'a> {
    /// There are none.
    None,
    /// Admitted by the gate.
    Admitted {
        /// The campaign as it is cached.
        campaign: &'a Campaign,
        /// Generation of the gate that admitted them.
        epoch: u64,
        /// Their rows.
        intakes: Vec<&'a Intake>,
    },
    /// To be admitted by the database.
    Applicants(Applicants<'a>),
}

/// The result of a group. Only `Committed` changed anything.
#[derive(Clone, Debug)]
pub enum GroupOutcome {
    /// All that was decided is durable.
    Committed(Entered, Changed),
    /// Nothing happened: the campaign does not take these entries.
    Mismatch(Mismatch),
    /// Nothing happened: at least one row breaks a rule of the schema or the user's limit.
    Conflict,
}

/// The result for the entries of a group.
#[derive(Clone, Debug)]
pub enum Entered {
    /// There were none.
    None,
    /// All of those that the gate admitted.
    Admitted {
        /// Store time when the holds for payments and for the relay start; none: there is no hold.
        held_from: Option<Timestamp>,
        /// Sequence of the first event; the others follow in order of the group.
        first_sequence: u64,
    },
    /// One decision for each applicant, in order, and the events in the outbox.
    Decided(Vec<Decision>, Vec<OutboxEvent>),
}

/// Why a campaign's row refuses entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The gate was rebuilt since: the admission is void.
    StaleEpoch,
    /// Not enough units.
    SoldOut,
    /// The gate is not closed, so the database admits nobody.
    GateOpen,
    /// There is no such campaign.
    UnknownCampaign,
    /// The order of an entry is decided: it gets no further line.
    OrderDecided,
}

/// A failed transaction, by what is known of its effect.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it happened.
    #[error("write the group")]
    RolledBack(#[source] StoreError),
    /// The connection was lost during COMMIT: it may have happened.
    #[error("commit the group")]
    Unknown(#[source] StoreError),
    /// No answer in time: it may have happened, or may still happen.
    #[error("commit the group: no answer in time")]
    Late,
}

impl CommitError {
    /// Whether the group may be retried, because nothing happened.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::RolledBack(cause) if cause.is_rolled_back())
    }
}

impl Store {
    /// Carries out a group in one transaction. Unknown participations, and those of another campaign, are left out of
    /// the changes.
    pub async fn commit_group(&self, group: &Group<'_>) -> Result<GroupOutcome, CommitError> {
        // Read and put together before the transaction, which locks the campaign's row.
        let admitted = Admitted::prepare(self, &group.entries)
            .await
            .map_err(CommitError::RolledBack)?;
        let tx = self.begin().await.map_err(CommitError::RolledBack)?;
        match carry_out(self, &tx, group, admitted).await {
            Ok(outcome @ GroupOutcome::Committed(..)) => {
                commit(tx).await?;
                Ok(outcome)
            }
            Ok(refused) => {
                roll_back(tx).await?;
                Ok(refused)
            }
            Err(StoreError::Constraint(_)) => {
                roll_back(tx).await?;
                Ok(GroupOutcome::Conflict)
            }
            Err(error) => Err(CommitError::RolledBack(error)),
        }
    }
}

/// The statements of a group: the entries first, then the changes.
async fn carry_out(
    store: &Store,
    tx: &Tx,
    group: &Group<'_>,
    admitted: Option<Admitted<'_>>,
) -> Result<GroupOutcome, StoreError> {
    let entered = match (&group.entries, admitted) {
        (_, Some(admitted)) => admitted.insert(store, tx).await?,
        (Entries::Applicants(applicants), None) => {
            applicants.admit(store, tx, group.campaign).await?
        }
        (Entries::None | Entries::Admitted { .. }, None) => Ok(Entered::None),
    };
    let entered = match entered {
        Ok(entered) => entered,
        Err(refused) => return Ok(refused),
    };
    let changed = change::change(store, tx, group).await?;
    Ok(GroupOutcome::Committed(entered, changed))
}

/// Commits; the error says whether the group certainly did not happen or may have happened.
async fn commit(tx: Tx) -> Result<(), CommitError> {
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

async fn roll_back(tx: Tx) -> Result<(), CommitError> {
    let rolled_back = tx.rollback().await;
    rolled_back.map_err(|error| CommitError::RolledBack(error.into()))
}
