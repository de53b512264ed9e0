//! The last acknowledgement of each partition, and the partitions that accept no records for now. It distinguishes a
//! record that timed out from a partition that does not answer: librdkafka reports both in the same way.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The topics with sent records.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<HashMap<String, Topic>>);

#[derive(Debug, Default)]
struct Topic {
    /// By partition: when the latest acknowledged record was sent.
    latest: HashMap<i32, Instant>,
    /// Partitions that accepted no records, and have acknowledged none since; none: the partition is unknown.
    failing: HashSet<Option<i32>>,
}

impl Progress {
    /// A record sent at this time was acknowledged.
    pub(super) fn acknowledged(&self, topic: &str, partition: i32, sent_at: Instant) {
        self.with(topic, |topic| {
            let latest = topic.latest.entry(partition).or_insert(sent_at);
            *latest = sent_at.max(*latest);
            topic.failing.remove(&Some(partition));
            topic.failing.remove(&None);
        });
    }

    /// Whether the partition acknowledged a record that was sent after this time.
    pub(super) fn has_passed(&self, topic: &str, partition: Option<i32>, sent_at: Instant) -> bool {
        let Some(partition) = partition else {
            return false;
        };
        let latest = |topic: &mut Topic| topic.latest.get(&partition).copied();
        self.with(topic, latest) > Some(sent_at)
    }

    /// The partition accepts no records.
    pub(super) fn mark_failing(&self, topic: &str, partition: Option<i32>) {
        self.with(topic, |topic| topic.failing.insert(partition));
    }

    /// Whether the partition accepted no records, and has acknowledged none since. Unknown partitions on either side
    /// count as equal.
    pub(super) fn is_away(&self, topic: &str, partition: Option<i32>) -> bool {
        self.with(topic, |topic| match partition {
            Some(_) => topic.failing.contains(&partition) || topic.failing.contains(&None),
            None => !topic.failing.is_empty(),
        })
    }

    fn with<R>(&self, topic: &str, change: impl FnOnce(&mut Topic) -> R) -> R {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = topics.get_mut(topic) {
            return change(known);
        }
        change(topics.entry(topic.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_later_record_of_the_same_partition_has_passed() {
        let progress = Progress::default();
        let sent = Instant::now();
        let later = sent + Duration::from_millis(1);
        assert!(!progress.has_passed("t", Some(0), sent));
        progress.acknowledged("t", 0, sent);
        assert!(!progress.has_passed("t", Some(0), sent), "its own");
        progress.acknowledged("t", 1, later);
        progress.acknowledged("u", 0, later);
        assert!(!progress.has_passed("t", Some(0), sent));
        progress.acknowledged("t", 0, later);
        progress.acknowledged("t", 0, sent);
        assert!(progress.has_passed("t", Some(0), sent));
        assert!(!progress.has_passed("t", Some(0), later));
        assert!(!progress.has_passed("t", None, sent));
    }

    #[test]
    fn a_partition_is_unavailable_until_it_acknowledges_a_record() {
        let progress = Progress::default();
        assert!(!progress.is_away("t", Some(3)) && !progress.is_away("t", None));
        progress.mark_failing("t", Some(3));
        assert!(progress.is_away("t", Some(3)) && progress.is_away("t", None));
        assert!(!progress.is_away("t", Some(1)) && !progress.is_away("u", Some(3)));
        progress.acknowledged("t", 1, Instant::now());
        assert!(progress.is_away("t", Some(3)), "another one's record");
        progress.acknowledged("t", 3, Instant::now());
        assert!(!progress.is_away("t", Some(3)) && !progress.is_away("t", None));
    }

    #[test]
    fn an_outage_of_an_unknown_partition_counts_for_all() {
        let progress = Progress::default();
        progress.mark_failing("t", None);
        assert!(progress.is_away("t", Some(1)) && progress.is_away("t", None));
        progress.acknowledged("t", 0, Instant::now());
        assert!(!progress.is_away("t", Some(1)) && !progress.is_away("t", None));
    }
}
