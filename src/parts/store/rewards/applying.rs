//! Applies a batch of changes for one consumer in one transaction: inbox rows, effects, ledger.
//!
//! The primary key of the inbox decides whether an event is new, also against another member of the group that still
//! processes the same records: the second one waits for the first, violates the key, and finds the events applied on its
//! next attempt.

use std::collections::{HashMap, HashSet};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::Rewards;
use super::due::Due;
use super::plan::{Plan, Standing};
use crate::domain::{Consumer, EventId, ParticipationId};
use crate::parts::store::StoreError;
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::by_index;
use crate::parts::store::entity::inbox::{Column, Entity, Model};
use crate::parts::store::numbers::narrow;
use crate::parts::store::shapes::padded;
use crate::runtime::failpoint;

/// The result of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events that were new.
    pub applied: usize,
    /// Those of them that came after a later one of their participation, and so had no effect.
    pub late: usize,
    /// Participations granted something.
    pub granted: usize,
    /// Participations that lost it again.
    pub reversed: usize,
    /// Events that had been applied before.
    pub duplicates: usize,
    /// Participations of this batch that were granted something, now or before.
    pub rewarded: Vec<ParticipationId>,
}

/// What a row of the inbox takes on the wire.
const ROW_BYTES: usize = 70;

impl Rewards {
    /// Applies `batch`, which is in order, all of it or nothing. `Contended` and `Constraint` mean that
    /// somebody else was at the same events: nothing happened, and the next attempt finds out.
    pub async fn apply(&self, consumer: Consumer, batch: &[Due]) -> Result<Applied, StoreError> {
        if batch.is_empty() {
            return Ok(Applied::default());
        }
        let tx = self.begin().await?;
        let mut known = Self::known(&tx, consumer, batch).await?;
        let (fresh, old): (Vec<&Due>, Vec<&Due>) = batch
            .iter()
            // Inserted into what is known, so that the second of two in one batch is an old one.
            .partition(|due| known.insert(due.change.event));
        self.note(&tx, consumer, &fresh).await?;
        let standings = Self::standings(&tx, consumer, &fresh, &old).await?;
        let mut rewarded: Vec<ParticipationId> = standings
            .iter()
            .filter(|(_, standing)| standing.granted.is_some())
            .map(|(id, _)| *id)
            .collect();
        let plan = Plan::of(&fresh, standings);
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

    /// Those of the events that were applied before.
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
    async fn standings(
        tx: &Tx,
        consumer: Consumer,
        fresh: &[&Due],
        old: &[&Due],
    ) -> Result<HashMap<ParticipationId, Standing>, StoreError> {
        let own: HashSet<EventId> = fresh.iter().map(|due| due.change.event).collect();
        let participations = distinct(fresh);
        let mut standings: HashMap<ParticipationId, Standing> = old
            .iter()
            .map(|due| (due.change.participation, Standing::default()))
            .collect();
        for row in Self::inbox_of(tx, consumer, &participations).await? {
            if !own.contains(&EventId(row.event_id)) {
                let standing = standings
                    .entry(ParticipationId(row.participation_id))
                    .or_default();
                standing.highest = standing.highest.max(row.key_sequence.unsigned_abs());
            }
        }
        match consumer {
            Consumer::Points => Self::booked(tx, &mut standings).await?,
            Consumer::Coupons => Self::issued(tx, &mut standings).await?,
        }
        Ok(standings)
    }

    /// The inbox rows of participations, including those just written. A locking read: of two transactions with
    /// changes of one participation, the second sees what the first has written, or one of them is the victim of a
    /// deadlock and is retried.
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
