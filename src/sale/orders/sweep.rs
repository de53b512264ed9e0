//! Finishes orders that their requests left: those that nobody decided are refused, those that nobody paid for expire,
//! and lines that have not followed their order do. Found in the database, by its clock, by one replica at a time;
//! that it is one only spares work.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use uuid::Uuid;

use super::{Inner, Orders};
use crate::domain::{OrderDecision, OrderId, OrderRefusal, OrderStatus};
use crate::parts::store::{DecisionContext, StoreError};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;

const DUTY: &str = "orders";
/// How long the duty stays with a replica that says nothing.
const TERM: Duration = Duration::from_secs(10);
/// Orders looked at in one go.
const PAGE: u64 = 100;
/// Orders that are finished at the same time.
const CONCURRENT_MAX: usize = 8;
/// When an order that could not be finished is tried again, and one that the database or this release cannot read.
const AGAIN: Duration = Duration::from_secs(5);
const FAILED_AGAIN: Duration = Duration::from_secs(300);

/// Finishes orders, so far apart.
pub fn start(spawner: &Spawner, orders: &Orders, interval: Duration) {
    let inner = Arc::clone(&orders.inner);
    let owner = Uuid::now_v7().to_string();
    spawner.repeat("orders.sweep", interval, move |_stop| {
        let (inner, owner) = (Arc::clone(&inner), owner.clone());
        async move {
            if let Err(error) = inner.sweep(&owner).await {
                tracing::warn!(error = cause(&error), "orders wait to be finished");
            }
            interval
        }
    });
}

impl Inner {
    async fn sweep(&self, owner: &str) -> Result<(), StoreError> {
        let store = &self.dependencies.store;
        while store.take_duty(DUTY, owner, TERM).await? {
            let due = store.due_orders(PAGE).await?;
            if due.is_empty() {
                break;
            }
            let finished = stream::iter(due).map(|id| self.finish_or_postpone(id));
            let mut finished = finished.buffer_unordered(CONCURRENT_MAX);
            while let Some(result) = finished.next().await {
                result?;
            }
        }
        Ok(())
    }

    /// What cannot be finished now is tried again later, and holds nothing else up. Fails if the store is away.
    async fn finish_or_postpone(&self, id: OrderId) -> Result<(), StoreError> {
        let again = match self.finish(id).await {
            Ok(true) => return Ok(()),
            Ok(false) => AGAIN,
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) if error.is_rolled_back() => AGAIN,
            Err(error) => {
                tracing::error!(order = %id, error = cause(&error), "an order cannot be finished");
                FAILED_AGAIN
            }
        };
        self.dependencies.store.postpone_order(id, again).await
    }

    /// Whether nothing is left to do.
    async fn finish(&self, id: OrderId) -> Result<bool, StoreError> {
        let store = &self.dependencies.store;
        let Some(found) = store.order(id).await? else {
            return Err(StoreError::Unreadable {
                what: "the order that is due",
                value: id.to_string(),
            });
        };
        let decision = match found.status {
            OrderStatus::Placing => Some(OrderDecision::Refused(OrderRefusal {
                line: 0,
                code: OrderRefusal::INTERRUPTED.to_owned(),
            })),
            OrderStatus::Reserved => Some(OrderDecision::Expired),
            _ => None,
        };
        let order = match decision {
            None => found,
            Some(decision) => {
                let context = DecisionContext::default();
                let decided = self.decide((id, &found.lines), &decision, &context).await?;
                // Whoever was faster, it is what stands.
                decided.map_or(found, |decided| decided.order)
            }
        };
        if order.status == OrderStatus::Reserved {
            // Its time is not over by the time of the decision.
            return Ok(false);
        }
        Ok(self.settle(&order).await)
    }
}
