//! Deletes old refused orders. Such an order has no event, no payment and no units, and nothing changes it any more.
//! There is no index by status or age, because each decision of an order would have to write it. So a sweep reads the
//! table by its primary key, a page at a time.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::domain::{OrderId, OrderStatus, Status};
use crate::parts::store::entity::{customer_order, order_line, participation};
use crate::parts::store::query::delete_by_key;
use crate::parts::store::statement_lengths::{padded, slices};
use crate::parts::store::swept_page::SweptPage;
use crate::parts::store::{Store, StoreError};

/// Orders that one transaction deletes. Each has up to 20 lines.
const DELETED_MAX: usize = 64;

/// Participations of lines that one statement reads.
const LINES_MAX: usize = 512;

/// Whether no step is left to do for an order.
const HAS_NO_STEP: &str =
    "NOT EXISTS (SELECT 1 FROM order_due d WHERE d.order_id = customer_order.id)";

impl Store {
    /// Reads at most `rows_max` orders after this one, and deletes those that were refused longer ago than `age` by the
    /// database's clock, each with its lines. The read waits for no writer.
    pub async fn purge_refused_orders(
        &self,
        after: Option<&OrderId>,
        age: Duration,
        rows_max: u32,
    ) -> Result<SweptPage<OrderId>, StoreError> {
        let rows = self.page_of_orders(after, age, rows_max).await?;
        let (mut page, old) = SweptPage::of(rows, rows_max);
        for some in slices(&old, DELETED_MAX) {
            let finished = self.finished(some).await?;
            page.deleted += self.delete_orders(&finished).await?;
        }
        Ok(page)
    }

    /// Those of these orders without a line that `verify` reports: one whose participation is not cancelled. Nothing
    /// changes the orders and their lines, so this need not be one statement; Vitess has no subquery over the tables
    /// of several keyspaces.
    async fn finished(&self, orders: &[OrderId]) -> Result<Vec<OrderId>, StoreError> {
        let lines: Vec<(Uuid, Uuid)> = order_line::Entity::find()
            .select_only()
            .columns([
                order_line::Column::OrderId,
                order_line::Column::ParticipationId,
            ])
            .filter(order_line::Column::OrderId.is_in(padded(orders).map(|order| order.0)))
            .into_tuple()
            .all(&self.db)
            .await?;
        let ids: Vec<Uuid> = lines.iter().map(|(_, id)| *id).collect();
        let mut reported: HashSet<Uuid> = HashSet::new();
        for some in slices(&ids, LINES_MAX) {
            let found: Vec<Uuid> = participation::Entity::find()
                .select_only()
                .column(participation::Column::Id)
                .filter(participation::Column::Id.is_in(padded(some)))
                .filter(participation::Column::Status.ne(Status::Cancelled.as_str()))
                .into_tuple()
                .all(&self.db)
                .await?;
            reported.extend(found);
        }
        let unfinished: HashSet<Uuid> = lines
            .iter()
            .filter(|(_, id)| reported.contains(id))
            .map(|(order, _)| *order)
            .collect();
        let finished = orders.iter().filter(|order| !unfinished.contains(&order.0));
        Ok(finished.copied().collect())
    }

    /// A page of orders, each with whether it is refused and old.
    async fn page_of_orders(
        &self,
        after: Option<&OrderId>,
        age: Duration,
        rows_max: u32,
    ) -> Result<Vec<(OrderId, bool)>, StoreError> {
        let mut sql = self.sql("SELECT customer_order.id AS order_id, CASE WHEN status = ");
        sql.bind(OrderStatus::Refused.as_str());
        sql.push(" AND updated_at < ").before(age);
        sql.push(" AND ").push(HAS_NO_STEP);
        sql.push(" THEN 1 ELSE 0 END AS is_old FROM ");
        sql.push(&self.db.by_index("customer_order", "PRIMARY"));
        if let Some(after) = after {
            sql.push(" WHERE customer_order.id > ").bind(after.0);
        }
        sql.push(" ORDER BY customer_order.id LIMIT ")
            .bind(rows_max);
        let rows = sql.rows(&self.db).await?;
        rows.iter()
            .map(|row| {
                let id: Uuid = row.try_get("", "order_id")?;
                let is_old: i64 = row.try_get("", "is_old")?;
                Ok((OrderId(id), is_old != 0))
            })
            .collect()
    }

    /// Deletes orders with their lines. Returns the number of orders.
    async fn delete_orders(&self, orders: &[OrderId]) -> Result<u64, StoreError> {
        if orders.is_empty() {
            return Ok(0);
        }
        let ids = || orders.iter().map(|order| order.0);
        let tx = self.begin().await?;
        let lines =
            order_line::Entity::delete_many().filter(order_line::Column::OrderId.is_in(ids()));
        delete_by_key(lines, &tx).await?;
        let rows =
            customer_order::Entity::delete_many().filter(customer_order::Column::Id.is_in(ids()));
        let deleted = delete_by_key(rows, &tx).await?;
        tx.commit().await?;
        Ok(deleted)
    }
}
