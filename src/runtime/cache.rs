//! Read-through views: callers share the latest read of a key. A slow view is repeated less often, so that counting a
//! long backlog does not use most of the time. It must not know what is read.
//!
//! One read of a key runs at a time. Callers that arrive while it runs, and cannot use it because their version is
//! newer, share the next one: the cost of a rush is bounded by the time of a read, not by the number of callers.

use std::hash::Hash;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

/// Reads may take at most one part of this many of the time.
const SHARE: u32 = 20;

/// Time after which an unused key is dropped.
const IDLE: Duration = Duration::from_secs(60);

/// The latest reads, by key; clones share them.
pub struct ReadThrough<K, V, E> {
    reads: Cache<K, Arc<Shared<V, E>>>,
    ages: RangeInclusive<Duration>,
}

/// The latest read of one key.
struct Shared<V, E> {
    latest: Mutex<Option<Reading<V, E>>>,
    /// Locked while a read runs.
    running: tokio::sync::Mutex<()>,
}

struct Reading<V, E> {
    began: Instant,
    /// The version when it began.
    version: u64,
    took: Duration,
    result: Result<V, Arc<E>>,
}

impl<K, V, E> ReadThrough<K, V, E>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Caches at most this number of keys. A read is used for the shorter age if it was fast, for longer if it was slow,
    /// and for at most the longer age.
    #[must_use]
    pub fn new(keys_max: u64, ages: RangeInclusive<Duration>) -> Self {
        Self {
            reads: Cache::builder()
                .max_capacity(keys_max)
                .time_to_idle(IDLE.max(*ages.end()))
                .build(),
            ages,
        }
    }

    /// The latest value of a key.
    pub async fn get<F>(&self, key: K, read: impl FnOnce() -> F) -> Result<V, Arc<E>>
    where
        F: Future<Output = Result<V, E>>,
    {
        self.get_version(key, || 0, read).await
    }

    /// The latest value of a key, from a read that began at this version or later.
    pub async fn get_version<F>(
        &self,
        key: K,
        version: impl Fn() -> u64,
        read: impl FnOnce() -> F,
    ) -> Result<V, Arc<E>>
    where
        F: Future<Output = Result<V, E>>,
    {
        let shared = self.reads.get_with(key, Arc::default);
        let (asked_at, needed) = (Instant::now(), version());
        if let Some(result) = self.usable(&shared, asked_at, needed) {
            return result;
        }
        let _running = shared.running.lock().await;
        if let Some(result) = self.usable(&shared, asked_at, needed) {
            return result;
        }
        let (began, version) = (Instant::now(), version());
        // Boxed: the future of a read is large, and most calls need none.
        let result = Box::pin(read()).await.map_err(Arc::new);
        let reading = Reading {
            began,
            version,
            took: began.elapsed(),
            result: result.clone(),
        };
        *shared.latest() = Some(reading);
        result
    }

    /// The latest result, if it can be used. A read that began after the call can, even if it failed.
    fn usable(
        &self,
        shared: &Shared<V, E>,
        asked_at: Instant,
        needed: u64,
    ) -> Option<Result<V, Arc<E>>> {
        let latest = shared.latest();
        let reading = latest.as_ref()?;
        let age_max = (reading.took * SHARE).clamp(*self.ages.start(), *self.ages.end());
        let is_fresh = reading.version >= needed && reading.began.elapsed() < age_max;
        let is_usable = reading.began >= asked_at || (is_fresh && reading.result.is_ok());
        is_usable.then(|| reading.result.clone())
    }
}

impl<K, V, E> Clone for ReadThrough<K, V, E> {
    fn clone(&self) -> Self {
        Self {
            reads: self.reads.clone(),
            ages: self.ages.clone(),
        }
    }
}

impl<V, E> Default for Shared<V, E> {
    fn default() -> Self {
        Self {
            latest: Mutex::new(None),
            running: tokio::sync::Mutex::new(()),
        }
    }
}

impl<V, E> Shared<V, E> {
    fn latest(&self) -> std::sync::MutexGuard<'_, Option<Reading<V, E>>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
