//! Limits how fast a backlog is drained while new events arrive. While this process commits much, the events read
//! from the database are at most twice the events that commits hand over. A stream with a backlog is read completely,
//! including its new events, and draining uses no more capacity than the traffic itself. Otherwise there is no limit.
//! Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Length of the window in which handed-over rows are counted.
const WINDOW: Duration = Duration::from_millis(200);
/// Rows to read, as a multiple of the rows handed over.
const READ_SHARE: usize = 2;
/// Below this number of rows in a window the process is not busy.
const QUIET_ROWS: usize = 200;

#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    /// Rows handed over in this window.
    fresh: usize,
    /// Rows of a backlog that may be read in this window; none: unlimited.
    allowed: Option<usize>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            fresh: 0,
            allowed: None,
        }
    }

    /// Counts rows that were handed over.
    pub(super) fn handed_over(&mut self, rows: usize, now: Instant) {
        self.turn(now);
        self.fresh += rows;
    }

    /// How many rows of a backlog may be read now; none: unlimited.
    pub(super) fn allowance(&mut self, now: Instant) -> Option<usize> {
        self.turn(now);
        self.allowed
    }

    /// Counts rows of a backlog that were read.
    pub(super) fn taken(&mut self, rows: usize) {
        if let Some(allowed) = &mut self.allowed {
            *allowed = allowed.saturating_sub(rows);
        }
    }

    /// When the next window begins.
    pub(super) fn next_window(&self) -> Instant {
        self.began + WINDOW
    }

    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began);
        if passed < WINDOW {
            return;
        }
        // If the last window ended long ago, its count says nothing about the present.
        let busy = self.fresh >= QUIET_ROWS && passed < WINDOW * 2;
        self.allowed = busy.then_some(self.fresh * READ_SHARE);
        self.fresh = 0;
        self.began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_busy_writer_leaves_a_backlog_as_many_rows_as_it_writes() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.allowance(start), None);
        pace.handed_over(700, start);
        let next = start + WINDOW;
        assert_eq!(pace.allowance(next), Some(1_400));
        pace.taken(1_300);
        assert_eq!(pace.allowance(next), Some(100));
        pace.taken(600);
        assert_eq!(pace.allowance(next), Some(0));
        assert_eq!(pace.next_window(), next + WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn without_traffic_a_backlog_is_published_at_full_speed() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.handed_over(QUIET_ROWS - 1, start);
        assert_eq!(pace.allowance(start + WINDOW), None);
        pace.handed_over(5_000, start + WINDOW);
        assert_eq!(pace.allowance(start + WINDOW * 3), None, "long ago");
    }
}
