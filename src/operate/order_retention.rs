//! Deletes old refused orders, with their idempotency keys: a request that repeats such a key is a new order. Other
//! orders stay.

use std::time::Duration;

use super::table_retention::{SweptTable, TablePurger};
use crate::domain::OrderId;
use crate::parts::store::{Store, StoreError, SweptPage};

/// The refused orders.
#[derive(Clone, Copy, Debug)]
pub struct RefusedOrders;

/// Deletes old refused orders.
pub type OrderPurger = TablePurger<RefusedOrders>;

impl SweptTable for RefusedOrders {
    type Key = OrderId;
    const TASK: &'static str = "orders.purge";
    const LEASE: &'static str = "refused_orders";
    const ROWS: &'static str = "refused orders";

    async fn purge_page(
        store: &Store,
        after: Option<&OrderId>,
        age: Duration,
        rows_max: u32,
    ) -> Result<SweptPage<OrderId>, StoreError> {
        store.purge_refused_orders(after, age, rows_max).await
    }
}
