//! Sends the records of a batch and waits for their acknowledgements.

use tokio::time::Instant;

use crate::events::relay::breakers::{Permission, Target};
use crate::events::relay::{Context, Item};
use crate::parts::broker::{Acknowledged, PublishError, Record};

/// A batch whose result is known.
pub(super) struct SentBatch {
    pub(super) target: Target,
    pub(super) permission: Permission,
    pub(super) sent_at: Instant,
    pub(super) items: Vec<Item>,
    /// One result for each item, in order; the items after the last result were not sent.
    pub(super) results: Vec<Result<Acknowledged, PublishError>>,
}

pub(super) async fn send(
    context: Context,
    target: Target,
    items: Vec<Item>,
    permission: Permission,
) -> SentBatch {
    let sent_at = Instant::now();
    let prefix = &context.config.topic_prefix;
    let records = items.iter().map(|item| Record::of(&item.event, prefix));
    let mut records: Vec<Record> = records.collect();
    let mut spans: Vec<_> = records.iter_mut().map(Record::traced).collect();
    let results = publish(&context, &items, &records, permission).await;
    for (span, result) in spans.iter_mut().zip(&results) {
        if let (Some(span), Err(failure)) = (span, result) {
            span.failed(failure.class());
        }
    }
    SentBatch {
        target,
        permission,
        sent_at,
        items,
        results,
    }
}

/// A probe, which is one record, first checks whether its partition accepts records: a record that is sent without
/// success may be written all the same.
async fn publish(
    context: &Context,
    items: &[Item],
    records: &[Record],
    permission: Permission,
) -> Vec<Result<Acknowledged, PublishError>> {
    if permission.is_probe()
        && let Some(record) = records.first()
    {
        if let Err(failure) = context.publisher.ask_partition(record).await {
            return vec![Err(failure)];
        }
        // The check may take longer than the lease of the stream.
        if !items.iter().all(|item| context.may_send(item)) {
            return Vec::new();
        }
    }
    context.publisher.publish_all(records).await
}
