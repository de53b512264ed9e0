//! Whether a reservation can be paid for: the seam to a payment provider, and the one in this tree, which
//! moves no money.
//!
//! A provider is asked to *authorise* before a confirmation is committed, and told to *void* what was
//! authorised for a confirmation that did not come about, if the provider named the payment itself. One that the
//! payer named may be what another participation is being paid with, so it is voided only by the participation that
//! it was recorded for. Between the two anything may die: an
//! authorisation without a confirmation has to lapse by itself, as it does with every card scheme. To
//! capture is for whoever consumes the `confirmed` event.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{ParticipationId, UserId};

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// For what. A provider asked twice for the same one authorises once.
    pub participation: ParticipationId,
    /// By whom.
    pub user: UserId,
    /// How much, in the smallest unit of the currency.
    pub amount: u64,
    /// What the client was given by the provider for it, if anything.
    pub reference: Option<String>,
}

/// Why nothing was authorised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The provider says no.
    #[error("authorise the payment: {0}")]
    Declined(String),
    /// The provider says nothing.
    #[error("reach the payment provider: {0}")]
    Unavailable(String),
}

/// A payment provider.
#[async_trait]
pub trait Payability: Send + Sync + 'static {
    /// Sees to it that the charge can be captured: the reference of the payment, which is the charge's where it
    /// has one.
    ///
    /// The charge's reference comes from the client. The service makes sure that a reference pays for one
    /// participation alone, and does not know for which one the payment was made. An implementation must ask the
    /// provider whether the payment of this reference was made for `participation`, by `user` and over `amount`, and
    /// decline it otherwise. Without that check a stranger who knows a reference can pay with it.
    async fn authorise(&self, charge: &Charge) -> Result<String, PaymentError>;

    /// Lets go of an authorisation. One that is not known is passed over.
    async fn void(&self, reference: &str) -> Result<(), PaymentError>;
}

/// Says yes, unless the reference tells it otherwise: `declined…` is refused, `unavailable…` not
/// answered, and `slow-MILLIS…` answered so late.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulated;

/// What the references begin with that the simulated provider makes itself. Clients name none of them.
pub const MADE_HERE: &str = "simulated-";

const DECLINED: &str = "declined";
const UNAVAILABLE: &str = "unavailable";
const SLOW: &str = "slow-";

#[async_trait]
impl Payability for Simulated {
    async fn authorise(&self, charge: &Charge) -> Result<String, PaymentError> {
        let asked = charge.reference.as_deref().unwrap_or_default();
        if asked.starts_with(DECLINED) {
            return Err(PaymentError::Declined("as the reference asks".to_owned()));
        }
        if asked.starts_with(UNAVAILABLE) {
            return Err(PaymentError::Unavailable(
                "as the reference asks".to_owned(),
            ));
        }
        if let Some(delay) = delay(asked) {
            tokio::time::sleep(delay).await;
        }
        Ok(charge
            .reference
            .clone()
            .unwrap_or_else(|| format!("{MADE_HERE}{}", charge.participation)))
    }

    async fn void(&self, reference: &str) -> Result<(), PaymentError> {
        tracing::debug!(reference, "authorisation let go");
        Ok(())
    }
}

fn delay(reference: &str) -> Option<Duration> {
    let rest = reference.strip_prefix(SLOW)?;
    let digits = rest.split('-').next()?;
    digits.parse().ok().map(Duration::from_millis)
}

impl fmt::Debug for dyn Payability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Payability")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    async fn asked(reference: Option<&str>) -> Result<String, PaymentError> {
        let charge = Charge {
            participation: ParticipationId(Uuid::nil()),
            user: UserId(1),
            amount: 100,
            reference: reference.map(str::to_owned),
        };
        Simulated.authorise(&charge).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_simulated_provider_does_as_the_reference_asks() {
        assert_eq!(asked(Some("pi_1")).await.unwrap(), "pi_1");
        assert!(matches!(
            asked(Some("declined-card")).await,
            Err(PaymentError::Declined(_))
        ));
        assert!(matches!(
            asked(Some("unavailable")).await,
            Err(PaymentError::Unavailable(_))
        ));
        let began = tokio::time::Instant::now();
        assert_eq!(asked(Some("slow-300-x")).await.unwrap(), "slow-300-x");
        assert_eq!(began.elapsed(), Duration::from_millis(300));
        // The same participation gets the same reference: asked twice, it pays once.
        assert_eq!(asked(None).await, asked(None).await);
    }
}
