//! Participations: committed many at a time with their outbox rows, and read back.
//!
//! The order of locks is fixed: the campaign's row first, then everything else. So writers of one
//! campaign stand in line, and what they read inside the transaction is exact.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, FromQueryResult, QueryFilter,
    QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::campaigns::{narrow, to_signed, to_unsigned};
use super::entity::participation::{ActiveModel, Column, Entity, Model};
use super::entity::{campaign, idempotency, outbox_event, outbox_pending};
use super::{Store, StoreError};
use crate::domain::{
    Campaign, CampaignId, Instant, OutboxEvent, Participation, ParticipationId, Seat, Status,
    UserId, to_stored_precision,
};

/// The statuses in which a participation holds its units.
const STANDING: [&str; 2] = [Status::Reserved.as_str(), Status::Confirmed.as_str()];

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

/// What a rebuild of the gate starts from.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The campaign, with its new epoch.
    pub campaign: Campaign,
    /// Who holds what.
    pub seats: Vec<Seat>,
    /// The highest place in line that was committed.
    pub last_rank: u64,
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

    /// One participation.
    pub async fn participation(
        &self,
        id: ParticipationId,
    ) -> Result<Option<Participation>, StoreError> {
        Entity::find_by_id(id.0)
            .one(&self.db)
            .await?
            .map(Participation::try_from)
            .transpose()
    }

    /// Which of these are committed.
    pub async fn committed_among(
        &self,
        ids: &[ParticipationId],
    ) -> Result<Vec<ParticipationId>, StoreError> {
        let found: Vec<Uuid> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::Id.is_in(ids.iter().map(|id| id.0)))
            .into_tuple()
            .all(&self.db)
            .await?;
        Ok(found.into_iter().map(ParticipationId).collect())
    }

    /// The user's first participation in the campaign that stands.
    pub async fn standing_participation(
        &self,
        campaign: CampaignId,
        user: UserId,
    ) -> Result<Option<Participation>, StoreError> {
        Entity::find()
            .filter(Column::UserId.eq(user.0))
            .filter(Column::CampaignId.eq(campaign.0))
            .filter(Column::Ordinal.is_not_null())
            .order_by_asc(Column::Ordinal)
            .one(&self.db)
            .await?
            .map(Participation::try_from)
            .transpose()
    }

    /// The participation a user's idempotency key led to.
    pub async fn participation_by_key(
        &self,
        user: UserId,
        key: &str,
    ) -> Result<Option<Participation>, StoreError> {
        let found = idempotency::Entity::find_by_id((user.0, key.to_owned()))
            .one(&self.db)
            .await?;
        match found {
            Some(row) => {
                self.participation(ParticipationId(row.participation_id))
                    .await
            }
            None => Ok(None),
        }
    }

    /// A page of a user's participations, newest first.
    pub async fn participations_of(
        &self,
        user: UserId,
        after: Option<ParticipationId>,
        limit: u64,
    ) -> Result<Vec<Participation>, StoreError> {
        let mut query = Entity::find()
            .filter(Column::UserId.eq(user.0))
            .order_by_desc(Column::Id)
            .limit(limit);
        if let Some(after) = after {
            query = query.filter(Column::Id.lt(after.0));
        }
        query
            .all(&self.db)
            .await?
            .into_iter()
            .map(Participation::try_from)
            .collect()
    }

    /// Raises the campaign's gate epoch and reads what is committed, in one transaction that holds
    /// the campaign's row: nothing can be committed in between.
    pub async fn raise_epoch(&self, id: CampaignId) -> Result<Option<Committed>, StoreError> {
        let tx = self.begin().await?;
        let raised = campaign::Entity::update_many()
            .col_expr(
                campaign::Column::GateEpoch,
                Expr::col(campaign::Column::GateEpoch).add(1),
            )
            .filter(campaign::Column::Id.eq(id.0))
            .exec(&tx)
            .await?;
        let row = campaign::Entity::find_by_id(id.0).one(&tx).await?;
        let (Some(row), 1) = (row, raised.rows_affected) else {
            tx.rollback().await?;
            return Ok(None);
        };
        let held: Vec<Held> = holdings(id)
            .order_by_asc(Column::Id)
            .into_model()
            .all(&tx)
            .await?;
        let last_rank: Option<Option<i64>> = Entity::find()
            .select_only()
            .column_as(Column::Rank.max(), "last_rank")
            .filter(Column::CampaignId.eq(id.0))
            .into_tuple()
            .one(&tx)
            .await?;
        tx.commit().await?;
        Ok(Some(Committed {
            campaign: row.try_into()?,
            seats: seats(held),
            last_rank: to_unsigned(last_rank.flatten().unwrap_or(0)),
        }))
    }
}

#[derive(Debug, FromQueryResult)]
struct Held {
    id: Uuid,
    user_id: i64,
    quantity: i32,
    ordinal: Option<i32>,
}

fn holdings(campaign: CampaignId) -> sea_orm::Select<Entity> {
    Entity::find()
        .select_only()
        .columns([
            Column::Id,
            Column::UserId,
            Column::Quantity,
            Column::Ordinal,
        ])
        .filter(Column::CampaignId.eq(campaign.0))
        .filter(Column::Status.is_in(STANDING))
}

fn seats(held: Vec<Held>) -> Vec<Seat> {
    let mut seats: HashMap<i64, Seat> = HashMap::with_capacity(held.len());
    for row in held {
        seats
            .entry(row.user_id)
            .and_modify(|seat| seat.units += row.quantity.unsigned_abs())
            .or_insert(Seat {
                user: UserId(row.user_id),
                units: row.quantity.unsigned_abs(),
                first: ParticipationId(row.id),
            });
    }
    seats.into_values().collect()
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
    let rows = batch
        .iter()
        .zip(ordinals)
        .map(|(intake, ordinal)| participation_row(&intake.participation, ordinal));
    Entity::insert_many(rows).exec_without_returning(tx).await?;
    let keys: Vec<_> = batch.iter().filter_map(key_row).collect();
    if !keys.is_empty() {
        idempotency::Entity::insert_many(keys)
            .exec_without_returning(tx)
            .await?;
    }
    outbox_event::Entity::insert_many(batch.iter().map(event_row))
        .exec_without_returning(tx)
        .await?;
    outbox_pending::Entity::insert_many(batch.iter().map(pending_row))
        .exec_without_returning(tx)
        .await?;
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
    let users = batch.iter().map(|intake| intake.participation.user_id.0);
    let rows: Vec<Held> = holdings(campaign.id)
        .filter(Column::UserId.is_in(users))
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

impl TryFrom<Model> for Participation {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let status = Status::parse(&row.status).ok_or_else(|| StoreError::Unreadable {
            what: "a participation's status",
            value: row.status.clone(),
        })?;
        Ok(Self {
            id: ParticipationId(row.id),
            campaign_id: CampaignId(row.campaign_id),
            user_id: UserId(row.user_id),
            quantity: row.quantity.unsigned_abs(),
            rank: to_unsigned(row.rank),
            status,
            remaining: row.remaining.map(to_unsigned),
            expires_at: row.expires_at,
            created_at: row.created_at,
        })
    }
}
