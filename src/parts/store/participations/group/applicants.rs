//! Entries that the database admits, while the gate is unavailable.
//!
//! The transaction locks the campaign's row, so its data is exact, and closes the campaign's gate: it raises the
//! The transaction locks the campaign's row, so its data is exact, and closes the campaign's gate. It raises the
//! epoch, so that admissions of a gate that other replicas still reach cannot be committed, and no rebuild begins for
//! a term. If a gate and this path both serve, this path wins and no user is admitted twice.

mod decider;

use std::borrow::Cow;
use std::time::Duration;

use sea_orm::{EntityTrait, QuerySelect};

use self::decider::Decider;
use super::admitted::insert;
use super::rows::Others;
use super::{EntriesResult, GroupOutcome, Mismatch};
use crate::domain::{Campaign, CampaignId, OutboxEvent, Participation, Refusal};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::campaign;
use crate::parts::store::participations::new_participation::{Applicant, Making, NewParticipation};
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};

/// How the database path handles a campaign's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// Closes it, or keeps it closed, for this long: this replica cannot reach the gate.
    For(Duration),
    /// Does not change it: serves only while another replica keeps it closed.
    Never,
}

/// The decision on one applicant.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Accepted, and durable.
    Accepted(Participation),
    /// Refused by the rules.
    Refused {
        /// The reason.
        refusal: Refusal,
        /// Units left; none: unlimited.
        remaining: Option<u64>,
    },
    /// Undecided: the request has an idempotency key, and is older than the last moment at which units became
    /// available here. The key may have been refused before.
    Outstanding,
}

/// Applicants that the database admits.
#[derive(Clone, Debug)]
pub struct Applicants<'a> {
    /// The applicants, in order.
    pub applicants: Vec<&'a Applicant>,
    /// How their rows are made.
    pub making: Making,
    /// How the campaign's gate is handled.
    pub closing: Closing,
}

impl Applicants<'_> {
    /// Admits applicants by the rules; nobody, if the schema rejects one of them.
    pub(super) async fn admit(
        &self,
        store: &Store,
        tx: &Tx,
        id: CampaignId,
    ) -> Result<Result<EntriesResult, GroupOutcome>, StoreError> {
        let locked = campaign::Entity::find_by_id(id.0).lock_exclusive();
        let Some(row) = locked.one(tx).await? else {
            return Ok(Err(GroupOutcome::Mismatch(Mismatch::UnknownCampaign)));
        };
        let was_closed = row.gate_closed_until.is_some();
        if !was_closed && self.closing == Closing::Never {
            return Ok(Err(GroupOutcome::Mismatch(Mismatch::GateOpen)));
        }
        let now = Sql::time(store, tx).await?;
        // A gate that was open until now may have refused anything. A time in the future was written before the clock
        // was set back: the term has ended at an unknown time.
        let is_set_back = row.loosened_at.is_some_and(|at| at > now);
        let loosened_at = if was_closed && !is_set_back {
            row.loosened_at
        } else {
            Some(now)
        };
        let campaign: Campaign = row.try_into()?;
        let mut decider = Decider::open(tx, &campaign, &self.applicants, now, loosened_at).await?;
        let (decisions, new_participations) = decider.decide_all(&self.applicants, &self.making);
        // The answer to a key is final: no gate may give a different one.
        let mut keys = self.applicants.iter().map(|one| &one.idempotency_key);
        let closes = !new_participations.is_empty() || (!was_closed && keys.any(Option::is_some));
        let mut epoch = campaign.gate_epoch;
        if is_set_back {
            loosen_now(store, tx, id).await?;
        }
        if let (Closing::For(term), true) = (self.closing, closes) {
            close(store, tx, id, term).await?;
            epoch += u64::from(!was_closed);
        }
        if new_participations.is_empty() {
            return Ok(Ok(EntriesResult::Decided(decisions, Vec::new())));
        }
        let batch: Vec<Cow<'_, NewParticipation>> =
            new_participations.iter().map(Cow::Borrowed).collect();
        let others = Others::of(store, &batch);
        Ok(
            match insert(store, tx, &campaign, epoch, &batch, others).await? {
                Ok(first_sequence) => {
                    let events = new_participations.into_iter().zip(first_sequence..);
                    let events = events.map(|(new_participation, sequence)| OutboxEvent {
                        sequence,
                        ..new_participation.event
                    });
                    Ok(EntriesResult::Decided(decisions, events.collect()))
                }
                // The row is locked, so only the schema can still reject.
                Err(_) => Err(GroupOutcome::Conflict),
            },
        )
    }
}

/// Closing raises the epoch; keeping the gate closed only extends the term.
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

/// Units became available at an unknown time until now; later requests are not affected.
async fn loosen_now(store: &Store, tx: &Tx, id: CampaignId) -> Result<(), StoreError> {
    let mut loosen = store.sql("UPDATE campaign SET loosened_at = ");
    loosen.now().push(" WHERE id = ").bind(id.0);
    loosen.run(tx).await?;
    Ok(())
}
