//! Reads participations for `verify`, which compares them with granted rewards.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::domain::{CampaignId, ParticipationId, Reward, Status, Timestamp};
use crate::parts::store::entity::participation::{Column, Entity, Model};
use crate::parts::store::entity::{by_index, campaign};
use crate::parts::store::json::from_text;
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::unreadable::parse;
use crate::parts::store::{Store, StoreError};

/// A campaign and its reward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewarding {
    /// The campaign.
    pub campaign: CampaignId,
    /// The reward of a unit; none: the campaign has no reward now.
    pub reward: Option<Reward>,
    /// Since when it has this reward.
    pub since: Timestamp,
}

/// A participation, and since when it has its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankedStatus {
    /// The participation.
    pub id: ParticipationId,
    /// Its rank.
    pub rank: u64,
    /// Its status.
    pub status: Status,
    /// Since when.
    pub since: Timestamp,
}

impl Store {
    /// A page of campaigns and their rewards, in order of number.
    pub async fn rewarding(
        &self,
        after: CampaignId,
        limit: u64,
    ) -> Result<Vec<Rewarding>, StoreError> {
        let rows: Vec<(i64, Option<String>, Timestamp)> = campaign::Entity::find()
            .select_only()
            .columns([campaign::Column::Id, campaign::Column::Reward])
            .column(campaign::Column::RewardSince)
            .filter(campaign::Column::Id.gt(after.0))
            .order_by_asc(campaign::Column::Id)
            .limit(limit)
            .into_tuple()
            .all(&self.db)
            .await?;
        let rewarding = |(id, text, since): (i64, Option<String>, Timestamp)| {
            let reward = text.map(|text| from_text("a campaign's reward", &text));
            Ok(Rewarding {
                campaign: CampaignId(id),
                reward: reward.transpose()?,
                since,
            })
        };
        rows.into_iter().map(rewarding).collect()
    }

    /// Participations of a campaign after a rank, in order of rank.
    pub async fn ranked_statuses(
        &self,
        campaign: CampaignId,
        after: u64,
        limit: u64,
    ) -> Result<Vec<RankedStatus>, StoreError> {
        let mut rows = Entity::find()
            .filter(Column::CampaignId.eq(campaign.0))
            .filter(Column::Rank.gt(to_signed(after)))
            .order_by_asc(Column::Rank)
            .limit(limit);
        by_index(&mut rows, "PRIMARY");
        let ranked_status = |row: Model| {
            Ok(RankedStatus {
                id: ParticipationId(row.id),
                rank: to_unsigned(row.rank),
                status: parse("a participation's status", &row.status, Status::parse)?,
                since: row.updated_at,
            })
        };
        let rows = rows.all(&self.db).await?;
        rows.into_iter().map(ranked_status).collect()
    }

    /// Those of these ranks with an event that is not published, or never will be.
    pub async fn unpublished(
        &self,
        campaign: CampaignId,
        ranks: &[u64],
    ) -> Result<HashSet<u64>, StoreError> {
        if ranks.is_empty() {
            return Ok(HashSet::new());
        }
        let ranks: Vec<i64> = ranks.iter().map(|rank| to_signed(*rank)).collect();
        let mut sql = self.sql("SELECT e.`rank` FROM outbox_event e WHERE e.campaign_id = ");
        sql.bind(campaign.0)
            .push(" AND e.aggregatetype = 'participation' AND e.sequence > COALESCE((SELECT o.published FROM outbox_position o WHERE o.campaign_id = ")
            .bind(campaign.0)
            .push("), 0) AND e.`rank` IN ")
            .list(padded(&ranks))
            .push(" UNION SELECT e.`rank` FROM outbox_parked p JOIN outbox_event e ")
            .push("ON e.campaign_id = p.campaign_id AND e.aggregatetype = p.topic AND e.sequence = p.sequence ")
            .push("WHERE p.topic = 'participation' AND p.campaign_id = ")
            .bind(campaign.0)
            .push(" AND p.state <> 'acknowledged' AND e.`rank` IN ")
            .list(padded(&ranks));
        let rows = sql.rows(&self.db).await?;
        let rank = |row: &sea_orm::QueryResult| Ok(to_unsigned(row.try_get_by_index(0)?));
        rows.iter().map(rank).collect()
    }
}
