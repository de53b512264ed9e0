//! Sends the events from the dispatcher and the parker: one batch for each partition at a time, many partitions at
//! once. Each event is acknowledged, given to the parker, or dropped; a dropped event makes the dispatcher read its
//! stream again.
//!
//! A batch may contain many records of one key. They are sent in order: the producer is idempotent and has one
//! request in flight, so it writes no record before an earlier one of its partition that it still retries (the
//! exception is in docs/decisions/0017).

mod batch;
mod gathering;
mod order;
mod parker_handle;
mod queues;

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use self::queues::Queues;
use super::report::ParkerReport;
use super::{Context, Item};
use crate::runtime::supervisor::{BoxError, Policy, Spawner, Stage};

/// Events taken from the inbox at once.
const ITEMS_AT_ONCE: usize = 1_024;

/// The channels to the sender and to the parker.
#[derive(Clone, Debug)]
pub(super) struct SenderHandle {
    inbox: mpsc::Sender<Item>,
    park: mpsc::Sender<ParkerReport>,
}

impl SenderHandle {
    /// A place in the sender's inbox; none: the inbox is full.
    pub(super) fn reserve(&self) -> Option<mpsc::Permit<'_, Item>> {
        self.inbox.try_reserve().ok()
    }

    /// Reports to the parker. If its inbox is full, the event is dropped, and its stream is read again.
    pub(super) fn park(&self, report: ParkerReport) {
        if self.park.try_send(report).is_err() {
            tracing::warn!("the parker has no room: a stream is read again");
        }
    }
}

/// Starts the sender.
pub(super) fn start(
    spawner: &Spawner,
    context: &Context,
    park: &mpsc::Sender<ParkerReport>,
) -> SenderHandle {
    let rows_max = usize::try_from(context.config.in_flight_max).unwrap_or(usize::MAX);
    let (sender, inbox) = mpsc::channel(rows_max.max(1));
    // The running task holds the lock; waiting events survive a panic.
    let inbox = Arc::new(Mutex::new(inbox));
    let (context, reports) = (Context::clone(context), park.clone());
    spawner.start(
        "relay.sender",
        Stage::Relay,
        Policy::restart(),
        move |stop| {
            run(
                Context::clone(&context),
                Arc::clone(&inbox),
                reports.clone(),
                stop,
            )
        },
    );
    SenderHandle {
        inbox: sender,
        park: park.clone(),
    }
}

async fn run(
    context: Context,
    inbox: Arc<Mutex<mpsc::Receiver<Item>>>,
    park: mpsc::Sender<ParkerReport>,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let mut inbox = inbox.lock().await;
    let mut queues = Queues::new(&context, &park);
    let mut items = Vec::new();
    loop {
        let wait = queues.send_ready().await;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(sent) = queues.in_flight.next() => queues.finished(sent).await,
            count = inbox.recv_many(&mut items, ITEMS_AT_ONCE) => {
                if count == 0 {
                    break;
                }
                items.drain(..).for_each(|item| queues.add(item));
            }
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
    queues.drain(&mut inbox).await;
    Ok(())
}
