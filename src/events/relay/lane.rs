//! Sends. One record of a key at a time, many keys at once. What a lane holds it either hands over
//! (acknowledged, failed) or gives back; a lane that panicked gives back all it held when it starts
//! again.

mod run;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::parker::Note;
use super::settler::tell;
use super::{Item, Map, Parts, Signal};
use crate::domain::EventId;
use crate::parts::store::PendingKey;
use crate::runtime::supervisor::{BoxError, Policy, Spawner, Stage};

/// Where results go.
#[derive(Clone, Debug)]
pub(super) struct Outlets {
    pub(super) settle: mpsc::Sender<PendingKey>,
    pub(super) park: mpsc::Sender<Note>,
    pub(super) signals: mpsc::Sender<Signal>,
}

/// What outlives a panic of the lane's task.
#[derive(Debug)]
struct Lane {
    /// Locked by the one run of the task there is.
    inbox: tokio::sync::Mutex<mpsc::Receiver<Item>>,
    /// Rows taken from the inbox and not handed over yet, with their keys.
    held: Mutex<Map<EventId, Arc<str>>>,
}

impl Lane {
    fn held(&self) -> MutexGuard<'_, Map<EventId, Arc<str>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the lanes: a channel into each.
pub(super) fn start(spawner: &Spawner, parts: &Parts, out: &Outlets) -> Vec<mpsc::Sender<Item>> {
    let rows_max = usize::try_from(parts.config.lane_rows_max).unwrap_or(usize::MAX);
    (0..parts.config.lanes.max(1))
        .map(|_| {
            let (sender, inbox) = mpsc::channel(rows_max.max(1));
            let lane = Arc::new(Lane {
                inbox: tokio::sync::Mutex::new(inbox),
                held: Mutex::default(),
            });
            let (parts, out) = (Parts::clone(parts), out.clone());
            spawner.start("relay.lane", Stage::Relay, Policy::restart(), move |stop| {
                work(Parts::clone(&parts), Arc::clone(&lane), out.clone(), stop)
            });
            sender
        })
        .collect()
}

async fn work(
    parts: Parts,
    lane: Arc<Lane>,
    out: Outlets,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let mut inbox = lane.inbox.lock().await;
    give_back_all(&parts, &lane, &mut inbox, &out).await;
    let mut run = run::Run::new(&parts, &lane, &out, stop.clone());
    loop {
        let wait = run.pump().await;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(landed) = run.flying.next() => run.landed(landed).await,
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

/// After a panic: everything taken or waiting goes back, so that it is read again in order.
async fn give_back_all(
    parts: &Parts,
    lane: &Lane,
    inbox: &mut mpsc::Receiver<Item>,
    out: &Outlets,
) {
    let held: Vec<(EventId, Arc<str>)> = lane.held().drain().collect();
    if held.is_empty() {
        return;
    }
    tracing::warn!(rows = held.len(), "lane gives back what it held");
    let mut ids = Vec::with_capacity(held.len());
    for (id, key) in held {
        parts.recalled.insert(&key);
        ids.push(id);
    }
    while let Ok(item) = inbox.try_recv() {
        parts.recalled.insert(&item.event.key);
        ids.push(item.event.id);
    }
    tell(&out.signals, Signal::Back(ids)).await;
}
