//! Records events that could not be published, many in one statement, and retries them when they are due. It alone
//! decides which keys are free.

mod due;
mod verdict;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::positions::persist;
use super::report::{ParkedClaim, ParkerReport, RetriesInFlight};
use super::sender::SenderHandle;
use super::window::Claim;
use super::{Context, KeyPolicy, Origin};
use crate::domain::LogPlace;
use crate::parts::store::{
    NewlyParked, ParkedRow, ParkedState, ParkedVerdict, PublishedEvent, Released, StoreError,
    StreamKey, Tenure,
};
use crate::runtime::supervisor::BoxError;

/// Interval of the search for orphaned blocked rows.
const ORPHANS_INTERVAL: Duration = Duration::from_secs(60);
/// Reports recorded together.
const REPORTS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Parker {
    context: Context,
    reports: mpsc::Receiver<ParkerReport>,
    sender: SenderHandle,
    retries: RetriesInFlight,
    next_pass: Instant,
    next_orphans: Instant,
    /// When rows that wait for a failing topic or partition are read next.
    next_waiting: Instant,
}

/// What the reports of one round write.
#[derive(Default)]
struct Round {
    park: Vec<(NewlyParked, Claim)>,
    again: Vec<(LogPlace, ParkedVerdict)>,
    delivered: Vec<LogPlace>,
    /// Where the delivered events were published, if positions are stored.
    published: Vec<PublishedEvent>,
    /// Keys whose next event may be sent.
    keys: BTreeSet<StreamKey>,
    /// The keys of forwarded events.
    written: Vec<StreamKey>,
    /// Dropped after everything is written.
    claims: Vec<ParkedClaim>,
}

impl Parker {
    pub(super) fn new(
        context: &Context,
        reports: mpsc::Receiver<ParkerReport>,
        sender: SenderHandle,
    ) -> Self {
        Self {
            context: Context::clone(context),
            reports,
            sender,
            retries: RetriesInFlight::default(),
            next_pass: Instant::now(),
            next_orphans: Instant::now(),
            next_waiting: Instant::now(),
        }
    }

    /// Runs until it is stopped and all reports are recorded.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), BoxError> {
        let context = Context::clone(&self.context);
        let mut reports = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = context.buckets_gained.notified() => {
                    self.next_pass = Instant::now();
                    self.next_orphans = Instant::now();
                }
                () = context.breaker_closed.notified() => {
                    self.next_pass = Instant::now();
                    self.next_waiting = Instant::now();
                }
                // Before the reports, which may arrive without end.
                () = tokio::time::sleep_until(self.next_pass), if !stop.is_cancelled() => {
                    let wait = self.pass(&stop).await.unwrap_or_else(|failure| {
                        tracing::warn!(%failure, "parked rows not read");
                        context.config.poll_max
                    });
                    self.next_pass = Instant::now() + wait;
                }
                count = self.reports.recv_many(&mut reports, REPORTS_MAX) => {
                    if count == 0 {
                        context.parker_ended.cancel();
                        return Ok(());
                    }
                    self.write(std::mem::take(&mut reports), &stop).await?;
                }
                () = stop.cancelled(), if !self.reports.is_closed() => self.reports.close(),
            }
        }
    }

    /// Records reports; those of one key in their order.
    async fn write(
        &mut self,
        reports: Vec<ParkerReport>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let context = Context::clone(&self.context);
        let mut round = Round::default();
        for report in reports {
            self.add(&mut round, report);
        }
        let store = &context.store;
        if !round.published.is_empty() {
            persist(&context, stop, || store.store_published(&round.published)).await?;
        }
        if !round.delivered.is_empty() {
            persist(&context, stop, || store.unpark(&round.delivered)).await?;
            // Rows that the position has not passed stay for now.
            context
                .held_may_be_acknowledged
                .store(true, Ordering::Release);
        }
        for (place, verdict) in &round.again {
            persist(&context, stop, || store.park_again(*place, verdict)).await?;
            self.announce(verdict);
        }
        if !round.park.is_empty() {
            let (rows, claims): (Vec<_>, Vec<_>) = round.park.into_iter().unzip();
            let owner = &context.config.owner;
            let parked = persist(&context, stop, || store.park(owner, &rows)).await?;
            for (row, claim) in rows.iter().zip(claims) {
                if parked.contains(&row.place) {
                    claim.done();
                    self.announce(&row.verdict);
                }
                // Otherwise another relay owns its bucket, and the claim is dropped.
            }
        }
        for key in &round.written {
            context.blocked_keys.written(key);
        }
        drop(round.claims);
        self.release(round.keys, stop).await
    }

    fn add(&self, round: &mut Round, report: ParkerReport) {
        let (item, verdict) = match report {
            ParkerReport::Unreadable {
                place,
                id,
                error,
                claim,
            } => {
                tracing::error!(outbox.id = %id, campaign.id = %place.stream.campaign, error, "event cannot be read");
                self.context.metrics.failed("unreadable");
                let row = NewlyParked {
                    place,
                    id,
                    key: Arc::default(),
                    verdict: verdict::unreadable(error),
                    tenure: Tenure {
                        bucket: place.stream.bucket(),
                        epoch: claim.epoch(),
                    },
                };
                return round.park.push((row, claim));
            }
            ParkerReport::Delivered { item, published } => {
                round.published.extend(published);
                round.delivered.push(item.place());
                round.keys.insert(item.key());
                if let Origin::Parked { claim, .. } = item.origin {
                    round.claims.push(claim);
                }
                return;
            }
            ParkerReport::Unsure { item, error } => {
                let verdict = verdict::failed(&self.context, &item, error);
                (item, verdict)
            }
            ParkerReport::Refused { item, error } => {
                let verdict = verdict::dead(&item, "record", error);
                (item, verdict)
            }
            ParkerReport::Wait(item) => {
                let verdict = verdict::waits(&item);
                (item, verdict)
            }
            ParkerReport::Block(item) => (item, verdict::blocked()),
        };
        let (key, place) = (item.key(), item.place());
        let ends = verdict.state == ParkedState::Dead;
        match item.origin {
            Origin::Log(claim) => {
                if self.context.blocked_keys.contains(&key) {
                    round.keys.insert(key.clone());
                    round.written.push(key);
                }
                let row = NewlyParked::of(&item.event, verdict, claim.epoch());
                round.park.push((row, claim));
            }
            Origin::Parked { claim, .. } => {
                round.again.push((place, verdict));
                if ends {
                    round.keys.insert(key);
                }
                round.claims.push(claim);
            }
        }
    }

    fn announce(&mut self, verdict: &ParkedVerdict) {
        match (verdict.state, verdict.next_in) {
            (ParkedState::Dead, _) => self.context.dead_letter_added.notify_one(),
            (ParkedState::Retry, Some(delay)) => {
                self.next_pass = self.next_pass.min(Instant::now() + delay);
            }
            _ => {}
        }
    }

    /// Retries the next event of each key, or frees the key if none of its events is parked.
    async fn release(
        &mut self,
        keys: BTreeSet<StreamKey>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let context = Context::clone(&self.context);
        if keys.is_empty() || context.config.key_policy == KeyPolicy::Skip {
            return Ok(());
        }
        let keys: Vec<StreamKey> = keys.into_iter().collect();
        let released = persist(&context, stop, || context.store.release_keys(&keys)).await?;
        for (key, released) in released {
            match released {
                Released::Free => context.blocked_keys.free(&key),
                Released::Waits => context.blocked_keys.block_parked(key),
                Released::Due => {
                    context.blocked_keys.block_parked(key);
                    self.next_pass = Instant::now();
                }
            }
        }
        Ok(())
    }

    /// A parked row that cannot be read becomes dead.
    async fn give_up(
        &mut self,
        row: &ParkedRow,
        error: String,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        tracing::error!(campaign.id = %row.place.stream.campaign, outbox.sequence = row.place.sequence, error, "parked event cannot be read");
        self.context.metrics.failed("unreadable");
        let context = Context::clone(&self.context);
        let verdict = verdict::unreadable(error);
        persist(&context, stop, || {
            context.store.park_again(row.place, &verdict)
        })
        .await?;
        self.release(BTreeSet::from([row.stream_key()]), stop).await
    }
}
