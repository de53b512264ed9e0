//! Sends one record, under a permit and only while the lease covers it.

use tokio::time::Instant;

use crate::events::relay::breakers::Permission;
use crate::events::relay::{Context, Item, Urgency};
use crate::parts::broker::{Acknowledged, PublishError, Record, Turn};

/// How sending a record ended.
pub(super) enum Sent {
    Acknowledged,
    Failed(PublishError),
    /// The lease would not have covered it.
    Withheld,
    /// The broker, its topic or its partition failed others while it waited.
    HeldBack,
}

pub(super) struct SendResult {
    pub(super) item: Item,
    pub(super) sent_at: Instant,
    pub(super) permission: Permission,
    pub(super) sent: Sent,
    /// Kept until the breakers know how it ended: those who wait ask them next.
    pub(super) turn: Option<Turn>,
}

pub(super) async fn send(context: Context, item: Item, permission: Permission) -> SendResult {
    let permits = if item.alone {
        context.config.in_flight_max
    } else {
        1
    };
    let permit = context.permits.acquire_many(permits).await;
    let sent_at = Instant::now();
    let mut record = Record::of(&item.event, &context.config.topic_prefix);
    let turn = match item.urgency {
        Urgency::Fresh => context.publisher.turn(&record).await,
        Urgency::Backlog => None,
    };
    let sent = if permit.is_err() || !context.ownership.may_send(item.event.campaign_id.bucket()) {
        Sent::Withheld
    } else if !context.breakers.still(permission) {
        Sent::HeldBack
    } else {
        let mut traced = record.traced();
        let published = publish(&context, &record, permission, item.urgency).await;
        match published {
            Ok(_) => Sent::Acknowledged,
            Err(failure) => {
                if let Some(traced) = &mut traced {
                    traced.failed(failure.class());
                }
                Sent::Failed(failure)
            }
        }
    };
    drop(permit);
    SendResult {
        item,
        sent_at,
        permission,
        sent,
        turn,
    }
}

/// A probe asks first whether its partition takes anything: what is sent in vain may be written all the same.
/// And it goes by itself: what is sent in bulk to other partitions would wait behind it.
async fn publish(
    context: &Context,
    record: &Record,
    permission: Permission,
    urgency: Urgency,
) -> Result<Acknowledged, PublishError> {
    if permission.is_probe() {
        context.publisher.ask_partition(record).await?;
        return context.publisher.publish(record).await;
    }
    match urgency {
        Urgency::Fresh => context.publisher.publish(record).await,
        Urgency::Backlog => context.publisher.publish_in_bulk(record).await,
    }
}
