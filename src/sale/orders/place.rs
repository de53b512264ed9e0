//! Placing an order: recorded, its lines reserved one after the other, decided.

use super::{
    DECIDE_WITHIN, Inner, LINE_MAX, OrderRequest, PlaceError, PlacedOrder, are_same, warn,
};
use crate::domain::{
    Campaign, Order, OrderDecision, OrderId, OrderLine, OrderRefusal, ParticipationId,
};
use crate::parts::store::{Applicant, CartLine, DecidedOrder, DecisionContext, NewOrder};
use crate::runtime::failpoint;
use crate::sale::participate::{CommitMode, Outcome, ParticipateError, Replayed, Request};

/// What became of the lines.
enum Reserved {
    /// All are reserved.
    All {
        /// The price of all of them.
        amount: Option<u64>,
    },
    /// One is not possible, by the rules.
    Refused(OrderRefusal),
    /// One had no answer.
    Unanswered { line: u32, error: ParticipateError },
}

impl Inner {
    pub(super) async fn place(&self, request: OrderRequest) -> Result<PlacedOrder, PlaceError> {
        if let Some(earlier) = self.earlier(&request).await? {
            return Ok(earlier);
        }
        let hold_seconds = self.check_lines(&request.lines).await?;
        let (store, clock) = (&self.dependencies.store, &self.dependencies.clock);
        let new = NewOrder {
            id: OrderId::made_at(clock.now()),
            user: request.user,
            idempotency_key: request.idempotency_key.clone(),
            lines: request.lines.iter().map(|line| self.line(line)).collect(),
        };
        let inserted = store.insert_order(&new, DECIDE_WITHIN).await;
        if !inserted.map_err(|error| unavailable(&error))? {
            // Another request with this key was faster.
            let earlier = self.earlier(&request).await?;
            return earlier.ok_or(PlaceError::Unavailable);
        }
        failpoint::point("order.inserted");
        let reserved = self.reserve_lines(&request, &new).await;
        let decision = match &reserved {
            Reserved::All { amount } => OrderDecision::Placed {
                amount: *amount,
                hold_seconds,
            },
            Reserved::Refused(refusal) => OrderDecision::Refused(refusal.clone()),
            Reserved::Unanswered { line, .. } => OrderDecision::Refused(OrderRefusal {
                line: *line,
                code: "UNAVAILABLE".to_owned(),
            }),
        };
        let context = DecisionContext {
            empties_cart: request.is_cart && matches!(reserved, Reserved::All { .. }),
            // A request without an answer is made again with the same key.
            frees_key: matches!(reserved, Reserved::Unanswered { .. }),
            ..request.context.decision()
        };
        let decided = store.decide_order(new.id, &decision, &context).await;
        let DecidedOrder { order, obstacle } = decided
            .map_err(|error| unavailable(&error))?
            .ok_or(PlaceError::Unavailable)?;
        self.settle(&order).await;
        match (reserved, obstacle) {
            (Reserved::Unanswered { line, error }, _) => Err(PlaceError::Line { line, error }),
            // It took so long that the order was refused as one that nobody places any more.
            (_, Some(_)) => Err(PlaceError::Unavailable),
            (_, None) => Ok(PlacedOrder {
                order,
                replayed: Replayed::First,
            }),
        }
    }

    /// The order that was placed with the same key.
    async fn earlier(&self, request: &OrderRequest) -> Result<Option<PlacedOrder>, PlaceError> {
        let Some(key) = &request.idempotency_key else {
            return Ok(None);
        };
        let found = self.dependencies.store.order_by_key(request.user, key);
        let Some(order) = found.await.map_err(|error| unavailable(&error))? else {
            return Ok(None);
        };
        if !are_same(&order, &request.lines) {
            return Err(PlaceError::KeyReused);
        }
        if order.is_undecided() {
            return Err(PlaceError::Outstanding);
        }
        Ok(Some(PlacedOrder {
            order,
            replayed: Replayed::Again,
        }))
    }

    /// Checks what can be checked before anything is written. Returns how many seconds the order is held.
    async fn check_lines(&self, lines: &[CartLine]) -> Result<u32, PlaceError> {
        let mut campaigns = Vec::new();
        for (line, wanted) in lines.iter().enumerate() {
            let campaign = self.dependencies.catalogue.get(wanted.campaign_id).await;
            let campaign = campaign.map_err(|error| unavailable(&error))?;
            campaigns.push(campaign.ok_or(PlaceError::UnknownCampaign { line })?);
        }
        let is_paid = |campaign: &Campaign| campaign.is_paid();
        let paid = campaigns
            .iter()
            .filter(|campaign| is_paid(campaign))
            .count();
        if paid != 0 && paid != campaigns.len() {
            return Err(PlaceError::MixedPrices);
        }
        let holds = campaigns.iter().map(|campaign| campaign.hold_seconds);
        Ok(holds.min().unwrap_or_default())
    }

    fn line(&self, wanted: &CartLine) -> OrderLine {
        OrderLine {
            campaign_id: wanted.campaign_id,
            quantity: wanted.quantity,
            participation_id: ParticipationId::made_at(self.dependencies.clock.now()),
        }
    }

    /// Reserves the lines in the order of their campaigns, up to the first that is not possible: of two orders for the
    /// same campaigns one gets the first of them, and the other takes nothing.
    async fn reserve_lines(&self, request: &OrderRequest, order: &NewOrder) -> Reserved {
        let mut lines: Vec<(u32, &OrderLine)> = (0..).zip(&order.lines).collect();
        lines.sort_by_key(|(_, line)| line.campaign_id);
        let mut amount: Option<u64> = None;
        for (line, wanted) in lines {
            match self.reserve(request, order.id, wanted).await {
                Ok(Outcome::Accepted { participation, .. }) => {
                    failpoint::point("order.line_reserved");
                    if let Some(price) = participation.amount {
                        amount = Some(amount.unwrap_or_default().saturating_add(price));
                    }
                }
                Ok(Outcome::Refused { refusal, .. }) => {
                    let code = refusal.code().to_owned();
                    return Reserved::Refused(OrderRefusal { line, code });
                }
                Err(error) => return Reserved::Unanswered { line, error },
            }
        }
        Reserved::All { amount }
    }

    async fn reserve(
        &self,
        request: &OrderRequest,
        order: OrderId,
        line: &OrderLine,
    ) -> Result<Outcome, ParticipateError> {
        let participation = Request {
            campaign: line.campaign_id,
            applicant: Applicant {
                participation: line.participation_id,
                user: request.user,
                quantity: line.quantity,
                idempotency_key: None,
                traceparent: request.context.traceparent.clone(),
                since: request.since,
                by: None,
                order: Some(order),
            },
        };
        let participate = &self.dependencies.participate;
        let reserved = participate.run(participation, CommitMode::Grouped);
        let reserved = tokio::time::timeout(LINE_MAX, Box::pin(reserved)).await;
        reserved.unwrap_or(Err(ParticipateError::Unavailable { part: "store" }))
    }
}

fn unavailable(error: &crate::parts::store::StoreError) -> PlaceError {
    warn(error, None);
    PlaceError::Unavailable
}

impl Order {
    /// Whether it is being placed.
    const fn is_undecided(&self) -> bool {
        matches!(self.status, crate::domain::OrderStatus::Placing)
    }
}
