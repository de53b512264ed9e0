//! Confirms a reservation: the provider authorises the payment, then the transaction confirms.

use super::{ChangeContext, ChangeError, ChangeResult, Inner, Payment, as_it_stands, unchanged};
use crate::domain::{Obstacle, Participation, RequestedChange};
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
        let requested = RequestedChange::Confirm {
            reference: reference.clone(),
        };
        let slot = self.slot_in_time(stands.campaign_id).await;
        // The payment is already authorised, so the result must not be `Busy`, which promises that nothing was taken.
        let slot = slot.ok_or(ChangeError::Unavailable)?;
        match Self::grant(slot, &stands, requested, context).await {
            // The authorised payment belongs to another participation, so it is not voided.
            Err(ChangeError::Unchanged {
                obstacle: Obstacle::ReferenceUsed,
                ..
            }) => Err(ChangeError::ReferenceUsed),
            // A reference chosen by the payer may be in use by another participation's payment: it expires by itself.
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
