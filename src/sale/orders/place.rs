//! Places an order: records it, reserves its lines one after the other, and decides it.

use std::time::Instant;

use super::decide::DecideError;
use super::{
    DECIDE_WITHIN, Inner, LINE_MAX, LINES_MAX, OrderRequest, PlaceError, PlacedOrder, are_same,
    permits, warn,
};
use crate::domain::{
    OrderDecision, OrderId, OrderLine, OrderRefusal, OrderStatus, ParticipationId, Refusal,
};
use crate::parts::store::{
    Applicant, CartLine, DecidedOrder, DecisionContext, NewOrder, StoreError,
};
use crate::runtime::failpoint;
use crate::sale::participate::{CommitMode, Outcome, ParticipateError, Replayed, Request};

/// The result of reserving the lines.
enum Reserved {
    /// All are reserved.
    All {
        /// The total price.
        amount: Option<u64>,
    },
    /// A line is refused by the rules.
    Refused(OrderRefusal),
    /// The result of a line is unknown.
    Unanswered { line: u32, error: ParticipateError },
}

/// The checks of an order before anything is written or reserved.
struct Checked {
    /// How many seconds it may wait for its payment.
    hold_seconds: u32,
    /// The first line that is refused without asking the gate.
    refused: Option<(u32, Refusal)>,
}

impl Inner {
    pub(super) async fn place(&self, request: OrderRequest) -> Result<PlacedOrder, PlaceError> {
        if let Some(earlier) = self.earlier(&request).await? {
            return Ok(earlier);
        }
        let new = NewOrder {
            id: OrderId::made_at(self.dependencies.clock.now()),
            user: request.user,
            idempotency_key: request.idempotency_key.clone(),
            lines: request.lines.iter().map(|line| self.line(line)).collect(),
        };
        let Checked {
            hold_seconds,
            refused,
        } = self.check_lines(&request, &new).await?;
        if let Some((line, refusal)) = refused {
            return match request.idempotency_key {
                None => Err(PlaceError::Refused { line, refusal }),
                Some(_) => self.refuse(&request, &new, (line, &refusal)).await,
            };
        }
        if !self.insert(&new).await? {
            // Another request with this key was first.
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
                code: OrderRefusal::UNAVAILABLE.to_owned(),
            }),
        };
        let context = DecisionContext {
            empties_cart: request.is_cart && matches!(reserved, Reserved::All { .. }),
            ..request.context.decision()
        };
        let decided = self.decide((new.id, &new.lines), &decision, &context).await;
        let DecidedOrder { order, .. } =
            decided.map_err(undecided)?.ok_or(PlaceError::Unavailable)?;
        self.settle(&order).await;
        match reserved {
            Reserved::Unanswered { line, error } => Err(PlaceError::Line { line, error }),
            _ if order.is_decided_by(&decision) => Ok(PlacedOrder {
                order,
                replayed: Replayed::First,
            }),
            // It took so long that the sweep has refused the order as abandoned.
            _ => Err(PlaceError::Unavailable),
        }
    }

    /// Records an order with a key that is refused before any line is reserved: in one transaction that locks nothing.
    async fn refuse(
        &self,
        request: &OrderRequest,
        new: &NewOrder,
        (line, refusal): (u32, &Refusal),
    ) -> Result<PlacedOrder, PlaceError> {
        let store = &self.dependencies.store;
        let code = refusal.code().to_owned();
        let permit = self.permits.transaction(permits::deadline()).await;
        let permit = permit.ok_or(PlaceError::Busy)?;
        let refusal = OrderRefusal { line, code };
        let context = request.context.decision();
        let inserted = store.insert_refused_order(new, &refusal, &context).await;
        drop(permit);
        if !inserted.map_err(|error| unavailable(&error))? {
            let earlier = self.earlier(request).await?;
            return earlier.ok_or(PlaceError::Unavailable);
        }
        let order = store.order(new.id).await;
        let order = order.map_err(|error| unavailable(&error))?;
        let order = order.ok_or(PlaceError::Unavailable)?;
        Ok(PlacedOrder {
            order,
            replayed: Replayed::First,
        })
    }

    /// Records the order. False: the user has used the key for another order.
    async fn insert(&self, new: &NewOrder) -> Result<bool, PlaceError> {
        let permit = self.permits.transaction(permits::deadline()).await;
        let _permit = permit.ok_or(PlaceError::Busy)?;
        let inserted = self.dependencies.store.insert_order(new, DECIDE_WITHIN);
        inserted.await.map_err(|error| unavailable(&error))
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
        let refusal = order.refusal.as_ref();
        let is_final = refusal.is_none_or(OrderRefusal::is_final);
        if order.status == OrderStatus::Placing || !is_final {
            return Err(PlaceError::Outstanding);
        }
        Ok(Some(PlacedOrder {
            order,
            replayed: Replayed::Again,
        }))
    }

    /// Checks everything that needs neither a write nor a reservation.
    async fn check_lines(
        &self,
        request: &OrderRequest,
        order: &NewOrder,
    ) -> Result<Checked, PlaceError> {
        let participate = &self.dependencies.participate;
        let (mut campaigns, mut refused) = (Vec::new(), None);
        for (line, wanted) in (0..).zip(&order.lines) {
            let participation = participation(request, order.id, wanted);
            let (campaign, refusal) = match participate.check_locally(&participation).await {
                Ok(checked) => checked,
                Err(ParticipateError::UnknownCampaign) => {
                    return Err(PlaceError::UnknownCampaign { line });
                }
                Err(error) => return Err(PlaceError::Line { line, error }),
            };
            if !participate.has_place(campaign.id) {
                return Err(PlaceError::Busy);
            }
            campaigns.push(campaign);
            refused = refused.or(refusal.map(|refusal| (line, refusal)));
        }
        let paid = campaigns.iter().filter(|campaign| campaign.is_paid());
        let paid = paid.count();
        if paid != 0 && paid != campaigns.len() {
            return Err(PlaceError::MixedPrices);
        }
        let holds = campaigns.iter().map(|campaign| campaign.hold_seconds);
        Ok(Checked {
            hold_seconds: holds.min().unwrap_or_default(),
            refused,
        })
    }

    fn line(&self, wanted: &CartLine) -> OrderLine {
        OrderLine {
            campaign_id: wanted.campaign_id,
            quantity: wanted.quantity,
            participation_id: ParticipationId::made_at(self.dependencies.clock.now()),
        }
    }

    /// Reserves the lines in the order of their campaigns, up to the first refusal. So of two orders for the same
    /// campaigns one gets the units of the first campaign, and the other takes nothing.
    async fn reserve_lines(&self, request: &OrderRequest, order: &NewOrder) -> Reserved {
        let mut lines: Vec<(u32, &OrderLine)> = (0..).zip(&order.lines).collect();
        lines.sort_by_key(|(_, line)| line.campaign_id);
        let mut amount: Option<u64> = None;
        let began = Instant::now();
        for (line, wanted) in lines {
            if began.elapsed() > LINES_MAX {
                let error = ParticipateError::Unavailable { part: "store" };
                return Reserved::Unanswered { line, error };
            }
            match self.reserve(request, order.id, wanted).await {
                Ok(Outcome::Accepted { participation, .. }) => {
                    failpoint::point("order.line_reserved");
                    if let Some(price) = participation.amount {
                        amount = Some(amount.unwrap_or_default().saturating_add(price));
                    }
                }
                Ok(Outcome::Refused { refusal, .. }) => {
                    return Reserved::refused(line, &refusal);
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
        let participation = participation(request, order, line);
        let participate = &self.dependencies.participate;
        let reserved = participate.run(participation, CommitMode::Grouped);
        let reserved = tokio::time::timeout(LINE_MAX, Box::pin(reserved)).await;
        reserved.unwrap_or(Err(ParticipateError::Unavailable { part: "store" }))
    }
}

impl Reserved {
    fn refused(line: u32, refusal: &Refusal) -> Self {
        let code = refusal.code().to_owned();
        Self::Refused(OrderRefusal { line, code })
    }
}

/// The participation of a line.
fn participation(request: &OrderRequest, order: OrderId, line: &OrderLine) -> Request {
    Request {
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
    }
}

/// An undecided order takes no units: the sweep refuses it.
fn undecided(error: DecideError) -> PlaceError {
    match error {
        DecideError::Busy => PlaceError::Busy,
        DecideError::Store(error) => unavailable(&error),
    }
}

fn unavailable(error: &StoreError) -> PlaceError {
    warn(error);
    PlaceError::Unavailable
}
