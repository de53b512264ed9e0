//! Granted rewards of participations, for `verify`.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Rewards;
use crate::domain::{Consumer, CouponStatus, EntryKind, ParticipationId, Timestamp};
use crate::parts::store::StoreError;
use crate::parts::store::entity::inbox::{Column, Entity};
use crate::parts::store::entity::{coupon, ledger};
use crate::parts::store::statement_lengths::padded;

/// Statuses of coupons that are no longer usable.
const ENDED: [CouponStatus; 2] = [CouponStatus::Used, CouponStatus::Revoked];

/// Rewards that one consumer granted to participations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Participations with a granted reward.
    pub granted: HashSet<ParticipationId>,
    /// Participations with a reward that was neither revoked nor used.
    pub standing: HashSet<ParticipationId>,
}

impl Rewards {
    /// The rewards of these participations by this consumer.
    pub async fn effects(
        &self,
        consumer: Consumer,
        participations: &[ParticipationId],
    ) -> Result<Effects, StoreError> {
        let mut effects = Effects::default();
        if participations.is_empty() {
            return Ok(effects);
        }
        let ids: Vec<Uuid> = padded(participations).map(|id| id.0).collect();
        let rows: Vec<(Uuid, String)> = match consumer {
            Consumer::Points => {
                use ledger::{Column, Entity};
                let rows = Entity::find().select_only().distinct();
                let rows = rows.columns([Column::ParticipationId, Column::Kind]);
                let rows = rows.filter(Column::ParticipationId.is_in(ids));
                rows.into_tuple().all(&self.db).await?
            }
            Consumer::Coupons => {
                use coupon::{Column, Entity};
                let rows = Entity::find().select_only().distinct();
                let rows = rows.columns([Column::ParticipationId, Column::Status]);
                let rows = rows.filter(Column::ParticipationId.is_in(ids));
                rows.into_tuple().all(&self.db).await?
            }
        };
        let mut taken_back = HashSet::new();
        for (id, word) in rows {
            let id = ParticipationId(id);
            effects.granted.insert(id);
            if word == EntryKind::Reversed.as_str() {
                taken_back.insert(id);
            } else if !ENDED.map(CouponStatus::as_str).contains(&word.as_str()) {
                effects.standing.insert(id);
            }
        }
        effects.standing.retain(|id| !taken_back.contains(id));
        Ok(effects)
    }

    /// The newest events that this consumer has applied, at most this number: the participation of each, and the
    /// creation time of the event, from its id.
    pub async fn newest(
        &self,
        consumer: Consumer,
        rows_max: u32,
    ) -> Result<Vec<(ParticipationId, Timestamp)>, StoreError> {
        let rows: Vec<(Uuid, Uuid)> = Entity::find()
            .select_only()
            .columns([Column::EventId, Column::ParticipationId])
            .filter(Column::Consumer.eq(consumer.as_str()))
            .order_by_desc(Column::EventId)
            .limit(u64::from(rows_max))
            .into_tuple()
            .all(&self.db)
            .await?;
        let newest =
            |(event, participation)| Some((ParticipationId(participation), made_at(event)?));
        Ok(rows.into_iter().filter_map(newest).collect())
    }
}

fn made_at(event: Uuid) -> Option<Timestamp> {
    let (seconds, nanos) = event.get_timestamp()?.to_unix();
    Timestamp::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}
