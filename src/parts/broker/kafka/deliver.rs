//! Sends one record. If librdkafka hides the reason of a failure, the cluster is asked for it.

use std::time::Instant;

use super::Kafka;
use super::classify::{classify, is_unanswered};
use super::producers::Current;
use super::sender::{Outgoing, Undelivered};
use crate::parts::broker::{Acknowledged, PublishError, Publisher};

impl Kafka {
    /// Sends a record, waits for its acknowledgement, and classifies a failure.
    pub(super) async fn deliver(
        &self,
        current: Option<Current>,
        outgoing: Outgoing<'_>,
    ) -> Result<Acknowledged, PublishError> {
        let Some(current) = current else {
            return Err(PublishError::Fatal("there is no producer".to_owned()));
        };
        let (topic, key, sent_at) = (outgoing.topic, outgoing.key, Instant::now());
        let (failure, partition, unanswered) = match current.sender.send(outgoing).await {
            Ok(report) => match with_offset(report) {
                Ok(acknowledged) => {
                    self.producers.arrived(&current);
                    let partition = acknowledged.partition;
                    self.progress.acknowledged(topic, partition, sent_at);
                    return Ok(acknowledged);
                }
                Err(failure) => (failure, Some(report.partition), false),
            },
            Err(Undelivered { failure, partition }) => {
                (classify(&failure), partition, is_unanswered(&failure))
            }
        };
        let failure = match failure {
            PublishError::Fatal(text) => {
                self.producers.rebuild(&self.config, &current);
                PublishError::Fatal(text)
            }
            // librdkafka reports "timed out" also if no broker is reachable, and if the leader has too few in-sync
            // replicas.
            PublishError::PossiblyDelivered(text) => {
                self.producers.timed_out(&self.config, &current);
                // A partition acknowledges nothing, either, until a replica that is away counts as out of sync.
                let is_silent = unanswered && !self.progress.has_passed(topic, partition, sent_at);
                let reach = self.reach(&current, topic, partition).await;
                match reach.failure(topic) {
                    Some(failure) => failure,
                    None if is_silent => PublishError::Partition(format!("{topic}: {text}")),
                    None => PublishError::PossiblyDelivered(text),
                }
            }
            other => other,
        };
        if matches!(failure, PublishError::Partition(_)) {
            self.takes_nothing(topic, key, partition).await;
        }
        Err(failure)
    }

    /// Takes note of a partition that takes nothing. Others go on as far as it is known which records are for
    /// it: how many partitions there are is asked for where the record went elsewhere than we thought.
    async fn takes_nothing(&self, topic: &str, key: Option<&[u8]>, partition: Option<i32>) {
        self.progress.away(topic, partition);
        let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()) else {
            return;
        };
        let expected = self.producers.partition(topic, key);
        if expected.is_some() && (partition.is_none() || expected == partition) {
            return;
        }
        // Records of a batch fail together: one of them asks.
        let Ok(_asking) = self.counting.try_lock() else {
            return;
        };
        if let Err(failure) = self.partitions(topic).await {
            tracing::debug!(%failure, topic, "partitions not counted");
        }
    }
}

/// An acknowledgement says where the record is. One that does not is librdkafka's word for "the broker
/// called it a duplicate", which it also is when the record was never written.
fn with_offset(report: Acknowledged) -> Result<Acknowledged, PublishError> {
    if report.offset < 0 {
        let text = "acknowledged without an offset, as a duplicate".to_owned();
        return Err(PublishError::PossiblyDelivered(text));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_acknowledgement_with_an_offset_counts() {
        let report = |offset| Acknowledged {
            partition: 2,
            offset,
        };
        assert_eq!(with_offset(report(0)).unwrap(), report(0));
        assert!(matches!(
            with_offset(report(-1)),
            Err(PublishError::PossiblyDelivered(_))
        ));
    }
}
