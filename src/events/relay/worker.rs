//! A worker sends records: one of a key at a time, many keys at once. It hands each row over (acknowledged or
//! failed) or returns it; after a panic it returns all rows it held when it restarts.

mod order;
mod run;
mod send;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::parker::Report;
use super::settler::tell;
use super::{Context, Item, Map, Signal};
use crate::domain::EventId;
use crate::parts::store::PendingKey;
use crate::runtime::supervisor::{BoxError, Policy, Spawner, Stage};

/// Channels for results.
#[derive(Clone, Debug)]
pub(super) struct Outlets {
    pub(super) settle: mpsc::Sender<PendingKey>,
    pub(super) park: mpsc::Sender<Report>,
    pub(super) signals: mpsc::Sender<Signal>,
}

/// State that survives a panic of the worker's task.
#[derive(Debug)]
struct Worker {
    /// Locked by the run of the task.
    inbox: tokio::sync::Mutex<mpsc::Receiver<Item>>,
    /// Rows received and not handed over yet, with their keys.
    held: Mutex<Map<EventId, Arc<str>>>,
}

impl Worker {
    fn held(&self) -> MutexGuard<'_, Map<EventId, Arc<str>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the workers. Returns a channel to each.
pub(super) fn start(
    spawner: &Spawner,
    context: &Context,
    out: &Outlets,
) -> Vec<mpsc::Sender<Item>> {
    let rows_max = usize::try_from(context.config.worker_rows_max).unwrap_or(usize::MAX);
    (0..context.config.workers.max(1))
        .map(|_| {
            let (sender, inbox) = mpsc::channel(rows_max.max(1));
            let worker = Arc::new(Worker {
                inbox: tokio::sync::Mutex::new(inbox),
                held: Mutex::default(),
            });
            let (context, out) = (Context::clone(context), out.clone());
            spawner.start(
                "relay.worker",
                Stage::Relay,
                Policy::restart(),
                move |stop| {
                    work(
                        Context::clone(&context),
                        Arc::clone(&worker),
                        out.clone(),
                        stop,
                    )
                },
            );
            sender
        })
        .collect()
}

async fn work(
    context: Context,
    worker: Arc<Worker>,
    out: Outlets,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let mut inbox = worker.inbox.lock().await;
    give_back_all(&context, &worker, &mut inbox, &out).await;
    let mut run = run::Run::new(&context, &worker, &out, stop.clone());
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
    run.drain().await;
    Ok(())
}

/// Returns all rows received or waiting after a panic, so that they are read again in order.
async fn give_back_all(
    context: &Context,
    worker: &Worker,
    inbox: &mut mpsc::Receiver<Item>,
    out: &Outlets,
) {
    let held: Vec<(EventId, Arc<str>)> = worker.held().drain().collect();
    if held.is_empty() {
        return;
    }
    tracing::warn!(rows = held.len(), "a worker returns its rows after a panic");
    let mut ids = Vec::with_capacity(held.len());
    for (id, key) in held {
        context.recalled_keys.insert(&key);
        ids.push(id);
    }
    while let Ok(item) = inbox.try_recv() {
        context.recalled_keys.insert(&item.event.key);
        ids.push(item.event.id);
    }
    tell(&out.signals, Signal::Back(ids)).await;
}
