//! Payments at the provider: checked, authorised, voided.

use super::{ChangeError, Payments, is_reference};
use crate::parts::store::Store;
use crate::runtime::telemetry::cause;
use crate::sale::payment::{Charge, Payable, PaymentError};

impl Payments {
    /// Runs before the provider is called: a reference pays once, for one participation or order. The transaction checks
    /// it again.
    pub(in crate::sale) async fn check_reference(
        &self,
        store: &Store,
        reference: &str,
        payable: Payable,
    ) -> Result<(), ChangeError> {
        match store.paid_by(reference).await {
            Ok(Some(paid)) if paid != payable.id() => Err(ChangeError::ReferenceUsed),
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

    /// Authorises a charge: its reference, which can be stored.
    pub(in crate::sale) async fn authorise(&self, charge: &Charge) -> Result<String, ChangeError> {
        let provider = self.provider.as_ref().ok_or(ChangeError::NoProvider)?;
        let authorised = provider.authorise(charge);
        let authorised = tokio::time::timeout(self.timeout, authorised).await;
        let reference = authorised
            .unwrap_or_else(|_| Err(PaymentError::Unavailable("no answer in time".to_owned())))?;
        if !is_reference(&reference) {
            self.void(&reference).await;
            let why = "a reference that cannot be kept".to_owned();
            return Err(PaymentError::Unavailable(why).into());
        }
        Ok(reference)
    }

    /// Voids an authorisation. An authorisation that is not voided expires by itself.
    pub(in crate::sale) async fn void(&self, reference: &str) {
        let Some(provider) = &self.provider else {
            return tracing::warn!(reference, "no provider is configured to void a payment");
        };
        let void = provider.void(reference);
        let voided = tokio::time::timeout(self.timeout, void).await;
        if !matches!(voided, Ok(Ok(()))) {
            tracing::warn!(reference, "the authorisation of a payment was not voided");
        }
    }
}
