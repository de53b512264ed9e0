//! Confirms a reservation that is paid for: the provider authorises, then the transaction confirms.

use super::{
    ChangeContext, ChangeError, ChangeResult, Inner, Payment, as_it_stands, is_reference, unchanged,
};
use crate::domain::{Obstacle, Participation, Wish};
use crate::runtime::failpoint;
use crate::runtime::telemetry::cause;
use crate::sale::payment::{Charge, PaymentError};

impl Inner {
    pub(super) async fn confirm(
        &self,
        stands: Participation,
        payment: Payment,
        context: ChangeContext,
    ) -> ChangeResult {
        let Some(due) = stands.amount else {
            return Err(unchanged(stands, Obstacle::NotPayable));
        };
        if payment.amount.is_some_and(|amount| amount != due) {
            return Err(ChangeError::WrongAmount { due });
        }
        if let Some(obstacle) = stands.obstacle_to_payment(payment.reference.as_deref()) {
            return as_it_stands(stands, obstacle);
        }
        let Some(provider) = &self.payments.provider else {
            return Err(ChangeError::NoProvider);
        };
        if !self.writer.has_place_for_change(stands.campaign_id) {
            return Err(ChangeError::Busy);
        }
        if let Some(reference) = &payment.reference {
            self.check_reference(reference, &stands).await?;
        }
        let is_named_by_provider = payment.reference.is_none();
        let charge = Charge {
            participation: stands.id,
            user: stands.user_id,
            amount: due,
            reference: payment.reference,
        };
        let authorised = provider.authorise(&charge);
        let authorised = tokio::time::timeout(self.payments.timeout, authorised).await;
        let reference = authorised
            .unwrap_or_else(|_| Err(PaymentError::Unavailable("no answer in time".to_owned())))?;
        if !is_reference(&reference) {
            self.void_payment(&reference).await;
            let why = "a reference that cannot be kept".to_owned();
            return Err(PaymentError::Unavailable(why).into());
        }
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
                    self.void_payment(&reference).await;
                }
                Err(kept)
            }
            Err(ChangeError::Busy) => Err(ChangeError::Unavailable),
            answer => answer,
        }
    }

    /// Runs before the provider is called: a reference pays once, for one participation. The transaction checks it again.
    async fn check_reference(
        &self,
        reference: &str,
        stands: &Participation,
    ) -> Result<(), ChangeError> {
        match self.store.paid_by(reference).await {
            Ok(Some(paid)) if paid != stands.id => Err(ChangeError::ReferenceUsed),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(
                    error = cause(&error),
                    "a payment's reference could not be looked up"
                );
                Err(ChangeError::Unavailable)
            }
        }
    }

    /// An authorisation that nobody lets go of lapses by itself.
    pub(super) async fn void_payment(&self, reference: &str) {
        let Some(provider) = &self.payments.provider else {
            return tracing::warn!(reference, "no task is there to release a payment");
        };
        let void = provider.void(reference);
        let voided = tokio::time::timeout(self.payments.timeout, void).await;
        if !matches!(voided, Ok(Ok(()))) {
            tracing::warn!(reference, "the authorisation of a payment was not released");
        }
    }
}
