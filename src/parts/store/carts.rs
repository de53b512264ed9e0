//! Carts: what users want to order. A cart reserves nothing. A cart is one row, so it is replaced as a whole.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};

use super::bounded::Tx;
use super::entity::cart::{Column, Entity};
use super::entity::insert;
use super::json::{from_text, to_text};
use super::query::or_replace;
use super::{Store, StoreError};
use crate::domain::{CampaignId, Order, OrderLine, UserId};

/// A line of a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        let row = Entity::find_by_id(user.0).one(&self.db).await?;
        row.map_or(Ok(Vec::new()), |row| from_text("a cart", &row.lines))
    }

    /// Replaces the cart of a user.
    pub async fn replace_cart(&self, user: UserId, lines: &[CartLine]) -> Result<(), StoreError> {
        let mut row = insert::<Entity, _>([
            (Column::UserId, user.0.into()),
            (Column::Lines, text(lines)?.into()),
        ]);
        let row = row.on_conflict(or_replace::<Entity>());
        self.db.execute(row).await?;
        Ok(())
    }

    /// Empties the cart of an order, unless the user has changed it since.
    pub(super) async fn empty_cart(&self, tx: &Tx, order: &Order) -> Result<(), StoreError> {
        let ordered: Vec<CartLine> = order.lines.iter().map(CartLine::from).collect();
        Entity::update_many()
            .col_expr(Column::Lines, Expr::val(text(&[])?))
            .filter(Column::UserId.eq(order.user_id.0))
            .filter(Column::Lines.eq(text(&ordered)?))
            .exec(tx)
            .await?;
        Ok(())
    }
}

fn text(lines: &[CartLine]) -> Result<String, StoreError> {
    to_text("a cart to store", &lines)
}
