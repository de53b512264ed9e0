//! Applies a batch of changes for one consumer in one transaction: inbox rows, effects, ledger.
//!
//! The primary key of the inbox decides whether an event is new, also against another member of the group that still
//! processes the same records: the second one waits for the first, violates the key, and finds the applied events in
//! its next attempt.

use std::collections::{HashMap, HashSet};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::Rewards;
use super::due::Due;
use super::plan::{AppliedState, Plan};
use crate::domain::{Consumer, EventId, ParticipationId};
use crate::parts::store::StoreError;
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::by_index;
use crate::parts::store::entity::inbox::{Column, Entity, Model};
use crate::parts::store::numbers::narrow;
use crate::parts::store::statement_lengths::padded;
use crate::runtime::failpoint;

/// The result of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events that were new.
    pub applied: usize,
    /// New events that came after a later one of their participation, and so had no effect.
    pub late: usize,
    /// Participations that were granted a reward.
    pub granted: usize,
    /// Participations whose reward was revoked.
    pub reversed: usize,
    /// Events that were already applied.
    pub duplicates: usize,
    /// Participations of this batch with a granted reward, now or before.
    pub rewarded: Vec<ParticipationId>,
}

/// The size of a row of the inbox in a statement.
const ROW_BYTES: usize = 70;

impl Rewards {
    /// Applies `batch`, which is in order, completely or not at all. `Contended` and `Constraint` mean that another
    /// member processed the same events: nothing happened, and the next attempt detects it.
    pub async fn apply(&self, consumer: Consumer, batch: &[Due]) -> Result<Applied, StoreError> {
        if batch.is_empty() {
            return Ok(Applied::default());
        }
        let tx = self.begin().await?;
        let mut known = Self::known(&tx, consumer, batch).await?;
        let (fresh, old): (Vec<&Due>, Vec<&Due>) = batch
            .iter()
            // Inserted into the known events, so that of two equal events in one batch the second is old.
            .partition(|due| known.insert(due.change.event));
        self.note(&tx, consumer, &fresh).await?;
        let states = Self::states(&tx, consumer, &fresh, &old).await?;
        let mut rewarded: Vec<ParticipationId> = states
            .iter()
            .filter(|(_, state)| state.granted.is_some())
            .map(|(id, _)| *id)
            .collect();
        let plan = Plan::of(&fresh, states);
        rewarded.extend(plan.grants.iter().map(|due| due.change.participation));
        match consumer {
            Consumer::Points => self.book(&tx, &plan).await?,
            Consumer::Coupons => self.issue(&tx, &plan).await?,
        }
        failpoint::point("consumer.applying");
        tx.commit().await?;
        failpoint::point("consumer.applied");
        Ok(Applied {
            applied: fresh.len(),
            late: plan.late,
            granted: plan.grants.len(),
            reversed: plan.reversals.len(),
            duplicates: old.len(),
            rewarded,
        })
    }

    /// Those of the events that were already applied.
    async fn known(
        tx: &Tx,
        consumer: Consumer,
        batch: &[Due],
    ) -> Result<HashSet<EventId>, StoreError> {
        let ids: Vec<Uuid> = batch.iter().map(|due| due.change.event.0).collect();
        let mut known = Entity::find()
            .select_only()
            .column(Column::EventId)
            .filter(Column::Consumer.eq(consumer.as_str()))
            .filter(Column::EventId.is_in(padded(&ids)));
        by_index(&mut known, "PRIMARY");
        let known: Vec<Uuid> = known.into_tuple().all(tx).await?;
        Ok(known.into_iter().map(EventId).collect())
    }

    async fn note(&self, tx: &Tx, consumer: Consumer, fresh: &[&Due]) -> Result<(), StoreError> {
        let row = |due: &&Due| {
            [
                (Column::Consumer, consumer.as_str().into()),
                (Column::EventId, due.change.event.0.into()),
                (Column::ParticipationId, due.change.participation.0.into()),
                (Column::KeySequence, narrow(due.change.sequence).into()),
            ]
        };
        self.insert::<Entity, _, _>(tx, ROW_BYTES, fresh, row, None)
            .await
    }

    /// The states of the participations, if any.
    async fn states(
        tx: &Tx,
        consumer: Consumer,
        fresh: &[&Due],
        old: &[&Due],
    ) -> Result<HashMap<ParticipationId, AppliedState>, StoreError> {
        let own: HashSet<EventId> = fresh.iter().map(|due| due.change.event).collect();
        let participations = distinct(fresh);
        let mut states: HashMap<ParticipationId, AppliedState> = old
            .iter()
            .map(|due| (due.change.participation, AppliedState::default()))
            .collect();
        for row in Self::inbox_of(tx, consumer, &participations).await? {
            if !own.contains(&EventId(row.event_id)) {
                let state = states
                    .entry(ParticipationId(row.participation_id))
                    .or_default();
                state.highest = state.highest.max(row.key_sequence.unsigned_abs());
            }
        }
        match consumer {
            Consumer::Points => Self::booked(tx, &mut states).await?,
            Consumer::Coupons => Self::issued(tx, &mut states).await?,
        }
        Ok(states)
    }

    /// The inbox rows of participations, including those just written. A locking read: of two transactions with
    /// changes of one participation, the second one sees the rows of the first, or one of them fails with a deadlock
    /// and is retried.
    async fn inbox_of(
        tx: &Tx,
        consumer: Consumer,
        participations: &[Uuid],
    ) -> Result<Vec<Model>, StoreError> {
        if participations.is_empty() {
            return Ok(Vec::new());
        }
        let rows = Entity::find()
            .filter(Column::Consumer.eq(consumer.as_str()))
            .filter(Column::ParticipationId.is_in(padded(participations)))
            .lock_shared();
        Ok(rows.all(tx).await?)
    }
}

fn distinct(dues: &[&Due]) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = dues.iter().map(|due| due.change.participation.0).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
