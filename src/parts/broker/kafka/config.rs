//! How the producers and other clients are set up.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// How records are sent.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Shown in the brokers' logs and quotas.
    pub client_id: String,
    /// How long a record may wait for its acknowledgement; must end well within the relay's lease.
    pub message_timeout: Duration,
    /// Producers side by side, each for its share of the partitions.
    pub producers: u16,
    /// How long a record waits for company.
    pub linger: Duration,
    /// The same for records sent in bulk, by a producer of their own.
    pub bulk_linger: Duration,
    /// `none`, `lz4`, `zstd`, `snappy` or `gzip`.
    pub compression: String,
    /// A batch stays below this; so must the topics' `max.message.bytes`.
    pub message_bytes_max: u32,
    /// Records in the producer's own queue.
    pub queue_records_max: u32,
    /// How long questions about topics may take.
    pub metadata_timeout: Duration,
    /// Further librdkafka settings (security, for one), applied last.
    pub extra: Extra,
}

/// Settings of librdkafka by name. What they are is not printed: there are secrets among them.
#[derive(Clone, Default)]
pub struct Extra(pub Vec<(&'static str, String)>);

impl std::fmt::Debug for Extra {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        formatter.debug_list().entries(names).finish()
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            client_id: "firstcome".to_owned(),
            message_timeout: Duration::from_secs(10),
            producers: 3,
            linger: Duration::from_millis(1),
            bulk_linger: Duration::from_millis(15),
            compression: "lz4".to_owned(),
            message_bytes_max: 1_000_000,
            queue_records_max: 50_000,
            metadata_timeout: Duration::from_secs(5),
            extra: Extra::default(),
        }
    }
}

impl KafkaConfig {
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "1000");
        for (name, value) in &self.extra.0 {
            client.set(*name, value);
        }
        client.set_log_level(RDKafkaLogLevel::Warning);
        client
    }

    pub(super) fn producer(&self, linger: Duration) -> ClientConfig {
        let timeout_ms = self.message_timeout.as_millis();
        let mut client = self.client();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // The default, CRC32, would put a key elsewhere than Java producers do.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", timeout_ms.to_string())
            .set("request.timeout.ms", timeout_ms.clamp(1, 5_000).to_string())
            .set("topic.metadata.propagation.max.ms", "5000")
            // More than one at a time can lose what it acknowledges: docs/decisions/0001.
            .set("max.in.flight.requests.per.connection", "1")
            .set("linger.ms", linger.as_millis().to_string())
            .set("compression.type", &self.compression)
            .set("message.max.bytes", self.message_bytes_max.to_string())
            // A batch the topic refuses fails every record in it, so leave room for its frame.
            .set("batch.size", (self.message_bytes_max / 10 * 9).to_string())
            .set(
                "queue.buffering.max.messages",
                self.queue_records_max.to_string(),
            );
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_under_way_at_a_time() {
        let client = KafkaConfig::default().producer(Duration::ZERO);
        let setting = |name| client.get(name);
        assert_eq!(setting("max.in.flight.requests.per.connection"), Some("1"));
        assert_eq!(setting("enable.idempotence"), Some("true"));
        assert_eq!(setting("acks"), Some("all"));
    }
}
