//! One shared read, repeated less often the slower it is: with a broker away for hours there
//! is much to count, and counting it must not become the work. It does not know what is read.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

/// A read may take one part of this many of the time.
const SHARE: u32 = 20;

/// What was read last.
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
    /// Kept for the shorter time if it took none, and for the longer however long it took.
    #[must_use]
    pub fn kept_for(ages: RangeInclusive<Duration>) -> Self {
        Self {
            last: Cache::builder().expire_after(ByEffort(ages)).build(),
        }
    }

    /// What was read last, or is read now: once, however many ask meanwhile.
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
