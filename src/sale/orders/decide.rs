//! Decides an order in the store, with a permit for the transaction.

use tokio::time::Instant;

use super::{Inner, permits};
use crate::domain::{OrderDecision, OrderId, OrderLine, home_of};
use crate::parts::store::{DecidedOrder, DecisionContext, StoreError};
use crate::runtime::retry;

/// Why it is not known that a decision took effect.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecideError {
    /// Too many orders are decided at the same time; nothing happened.
    #[error("too many orders are decided at the same time")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Inner {
    /// Decides an order. A transaction that lost against another one is retried. After a lost COMMIT the order is
    /// read, to learn whether it is decided.
    pub(super) async fn decide(
        &self,
        (id, lines): (OrderId, &[OrderLine]),
        decision: &OrderDecision,
        context: &DecisionContext,
    ) -> Result<Option<DecidedOrder>, DecideError> {
        let deadline = permits::deadline();
        let again = |error: &DecideError| {
            let is_rolled_back =
                matches!(error, DecideError::Store(error) if error.is_rolled_back());
            retry::RetryDecision::again_if(is_rolled_back)
        };
        let decide = || self.decide_once((id, lines), decision, context, deadline);
        let error = match retry::retry(&retry::Policy::BRIEF, again, decide).await {
            Ok(decided) => return Ok(decided),
            Err(DecideError::Busy) => return Err(DecideError::Busy),
            Err(error) => error,
        };
        match self.dependencies.store.order(id).await? {
            Some(order) if order.is_decided_by(decision) => Ok(Some(DecidedOrder {
                order,
                obstacle: None,
            })),
            _ => Err(error),
        }
    }

    /// Decides an order in one transaction, when there is a permit. A retry needs another permit, so a pause occupies
    /// none.
    async fn decide_once(
        &self,
        (id, lines): (OrderId, &[OrderLine]),
        decision: &OrderDecision,
        context: &DecisionContext,
        deadline: Instant,
    ) -> Result<Option<DecidedOrder>, DecideError> {
        let Some(home) = home_of(lines) else {
            return Ok(None);
        };
        let permit = self.permits.decision(home, deadline).await;
        let _permit = permit.ok_or(DecideError::Busy)?;
        let store = &self.dependencies.store;
        Ok(store.decide_order((id, lines), decision, context).await?)
    }
}
