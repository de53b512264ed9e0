//! A batcher: one worker with a bounded queue. The worker takes all items that wait, up to a maximum, and processes
//! them together; the next batch gathers meanwhile. So a batch is as large as the load makes it, and no item waits for
//! a batch to fill. Work that costs much for each batch and little for each item can have a pace: after a full batch
//! the next one gathers a little longer.
//!
//! A batcher does not know its items. A caller that waits for the result of its item takes a slot first; there are
//! only as many slots as can be served in time: see [`limit`].

mod limit;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub use self::limit::Occupancy;
use self::limit::{Bounds, Limit};
use crate::domain::CampaignId;
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// Upper bounds, in seconds, of histograms of waits in batchers: the lower half resolves a quiet service, the upper half
/// an overload.
pub const WAIT_BUCKETS: [f64; 18] = [
    0.000_25, 0.000_5, 0.001, 0.001_5, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.025, 0.035,
    0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The configuration of a set of batchers.
#[derive(Clone, Copy, Debug)]
pub struct BatcherConfig {
    /// Number of batchers; a campaign always uses the same one.
    pub count: usize,
    /// Capacity of each queue.
    pub capacity: usize,
    /// Maximum number of items in a batch.
    pub batch_max: usize,
    /// Longest wait of a caller with a slot.
    pub wait_max: Duration,
    /// Shortest time from the beginning of a batch of at least [`PACED_ITEMS_MIN`] items to the next batch.
    pub pace: Duration,
}

/// Smaller batches have no pace: with few callers, a wait would only delay the responses.
const PACED_ITEMS_MIN: usize = 4;

/// The callers' end of a batcher.
#[derive(Debug)]
struct Batcher<T> {
    queue: mpsc::Sender<T>,
    limit: Arc<Limit>,
    /// The limit of prior items; none: there are none.
    prior: Option<Arc<Limit>>,
}

impl BatcherConfig {
    fn bounds(&self) -> Bounds {
        let number = |items: usize| u64::try_from(items.max(1)).unwrap_or(u64::MAX);
        Bounds {
            floor: number(self.batch_max.saturating_mul(2).min(self.capacity)),
            ceiling: number(self.capacity),
            wait_max: self.wait_max,
        }
    }
}

impl<T> Batcher<T> {
    fn reserve(&self, limit: &Arc<Limit>, campaign: CampaignId) -> Option<Slot<T>> {
        let occupancy = limit.acquire(campaign)?;
        let permit = self.queue.clone().try_reserve_owned().ok()?;
        Some(Slot { permit, occupancy })
    }
}

/// Whether a set of batchers has slots for prior items.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prior {
    None,
    Some,
}

/// A set of batchers, chosen by campaign.
#[derive(Debug)]
pub struct Batchers<T> {
    batchers: Arc<[Batcher<T>]>,
}

impl<T> Clone for Batchers<T> {
    fn clone(&self) -> Self {
        Self {
            batchers: Arc::clone(&self.batchers),
        }
    }
}

/// A slot reserved in a queue.
#[derive(Debug)]
pub struct Slot<T> {
    permit: mpsc::OwnedPermit<T>,
    occupancy: Occupancy,
}

/// A slot in a queue, for an item that comes later.
#[derive(Debug)]
pub struct QueueSlot<T>(mpsc::OwnedPermit<T>);

impl<T> QueueSlot<T> {
    /// Queues the item.
    pub fn send(self, item: T) {
        self.0.send(item);
    }
}

impl<T> Slot<T> {
    /// Queues the item. The caller drops the occupancy when it has the result.
    pub fn send(self, item: T) -> Occupancy {
        let (slot, occupancy) = self.split();
        slot.send(item);
        occupancy
    }

    /// The slot, for another task to send the item, and the occupancy, which the caller drops when it has the result.
    pub fn split(self) -> (QueueSlot<T>, Occupancy) {
        (QueueSlot(self.permit), self.occupancy)
    }
}

/// Receives the result of an item. The caller may have disconnected.
pub type Reply<T> = Box<dyn FnOnce(T) + Send + Sync>;

impl<T: Send + 'static> Batchers<T> {
    /// Starts the batchers. When they are stopped they first process the queued items.
    pub fn start<W, F>(
        spawner: &Spawner,
        name: &'static str,
        stage: Stage,
        config: BatcherConfig,
        work: W,
    ) -> Self
    where
        W: Fn(Vec<T>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_with((spawner, name, stage), config, Prior::None, work)
    }

    /// The same with as many slots again for prior items ([`Batchers::reserve_prior`]), which others cannot use.
    pub fn start_with_prior<W, F>(
        spawner: &Spawner,
        name: &'static str,
        stage: Stage,
        config: BatcherConfig,
        work: W,
    ) -> Self
    where
        W: Fn(Vec<T>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_with((spawner, name, stage), config, Prior::Some, work)
    }

    fn start_with<W, F>(
        (spawner, name, stage): (&Spawner, &'static str, Stage),
        config: BatcherConfig,
        prior: Prior,
        work: W,
    ) -> Self
    where
        W: Fn(Vec<T>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let limit = || Arc::new(Limit::new(config.bounds()));
        let batchers = (0..config.count.max(1)).map(|_| {
            let prior = (prior == Prior::Some).then(limit);
            let queues = 1 + usize::from(prior.is_some());
            let (queue, waiting) = mpsc::channel(config.capacity * queues);
            let waiting = Arc::new(Mutex::new(waiting));
            let work = work.clone();
            spawner.start(name, stage, Policy::restart(), move |stop| {
                run(Arc::clone(&waiting), work.clone(), config, stop)
            });
            Batcher {
                queue,
                limit: limit(),
                prior,
            }
        });
        Self {
            batchers: batchers.collect(),
        }
    }

    /// Reserves a slot for a campaign's item; none: the batcher is full.
    #[must_use]
    pub fn reserve(&self, campaign: CampaignId) -> Option<Slot<T>> {
        let batcher = self.of(campaign)?;
        batcher.reserve(&batcher.limit, campaign)
    }

    /// Reserves a slot for a prior item: a flood of others takes none of these.
    #[must_use]
    pub fn reserve_prior(&self, campaign: CampaignId) -> Option<Slot<T>> {
        let batcher = self.of(campaign)?;
        batcher.reserve(batcher.prior.as_ref()?, campaign)
    }

    /// Whether there is a slot for a prior item now.
    #[must_use]
    pub fn has_prior_slot(&self, campaign: CampaignId) -> bool {
        let prior = self.of(campaign).and_then(|batcher| batcher.prior.as_ref());
        prior.is_some_and(|limit| limit.has_room(campaign))
    }

    /// Whether there is a slot for a campaign's item now, for an early rejection. It may be taken a moment later.
    #[must_use]
    pub fn has_slot(&self, campaign: CampaignId) -> bool {
        self.of(campaign)
            .is_some_and(|batcher| batcher.limit.has_room(campaign))
    }

    /// Queues an item, or returns it if the queue is full.
    pub fn offer(&self, campaign: CampaignId, item: T) -> Result<(), T> {
        match self.of(campaign) {
            Some(batcher) => batcher
                .queue
                .try_send(item)
                .map_err(mpsc::error::TrySendError::into_inner),
            None => Err(item),
        }
    }

    fn of(&self, campaign: CampaignId) -> Option<&Batcher<T>> {
        let count = u64::try_from(self.batchers.len()).ok()?;
        let index = campaign.0.unsigned_abs().checked_rem(count)?;
        self.batchers.get(usize::try_from(index).ok()?)
    }
}

/// The queue outlives a restart of its worker, with the items that were not taken.
async fn run<T, W, F>(
    waiting: Arc<Mutex<mpsc::Receiver<T>>>,
    work: W,
    config: BatcherConfig,
    stop: CancellationToken,
) -> Result<(), crate::runtime::supervisor::BoxError>
where
    W: Fn(Vec<T>) -> F,
    F: Future<Output = ()>,
{
    let mut waiting = waiting.lock().await;
    loop {
        let mut batch = Vec::with_capacity(config.batch_max.min(64));
        tokio::select! {
            biased;
            taken = waiting.recv_many(&mut batch, config.batch_max) => if taken == 0 { return Ok(()) },
            // Once only: it stays cancelled, and the loop would not yield while a slot is reserved.
            () = stop.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        }
        let next = Instant::now() + config.pace;
        let is_paced = batch.len() >= PACED_ITEMS_MIN;
        work(batch).await;
        if is_paced && Instant::now() < next {
            sleep_until(next).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Shared;

    use super::*;

    const PACE: Duration = Duration::from_millis(2);

    /// The beginning of each batch after the first one, and its size. Each number of `coming` is a group of items that
    /// arrives when the batch before it is done.
    async fn batches(coming: &[usize]) -> Vec<(Duration, usize)> {
        let config = BatcherConfig {
            count: 1,
            capacity: 64,
            batch_max: 8,
            wait_max: Duration::ZERO,
            pace: PACE,
        };
        let (queue, waiting) = mpsc::channel(config.capacity);
        let stop = CancellationToken::new();
        let seen = Shared::new(Vec::new());
        let left = Shared::new(coming.iter());
        let come = || match left.lock().unwrap().next() {
            Some(count) => (0..*count).for_each(|item| queue.try_send(item).unwrap()),
            None => stop.cancel(),
        };
        come();
        let began = Instant::now();
        let work = |batch: Vec<usize>| {
            seen.lock().unwrap().push((began.elapsed(), batch.len()));
            come();
            std::future::ready(())
        };
        run(Arc::new(Mutex::new(waiting)), work, config, stop.clone())
            .await
            .unwrap();
        seen.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_full_batch_the_next_one_gathers_for_one_pace() {
        let found = batches(&[8, 8, 4]).await;
        assert_eq!(found, [(Duration::ZERO, 8), (PACE, 8), (PACE * 2, 4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_small_batch_nobody_waits() {
        let found = batches(&[1, PACED_ITEMS_MIN - 1, 2]).await;
        let times: Vec<Duration> = found.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [Duration::ZERO; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn rows_beyond_one_batch_are_not_lost() {
        let found = batches(&[20, 1]).await;
        assert_eq!(found.iter().map(|(_, count)| count).sum::<usize>(), 21);
    }
}
