//! A lane: one worker with its bounded queue. It takes whatever is waiting, up to a bound, and gives
//! it to its work in one piece; while that runs, the next piece gathers. So a batch is as large as
//! the load makes it, and nobody waits for a batch to fill. Work that costs much for each piece and little for
//! each item can have a pace: after a crowd the next piece gathers a little longer, so that it is larger.
//!
//! It does not know its items. A caller that waits for the result of its item takes a place first; there are only as
//! many places as are served in time: see [`room`].

mod room;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub use self::room::Seat;
use self::room::{Bounds, Room};
use crate::domain::CampaignId;
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// Upper bounds in seconds of histograms of what is waited for in and behind lanes: the lower half resolves a
/// quiet service, the upper half an overload.
pub const WAIT_BUCKETS: [f64; 18] = [
    0.000_25, 0.000_5, 0.001, 0.001_5, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.025, 0.035,
    0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The bounds of a set of lanes.
#[derive(Clone, Copy, Debug)]
pub struct LaneConfig {
    /// Lanes; a campaign always goes to the same one.
    pub count: usize,
    /// Places in each lane at most.
    pub capacity: usize,
    /// Items in one piece of work at most.
    pub batch_max: usize,
    /// Longest wait of a caller with a place.
    pub wait_max: Duration,
    /// What lies at least between the beginnings of a piece with a crowd in it and of the next one.
    pub pace: Duration,
}

/// So many in one piece are a crowd. Fewer are answered sooner than a pace would have them.
const CROWD: usize = 4;

/// A lane from outside.
#[derive(Debug)]
struct Lane<T> {
    queue: mpsc::Sender<T>,
    room: Arc<Room>,
}

impl LaneConfig {
    fn bounds(&self) -> Bounds {
        let number = |items: usize| u64::try_from(items.max(1)).unwrap_or(u64::MAX);
        Bounds {
            floor: number(self.batch_max.saturating_mul(2).min(self.capacity)),
            ceiling: number(self.capacity),
            wait_max: self.wait_max,
        }
    }
}

/// A set of lanes, chosen by campaign.
#[derive(Debug)]
pub struct Lanes<T> {
    lanes: Arc<[Lane<T>]>,
}

impl<T> Clone for Lanes<T> {
    fn clone(&self) -> Self {
        Self {
            lanes: Arc::clone(&self.lanes),
        }
    }
}

/// A place kept in a lane.
#[derive(Debug)]
pub struct Place<T> {
    permit: mpsc::OwnedPermit<T>,
    seat: Seat,
}

impl<T> Place<T> {
    /// Queues the item. The seat is to be kept until it is known what became of it.
    pub fn send(self, item: T) -> Seat {
        self.permit.send(item);
        self.seat
    }
}

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
        let lanes = (0..config.count.max(1)).map(|_| {
            let (queue, waiting) = mpsc::channel(config.capacity);
            let waiting = Arc::new(Mutex::new(waiting));
            let work = work.clone();
            spawner.start(name, stage, Policy::restart(), move |stop| {
                run(Arc::clone(&waiting), work.clone(), config, stop)
            });
            let room = Arc::new(Room::new(config.bounds()));
            Lane { queue, room }
        });
        Self {
            lanes: lanes.collect(),
        }
    }

    /// Keeps a place for a campaign's item, or says at once that there is none.
    #[must_use]
    pub fn reserve(&self, campaign: CampaignId) -> Option<Place<T>> {
        let lane = self.lane(campaign)?;
        let seat = lane.room.enter(campaign)?;
        let permit = lane.queue.clone().try_reserve_owned().ok()?;
        Some(Place { permit, seat })
    }

    /// Whether there is a place for a campaign's item: for refusing early, before anything else is
    /// done. It may be gone a moment later.
    #[must_use]
    pub fn has_place(&self, campaign: CampaignId) -> bool {
        self.lane(campaign)
            .is_some_and(|lane| lane.room.has_seat(campaign))
    }

    /// Queues an item, or gives it back when there is no room.
    pub fn offer(&self, campaign: CampaignId, item: T) -> Result<(), T> {
        match self.lane(campaign) {
            Some(lane) => lane.queue.try_send(item).map_err(|error| match error {
                mpsc::error::TrySendError::Full(item) | mpsc::error::TrySendError::Closed(item) => {
                    item
                }
            }),
            None => Err(item),
        }
    }

    fn lane(&self, campaign: CampaignId) -> Option<&Lane<T>> {
        let count = u64::try_from(self.lanes.len()).ok()?;
        let index = campaign.0.unsigned_abs().checked_rem(count)?;
        self.lanes.get(usize::try_from(index).ok()?)
    }
}

/// The queue outlives a restart of its worker: what had not been taken is still there.
async fn run<T, W, F>(
    waiting: Arc<Mutex<mpsc::Receiver<T>>>,
    work: W,
    config: LaneConfig,
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
            () = stop.cancelled() => {
                waiting.close();
                continue;
            }
        }
        let next = Instant::now() + config.pace;
        let crowded = batch.len() >= CROWD;
        work(batch).await;
        if crowded && Instant::now() < next {
            sleep_until(next).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Shared;

    use super::*;

    const PACE: Duration = Duration::from_millis(2);

    /// How long after the first piece each one began, and how many were in it. Of those who come, each
    /// number says how many come together, as soon as the piece before them is done.
    async fn pieces(coming: &[usize]) -> Vec<(Duration, usize)> {
        let config = LaneConfig {
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
        let found = pieces(&[8, 8, 4]).await;
        assert_eq!(found, [(Duration::ZERO, 8), (PACE, 8), (PACE * 2, 4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_small_batch_nobody_waits() {
        let found = pieces(&[1, CROWD - 1, 2]).await;
        let times: Vec<Duration> = found.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [Duration::ZERO; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn rows_beyond_one_batch_are_not_lost() {
        let found = pieces(&[20, 1]).await;
        assert_eq!(found.iter().map(|(_, count)| count).sum::<usize>(), 21);
    }
}
