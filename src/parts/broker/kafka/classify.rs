//! The class of each of librdkafka's errors, which decides the reaction. By code, never by text.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::parts::broker::PublishError;

/// The class of a failure.
pub(super) fn classify(failure: &KafkaError) -> PublishError {
    let text = failure.to_string();
    match failure.rdkafka_error_code() {
        Some(code) => by_code(code, text),
        // A rejected configuration, for example: nothing can be sent until it is corrected.
        None => PublishError::Destination(text),
    }
}

/// Whether there was no answer in time, according to librdkafka or the broker.
pub(super) fn is_unanswered(failure: &KafkaError) -> bool {
    let code = failure.rdkafka_error_code();
    matches!(code, Some(Code::MessageTimedOut | Code::RequestTimedOut))
}

fn by_code(code: Code, text: String) -> PublishError {
    match code {
        Code::QueueFull => PublishError::QueueFull,
        // No broker is reachable, or a later retry is requested. librdkafka returns some of these without its own
        // retries.
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::BrokerNotAvailable
        | Code::NetworkException
        | Code::ThrottlingQuotaExceeded
        | Code::Retry
        | Code::PurgeQueue => PublishError::Away(text),
        // The leader is being elected, cannot write, or has too few in-sync replicas.
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::KafkaStorageError => PublishError::Partition(text),
        Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnknownPartition
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::InvalidTopic
        | Code::InvalidRequiredAcks
        | Code::SSL => PublishError::Destination(text),
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidMessage
        | Code::InvalidRecord
        | Code::InvalidDifferentRecord
        | Code::InvalidTimestamp
        | Code::PolicyViolation => PublishError::Record(text),
        Code::Fatal
        | Code::Fenced
        | Code::ProducerFenced
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch
        | Code::State
        | Code::GaplessGuarantee => PublishError::Fatal(text),
        // Timed out, purged in flight, unknown: it may have been written. Bounded by attempts.
        _ => PublishError::PossiblyDelivered(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_the_class_that_says_what_to_do() {
        for (code, class) in [
            (Code::QueueFull, "queue_full"),
            (Code::AllBrokersDown, "away"),
            (Code::ThrottlingQuotaExceeded, "away"),
            (Code::TopicAuthorizationFailed, "destination"),
            (Code::UnknownTopic, "destination"),
            (Code::NotEnoughReplicas, "partition_away"),
            (Code::LeaderNotAvailable, "partition_away"),
            (Code::MessageSizeTooLarge, "record"),
            (Code::InvalidRecord, "record"),
            (Code::InvalidDifferentRecord, "record"),
            (Code::MessageTimedOut, "possibly_delivered"),
            (Code::Unknown, "possibly_delivered"),
            (Code::PurgeInflight, "possibly_delivered"),
            (Code::Fenced, "fatal"),
            (Code::OutOfOrderSequenceNumber, "fatal"),
        ] {
            let failure = classify(&KafkaError::MessageProduction(code));
            assert_eq!(failure.class(), class, "{code:?}");
        }
    }
}
