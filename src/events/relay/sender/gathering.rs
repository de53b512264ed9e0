//! When the next batch of a partition may begin. A request costs the broker and the producer as much as dozens of
//! records, so under load a batch gathers for a while; with little to send, nothing waits. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Records in a batch.
pub(super) const RECORDS_MAX: usize = 1_000;
/// The batch after one of this many records gathers.
const BUSY_RECORDS_MIN: usize = 12;
/// From the beginning of a batch to the beginning of the next one, unless that one is full.
const PACE: Duration = Duration::from_millis(25);

/// Until when the next batch of a partition gathers; none: it does not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gathering(Option<Instant>);

impl Gathering {
    /// After a batch of this many records that begins now. A backlog, which is read from the database, is sent as fast
    /// as it is read.
    pub(super) fn after(records: usize, is_backlog: bool, now: Instant) -> Self {
        Self((records >= BUSY_RECORDS_MIN && !is_backlog).then(|| now + PACE))
    }

    /// How long the next batch still gathers, with this many records waiting; none: it may begin.
    pub(super) fn left(self, waiting: usize, now: Instant) -> Option<Duration> {
        let left = self.0?.saturating_duration_since(now);
        (!left.is_zero() && waiting < RECORDS_MAX).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn after_a_busy_batch_the_next_one_gathers_until_it_is_due_or_full() {
        let began = Instant::now();
        let gathering = Gathering::after(BUSY_RECORDS_MIN, false, began);
        assert_eq!(
            gathering.left(1, began + MILLISECOND),
            Some(PACE - MILLISECOND)
        );
        assert_eq!(gathering.left(1, began + PACE), None);
        assert_eq!(gathering.left(RECORDS_MAX, began + MILLISECOND), None);
    }

    #[test]
    fn few_records_and_a_backlog_do_not_wait() {
        let began = Instant::now();
        for (records, is_backlog) in [(BUSY_RECORDS_MIN - 1, false), (RECORDS_MAX, true)] {
            let gathering = Gathering::after(records, is_backlog, began);
            assert_eq!(gathering.left(1, began), None, "{records}");
        }
        assert_eq!(Gathering::default().left(1, began), None);
    }
}
