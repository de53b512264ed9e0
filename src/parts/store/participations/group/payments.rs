//! Payments by reference: each pays for one participation or one order in the whole installation. The confirming
//! transaction writes them, so of two participations with the same payment only one is confirmed.

use std::collections::HashMap;

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::domain::{Obstacle, Participation, ParticipationId, RequestedChange, Status, Timestamp};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::payment::{ActiveModel, Column, Entity};
use crate::parts::store::numbers::to_signed;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// The id of the participation or order that this payment was recorded for.
    pub async fn paid_by(&self, reference: &str) -> Result<Option<Uuid>, StoreError> {
        let row = Entity::find_by_id(reference).one(&self.db).await?;
        Ok(row.map(|row| row.payable_id))
    }
}

/// The participation of each payment.
#[derive(Default)]
pub(super) struct Payers(HashMap<String, Uuid>);

impl Payers {
    /// Fails if the payment belongs to another participation, of this batch or an earlier one.
    pub(super) fn check(
        &mut self,
        id: ParticipationId,
        requested: &RequestedChange,
    ) -> Result<(), Obstacle> {
        let RequestedChange::Confirm { reference } = requested else {
            return Ok(());
        };
        let payer = *self.0.entry(reference.clone()).or_insert(id.0);
        if payer == id.0 {
            Ok(())
        } else {
            Err(Obstacle::ReferenceUsed)
        }
    }
}

/// The participations that the payments of these changes were recorded for.
pub(super) async fn payers<'a>(
    tx: &Tx,
    requested_changes: impl Iterator<Item = &'a RequestedChange>,
) -> Result<Payers, StoreError> {
    let named: Vec<&str> = requested_changes
        .filter_map(|requested| match requested {
            RequestedChange::Confirm { reference } => Some(reference.as_str()),
            RequestedChange::Cancel { .. }
            | RequestedChange::Expire
            | RequestedChange::FollowOrder { .. } => None,
        })
        .collect();
    let mut payers = Payers::default();
    if named.is_empty() {
        return Ok(payers);
    }
    let rows: Vec<(String, Uuid)> = Entity::find()
        .select_only()
        .columns([Column::Reference, Column::PayableId])
        .filter(Column::Reference.is_in(padded(&named)))
        .into_tuple()
        .all(tx)
        .await?;
    payers.0.extend(rows);
    Ok(payers)
}

/// Records the payments of the newly confirmed participations.
pub(super) async fn record(
    tx: &Tx,
    becoming: impl Iterator<Item = &Participation>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let confirmed = becoming.filter(|one| one.status == Status::Confirmed);
    let rows = confirmed.filter_map(|one| {
        Some(ActiveModel {
            reference: Set(one.payment_reference.clone()?),
            payable_id: Set(one.id.0),
            amount: Set(one.amount.map(to_signed)),
            created_at: Set(now),
        })
    });
    Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}
