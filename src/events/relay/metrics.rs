//! The relay's metrics. All clones share the same numbers.

mod retention;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

pub use retention::RetentionMetrics;
pub(super) use retention::UNKNOWN;

use super::{Context, Item};
use crate::domain::Timestamp;
use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::supervisor::BoxError;

/// Upper bounds in seconds: fine for a healthy relay, coarse for a backlog.
const COMMIT_TO_ACK_BUCKETS: [f64; 22] = [
    0.000_5, 0.001, 0.001_5, 0.002, 0.003, 0.004, 0.005, 0.007_5, 0.01, 0.015, 0.02, 0.025, 0.035,
    0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0,
];
/// Interval between counts of the outbox while rows are pending.
const SAMPLE_BUSY: Duration = Duration::from_secs(5);
/// The pause after a count of a large outbox, as a multiple of the duration of the count; at most the longest
/// interval.
const SLOW_SAMPLE_SHARE: u32 = 50;

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

/// The relay's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Pending rows, in the whole installation.
    pub pending: Gauge,
    /// Age of the oldest pending row.
    pub oldest_age_seconds: Gauge,
    /// Parked rows by state, in the whole installation.
    pub parked: Family<ParkedIn, Gauge>,
    /// Keys blocked by a parked row, in the buckets of this relay.
    pub blocked_keys: Gauge,
    /// Attempts to publish, by result.
    pub published: Family<Published, Counter>,
    /// 1 while a breaker of the broker, a topic or a partition is not closed.
    pub breaker_open: Gauge,
    /// Partitions that accept no records: their rows wait, and other partitions continue.
    pub partitions_away: Gauge,
    /// Rows handed over by the writer, not found by the poll.
    pub wake_hits: Counter,
    /// Polls for pending rows.
    pub polls: Counter,
    /// Notifications by other replicas about new rows.
    pub woken: Counter,
    /// Buckets that changed to this owner.
    pub lease_epoch_changes: Counter,
    /// Events published after a later one of the same participation.
    pub order_violations: Counter,
    /// From the commit of a row to its acknowledgement.
    pub commit_to_ack_seconds: Histogram,
    /// From the commit of a row to its dispatch, for rows handed over by the writer.
    pub wake_seconds: Histogram,
    /// From the dispatch of a row to its acknowledgement.
    pub publish_seconds: Histogram,
    /// Metrics of retention.
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
            partitions_away: Gauge::default(),
            wake_hits: Counter::default(),
            polls: Counter::default(),
            woken: Counter::default(),
            lease_epoch_changes: Counter::default(),
            order_violations: Counter::default(),
            commit_to_ack_seconds: Histogram::new(COMMIT_TO_ACK_BUCKETS),
            wake_seconds: Histogram::new(COMMIT_TO_ACK_BUCKETS),
            publish_seconds: Histogram::new(COMMIT_TO_ACK_BUCKETS),
            retention: RetentionMetrics::default(),
        }
    }
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::RELAY_PENDING, self.pending.clone());
        registry.add(
            &metric::RELAY_OLDEST_AGE_SECONDS,
            self.oldest_age_seconds.clone(),
        );
        registry.add(&metric::RELAY_PARKED, self.parked.clone());
        registry.add(&metric::RELAY_BLOCKED_KEYS, self.blocked_keys.clone());
        registry.add(&metric::RELAY_PUBLISH, self.published.clone());
        self.register_breakers(registry);
        registry.add(&metric::RELAY_WAKE_HITS, self.wake_hits.clone());
        registry.add(&metric::RELAY_POLLS, self.polls.clone());
        registry.add(&metric::RELAY_WOKEN, self.woken.clone());
        registry.add(
            &metric::RELAY_LEASE_EPOCH_CHANGES,
            self.lease_epoch_changes.clone(),
        );
        registry.add(
            &metric::RELAY_ORDER_VIOLATIONS,
            self.order_violations.clone(),
        );
        registry.add(
            &metric::RELAY_COMMIT_TO_ACK_SECONDS,
            self.commit_to_ack_seconds.clone(),
        );
        registry.add(&metric::RELAY_WAKE_SECONDS, self.wake_seconds.clone());
        registry.add(&metric::RELAY_PUBLISH_SECONDS, self.publish_seconds.clone());
        self.retention.register(registry);
    }

    fn register_breakers(&self, registry: &mut Registry) {
        registry.add(&metric::RELAY_BREAKER_OPEN, self.breaker_open.clone());
        registry.add(&metric::RELAY_PARTITIONS_AWAY, self.partitions_away.clone());
    }

    /// Counts an acknowledgement.
    /// The commit time of a row that was read by the poll is unknown. Its creation time is used, which is slightly
    /// earlier.
    pub(super) fn acknowledged(&self, item: &Item, sent_at: tokio::time::Instant, now: Timestamp) {
        self.count("ok", "none");
        if let Some(committed_at) = item.committed_at {
            let woken = sent_at.duration_since(committed_at);
            self.wake_seconds.observe(woken.as_secs_f64());
            let published = sent_at.elapsed();
            self.publish_seconds.observe(published.as_secs_f64());
        }
        let since_made = now.signed_duration_since(item.event.created_at);
        let waited = item.committed_at.map_or_else(
            || since_made.to_std().unwrap_or_default(),
            |committed_at| committed_at.elapsed(),
        );
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

/// Samples the outbox for the gauges.
pub(super) async fn sample(context: Context, stop: CancellationToken) -> Result<(), BoxError> {
    let longest = context.config.sample_interval;
    loop {
        let began = std::time::Instant::now();
        let pause = match sample_once(&context).await {
            Ok(Waiting::Some) => SAMPLE_BUSY.max(began.elapsed() * SLOW_SAMPLE_SHARE),
            Ok(Waiting::None) => longest,
            Err(failure) => {
                tracing::warn!(%failure, "outbox not counted");
                longest
            }
        };
        let pause = pause.min(longest);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Whether rows are pending.
enum Waiting {
    Some,
    None,
}

async fn sample_once(context: &Context) -> Result<Waiting, crate::parts::store::StoreError> {
    let metrics = &context.metrics;
    let counts = context.store.outbox_counts(None).await?;
    let age = if counts.pending > 0 {
        context
            .store
            .oldest_pending_age()
            .await?
            .unwrap_or_default()
    } else {
        Duration::ZERO
    };
    let pending = i64::try_from(counts.pending).unwrap_or(i64::MAX);
    metrics.pending.set(pending);
    let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    metrics.oldest_age_seconds.set(seconds);
    metrics.set_parked("retry", counts.retry);
    metrics.set_parked("blocked", counts.blocked);
    metrics.set_parked("dead", counts.dead);
    metrics.set_parked("discarded", counts.discarded);
    let blocked = context.blocked_keys.len();
    metrics
        .blocked_keys
        .set(i64::try_from(blocked).unwrap_or(i64::MAX));
    let any = counts.pending + counts.retry + counts.blocked > 0;
    Ok(if any { Waiting::Some } else { Waiting::None })
}
