//! Gives the lines of a decided order the status of the order. It is safe to repeat.

use super::{Inner, permits, warn};
use crate::domain::{
    Obstacle, Order, OrderLine, OrderStatus, Participation, RequestedChange, Status,
};
use crate::parts::store::ChangeRequest;
use crate::runtime::failpoint;
use crate::sale::group_commit::ChangeOutcome;

impl Inner {
    /// Makes the lines follow their order, and records it when all have followed. Returns whether nothing is left to
    /// do.
    pub(super) async fn settle(&self, order: &Order) -> bool {
        let Some(status) = order.status.of_lines() else {
            return true;
        };
        let mut is_settled = true;
        for line in &order.lines {
            is_settled &= self.follow(order, line, status).await;
        }
        is_settled && self.record(order).await
    }

    /// Records that all lines have followed. Returns whether it is recorded.
    async fn record(&self, order: &Order) -> bool {
        let Some(_permit) = self.permits.transaction(permits::deadline()).await else {
            return false;
        };
        let finished = self.dependencies.store.finish_order(order).await;
        finished.inspect_err(warn).is_ok()
    }

    /// Makes one line follow. Returns whether it has followed.
    async fn follow(&self, order: &Order, line: &OrderLine, status: Status) -> bool {
        let change_request = ChangeRequest {
            id: line.participation_id,
            requested: RequestedChange::FollowOrder {
                status,
                reference: order.payment_reference.clone(),
            },
            traceparent: None,
            by: None,
        };
        // Without room in the writer the line is left to the sweep: a request must not bypass the writer's bound.
        let place = self.dependencies.writer.reserve_change(line.campaign_id);
        let Some((place, _occupancy)) = place else {
            return false;
        };
        match place.change(change_request).await {
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

    /// Logs a line that does not follow its order, unless the order was decided again meanwhile.
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
