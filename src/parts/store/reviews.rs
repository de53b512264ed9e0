//! Reviews: one for each confirmed participation. The campaign's row has their number and the sum of their ratings,
//! so the average needs no read of all reviews.
//!
//! A cancellation deletes the review of its participation and corrects both numbers, in its transaction. Otherwise a
//! user could review, cancel and participate again, and each of the reviews would count. A filter in the reads would
//! need the participations for every page and every average. Both writers lock the campaign's row first, so the status
//! that the insert reads cannot change before it commits, and the numbers match the rows. In a campaign without
//! reviews a cancellation runs no statement for this.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::bounded::Tx;
use super::entity::campaign::{self, Column as CampaignColumn};
use super::entity::participation;
use super::entity::review::{ActiveModel, Column, Entity, Model};
use super::numbers::{narrow, to_signed};
use super::query::delete_by_key;
use super::sql::Sql;
use super::statement_lengths::padded;
use super::{Store, StoreError};
use crate::domain::{CampaignId, Participation, ParticipationId, Status, Timestamp, UserId};

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

/// The result of a review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReviewOutcome {
    /// It is written.
    Written(Review),
    /// The participation has a review already.
    AlreadyReviewed,
    /// The participation is not confirmed, or not any more.
    NotConfirmed,
}

impl Store {
    /// Writes the review of a participation, if it is confirmed and has none.
    pub async fn insert_review(
        &self,
        of: &Participation,
        rating: u32,
        text: &str,
    ) -> Result<ReviewOutcome, StoreError> {
        // A repeated request must not lock the campaign's row.
        let earlier = Entity::find().filter(Column::ParticipationId.eq(of.id.0));
        if earlier.one(&self.db).await?.is_some() {
            return Ok(ReviewOutcome::AlreadyReviewed);
        }
        let now = Sql::time(self, &self.db).await?;
        let row = Model {
            id: ParticipationId::made_at(now).0,
            participation_id: of.id.0,
            campaign_id: of.campaign_id.0,
            user_id: of.user_id.0,
            rating: narrow(rating),
            text: text.to_owned(),
            created_at: now,
        };
        let tx = self.begin().await?;
        add_ratings(&tx, row.campaign_id, (1, i64::from(rating))).await?;
        let outcome = if is_confirmed(&tx, of).await? {
            insert(&tx, row).await?
        } else {
            ReviewOutcome::NotConfirmed
        };
        if matches!(outcome, ReviewOutcome::Written(_)) {
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        Ok(outcome)
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

/// Deletes the reviews of participations that are no longer confirmed. The transaction has locked the campaign's row.
pub(super) async fn delete_reviews(
    tx: &Tx,
    campaign: &campaign::Model,
    participations: &[Uuid],
) -> Result<(), StoreError> {
    if campaign.reviews == 0 || participations.is_empty() {
        return Ok(());
    }
    let found: Vec<(Uuid, i32)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::Rating])
        .filter(Column::ParticipationId.is_in(padded(participations)))
        .into_tuple()
        .all(tx)
        .await?;
    if found.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = found.iter().map(|(id, _)| *id).collect();
    delete_by_key(
        Entity::delete_many().filter(Column::Id.is_in(padded(&ids))),
        tx,
    )
    .await?;
    let sum: i64 = found.iter().map(|(_, rating)| i64::from(*rating)).sum();
    let count = to_signed(found.len() as u64);
    add_ratings(tx, campaign.id, (-count, -sum)).await
}

/// Adds to the number of a campaign's reviews and to the sum of their ratings. Locks the campaign's row.
async fn add_ratings(tx: &Tx, campaign: i64, (count, sum): (i64, i64)) -> Result<(), StoreError> {
    campaign::Entity::update_many()
        .col_expr(
            CampaignColumn::Reviews,
            Expr::col(CampaignColumn::Reviews).add(count),
        )
        .col_expr(
            CampaignColumn::RatingSum,
            Expr::col(CampaignColumn::RatingSum).add(sum),
        )
        .filter(CampaignColumn::Id.eq(campaign))
        .exec(tx)
        .await?;
    Ok(())
}

/// Whether a participation is confirmed, in a transaction that has locked the campaign's row.
async fn is_confirmed(tx: &Tx, of: &Participation) -> Result<bool, StoreError> {
    let status: Option<String> = participation::Entity::find()
        .select_only()
        .column(participation::Column::Status)
        .filter(participation::Column::Id.eq(of.id.0))
        .into_tuple()
        .one(tx)
        .await?;
    Ok(status.as_deref() == Some(Status::Confirmed.as_str()))
}

async fn insert(tx: &Tx, row: Model) -> Result<ReviewOutcome, StoreError> {
    let inserted = Entity::insert(ActiveModel {
        id: Set(row.id),
        participation_id: Set(row.participation_id),
        campaign_id: Set(row.campaign_id),
        user_id: Set(row.user_id),
        rating: Set(row.rating),
        text: Set(row.text.clone()),
        created_at: Set(row.created_at),
    });
    let inserted = inserted.exec_without_returning(tx).await;
    match inserted.map_err(StoreError::from) {
        Ok(_) => Ok(ReviewOutcome::Written(row.into())),
        Err(StoreError::Constraint(_)) => Ok(ReviewOutcome::AlreadyReviewed),
        Err(error) => Err(error),
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
