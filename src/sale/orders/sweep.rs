//! Finishes orders that their requests left unfinished: undecided orders are refused, unpaid ones expire, and lines
//! follow their order. They are found in the database, by its clock, by one replica at a time; this only saves work.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use uuid::Uuid;

use super::decide::DecideError;
use super::{Inner, Orders};
use crate::domain::{OrderDecision, OrderId, OrderRefusal, OrderStatus};
use crate::parts::store::{DecisionContext, DueOrder, StoreError, Term};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;

const TASK: &str = "orders";
/// The lease of this task.
const TERM: Duration = Duration::from_secs(10);
/// Orders read at once.
const PAGE: u64 = 100;
/// Orders finished at the same time.
const CONCURRENT_MAX: usize = 8;
/// Pause before an unfinished order is retried, and before one that cannot be read or written is retried.
const AGAIN: Duration = Duration::from_secs(5);
const FAILED_AGAIN: Duration = Duration::from_secs(300);

/// Finishes orders at this interval.
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
        while store
            .take_task_lease(TASK, owner, Term::Fixed(TERM))
            .await?
        {
            let due = store.due_orders(PAGE).await?;
            if due.is_empty() {
                break;
            }
            complete_each(due, |order| self.finish_or_postpone(order)).await?;
        }
        Ok(())
    }

    /// Finishes an order, or postpones it so that it does not delay others. Fails if the store is away.
    async fn finish_or_postpone(&self, due: DueOrder) -> Result<(), StoreError> {
        let again = match self.finish(due.id).await {
            Ok(true) => return Ok(()),
            Ok(false) => AGAIN,
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) if error.is_rolled_back() => AGAIN,
            Err(error) => {
                tracing::error!(order = %due.id, error = cause(&error), "an order cannot be finished");
                FAILED_AGAIN
            }
        };
        // If it was decided since it was read, its next step stays where that decision has put it.
        let store = &self.dependencies.store;
        store.postpone_order(&due, again).await?;
        Ok(())
    }

    /// Finishes an order. Returns whether nothing is left to do.
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
                let decided = self.decide((id, &found.lines), &decision, &context);
                let decided = match decided.await {
                    Ok(decided) => decided,
                    Err(DecideError::Busy) => return Ok(false),
                    Err(DecideError::Store(error)) => return Err(error),
                };
                // If another decision was first, that one counts.
                decided.map_or(found, |decided| decided.order)
            }
        };
        if order.status.of_lines().is_none() {
            // It had not expired yet at the time of the decision.
            return Ok(false);
        }
        Ok(self.settle(&order).await)
    }
}

/// Works on the items, a few at a time. After the first failure it begins no further item, and completes those in
/// progress.
async fn complete_each<T, F, E>(items: Vec<T>, work: impl Fn(T) -> F) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut items = items.into_iter();
    let first = items.by_ref().take(CONCURRENT_MAX);
    let mut in_progress: FuturesUnordered<F> = first.map(&work).collect();
    let mut ended = Ok(());
    while let Some(result) = in_progress.next().await {
        ended = ended.and(result);
        if ended.is_ok() {
            in_progress.extend(items.next().map(&work));
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Each item takes as many seconds as its number; this one fails. Returns the completed ones, in order.
    async fn completed(items: u64, failing: Option<u64>) -> (Vec<u64>, Result<(), u64>) {
        let completed = RefCell::new(Vec::new());
        let work = |item: u64| {
            let completed = &completed;
            async move {
                tokio::time::sleep(Duration::from_secs(item)).await;
                completed.borrow_mut().push(item);
                if failing == Some(item) {
                    Err(item)
                } else {
                    Ok(())
                }
            }
        };
        let ended = complete_each((1..=items).collect(), work).await;
        (completed.into_inner(), ended)
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_does_not_interrupt_the_orders_in_progress() {
        let in_progress: Vec<u64> = (1..=8).collect();
        assert_eq!(completed(20, Some(1)).await, (in_progress, Err(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn all_orders_are_finished_a_few_at_a_time() {
        let (finished, ended) = completed(20, None).await;
        assert_eq!((finished.len(), ended), (20, Ok(())));
    }
}
