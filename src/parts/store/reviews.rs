//! Reviews: one for each confirmed participation. The campaign's row has their number and the sum of their ratings,
//! so the average needs no read of all reviews.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::entity::campaign::{self, Column as CampaignColumn};
use super::entity::review::{ActiveModel, Column, Entity, Model};
use super::numbers::narrow;
use super::sql::Sql;
use super::{Store, StoreError};
use crate::domain::{CampaignId, Participation, ParticipationId, Timestamp, UserId};

/// A review.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the other fields are what their names say")]
pub struct Review {
    pub id: Uuid,
    pub participation_id: ParticipationId,
    pub campaign_id: CampaignId,
    pub user_id: UserId,
    /// From 1 to 5.
    pub rating: u32,
    pub text: String,
    pub created_at: Timestamp,
}

impl Store {
    /// Writes the review of a participation; none: it already has one.
    pub async fn insert_review(
        &self,
        of: &Participation,
        rating: u32,
        text: &str,
    ) -> Result<Option<Review>, StoreError> {
        let tx = self.begin().await?;
        let now = Sql::time(self, &tx).await?;
        let row = Model {
            id: ParticipationId::made_at(now).0,
            participation_id: of.id.0,
            campaign_id: of.campaign_id.0,
            user_id: of.user_id.0,
            rating: narrow(rating),
            text: text.to_owned(),
            created_at: now,
        };
        let inserted = Entity::insert(ActiveModel {
            id: Set(row.id),
            participation_id: Set(row.participation_id),
            campaign_id: Set(row.campaign_id),
            user_id: Set(row.user_id),
            rating: Set(row.rating),
            text: Set(row.text.clone()),
            created_at: Set(row.created_at),
        });
        let inserted = inserted.exec_without_returning(&tx).await;
        match inserted.map_err(StoreError::from) {
            Ok(_) => {}
            Err(StoreError::Constraint(_)) => {
                tx.rollback().await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        campaign::Entity::update_many()
            .col_expr(
                CampaignColumn::Reviews,
                Expr::col(CampaignColumn::Reviews).add(1),
            )
            .col_expr(
                CampaignColumn::RatingSum,
                Expr::col(CampaignColumn::RatingSum).add(i64::from(rating)),
            )
            .filter(CampaignColumn::Id.eq(of.campaign_id.0))
            .exec(&tx)
            .await?;
        tx.commit().await?;
        Ok(Some(row.into()))
    }

    /// A page of a campaign's reviews, newest first.
    pub async fn reviews_of(
        &self,
        campaign: CampaignId,
        after: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<Review>, StoreError> {
        let mut rows = Entity::find()
            .filter(Column::CampaignId.eq(campaign.0))
            .order_by_desc(Column::Id)
            .limit(limit);
        if let Some(after) = after {
            rows = rows.filter(Column::Id.lt(after));
        }
        let rows = rows.all(&self.db).await?;
        Ok(rows.into_iter().map(Review::from).collect())
    }
}

impl From<Model> for Review {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            participation_id: ParticipationId(row.participation_id),
            campaign_id: CampaignId(row.campaign_id),
            user_id: UserId(row.user_id),
            rating: row.rating.unsigned_abs(),
            text: row.text,
            created_at: row.created_at,
        }
    }
}
