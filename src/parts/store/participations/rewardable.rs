//! Participations as `verify` compares them with what was granted for them.

use std::collections::HashSet;

use crate::domain::{CampaignId, Instant, ParticipationId, Reward, Status};
use crate::parts::store::campaigns::{to_signed, to_unsigned};
use crate::parts::store::outbox::Sql;
use crate::parts::store::shapes::padded;
use crate::parts::store::{Store, StoreError};

/// A campaign, and what it grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewarding {
    /// Which campaign.
    pub campaign: CampaignId,
    /// What a unit earns; none: nothing, or nothing any more.
    pub reward: Option<Reward>,
    /// Since when that is so.
    pub since: Instant,
}

/// A participation, and since when it stands where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which participation.
    pub id: ParticipationId,
    /// Its rank.
    pub rank: u64,
    /// Where it stands.
    pub status: Status,
    /// Since when.
    pub since: Instant,
}

impl Store {
    /// All campaigns, and what they grant, in the order of their numbers.
    pub async fn rewarding(
        &self,
        after: CampaignId,
        limit: u64,
    ) -> Result<Vec<Rewarding>, StoreError> {
        let mut sql = Sql::new(self, "SELECT id, reward, reward_since FROM campaign");
        sql.push(" WHERE id > ").bind(after.0);
        sql.push(" ORDER BY id LIMIT ").bind(limit);
        let mut found = Vec::new();
        for row in sql.rows(self.connection()).await? {
            let text: Option<String> = row.try_get_by_index(1)?;
            let reward = text.map(|text| {
                serde_json::from_str(&text).map_err(|_| StoreError::Unreadable {
                    what: "a campaign's reward",
                    value: text,
                })
            });
            found.push(Rewarding {
                campaign: CampaignId(row.try_get_by_index(0)?),
                reward: reward.transpose()?,
                since: row.try_get_by_index(2)?,
            });
        }
        Ok(found)
    }

    /// Participations of a campaign behind a rank, in order of rank.
    pub async fn standings(
        &self,
        campaign: CampaignId,
        after: u64,
        limit: u64,
    ) -> Result<Vec<Standing>, StoreError> {
        let mut sql = Sql::new(self, "SELECT id, `rank`, status, updated_at FROM ");
        sql.push(&self.db.by_index("participation", "participation_rank"));
        sql.push(" WHERE campaign_id = ").bind(campaign.0);
        sql.push(" AND `rank` > ").bind(to_signed(after));
        sql.push(" ORDER BY `rank` LIMIT ").bind(limit);
        let mut found = Vec::new();
        for row in sql.rows(self.connection()).await? {
            let word: String = row.try_get_by_index(2)?;
            found.push(Standing {
                id: ParticipationId(row.try_get_by_index(0)?),
                rank: to_unsigned(row.try_get_by_index(1)?),
                status: Status::parse(&word).ok_or_else(|| StoreError::Unreadable {
                    what: "a participation's status",
                    value: word,
                })?,
                since: row.try_get_by_index(3)?,
            });
        }
        Ok(found)
    }

    /// Those of these ranks of which an event is not published, or never will be.
    pub async fn unpublished(
        &self,
        campaign: CampaignId,
        ranks: &[u64],
    ) -> Result<HashSet<u64>, StoreError> {
        if ranks.is_empty() {
            return Ok(HashSet::new());
        }
        let pairs = || padded(ranks).map(|rank| (campaign.0.into(), to_signed(rank).into()));
        let mut sql = Sql::new(self, "SELECT event.`rank` FROM outbox_event event");
        sql.push(" JOIN outbox_pending pending");
        sql.push(" ON pending.bucket = event.bucket AND pending.event_id = event.id");
        sql.push(" WHERE (event.campaign_id, event.`rank`) IN ");
        sql.pairs(pairs());
        sql.push(" UNION SELECT event.`rank` FROM outbox_event event");
        sql.push(" JOIN outbox_parked parked ON parked.event_id = event.id");
        sql.push(" WHERE (event.campaign_id, event.`rank`) IN ");
        sql.pairs(pairs());
        let rows = sql.rows(self.connection()).await?;
        let rank = |row: &sea_orm::QueryResult| Ok(to_unsigned(row.try_get_by_index(0)?));
        rows.iter().map(rank).collect()
    }
}
