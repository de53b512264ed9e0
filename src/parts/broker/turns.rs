//! Turns: senders to one partition go together; those that come while a turn is in progress wait and share the next
//! one. Turns do not know what is sent.
//!
//! Without turns librdkafka would accept the next records and poll for the moment at which they may be sent: an idempotent
//! producer with five or more records in flight to a partition, and others older than its linger, spins until the answer
//! comes. A broker on the same machine that pauses for twenty milliseconds of garbage collection then gets no processor
//! for two hundred (docs/decisions/0011).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Takes part in a turn until it is dropped, after the answer.
#[derive(Debug)]
#[must_use = "later senders wait until it is dropped"]
pub struct Turn(Arc<Turns>);

/// The turns of one partition.
#[derive(Debug)]
pub struct Turns {
    /// How long senders may still join the first of a turn.
    company: Duration,
    state: Mutex<State>,
    over: Notify,
}

#[derive(Debug)]
struct State {
    /// Senders in the turn.
    away: usize,
    /// When the first of them began.
    began: Instant,
}

impl State {
    /// Whether a sender may go now: no turn is in progress, or it has just begun, or the sender has waited for the end of
    /// the previous turn.
    fn go(&mut self, waited: bool, now: Instant, company: Duration) -> bool {
        if self.away == 0 {
            self.began = now;
        } else if !waited && now.saturating_duration_since(self.began) >= company {
            return false;
        }
        self.away += 1;
        true
    }
}

impl Turns {
    /// Turns that senders may join for this time after the first.
    #[must_use]
    pub fn new(company: Duration) -> Arc<Self> {
        Arc::new(Self {
            company,
            state: Mutex::new(State {
                away: 0,
                began: Instant::now(),
            }),
            over: Notify::new(),
        })
    }

    /// Waits for a turn, at most until the current one ends.
    pub async fn next(self: &Arc<Self>) -> Turn {
        let mut waited = false;
        loop {
            let over = self.over.notified();
            if self.with(|state| state.go(waited, Instant::now(), self.company)) {
                return Turn(Arc::clone(self));
            }
            over.await;
            waited = true;
        }
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let left = self.0.with(|state| {
            state.away = state.away.saturating_sub(1);
            state.away
        });
        if left == 0 {
            self.0.over.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn concurrent_jobs_form_one_batch() {
        let turns = Turns::new(LONG);
        let first = turns.next().now_or_never();
        let second = turns.next().now_or_never();
        assert!(first.is_some() && second.is_some());
    }

    #[tokio::test]
    async fn later_jobs_form_one_batch_after_the_earlier_ones() {
        let turns = Turns::new(Duration::ZERO);
        let first = turns.next().await;
        let mut others: Vec<_> = (0..3).map(|_| Box::pin(turns.next())).collect();
        for other in &mut others {
            assert!(other.now_or_never().is_none(), "a turn is in progress");
        }
        drop(first);
        let others = join_all(others).await;
        assert_eq!(others.len(), 3, "none of them waited for another");
        let mut late = Box::pin(turns.next());
        for other in others {
            assert!((&mut late).now_or_never().is_none());
            drop(other);
        }
        assert!(late.now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_abandoned_wait_blocks_nobody() {
        let turns = Turns::new(Duration::ZERO);
        let first = turns.next().await;
        let mut gone = Box::pin(turns.next());
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        drop(first);
        assert!(turns.next().now_or_never().is_some());
    }
}
