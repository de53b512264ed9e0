//! What becomes of a participation after its commit, top to bottom: confirmed when it is paid for,
//! cancelled, or expired when nobody paid in time. The store decides on the row it holds, so however many
//! race, one wins and units return once. The gate is notified right after; if that fails, the sweeper finds
//! that it counts too much.

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
use crate::domain::{CampaignId, Obstacle, Origin, Participation, Wish};
use crate::parts::store::{Store, Wished};
use crate::runtime::batcher::Occupancy;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;
use crate::sale::group_commit::{ChangeOutcome, NotCommitted, Writer, WriterPlace};
use crate::sale::payment::{Payability, PaymentError};

/// The result of a request to change a participation.
type ChangeResult = Result<Participation, ChangeError>;

/// How long a payment that was authorised waits for a place, and how often it looks.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(3);
const PLACE_LOOK: Duration = Duration::from_millis(20);
/// Length of a payment's reference.
pub const REFERENCE: RangeInclusive<usize> = 1..=128;

/// Whether the reference of a payment can be kept: of that length, in printable ASCII, without spaces around it,
/// by which databases do not tell two apart.
#[must_use]
pub fn is_reference(text: &str) -> bool {
    REFERENCE.contains(&text.len())
        && text.trim() == text
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Authorises payments.
#[derive(Clone)]
pub struct Payments {
    /// Authorises payments; none: nothing can be paid here.
    pub provider: Option<Arc<dyn Payability>>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Changes participations.
#[derive(Clone)]
pub struct Changes {
    inner: Arc<Inner>,
}

struct Inner {
    payments: Payments,
    /// None: this process does not know where the rewards are.
    revocations: Option<Revocations>,
    store: Store,
    writer: Writer,
    spawner: Spawner,
}

/// What the payer says of the payment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payment {
    /// What the provider named it.
    pub reference: Option<String>,
    /// What the payer takes it to cost.
    pub amount: Option<u64>,
}

/// What comes along with a request.
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
    /// It stays as it is.
    #[error("change the participation: {obstacle:?}")]
    Unchanged {
        /// As it stands.
        participation: Box<Participation>,
        /// Why.
        obstacle: Obstacle,
    },
    /// Another amount is to be paid.
    #[error("wrong amount: {due} is due")]
    WrongAmount {
        /// What it costs.
        due: u64,
    },
    /// The reference is that of another participation's payment.
    #[error("the payment reference was already used for another participation")]
    ReferenceUsed,
    /// No provider is configured that may take payments here.
    #[error("no payment provider is configured")]
    NoProvider,
    /// Nothing was authorised.
    #[error(transparent)]
    Payment(#[from] PaymentError),
    /// More changes are waiting than can be made in time.
    #[error("the queue is full")]
    Busy,
    /// The store did not answer, or not for certain: asking again tells.
    #[error("reach the store")]
    Unavailable,
    /// Whether its coupons were used is not known: the rewards database did not answer.
    #[error("reach the rewards database")]
    RewardsUnavailable,
    /// The same, because this process does not know of one.
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

    /// Confirms a reservation, as it was read a moment ago, that is paid for. A repetition with the same
    /// payment gets the same result.
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

    /// Gives a participation back. A repetition gets the same result. `by` is the admin who does it for its
    /// user.
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

    /// What was begun is brought to its end when the client has gone away.
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
    /// A line of an order is changed by its order alone.
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

    /// A place for what was authorised, or suspended, which is worth waiting for: many whom the provider
    /// answered at the same time come at the same time.
    async fn place_in_time(&self, campaign: CampaignId) -> Option<(WriterPlace, Occupancy)> {
        let deadline = Instant::now() + PLACE_WAIT_MAX;
        loop {
            if let Some(place) = self.writer.reserve_change(campaign) {
                return Some(place);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(PLACE_LOOK).await;
        }
    }

    /// Has the wish granted in the next transaction, and says how it stands.
    async fn grant(
        (place, _occupancy): (WriterPlace, Occupancy),
        stands: &Participation,
        wish: Wish,
        context: ChangeContext,
    ) -> ChangeResult {
        let wished = Wished {
            id: stands.id,
            wish,
            traceparent: context.traceparent,
            by: context.by,
        };
        match place.change(wished).await {
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

/// The answer about one that did not change: what is so already is a yes.
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
