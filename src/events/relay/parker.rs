//! Writes down what could not be published, in the order in which it happened, and brings it back
//! when its time has come. It alone decides which keys are blocked.

mod notes;

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::settler::{persist, tell};
use super::{Haste, Item, KeyPolicy, Origin, Parts, Signal};
use crate::parts::store::{
    ORPHAN_KEYS_MAX, ParkedKey, ParkedState, Pending, Reparked, StoreError, Under, Verdict, Without,
};
use crate::runtime::supervisor::BoxError;
use notes::Notes;

/// Parked rows brought back at once.
const DUE_ROWS_MAX: u32 = 200;
/// How often it looks though nothing is known to be due, and for rows blocked by nothing.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Rows that were brought back and are still due are brought again after so long, or after a poll's longest wait.
const AGAIN_IN: Duration = Duration::from_secs(1);
/// The least time between two looks, unless polls have a shorter one.
const PAUSE: Duration = Duration::from_millis(10);

/// What happened to a row.
#[derive(Debug)]
pub(super) enum Note {
    /// A parked row was acknowledged.
    Delivered(Item),
    /// It may have been published; it is tried again.
    Unsure { item: Item, error: String },
    /// It was refused, alone: it never will be published.
    Refused { item: Item, error: String },
    /// It came while its key was blocked.
    Block(Item),
    /// Its event is missing or cannot be read: there is nothing to publish.
    Unreadable {
        row: Pending,
        epoch: u64,
        error: String,
    },
}

#[derive(Debug)]
pub(super) struct Parker {
    parts: Parts,
    notes: Notes,
    signals: mpsc::Sender<Signal>,
    next_pass: Instant,
    next_orphans: Instant,
}

impl Parker {
    pub(super) fn new(
        parts: &Parts,
        inbox: mpsc::Receiver<Note>,
        signals: mpsc::Sender<Signal>,
    ) -> Self {
        Self {
            parts: Parts::clone(parts),
            notes: Notes::new(inbox),
            signals,
            next_pass: Instant::now(),
            next_orphans: Instant::now(),
        }
    }

    /// Runs until told to stop and everything noted is written down.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), BoxError> {
        let unparked = Parts::clone(&self.parts);
        let released = Parts::clone(&self.parts);
        loop {
            tokio::select! {
                biased;
                () = unparked.unparked.notified() => {
                    self.next_pass = Instant::now();
                    self.next_orphans = Instant::now();
                }
                () = released.released.notified() => self.next_pass = Instant::now(),
                // Before the notes: there may be no end of them, and they are written down one by one.
                () = tokio::time::sleep_until(self.next_pass), if !stop.is_cancelled() => {
                    let wait = self.pass(&stop).await.unwrap_or_else(|failure| {
                        tracing::warn!(%failure, "parked rows not read");
                        self.parts.config.poll_max
                    });
                    self.next_pass = Instant::now() + wait;
                }
                note = self.notes.next() => match note {
                    Some(note) => self.on_note(note, &stop).await?,
                    None => return Ok(()),
                },
                () = stop.cancelled(), if !self.notes.is_closed() => self.notes.close(),
            }
        }
    }

    async fn on_note(&mut self, note: Note, stop: &CancellationToken) -> Result<(), StoreError> {
        let id = match note {
            Note::Delivered(item) => {
                let event = &item.event;
                let (parts, row) = (&self.parts, ParkedKey::of(event));
                if persist(parts, stop, || parts.store.delete_parked(&row)).await? {
                    parts.blocked.remove(&event.key);
                }
                event.id
            }
            Note::Block(item) => {
                self.block(&item, stop).await?;
                // Whoever had its head may have been another relay, and be done with it by now.
                self.look_for_orphans_soon();
                item.event.id
            }
            Note::Unsure { item, error } => {
                self.park(&item, "possibly_delivered", error, stop).await?;
                item.event.id
            }
            Note::Unreadable { row, epoch, error } => {
                self.give_up(&row, epoch, error, stop).await?;
                row.key.event_id
            }
            Note::Refused { item, error } => {
                let verdict = dead(&item, "record", error);
                self.write(&item, &verdict, stop).await?;
                item.event.id
            }
        };
        tell(&self.signals, Signal::Back(vec![id])).await;
        Ok(())
    }

    /// Once every relay that may have had a row is done with it.
    fn look_for_orphans_soon(&mut self) {
        let soon = Instant::now() + self.parts.config.lease;
        self.next_orphans = self.next_orphans.min(soon);
        self.next_pass = self.next_pass.min(soon);
    }

    /// Parks a row that came while its key was blocked, if it still is.
    async fn block(&self, item: &Item, stop: &CancellationToken) -> Result<(), StoreError> {
        let (parts, event) = (&self.parts, &item.event);
        if !parts.blocked.contains(&event.key) {
            return Ok(());
        }
        let verdict = Verdict {
            state: ParkedState::Blocked,
            attempts: 0,
            error_class: "blocked",
            error: "waits behind an earlier row of its key".to_owned(),
            next_in: None,
        };
        persist(parts, stop, || {
            parts.store.park(event, &verdict, self.under(item.epoch))
        })
        .await?;
        Ok(())
    }

    async fn park(
        &mut self,
        item: &Item,
        class: &'static str,
        error: String,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let attempts = attempts(item);
        let verdict = match self.parts.config.retry.delay(attempts) {
            Some(delay) => {
                self.next_pass = self.next_pass.min(Instant::now() + delay);
                Verdict {
                    state: ParkedState::Retry,
                    attempts,
                    error_class: class,
                    error,
                    next_in: Some(delay),
                }
            }
            None => dead(item, class, error),
        };
        self.write(item, &verdict, stop).await
    }

    async fn write(
        &mut self,
        item: &Item,
        verdict: &Verdict,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let parts = Parts::clone(&self.parts);
        let event = &item.event;
        match item.origin {
            Origin::Pending => {
                let parked = persist(&parts, stop, || {
                    parts.store.park(event, verdict, self.under(item.epoch))
                })
                .await?;
                let waits = verdict.state == ParkedState::Retry;
                if parked && waits && parts.config.key_policy == KeyPolicy::Block {
                    parts.blocked.insert(&event.key, event.bucket);
                }
            }
            Origin::Parked { .. } => {
                let row = ParkedKey::of(event);
                self.write_again(&row, verdict, item.epoch, stop).await?;
            }
        }
        if verdict.state == ParkedState::Dead {
            parts.died.notify_one();
        }
        Ok(())
    }

    async fn write_again(
        &mut self,
        row: &ParkedKey,
        verdict: &Verdict,
        epoch: u64,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let parts = Parts::clone(&self.parts);
        let again = persist(&parts, stop, || {
            parts.store.park_again(row, verdict, self.under(epoch))
        });
        match again.await? {
            // It is another tenure's, or the answer was lost: the database knows what blocks its key.
            Reparked::Not => self.look_for_orphans_soon(),
            Reparked::Waits => {}
            Reparked::LetGo => parts.blocked.remove(&row.key),
        }
        Ok(())
    }

    /// A row that cannot be read is dead without a copy.
    async fn give_up(
        &self,
        row: &Pending,
        epoch: u64,
        error: String,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let id = row.key.event_id;
        tracing::error!(outbox.id = %id, campaign.id = %row.campaign_id, error, "event cannot be read");
        let verdict = unreadable(error);
        let parts = &self.parts;
        persist(parts, stop, || {
            parts
                .store
                .park_unreadable(row, &verdict, self.under(epoch))
        })
        .await?;
        self.parts.metrics.failed("unreadable");
        Ok(())
    }

    /// The tenure that a row was read under.
    fn under(&self, epoch: u64) -> Under<'_> {
        Under {
            owner: &self.parts.config.owner,
            epoch,
        }
    }

    /// Brings back what is due: how long until it is worth another look.
    async fn pass(&mut self, stop: &CancellationToken) -> Result<Duration, StoreError> {
        let usable = self.parts.ownership.usable();
        let buckets: Vec<u16> = usable.keys().copied().collect();
        if buckets.is_empty() {
            return Ok(LOOK_EVERY);
        }
        let parts = Parts::clone(&self.parts);
        let store = &parts.store;
        let state = ParkedState::Retry;
        // They would fill the page with what is only given back.
        let without = parts.without_held();
        let is_held = without != Without::default();
        let due = store
            .parked_due(state, &buckets, &without, DUE_ROWS_MAX)
            .await?;
        for (row, error) in due.unreadable {
            let Some(term) = usable.get(&row.bucket) else {
                continue;
            };
            tracing::error!(outbox.id = %row.id, error, "parked event cannot be read");
            parts.metrics.failed("unreadable");
            self.write_again(&row, &unreadable(error), term.epoch, stop)
                .await?;
        }
        let items: Vec<Item> = due
            .parked
            .into_iter()
            .filter_map(|parked| {
                Some(Item {
                    epoch: usable.get(&parked.event.bucket)?.epoch,
                    event: parked.event,
                    origin: Origin::Parked {
                        attempts: parked.attempts,
                    },
                    alone: false,
                    haste: Haste::Fresh,
                    committed_at: None,
                })
            })
            .collect();
        // What is due now may find no room, and stays due until its result is written down.
        let again_in = parts.config.poll_max.min(AGAIN_IN);
        let wait = if items.is_empty() {
            let next = store.next_due(state, &buckets, &without).await?;
            // What is held back may be probed soon.
            let most = if is_held { again_in } else { LOOK_EVERY };
            next.unwrap_or(most).min(most)
        } else {
            tell(&self.signals, Signal::Due(items)).await;
            again_in
        };
        if Instant::now() >= self.next_orphans {
            let freed = store.free_orphans(&buckets).await?;
            if freed > 0 {
                tracing::warn!(keys = freed, "rows were blocked by nothing: pending again");
            }
            self.let_go_of_strays(&buckets).await?;
            let is_done = freed < ORPHAN_KEYS_MAX;
            let next = if is_done { LOOK_EVERY } else { Duration::ZERO };
            self.next_orphans = Instant::now() + next;
        }
        let wait = wait.min(self.next_orphans - Instant::now());
        Ok(wait.max(parts.config.poll_min.min(PAUSE)))
    }

    /// Keys that were known as blocked when another relay, whose buckets these had been, delivered their
    /// parked row after all.
    async fn let_go_of_strays(&self, buckets: &[u16]) -> Result<(), StoreError> {
        let known = self.parts.blocked.of(buckets);
        if known.is_empty() {
            return Ok(());
        }
        let states = [ParkedState::Retry, ParkedState::Blocked];
        let waiting = self.parts.store.parked_keys(&states, buckets).await?;
        let waiting: HashSet<String> = waiting.into_iter().map(|(_, key)| key).collect();
        for key in known.iter().filter(|key| !waiting.contains(*key)) {
            self.parts.blocked.remove(key);
        }
        Ok(())
    }
}

/// Attempts with the one that has just failed.
fn attempts(item: &Item) -> u32 {
    match item.origin {
        Origin::Pending => 1,
        Origin::Parked { attempts } => attempts.saturating_add(1),
    }
}

/// There is nothing to copy.
fn unreadable(error: String) -> Verdict {
    Verdict {
        state: ParkedState::Dead,
        attempts: 0,
        error_class: "unreadable",
        error,
        next_in: None,
    }
}

fn dead(item: &Item, class: &'static str, error: String) -> Verdict {
    tracing::error!(
        outbox.id = %item.event.id,
        campaign.id = %item.event.campaign_id,
        class,
        error,
        "event given up: it is a dead letter now"
    );
    Verdict {
        state: ParkedState::Dead,
        attempts: attempts(item),
        error_class: class,
        error,
        // Due at once: for its copy to the dead letter topic.
        next_in: Some(Duration::ZERO),
    }
}
