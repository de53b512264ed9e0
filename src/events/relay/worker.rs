//! A worker sends records: one of a key at a time, many keys at once. Each event it receives ends acknowledged, at the
//! parker, or dropped, which makes the dispatcher read its stream again.

mod order;
mod run;
mod send;

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::report::Report;
use super::{Context, Item};
use crate::domain::key_hash;
use crate::runtime::supervisor::{BoxError, Policy, Spawner, Stage};

/// The ways to the workers and to the parker.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    inboxes: Vec<mpsc::Sender<Item>>,
    park: mpsc::Sender<Report>,
}

impl Workers {
    /// A place at the worker of a key, which always is the same one; none: it has no room now.
    pub(super) fn reserve(&self, key: &str) -> Option<mpsc::Permit<'_, Item>> {
        let workers = u32::try_from(self.inboxes.len()).unwrap_or(1).max(1);
        let number = usize::try_from(key_hash(key) % workers).unwrap_or_default();
        self.inboxes.get(number)?.try_reserve().ok()
    }

    /// Reports to the parker. Without room the event is dropped, and its stream read again.
    pub(super) fn park(&self, report: Report) {
        if self.park.try_send(report).is_err() {
            tracing::warn!("the parker has no room: a stream is read again");
        }
    }
}

/// Starts the workers.
pub(super) fn start(spawner: &Spawner, context: &Context, park: &mpsc::Sender<Report>) -> Workers {
    let rows_max = usize::try_from(context.config.worker_rows_max).unwrap_or(usize::MAX);
    let inboxes = (0..context.config.workers.max(1)).map(|_| {
        let (sender, inbox) = mpsc::channel(rows_max.max(1));
        // Locked by the run of the task; what waits in it survives a panic.
        let inbox = Arc::new(Mutex::new(inbox));
        let (context, park) = (Context::clone(context), park.clone());
        spawner.start(
            "relay.worker",
            Stage::Relay,
            Policy::restart(),
            move |stop| {
                work(
                    Context::clone(&context),
                    Arc::clone(&inbox),
                    park.clone(),
                    stop,
                )
            },
        );
        sender
    });
    Workers {
        inboxes: inboxes.collect(),
        park: park.clone(),
    }
}

async fn work(
    context: Context,
    inbox: Arc<Mutex<mpsc::Receiver<Item>>>,
    park: mpsc::Sender<Report>,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let mut inbox = inbox.lock().await;
    let mut run = run::Run::new(&context, &park);
    loop {
        let wait = run.pump().await;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(finished) = run.in_flight.next() => run.finished(finished).await,
            item = inbox.recv() => match item {
                Some(item) => run.take(item).await,
                None => break,
            },
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
    run.drain(&mut inbox).await;
    Ok(())
}
