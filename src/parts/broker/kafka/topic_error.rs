//! Why a topic cannot be used. A missing topic must be created; a topic that this client may not describe needs a
//! permission.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::parts::broker::PublishError;

/// A topic cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The cluster has no such topic.
    #[error("find the topic: {0}")]
    Missing(String),
    /// This client may not describe the topic: it does not learn whether the topic exists.
    #[error("describe the topic: {0}")]
    NotAllowed(String),
    /// Any other failure.
    #[error(transparent)]
    Other(#[from] PublishError),
}

impl TopicError {
    /// The error for the code that the cluster reports about a topic.
    pub(super) fn of(topic: &str, code: Code) -> Self {
        let text = format!("{topic}: {code}");
        match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic => Self::Missing(text),
            Code::TopicAuthorizationFailed => Self::NotAllowed(text),
            _ => Self::Other(PublishError::Destination(text)),
        }
    }
}

/// For a record it makes no difference why its topic cannot be used.
impl From<TopicError> for PublishError {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Missing(text) | TopicError::NotAllowed(text) => Self::Destination(text),
            TopicError::Other(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_topic_is_missing() {
        for code in [Code::UnknownTopicOrPartition, Code::UnknownTopic] {
            let error = TopicError::of("t", code);
            assert!(matches!(error, TopicError::Missing(_)), "{error:?}");
        }
        let denied = TopicError::of("t", Code::TopicAuthorizationFailed);
        assert!(matches!(denied, TopicError::NotAllowed(_)), "{denied:?}");
        for code in [Code::LeaderNotAvailable, Code::InvalidTopic] {
            let error = TopicError::of("t", code);
            assert!(matches!(error, TopicError::Other(_)), "{error:?}");
        }
    }

    #[test]
    fn records_of_an_unusable_topic_wait_whatever_the_reason() {
        for code in [
            Code::UnknownTopic,
            Code::TopicAuthorizationFailed,
            Code::InvalidTopic,
        ] {
            let failure = PublishError::from(TopicError::of("t", code));
            assert_eq!(failure.class(), "destination", "{code:?}");
        }
    }
}
