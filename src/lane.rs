//! A lane: one worker with its bounded queue. It takes whatever is waiting, up to a bound, and gives
//! it to its work in one piece; while that runs, the next piece gathers. So a batch is as large as
//! the load makes it, and nobody waits for a batch to fill.
//!
//! It knows nothing of what it carries.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::domain::CampaignId;
use crate::supervisor::{Policy, Spawner, Stage};

/// The bounds of a set of lanes.
#[derive(Clone, Copy, Debug)]
pub struct LaneConfig {
    /// Lanes; a campaign always goes to the same one.
    pub count: usize,
    /// Places in each lane's queue.
    pub capacity: usize,
    /// Items in one piece of work at most.
    pub batch_max: usize,
}

/// A set of lanes, chosen by campaign.
#[derive(Debug)]
pub struct Lanes<T> {
    queues: Arc<[mpsc::Sender<T>]>,
}

impl<T> Clone for Lanes<T> {
    fn clone(&self) -> Self {
        Self {
            queues: Arc::clone(&self.queues),
        }
    }
}

/// A place kept in a lane's queue.
pub type Place<T> = mpsc::OwnedPermit<T>;

impl<T: Send + 'static> Lanes<T> {
    /// Starts the lanes. When they are stopped they first finish what is queued.
    pub fn start<W, F>(
        spawner: &Spawner,
        name: &'static str,
        stage: Stage,
        config: LaneConfig,
        work: W,
    ) -> Self
    where
        W: Fn(Vec<T>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let queues = (0..config.count.max(1)).map(|_| {
            let (queue, waiting) = mpsc::channel(config.capacity);
            let waiting = Arc::new(Mutex::new(waiting));
            let work = work.clone();
            spawner.start(name, stage, Policy::restart(), move |stop| {
                run(Arc::clone(&waiting), work.clone(), config.batch_max, stop)
            });
            queue
        });
        Self {
            queues: queues.collect(),
        }
    }

    /// Keeps a place for a campaign's item, or says at once that there is none.
    #[must_use]
    pub fn reserve(&self, campaign: CampaignId) -> Option<Place<T>> {
        self.queue(campaign)?.clone().try_reserve_owned().ok()
    }

    /// Queues an item, or gives it back when there is no room.
    pub fn offer(&self, campaign: CampaignId, item: T) -> Result<(), T> {
        match self.queue(campaign) {
            Some(queue) => queue.try_send(item).map_err(|error| match error {
                mpsc::error::TrySendError::Full(item) | mpsc::error::TrySendError::Closed(item) => {
                    item
                }
            }),
            None => Err(item),
        }
    }

    fn queue(&self, campaign: CampaignId) -> Option<&mpsc::Sender<T>> {
        let count = u64::try_from(self.queues.len()).ok()?;
        let index = campaign.0.unsigned_abs().checked_rem(count)?;
        self.queues.get(usize::try_from(index).ok()?)
    }
}

/// The queue outlives a restart of its worker: what had not been taken is still there.
async fn run<T, W, F>(
    waiting: Arc<Mutex<mpsc::Receiver<T>>>,
    work: W,
    batch_max: usize,
    stop: CancellationToken,
) -> Result<(), crate::supervisor::BoxError>
where
    W: Fn(Vec<T>) -> F,
    F: Future<Output = ()>,
{
    let mut waiting = waiting.lock().await;
    loop {
        let mut batch = Vec::with_capacity(batch_max.min(64));
        tokio::select! {
            biased;
            taken = waiting.recv_many(&mut batch, batch_max) => if taken == 0 { return Ok(()) },
            () = stop.cancelled() => {
                waiting.close();
                continue;
            }
        }
        work(batch).await;
    }
}
