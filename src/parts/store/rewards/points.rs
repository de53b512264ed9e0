//! The effects of the consumer of points: entries in the ledger, and balances.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::Rewards;
use super::due::Due;
use super::plan::{AppliedState, Plan};
use crate::domain::{EntryKind, ParticipationId, to_stored_precision};
use crate::parts::store::StoreError;
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::ledger::{Column, Entity};
use crate::parts::store::entity::{balance, by_index};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::unreadable::parse;

/// The sizes of a ledger entry and of a balance in a statement.
const ENTRY_BYTES: usize = 110;
const BALANCE_BYTES: usize = 40;

impl Rewards {
    /// Adds the entries of the ledger to the applied states.
    pub(super) async fn booked(
        tx: &Tx,
        states: &mut HashMap<ParticipationId, AppliedState>,
    ) -> Result<(), StoreError> {
        if states.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = states.keys().map(|id| id.0).collect();
        let mut entries = Entity::find().filter(Column::ParticipationId.is_in(padded(&ids)));
        by_index(&mut entries, "PRIMARY");
        for row in entries.all(tx).await? {
            let state = states
                .entry(ParticipationId(row.participation_id))
                .or_default();
            match parse("the kind of an entry", &row.kind, EntryKind::parse)? {
                EntryKind::Granted => state.granted = Some(row.amount),
                EntryKind::Reversed => state.is_reversed = true,
            }
        }
        Ok(())
    }

    /// Writes the entries of the plan, and updates the balances.
    pub(super) async fn book(&self, tx: &Tx, plan: &Plan<'_>) -> Result<(), StoreError> {
        let granted = plan.grants.iter().filter_map(|due| {
            let amount = due.amount()?;
            Some((*due, EntryKind::Granted, amount))
        });
        let reversed = plan
            .reversals
            .iter()
            .map(|(due, amount)| (*due, EntryKind::Reversed, -amount));
        let entries: Vec<(&Due, EntryKind, i64)> = granted.chain(reversed).collect();
        let now = to_stored_precision(self.clock.now());
        let row = |(due, kind, amount): &(&Due, EntryKind, i64)| {
            let change = &due.change;
            [
                (Column::ParticipationId, change.participation.0.into()),
                (Column::Kind, kind.as_str().into()),
                (Column::UserId, change.user.0.into()),
                (Column::CampaignId, change.campaign.0.into()),
                (Column::Amount, (*amount).into()),
                (Column::EventId, change.event.0.into()),
                (Column::CreatedAt, now.into()),
            ]
        };
        self.insert::<Entity, _, _>(tx, ENTRY_BYTES, &entries, row, None)
            .await?;
        // In the order of users, so that two batches lock shared balances in the same order.
        let mut moved: BTreeMap<i64, i64> = BTreeMap::new();
        for (due, _, amount) in &entries {
            *moved.entry(due.change.user.0).or_default() += amount;
        }
        let moved: Vec<(i64, i64)> = moved.into_iter().filter(|(_, by)| *by != 0).collect();
        let row = |(user, by): &(i64, i64)| {
            [
                (balance::Column::UserId, (*user).into()),
                (balance::Column::Points, (*by).into()),
            ]
        };
        let or_add = Some(self.or_add::<balance::Entity>());
        self.insert::<balance::Entity, _, _>(tx, BALANCE_BYTES, &moved, row, or_add)
            .await
    }
}
