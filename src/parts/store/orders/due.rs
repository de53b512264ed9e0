//! When something is to be done about an order.

use std::time::Duration;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use crate::domain::{Order, OrderId, OrderStatus};
use crate::parts::store::entity::order_due::{Column, Entity};
use crate::parts::store::entity::{customer_order, insert};
use crate::parts::store::query::or_replace;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Orders about which something is to be done now, by the database's clock, the oldest first.
    pub async fn due_orders(&self, limit: u64) -> Result<Vec<OrderId>, StoreError> {
        let ids: Vec<Uuid> = Entity::find()
            .select_only()
            .column(Column::OrderId)
            .filter(Expr::col(Column::DueAt).lte(self.now_expr()))
            .order_by_asc(Column::DueAt)
            .limit(limit)
            .into_tuple()
            .all(&self.db)
            .await?;
        Ok(ids.into_iter().map(OrderId).collect())
    }

    /// The next time for an order is this much later.
    pub async fn postpone_order(&self, id: OrderId, delay: Duration) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::DueAt, self.after(delay))
            .filter(Column::OrderId.eq(id.0))
            .exec(&self.db)
            .await?;
        Ok(())
    }

    /// All lines have the status of the order: nothing is to be done about it, unless it was decided again. If it was
    /// refused because a part was away, its request can be made again from now on.
    pub async fn finish_order(&self, order: &Order) -> Result<(), StoreError> {
        let refusal = order.refusal.as_ref();
        let frees_key = refusal.is_some_and(|refusal| !refusal.is_final());
        let tx = self.begin().await?;
        Entity::delete_many()
            .filter(Column::OrderId.eq(order.id.0))
            .filter(Column::Status.eq(order.status.as_str()))
            .exec(&tx)
            .await?;
        if frees_key {
            customer_order::Entity::update_many()
                .col_expr(customer_order::Column::IdempotencyKey, Expr::null())
                .filter(customer_order::Column::Id.eq(order.id.0))
                .exec(&tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Sets the time at which something is to be done about an order in this status.
pub(super) async fn set(
    on: &impl ConnectionTrait,
    id: OrderId,
    status: OrderStatus,
    due_at: Expr,
) -> Result<(), StoreError> {
    let mut row = insert::<Entity, _>([
        (Column::OrderId, id.0.into()),
        (Column::Status, status.as_str().into()),
        (Column::DueAt, due_at),
    ]);
    on.execute(row.on_conflict(or_replace::<Entity>())).await?;
    Ok(())
}
