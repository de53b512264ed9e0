//! Orders with several lines, accepted or refused as a whole. Each line is a participation that is reserved in the
//! usual way, so the campaigns of an order may be on different nodes, and no transaction locks two campaigns. The row
//! of the order decides: it is recorded (`placing`), its lines are reserved one after the other, then it is decided.
//! The transaction that commits a line checks that the order is still being placed, so a decided order gets no
//! further line. The lines follow the decision: the request makes them follow at once, and `sweep` does it if that
//! fails. An order is paid, cancelled or expired as a whole, never a single line.

mod change;
mod decide;
mod lines;
mod permits;
mod place;
mod sweep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use self::permits::Permits;
pub use self::sweep::start as start_sweep;
use crate::domain::{CampaignId, Obstacle, Order, Origin, Refusal, UserId};
use crate::parts::store::{CartLine, DecisionContext, Store, StoreError};
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;
use crate::sale::changes::{ChangeError, Payment, Payments};
use crate::sale::group_commit::Writer;
use crate::sale::participate::{Participate, ParticipateError, Replayed};

/// Maximum number of orders placed at the same time, and of orders paid or cancelled at the same time.
const CONCURRENT_MAX: usize = 256;
/// Time limit for the reservation of a line, and the time after which no further line is begun.
const LINE_MAX: Duration = Duration::from_secs(5);
const LINES_MAX: Duration = Duration::from_secs(8);
/// An order that is not decided within this time is refused.
const DECIDE_WITHIN: Duration = Duration::from_secs(15);

/// Places and changes orders.
#[derive(Clone)]
pub struct Orders {
    inner: Arc<Inner>,
}

/// What orders use.
pub struct OrderDependencies {
    /// The store with the orders.
    pub store: Store,
    /// Reserves lines.
    pub participate: Participate,
    /// Changes lines.
    pub writer: Writer,
    /// Authorises payments.
    pub payments: Payments,
    /// Time.
    pub clock: Clock,
    /// Runs work that must continue if the client disconnects.
    pub spawner: Spawner,
    /// Maximum number of concurrent transactions of orders, at least one.
    pub transactions_max: usize,
}

struct Inner {
    dependencies: OrderDependencies,
    placing: Arc<Semaphore>,
    changing: Arc<Semaphore>,
    permits: Permits,
}

/// A request to place an order.
#[derive(Clone, Debug)]
pub struct OrderRequest {
    /// The user.
    pub user: UserId,
    /// The client's key, unique per user.
    pub idempotency_key: Option<String>,
    /// The lines, of different campaigns.
    pub lines: Vec<CartLine>,
    /// Whether they come from the user's cart, which is emptied when the order is accepted.
    pub is_cart: bool,
    /// When the request arrived.
    pub since: Instant,
    /// The context of the request.
    pub context: OrderContext,
}

/// The context of a request.
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
    /// The order.
    pub order: Order,
    /// Whether this is a repeated answer.
    pub replayed: Replayed,
}

/// Why an order was not placed. No units are taken.
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
    /// A line is refused by the rules.
    #[error("reserve line {line}: {}", refusal.code())]
    Refused {
        /// The index of the line.
        line: u32,
        /// The reason.
        refusal: Refusal,
    },
    /// The result of a line is unknown.
    #[error("reserve line {line}")]
    Line {
        /// The index of the line.
        line: u32,
        /// The reason.
        #[source]
        error: ParticipateError,
    },
    /// Too many concurrent orders.
    #[error("too many orders at the same time")]
    Busy,
    /// The store did not answer, or the result is unknown.
    #[error("reach the store")]
    Unavailable,
}

/// Why an order was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such order.
    #[error("find the order")]
    Unknown,
    /// The change is not possible.
    #[error("change the order: {obstacle:?}")]
    Unchanged {
        /// The order, unchanged.
        order: Box<Order>,
        /// The reason.
        obstacle: Obstacle,
    },
    /// As for a participation.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl Orders {
    /// Places and changes orders with these dependencies.
    #[must_use]
    pub fn new(dependencies: OrderDependencies) -> Self {
        let inner = Inner {
            permits: Permits::new(dependencies.transactions_max),
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

    /// A permit for another transaction that locks the row of a campaign, as decisions of orders do; they share the
    /// permits. None: others have all of them for too long.
    pub async fn permit_row_lock(&self, campaign: CampaignId) -> Option<impl Sized + use<'_>> {
        let permits = &self.inner.permits;
        permits.decision(campaign, permits::deadline()).await
    }

    /// The work continues if the client disconnects. None: too many are in progress, or the process stops.
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
