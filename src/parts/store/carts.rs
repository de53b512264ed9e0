//! Carts: what users want to order. Nothing in a cart is reserved.

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::entity::cart_line::{ActiveModel, Column, Entity};
use super::numbers::narrow;
use super::{Store, StoreError};
use crate::domain::{CampaignId, OrderLine, UserId};

/// A line of a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CartLine {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Units.
    pub quantity: u32,
}

impl From<&OrderLine> for CartLine {
    fn from(line: &OrderLine) -> Self {
        Self {
            campaign_id: line.campaign_id,
            quantity: line.quantity,
        }
    }
}

impl Store {
    /// The cart of a user, in the order of the request that filled it.
    pub async fn cart(&self, user: UserId) -> Result<Vec<CartLine>, StoreError> {
        let rows = Entity::find()
            .filter(Column::UserId.eq(user.0))
            .order_by_asc(Column::Line)
            .order_by_asc(Column::CampaignId)
            .all(&self.db)
            .await?;
        let line = |row: super::entity::cart_line::Model| CartLine {
            campaign_id: CampaignId(row.campaign_id),
            quantity: row.quantity.unsigned_abs(),
        };
        Ok(rows.into_iter().map(line).collect())
    }

    /// Replaces the cart of a user.
    pub async fn replace_cart(&self, user: UserId, lines: &[CartLine]) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        Entity::delete_many()
            .filter(Column::UserId.eq(user.0))
            .exec(&tx)
            .await?;
        let rows = (0..).zip(lines).map(|(nth, line)| ActiveModel {
            user_id: Set(user.0),
            campaign_id: Set(line.campaign_id.0),
            line: Set(nth),
            quantity: Set(narrow(line.quantity)),
        });
        if !lines.is_empty() {
            Entity::insert_many(rows)
                .exec_without_returning(&tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
