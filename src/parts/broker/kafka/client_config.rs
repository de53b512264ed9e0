//! The settings of librdkafka for producers and other clients.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::KafkaConfig;

impl KafkaConfig {
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set(
                "bootstrap.servers",
                self.brokers.as_deref().unwrap_or_default(),
            )
            .set("client.id", &self.client_id)
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "1000");
        for (name, value) in self.security() {
            client.set(name, value);
        }
        client.set_log_level(RDKafkaLogLevel::Warning);
        client
    }

    pub(super) fn producer(&self) -> ClientConfig {
        let timeout_ms = self.message_timeout.as_millis();
        let mut client = self.client();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // The default, CRC32, would select other partitions than Java producers do.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", timeout_ms.to_string())
            .set("request.timeout.ms", timeout_ms.clamp(1, 5_000).to_string())
            .set("topic.metadata.propagation.max.ms", "5000")
            // With more than one in flight, acknowledged records can be lost: docs/decisions/0001.
            .set("max.in.flight.requests.per.connection", "1")
            .set("linger.ms", self.linger.as_millis().to_string())
            .set("compression.type", &self.compression)
            .set("message.max.bytes", self.message_bytes_max.to_string())
            // A batch that the topic rejects fails all its records, so there is room for the batch header.
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
        let client = KafkaConfig::default().producer();
        let setting = |name| client.get(name);
        assert_eq!(setting("max.in.flight.requests.per.connection"), Some("1"));
        assert_eq!(setting("enable.idempotence"), Some("true"));
        assert_eq!(setting("acks"), Some("all"));
    }
}
