//! Sends records. If librdkafka hides the reason of a failure, the cluster is queried for it.

use std::future::ready;
use std::time::Instant;

use futures_util::future::{Either, FutureExt, join_all};

use super::Kafka;
use super::classify::{classify, is_unanswered};
use super::producers::Current;
use super::sender::{Outgoing, Undelivered};
use crate::parts::broker::{Acknowledged, PublishError, Publisher};

impl Kafka {
    /// Sends records of one partition in order, waits for their acknowledgements, and classifies failures. Records
    /// after the last result were not sent.
    pub(super) async fn deliver(
        &self,
        current: Option<Current>,
        records: Vec<Outgoing<'_>>,
    ) -> Vec<Result<Acknowledged, PublishError>> {
        let Some(current) = current else {
            return vec![Err(PublishError::Fatal("there is no producer".to_owned()))];
        };
        let names: Vec<_> = records.iter().map(|one| (one.topic, one.key)).collect();
        let sent_at = Instant::now();
        let reports = current.sender.send(records).await;
        let mut acknowledged = None;
        let results = reports.into_iter().zip(names).map(|(report, name)| {
            let failed = match report.map(with_offset) {
                Ok(Ok(place)) => {
                    if acknowledged.replace(place.partition) != Some(place.partition) {
                        self.producers.arrived(&current);
                        self.progress.acknowledged(name.0, place.partition, sent_at);
                    }
                    return Either::Left(ready(Ok(place)));
                }
                Ok(Err((failure, partition))) => (failure, Some(partition), false),
                Err(Undelivered { failure, partition }) => {
                    (classify(&failure), partition, is_unanswered(&failure))
                }
            };
            Either::Right(self.reason(&current, name, sent_at, failed).map(Err))
        });
        // All at once: records that fail for the same reason share one query.
        join_all(results.collect::<Vec<_>>()).await
    }

    /// Why a record was not acknowledged, given its failure, its partition, and whether there was no answer.
    async fn reason(
        &self,
        current: &Current,
        (topic, key): (&str, Option<&[u8]>),
        sent_at: Instant,
        (failure, partition, unanswered): (PublishError, Option<i32>, bool),
    ) -> PublishError {
        let failure = match failure {
            PublishError::Fatal(text) => {
                self.producers.rebuild(&self.config, current);
                PublishError::Fatal(text)
            }
            // librdkafka reports "timed out" also if no broker is reachable, and if the leader has too few in-sync
            // replicas.
            PublishError::PossiblyDelivered(text) => {
                self.producers.timed_out(&self.config, current);
                // A partition also acknowledges nothing until an unavailable replica is out of sync.
                let is_silent = unanswered && !self.progress.has_passed(topic, partition, sent_at);
                let writability = self.writability(current, topic, partition).await;
                match writability.failure(topic) {
                    Some(failure) => failure,
                    None if is_silent => PublishError::Partition(format!("{topic}: {text}")),
                    None => PublishError::PossiblyDelivered(text),
                }
            }
            other => other,
        };
        if matches!(failure, PublishError::Partition(_)) {
            self.mark_partition_failing(topic, key, partition).await;
        }
        failure
    }

    /// Records that a partition accepts no records. Other partitions continue if it is known which records are
    /// theirs: if the record went to another partition than expected, the number of partitions is read again.
    async fn mark_partition_failing(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        partition: Option<i32>,
    ) {
        self.progress.mark_failing(topic, partition);
        let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()) else {
            return;
        };
        let expected = self.producers.partition(topic, key);
        if expected.is_some() && (partition.is_none() || expected == partition) {
            return;
        }
        // Records of a batch fail together; one of them reads it.
        let Ok(_asking) = self.counting.try_lock() else {
            return;
        };
        if let Err(failure) = self.partitions(topic).await {
            tracing::debug!(%failure, topic, "partitions not counted");
        }
    }
}

/// Requires the offset in an acknowledgement. librdkafka omits it if the broker called the record a duplicate, which
/// also happens to a record that was never written.
fn with_offset(report: Acknowledged) -> Result<Acknowledged, (PublishError, i32)> {
    if report.offset < 0 {
        let text = "acknowledged without an offset, as a duplicate".to_owned();
        return Err((PublishError::PossiblyDelivered(text), report.partition));
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
            Err((PublishError::PossiblyDelivered(_), 2))
        ));
    }
}
