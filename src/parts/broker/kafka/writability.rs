//! Whether a producer can write to a partition, and how long this result is reused.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use crate::parts::broker::PublishError;

/// How long a check is reused.
const CHECK_AGE_MAX: Duration = Duration::from_millis(500);

/// Whether a producer can write to a partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writability {
    /// It has a leader, which answers, and enough in-sync replicas.
    Writable,
    /// No broker answers.
    NoAnswer,
    /// The brokers answer, and the partition accepts no records.
    NotWritable(Shortage),
    /// The cluster reports that the topic does not exist, or that access is denied.
    Refused(RDKafkaErrorCode),
}

impl Writability {
    /// The error of a record for it; none: it accepts records.
    pub(super) fn failure(self, topic: &str) -> Option<PublishError> {
        match self {
            Self::Writable => None,
            Self::NoAnswer => Some(PublishError::Away(format!("{topic}: nobody answers"))),
            Self::NotWritable(shortage) => {
                Some(PublishError::Partition(format!("{topic}: {shortage}")))
            }
            Self::Refused(code) => Some(PublishError::Destination(format!("{topic}: {code}"))),
        }
    }
}

/// Why a partition accepts no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Shortage {
    #[error("its partitions have no leader yet")]
    NoLeaders,
    #[error("partition {0} has no leader")]
    NoLeader(i32),
    #[error("the leader of partition {0} does not answer")]
    SilentLeader(i32),
    #[error("partition {partition} has {in_sync} of {minimum} in-sync replicas")]
    TooFewInSync {
        partition: i32,
        in_sync: usize,
        minimum: usize,
    },
}

/// The result of a producer's check of a topic.
#[derive(Debug)]
pub(super) struct CachedCheck {
    pub(super) at: Instant,
    pub(super) topic: String,
    pub(super) partition: Option<i32>,
    pub(super) writability: Writability,
    /// The other partitions of a leader without an answer.
    pub(super) silent: Vec<i32>,
}

impl CachedCheck {
    pub(super) fn is_fresh(&self) -> bool {
        self.at.elapsed() < CHECK_AGE_MAX
    }

    /// Whether the result applies to this partition, too. A leader without an answer affects all its partitions, and
    /// checking each one would take as long again.
    pub(super) fn serves(&self, topic: &str, partition: Option<i32>) -> bool {
        let is_silent = match self.writability {
            Writability::NoAnswer => true,
            Writability::NotWritable(Shortage::SilentLeader(_)) => {
                partition.is_none_or(|partition| self.silent.contains(&partition))
            }
            _ => false,
        };
        self.topic == topic && (self.partition == partition || is_silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_leader_affects_only_its_own_partitions() {
        let known = CachedCheck {
            at: Instant::now(),
            topic: "a-topic".to_owned(),
            partition: Some(0),
            writability: Writability::NotWritable(Shortage::SilentLeader(0)),
            silent: vec![2],
        };
        assert!(known.serves("a-topic", Some(0)) && known.serves("a-topic", Some(2)));
        assert!(!known.serves("a-topic", Some(1)), "another broker leads it");
        assert!(!known.serves("other", Some(0)));
    }
}
