//! What partitions acknowledged last, and which of them take nothing for now. By this a record that timed out
//! is told from a partition that does: librdkafka says the same of both.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The topics that were written to.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<HashMap<String, Topic>>);

#[derive(Debug, Default)]
struct Topic {
    /// By partition: when the latest of those was sent that were acknowledged.
    latest: HashMap<i32, Instant>,
    /// Partitions that took nothing, and have acknowledged nothing since; none: one that is not known.
    away: HashSet<Option<i32>>,
}

impl Progress {
    /// A record that was sent at that time was acknowledged.
    pub(super) fn acknowledged(&self, topic: &str, partition: i32, sent_at: Instant) {
        self.with(topic, |topic| {
            let latest = topic.latest.entry(partition).or_insert(sent_at);
            *latest = sent_at.max(*latest);
            topic.away.remove(&Some(partition));
            topic.away.remove(&None);
        });
    }

    /// Whether the partition acknowledged a record that was sent after that time.
    pub(super) fn has_passed(&self, topic: &str, partition: Option<i32>, sent_at: Instant) -> bool {
        let Some(partition) = partition else {
            return false;
        };
        let latest = |topic: &mut Topic| topic.latest.get(&partition).copied();
        self.with(topic, latest) > Some(sent_at)
    }

    /// The partition takes nothing.
    pub(super) fn away(&self, topic: &str, partition: Option<i32>) {
        self.with(topic, |topic| topic.away.insert(partition));
    }

    /// Whether the partition took nothing, and has acknowledged nothing since. So may one that is not known,
    /// and each one while it is not known which did.
    pub(super) fn is_away(&self, topic: &str, partition: Option<i32>) -> bool {
        self.with(topic, |topic| match partition {
            Some(_) => topic.away.contains(&partition) || topic.away.contains(&None),
            None => !topic.away.is_empty(),
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
        progress.away("t", Some(3));
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
        progress.away("t", None);
        assert!(progress.is_away("t", Some(1)) && progress.is_away("t", None));
        progress.acknowledged("t", 0, Instant::now());
        assert!(!progress.is_away("t", Some(1)) && !progress.is_away("t", None));
    }
}
