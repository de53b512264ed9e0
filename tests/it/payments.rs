//! Payments with a slow provider: one that two participations name, and one whose reservation is cancelled
//! meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use firstcome::domain::{Participation, ParticipationId, Status};
use firstcome::runtime::supervisor::Supervisor;
use firstcome::sale::changes::{ChangeError, Changes, Payment};
use firstcome::sale::payment::{Charge, Payability, PaymentError};
use tokio::sync::Semaphore;

use crate::changes::{changes_with, paid, reserved};
use crate::support::{stores, until};

const REFERENCE: &str = "pi_of_the_victim";

/// A provider that answers on demand, and records the payments that it voids.
struct Provider {
    /// The owner of the payment; none: anybody.
    payer: Option<ParticipationId>,
    /// Number of requests.
    asked: Semaphore,
    answers: Semaphore,
    voided: Mutex<Vec<String>>,
}

impl Provider {
    fn that_answers(times: usize, payer: Option<ParticipationId>) -> Arc<Self> {
        Arc::new(Self {
            payer,
            asked: Semaphore::new(0),
            answers: Semaphore::new(times),
            voided: Mutex::default(),
        })
    }

    fn voided(&self) -> Vec<String> {
        self.voided.lock().unwrap().clone()
    }
}

#[async_trait]
impl Payability for Provider {
    async fn authorise(&self, charge: &Charge) -> Result<String, PaymentError> {
        self.asked.add_permits(1);
        self.answers.acquire().await.unwrap().forget();
        if self
            .payer
            .is_some_and(|payer| payer.0 != charge.payable.id())
        {
            return Err(PaymentError::Declined("it is another's".to_owned()));
        }
        let own = || format!("own-{}", charge.payable.id());
        Ok(charge.reference.clone().unwrap_or_else(own))
    }

    async fn void(&self, reference: &str) -> Result<(), PaymentError> {
        self.voided.lock().unwrap().push(reference.to_owned());
        Ok(())
    }
}

async fn confirm(changes: Changes, stands: Participation) -> Result<Participation, ChangeError> {
    pay(changes, stands, Some(REFERENCE)).await
}

async fn pay(
    changes: Changes,
    stands: Participation,
    reference: Option<&str>,
) -> Result<Participation, ChangeError> {
    let payment = Payment {
        reference: reference.map(str::to_owned),
        amount: None,
    };
    changes.confirm(stands, payment, None, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_reservation_does_not_void_the_payment_of_another() {
    for test in stores().await {
        let campaign = paid(&test.store).await;
        let victim = reserved(&test.store, &campaign, 1, 60).await;
        let stranger = reserved(&test.store, &campaign, 2, 60).await;
        let provider = Provider::that_answers(0, None);
        let supervisor = Supervisor::new(Duration::from_secs(5));
        let changes = changes_with(&test.store, &supervisor, Arc::clone(&provider) as _);
        let confirming = tokio::spawn(confirm(changes.clone(), victim));
        until("the victim's payment is asked for", async || {
            provider.asked.available_permits() == 1
        })
        .await;
        let second = tokio::spawn(confirm(changes.clone(), stranger.clone()));
        until("the stranger's is, too, or is refused", async || {
            provider.asked.available_permits() == 2 || second.is_finished()
        })
        .await;
        let cancelled = changes.cancel(stranger, None, None).await.unwrap();
        assert_eq!(cancelled.status, Status::Cancelled);
        provider.answers.add_permits(2);
        let confirmed = confirming.await.unwrap().unwrap();
        assert_eq!(confirmed.payment_reference.as_deref(), Some(REFERENCE));
        let refused = second.await.unwrap();
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(provider.voided(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_cancelled_meanwhile_voids_the_providers_payment() {
    for test in stores().await {
        let campaign = paid(&test.store).await;
        let order = reserved(&test.store, &campaign, 1, 60).await;
        let provider = Provider::that_answers(0, None);
        let supervisor = Supervisor::new(Duration::from_secs(5));
        let changes = changes_with(&test.store, &supervisor, Arc::clone(&provider) as _);
        let confirming = tokio::spawn(pay(changes.clone(), order.clone(), None));
        until("the payment is asked for", async || {
            provider.asked.available_permits() == 1
        })
        .await;
        let id = order.id;
        changes.cancel(order, None, None).await.unwrap();
        provider.answers.add_permits(1);
        let refused = confirming.await.unwrap();
        assert!(
            matches!(refused, Err(ChangeError::Unchanged { .. })),
            "{refused:?}"
        );
        assert_eq!(provider.voided(), [format!("own-{id}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_declined_for_another_user_still_works_for_its_payer() {
    for test in stores().await {
        let campaign = paid(&test.store).await;
        let victim = reserved(&test.store, &campaign, 1, 60).await;
        let stranger = reserved(&test.store, &campaign, 2, 60).await;
        let provider = Provider::that_answers(2, Some(victim.id));
        let supervisor = Supervisor::new(Duration::from_secs(5));
        let changes = changes_with(&test.store, &supervisor, Arc::clone(&provider) as _);
        let declined = confirm(changes.clone(), stranger).await;
        assert!(
            matches!(
                declined,
                Err(ChangeError::Payment(PaymentError::Declined(_)))
            ),
            "{declined:?}"
        );
        let confirmed = confirm(changes, victim).await.unwrap();
        assert_eq!(confirmed.status, Status::Confirmed);
        assert_eq!(provider.voided(), Vec::<String>::new());
    }
}
