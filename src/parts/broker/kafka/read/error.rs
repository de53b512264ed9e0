//! Why a topic could not be read.

use rdkafka::error::KafkaError;

/// Why a topic could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such topic.
    #[error("read topic {0}: there is no such topic")]
    Missing(String),
    /// The broker rejects the read.
    #[error("read topic {topic}")]
    Refused {
        /// The topic.
        topic: String,
        /// The broker's message.
        #[source]
        source: KafkaError,
    },
    /// The end was not reached in time.
    #[error(
        "read topic {topic}: not at its end after {seconds} s, with {left} records to go{cause}"
    )]
    Late {
        /// The topic.
        topic: String,
        /// The time limit.
        seconds: u64,
        /// Offsets not reached.
        left: u64,
        /// The last temporary failure, if there was one.
        cause: String,
    },
    /// The reading thread could not start, or ended unexpectedly.
    #[error("read topic {0}: the reader stopped")]
    Broken(String),
}
