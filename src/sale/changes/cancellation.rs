//! Cancels a participation; its coupons are suspended first.

use super::{ChangeContext, ChangeError, ChangeResult, Inner};
use crate::domain::{Obstacle, Participation, Status, Wish};
use crate::runtime::failpoint;

impl Inner {
    pub(super) async fn cancel(
        &self,
        stands: &Participation,
        context: ChangeContext,
    ) -> ChangeResult {
        self.check_is_no_line(stands).await?;
        if stands.status == Status::Cancelled {
            // For good: a repetition takes no place in the writer's queue.
            return self.cancelled(stands.clone()).await;
        }
        let place = self.writer.reserve_change(stands.campaign_id);
        let place = place.ok_or(ChangeError::Busy)?;
        let wish = Wish::Cancel {
            suspended_until: None,
        };
        let cancelled = match Self::grant(place, stands, wish, context.clone()).await {
            // Whether it may have coupons is for the transaction to say, which holds the campaign.
            Err(ChangeError::Unchanged {
                participation,
                obstacle: Obstacle::NotSuspended,
            }) => self.cancel_suspended(&participation, context).await?,
            answer => answer?,
        };
        self.cancelled(cancelled).await
    }

    /// Lets go of the payment of a cancelled participation.
    async fn cancelled(&self, cancelled: Participation) -> ChangeResult {
        if let Some(reference) = &cancelled.payment_reference {
            self.payments.void(reference).await;
        }
        Ok(cancelled)
    }

    /// Cancels what may have coupons: nobody can use them any more before anybody else gets the units.
    async fn cancel_suspended(
        &self,
        stands: &Participation,
        context: ChangeContext,
    ) -> ChangeResult {
        let revocations = self.revocations.as_ref();
        let revocations = revocations.ok_or(ChangeError::RewardsOff)?;
        let until = revocations.suspend(stands).await?;
        failpoint::point("change.suspended");
        let place = self.place_in_time(stands.campaign_id).await;
        let place = place.ok_or(ChangeError::Unavailable)?;
        let wish = Wish::Cancel {
            suspended_until: Some(until),
        };
        match Self::grant(place, stands, wish, context).await {
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
