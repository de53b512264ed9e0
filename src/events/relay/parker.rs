//! Writes down what could not be published, in the order in which it happened, and brings it back
//! when its time has come. It alone decides which keys are blocked.

mod due;
mod reports;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::settler::{persist, tell};
use super::{Context, Item, KeyPolicy, Origin, Signal};
use crate::parts::store::{ParkedKey, ParkedState, Pending, Reparked, StoreError, Under, Verdict};
use crate::runtime::supervisor::BoxError;
use reports::ReportQueue;

/// How often parked rows are read though none is known to be due, and orphaned blocked rows are released.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// What happened to a row.
#[derive(Debug)]
pub(super) enum Report {
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
    context: Context,
    reports: ReportQueue,
    signals: mpsc::Sender<Signal>,
    next_pass: Instant,
    next_orphans: Instant,
}

impl Parker {
    pub(super) fn new(
        context: &Context,
        inbox: mpsc::Receiver<Report>,
        signals: mpsc::Sender<Signal>,
    ) -> Self {
        Self {
            context: Context::clone(context),
            reports: ReportQueue::new(inbox),
            signals,
            next_pass: Instant::now(),
            next_orphans: Instant::now(),
        }
    }

    /// Runs until told to stop and everything noted is written down.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), BoxError> {
        let unparked = Context::clone(&self.context);
        let released = Context::clone(&self.context);
        loop {
            tokio::select! {
                biased;
                () = unparked.buckets_gained.notified() => {
                    self.next_pass = Instant::now();
                    self.next_orphans = Instant::now();
                }
                () = released.breaker_closed.notified() => self.next_pass = Instant::now(),
                // Before the reports: there may be no end of them, and they are written down one by one.
                () = tokio::time::sleep_until(self.next_pass), if !stop.is_cancelled() => {
                    let wait = self.pass(&stop).await.unwrap_or_else(|failure| {
                        tracing::warn!(%failure, "parked rows not read");
                        self.context.config.poll_max
                    });
                    self.next_pass = Instant::now() + wait;
                }
                report = self.reports.next() => match report {
                    Some(report) => self.on_report(report, &stop).await?,
                    None => return Ok(()),
                },
                () = stop.cancelled(), if !self.reports.is_closed() => self.reports.close(),
            }
        }
    }

    async fn on_report(
        &mut self,
        report: Report,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let id = match report {
            Report::Delivered(item) => {
                let event = &item.event;
                let (context, row) = (&self.context, ParkedKey::of(event));
                if persist(context, stop, || context.store.delete_parked(&row)).await? {
                    context.blocked_keys.remove(&event.key);
                }
                event.id
            }
            Report::Block(item) => {
                self.block(&item, stop).await?;
                // Whoever had its head may have been another relay, and be done with it by now.
                self.look_for_orphans_soon();
                item.event.id
            }
            Report::Unsure { item, error } => {
                self.park(&item, "possibly_delivered", error, stop).await?;
                item.event.id
            }
            Report::Unreadable { row, epoch, error } => {
                self.give_up(&row, epoch, error, stop).await?;
                row.key.event_id
            }
            Report::Refused { item, error } => {
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
        let soon = Instant::now() + self.context.config.lease;
        self.next_orphans = self.next_orphans.min(soon);
        self.next_pass = self.next_pass.min(soon);
    }

    /// Parks a row that came while its key was blocked, if it still is.
    async fn block(&self, item: &Item, stop: &CancellationToken) -> Result<(), StoreError> {
        let (context, event) = (&self.context, &item.event);
        if !context.blocked_keys.contains(&event.key) {
            return Ok(());
        }
        let verdict = Verdict {
            state: ParkedState::Blocked,
            attempts: 0,
            error_class: "blocked",
            error: "waits behind an earlier row of its key".to_owned(),
            next_in: None,
        };
        persist(context, stop, || {
            context.store.park(event, &verdict, self.under(item.epoch))
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
        let verdict = match self.context.config.retry.delay(attempts) {
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
        let context = Context::clone(&self.context);
        let event = &item.event;
        match item.origin {
            Origin::Pending => {
                let parked = persist(&context, stop, || {
                    context.store.park(event, verdict, self.under(item.epoch))
                })
                .await?;
                let waits = verdict.state == ParkedState::Retry;
                if parked && waits && context.config.key_policy == KeyPolicy::Block {
                    context.blocked_keys.insert(&event.key, event.bucket);
                }
            }
            Origin::Parked { .. } => {
                let row = ParkedKey::of(event);
                self.write_again(&row, verdict, item.epoch, stop).await?;
            }
        }
        if verdict.state == ParkedState::Dead {
            context.dead_letter_added.notify_one();
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
        let context = Context::clone(&self.context);
        let again = persist(&context, stop, || {
            context.store.park_again(row, verdict, self.under(epoch))
        });
        match again.await? {
            // It is another tenure's, or the answer was lost: the database knows what blocks its key.
            Reparked::Not => self.look_for_orphans_soon(),
            Reparked::Waits => {}
            Reparked::LetGo => context.blocked_keys.remove(&row.key),
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
        let context = &self.context;
        persist(context, stop, || {
            context
                .store
                .park_unreadable(row, &verdict, self.under(epoch))
        })
        .await?;
        self.context.metrics.failed("unreadable");
        Ok(())
    }

    /// The tenure that a row was read under.
    fn under(&self, epoch: u64) -> Under<'_> {
        Under {
            owner: &self.context.config.owner,
            epoch,
        }
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
