//! The interface to a payment provider, and the simulated provider, which moves no money.
//!
//! Before a confirmation is committed, the provider *authorises* the payment. If the confirmation then fails, and the
//! provider chose the reference of the payment, the payment is *voided*. A reference chosen by the payer may belong to
//! the payment of another participation, so only the participation that it was recorded for voids it. The process can
//! die between the two steps: an authorisation without a confirmation must expire by itself, as with every card
//! scheme. The consumer of the `confirmed` event captures the payment.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use uuid::Uuid;

use crate::domain::{OrderId, ParticipationId, UserId};

/// What a payment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payable {
    /// A reserved participation.
    Participation(ParticipationId),
    /// A reserved order.
    Order(OrderId),
}

impl Payable {
    /// Its id, which differs from that of everything else that can be paid for.
    #[must_use]
    pub const fn id(self) -> Uuid {
        match self {
            Self::Participation(id) => id.0,
            Self::Order(id) => id.0,
        }
    }
}

/// A payment to authorise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// What is paid for. For repeated requests with the same one, the provider authorises once.
    pub payable: Payable,
    /// The payer.
    pub user: UserId,
    /// The amount, in the smallest unit of the currency.
    pub amount: u64,
    /// The reference that the provider gave to the client, if any.
    pub reference: Option<String>,
}

/// The payment was not authorised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The provider declined it.
    #[error("authorise the payment: {0}")]
    Declined(String),
    /// The provider did not answer.
    #[error("reach the payment provider: {0}")]
    Unavailable(String),
}

/// A payment provider.
#[async_trait]
pub trait Payability: Send + Sync + 'static {
    /// Authorises the charge, so that it can be captured. Returns the reference of the payment: the charge's, if it has
    /// one.
    ///
    /// The charge's reference comes from the client. The service ensures that a reference pays for only one
    /// participation or order, but does not know for which one the payment was made. An implementation must ask the
    /// provider whether the payment of this reference was made for `payable`, by `user` and over `amount`, and
    /// decline it otherwise. Without this check, anyone who knows a reference can pay with it.
    async fn authorise(&self, charge: &Charge) -> Result<String, PaymentError>;

    /// Voids an authorisation. An unknown one is ignored.
    async fn void(&self, reference: &str) -> Result<(), PaymentError>;
}

/// Authorises every charge, except by reference: `declined…` is declined, `unavailable…` gets no answer, and
/// `slow-MILLIS…` an answer after that time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulated;

/// Prefix of the references made by the simulated provider. Clients cannot use them.
pub const MADE_HERE: &str = "simulated-";

const DECLINED: &str = "declined";
const UNAVAILABLE: &str = "unavailable";
const SLOW: &str = "slow-";

#[async_trait]
impl Payability for Simulated {
    async fn authorise(&self, charge: &Charge) -> Result<String, PaymentError> {
        let reference = charge.reference.as_deref().unwrap_or_default();
        if reference.starts_with(DECLINED) {
            return Err(PaymentError::Declined("as the reference asks".to_owned()));
        }
        if reference.starts_with(UNAVAILABLE) {
            return Err(PaymentError::Unavailable(
                "as the reference asks".to_owned(),
            ));
        }
        if let Some(delay) = delay(reference) {
            tokio::time::sleep(delay).await;
        }
        Ok(charge
            .reference
            .clone()
            .unwrap_or_else(|| format!("{MADE_HERE}{}", charge.payable.id())))
    }

    async fn void(&self, reference: &str) -> Result<(), PaymentError> {
        tracing::debug!(reference, "authorisation voided");
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
    use super::*;

    async fn authorised(reference: Option<&str>) -> Result<String, PaymentError> {
        let charge = Charge {
            payable: Payable::Participation(ParticipationId(Uuid::nil())),
            user: UserId(1),
            amount: 100,
            reference: reference.map(str::to_owned),
        };
        Simulated.authorise(&charge).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_simulated_provider_does_as_the_reference_asks() {
        assert_eq!(authorised(Some("pi_1")).await.unwrap(), "pi_1");
        assert!(matches!(
            authorised(Some("declined-card")).await,
            Err(PaymentError::Declined(_))
        ));
        assert!(matches!(
            authorised(Some("unavailable")).await,
            Err(PaymentError::Unavailable(_))
        ));
        let began = tokio::time::Instant::now();
        assert_eq!(authorised(Some("slow-300-x")).await.unwrap(), "slow-300-x");
        assert_eq!(began.elapsed(), Duration::from_millis(300));
        // The same participation gets the same reference: a repeated request pays once.
        assert_eq!(authorised(None).await, authorised(None).await);
    }
}
