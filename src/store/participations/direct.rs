//! The database path: admits and commits in one transaction, for while the gate is away.
//!
//! The transaction holds the campaign's row, so what it decides by is exact, and it closes the
//! campaign's gate: the epoch is raised, so that whatever a gate admits that others can still reach is
//! refused, and for a term nobody rebuilds the gate. Where a gate and this path would both serve, this
//! path wins and nobody is admitted twice.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::commit::{commit, roll_back, write_batch};
use super::intake::{Applicant, Intake, Making, Place};
use super::{CommitError, Held, holdings_of, rows};
use crate::domain::{
    Campaign, CampaignId, Instant, OutboxEvent, Participation, ParticipationId, Refusal,
};
use crate::store::bounded::Tx;
use crate::store::campaigns::to_unsigned;
use crate::store::entity::campaign;
use crate::store::entity::participation::{Column, Entity};
use crate::store::outbox::Sql;
use crate::store::{Store, StoreError};

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
        let outcome = match decide_and_write(self, &tx, id, applicants, making, closing).await {
            Ok(outcome) => outcome,
            Err(StoreError::Constraint(_)) => DirectOutcome::Conflict,
            Err(error) => return Err(CommitError::RolledBack(error)),
        };
        match &outcome {
            DirectOutcome::Decided(_, events) if !events.is_empty() => commit(tx).await?,
            _ => roll_back(tx).await?,
        }
        Ok(outcome)
    }
}

async fn decide_and_write(
    store: &Store,
    tx: &Tx,
    id: CampaignId,
    applicants: &[Applicant],
    making: &Making,
    closing: Closing,
) -> Result<DirectOutcome, StoreError> {
    let locked = campaign::Entity::find_by_id(id.0).lock_exclusive();
    let Some(row) = locked.one(tx).await? else {
        return Ok(DirectOutcome::Unknown);
    };
    let was_closed = row.gate_closed_until.is_some();
    if !was_closed && closing == Closing::Never {
        return Ok(DirectOutcome::Open);
    }
    let campaign: Campaign = row.try_into()?;
    let mut book = Book::open(store, tx, &campaign, applicants).await?;
    let mut intakes = Vec::new();
    let decisions = applicants
        .iter()
        .map(|applicant| match book.decide(applicant) {
            Ok(place) => {
                let intake = Intake::of(&campaign, applicant, place, making).held_from(book.now);
                let accepted = Decision::Accepted(intake.participation.clone());
                intakes.push(intake);
                accepted
            }
            Err(refusal) => Decision::Refused {
                refusal,
                remaining: book.remaining(),
            },
        })
        .collect();
    if intakes.is_empty() {
        return Ok(DirectOutcome::Decided(decisions, Vec::new()));
    }
    let epoch = if let Closing::For(term) = closing {
        close(store, tx, id, term).await?;
        campaign.gate_epoch + u64::from(!was_closed)
    } else {
        campaign.gate_epoch
    };
    // Only where keys are shared do the rows get other ids than the events that are handed to the relay,
    // which then leaves them to its poll.
    let shared = intakes.iter().any(|intake| intake.event.shares_its_key());
    let others = (!shared).then(|| rows::keys_and_outbox(store, &intakes));
    match write_batch(store, tx, &campaign, epoch, &intakes, others).await? {
        None => {
            let events = intakes.into_iter().map(|intake| intake.event);
            Ok(DirectOutcome::Decided(decisions, events.collect()))
        }
        // With the row held only the schema can still refuse.
        Some(_) => Ok(DirectOutcome::Conflict),
    }
}

/// The first to close raises the epoch; who keeps it closed only makes the term longer.
async fn close(store: &Store, tx: &Tx, id: CampaignId, term: Duration) -> Result<(), StoreError> {
    let mut close = Sql::new(
        store,
        "UPDATE campaign SET gate_epoch = CASE WHEN gate_closed_until IS NULL \
         THEN gate_epoch + 1 ELSE gate_epoch END, gate_closed_until = ",
    );
    close.after(term).push(" WHERE id = ").bind(id.0);
    close.run(tx).await?;
    Ok(())
}

/// What decisions are made by: the campaign as it stands, and what applicants hold already.
struct Book<'a> {
    campaign: &'a Campaign,
    now: Instant,
    taken: u64,
    last_rank: u64,
    held: HashMap<i64, (u64, ParticipationId)>,
}

impl<'a> Book<'a> {
    async fn open(
        store: &Store,
        tx: &Tx,
        campaign: &'a Campaign,
        applicants: &[Applicant],
    ) -> Result<Self, StoreError> {
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
            now: Sql::time(store, tx).await?,
            taken: campaign.committed_units,
            last_rank: to_unsigned(last_rank.flatten().unwrap_or(0)),
            held,
        })
    }

    /// The rules of the gate, in its order.
    fn decide(&mut self, applicant: &Applicant) -> Result<Place, Refusal> {
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
        self.taken += quantity;
        self.last_rank += 1;
        let first = held.map_or(applicant.participation, |(_, first)| first);
        self.held
            .insert(applicant.user.0, (units + quantity, first));
        Ok(Place {
            rank: self.last_rank,
            remaining: self.remaining(),
        })
    }

    fn remaining(&self) -> Option<u64> {
        let total = self.campaign.total_stock;
        total.map(|total| total.saturating_sub(self.taken))
    }
}
