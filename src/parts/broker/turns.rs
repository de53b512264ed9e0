//! Turns: what goes to one place goes together, and what comes while that is under way waits here and goes
//! together next. It knows nothing of what is sent.
//!
//! librdkafka would take the next records meanwhile, and looks for the time at which they may go without
//! pausing: an idempotent producer that has five records or more under way to a partition, and others that
//! have waited longer than its linger, asks the clock until the answer comes. A broker on the same machine
//! whose garbage is collected for twenty milliseconds then gets no processor for two hundred
//! (docs/decisions/0011).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A share in what is under way: until it is dropped, which is some time after the answer.
#[derive(Debug)]
#[must_use = "those who come later wait as long as it is kept"]
pub struct Turn(Arc<Turns>);

/// The turns of one place.
#[derive(Debug)]
pub struct Turns {
    /// For how long those who come may still go with the first of a turn.
    company: Duration,
    state: Mutex<State>,
    over: Notify,
}

#[derive(Debug)]
struct State {
    /// Those under way.
    away: usize,
    /// When the first of them set out.
    began: Instant,
}

impl State {
    /// Whether somebody goes now: nobody is under way, or the first of them has only just set out, or
    /// this one waited for the turn before to end.
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
    /// Turns in which those may still join who come so much later than the first.
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

    /// Waits for a turn: at most until all who are under way have come to an end.
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
            assert!(other.now_or_never().is_none(), "one is under way");
        }
        drop(first);
        let others = join_all(others).await;
        assert_eq!(others.len(), 3, "nobody of them waited for another");
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
