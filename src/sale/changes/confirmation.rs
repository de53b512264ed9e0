//! Confirms a reservation that is paid for: the provider authorises, then the transaction confirms.

use super::{ChangeContext, ChangeError, ChangeResult, Inner, Payment, as_it_stands, unchanged};
use crate::domain::{Obstacle, Participation, Wish};
use crate::runtime::failpoint;
use crate::sale::payment::{Charge, Payable};

impl Inner {
    pub(super) async fn confirm(
        &self,
        stands: Participation,
        payment: Payment,
        context: ChangeContext,
    ) -> ChangeResult {
        self.check_is_no_line(&stands).await?;
        let Some(due) = stands.amount else {
            return Err(unchanged(stands, Obstacle::NotPayable));
        };
        if payment.amount.is_some_and(|amount| amount != due) {
            return Err(ChangeError::WrongAmount { due });
        }
        if let Some(obstacle) = stands.obstacle_to_payment(payment.reference.as_deref()) {
            return as_it_stands(stands, obstacle);
        }
        if self.payments.provider.is_none() {
            return Err(ChangeError::NoProvider);
        }
        if !self.writer.has_place_for_change(stands.campaign_id) {
            return Err(ChangeError::Busy);
        }
        let payable = Payable::Participation(stands.id);
        if let Some(reference) = &payment.reference {
            let payments = &self.payments;
            payments
                .check_reference(&self.store, reference, payable)
                .await?;
        }
        let is_named_by_provider = payment.reference.is_none();
        let charge = Charge {
            payable,
            user: stands.user_id,
            amount: due,
            reference: payment.reference,
        };
        let reference = self.payments.authorise(&charge).await?;
        failpoint::point("change.authorised");
        let wish = Wish::Confirm {
            reference: reference.clone(),
        };
        let place = self.place_in_time(stands.campaign_id).await;
        // Something was taken by now, the authorisation: not what is promised of those who are too many.
        let place = place.ok_or(ChangeError::Unavailable)?;
        match Self::grant(place, &stands, wish, context).await {
            // What it authorised is somebody else's payment, and stands.
            Err(ChangeError::Unchanged {
                obstacle: Obstacle::ReferenceUsed,
                ..
            }) => Err(ChangeError::ReferenceUsed),
            // One that the payer named may be what another participation is being paid with: it lapses by itself.
            Err(kept @ ChangeError::Unchanged { .. }) => {
                if is_named_by_provider {
                    self.payments.void(&reference).await;
                }
                Err(kept)
            }
            Err(ChangeError::Busy) => Err(ChangeError::Unavailable),
            answer => answer,
        }
    }
}
