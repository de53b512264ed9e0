//! What the relay counts. Cheap to clone: all clones are the same numbers.

mod retention;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio_util::sync::CancellationToken;

pub use retention::RetentionMetrics;
pub(super) use retention::UNKNOWN;

use super::Parts;
use crate::domain::OutboxEvent;
use crate::supervisor::BoxError;

/// How an attempt to publish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Published {
    /// `ok` or `failed`.
    pub result: &'static str,
    /// Class of the failure.
    pub class: &'static str,
}

/// Where parked rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ParkedIn {
    /// `retry`, `blocked` or `dead`.
    pub state: &'static str,
}

/// The relay's numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Rows waiting to be published, in the whole installation.
    pub pending: Gauge,
    /// Age of the oldest of them.
    pub oldest_age_seconds: Gauge,
    /// Parked rows by state, in the whole installation.
    pub parked: Family<ParkedIn, Gauge>,
    /// Keys that wait behind a row of theirs, in the buckets of this relay.
    pub blocked_keys: Gauge,
    /// Attempts to publish by how they ended.
    pub published: Family<Published, Counter>,
    /// 1 while the broker or a topic is held back.
    pub breaker_open: Gauge,
    /// Rows that came from the writer rather than from the poll.
    pub wake_hits: Counter,
    /// Buckets that changed to this owner.
    pub lease_epoch_changes: Counter,
    /// Events sent after a later one of the same participation.
    pub order_violations: Counter,
    /// From the commit of a row to its acknowledgement.
    pub commit_to_ack_seconds: Histogram,
    /// What is kept and for how long.
    pub retention: RetentionMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            pending: Gauge::default(),
            oldest_age_seconds: Gauge::default(),
            parked: Family::default(),
            blocked_keys: Gauge::default(),
            published: Family::default(),
            breaker_open: Gauge::default(),
            wake_hits: Counter::default(),
            lease_epoch_changes: Counter::default(),
            order_violations: Counter::default(),
            commit_to_ack_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            retention: RetentionMetrics::default(),
        }
    }
}

impl Metrics {
    /// Makes the numbers visible.
    pub fn register(&self, registry: &mut Registry) {
        let relay = registry.sub_registry_with_prefix("relay");
        relay.register(
            "pending",
            "Rows waiting to be published",
            self.pending.clone(),
        );
        relay.register(
            "oldest_age",
            "Age of the oldest pending row",
            self.oldest_age_seconds.clone(),
        );
        relay.register("parked", "Parked rows by state", self.parked.clone());
        relay.register(
            "blocked_keys",
            "Keys waiting behind a parked row",
            self.blocked_keys.clone(),
        );
        relay.register("publish", "Attempts to publish", self.published.clone());
        relay.register(
            "breaker_open",
            "Whether the broker or a topic is held back",
            self.breaker_open.clone(),
        );
        relay.register(
            "wake_hits",
            "Rows handed over by the writer",
            self.wake_hits.clone(),
        );
        relay.register(
            "lease_epoch_changes",
            "Buckets that changed to this owner",
            self.lease_epoch_changes.clone(),
        );
        relay.register(
            "order_violations",
            "Events sent after a later one of the same participation",
            self.order_violations.clone(),
        );
        relay.register_with_unit(
            "commit_to_ack",
            "From commit to acknowledgement",
            Unit::Seconds,
            self.commit_to_ack_seconds.clone(),
        );
        self.retention.register(relay);
    }

    /// Counts an acknowledgement.
    pub(super) fn acknowledged(&self, event: &OutboxEvent, now: crate::domain::Instant) {
        self.count("ok", "none");
        let waited = now.signed_duration_since(event.created_at);
        let waited = waited.to_std().unwrap_or_default();
        self.commit_to_ack_seconds.observe(waited.as_secs_f64());
    }

    /// Counts a failed attempt.
    pub(super) fn failed(&self, class: &'static str) {
        self.count("failed", class);
    }

    fn count(&self, result: &'static str, class: &'static str) {
        self.published
            .get_or_create(&Published { result, class })
            .inc();
    }

    fn set_parked(&self, state: &'static str, rows: u64) {
        self.parked
            .get_or_create(&ParkedIn { state })
            .set(i64::try_from(rows).unwrap_or(i64::MAX));
    }
}

/// Reads from the database what nobody counts in passing.
pub(super) async fn sample(parts: Parts, stop: CancellationToken) -> Result<(), BoxError> {
    const EVERY: Duration = Duration::from_secs(2);
    loop {
        match sample_once(&parts).await {
            Ok(()) => {}
            Err(failure) => tracing::warn!(%failure, "outbox not counted"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn sample_once(parts: &Parts) -> Result<(), crate::store::StoreError> {
    let metrics = &parts.metrics;
    let counts = parts.store.outbox_counts(None).await?;
    let age = parts.store.oldest_pending_age().await?.unwrap_or_default();
    let pending = i64::try_from(counts.pending).unwrap_or(i64::MAX);
    metrics.pending.set(pending);
    let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    metrics.oldest_age_seconds.set(seconds);
    metrics.set_parked("retry", counts.retry);
    metrics.set_parked("blocked", counts.blocked);
    metrics.set_parked("dead", counts.dead);
    metrics.set_parked("discarded", counts.discarded);
    metrics
        .breaker_open
        .set(i64::from(!parts.breakers.closed()));
    let blocked = parts.blocked.len();
    metrics
        .blocked_keys
        .set(i64::try_from(blocked).unwrap_or(i64::MAX));
    Ok(())
}
