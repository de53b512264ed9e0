//! One shared read, repeated less often the slower it is: after hours without a broker there is much to count, and the
//! counting must not become the load. It does not know the values.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

/// Reads take at most one part of this many of the time.
const SHARE: u32 = 20;

/// The last value that was read.
#[derive(Clone)]
pub struct Reading<T> {
    last: Cache<(), Taken<T>>,
}

#[derive(Clone)]
struct Taken<T> {
    value: T,
    took: Duration,
}

struct ByEffort(RangeInclusive<Duration>);

impl<T> Expiry<(), Taken<T>> for ByEffort {
    fn expire_after_create(&self, (): &(), taken: &Taken<T>, _at: Instant) -> Option<Duration> {
        Some((taken.took * SHARE).clamp(*self.0.start(), *self.0.end()))
    }
}

impl<T: Clone + Send + Sync + 'static> Reading<T> {
    /// A value is cached for twenty times the duration of its read, within these bounds.
    #[must_use]
    pub fn cached_for(ages: RangeInclusive<Duration>) -> Self {
        Self {
            last: Cache::builder().expire_after(ByEffort(ages)).build(),
        }
    }

    /// The cached value, or a new one. Concurrent callers share one read.
    pub async fn get<E: Send + Sync + 'static>(
        &self,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Arc<E>> {
        let taken = async {
            let began = Instant::now();
            let value = read.await?;
            let took = began.elapsed();
            Ok(Taken { value, took })
        };
        Ok(self.last.try_get_with((), taken).await?.value)
    }
}
