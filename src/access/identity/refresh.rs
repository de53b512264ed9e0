//! Keys that are fetched at regular intervals, and when a token names an unknown key. There is one fetch at a time, and
//! at most one in [`Pace::refresh_min`], for any number of tokens. If a fetch fails the previous keys stay in use: an
//! outage of the issuer must not lock everybody out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{KeySet, Metrics, Source, SourceError};
use crate::runtime::retry;
use crate::runtime::supervisor::{Policy, Spawner, Stage};
use crate::runtime::telemetry::cause;

/// Requests that wait for keys at the same time; others are refused at once.
const WAITING_MAX: usize = 64;
/// Attempts to fetch the keys before the start fails.
const FIRST_ATTEMPTS_MAX: u32 = 4;

/// How often keys are fetched.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Regular interval.
    pub refresh: Duration,
    /// Shortest interval between fetches for unknown keys.
    pub refresh_min: Duration,
    /// How long a request waits for keys.
    pub wait_max: Duration,
}

/// The result of the last fetch.
#[derive(Clone)]
struct Fetched {
    keys: Arc<KeySet>,
    /// Until then a token with an unknown key is refused without a fetch.
    quiet_until: Instant,
}

/// Keys that are fetched repeatedly.
pub struct RefreshedKeys {
    fetched: watch::Receiver<Fetched>,
    requested: Arc<Notify>,
    waiting: Semaphore,
    wait_max: Duration,
    metrics: Metrics,
}

impl RefreshedKeys {
    /// Fetches the keys for the first time, and starts the task that fetches them again.
    pub async fn start(source: Source, pace: Pace, spawner: &Spawner) -> Result<Self, SourceError> {
        let policy = retry::Policy {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(1),
            attempts_max: FIRST_ATTEMPTS_MAX,
            ..retry::Policy::default()
        };
        let source = Arc::new(source);
        let keys =
            retry::retry(&policy, |_| retry::RetryDecision::Again, || source.fetch()).await?;
        let (sender, fetched) = watch::channel(Fetched {
            keys: Arc::new(keys),
            quiet_until: Instant::now() + pace.refresh_min,
        });
        let (sender, requested) = (Arc::new(sender), Arc::new(Notify::new()));
        let metrics = Metrics::default();
        let refresher = Refresher {
            source,
            metrics: metrics.clone(),
            pace,
            fetched: sender,
            requested: Arc::clone(&requested),
        };
        spawner.start(
            "identity.refresh",
            Stage::Background,
            Policy::restart(),
            move |stop| {
                let refresher = refresher.clone();
                async move {
                    refresher.run(stop).await;
                    Ok(())
                }
            },
        );
        Ok(Self {
            fetched,
            requested,
            waiting: Semaphore::new(WAITING_MAX),
            wait_max: pace.wait_max,
            metrics,
        })
    }

    /// Metrics of the fetches.
    pub(super) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The keys of the last successful fetch.
    pub fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.fetched.borrow().keys)
    }

    /// Fetches the keys again, and returns them; none: they were fetched just now, or too many requests wait.
    pub async fn refetch(&self) -> Option<Arc<KeySet>> {
        let mut fetched = self.fetched.clone();
        if Instant::now() < fetched.borrow_and_update().quiet_until {
            return None;
        }
        let _permit = self.waiting.try_acquire().ok()?;
        // Several requests cause one fetch: at most one notification is stored.
        self.requested.notify_one();
        tokio::time::timeout(self.wait_max, fetched.changed())
            .await
            .ok()?
            .ok()?;
        let keys = Arc::clone(&fetched.borrow().keys);
        Some(keys)
    }
}

/// Fetches the keys, at intervals and on request.
#[derive(Clone)]
struct Refresher {
    source: Arc<Source>,
    metrics: Metrics,
    pace: Pace,
    fetched: Arc<watch::Sender<Fetched>>,
    requested: Arc<Notify>,
}

impl Refresher {
    async fn run(&self, stop: CancellationToken) {
        let mut due = Instant::now() + self.pace.refresh;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(due) => {}
                () = self.requested.notified() => {
                    // A request that arrived during a fetch has got its result.
                    if Instant::now() < self.fetched.borrow().quiet_until {
                        continue;
                    }
                }
            }
            let result = self.source.fetch().await;
            match &result {
                Ok(_) => self.metrics.fetched("fetched"),
                Err(error) => {
                    self.metrics.fetched("failed");
                    tracing::warn!(
                        error = cause(error),
                        "cannot fetch the keys of tokens; the previous ones stay in use"
                    );
                }
            }
            let now = Instant::now();
            due = now + self.pace.refresh;
            self.fetched.send_modify(|fetched| {
                fetched.quiet_until = now + self.pace.refresh_min;
                if let Ok(keys) = result {
                    fetched.keys = Arc::new(keys);
                }
            });
        }
    }
}
