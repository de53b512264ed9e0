//! The effects of the consumer of points: entries in the ledger, and balances.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Value};
use uuid::Uuid;

use super::due::Due;
use super::plan::{Plan, Standing};
use super::{Insert, Rewards};
use crate::domain::{EntryKind, ParticipationId, to_stored_precision};
use crate::parts::store::StoreError;
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::ledger::{Column, Entity};
use crate::parts::store::entity::{balance, by_index};
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;
use crate::parts::store::unreadable::parse;

const LEDGER: Insert = Insert {
    into: "INSERT INTO ledger (participation_id, kind, user_id, campaign_id, amount, event_id, created_at) \
           VALUES ",
    row_bytes: 110,
    or_add: None,
};
const BALANCE: Insert = Insert {
    into: "INSERT INTO balance (user_id, points) VALUES ",
    row_bytes: 40,
    or_add: Some(Sql::or_add::<balance::Entity>),
};

impl Rewards {
    /// Adds the entries of the ledger to the standings.
    pub(super) async fn booked(
        tx: &Tx,
        standings: &mut HashMap<ParticipationId, Standing>,
    ) -> Result<(), StoreError> {
        if standings.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = standings.keys().map(|id| id.0).collect();
        let mut entries = Entity::find().filter(Column::ParticipationId.is_in(padded(&ids)));
        by_index(&mut entries, "PRIMARY");
        for row in entries.all(tx).await? {
            let standing = standings
                .entry(ParticipationId(row.participation_id))
                .or_default();
            match parse("the kind of an entry", &row.kind, EntryKind::parse)? {
                EntryKind::Granted => standing.granted = Some(row.amount),
                EntryKind::Reversed => standing.is_reversed = true,
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
        self.insert(tx, LEDGER, &entries, |(due, kind, amount)| {
            let change = &due.change;
            [
                change.participation.0.into(),
                kind.as_str().into(),
                change.user.0.into(),
                change.campaign.0.into(),
                (*amount).into(),
                change.event.0.into(),
                now.into(),
            ]
        })
        .await?;
        // In the order of users, so that two batches lock the balances they share in the same order.
        let mut moved: BTreeMap<i64, i64> = BTreeMap::new();
        for (due, _, amount) in &entries {
            *moved.entry(due.change.user.0).or_default() += amount;
        }
        let moved: Vec<(i64, i64)> = moved.into_iter().filter(|(_, by)| *by != 0).collect();
        self.insert(tx, BALANCE, &moved, |(user, by)| -> [Value; 2] {
            [(*user).into(), (*by).into()]
        })
        .await
    }
}
