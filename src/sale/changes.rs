//! Changes of a participation after its commit: confirmation when it is paid, cancellation, and expiry of unpaid
//! reservations. The store decides on the locked row, so of concurrent changes one wins, and units return once. Then
//! the gate is notified. If that fails, the sweeper finds that the gate counts too many units.

mod cancellation;
mod confirmation;
mod expiry;
mod payments;
mod revocation;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::expiry::start as start_expiry;
pub use self::revocation::{Revocations, start as start_revocations};
use crate::domain::{CampaignId, Obstacle, Origin, Participation, RequestedChange};
use crate::parts::store::{ChangeRequest, Store};
use crate::runtime::batcher::Occupancy;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;
use crate::sale::group_commit::{ChangeOutcome, NotCommitted, Writer, WriterSlot};
use crate::sale::payment::{Payability, PaymentError};

/// The result of a request to change a participation.
type ChangeResult = Result<Participation, ChangeError>;

/// How long a change waits for a slot in the queue after its payment was authorised, and the pause between attempts.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(3);
const PLACE_LOOK: Duration = Duration::from_millis(20);
/// Length of a payment's reference.
pub const REFERENCE: RangeInclusive<usize> = 1..=128;

/// Whether a payment reference can be stored: with this length, in printable ASCII, and without spaces around it,
/// which databases ignore in comparisons.
#[must_use]
pub fn is_reference(text: &str) -> bool {
    REFERENCE.contains(&text.len())
        && text.trim() == text
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Authorises payments.
#[derive(Clone)]
pub struct Payments {
    /// Authorises payments; none: nothing can be paid.
    pub provider: Option<Arc<dyn Payability>>,
    /// Time limit of a response of the provider.
    pub timeout: Duration,
}

/// Changes participations.
#[derive(Clone)]
pub struct Changes {
    inner: Arc<Inner>,
}

struct Inner {
    payments: Payments,
    /// None: this process has no rewards database.
    revocations: Option<Revocations>,
    store: Store,
    writer: Writer,
    spawner: Spawner,
}

/// The payment data that the payer sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payment {
    /// The provider's reference of the payment.
    pub reference: Option<String>,
    /// The amount that the payer expects to pay.
    pub amount: Option<u64>,
}

/// The context of a request.
#[derive(Clone)]
struct ChangeContext {
    /// W3C trace context, passed on to the event.
    traceparent: Option<String>,
    /// The admin who asks, for the audit log; none: the participation's user.
    by: Option<Origin>,
}

/// Why a participation was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such participation.
    #[error("find the participation")]
    Unknown,
    /// The change is not possible.
    #[error("change the participation: {obstacle:?}")]
    Unchanged {
        /// The participation, unchanged.
        participation: Box<Participation>,
        /// The reason.
        obstacle: Obstacle,
    },
    /// The payer expects another amount.
    #[error("wrong amount: {due} is due")]
    WrongAmount {
        /// The correct amount.
        due: u64,
    },
    /// The reference belongs to the payment of another participation.
    #[error("the payment reference was already used for another participation")]
    ReferenceUsed,
    /// No payment provider is configured.
    #[error("no payment provider is configured")]
    NoProvider,
    /// The payment was not authorised.
    #[error(transparent)]
    Payment(#[from] PaymentError),
    /// The queue is full: more changes wait than can be made in time.
    #[error("the queue is full")]
    Busy,
    /// The store did not answer, or the result is unknown: a repeated request gets the result.
    #[error("reach the store")]
    Unavailable,
    /// It is unknown whether its coupons were used: the rewards database did not answer.
    #[error("reach the rewards database")]
    RewardsUnavailable,
    /// It is unknown whether its coupons were used: this process has no rewards database.
    #[error("no rewards database is configured")]
    RewardsOff,
}

impl Changes {
    /// Changes participations through this writer.
    #[must_use]
    pub fn new(
        store: Store,
        writer: Writer,
        spawner: Spawner,
        payments: Payments,
        revocations: Option<Revocations>,
    ) -> Self {
        let inner = Inner {
            payments,
            revocations,
            store,
            writer,
            spawner,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Confirms a paid reservation, given as it was read just now. A repetition with the same payment gets the same
    /// result.
    pub async fn confirm(
        &self,
        stands: Participation,
        payment: Payment,
        traceparent: Option<String>,
        by: Option<Origin>,
    ) -> ChangeResult {
        let context = ChangeContext { traceparent, by };
        self.detached(move |inner| async move { inner.confirm(stands, payment, context).await })
            .await
    }

    /// Cancels a participation. A repetition gets the same result. `by` is the admin who does it for its user.
    pub async fn cancel(
        &self,
        stands: Participation,
        traceparent: Option<String>,
        by: Option<Origin>,
    ) -> ChangeResult {
        let context = ChangeContext { traceparent, by };
        self.detached(move |inner| async move { inner.cancel(&stands, context).await })
            .await
    }

    /// The change continues if the client disconnects.
    async fn detached<F>(&self, change: impl FnOnce(Arc<Inner>) -> F) -> ChangeResult
    where
        F: Future<Output = ChangeResult> + Send + 'static,
    {
        let change = change(Arc::clone(&self.inner));
        let spawner = &self.inner.spawner;
        let changed = spawner.run_detached("change", Stage::Admission, change);
        changed.await.unwrap_or(Err(ChangeError::Unavailable))
    }
}

impl Inner {
    /// A line of an order is changed only by its order.
    async fn check_is_no_line(&self, stands: &Participation) -> Result<(), ChangeError> {
        match self.store.order_of_line(stands.id).await {
            Ok(None) => Ok(()),
            Ok(Some(order)) => Err(unchanged(stands.clone(), Obstacle::PartOfOrder(order))),
            Err(error) => {
                tracing::warn!(error = cause(&error), "an order could not be looked up");
                Err(ChangeError::Unavailable)
            }
        }
    }

    /// Waits for a slot after the payment was authorised or the coupons were suspended. When the provider answers
    /// many requests at the same time, many changes need a slot at once.
    async fn slot_in_time(&self, campaign: CampaignId) -> Option<(WriterSlot, Occupancy)> {
        let deadline = Instant::now() + PLACE_WAIT_MAX;
        loop {
            if let Some(slot) = self.writer.reserve_change(campaign) {
                return Some(slot);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(PLACE_LOOK).await;
        }
    }

    /// Requests the change in the next transaction. Returns its result.
    async fn grant(
        (slot, _occupancy): (WriterSlot, Occupancy),
        stands: &Participation,
        requested: RequestedChange,
        context: ChangeContext,
    ) -> ChangeResult {
        let change_request = ChangeRequest {
            id: stands.id,
            requested,
            traceparent: context.traceparent,
            by: context.by,
        };
        match slot.change(change_request).await {
            Ok(ChangeOutcome::Changed(participation)) => Ok(participation),
            Ok(ChangeOutcome::Unchanged(participation, obstacle)) => {
                as_it_stands(participation, obstacle)
            }
            Ok(ChangeOutcome::NotFound) => Err(ChangeError::Unknown),
            Err(NotCommitted::Busy) => Err(ChangeError::Busy),
            Ok(ChangeOutcome::Unreadable) | Err(_) => Err(ChangeError::Unavailable),
        }
    }
}

/// The result for an unchanged participation: if it already has the requested status, this is a success.
fn as_it_stands(participation: Participation, obstacle: Obstacle) -> ChangeResult {
    match obstacle {
        Obstacle::Already => Ok(participation),
        obstacle => Err(unchanged(participation, obstacle)),
    }
}

fn unchanged(participation: Participation, obstacle: Obstacle) -> ChangeError {
    ChangeError::Unchanged {
        participation: Box::new(participation),
        obstacle,
    }
}
