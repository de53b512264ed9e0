//! Participations of a campaign in order of rank, a bounded page at a time.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use crate::domain::{CampaignId, Participation, Status, Timestamp, UserId};
use crate::parts::store::entity::by_index;
use crate::parts::store::entity::participation::{Column, Entity, Model};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::{Store, StoreError};

/// Ranks scanned by one statement for each row of a page. It bounds the work if few rows have the status.
const RANKS_PER_ROW: u64 = 10;

/// A filter of participations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankPage {
    /// Of this campaign.
    pub campaign: CampaignId,
    /// In this status; none: in any.
    pub status: Option<Status>,
    /// After this rank.
    pub after: u64,
    /// Up to this rank.
    pub last: u64,
    /// Maximum number of rows.
    pub rows_max: u32,
}

/// A participation, and when its reward was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankedRow {
    /// The participation.
    pub participation: Participation,
    /// When its reward was granted.
    pub rewarded_at: Option<Timestamp>,
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranked {
    /// In order of rank.
    pub rows: Vec<RankedRow>,
    /// The last scanned rank; later ranks may have more rows.
    pub upto: u64,
}

impl Store {
    /// The highest committed rank of a campaign; 0: there is none.
    pub async fn last_rank(&self, campaign: CampaignId) -> Result<u64, StoreError> {
        let last: Option<i64> = Entity::find()
            .select_only()
            .column(Column::Rank)
            .filter(Column::CampaignId.eq(campaign.0))
            .order_by_desc(Column::Rank)
            .limit(1)
            .into_tuple()
            .one(&self.db)
            .await?;
        Ok(last.map_or(0, to_unsigned))
    }

    /// A user's participations in a campaign in order of rank, by the index of the user.
    pub async fn participations_of_user_by_rank(
        &self,
        user: UserId,
        page: &RankPage,
    ) -> Result<Ranked, StoreError> {
        let mut query = Entity::find()
            .filter(Column::UserId.eq(user.0))
            .filter(Column::CampaignId.eq(page.campaign.0))
            .filter(Column::Rank.gt(to_signed(page.after)))
            .filter(Column::Rank.lte(to_signed(page.last)))
            .order_by_asc(Column::Rank)
            .limit(u64::from(page.rows_max));
        if let Some(status) = page.status {
            query = query.filter(Column::Status.eq(status.as_str()));
        }
        by_index(&mut query, "participation_once");
        self.ranked(query, page, page.last).await
    }

    /// Participations in order of rank.
    pub async fn participations_by_rank(&self, page: &RankPage) -> Result<Ranked, StoreError> {
        let span = u64::from(page.rows_max).saturating_mul(RANKS_PER_ROW);
        let end = page.after.saturating_add(span).min(page.last);
        let mut query = Entity::find()
            .filter(Column::CampaignId.eq(page.campaign.0))
            .filter(Column::Rank.gt(to_signed(page.after)))
            .filter(Column::Rank.lte(to_signed(end)))
            .order_by_asc(Column::Rank)
            .limit(u64::from(page.rows_max));
        if let Some(status) = page.status {
            query = query.filter(Column::Status.eq(status.as_str()));
        }
        // The optimizer's statistics of a recently filled table are outdated.
        by_index(&mut query, "PRIMARY");
        self.ranked(query, page, end).await
    }

    /// The rows of a page that ends at a rank.
    async fn ranked(
        &self,
        query: Select<Entity>,
        page: &RankPage,
        end: u64,
    ) -> Result<Ranked, StoreError> {
        let found = query.all(&self.db).await?;
        let is_full = u64::try_from(found.len()).unwrap_or(u64::MAX) >= u64::from(page.rows_max);
        let rows = found
            .into_iter()
            .map(RankedRow::try_from)
            .collect::<Result<Vec<RankedRow>, StoreError>>()?;
        let upto = match rows.last() {
            Some(last) if is_full => last.participation.rank,
            _ => end,
        };
        Ok(Ranked { rows, upto })
    }
}

impl TryFrom<Model> for RankedRow {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            rewarded_at: row.rewarded_at,
            participation: row.try_into()?,
        })
    }
}
