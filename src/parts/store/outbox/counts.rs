//! How many events wait, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::sea_query::{Asterisk, Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect, QueryTrait};

use super::{ParkedState, published};
use crate::domain::{CampaignId, Timestamp};
use crate::parts::store::entity::{
    campaign, events_of_campaign, outbox_event, outbox_parked, outbox_parked::Column,
    parked_of_campaign, position_of_campaign,
};
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::query::count_by;
use crate::parts::store::{Store, StoreError};

/// How many events wait, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Waiting to be published: behind the position, or held by their writer.
    pub pending: u64,
    /// Waiting to be tried again.
    pub retry: u64,
    /// Waiting behind a row of the same key.
    pub blocked: u64,
    /// Given up.
    pub dead: u64,
    /// Discarded by an admin.
    pub discarded: u64,
}

impl Store {
    /// How many events wait and where, of one campaign or of all.
    pub async fn outbox_counts(
        &self,
        campaign: Option<CampaignId>,
    ) -> Result<OutboxCounts, StoreError> {
        let pending = self.behind(campaign).await?.into_values().sum();
        let mut counts = OutboxCounts {
            pending,
            ..OutboxCounts::default()
        };
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

    /// Events behind the positions, by campaign. A parked event is not among them, on whichever side of the position.
    async fn behind(
        &self,
        campaign: Option<CampaignId>,
    ) -> Result<BTreeMap<CampaignId, u64>, StoreError> {
        use campaign::{Column, Entity};
        let end = || Column::EventSequence.into_expr();
        let parked = outbox_parked::Entity::find()
            .select_only()
            .expr(Expr::col(Asterisk).count())
            .filter(parked_of_campaign())
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

    /// Events that the broker has not acknowledged, of each campaign that has any. Reads what waits, and
    /// nothing of what was published.
    pub async fn unpublished_counts(&self) -> Result<BTreeMap<CampaignId, u64>, StoreError> {
        let mut counts = self.behind(None).await?;
        let waits = Column::State.ne(ParkedState::Acknowledged.as_str());
        let parked = outbox_parked::Entity::find().filter(waits);
        for (campaign, rows) in count_by(parked, Column::CampaignId, &self.db).await? {
            *counts.entry(CampaignId(campaign)).or_default() += rows;
        }
        Ok(counts)
    }

    /// For how long the oldest pending event has waited; none: nothing is pending.
    pub async fn oldest_pending_age(&self) -> Result<Option<Duration>, StoreError> {
        use campaign::{Column, Entity};
        let next = published().add(Expr::Constant(1.into()));
        let oldest: Option<Option<Timestamp>> = Entity::find()
            .select_only()
            .expr(outbox_event::Column::CreatedAt.into_expr().min())
            .join(JoinType::LeftJoin, position_of_campaign())
            .join(JoinType::InnerJoin, events_of_campaign())
            .filter(outbox_event::Column::Sequence.into_expr().eq(next))
            .filter(Column::EventSequence.into_expr().gt(published()))
            .into_tuple()
            .one(&self.db)
            .await?;
        let age = |at| self.clock.now().signed_duration_since(at).to_std();
        Ok(oldest.flatten().map(|at| age(at).unwrap_or_default()))
    }
}
