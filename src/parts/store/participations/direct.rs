//! The database path: admits and commits in one transaction, for while the gate is away.
//!
//! The transaction holds the campaign's row, so what it decides by is exact, and it closes the
//! campaign's gate: the epoch is raised, so that whatever a gate admits that others can still reach is
//! refused, and for a term nobody rebuilds the gate. Where a gate and this path would both serve, this
//! path wins and nobody is admitted twice.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::commit::{commit, roll_back, write_batch};
use super::intake::{Applicant, Intake, Making, Place};
use super::{CommitError, Held, holdings_of, rows};
use crate::domain::{
    Campaign, CampaignId, Instant, OutboxEvent, Participation, ParticipationId, Refusal,
};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::campaign;
use crate::parts::store::entity::participation::{Column, Entity};
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};

/// What the database path may do to a campaign's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// Close it, or keep it closed, for so long: the gate cannot be reached from here.
    For(Duration),
    /// Nothing: serve only while somebody else has it closed.
    Never,
}

/// What became of one applicant.
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

/// What came of a batch.
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
    // What is said to a key is said for good: no gate may say otherwise.
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
    // Only where keys are shared do the rows get other ids than the events that are handed to the relay,
    // which then leaves them to its poll.
    let shared = intakes.iter().any(|intake| intake.event.shares_its_key());
    let others = (!shared).then(|| rows::keys_and_outbox(store, &intakes));
    match write_batch(store, tx, &campaign, epoch, &intakes, others).await? {
        None => {
            let events = intakes.into_iter().map(|intake| intake.event);
            let decided = DirectOutcome::Decided(decisions, events.collect());
            Ok((decided, Wrote::Something))
        }
        // With the row held only the schema can still refuse.
        Some(_) => Ok((DirectOutcome::Conflict, Wrote::Nothing)),
    }
}

/// The first to close raises the epoch; who keeps it closed only makes the term longer.
async fn close(store: &Store, tx: &Tx, id: CampaignId, term: Duration) -> Result<(), StoreError> {
    let mut close = Sql::new(
        store,
        "UPDATE campaign SET gate_epoch = CASE WHEN gate_closed_until IS NULL \
         THEN gate_epoch + 1 ELSE gate_epoch END, loosened_at = CASE WHEN gate_closed_until IS NULL THEN ",
    );
    close
        .now()
        .push(" ELSE loosened_at END, gate_closed_until = ");
    close.after(term).push(" WHERE id = ").bind(id.0);
    close.run(tx).await?;
    Ok(())
}

/// Room was made at some time until now: whoever comes later is not held up by it any more.
async fn loosen_now(store: &Store, tx: &Tx, id: CampaignId) -> Result<(), StoreError> {
    let mut loosen = Sql::new(store, "UPDATE campaign SET loosened_at = ");
    loosen.now().push(" WHERE id = ").bind(id.0);
    loosen.run(tx).await?;
    Ok(())
}

/// What decisions are made by: the campaign as it stands, and what applicants hold already.
struct Book<'a> {
    campaign: &'a Campaign,
    now: Instant,
    /// When `now` was known.
    read_at: std::time::Instant,
    /// When last something was admitted here that was refused before.
    loosened_at: Option<Instant>,
    taken: u64,
    last_rank: u64,
    held: HashMap<i64, (u64, ParticipationId)>,
}

impl<'a> Book<'a> {
    async fn open(
        tx: &Tx,
        campaign: &'a Campaign,
        applicants: &[Applicant],
        now: Instant,
        loosened_at: Option<Instant>,
    ) -> Result<Self, StoreError> {
        let read_at = std::time::Instant::now();
        let opened_at = campaign.opens_at.filter(|opens_at| *opens_at <= now);
        let users: Vec<i64> = applicants.iter().map(|one| one.user.0).collect();
        let rows: Vec<Held> = holdings_of(campaign.id, &users)
            .into_model()
            .all(tx)
            .await?;
        let mut held: HashMap<i64, (u64, ParticipationId)> = HashMap::new();
        for row in rows {
            let id = ParticipationId(row.id);
            let (units, first) = held.entry(row.user_id).or_insert((0, id));
            *units += u64::from(row.quantity.unsigned_abs());
            *first = Ord::min(*first, id);
        }
        let last_rank: Option<Option<i64>> = Entity::find()
            .select_only()
            .column_as(Column::Rank.max(), "last_rank")
            .filter(Column::CampaignId.eq(campaign.id.0))
            .into_tuple()
            .one(tx)
            .await?;
        Ok(Self {
            campaign,
            now,
            read_at,
            loosened_at: loosened_at.max(opened_at),
            taken: campaign.committed_units,
            last_rank: to_unsigned(last_rank.flatten().unwrap_or(0)),
            held,
        })
    }

    /// A decision for each, in order, and the rows of those that are admitted.
    fn decide_all(
        &mut self,
        applicants: &[Applicant],
        making: &Making,
    ) -> (Vec<Decision>, Vec<Intake>) {
        let mut intakes = Vec::new();
        let decisions = applicants
            .iter()
            .map(|applicant| match self.decide(applicant) {
                Ok(_) if self.may_be_refused(applicant) => Decision::Outstanding,
                Ok(place) => {
                    self.take(applicant, place);
                    let intake = Intake::of(self.campaign, applicant, place, making);
                    let intake = intake.held_from(self.now);
                    let accepted = Decision::Accepted(intake.participation.clone());
                    intakes.push(intake);
                    accepted
                }
                Err(refusal) => Decision::Refused {
                    refusal,
                    remaining: self.remaining(),
                },
            });
        (decisions.collect(), intakes)
    }

    /// The rules of the gate, in its order.
    fn decide(&self, applicant: &Applicant) -> Result<Place, Refusal> {
        let campaign = self.campaign;
        if let Some(refusal) = campaign.closed_to_all(self.now) {
            return Err(refusal);
        }
        if applicant.quantity > campaign.max_quantity {
            return Err(Refusal::LimitExceeded);
        }
        let quantity = u64::from(applicant.quantity);
        let limit = u64::from(campaign.per_user_limit);
        let held = self.held.get(&applicant.user.0).copied();
        let units = held.map_or(0, |(units, _)| units);
        match held {
            Some((_, first)) if limit == 1 => return Err(Refusal::AlreadyParticipated { first }),
            _ if units + quantity > limit => return Err(Refusal::LimitExceeded),
            _ => {}
        }
        if self.remaining().is_some_and(|left| quantity > left) {
            return Err(Refusal::SoldOut);
        }
        Ok(Place {
            rank: self.last_rank + 1,
            remaining: self.remaining().map(|left| left.saturating_sub(quantity)),
        })
    }

    /// Books what was decided.
    fn take(&mut self, applicant: &Applicant, place: Place) {
        let quantity = u64::from(applicant.quantity);
        self.taken += quantity;
        self.last_rank = place.rank;
        let held = self.held.entry(applicant.user.0);
        let (units, _) = held.or_insert((0, applicant.participation));
        *units += quantity;
    }

    /// Whether an applicant with a key came before room was made here: what has no key is asked once. Its age
    /// is taken later than the time, so that it is never too small.
    fn may_be_refused(&self, applicant: &Applicant) -> bool {
        let age = self.read_at.saturating_duration_since(applicant.since);
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let came_at = self.now.checked_sub_signed(age);
        applicant.idempotency_key.is_some()
            && self
                .loosened_at
                .is_some_and(|at| came_at.is_none_or(|came_at| came_at <= at))
    }

    fn remaining(&self) -> Option<u64> {
        let total = self.campaign.total_stock;
        total.map(|total| total.saturating_sub(self.taken))
    }
}
