//! Which buckets this relay owns, and until when it may send their events. Renews the leases, and returns the buckets
//! above its share when none of their events is in flight.
//!
//! Sending stops one publish timeout before the lease ends. So every record given to the producer is acknowledged or
//! failed before another relay can own the bucket.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::ownerless_leases::OwnerlessLeases;
use crate::domain::BUCKETS;
use crate::parts::store::{LeasedBucket, StoreError};
use crate::runtime::supervisor::BoxError;

/// Renewals per lease duration.
const RENEWALS_A_LEASE: u32 = 3;

#[derive(Clone, Copy, Debug)]
struct Tenure {
    /// Changes whenever another relay may have owned the bucket in between.
    number: u64,
    epoch: u64,
    send_until: Instant,
    leaving: bool,
}

/// Which tenure of a bucket this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// Changes whenever another relay may have owned the bucket in between.
    pub(super) number: u64,
    /// The number of owners that the bucket has had.
    pub(super) epoch: u64,
}

/// The buckets that this relay owns.
#[derive(Debug)]
pub(super) struct Ownership {
    tenures: RwLock<BTreeMap<u16, Tenure>>,
    numbered: AtomicU64,
    in_flight: Vec<AtomicUsize>,
}

impl Default for Ownership {
    fn default() -> Self {
        Self {
            tenures: RwLock::default(),
            numbered: AtomicU64::new(0),
            in_flight: (0..BUCKETS).map(|_| AtomicUsize::new(0)).collect(),
        }
    }
}

impl Ownership {
    /// Whether a record of `bucket` may be handed to the producer now.
    pub(super) fn may_send(&self, bucket: u16) -> bool {
        let tenures = self.tenures.read().unwrap_or_else(PoisonError::into_inner);
        tenures
            .get(&bucket)
            .is_some_and(|tenure| !tenure.leaving && Instant::now() < tenure.send_until)
    }

    /// The buckets whose events may be read and sent.
    pub(super) fn usable(&self) -> BTreeMap<u16, Term> {
        let now = Instant::now();
        let tenures = self.tenures.read().unwrap_or_else(PoisonError::into_inner);
        tenures
            .iter()
            .filter(|(_, tenure)| !tenure.leaving && now < tenure.send_until)
            .map(|(bucket, tenure)| {
                let Tenure { number, epoch, .. } = *tenure;
                (*bucket, Term { number, epoch })
            })
            .collect()
    }

    /// Whether this relay owns `bucket`, even if it may not send now.
    pub(super) fn owns(&self, bucket: u16) -> bool {
        let tenures = self.tenures.read().unwrap_or_else(PoisonError::into_inner);
        tenures.get(&bucket).is_some_and(|tenure| !tenure.leaving)
    }

    /// The same buckets without their terms.
    pub(super) fn buckets(&self) -> Vec<u16> {
        self.usable().into_keys().collect()
    }

    /// Counts an event of `bucket` as in flight.
    pub(super) fn add_in_flight(&self, bucket: u16) {
        if let Some(in_flight) = self.in_flight.get(usize::from(bucket)) {
            in_flight.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Counts an event of `bucket` as finished.
    pub(super) fn remove_in_flight(&self, bucket: u16) {
        if let Some(in_flight) = self.in_flight.get(usize::from(bucket)) {
            in_flight.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The number of events of `bucket` in flight.
    pub(super) fn under_way(&self, bucket: u16) -> usize {
        let in_flight = self.in_flight.get(usize::from(bucket));
        in_flight.map_or(0, |in_flight| in_flight.load(Ordering::SeqCst))
    }

    /// Applies the leases read from the database. Returns the number of buckets that changed to this owner.
    fn update(&self, held: &[LeasedBucket], surplus: &[u16], send_until: Instant) -> u64 {
        let now = Instant::now();
        let mut tenures = self.tenures.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *tenures);
        let mut changes = 0;
        for LeasedBucket {
            bucket,
            epoch,
            is_renewed,
        } in held
        {
            let known = before.get(bucket);
            // Another transaction has locked the lease row, so it was not renewed: the known lease is valid until its
            // end.
            let send_until = match known {
                _ if *is_renewed => send_until,
                Some(known) if known.epoch == *epoch => known.send_until,
                _ => continue,
            };
            let unbroken = known.filter(|known| known.epoch == *epoch && now < known.send_until);
            let number = unbroken.map_or_else(
                || self.numbered.fetch_add(1, Ordering::SeqCst),
                |known| known.number,
            );
            changes += u64::from(known.is_none_or(|known| known.epoch != *epoch));
            let tenure = Tenure {
                number,
                epoch: *epoch,
                send_until,
                leaving: surplus.contains(bucket),
            };
            tenures.insert(*bucket, tenure);
        }
        changes
    }

    fn forget(&self, buckets: &[u16]) {
        let mut tenures = self.tenures.write().unwrap_or_else(PoisonError::into_inner);
        tenures.retain(|bucket, _| !buckets.contains(bucket));
    }
}

/// Renews the leases until it is stopped, then releases them. It runs in the last stage, so that the leases outlive
/// all work that depends on them.
pub(super) async fn keep(context: Context, stop: CancellationToken) -> Result<(), BoxError> {
    let config = &context.config;
    let mut ownerless = OwnerlessLeases::default();
    let interval = config.lease / RENEWALS_A_LEASE;
    loop {
        let began = Instant::now();
        match keep_once(&context).await {
            Ok(()) => {
                // Bounded, so that the next renewal is in time.
                let ended = tokio::time::timeout(interval / 2, ownerless.end(&context)).await;
                let ended = ended.map_err(BoxError::from);
                if let Err(failure) = ended.and_then(|ended| Ok(ended?)) {
                    tracing::warn!(%failure, "leases of dead relays not ended; it will be retried");
                }
            }
            Err(failure) => tracing::warn!(%failure, "leases not renewed"),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(began + interval) => {}
        }
    }
    context.store.leave_buckets(&config.owner).await?;
    Ok(())
}

async fn keep_once(context: &Context) -> Result<(), StoreError> {
    let config = &context.config;
    // Measured before the statement, so the lease in the database cannot begin earlier.
    let asked_at = Instant::now();
    let (held, surplus) = context
        .store
        .hold_buckets(&config.owner, config.lease)
        .await?;
    let margin = config.publish_timeout + Duration::from_millis(500);
    let send_until = asked_at + config.lease.saturating_sub(margin);
    let changes = context.ownership.update(&held, &surplus, send_until);
    if changes > 0 {
        tracing::info!(buckets = held.len(), changes, "buckets taken");
        context.metrics.lease_epoch_changes.inc_by(changes);
        context.wake.notify_one();
    }
    let idle = surplus.iter().copied();
    let idle: Vec<u16> = idle
        .filter(|bucket| context.ownership.under_way(*bucket) == 0)
        .collect();
    if !idle.is_empty() {
        context.ownership.forget(&idle);
        context.store.release_buckets(&config.owner, &idle).await?;
        tracing::info!(buckets = idle.len(), "buckets given to other relays");
    }
    Ok(())
}
