//! The units of a batch: taken from the campaign's stock, within the limit of each user.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use sea_orm::{EntityTrait, QuerySelect};

use super::Mismatch;
use crate::domain::{Campaign, CampaignId};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::campaign;
use crate::parts::store::numbers::{narrow, to_signed};
use crate::parts::store::participations::new_participation::NewParticipation;
use crate::parts::store::participations::{HoldingRow, holdings_of};
use crate::parts::store::{Store, StoreError};

/// The limit of units per user: the current one, and the highest so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    now: u32,
    max: u32,
}

/// The result of taking the units of a batch.
pub(super) enum UnitsResult {
    /// The units are taken.
    Units {
        /// The limits, which cannot change until the commit.
        limits: Limits,
        /// Sequence of the last event of the batch, one for each participation.
        last_sequence: u64,
    },
    /// No units are taken.
    Nothing(Mismatch),
}

/// The conditional update that prevents overselling, whatever the gate admitted. The limits of the caller's copy of
/// the campaign are part of the condition; if the copy is old, the limits of the row are used.
pub(super) async fn take(
    store: &Store,
    tx: &Tx,
    campaign: &Campaign,
    epoch: u64,
    batch: &[Cow<'_, NewParticipation>],
) -> Result<UnitsResult, StoreError> {
    let mut limits = Limits {
        now: campaign.per_user_limit,
        max: campaign.per_user_limit_max,
    };
    loop {
        let taken = take_under(store, tx, campaign.id, epoch, limits, batch).await?;
        if let Some(last_sequence) = taken {
            return Ok(UnitsResult::Units {
                limits,
                last_sequence,
            });
        }
        // The row may change until it is locked.
        let row = campaign::Entity::find_by_id(campaign.id.0).lock_exclusive();
        let Some(row) = row.one(tx).await? else {
            return Ok(UnitsResult::Nothing(Mismatch::StaleEpoch));
        };
        let in_force = Limits {
            now: row.per_user_limit.unsigned_abs(),
            max: row.per_user_limit_max.unsigned_abs(),
        };
        if row.gate_epoch != to_signed(epoch) {
            return Ok(UnitsResult::Nothing(Mismatch::StaleEpoch));
        }
        if in_force == limits {
            return Ok(UnitsResult::Nothing(Mismatch::SoldOut));
        }
        limits = in_force;
    }
}

async fn take_under(
    store: &Store,
    tx: &Tx,
    id: CampaignId,
    epoch: u64,
    limits: Limits,
    batch: &[Cow<'_, NewParticipation>],
) -> Result<Option<u64>, StoreError> {
    let units: i64 = batch
        .iter()
        .map(|new_participation| i64::from(new_participation.participation.quantity))
        .sum();
    let mut sql = store.sql("UPDATE campaign SET committed_units = committed_units + ");
    sql.bind(units)
        .push(", participation_count = participation_count + ")
        .bind(to_signed(batch.len() as u64))
        .push(", ")
        .append_events(batch.len())
        .push(" WHERE id = ")
        .bind(id.0)
        .push(" AND gate_epoch = ")
        .bind(to_signed(epoch))
        .push(" AND per_user_limit = ")
        .bind(narrow(limits.now))
        .push(" AND per_user_limit_max = ")
        .bind(narrow(limits.max))
        .push(" AND (total_stock IS NULL OR total_stock >= committed_units + ")
        .bind(units)
        .push(")");
    sql.run_for_sequence(tx).await
}

/// The user's next ordinal for each row; none: a user would exceed the limit. If the limit was never above one, the
/// unique key decides. Otherwise the held units are counted, which is exact because this transaction locks the
/// campaign's row. The current limit of one is not enough: a user may hold the second of two units and have returned
/// the first, whose ordinal is free.
pub(super) async fn ordinals(
    tx: &Tx,
    id: CampaignId,
    limits: Limits,
    batch: &[Cow<'_, NewParticipation>],
) -> Result<Option<Vec<i32>>, StoreError> {
    if limits.now <= 1 && limits.max <= 1 {
        return Ok(Some(vec![1; batch.len()]));
    }
    let users: Vec<i64> = batch
        .iter()
        .map(|new_participation| new_participation.participation.user_id.0)
        .collect();
    let rows: Vec<HoldingRow> = holdings_of(id, &users).into_model().all(tx).await?;
    let mut held: HashMap<i64, (u64, BTreeSet<i32>)> = HashMap::new();
    for row in rows {
        let (units, taken) = held.entry(row.user_id).or_default();
        *units += u64::from(row.quantity.unsigned_abs());
        taken.extend(row.ordinal);
    }
    let mut ordinals = Vec::with_capacity(batch.len());
    for new_participation in batch {
        let (units, taken) = held
            .entry(new_participation.participation.user_id.0)
            .or_default();
        *units += u64::from(new_participation.participation.quantity);
        // The lowest free ordinal; ordinals of returned units are free.
        let ordinal = (1..=i32::MAX)
            .find(|free| !taken.contains(free))
            .unwrap_or(i32::MAX);
        taken.insert(ordinal);
        if *units > u64::from(limits.now) {
            return Ok(None);
        }
        ordinals.push(ordinal);
    }
    Ok(Some(ordinals))
}
