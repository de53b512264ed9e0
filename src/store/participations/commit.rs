//! The transaction of a group: the campaign's units, the participations, their outbox rows. All or
//! nothing.
//!
//! The order of locks is fixed: the campaign's row first, then everything else. So writers of one
//! campaign stand in line, and what they read inside the transaction is exact.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};

use super::{Held, holdings};
use crate::domain::{
    Campaign, CampaignId, Instant, OutboxEvent, Participation, to_stored_precision,
};
use crate::store::campaigns::{narrow, to_signed};
use crate::store::entity::participation::{ActiveModel, Column, Entity};
use crate::store::entity::{campaign, idempotency, outbox_event, outbox_pending};
use crate::store::shapes::{padded, slices};
use crate::store::{Store, StoreError};

/// Rows of one statement, by what a row of each table takes on the wire: about 110 bytes for a
/// participation, 100 for a key, 450 for an event, 45 for its pending entry.
const ROWS_MAX: usize = 128;
const KEY_ROWS_MAX: usize = 128;
const EVENT_ROWS_MAX: usize = 32;
const PENDING_ROWS_MAX: usize = 256;

/// One participation to be committed, with the event that tells of it.
#[derive(Clone, Debug)]
pub struct Intake {
    /// As it will stand.
    pub participation: Participation,
    /// The client's key, unique per user.
    pub idempotency_key: Option<String>,
    /// The outbox row of the change.
    pub event: OutboxEvent,
    /// Until when the relay leaves the row alone because its writer publishes it.
    pub hold_until: Option<Instant>,
}

/// What came of a batch. Only `Committed` changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// All of it is durable.
    Committed,
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
        let tx = self.begin().await.map_err(CommitError::RolledBack)?;
        match write_batch(&tx, campaign, epoch, batch).await {
            Ok(BatchOutcome::Committed) => match tx.commit().await.map_err(StoreError::from) {
                Ok(()) => Ok(BatchOutcome::Committed),
                Err(error @ StoreError::Contended(_)) => Err(CommitError::RolledBack(error)),
                Err(error) => Err(CommitError::Unknown(error)),
            },
            Ok(refused) => {
                tx.rollback()
                    .await
                    .map_err(|error| CommitError::RolledBack(error.into()))?;
                Ok(refused)
            }
            Err(StoreError::Constraint(_)) => {
                tx.rollback()
                    .await
                    .map_err(|error| CommitError::RolledBack(error.into()))?;
                Ok(BatchOutcome::Conflict)
            }
            Err(error) => Err(CommitError::RolledBack(error)),
        }
    }
}

async fn write_batch(
    tx: &DatabaseTransaction,
    campaign: &Campaign,
    epoch: u64,
    batch: &[Intake],
) -> Result<BatchOutcome, StoreError> {
    if let Some(mismatch) = take_units(tx, campaign.id, epoch, batch).await? {
        return Ok(BatchOutcome::Mismatch(mismatch));
    }
    let Some(ordinals) = ordinals(tx, campaign, batch).await? else {
        return Ok(BatchOutcome::Conflict);
    };
    let rows: Vec<(&Intake, i32)> = batch.iter().zip(ordinals).collect();
    for rows in slices(&rows, ROWS_MAX) {
        let rows = rows
            .iter()
            .map(|(intake, ordinal)| participation_row(&intake.participation, *ordinal));
        Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    let keyed: Vec<&Intake> = batch
        .iter()
        .filter(|intake| intake.idempotency_key.is_some())
        .collect();
    for rows in slices(&keyed, KEY_ROWS_MAX) {
        idempotency::Entity::insert_many(rows.iter().filter_map(|intake| key_row(intake)))
            .exec_without_returning(tx)
            .await?;
    }
    for rows in slices(batch, EVENT_ROWS_MAX) {
        outbox_event::Entity::insert_many(rows.iter().map(event_row))
            .exec_without_returning(tx)
            .await?;
    }
    for rows in slices(batch, PENDING_ROWS_MAX) {
        outbox_pending::Entity::insert_many(rows.iter().map(pending_row))
            .exec_without_returning(tx)
            .await?;
    }
    Ok(BatchOutcome::Committed)
}

/// The conditional update that makes overselling impossible, whatever the gate said.
async fn take_units(
    tx: &DatabaseTransaction,
    id: CampaignId,
    epoch: u64,
    batch: &[Intake],
) -> Result<Option<Mismatch>, StoreError> {
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
        .filter(
            Column::TotalStock
                .is_null()
                .or(Expr::col(Column::TotalStock).gte(after())),
        )
        .exec(tx)
        .await?;
    if updated.rows_affected == 1 {
        return Ok(None);
    }
    let epoch_now = Entity::find_by_id(id.0)
        .one(tx)
        .await?
        .map(|row| row.gate_epoch);
    let same = epoch_now == Some(to_signed(epoch));
    Ok(Some(if same {
        Mismatch::SoldOut
    } else {
        Mismatch::StaleEpoch
    }))
}

/// The user's next ordinal for each row, or none when somebody would hold more than they may. With a
/// limit of one the unique key alone decides; with more, the units held are counted, which is exact
/// because this transaction holds the campaign's row.
async fn ordinals(
    tx: &DatabaseTransaction,
    campaign: &Campaign,
    batch: &[Intake],
) -> Result<Option<Vec<i32>>, StoreError> {
    if campaign.per_user_limit == 1 {
        return Ok(Some(vec![1; batch.len()]));
    }
    let users: Vec<i64> = batch
        .iter()
        .map(|intake| intake.participation.user_id.0)
        .collect();
    let rows: Vec<Held> = holdings(campaign.id)
        .filter(Column::UserId.is_in(padded(&users)))
        .into_model()
        .all(tx)
        .await?;
    let mut held: HashMap<i64, (u64, i32)> = HashMap::new();
    for row in rows {
        let (units, ordinal) = held.entry(row.user_id).or_default();
        *units += u64::from(row.quantity.unsigned_abs());
        *ordinal = Ord::max(*ordinal, row.ordinal.unwrap_or(0));
    }
    let mut ordinals = Vec::with_capacity(batch.len());
    for intake in batch {
        let (units, ordinal) = held.entry(intake.participation.user_id.0).or_default();
        *units += u64::from(intake.participation.quantity);
        *ordinal += 1;
        if *units > u64::from(campaign.per_user_limit) {
            return Ok(None);
        }
        ordinals.push(*ordinal);
    }
    Ok(Some(ordinals))
}

fn participation_row(participation: &Participation, ordinal: i32) -> ActiveModel {
    ActiveModel {
        id: Set(participation.id.0),
        campaign_id: Set(participation.campaign_id.0),
        user_id: Set(participation.user_id.0),
        quantity: Set(narrow(participation.quantity)),
        rank: Set(to_signed(participation.rank)),
        ordinal: Set(Some(ordinal)),
        status: Set(participation.status.as_str().to_owned()),
        remaining: Set(participation.remaining.map(to_signed)),
        version: Set(1),
        expires_at: Set(participation.expires_at.map(to_stored_precision)),
        rewarded_at: Set(None),
        created_at: Set(participation.created_at),
        updated_at: Set(participation.created_at),
    }
}

fn key_row(intake: &Intake) -> Option<idempotency::ActiveModel> {
    intake
        .idempotency_key
        .as_ref()
        .map(|key| idempotency::ActiveModel {
            user_id: Set(intake.participation.user_id.0),
            idempotency_key: Set(key.clone()),
            participation_id: Set(intake.participation.id.0),
            created_at: Set(intake.participation.created_at),
        })
}

fn event_row(intake: &Intake) -> outbox_event::ActiveModel {
    let event = &intake.event;
    outbox_event::ActiveModel {
        id: Set(event.id.0),
        bucket: Set(bucket(event)),
        campaign_id: Set(event.campaign_id.0),
        aggregatetype: Set(event.stream.as_str().to_owned()),
        aggregateid: Set(event.aggregate_id.clone()),
        event_type: Set(event.event_type.clone()),
        message_key: Set(event.key.clone()),
        key_sequence: Set(narrow(event.key_sequence)),
        rank: Set(event.rank.map(to_signed)),
        traceparent: Set(event.traceparent.clone()),
        payload: Set(event.payload.clone()),
        created_at: Set(event.created_at),
    }
}

fn pending_row(intake: &Intake) -> outbox_pending::ActiveModel {
    outbox_pending::ActiveModel {
        bucket: Set(bucket(&intake.event)),
        event_id: Set(intake.event.id.0),
        campaign_id: Set(intake.event.campaign_id.0),
        hold_until: Set(intake.hold_until),
    }
}

fn bucket(event: &OutboxEvent) -> i16 {
    i16::try_from(event.bucket).unwrap_or(0)
}
