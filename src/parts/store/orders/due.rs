//! The time of the next step of an order.

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

/// An order whose next step is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueOrder {
    /// The order.
    pub id: OrderId,
    /// Its status when the step was set.
    pub status: String,
}

impl Store {
    /// Orders whose next step is due by the database's clock, the oldest first.
    pub async fn due_orders(&self, limit: u64) -> Result<Vec<DueOrder>, StoreError> {
        let rows: Vec<(Uuid, String)> = Entity::find()
            .select_only()
            .columns([Column::OrderId, Column::Status])
            .filter(Expr::col(Column::DueAt).lte(self.now_expr()))
            .order_by_asc(Column::DueAt)
            .limit(limit)
            .into_tuple()
            .all(&self.db)
            .await?;
        let due = |(id, status)| DueOrder {
            id: OrderId(id),
            status,
        };
        Ok(rows.into_iter().map(due).collect())
    }

    /// Postpones the next step of an order to this time from now. False: the order was decided or finished since the
    /// step was read, or another process has postponed it.
    pub async fn postpone_order(
        &self,
        due: &DueOrder,
        delay: Duration,
    ) -> Result<bool, StoreError> {
        let postponed = Entity::update_many()
            .col_expr(Column::DueAt, self.after(delay))
            .filter(Column::OrderId.eq(due.id.0))
            .filter(Column::Status.eq(due.status.as_str()))
            .filter(Expr::col(Column::DueAt).lte(self.now_expr()))
            .exec(&self.db)
            .await?;
        Ok(postponed.rows_affected > 0)
    }

    /// All lines have the status of the order: no step remains, unless the order was decided again. If it was refused
    /// because a part was away, its request may be repeated from now on.
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

/// Sets the time of the next step of an order in this status.
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
