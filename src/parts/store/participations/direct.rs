//! The database path: admits and commits in one transaction while the gate is unavailable.
//!
//! The transaction locks the campaign's row, so its data is exact, and closes the campaign's gate: it raises the
//! epoch, so that commits of admissions by a gate that other replicas still reach are refused, and for a term no
//! rebuild begins. If a gate and this path both serve, this path wins and no user is admitted twice.

mod book;

use std::time::Duration;

use sea_orm::{EntityTrait, QuerySelect};

use self::book::Book;
use super::CommitError;
use super::commit::{commit, roll_back, write_batch};
use super::intake::{Applicant, Making};
use super::rows::Others;
use crate::domain::{Campaign, CampaignId, OutboxEvent, Participation, Refusal};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::campaign;
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};

/// What the database path may do to a campaign's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// Close it, or keep it closed, for this long: this replica cannot reach the gate.
    For(Duration),
    /// Nothing: serve only while another replica has it closed.
    Never,
}

/// The decision on one applicant.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Yes, and durable.
    Accepted(Participation),
    /// No, by the rules.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Units left; none: unlimited.
        remaining: Option<u64>,
    },
    /// Neither: the request has an idempotency key, and came before something made room here. Meanwhile the
    /// key may have been refused.
    Outstanding,
}

/// The result of a batch.
#[derive(Clone, Debug)]
pub enum DirectOutcome {
    /// One decision for each applicant, in order, and the events that are in the outbox now.
    Decided(Vec<Decision>, Vec<OutboxEvent>),
    /// Nothing happened: a row breaks a rule of the schema (an idempotency key that was used).
    Conflict,
    /// Nothing happened: the gate is not closed.
    Open,
    /// There is no such campaign.
    Unknown,
}

impl Store {
    /// Admits and commits these applicants of one campaign. All that are admitted, or none.
    pub async fn admit_directly(
        &self,
        id: CampaignId,
        applicants: &[Applicant],
        making: &Making,
        closing: Closing,
    ) -> Result<DirectOutcome, CommitError> {
        let tx = self.begin().await.map_err(CommitError::RolledBack)?;
        match decide_and_write(self, &tx, id, applicants, making, closing).await {
            Ok((outcome, Wrote::Something)) => {
                commit(tx).await?;
                Ok(outcome)
            }
            Ok((outcome, Wrote::Nothing)) => {
                roll_back(tx).await?;
                Ok(outcome)
            }
            Err(StoreError::Constraint(_)) => {
                roll_back(tx).await?;
                Ok(DirectOutcome::Conflict)
            }
            Err(error) => Err(CommitError::RolledBack(error)),
        }
    }
}

/// Whether there is something to be committed.
#[derive(Clone, Copy)]
enum Wrote {
    Something,
    Nothing,
}

async fn decide_and_write(
    store: &Store,
    tx: &Tx,
    id: CampaignId,
    applicants: &[Applicant],
    making: &Making,
    closing: Closing,
) -> Result<(DirectOutcome, Wrote), StoreError> {
    let locked = campaign::Entity::find_by_id(id.0).lock_exclusive();
    let Some(row) = locked.one(tx).await? else {
        return Ok((DirectOutcome::Unknown, Wrote::Nothing));
    };
    let was_closed = row.gate_closed_until.is_some();
    if !was_closed && closing == Closing::Never {
        return Ok((DirectOutcome::Open, Wrote::Nothing));
    }
    let now = Sql::time(store, tx).await?;
    // A gate that is open until now may have refused anything. A moment that is yet to come was written before
    // the clock was set back: it is over, and nobody knows since when.
    let is_set_back = row.loosened_at.is_some_and(|at| at > now);
    let loosened_at = if was_closed && !is_set_back {
        row.loosened_at
    } else {
        Some(now)
    };
    let campaign: Campaign = row.try_into()?;
    let mut book = Book::open(tx, &campaign, applicants, now, loosened_at).await?;
    let (decisions, intakes) = book.decide_all(applicants, making);
    // The answer to a key is final: no gate may give another.
    let has_keys = applicants.iter().any(|one| one.idempotency_key.is_some());
    let closes = !intakes.is_empty() || (has_keys && !was_closed);
    let mut epoch = campaign.gate_epoch;
    if is_set_back {
        loosen_now(store, tx, id).await?;
    }
    if let (Closing::For(term), true) = (closing, closes) {
        close(store, tx, id, term).await?;
        epoch += u64::from(!was_closed);
    }
    if intakes.is_empty() {
        let wrote = if closes || is_set_back {
            Wrote::Something
        } else {
            Wrote::Nothing
        };
        return Ok((DirectOutcome::Decided(decisions, Vec::new()), wrote));
    }
    let others = Others::of(store, &intakes);
    match write_batch(store, tx, &campaign, epoch, &intakes, others).await? {
        Ok(first_sequence) => {
            let events = intakes.into_iter().zip(first_sequence..);
            let events = events.map(|(intake, sequence)| OutboxEvent {
                sequence,
                ..intake.event
            });
            let decided = DirectOutcome::Decided(decisions, events.collect());
            Ok((decided, Wrote::Something))
        }
        // With the row held only the schema can still refuse.
        Err(_) => Ok((DirectOutcome::Conflict, Wrote::Nothing)),
    }
}

/// Closing raises the epoch; keeping it closed only extends the term.
async fn close(store: &Store, tx: &Tx, id: CampaignId, term: Duration) -> Result<(), StoreError> {
    let mut close = store.sql("UPDATE campaign SET gate_epoch = CASE WHEN gate_closed_until IS NULL \
         THEN gate_epoch + 1 ELSE gate_epoch END, loosened_at = CASE WHEN gate_closed_until IS NULL THEN ");
    close
        .now()
        .push(" ELSE loosened_at END, gate_closed_until = ");
    close.after(term).push(" WHERE id = ").bind(id.0);
    close.run(tx).await?;
    Ok(())
}

/// Units became available at some time until now: later requests are not affected.
async fn loosen_now(store: &Store, tx: &Tx, id: CampaignId) -> Result<(), StoreError> {
    let mut loosen = store.sql("UPDATE campaign SET loosened_at = ");
    loosen.now().push(" WHERE id = ").bind(id.0);
    loosen.run(tx).await?;
    Ok(())
}
