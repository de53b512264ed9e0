//! Entries that the gate admitted: the campaign's units, the participations, their events.

use std::borrow::Cow;
use std::collections::BTreeSet;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::rows::{self, Others};
use super::units::{self, Taken};
use super::{Entered, Entries, GroupOutcome, Mismatch};
use crate::domain::{AuditNote, Campaign, OrderStatus, Timestamp};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::customer_order::{Column, Entity};
use crate::parts::store::participations::intake::Intake;
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};

/// Entries of one gate epoch, put together.
pub(super) struct Admitted<'a> {
    campaign: &'a Campaign,
    epoch: u64,
    intakes: Vec<Cow<'a, Intake>>,
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
            intakes,
        } = entries
        else {
            return Ok(None);
        };
        let mut intakes: Vec<Cow<'_, Intake>> = intakes
            .iter()
            .map(|intake| Cow::Borrowed(*intake))
            .collect();
        // Holds begin by the store's time: a service with a wrong clock holds as long as others.
        let mut held_from = None;
        if intakes.iter().any(|intake| intake.is_held()) {
            let now = Sql::time(store, &store.db).await?;
            for intake in &mut intakes {
                *intake = Cow::Owned(intake.clone().into_owned().held_from(now));
            }
            held_from = Some(now);
        }
        Ok(Some(Self {
            campaign,
            epoch: *epoch,
            others: Others::of(store, &intakes),
            intakes,
            held_from,
        }))
    }

    /// Takes the units and inserts the rows, or says why not.
    pub(super) async fn insert(
        self,
        store: &Store,
        tx: &Tx,
    ) -> Result<Result<Entered, GroupOutcome>, StoreError> {
        let inserted = insert(
            store,
            tx,
            self.campaign,
            self.epoch,
            &self.intakes,
            self.others,
        );
        Ok(inserted.await?.map(|first_sequence| Entered::Admitted {
            held_from: self.held_from,
            first_sequence,
        }))
    }
}

/// Whether the orders of which entries are lines are still being placed. They stay so until the commit: an order that
/// is decided gets no further line.
async fn are_placing(tx: &Tx, batch: &[Cow<'_, Intake>]) -> Result<bool, StoreError> {
    let orders: BTreeSet<Uuid> = batch
        .iter()
        .filter_map(|intake| intake.order.map(|order| order.0))
        .collect();
    if orders.is_empty() {
        return Ok(true);
    }
    let ids: Vec<Uuid> = orders.into_iter().collect();
    let placing: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Id.is_in(padded(&ids)))
        .filter(Column::Status.eq(OrderStatus::Placing.as_str()))
        .lock_shared()
        .into_tuple()
        .all(tx)
        .await?;
    Ok(placing.len() == ids.len())
}

/// Takes the units of entries and inserts their rows: the sequence of the first event, or why they are refused.
pub(super) async fn insert(
    store: &Store,
    tx: &Tx,
    campaign: &Campaign,
    epoch: u64,
    batch: &[Cow<'_, Intake>],
    others: Others,
) -> Result<Result<u64, GroupOutcome>, StoreError> {
    let (limits, last_sequence) = match units::take(store, tx, campaign, epoch, batch).await? {
        Taken::Units {
            limits,
            last_sequence,
        } => (limits, last_sequence),
        Taken::Nothing(mismatch) => return Ok(Err(GroupOutcome::Mismatch(mismatch))),
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
    let notes: Vec<AuditNote> = batch.iter().filter_map(|intake| intake.note()).collect();
    store.write_notes(tx, &notes).await?;
    Ok(Ok(before + 1))
}
