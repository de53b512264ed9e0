//! The transaction of a group: commands for one campaign, carried out together or not at all. They are participations
//! that the gate admitted, participations that the database admits while the gate is away, and changes of existing
//! ones.
//!
//! The order of locks is fixed: first the campaign's row, then participations, then all other rows. So transactions
//! of one campaign wait for each other, and their reads are exact.

mod admitted;
mod applicants;
mod change;
mod payments;
mod rows;
mod units;

use self::admitted::Admitted;
pub use self::applicants::{Applicants, Closing, Decision};
pub use self::change::{ChangeRequest, Changed};
pub(in crate::parts::store) use self::rows::events as event_rows;
use super::new_participation::NewParticipation;
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
    pub change_requests: Vec<&'a ChangeRequest>,
    /// The key of the events of changes.
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
        new_participations: Vec<&'a NewParticipation>,
    },
    /// To be admitted by the database.
    Applicants(Applicants<'a>),
}

/// The result of a group. Only `Committed` changed anything.
#[derive(Clone, Debug)]
pub enum GroupOutcome {
    /// All decisions are durable.
    Committed(EntriesResult, Changed),
    /// Nothing happened: the campaign rejects these entries.
    Mismatch(Mismatch),
    /// Nothing happened: at least one row breaks a rule of the schema or the user's limit.
    Conflict,
}

/// The result for the entries of a group.
#[derive(Clone, Debug)]
pub enum EntriesResult {
    /// There were none.
    None,
    /// All admissions of the gate.
    Admitted {
        /// Store time when the holds for payments and for the relay start; none: there is no hold.
        held_from: Option<Timestamp>,
        /// Sequence of the first event; the others follow in the order of the group.
        first_sequence: u64,
    },
    /// One decision for each applicant, in order, and the events in the outbox.
    Decided(Vec<Decision>, Vec<OutboxEvent>),
}

/// Why a campaign's row rejects entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The gate was rebuilt since then: the admission is void.
    StaleEpoch,
    /// Not enough units.
    SoldOut,
    /// The gate is not closed, so the database admits nobody.
    GateOpen,
    /// There is no such campaign.
    UnknownCampaign,
    /// The order of an entry is already decided: it gets no further line.
    OrderDecided,
}

/// A failed transaction, by its possible effect.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It was rolled back.
    #[error("write the group")]
    RolledBack(#[source] StoreError),
    /// The connection was lost during COMMIT: it may be committed.
    #[error("commit the group")]
    Unknown(#[source] StoreError),
    /// No answer in time: it may be committed, now or later.
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
    /// Carries out a group in one transaction. Unknown participations, and those of another campaign, are missing in
    /// the changes.
    pub async fn commit_group(&self, group: &Group<'_>) -> Result<GroupOutcome, CommitError> {
        // Prepared before the transaction, which locks the campaign's row.
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
    let entries_result = match (&group.entries, admitted) {
        (_, Some(admitted)) => admitted.insert(store, tx).await?,
        (Entries::Applicants(applicants), None) => {
            applicants.admit(store, tx, group.campaign).await?
        }
        (Entries::None | Entries::Admitted { .. }, None) => Ok(EntriesResult::None),
    };
    let entries_result = match entries_result {
        Ok(entries_result) => entries_result,
        Err(refused) => return Ok(refused),
    };
    let changed = change::change(store, tx, group).await?;
    Ok(GroupOutcome::Committed(entries_result, changed))
}

/// Commits; the error shows whether the group may be committed.
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
