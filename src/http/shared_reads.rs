//! Reads of a campaign's status that live streams share. All streams tick at the same moments, so that the status is
//! read once a second for any number of streams.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::CampaignId;
use crate::runtime::cache::ReadThrough;

/// How old the read of a second may be, for streams that are late.
const AGE_MAX: Duration = Duration::from_secs(2);

/// Reads that all streams share: the first stream of a second reads for the others.
pub struct SharedReads<T, E> {
    origin: Instant,
    reads: ReadThrough<CampaignId, Option<T>, E>,
}

impl<T: Clone + Send + Sync + 'static, E: Send + Sync + 'static> SharedReads<T, E> {
    /// For at most this number of campaigns; seconds count from the creation.
    pub fn new(campaigns_max: usize) -> Self {
        let campaigns_max = u64::try_from(campaigns_max).unwrap_or(u64::MAX);
        Self {
            origin: Instant::now(),
            reads: ReadThrough::new(campaigns_max, AGE_MAX..=AGE_MAX),
        }
    }

    /// Waits until the second after `last` begins, and returns the current one: a slow stream continues with the
    /// current status and skips those it missed.
    pub async fn next_second(&self, last: Option<u64>) -> u64 {
        if let Some(last) = last {
            sleep_until(self.origin + Duration::from_secs(last + 1)).await;
        }
        self.origin.elapsed().as_secs()
    }

    /// The value of a campaign, read in this second or later.
    pub async fn read_in_second<F>(
        &self,
        campaign: CampaignId,
        second: u64,
        read: impl FnOnce() -> F,
    ) -> Result<Option<T>, Arc<E>>
    where
        F: Future<Output = Result<Option<T>, E>>,
    {
        self.reads.get_version(campaign, || second, read).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// Fifty streams, each starting at another moment of a second.
    #[tokio::test(start_paused = true)]
    async fn one_read_per_second_serves_every_stream() {
        let shared = SharedReads::new(8);
        let reads = AtomicU64::new(0);
        let streams = (0..50).map(|number| async move {
            tokio::time::sleep(Duration::from_millis(number * 37)).await;
        });
        let seen = streams.map(|start| async {
            start.await;
            let mut seen = Vec::new();
            let mut last = None;
            for _ in 0..10 {
                let second = shared.next_second(last).await;
                last = Some(second);
                let read = || async {
                    // Long enough for the others to start meanwhile.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok::<_, std::convert::Infallible>(Some(reads.fetch_add(1, Ordering::Relaxed)))
                };
                let value = shared.read_in_second(CampaignId(1), second, read).await;
                seen.push((second, value.unwrap().unwrap()));
            }
            seen
        });
        let seen: Vec<(u64, u64)> = join_all(seen).await.into_iter().flatten().collect();
        assert_eq!(seen.len(), 500);
        let seconds: std::collections::BTreeMap<u64, u64> = seen.iter().copied().collect();
        for (second, value) in &seen {
            assert_eq!(
                seconds.get(second),
                Some(value),
                "every stream gets the same"
            );
        }
        assert_eq!(reads.load(Ordering::Relaxed), seconds.len() as u64);
        assert!(seconds.len() <= 12, "{seconds:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_stream_skips_seconds_and_gets_none_twice() {
        let shared = SharedReads::<u64, ()>::new(8);
        let first = shared.next_second(None).await;
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        let second = shared.next_second(Some(first)).await;
        let third = shared.next_second(Some(second)).await;
        assert_eq!((first, second, third), (0, 3, 4));
    }
}
