//! Orders of several lines, all of them or none. Each line is a participation that is reserved the ordinary way, so
//! the campaigns of an order may be anywhere, and nobody holds two of them. The order's own row decides: first it is
//! recorded (`placing`), then its lines are reserved one after the other, then it is decided. The transaction that
//! commits a line checks that the order is still being placed, so a decided order gets no further line. The lines
//! follow the decision: the request has them follow at once, and `sweep` does where that failed. What is paid,
//! cancelled or expired is the order, never a line of it.

mod change;
mod lines;
mod place;
mod sweep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

pub use self::sweep::start as start_sweep;
use crate::domain::{Obstacle, Order, OrderDecision, OrderId, OrderLine, Origin, Refusal, UserId};
use crate::parts::store::{CartLine, DecidedOrder, DecisionContext, Store, StoreError};
use crate::runtime::clock::Clock;
use crate::runtime::retry;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;
use crate::sale::changes::{ChangeError, Payment, Payments};
use crate::sale::group_commit::Writer;
use crate::sale::participate::{Participate, ParticipateError, Replayed};

/// Orders that are placed at the same time, and orders that are paid or cancelled.
const CONCURRENT_MAX: usize = 256;
/// How long a line may take to be reserved, and after which time no further line is begun.
const LINE_MAX: Duration = Duration::from_secs(5);
const LINES_MAX: Duration = Duration::from_secs(8);
/// An order that nobody has decided by then is refused.
const DECIDE_WITHIN: Duration = Duration::from_secs(15);

/// Places and changes orders.
#[derive(Clone)]
pub struct Orders {
    inner: Arc<Inner>,
}

/// What orders use.
pub struct OrderDependencies {
    /// Where orders are.
    pub store: Store,
    /// Reserves lines.
    pub participate: Participate,
    /// Changes lines.
    pub writer: Writer,
    /// Authorises payments.
    pub payments: Payments,
    /// Time.
    pub clock: Clock,
    /// Runs what must not end with the client's connection.
    pub spawner: Spawner,
}

struct Inner {
    dependencies: OrderDependencies,
    placing: Arc<Semaphore>,
    changing: Arc<Semaphore>,
}

/// A request to place an order.
#[derive(Clone, Debug)]
pub struct OrderRequest {
    /// Whose.
    pub user: UserId,
    /// The client's key, unique per user.
    pub idempotency_key: Option<String>,
    /// The lines, of different campaigns.
    pub lines: Vec<CartLine>,
    /// Whether they come from the user's cart, which is emptied when the order is accepted.
    pub is_cart: bool,
    /// When the request came.
    pub since: Instant,
    /// What comes along with it.
    pub context: OrderContext,
}

/// What comes along with a request.
#[derive(Clone, Debug, Default)]
pub struct OrderContext {
    /// W3C trace context, passed on to the events.
    pub traceparent: Option<String>,
    /// The admin who requests it, for the audit log; none: the user.
    pub by: Option<Origin>,
}

/// A decided order.
#[derive(Clone, Debug)]
pub struct PlacedOrder {
    /// As it stands.
    pub order: Order,
    /// Whether this answer was given before.
    pub replayed: Replayed,
}

/// Why an order was not placed. Nothing is handed out.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// There is no such campaign.
    #[error("find the campaign of line {line}")]
    UnknownCampaign {
        /// The index of the line.
        line: u32,
    },
    /// Some lines have a price and others have none.
    #[error("the order has lines with and without a price")]
    MixedPrices,
    /// The idempotency key was used for another order.
    #[error("the idempotency key was used for another order")]
    KeyReused,
    /// The order of this key is being placed.
    #[error("the order of this key is being placed")]
    Outstanding,
    /// A line is not possible, by the rules.
    #[error("reserve line {line}: {}", refusal.code())]
    Refused {
        /// The index of the line.
        line: u32,
        /// Why.
        refusal: Refusal,
    },
    /// A line had no answer.
    #[error("reserve line {line}")]
    Line {
        /// The index of the line.
        line: u32,
        /// Why.
        #[source]
        error: ParticipateError,
    },
    /// Too many orders at the same time.
    #[error("too many orders at the same time")]
    Busy,
    /// The store did not answer, or not for certain.
    #[error("reach the store")]
    Unavailable,
}

/// Why an order was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such order.
    #[error("find the order")]
    Unknown,
    /// It stays as it is.
    #[error("change the order: {obstacle:?}")]
    Unchanged {
        /// As it stands.
        order: Box<Order>,
        /// Why.
        obstacle: Obstacle,
    },
    /// As with a participation.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl Orders {
    /// Places and changes orders with these dependencies.
    #[must_use]
    pub fn new(dependencies: OrderDependencies) -> Self {
        let inner = Inner {
            dependencies,
            placing: Arc::new(Semaphore::new(CONCURRENT_MAX)),
            changing: Arc::new(Semaphore::new(CONCURRENT_MAX)),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Places an order. The result is a decided order, which may be refused.
    pub async fn place(&self, request: OrderRequest) -> Result<PlacedOrder, PlaceError> {
        let permits = &self.inner.placing;
        let placed = self.detached(permits, |inner| async move { inner.place(request).await });
        placed.await.unwrap_or(Err(PlaceError::Busy))
    }

    /// Pays for a reserved order. A repetition with the same payment gets the same result.
    pub async fn confirm(
        &self,
        order: Order,
        payment: Payment,
        context: OrderContext,
    ) -> Result<Order, OrderError> {
        let confirm =
            |inner: Arc<Inner>| async move { inner.confirm(order, payment, context).await };
        let confirmed = self.detached(&self.inner.changing, confirm);
        confirmed.await.unwrap_or(Err(ChangeError::Busy.into()))
    }

    /// Cancels an order. A repetition gets the same result.
    pub async fn cancel(&self, order: Order, context: OrderContext) -> Result<Order, OrderError> {
        let cancel = |inner: Arc<Inner>| async move { inner.cancel(order, context).await };
        let cancelled = self.detached(&self.inner.changing, cancel);
        cancelled.await.unwrap_or(Err(ChangeError::Busy.into()))
    }

    /// Goes on when the client has gone away. None: too many at the same time, or the process stops.
    async fn detached<T, F>(
        &self,
        permits: &Arc<Semaphore>,
        work: impl FnOnce(Arc<Inner>) -> F,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let permit = Arc::clone(permits).try_acquire_owned().ok()?;
        let work = work(Arc::clone(&self.inner));
        let work = async move {
            let result = work.await;
            drop(permit);
            result
        };
        let spawner = &self.inner.dependencies.spawner;
        spawner.run_detached("order", Stage::Admission, work).await
    }
}

impl OrderContext {
    fn decision(&self) -> DecisionContext {
        DecisionContext {
            traceparent: self.traceparent.clone(),
            by: self.by.clone(),
            ..DecisionContext::default()
        }
    }
}

impl Inner {
    /// Decides an order; a transaction that lost against another one is tried again. After a lost COMMIT the order itself
    /// says whether it is decided.
    async fn decide(
        &self,
        (id, lines): (OrderId, &[OrderLine]),
        decision: &OrderDecision,
        context: &DecisionContext,
    ) -> Result<Option<DecidedOrder>, StoreError> {
        let store = &self.dependencies.store;
        let again = |error: &StoreError| retry::Verdict::again_if(error.is_rolled_back());
        let decide = || store.decide_order((id, lines), decision, context);
        let error = match retry::retry(&retry::Policy::BRIEF, again, decide).await {
            Ok(decided) => return Ok(decided),
            Err(error) => error,
        };
        match store.order(id).await? {
            Some(order) if order.is_decided_by(decision) => Ok(Some(DecidedOrder {
                order,
                obstacle: None,
            })),
            _ => Err(error),
        }
    }
}

/// Whether two requests are for the same lines.
fn are_same(order: &Order, lines: &[CartLine]) -> bool {
    let of_order = order.lines.iter();
    let of_order = of_order.map(|line| (line.campaign_id, line.quantity));
    let requested = lines.iter().map(|line| (line.campaign_id, line.quantity));
    of_order.eq(requested)
}

fn warn(error: &StoreError) {
    tracing::warn!(
        error = cause(error),
        "an order could not be read or written"
    );
}
