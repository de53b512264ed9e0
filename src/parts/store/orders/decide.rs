//! The decision of an order, in one transaction: the row, its payment, its event, and the time at which its lines
//! follow.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::sea_query::{Expr, LockBehavior, LockType};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect,
};
use serde_json::json;

use super::{due, order};
use crate::domain::{
    AuditAction, AuditNote, CancellationPolicy, Obstacle, Order, OrderDecision, OrderId, OrderLine,
    OrderStatus, Origin, OutboxEvent, Timestamp, home_of,
};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::{campaign, customer_order, payment};
use crate::parts::store::numbers::{narrow, to_signed, to_unsigned};
use crate::parts::store::participations::event_rows;
use crate::parts::store::sql::Sql;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};
use crate::runtime::failpoint;

/// How long after a decision the sweep leaves the lines to the request.
const SETTLE_AFTER: Duration = Duration::from_secs(2);

/// The context of a decision.
#[derive(Clone, Debug, Default)]
pub struct DecisionContext {
    /// W3C trace context, for the event.
    pub traceparent: Option<String>,
    /// The admin who decides, for the audit log; none: its user, or the clock.
    pub by: Option<Origin>,
    /// Whether the user's cart is emptied, unless it has changed since.
    pub empties_cart: bool,
}

/// An order after a decision.
#[derive(Clone, Debug)]
pub struct DecidedOrder {
    /// The order.
    pub order: Order,
    /// Why the decision was not possible; none: it was possible.
    pub obstacle: Option<Obstacle>,
}

impl Store {
    /// Decides an order, if possible; its lines are given, because they never change. None: there is no such order.
    pub async fn decide_order(
        &self,
        (id, lines): (OrderId, &[OrderLine]),
        decision: &OrderDecision,
        context: &DecisionContext,
    ) -> Result<Option<DecidedOrder>, StoreError> {
        let Some(home) = home_of(lines) else {
            return Ok(None);
        };
        let tx = self.begin().await?;
        // The campaign's row is locked first, as everywhere.
        let stream = self.locked_row(&tx, home).await?;
        let mut row = customer_order::Entity::find_by_id(id.0);
        if !self.is_embedded() {
            // Another campaign may be committing one of its lines at the moment; the commits of this campaign do not
            // wait for that.
            row = row.lock_with_behavior(LockType::Update, LockBehavior::Nowait);
        }
        let Some((stream, row)) = stream.zip(row.one(&tx).await?) else {
            tx.rollback().await?;
            return Ok(None);
        };
        let order = order(row, lines.to_vec())?;
        let cancellation_policy = cancellation_policy(&tx, &order, decision).await?;
        let now = Sql::time(self, &tx).await?;
        let decided = match order.after(decision, cancellation_policy, now) {
            Ok(status) => {
                let change = (status, decision);
                self.decide(&tx, (&order, &stream), change, context, now)
                    .await
            }
            Err(obstacle) => Ok(Err(obstacle)),
        };
        // Another order with the same payment can be committed at the same time.
        let decided = match decided {
            Err(StoreError::Constraint(_)) => Ok(Err(Obstacle::ReferenceUsed)),
            decided => decided,
        };
        Ok(Some(match decided? {
            Ok(order) => {
                failpoint::point("order.written");
                tx.commit().await?;
                failpoint::point("order.decided");
                DecidedOrder {
                    order,
                    obstacle: None,
                }
            }
            Err(obstacle) => {
                tx.rollback().await?;
                DecidedOrder {
                    order,
                    obstacle: Some(obstacle),
                }
            }
        }))
    }

    /// Appends the event of a decision to the stream of orders of a campaign; the transaction has locked the
    /// campaign's row.
    async fn append_event(
        &self,
        tx: &Tx,
        decided: &Order,
        stream: &campaign::Model,
        context: &DecisionContext,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sequence = stream.order_events + 1;
        let event = OutboxEvent::about_order(decided, to_unsigned(sequence), now);
        let Some(mut event) = event else {
            return Ok(());
        };
        event.traceparent.clone_from(&context.traceparent);
        for mut insert in event_rows(self, &[event]) {
            insert.run(tx).await?;
        }
        campaign::Entity::update_many()
            .col_expr(campaign::Column::OrderEvents, sequence.into())
            .filter(campaign::Column::Id.eq(stream.id))
            .exec(tx)
            .await?;
        Ok(())
    }

    async fn decide(
        &self,
        tx: &Tx,
        (order, stream): (&Order, &campaign::Model),
        (status, decision): (OrderStatus, &OrderDecision),
        context: &DecisionContext,
        now: Timestamp,
    ) -> Result<Result<Order, Obstacle>, StoreError> {
        if let OrderDecision::Confirmed { reference } = decision
            && !pay(tx, order, reference, now).await?
        {
            return Ok(Err(Obstacle::ReferenceUsed));
        }
        let decided = decided(order, status, decision, now);
        update(tx, &decided, now).await?;
        self.append_event(tx, &decided, stream, context, now)
            .await?;
        let due_at = match decided.expires_at {
            Some(expires_at) => Expr::val(expires_at),
            None => self.after(SETTLE_AFTER),
        };
        due::set(tx, order.id, status, due_at).await?;
        if context.empties_cart {
            self.empty_cart(tx, order).await?;
        }
        let note = note(order.id, (order.status, status), context);
        self.write_notes(tx, note.as_slice()).await?;
        Ok(Ok(decided))
    }
}

/// What the campaigns of a confirmed order take back when it is cancelled: everything if all of them allow it and none
/// has granted coupons, which would have to be revoked together. Read without locks: the
/// transaction locks only one campaign.
async fn cancellation_policy(
    tx: &Tx,
    order: &Order,
    decision: &OrderDecision,
) -> Result<CancellationPolicy, StoreError> {
    if order.status != OrderStatus::Confirmed || *decision != OrderDecision::Cancelled {
        return Ok(CancellationPolicy::None);
    }
    let ids: Vec<i64> = order.lines.iter().map(|line| line.campaign_id.0).collect();
    let permitting = campaign::Entity::find()
        .filter(campaign::Column::Id.is_in(padded(&ids)))
        .filter(campaign::Column::Cancellable.eq(true))
        .filter(campaign::Column::HasCoupons.eq(false))
        .count(tx)
        .await?;
    Ok(if usize::try_from(permitting) == Ok(ids.len()) {
        CancellationPolicy::All
    } else {
        CancellationPolicy::None
    })
}

/// The order in its new status.
fn decided(order: &Order, status: OrderStatus, decision: &OrderDecision, now: Timestamp) -> Order {
    let mut decided = Order {
        status,
        expires_at: None,
        version: order.version + 1,
        ..order.clone()
    };
    match decision {
        OrderDecision::Placed {
            amount,
            hold_seconds,
        } => {
            let hold = TimeDelta::seconds(i64::from(*hold_seconds));
            decided.amount = *amount;
            decided.expires_at = amount.map(|_| now + hold);
        }
        OrderDecision::Refused(refusal) => decided.refusal = Some(refusal.clone()),
        OrderDecision::Confirmed { reference } => {
            decided.payment_reference = Some(reference.clone());
        }
        OrderDecision::Cancelled | OrderDecision::Expired => {}
    }
    decided
}

/// Records the payment. False: it was recorded for something else.
async fn pay(tx: &Tx, order: &Order, reference: &str, now: Timestamp) -> Result<bool, StoreError> {
    let row = payment::Entity::find_by_id(reference).one(tx).await?;
    if let Some(row) = row {
        return Ok(row.payable_id == order.id.0);
    }
    let row = payment::ActiveModel {
        reference: Set(reference.to_owned()),
        payable_id: Set(order.id.0),
        amount: Set(order.amount.map(to_signed)),
        created_at: Set(now),
    };
    payment::Entity::insert(row)
        .exec_without_returning(tx)
        .await?;
    Ok(true)
}

async fn update(tx: &Tx, decided: &Order, now: Timestamp) -> Result<(), StoreError> {
    let refusal = decided.refusal.as_ref();
    let row = customer_order::ActiveModel {
        status: Set(decided.status.as_str().to_owned()),
        amount: Set(decided.amount.map(to_signed)),
        payment_reference: Set(decided.payment_reference.clone()),
        refused_line: Set(refusal.map(|refusal| narrow(refusal.line))),
        refused_code: Set(refusal.map(|refusal| refusal.code.clone())),
        version: Set(narrow(decided.version)),
        expires_at: Set(decided.expires_at),
        updated_at: Set(now),
        ..customer_order::ActiveModel::default()
    };
    customer_order::Entity::update_many()
        .set(row)
        .filter(customer_order::Column::Id.eq(decided.id.0))
        .exec(tx)
        .await?;
    Ok(())
}

/// The entry for the audit log, if an admin decided.
pub(super) fn note(
    order: OrderId,
    (before, after): (OrderStatus, OrderStatus),
    context: &DecisionContext,
) -> Option<AuditNote> {
    let by = context.by.clone()?;
    let action = match before {
        OrderStatus::Placing => AuditAction::OrderPlace,
        _ if after == OrderStatus::Confirmed => AuditAction::OrderConfirm,
        _ => AuditAction::OrderCancel,
    };
    let text = |status: OrderStatus| json!({ "status": status.as_str() });
    let note = AuditNote::beside(by, action).of(&order);
    Some(note.from(text(before)).to(text(after)))
}
