//! The transaction of a group: the campaign's units, the participations, their outbox rows. All or
//! nothing.
//!
//! The order of locks is fixed: the campaign's row first, then everything else. So writers of one
//! campaign stand in line, and what they read inside the transaction is exact.

use std::collections::{BTreeSet, HashMap};

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::intake::Intake;
use super::{Held, holdings_of, rows};
use crate::domain::{Campaign, CampaignId, EventId, Instant};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::campaign;
use crate::parts::store::numbers::{narrow, to_signed, to_unsigned};
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};
use crate::runtime::failpoint;

/// What came of a batch. Only `Committed` changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// All of it is durable.
    Committed {
        /// The time by the store's clock from which what waits for a payment, or is held back from the
        /// relay, is held; none: nothing is.
        held_from: Option<Instant>,
    },
    /// None of it: the campaign does not take this batch.
    Mismatch(Mismatch),
    /// None of it: at least one row breaks a rule of the schema or the user's limit.
    Conflict,
}

/// Why the campaign's row refuses a batch that the gate let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The gate was rebuilt since: ask it again.
    StaleEpoch,
    /// Not enough units.
    SoldOut,
}

/// A batch that failed, by what is known of it.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it happened.
    #[error("write the batch")]
    RolledBack(#[source] StoreError),
    /// The connection was lost during COMMIT: it may have happened.
    #[error("commit the batch")]
    Unknown(#[source] StoreError),
    /// No answer in time: it may have happened, or may still happen.
    #[error("commit the batch: no answer in time")]
    Late,
}

impl CommitError {
    /// Whether the same batch may be taken when it comes again, knowing that nothing happened.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::RolledBack(cause) if cause.is_rolled_back())
    }
}

impl Store {
    /// Commits a batch of one campaign, admitted in one gate epoch: the campaign's row, the
    /// participations, the outbox. All or nothing.
    pub async fn commit_participations(
        &self,
        campaign: &Campaign,
        epoch: u64,
        batch: &[Intake],
    ) -> Result<BatchOutcome, CommitError> {
        let held_from = self
            .held_from(batch)
            .await
            .map_err(CommitError::RolledBack)?;
        let held: Vec<Intake>;
        let batch = if let Some(from) = held_from {
            let held_from = |intake: &Intake| intake.clone().held_from(from);
            held = batch.iter().map(held_from).collect();
            &held
        } else {
            batch
        };
        // Put together before the transaction, which holds the campaign's row, unless their order is
        // found in it.
        let shared = batch.iter().any(|intake| intake.event.shares_its_key());
        let others = (!shared).then(|| rows::keys_and_outbox(self, batch));
        let tx = self.begin().await.map_err(CommitError::RolledBack)?;
        match write_batch(self, &tx, campaign, epoch, batch, others).await {
            Ok(None) => {
                commit(tx).await?;
                Ok(BatchOutcome::Committed { held_from })
            }
            Ok(Some(refused)) => {
                roll_back(tx).await?;
                Ok(refused)
            }
            Err(StoreError::Constraint(_)) => {
                roll_back(tx).await?;
                Ok(BatchOutcome::Conflict)
            }
            Err(error) => Err(CommitError::RolledBack(error)),
        }
    }

    /// The time by the clock that ends what is held, if something of the batch is: a service whose own
    /// clock is wrong holds no longer and no shorter than others.
    async fn held_from(&self, batch: &[Intake]) -> Result<Option<Instant>, StoreError> {
        if batch.iter().any(Intake::is_held) {
            Sql::time(self, &self.db).await.map(Some)
        } else {
            Ok(None)
        }
    }
}

/// Commits, and tells what certainly did not happen from what may have.
pub(super) async fn commit(tx: Tx) -> Result<(), CommitError> {
    failpoint::point("store.written");
    match failpoint::amid("store.committing", tx.commit())
        .await
        .map_err(StoreError::from)
    {
        Ok(()) => Ok(()),
        Err(error @ (StoreError::Contended(_) | StoreError::WriteRefused(_))) => {
            Err(CommitError::RolledBack(error))
        }
        Err(error) => Err(CommitError::Unknown(error)),
    }
}

pub(super) async fn roll_back(tx: Tx) -> Result<(), CommitError> {
    let rolled_back = tx.rollback().await;
    rolled_back.map_err(|error| CommitError::RolledBack(error.into()))
}

/// Writes all of a batch, or says what refuses it.
pub(super) async fn write_batch(
    store: &Store,
    tx: &Tx,
    campaign: &Campaign,
    epoch: u64,
    batch: &[Intake],
    others: Option<Vec<Sql>>,
) -> Result<Option<BatchOutcome>, StoreError> {
    let limits = match take_units(tx, campaign, epoch, batch).await? {
        Taken::Under(limits) => limits,
        Taken::Nothing(mismatch) => return Ok(Some(BatchOutcome::Mismatch(mismatch))),
    };
    let Some(ordinals) = ordinals(tx, campaign.id, limits, batch).await? else {
        return Ok(Some(BatchOutcome::Conflict));
    };
    let others = match others {
        Some(others) => others,
        None => rows::keys_and_outbox(store, &in_order(store, tx, campaign.id, batch).await?),
    };
    let participations = rows::participations(store, batch, &ordinals);
    for mut insert in participations.into_iter().chain(others) {
        insert.run(tx).await?;
    }
    Ok(None)
}

/// The batch with event ids that say where in the campaign's line of commits it stands. Keys that
/// several participations share need that: ids made before the campaign's row was locked are in order
/// of requests, by as many clocks as there are replicas.
async fn in_order(
    store: &Store,
    tx: &Tx,
    id: CampaignId,
    batch: &[Intake],
) -> Result<Vec<Intake>, StoreError> {
    let tick = tick(store, tx, id).await?;
    let mut batch = batch.to_vec();
    for (intake, nth) in batch.iter_mut().zip(0..) {
        intake.event.id = EventId::at_tick(tick, nth);
    }
    Ok(batch)
}

/// The next tick of the campaign's event clock.
pub(super) async fn tick(store: &Store, tx: &Tx, id: CampaignId) -> Result<u64, StoreError> {
    let now_ms = store.clock.now().timestamp_millis();
    let mut advance = Sql::new(
        store,
        "UPDATE campaign SET event_clock = CASE WHEN event_clock < ",
    );
    advance.bind(now_ms).push(" THEN ").bind(now_ms);
    advance
        .push(" ELSE event_clock + 1 END WHERE id = ")
        .bind(id.0);
    advance.run(tx).await?;
    let mut read = Sql::new(store, "SELECT event_clock FROM campaign WHERE id = ");
    let rows = read.bind(id.0).rows(tx).await?;
    let tick: i64 = match rows.first() {
        Some(row) => row.try_get("", "event_clock")?,
        None => now_ms,
    };
    Ok(to_unsigned(tick))
}

/// Units that one user may hold: now, and at most ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    now: u32,
    max: u32,
}

/// What came of taking the units of a batch.
enum Taken {
    /// They are taken, under these limits, which stay in force until the commit.
    Under(Limits),
    /// None is.
    Nothing(Mismatch),
}

/// The conditional update that makes overselling impossible, whatever the gate said. The limits that a copy
/// of the campaign has are part of the condition: where the copy is old, those of the row are taken.
async fn take_units(
    tx: &Tx,
    campaign: &Campaign,
    epoch: u64,
    batch: &[Intake],
) -> Result<Taken, StoreError> {
    let mut limits = Limits {
        now: campaign.per_user_limit,
        max: campaign.per_user_limit_max,
    };
    loop {
        if take_units_under(tx, campaign.id, epoch, limits, batch).await? {
            return Ok(Taken::Under(limits));
        }
        // The row may have changed until it is held.
        let row = campaign::Entity::find_by_id(campaign.id.0).lock_exclusive();
        let Some(row) = row.one(tx).await? else {
            return Ok(Taken::Nothing(Mismatch::StaleEpoch));
        };
        let in_force = Limits {
            now: row.per_user_limit.unsigned_abs(),
            max: row.per_user_limit_max.unsigned_abs(),
        };
        if row.gate_epoch != to_signed(epoch) {
            return Ok(Taken::Nothing(Mismatch::StaleEpoch));
        }
        if in_force == limits {
            return Ok(Taken::Nothing(Mismatch::SoldOut));
        }
        limits = in_force;
    }
}

async fn take_units_under(
    tx: &Tx,
    id: CampaignId,
    epoch: u64,
    limits: Limits,
    batch: &[Intake],
) -> Result<bool, StoreError> {
    use campaign::{Column, Entity};
    let units: i64 = batch
        .iter()
        .map(|intake| i64::from(intake.participation.quantity))
        .sum();
    let count = to_signed(batch.len() as u64);
    let after = || Expr::col(Column::CommittedUnits).add(units);
    let updated = Entity::update_many()
        .col_expr(Column::CommittedUnits, after())
        .col_expr(
            Column::ParticipationCount,
            Expr::col(Column::ParticipationCount).add(count),
        )
        .filter(Column::Id.eq(id.0))
        .filter(Column::GateEpoch.eq(to_signed(epoch)))
        .filter(Column::PerUserLimit.eq(narrow(limits.now)))
        .filter(Column::PerUserLimitMax.eq(narrow(limits.max)))
        .filter(
            Column::TotalStock
                .is_null()
                .or(Expr::col(Column::TotalStock).gte(after())),
        )
        .exec(tx)
        .await?;
    Ok(updated.rows_affected == 1)
}

/// The user's next ordinal for each row, or none when somebody would hold more than they may. Where the
/// limit never was more than one, the unique key alone decides; otherwise the units held are counted, which
/// is exact because this transaction holds the campaign's row. A limit that was lowered to one is not
/// enough: who holds the second of two may have given back the first, whose ordinal is free.
async fn ordinals(
    tx: &Tx,
    id: CampaignId,
    limits: Limits,
    batch: &[Intake],
) -> Result<Option<Vec<i32>>, StoreError> {
    if limits.now <= 1 && limits.max <= 1 {
        return Ok(Some(vec![1; batch.len()]));
    }
    let users: Vec<i64> = batch
        .iter()
        .map(|intake| intake.participation.user_id.0)
        .collect();
    let rows: Vec<Held> = holdings_of(id, &users).into_model().all(tx).await?;
    let mut held: HashMap<i64, (u64, BTreeSet<i32>)> = HashMap::new();
    for row in rows {
        let (units, taken) = held.entry(row.user_id).or_default();
        *units += u64::from(row.quantity.unsigned_abs());
        taken.extend(row.ordinal);
    }
    let mut ordinals = Vec::with_capacity(batch.len());
    for intake in batch {
        let (units, taken) = held.entry(intake.participation.user_id.0).or_default();
        *units += u64::from(intake.participation.quantity);
        // The lowest that is free: those of who gave theirs back are.
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
