//! Entries that the gate admitted: the campaign's units, the participations, their events.

use std::borrow::Cow;
use std::collections::BTreeSet;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::rows::{self, Others};
use super::units::{self, UnitsResult};
use super::{Entries, EntriesResult, GroupOutcome, Mismatch};
use crate::domain::{AuditNote, Campaign, OrderStatus, Timestamp};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::by_index;
use crate::parts::store::entity::customer_order::{Column, Entity};
use crate::parts::store::participations::new_participation::NewParticipation;
use crate::parts::store::sql::Sql;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

/// Prepared entries of one gate epoch.
pub(super) struct Admitted<'a> {
    campaign: &'a Campaign,
    epoch: u64,
    new_participations: Vec<Cow<'a, NewParticipation>>,
    held_from: Option<Timestamp>,
    others: Others,
}

impl<'a> Admitted<'a> {
    /// None: the gate admitted none of the entries.
    pub(super) async fn prepare(
        store: &Store,
        entries: &Entries<'a>,
    ) -> Result<Option<Self>, StoreError> {
        let Entries::Admitted {
            campaign,
            epoch,
            new_participations,
        } = entries
        else {
            return Ok(None);
        };
        let mut new_participations: Vec<Cow<'_, NewParticipation>> = new_participations
            .iter()
            .map(|new_participation| Cow::Borrowed(*new_participation))
            .collect();
        // Holds begin by the store's time, so a service with a wrong clock uses the correct duration.
        let mut held_from = None;
        if new_participations
            .iter()
            .any(|new_participation| new_participation.is_held())
        {
            let now = Sql::time(store, &store.db).await?;
            for new_participation in &mut new_participations {
                *new_participation =
                    Cow::Owned(new_participation.clone().into_owned().held_from(now));
            }
            held_from = Some(now);
        }
        Ok(Some(Self {
            campaign,
            epoch: *epoch,
            others: Others::of(store, &new_participations),
            new_participations,
            held_from,
        }))
    }

    /// Takes the units and inserts the rows, or returns why not.
    pub(super) async fn insert(
        self,
        store: &Store,
        tx: &Tx,
    ) -> Result<Result<EntriesResult, GroupOutcome>, StoreError> {
        let inserted = insert(
            store,
            tx,
            self.campaign,
            self.epoch,
            &self.new_participations,
            self.others,
        );
        Ok(inserted
            .await?
            .map(|first_sequence| EntriesResult::Admitted {
                held_from: self.held_from,
                first_sequence,
            }))
    }
}

/// Whether the orders of entries that are lines are still being placed. They stay so until the commit: a decided
/// order gets no further line.
async fn are_placing(tx: &Tx, batch: &[Cow<'_, NewParticipation>]) -> Result<bool, StoreError> {
    let orders: BTreeSet<Uuid> = batch
        .iter()
        .filter_map(|new_participation| new_participation.order.map(|order| order.0))
        .collect();
    if orders.is_empty() {
        return Ok(true);
    }
    let ids: Vec<Uuid> = orders.into_iter().collect();
    let mut placing = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Id.is_in(padded(&ids)))
        .filter(Column::Status.eq(OrderStatus::Placing.as_str()))
        .lock_shared();
    by_index(&mut placing, "PRIMARY");
    let placing: Vec<Uuid> = placing.into_tuple().all(tx).await?;
    Ok(placing.len() == ids.len())
}

/// Takes the units of entries and inserts their rows. Returns the sequence of the first event, or why they are
/// rejected.
pub(super) async fn insert(
    store: &Store,
    tx: &Tx,
    campaign: &Campaign,
    epoch: u64,
    batch: &[Cow<'_, NewParticipation>],
    others: Others,
) -> Result<Result<u64, GroupOutcome>, StoreError> {
    let (limits, last_sequence) = match units::take(store, tx, campaign, epoch, batch).await? {
        UnitsResult::Units {
            limits,
            last_sequence,
        } => (limits, last_sequence),
        UnitsResult::Nothing(mismatch) => return Ok(Err(GroupOutcome::Mismatch(mismatch))),
    };
    if !are_placing(tx, batch).await? {
        return Ok(Err(GroupOutcome::Mismatch(Mismatch::OrderDecided)));
    }
    let Some(ordinals) = units::ordinals(tx, campaign.id, limits, batch).await? else {
        return Ok(Err(GroupOutcome::Conflict));
    };
    let before = last_sequence.saturating_sub(batch.len() as u64);
    let participations = rows::participations(store, batch, &ordinals, before);
    for mut insert in participations.into_iter().chain(others.after(before)) {
        insert.run(tx).await?;
    }
    let notes: Vec<AuditNote> = batch
        .iter()
        .filter_map(|new_participation| new_participation.note())
        .collect();
    store.write_notes(tx, &notes).await?;
    Ok(Ok(before + 1))
}
