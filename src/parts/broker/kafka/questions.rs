//! Questions to the brokers on a blocking thread, repeated while they fail for a reason that soon ends by itself: a
//! partition elects its leader, a new leader does not know yet which records are committed, a coordinator of groups is
//! loading.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};

use super::Traced;

/// Pause before a question is repeated.
const PAUSE: Duration = Duration::from_millis(200);
/// A question has at least this time for its answer.
const ANSWER_MIN: Duration = Duration::from_secs(1);

/// For how long questions are repeated. After that, the last failure is returned.
pub(super) struct Patience {
    until: Instant,
    answer_max: Duration,
}

impl Patience {
    /// The longest for an operator's command.
    pub(super) const MAX: Duration = Duration::from_secs(30);

    pub(super) const fn new(until: Instant, answer_max: Duration) -> Self {
        Self { until, answer_max }
    }

    /// Repeats a question until it succeeds, fails for good, or the time is over. Only for questions that change
    /// nothing. They are passed the limit for one answer.
    pub(super) fn ask<T>(&self, question: impl Fn(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            match question(self.answer_max.min(left.max(ANSWER_MIN))) {
                Err(failure) if is_passing(&failure) && Instant::now() + PAUSE < self.until => {
                    thread::sleep(PAUSE);
                }
                answer => return answer.map_err(named),
            }
        }
    }

    /// The partitions of a topic, at least one.
    pub(super) fn partitions(
        &self,
        consumer: &BaseConsumer<Traced>,
        topic: &str,
    ) -> KafkaResult<Vec<i32>> {
        self.ask(|answer_max| {
            let metadata = consumer.fetch_metadata(Some(topic), answer_max)?;
            let found = metadata.topics().first();
            if let Some(code) = found.and_then(MetadataTopic::error) {
                return Err(KafkaError::MetadataFetch(code.into()));
            }
            let partitions = found.map_or(&[][..], MetadataTopic::partitions);
            if partitions.is_empty() {
                return Err(KafkaError::MetadataFetch(Code::UnknownTopicOrPartition));
            }
            Ok(partitions.iter().map(MetadataPartition::id).collect())
        })
    }
}

/// librdkafka calls a partition without a leader unknown.
fn named(failure: KafkaError) -> KafkaError {
    match failure.rdkafka_error_code() {
        Some(Code::UnknownPartition) => KafkaError::MetadataFetch(Code::LeaderNotAvailable),
        _ => failure,
    }
}

/// Whether a repetition may succeed soon.
fn is_passing(failure: &KafkaError) -> bool {
    matches!(
        failure.rdkafka_error_code(),
        Some(
            Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::OffsetNotAvailable
                | Code::ReplicaNotAvailable
                | Code::KafkaStorageError
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                // librdkafka's own, for a partition of the topic's metadata: it has no leader.
                | Code::UnknownPartition
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::UnstableOffsetCommit
                // Of all brokers, some did not answer.
                | Code::Partial
                | Code::RequestTimedOut
                | Code::OperationTimedOut
                | Code::NetworkException
                | Code::BrokerNotAvailable
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
        )
    )
}
