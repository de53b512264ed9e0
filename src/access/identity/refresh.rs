//! Keys that are fetched again: every so often, and when a token names one that is not known. However
//! many tokens do, it is one fetch at a time and at most one in [`Pace::refresh_min`]. Keys that were
//! fetched once stay until others are: an issuer that is away must not lock everybody out.

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
    /// Again after so long.
    pub refresh: Duration,
    /// But for tokens with unknown keys at most once in so long.
    pub refresh_min: Duration,
    /// How long a request waits for keys.
    pub wait_max: Duration,
}

/// What was fetched last.
#[derive(Clone)]
struct Fetched {
    keys: Arc<KeySet>,
    /// Until then an unknown key is a reason to refuse and not to fetch.
    quiet_until: Instant,
}

/// Keys that are kept fresh.
pub struct Refreshed {
    fetched: watch::Receiver<Fetched>,
    asked: Arc<Notify>,
    waiting: Semaphore,
    wait_max: Duration,
    metrics: Metrics,
}

impl Refreshed {
    /// Fetches the keys for the first time, and goes on from there.
    pub async fn start(source: Source, pace: Pace, spawner: &Spawner) -> Result<Self, SourceError> {
        let policy = retry::Policy {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(1),
            attempts_max: FIRST_ATTEMPTS_MAX,
            ..retry::Policy::default()
        };
        let source = Arc::new(source);
        let keys = retry::retry(&policy, |_| retry::Verdict::Again, || source.fetch()).await?;
        let (sender, fetched) = watch::channel(Fetched {
            keys: Arc::new(keys),
            quiet_until: Instant::now() + pace.refresh_min,
        });
        let (sender, asked) = (Arc::new(sender), Arc::new(Notify::new()));
        let metrics = Metrics::default();
        let keeper = Keeper {
            source,
            metrics: metrics.clone(),
            pace,
            fetched: sender,
            asked: Arc::clone(&asked),
        };
        spawner.start(
            "identity.refresh",
            Stage::Background,
            Policy::restart(),
            move |stop| {
                let keeper = keeper.clone();
                async move {
                    keeper.run(stop).await;
                    Ok(())
                }
            },
        );
        Ok(Self {
            fetched,
            asked,
            waiting: Semaphore::new(WAITING_MAX),
            wait_max: pace.wait_max,
            metrics,
        })
    }

    /// How fetches fare.
    pub(super) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The keys as they were fetched last.
    pub fn now(&self) -> Arc<KeySet> {
        Arc::clone(&self.fetched.borrow().keys)
    }

    /// The keys after they were fetched again; none: they were fetched just now, or too many wait.
    pub async fn anew(&self) -> Option<Arc<KeySet>> {
        let mut fetched = self.fetched.clone();
        if Instant::now() < fetched.borrow_and_update().quiet_until {
            return None;
        }
        let _seat = self.waiting.try_acquire().ok()?;
        // One that is asked for twice is fetched once: a notification is kept, but never two.
        self.asked.notify_one();
        tokio::time::timeout(self.wait_max, fetched.changed())
            .await
            .ok()?
            .ok()?;
        let keys = Arc::clone(&fetched.borrow().keys);
        Some(keys)
    }
}

/// Fetches.
#[derive(Clone)]
struct Keeper {
    source: Arc<Source>,
    metrics: Metrics,
    pace: Pace,
    fetched: Arc<watch::Sender<Fetched>>,
    asked: Arc<Notify>,
}

impl Keeper {
    async fn run(&self, stop: CancellationToken) {
        let mut due = Instant::now() + self.pace.refresh;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(due) => {}
                () = self.asked.notified() => {
                    // Whoever asked while keys were being fetched got those.
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
                        "cannot fetch the keys of tokens; those known stay in use"
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
