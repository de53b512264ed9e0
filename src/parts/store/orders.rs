//! Orders: the row that decides, its lines, and the time of the next step. A decision locks only the row and its
//! payment; lines follow later, each in a transaction of its campaign.

mod contradictions;
mod decide;
mod due;
mod retention;

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

pub use self::contradictions::LineContradiction;
pub use self::decide::{DecidedOrder, DecisionContext};
pub use self::due::DueOrder;
use super::bounded::Tx;
use super::entity::{customer_order, order_line};
use super::numbers::{narrow, to_unsigned};
use super::sql::Sql;
use super::statement_lengths::padded;
use super::unreadable::parse;
use super::{Store, StoreError};
use crate::domain::{
    CampaignId, Order, OrderId, OrderLine, OrderRefusal, OrderStatus, ParticipationId, UserId,
};

/// An order to be placed.
#[derive(Clone, Debug)]
pub struct NewOrder {
    /// Its id.
    pub id: OrderId,
    /// The user.
    pub user: UserId,
    /// The client's key, unique per user.
    pub idempotency_key: Option<String>,
    /// Its lines.
    pub lines: Vec<OrderLine>,
}

impl Store {
    /// Records an order before its lines are reserved; it must be decided within this time. False: the user has used
    /// the key for another order.
    pub async fn insert_order(
        &self,
        new: &NewOrder,
        decide_within: Duration,
    ) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        if !self.insert_rows_of(&tx, new, None).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        let due_at = self.after(decide_within);
        due::set(&tx, new.id, OrderStatus::Placing, due_at).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Records an order that is refused before any line is reserved, so that the same request gets the same answer.
    /// False: the user has used the key for another order.
    pub async fn insert_refused_order(
        &self,
        new: &NewOrder,
        refusal: &OrderRefusal,
        context: &DecisionContext,
    ) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        if !self.insert_rows_of(&tx, new, Some(refusal)).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        let decision = (OrderStatus::Placing, OrderStatus::Refused);
        let note = decide::note(new.id, decision, context);
        self.write_notes(&tx, note.as_slice()).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Writes the rows of an order: refused, or still to be decided. False: the user has used the key.
    async fn insert_rows_of(
        &self,
        tx: &Tx,
        new: &NewOrder,
        refusal: Option<&OrderRefusal>,
    ) -> Result<bool, StoreError> {
        let now = Sql::time(self, tx).await?;
        let status = match refusal {
            Some(_) => OrderStatus::Refused,
            None => OrderStatus::Placing,
        };
        let order = customer_order::ActiveModel {
            id: Set(new.id.0),
            user_id: Set(new.user.0),
            status: Set(status.as_str().to_owned()),
            idempotency_key: Set(new.idempotency_key.clone()),
            refused_line: Set(refusal.map(|refusal| narrow(refusal.line))),
            refused_code: Set(refusal.map(|refusal| refusal.code.clone())),
            version: Set(i32::from(refusal.is_some())),
            created_at: Set(now),
            updated_at: Set(now),
            ..customer_order::ActiveModel::default()
        };
        let inserted = customer_order::Entity::insert(order).exec_without_returning(tx);
        match inserted.await.map_err(StoreError::from) {
            Ok(_) => {}
            Err(StoreError::Constraint(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        let lines = (0..).zip(&new.lines);
        let lines = lines.map(|(nth, line)| order_line::ActiveModel {
            order_id: Set(new.id.0),
            line: Set(nth),
            campaign_id: Set(line.campaign_id.0),
            quantity: Set(narrow(line.quantity)),
            participation_id: Set(line.participation_id.0),
        });
        order_line::Entity::insert_many(lines)
            .exec_without_returning(tx)
            .await?;
        Ok(true)
    }

    /// An order.
    pub async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        let row = customer_order::Entity::find_by_id(id.0).one(&self.db);
        self.with_lines(row.await?).await.map(|mut one| one.pop())
    }

    /// One order, read from a server that accepts writes.
    pub async fn current_order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        let tx = self.begin_current().await?;
        let row = customer_order::Entity::find_by_id(id.0).one(&tx).await?;
        self.end_current(tx).await?;
        self.with_lines(row).await.map(|mut one| one.pop())
    }

    /// The order that a user placed with this key.
    pub async fn order_by_key(&self, user: UserId, key: &str) -> Result<Option<Order>, StoreError> {
        use customer_order::Column;
        let row = customer_order::Entity::find()
            .filter(Column::UserId.eq(user.0))
            .filter(Column::IdempotencyKey.eq(key))
            .one(&self.db)
            .await?;
        self.with_lines(row).await.map(|mut one| one.pop())
    }

    /// A page of a user's orders, newest first.
    pub async fn orders_of(
        &self,
        user: UserId,
        after: Option<OrderId>,
        limit: u64,
    ) -> Result<Vec<Order>, StoreError> {
        use customer_order::Column;
        let mut rows = customer_order::Entity::find()
            .filter(Column::UserId.eq(user.0))
            .order_by_desc(Column::Id)
            .limit(limit);
        if let Some(after) = after {
            rows = rows.filter(Column::Id.lt(after.0));
        }
        self.with_lines(rows.all(&self.db).await?).await
    }

    /// The order of which a participation is a line. It is known before the participation exists, and never changes.
    pub async fn order_of_line(
        &self,
        participation: ParticipationId,
    ) -> Result<Option<OrderId>, StoreError> {
        let id: Option<Uuid> = order_line::Entity::find()
            .select_only()
            .column(order_line::Column::OrderId)
            .filter(order_line::Column::ParticipationId.eq(participation.0))
            .into_tuple()
            .one(&self.db)
            .await?;
        Ok(id.map(OrderId))
    }

    /// The orders of these rows, in the same order.
    async fn with_lines(
        &self,
        rows: impl IntoIterator<Item = customer_order::Model>,
    ) -> Result<Vec<Order>, StoreError> {
        let rows: Vec<customer_order::Model> = rows.into_iter().collect();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let found = order_line::Entity::find()
            .filter(order_line::Column::OrderId.is_in(padded(&ids)))
            .order_by_asc(order_line::Column::Line)
            .all(&self.db)
            .await?;
        let mut lines: HashMap<Uuid, Vec<OrderLine>> = HashMap::new();
        for row in found {
            lines.entry(row.order_id).or_default().push(OrderLine {
                campaign_id: CampaignId(row.campaign_id),
                quantity: row.quantity.unsigned_abs(),
                participation_id: ParticipationId(row.participation_id),
            });
        }
        let orders = rows.into_iter().map(|row| {
            let lines = lines.remove(&row.id).unwrap_or_default();
            order(row, lines)
        });
        orders.collect()
    }
}

fn order(row: customer_order::Model, lines: Vec<OrderLine>) -> Result<Order, StoreError> {
    let refused = row.refused_line.zip(row.refused_code);
    Ok(Order {
        id: OrderId(row.id),
        user_id: UserId(row.user_id),
        status: parse("an order's status", &row.status, OrderStatus::parse)?,
        lines,
        amount: row.amount.map(to_unsigned),
        payment_reference: row.payment_reference,
        refusal: refused.map(|(line, code)| OrderRefusal {
            line: line.unsigned_abs(),
            code,
        }),
        expires_at: row.expires_at,
        created_at: row.created_at,
        version: row.version.unsigned_abs(),
    })
}
