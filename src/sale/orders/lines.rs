//! The lines of a decided order get the status that it gives them. It is safe to repeat.

use super::{Inner, warn};
use crate::domain::{Obstacle, Order, OrderLine, OrderStatus, Participation, Status, Wish};
use crate::parts::store::Wished;
use crate::runtime::failpoint;
use crate::sale::group_commit::{ChangeOutcome, ChangeResult, NotCommitted};

impl Inner {
    /// Has the lines follow their order, and notes it when all have. Returns whether nothing is left to do.
    pub(super) async fn settle(&self, order: &Order) -> bool {
        let Some(status) = order.status.of_lines() else {
            return true;
        };
        let mut is_settled = true;
        for line in &order.lines {
            is_settled &= self.follow(order, line, status).await;
        }
        if is_settled {
            let finished = self.dependencies.store.finish_order(order);
            if let Err(error) = finished.await {
                // The sweep looks at it once more.
                warn(&error);
            }
        }
        is_settled
    }

    /// Whether the line has followed.
    async fn follow(&self, order: &Order, line: &OrderLine, status: Status) -> bool {
        let wished = Wished {
            id: line.participation_id,
            wish: Wish::FollowOrder {
                status,
                reference: order.payment_reference.clone(),
            },
            traceparent: None,
            by: None,
        };
        match self.change(line, wished).await {
            Ok(ChangeOutcome::Changed(_) | ChangeOutcome::Unchanged(_, Obstacle::Already)) => {
                failpoint::point("order.line_followed");
                true
            }
            Ok(ChangeOutcome::Unchanged(stands, obstacle)) => {
                self.report(order, &stands, obstacle).await;
                true
            }
            // It was not reserved, and never will be: a decided order gets no further line.
            Ok(ChangeOutcome::NotFound) => {
                if order.status != OrderStatus::Refused {
                    tracing::error!(order = %order.id, participation = %line.participation_id, "a line is missing");
                }
                true
            }
            Ok(ChangeOutcome::Unreadable) | Err(_) => false,
        }
    }

    /// With other changes of the campaign in one transaction, if there is room.
    async fn change(&self, line: &OrderLine, wished: Wished) -> ChangeResult {
        let writer = &self.dependencies.writer;
        if let Some((place, _occupancy)) = writer.reserve_change(line.campaign_id) {
            return place.change(wished).await;
        }
        let results = writer.change_all(line.campaign_id, vec![wished]).await;
        let result = results.into_iter().next();
        result.unwrap_or(Err(NotCommitted::Unknown))
    }

    /// A line that does not follow its order, unless the order was decided again meanwhile.
    async fn report(&self, order: &Order, stands: &Participation, obstacle: Obstacle) {
        let present = self.dependencies.store.order(order.id).await;
        if matches!(present, Ok(Some(present)) if present.status == order.status) {
            tracing::error!(
                order = %order.id, participation = %stands.id, ?obstacle,
                "a line does not follow its order"
            );
        }
    }
}
