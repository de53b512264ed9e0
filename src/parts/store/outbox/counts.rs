//! Counts pending and parked events, and their age.

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::sea_query::{Asterisk, Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect, QueryTrait};

use super::{ParkedState, end, published};
use crate::domain::{CampaignId, Timestamp, Topic};
use crate::parts::store::entity::{
    campaign, events_of_campaign, outbox_event, outbox_parked, outbox_parked::Column,
    parked_of_campaign, position_of_campaign,
};
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::query::count_by;
use crate::parts::store::{Store, StoreError};

/// Numbers of events by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Pending: after the position, or held by their requests.
    pub pending: u64,
    /// They wait for a retry.
    pub retry: u64,
    /// They wait behind a row of the same key.
    pub blocked: u64,
    /// Dead letters.
    pub dead: u64,
    /// Discarded by an admin.
    pub discarded: u64,
}

impl Store {
    /// The numbers of events by state, of one campaign or of all.
    pub async fn outbox_counts(
        &self,
        campaign: Option<CampaignId>,
    ) -> Result<OutboxCounts, StoreError> {
        let mut counts = OutboxCounts::default();
        for topic in Topic::ALL {
            let behind = self.behind(topic, campaign).await?;
            counts.pending += behind.into_values().sum::<u64>();
        }
        let parked = outbox_parked::Entity::find().apply_if(campaign, |rows, id| {
            rows.filter(Column::CampaignId.eq(id.0))
        });
        let parked: Vec<(String, u64)> = count_by(parked, Column::State, &self.db).await?;
        for (state, rows) in parked {
            match ParkedState::parse(&state) {
                Some(ParkedState::Retry | ParkedState::Waiting) => counts.retry += rows,
                Some(ParkedState::Blocked) => counts.blocked = rows,
                Some(ParkedState::Dead) => counts.dead = rows,
                Some(ParkedState::Discarded) => counts.discarded = rows,
                Some(ParkedState::Held) => counts.pending += rows,
                Some(ParkedState::Acknowledged) | None => {}
            }
        }
        Ok(counts)
    }

    /// Events for a topic after the positions, by campaign, without parked events.
    async fn behind(
        &self,
        topic: Topic,
        campaign: Option<CampaignId>,
    ) -> Result<BTreeMap<CampaignId, u64>, StoreError> {
        use campaign::{Column, Entity};
        let (end, published) = (|| end(topic).into_expr(), || published(topic));
        let parked = outbox_parked::Entity::find()
            .select_only()
            .expr(Expr::col(Asterisk).count())
            .filter(parked_of_campaign())
            .filter(outbox_parked::Column::Topic.eq(topic.as_str()))
            .filter(outbox_parked::Column::Sequence.into_expr().gt(published()));
        let rows: Vec<(i64, i64)> = Entity::find()
            .select_only()
            .column(Column::Id)
            .expr(end().sub(published()).sub(parked.into_query()))
            .join(JoinType::LeftJoin, position_of_campaign())
            .filter(end().gt(published()))
            .apply_if(campaign, |rows, id| rows.filter(Column::Id.eq(id.0)))
            .into_tuple()
            .all(&self.db)
            .await?;
        let behind = |(campaign, behind)| (CampaignId(campaign), to_unsigned(behind));
        Ok(rows.into_iter().map(behind).collect())
    }

    /// Events about participations without an acknowledgement, of each campaign that has any. Reads the waiting
    /// events only, and no published ones.
    pub async fn unpublished_counts(&self) -> Result<BTreeMap<CampaignId, u64>, StoreError> {
        let topic = Topic::Participation;
        let mut counts = self.behind(topic, None).await?;
        let waits = Column::State.ne(ParkedState::Acknowledged.as_str());
        let parked = outbox_parked::Entity::find()
            .filter(waits)
            .filter(Column::Topic.eq(topic.as_str()));
        for (campaign, rows) in count_by(parked, Column::CampaignId, &self.db).await? {
            *counts.entry(CampaignId(campaign)).or_default() += rows;
        }
        Ok(counts)
    }

    /// How long the oldest pending event has waited; none: no event is pending.
    pub async fn oldest_pending_age(&self) -> Result<Option<Duration>, StoreError> {
        let mut oldest: Option<Timestamp> = None;
        for topic in Topic::ALL {
            let of_topic = self.oldest_pending(topic).await?;
            oldest = oldest.into_iter().chain(of_topic).min();
        }
        let age = |at| self.clock.now().signed_duration_since(at).to_std();
        Ok(oldest.map(|at| age(at).unwrap_or_default()))
    }

    /// When the oldest pending event for a topic was written.
    async fn oldest_pending(&self, topic: Topic) -> Result<Option<Timestamp>, StoreError> {
        let next = published(topic).add(Expr::Constant(1.into()));
        let oldest: Option<Option<Timestamp>> = campaign::Entity::find()
            .select_only()
            .expr(outbox_event::Column::CreatedAt.into_expr().min())
            .join(JoinType::LeftJoin, position_of_campaign())
            .join(JoinType::InnerJoin, events_of_campaign())
            .filter(outbox_event::Column::AggregateType.eq(topic.as_str()))
            .filter(outbox_event::Column::Sequence.into_expr().eq(next))
            .filter(end(topic).into_expr().gt(published(topic)))
            .into_tuple()
            .one(&self.db)
            .await?;
        Ok(oldest.flatten())
    }
}
