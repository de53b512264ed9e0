//! Participations: committed in batches with their outbox rows, and read.

mod decided;
mod due;
mod epoch;
mod events;
mod group;
mod key_retention;
mod keys;
mod known;
mod new_participation;
mod ranked;
mod rewardable;
mod rewarded;

use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

pub use self::due::{DueReservations, PassedOver};
pub use self::epoch::{Committed, Raise, Raised, Turn};
pub use self::events::{EventState, ParticipationEvent, ParticipationEvents};
pub(super) use self::group::event_rows;
pub use self::group::{
    Applicants, ChangeRequest, Changed, Closing, CommitError, Decision, Entries, EntriesResult,
    Group, GroupOutcome, Mismatch,
};
pub use self::keys::{GateStatus, UserKey};
pub use self::new_participation::{Applicant, Making, NewParticipation, RankAssignment};
pub use self::ranked::{RankPage, Ranked, RankedRow};
pub use self::rewardable::{RankedStatus, Rewarding};
use super::entity::by_index;
use super::entity::participation::{Column, Entity, Model};
use super::numbers::to_unsigned;
use super::statement_lengths::padded;
use super::unreadable::parse;
use super::{Store, StoreError};
use crate::domain::{CampaignId, Participation, ParticipationId, Status, UserId};

/// The statuses in which a participation holds its units.
const STANDING: [&str; 2] = [Status::Reserved.as_str(), Status::Confirmed.as_str()];

impl Store {
    /// One participation.
    pub async fn participation(
        &self,
        id: ParticipationId,
    ) -> Result<Option<Participation>, StoreError> {
        Entity::find()
            .filter(Column::Id.eq(id.0))
            .one(&self.db)
            .await?
            .map(Participation::try_from)
            .transpose()
    }

    /// The committed ones among these, read from a server that accepts writes.
    pub async fn participations(
        &self,
        ids: &[ParticipationId],
    ) -> Result<Vec<Participation>, StoreError> {
        let tx = self.begin_current().await?;
        let found = Entity::find()
            .filter(Column::Id.is_in(padded(ids).map(|id| id.0)))
            .all(&tx)
            .await?;
        self.end_current(tx).await?;
        found.into_iter().map(Participation::try_from).collect()
    }

    /// The ids of the committed ones among these, read from a server that accepts writes.
    pub async fn committed_among(
        &self,
        ids: &[ParticipationId],
    ) -> Result<Vec<ParticipationId>, StoreError> {
        let tx = self.begin_current().await?;
        let found: Vec<Uuid> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::Id.is_in(padded(ids).map(|id| id.0)))
            .into_tuple()
            .all(&tx)
            .await?;
        self.end_current(tx).await?;
        Ok(found.into_iter().map(ParticipationId).collect())
    }

    /// A page of a user's participations, newest first. Unreadable ones are set aside, and replaced by further ones.
    pub async fn participations_of(
        &self,
        user: UserId,
        after: Option<ParticipationId>,
        limit: u64,
    ) -> Result<Vec<Participation>, StoreError> {
        let (mut found, mut after) = (Vec::new(), after.map(|after| after.0));
        loop {
            let left = limit.saturating_sub(found.len() as u64);
            let mut query = Entity::find()
                .filter(Column::UserId.eq(user.0))
                .order_by_desc(Column::Id)
                .limit(left);
            if let Some(after) = after {
                query = query.filter(Column::Id.lt(after));
            }
            let rows = query.all(&self.db).await?;
            let is_last = (rows.len() as u64) < left;
            after = rows.last().map(|row| row.id);
            for row in rows {
                let id = row.id;
                match Participation::try_from(row) {
                    Ok(participation) => found.push(participation),
                    Err(error) => self.unreadable.set_aside("participation", &id, &error),
                }
            }
            if is_last || found.len() as u64 == limit {
                return Ok(found);
            }
        }
    }
}

#[derive(Debug, FromQueryResult)]
struct HoldingRow {
    id: Uuid,
    user_id: i64,
    quantity: i32,
    ordinal: Option<i32>,
}

/// Participations of a campaign that hold units.
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

/// The same of these users.
fn holdings_of(campaign: CampaignId, users: &[i64]) -> sea_orm::Select<Entity> {
    let mut held = holdings(campaign).filter(Column::UserId.is_in(padded(users)));
    by_index(&mut held, "participation_once");
    held
}

impl TryFrom<Model> for Participation {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let status = parse("a participation's status", &row.status, Status::parse)?;
        Ok(Self {
            id: ParticipationId(row.id),
            campaign_id: CampaignId(row.campaign_id),
            user_id: UserId(row.user_id),
            quantity: row.quantity.unsigned_abs(),
            rank: to_unsigned(row.rank),
            status,
            remaining: row.remaining.map(to_unsigned),
            amount: row.amount.map(to_unsigned),
            payment_reference: row.payment_reference,
            expires_at: row.expires_at,
            created_at: row.created_at,
        })
    }
}
