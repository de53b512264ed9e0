//! Pays or cancels an order: the row of the order decides, and its lines follow.

use super::decide::DecideError;
use super::{Inner, OrderContext, OrderError, warn};
use crate::domain::{Obstacle, Order, OrderDecision};
use crate::parts::store::DecidedOrder;
use crate::runtime::failpoint;
use crate::sale::changes::{ChangeError, Payment};
use crate::sale::payment::{Charge, Payable};

impl Inner {
    pub(super) async fn confirm(
        &self,
        order: Order,
        payment: Payment,
        context: OrderContext,
    ) -> Result<Order, OrderError> {
        if let (Some(due), Some(amount)) = (order.amount, payment.amount)
            && due != amount
        {
            return Err(ChangeError::WrongAmount { due }.into());
        }
        if let Some(obstacle) = order.obstacle_to_payment(payment.reference.as_deref()) {
            return as_it_stands(order, obstacle);
        }
        let Some(due) = order.amount else {
            return as_it_stands(order, Obstacle::NotPayable);
        };
        let (store, payments) = (&self.dependencies.store, &self.dependencies.payments);
        let payable = Payable::Order(order.id);
        if let Some(reference) = &payment.reference {
            payments.check_reference(store, reference, payable).await?;
        }
        let is_named_by_provider = payment.reference.is_none();
        let charge = Charge {
            payable,
            user: order.user_id,
            amount: due,
            reference: payment.reference,
        };
        let reference = payments.authorise(&charge).await?;
        failpoint::point("order.authorised");
        let decision = OrderDecision::Confirmed {
            reference: reference.clone(),
        };
        match self.decide_and_settle(&order, &decision, &context).await {
            Err(OrderError::Unchanged {
                obstacle: Obstacle::ReferenceUsed,
                ..
            }) => Err(ChangeError::ReferenceUsed.into()),
            // The payment is already authorised, so the result must not be `Busy`: it promises that nothing was taken.
            Err(OrderError::Change(ChangeError::Busy)) => Err(ChangeError::Unavailable.into()),
            Err(kept @ OrderError::Unchanged { .. }) => {
                // A reference chosen by the payer may be in use by another payment: it expires by itself.
                if is_named_by_provider {
                    payments.void(&reference).await;
                }
                Err(kept)
            }
            answer => answer,
        }
    }

    pub(super) async fn cancel(
        &self,
        order: Order,
        context: OrderContext,
    ) -> Result<Order, OrderError> {
        let decision = OrderDecision::Cancelled;
        let cancelled = self.decide_and_settle(&order, &decision, &context).await?;
        if let Some(reference) = &cancelled.payment_reference {
            self.dependencies.payments.void(reference).await;
        }
        Ok(cancelled)
    }

    async fn decide_and_settle(
        &self,
        order: &Order,
        decision: &OrderDecision,
        context: &OrderContext,
    ) -> Result<Order, OrderError> {
        let context = context.decision();
        let decided = self.decide((order.id, &order.lines), decision, &context);
        let decided = decided.await.map_err(|error| match error {
            DecideError::Busy => ChangeError::Busy,
            DecideError::Store(error) => {
                warn(&error);
                ChangeError::Unavailable
            }
        })?;
        let DecidedOrder { order, obstacle } = decided.ok_or(OrderError::Unknown)?;
        if let Some(obstacle) = obstacle {
            return as_it_stands(order, obstacle);
        }
        self.settle(&order).await;
        Ok(order)
    }
}

/// The result for an unchanged order: if it already has the requested status, this is a success.
fn as_it_stands(order: Order, obstacle: Obstacle) -> Result<Order, OrderError> {
    match obstacle {
        Obstacle::Already => Ok(order),
        obstacle => Err(OrderError::Unchanged {
            order: Box::new(order),
            obstacle,
        }),
    }
}
