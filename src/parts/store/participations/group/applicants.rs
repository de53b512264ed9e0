//! Entries that the database admits, while the gate is unavailable.
//!
//! The transaction locks the campaign's row, so its data is exact, and closes the campaign's gate: it raises the
//! epoch, so that commits of admissions by a gate that other replicas still reach are refused, and for a term no
//! rebuild begins. If a gate and this path both serve, this path wins and no user is admitted twice.

mod book;

use std::borrow::Cow;
use std::time::Duration;

use sea_orm::{EntityTrait, QuerySelect};

use self::book::Book;
use super::admitted::insert;
use super::rows::Others;
use super::{Entered, GroupOutcome, Mismatch};
use crate::domain::{Campaign, CampaignId, OutboxEvent, Participation, Refusal};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::campaign;
use crate::parts::store::participations::intake::{Applicant, Intake, Making};
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

/// Applicants that the database admits.
#[derive(Clone, Debug)]
pub struct Applicants<'a> {
    /// Who applies, in order.
    pub applicants: Vec<&'a Applicant>,
    /// How their rows are made.
    pub making: Making,
    /// What may be done to the campaign's gate.
    pub closing: Closing,
}

impl Applicants<'_> {
    /// Admits those whom the rules admit. Nobody, if the schema refuses one of them.
    pub(super) async fn admit(
        &self,
        store: &Store,
        tx: &Tx,
        id: CampaignId,
    ) -> Result<Result<Entered, GroupOutcome>, StoreError> {
        let locked = campaign::Entity::find_by_id(id.0).lock_exclusive();
        let Some(row) = locked.one(tx).await? else {
            return Ok(Err(GroupOutcome::Mismatch(Mismatch::UnknownCampaign)));
        };
        let was_closed = row.gate_closed_until.is_some();
        if !was_closed && self.closing == Closing::Never {
            return Ok(Err(GroupOutcome::Mismatch(Mismatch::GateOpen)));
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
        let mut book = Book::open(tx, &campaign, &self.applicants, now, loosened_at).await?;
        let (decisions, intakes) = book.decide_all(&self.applicants, &self.making);
        // The answer to a key is final: no gate may give another.
        let mut keys = self.applicants.iter().map(|one| &one.idempotency_key);
        let closes = !intakes.is_empty() || (!was_closed && keys.any(Option::is_some));
        let mut epoch = campaign.gate_epoch;
        if is_set_back {
            loosen_now(store, tx, id).await?;
        }
        if let (Closing::For(term), true) = (self.closing, closes) {
            close(store, tx, id, term).await?;
            epoch += u64::from(!was_closed);
        }
        if intakes.is_empty() {
            return Ok(Ok(Entered::Decided(decisions, Vec::new())));
        }
        let batch: Vec<Cow<'_, Intake>> = intakes.iter().map(Cow::Borrowed).collect();
        let others = Others::of(store, &batch);
        Ok(
            match insert(store, tx, &campaign, epoch, &batch, others).await? {
                Ok(first_sequence) => {
                    let events = intakes.into_iter().zip(first_sequence..);
                    let events = events.map(|(intake, sequence)| OutboxEvent {
                        sequence,
                        ..intake.event
                    });
                    Ok(Entered::Decided(decisions, events.collect()))
                }
                // With the row held only the schema can still refuse.
                Err(_) => Err(GroupOutcome::Conflict),
            },
        )
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
