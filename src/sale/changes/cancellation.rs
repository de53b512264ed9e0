//! Cancels a participation; its coupons are suspended first.

use super::{ChangeContext, ChangeError, ChangeResult, Inner};
use crate::domain::{Obstacle, Participation, RequestedChange, Status};
use crate::runtime::failpoint;

impl Inner {
    pub(super) async fn cancel(
        &self,
        stands: &Participation,
        context: ChangeContext,
    ) -> ChangeResult {
        self.check_is_no_line(stands).await?;
        if stands.status == Status::Cancelled {
            // A cancellation is final, so a repetition needs no slot in the writer's queue.
            return self.cancelled(stands.clone()).await;
        }
        let slot = self.writer.reserve_change(stands.campaign_id);
        let slot = slot.ok_or(ChangeError::Busy)?;
        let requested = RequestedChange::Cancel {
            suspended_until: None,
        };
        let cancelled = match Self::grant(slot, stands, requested, context.clone()).await {
            // Only the transaction, which locks the campaign, decides whether it may have coupons.
            Err(ChangeError::Unchanged {
                participation,
                obstacle: Obstacle::NotSuspended,
            }) => self.cancel_suspended(&participation, context).await?,
            answer => answer?,
        };
        self.cancelled(cancelled).await
    }

    /// Voids the payment of a cancelled participation.
    async fn cancelled(&self, cancelled: Participation) -> ChangeResult {
        if let Some(reference) = &cancelled.payment_reference {
            self.payments.void(reference).await;
        }
        Ok(cancelled)
    }

    /// Cancels a participation that may have coupons: they are suspended before anybody else can get the units.
    async fn cancel_suspended(
        &self,
        stands: &Participation,
        context: ChangeContext,
    ) -> ChangeResult {
        let revocations = self.revocations.as_ref();
        let revocations = revocations.ok_or(ChangeError::RewardsOff)?;
        let until = revocations.suspend(stands).await?;
        failpoint::point("change.suspended");
        let slot = self.slot_in_time(stands.campaign_id).await;
        let slot = slot.ok_or(ChangeError::Unavailable)?;
        let requested = RequestedChange::Cancel {
            suspended_until: Some(until),
        };
        match Self::grant(slot, stands, requested, context).await {
            Err(
                ChangeError::Busy
                | ChangeError::Unchanged {
                    obstacle: Obstacle::NotSuspendedAnyMore,
                    ..
                },
            ) => Err(ChangeError::Unavailable),
            answer => answer,
        }
    }
}
