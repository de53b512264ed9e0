//! When the next batch of a partition may begin. A request costs the broker and the producer as much as dozens of
//! records, so while a partition gets many, each batch gathers for a while; otherwise nothing waits. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Records in a batch.
pub(super) const RECORDS_MAX: usize = 1_000;
/// How long the records of a partition are counted, at least.
const WINDOW: Duration = Duration::from_millis(100);
/// A partition is busy if it gets a record in this time or less, on average.
const BUSY: Duration = Duration::from_millis(1);
/// While it is busy: from the beginning of a batch to the beginning of the next one, unless that one is full.
const PACE: Duration = Duration::from_millis(25);

/// The load of a partition, and until when its next batch gathers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gathering {
    counting_since: Instant,
    /// Records sent since then.
    records: u32,
    is_busy: bool,
    /// None: the next batch does not gather.
    until: Option<Instant>,
}

impl Gathering {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            counting_since: now,
            records: 0,
            is_busy: false,
            until: None,
        }
    }

    /// A batch begins. A backlog, which is read from the database, is sent as fast as it is read.
    pub(super) fn sent(&mut self, records: usize, is_backlog: bool, now: Instant) {
        if is_backlog {
            *self = Self::new(now);
            return;
        }
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        self.records = self.records.saturating_add(records);
        let counted_for = now.saturating_duration_since(self.counting_since);
        if counted_for >= WINDOW {
            self.is_busy = BUSY.saturating_mul(self.records) >= counted_for;
            self.counting_since = now;
            self.records = 0;
        }
        self.until = self.is_busy.then(|| now + PACE);
    }

    /// How long the next batch still gathers, with this many records waiting; none: it may begin.
    pub(super) fn left(&self, waiting: usize, now: Instant) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(now);
        (!left.is_zero() && waiting < RECORDS_MAX).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// After half a second of such batches, one in every ten milliseconds.
    fn after(records: usize, is_backlog: bool) -> (Gathering, Instant) {
        let began = Instant::now();
        let mut gathering = Gathering::new(began);
        let mut now = began;
        for _ in 0..50 {
            now += MILLISECOND * 10;
            gathering.sent(records, is_backlog, now);
        }
        (gathering, now)
    }

    #[test]
    fn while_a_partition_is_busy_a_batch_gathers_until_it_is_due_or_full() {
        let (gathering, sent) = after(10, false);
        let soon = sent + MILLISECOND;
        assert_eq!(gathering.left(1, sent), Some(PACE));
        assert!(gathering.left(1, soon).is_some_and(|left| left < PACE));
        assert_eq!(gathering.left(1, sent + PACE), None);
        assert_eq!(gathering.left(RECORDS_MAX, soon), None);
    }

    #[test]
    fn below_that_rate_and_for_a_backlog_nothing_waits() {
        for (records, is_backlog) in [(9, false), (RECORDS_MAX, true)] {
            let (gathering, sent) = after(records, is_backlog);
            assert_eq!(gathering.left(1, sent), None, "{records}");
        }
        let now = Instant::now();
        assert_eq!(Gathering::new(now).left(1, now), None);
    }

    /// What gathers makes its own batches larger; they do not count more for it.
    #[test]
    fn a_batch_that_gathered_does_not_make_the_partition_busy() {
        let (mut gathering, mut now) = after(10, false);
        for _ in 0..8 {
            now += PACE;
            gathering.sent(16, false, now);
        }
        assert_eq!(gathering.left(1, now), None);
    }

    #[test]
    fn one_large_batch_after_a_quiet_time_does_not_either() {
        let began = Instant::now();
        let mut gathering = Gathering::new(began);
        let now = began + MILLISECOND * 600;
        gathering.sent(500, false, now);
        assert_eq!(gathering.left(1, now), None);
    }
}
